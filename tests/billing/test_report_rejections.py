"""Rejected usage is counted with its reasons, and told once for each meter and ten seconds."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from postpaid import ids
from postpaid.billing import manage_keys, manage_meters
from postpaid.billing.perform import Act
from postpaid.billing.report_rejections import ErrorReport, note, report_rejections
from postpaid.core.errors import AlreadyExists, BillingError, InvalidRequest, NotFound
from postpaid.core.metering import Aggregation
from postpaid.storage import events, usage_rejections
from postpaid.storage.database import Connection, Database
from postpaid.storage.paging import Page
from postpaid.storage.usage_rejections import Rejections, Sample
from statements import counted

NOW = datetime(2026, 1, 1, 12, 0, 7, 654_321, tzinfo=UTC)
BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
ENDED = BEGAN + timedelta(seconds=10)
LATER = ENDED + timedelta(seconds=1)

NO_METER = NotFound("No meter of this name.", code="no_meter")
NO_CUSTOMER = NotFound("No such customer: 'cus_x'", param=("payload", "stripe_customer_id"))
BAD_VALUE = InvalidRequest("Invalid decimal.", code="meter_event_invalid_value")


@pytest.fixture
def act(database: Database) -> Act:
    """An act of a new account, in the first seconds of the day's second half."""
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=NOW)
    return Act(account.account_id, False, "mes_1", NOW, ids.new_id, request_id="req_1")


@pytest.fixture
def meter_id(database: Database, act: Act) -> str:
    with database.transaction() as conn:
        return make_meter(conn, act, "call")


def make_meter(conn: Connection, act: Act, event_name: str) -> str:
    return manage_meters.create_meter(
        conn,
        act,
        display_name=event_name,
        event_name=event_name,
        aggregation=Aggregation.SUM,
        customer_key="customer",
        value_key="value",
    ).id


def reject(database: Database, act: Act, *errors: BillingError, event_name: str = "call") -> None:
    """As many events as there are errors, in a request of their own."""
    with database.transaction() as conn:
        reject_in(conn, act, errors, event_name)


def reject_in(
    conn: Connection, act: Act, errors: Sequence[BillingError], event_name: str = "call"
) -> None:
    names = [event_name] * len(errors)
    references = [f"event-{place}" for place in range(len(errors))]
    note(conn, act, names, references, dict(enumerate(errors)))


def report(database: Database, act: Act, now: datetime = LATER) -> int:
    return report_rejections(database, replace(act, now=now, actor="worker", request_id=None))


def told(database: Database, act: Act) -> list[tuple[str, ErrorReport]]:
    """What was announced of rejected usage, oldest first."""
    with database.connection() as conn:
        found = events.list_page(conn, act.account_id, Page(limit=100)).rows
    return [
        (each.type, msgspec.json.decode(each.snapshot, type=ErrorReport))
        for each in reversed(found)
        if each.object_type == "meter_error_report"
    ]


def test_a_report_has_what_was_rejected_by_reason(
    database: Database, act: Act, meter_id: str
) -> None:
    reject(database, act, BAD_VALUE, NO_CUSTOMER, BAD_VALUE)
    assert report(database, act) == 1
    [(happened, said)] = told(database, act)
    assert happened == "billing.meter.error_report_triggered"
    assert said == ErrorReport(
        id=said.id,
        meter_id=meter_id,
        start_at=BEGAN,
        end_at=ENDED,
        count=3,
        reasons=(
            Rejections(
                meter_id,
                "meter_event_invalid_value",
                2,
                (Sample("Invalid decimal.", "event-0"), Sample("Invalid decimal.", "event-2")),
            ),
            Rejections(
                meter_id,
                "meter_event_customer_not_found",
                1,
                (Sample("No such customer: 'cus_x'", "event-1"),),
            ),
        ),
    )


def test_events_without_a_meter_have_a_report_of_their_own(
    database: Database, act: Act, meter_id: str
) -> None:
    reject(database, act, NO_METER, event_name="unheard of")
    reject(database, act, NO_METER, event_name="unknown")
    reject(database, act, BAD_VALUE)
    assert report(database, act) == 2
    unknown, known = told(database, act)
    assert unknown[0] == "billing.meter.no_meter_found"
    assert (unknown[1].meter_id, unknown[1].count) == (None, 2)
    assert [each.code for each in unknown[1].reasons] == ["no_meter"]
    assert (known[1].meter_id, known[1].count) == (meter_id, 1)


def test_a_reason_without_a_code_gets_one(database: Database, act: Act, meter_id: str) -> None:
    reject(database, act, InvalidRequest("Odd."))
    report(database, act)
    [(_, said)] = told(database, act)
    assert [each.code for each in said.reasons] == ["invalid_event"]


def test_repeats_are_not_reported(database: Database, act: Act, meter_id: str) -> None:
    reject(database, act, AlreadyExists("An event already exists."))
    assert report(database, act) == 0
    assert told(database, act) == []


def test_requests_of_one_window_add_up_and_keep_the_first_samples(
    database: Database, act: Act, meter_id: str
) -> None:
    for n in range(4):
        reject(
            database,
            replace(act, now=BEGAN + timedelta(seconds=n)),
            *(InvalidRequest(f"{n}", code="archived_meter") for _ in range(2)),
        )
    report(database, act)
    [(_, said)] = told(database, act)
    [reason] = said.reasons
    assert reason.count == said.count == 8
    assert [each.error_message for each in reason.samples] == ["0", "0", "1", "1", "2"]


def test_a_window_is_reported_once_it_is_over_and_not_again(
    database: Database, act: Act, meter_id: str
) -> None:
    reject(database, act, BAD_VALUE)
    reject(database, replace(act, now=ENDED), BAD_VALUE)
    assert report(database, act, LATER - timedelta(microseconds=1)) == 0
    assert report(database, act, LATER) == 1
    assert report(database, act, LATER) == 0
    assert report(database, act, LATER + timedelta(hours=1)) == 1
    assert report(database, act, LATER + timedelta(hours=1)) == 0
    assert [said.start_at for _, said in told(database, act)] == [BEGAN, ENDED]


def test_what_comes_after_the_report_gets_another(
    database: Database, act: Act, meter_id: str
) -> None:
    reject(database, act, BAD_VALUE)
    report(database, act)
    reject(database, act, BAD_VALUE, BAD_VALUE)
    report(database, act)
    assert [said.count for _, said in told(database, act)] == [1, 2]


def test_what_is_rolled_back_is_not_reported(database: Database, act: Act, meter_id: str) -> None:
    with database.transaction() as conn, conn.transaction(force_rollback=True):
        reject_in(conn, act, [BAD_VALUE])
    assert report(database, act) == 0


def test_a_report_that_fails_is_made_later(
    database: Database, act: Act, meter_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reject(database, act, BAD_VALUE)

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(events, "insert_many", fail)
        with pytest.raises(ZeroDivisionError):
            report(database, act)
    assert told(database, act) == []
    assert report(database, act) == 1


def test_accounts_are_told_of_their_own(database: Database, act: Act, meter_id: str) -> None:
    reject(database, act, BAD_VALUE)
    with database.transaction() as conn:
        other = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=NOW)
    assert report(database, replace(act, account_id=other.account_id)) == 0
    assert report(database, act) == 1


def test_workers_share_the_windows_and_requests_wait_for_nobody_long(
    database: Database, act: Act, meter_id: str
) -> None:
    """Six threads reject into one window while two report it: nothing is lost, nothing is twice."""

    def work(n: int) -> None:
        for _ in range(10):
            if n < 6:
                reject(database, act, BAD_VALUE, NO_CUSTOMER, NO_CUSTOMER)
            else:
                report(database, act)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    report(database, act)
    by_code: dict[str, int] = {}
    for _, said in told(database, act):
        assert said.count == sum(each.count for each in said.reasons)
        for each in said.reasons:
            by_code[each.code] = by_code.get(each.code, 0) + each.count
    assert by_code == {"meter_event_invalid_value": 60, "meter_event_customer_not_found": 120}


def test_noting_costs_the_same_for_many(database: Database, act: Act) -> None:
    with database.transaction() as conn:
        names = [f"name-{n}" for n in range(5)]
        for name in names:
            make_meter(conn, act, name)

        def cost(count: int) -> int:
            of = [names[place % 5] for place in range(count)]
            errors = dict.fromkeys(range(count), BAD_VALUE)
            with counted(conn) as statements:
                note(conn, act, of, of, errors)
            return len(statements)

        assert cost(1) == cost(1000) == 2


def test_another_worker_that_takes_them_leaves_nothing(
    database: Database, act: Act, meter_id: str
) -> None:
    reject(database, act, BAD_VALUE)
    with database.transaction() as one, database.transaction() as other:
        assert len(usage_rejections.take(one, act.account_id, BEGAN)) == 1
        assert usage_rejections.take(other, act.account_id, BEGAN) == []
