"""Sessions are opened, found while they last, known for a day more, and then forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from postpaid import ids
from postpaid.billing import manage_keys, manage_sessions
from postpaid.billing.manage_sessions import FORGOTTEN_AT_ONCE, KEPT, LASTS
from postpaid.billing.perform import Act
from postpaid.storage.accounts import Account

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(params=[False, True], ids=["test", "live"])
def account(request: pytest.FixtureRequest, conn: psycopg.Connection) -> Account:
    return manage_keys.open_account(conn, "Acme", livemode=request.param, now=NOW)


@pytest.fixture
def act(conn: psycopg.Connection, account: Account) -> Act:
    key = manage_keys.create_key(conn, account, now=NOW)
    return Act(account.account_id, account.livemode, key.id, NOW, ids.new_id, request_id="req_1")


def test_a_session_is_found_by_its_token_alone(conn: psycopg.Connection, act: Act) -> None:
    issued = manage_sessions.open_session(conn, act)
    assert issued.token.startswith("mes_live_" if act.livemode else "mes_test_")
    assert issued.session.expires_at == NOW + LASTS
    assert manage_sessions.find_session(conn, issued.token) == issued.session
    assert manage_sessions.find_session(conn, issued.session.id) is None
    assert manage_sessions.find_session(conn, "") is None


def test_sessions_of_one_moment_are_several(conn: psycopg.Connection, act: Act) -> None:
    tokens = {manage_sessions.open_session(conn, act).token for _ in range(10)}
    found = {manage_sessions.find_session(conn, token) for token in tokens}
    assert len(tokens) == len(found) == 10


def test_a_session_ends_with_its_key(conn: psycopg.Connection, account: Account, act: Act) -> None:
    issued = manage_sessions.open_session(conn, act)
    manage_keys.revoke_key(conn, account, act.actor, now=NOW)
    assert manage_sessions.find_session(conn, issued.token) is None


def test_a_session_is_known_for_a_day_after_its_end_and_then_forgotten(
    conn: psycopg.Connection, act: Act
) -> None:
    issued = manage_sessions.open_session(conn, act)
    forgotten_at = NOW + LASTS + KEPT
    manage_sessions.open_session(conn, replace(act, now=forgotten_at))
    assert manage_sessions.find_session(conn, issued.token) == issued.session
    manage_sessions.open_session(conn, replace(act, now=forgotten_at + timedelta(seconds=1)))
    assert manage_sessions.find_session(conn, issued.token) is None


def test_not_more_are_forgotten_at_once_than_a_request_has_time_for(
    conn: psycopg.Connection, act: Act
) -> None:
    tokens = [manage_sessions.open_session(conn, act).token for _ in range(FORGOTTEN_AT_ONCE + 5)]

    def known() -> int:
        return sum(manage_sessions.find_session(conn, token) is not None for token in tokens)

    later = replace(act, now=NOW + LASTS + 2 * KEPT)
    manage_sessions.open_session(conn, later)
    assert known() == 5
    manage_sessions.open_session(conn, later)
    assert known() == 0
