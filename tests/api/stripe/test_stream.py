"""The meter event stream, through the official SDK with a session's token."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import stripe
from stripe import StripeClient
from test_v2_metering import EVENT, counted, spelled

from postpaid import clock
from postpaid.api import authentication
from postpaid.api.authentication import SessionAuthenticator
from postpaid.billing import manage_keys
from postpaid.billing.manage_keys import IssuedKey
from postpaid.core.errors import AuthenticationFailed, SessionExpired
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from postpaid.storage.meter_event_sessions import MeterEventSession

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def customer(stripe_client: StripeClient) -> str:
    return stripe_client.v1.customers.create({"name": "Ada"}).id


@pytest.fixture
def meter(stripe_client: StripeClient) -> str:
    return stripe_client.v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": EVENT,
            "default_aggregation": {"formula": "sum"},
        }
    ).id


@pytest.fixture
def token(stripe_client: StripeClient) -> str:
    return stripe_client.v2.billing.meter_event_session.create().authentication_token


@pytest.fixture
def sender(server: str, token: str) -> StripeClient:
    """The SDK as its users set it up for the stream."""
    return StripeClient(token, base_addresses={"api": server, "meter_events": server})


@contextmanager
def unauthenticated(error_type: type[stripe.StripeError], code: str | None) -> Iterator[None]:
    with pytest.raises(error_type) as raised:
        yield
    assert (type(raised.value), raised.value.http_status) == (error_type, 401)
    assert raised.value.code == code


def event(customer: str, value: str = "1", **more: Any) -> dict[str, Any]:
    payload = {"stripe_customer_id": customer, "value": value}
    return {"event_name": EVENT, "payload": payload, **more}


def send(sender: StripeClient, events: Any, **options: Any) -> None:
    sender.v2.billing.meter_event_stream.create({"events": events}, options)  # type: ignore[arg-type]


def test_events_are_counted_when_the_stream_answers(
    stripe_client: StripeClient, sender: StripeClient, meter: str, customer: str
) -> None:
    moment = spelled(clock.now() - timedelta(hours=2))
    send(sender, [event(customer, str(n), timestamp=moment) for n in range(100)])
    assert counted(stripe_client, meter, customer) == 4950


def test_the_answer_is_an_empty_object(server: str, token: str, meter: str, customer: str) -> None:
    answer = httpx.post(
        f"{server}/v2/billing/meter_event_stream",
        json={"events": [event(customer)]},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert (answer.status_code, answer.json()) == (200, {})


def test_a_repeat_is_silent_and_counts_once(
    stripe_client: StripeClient, sender: StripeClient, meter: str, customer: str
) -> None:
    same = event(customer, "5", identifier="one")
    send(sender, [same, same])
    send(sender, [same])
    assert counted(stripe_client, meter, customer) == 5
    assert stripe_client.raw_request("get", "/v1/usage/conflicts").data["data"] == []


def test_a_retried_request_counts_once_without_identifiers_too(
    stripe_client: StripeClient,
    sender: StripeClient,
    meter: str,
    customer: str,
    database: Database,
    account: Account,
) -> None:
    """The SDK retries with the key of the first try, which is all that its events have."""
    given = [event(customer, "1"), event(customer, "1"), event(customer, "2", identifier="x")]
    for _ in range(3):
        send(sender, given, idempotency_key="first")
    assert counted(stripe_client, meter, customer) == 4
    send(sender, given[:2], idempotency_key="second")
    assert counted(stripe_client, meter, customer) == 6
    with database.connection() as conn:
        kept = conn.execute(
            "SELECT FROM idempotency_keys WHERE account_id = %s AND key IN ('first', 'second')",
            (account.account_id,),
        )
        assert kept.rowcount == 0


def test_requests_at_once_count_once(
    stripe_client: StripeClient, sender: StripeClient, meter: str, customer: str
) -> None:
    """Eight threads send the same twenty requests, each in an order of its own."""
    requests = [
        [event(customer, "1", identifier=f"{n}-{place}") for place in range(5)] for n in range(20)
    ]

    def work(thread: int) -> None:
        for given in [*requests[thread:], *requests[:thread]][:: 1 if thread % 2 else -1]:
            send(sender, given[::-1] if thread % 3 else given)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert counted(stripe_client, meter, customer) == 100


def test_other_content_under_a_taken_identifier_is_kept_and_not_counted(
    stripe_client: StripeClient, sender: StripeClient, meter: str, customer: str
) -> None:
    send(sender, [event(customer, "5", identifier="one")])
    send(sender, [event(customer, "7", identifier="one"), event(customer, "2", identifier="two")])
    assert counted(stripe_client, meter, customer) == 7

    def conflicts(**filters: str) -> list[dict[str, Any]]:
        listed = stripe_client.raw_request("get", "/v1/usage/conflicts", **filters).data
        assert (listed["object"], listed["url"]) == ("list", "/v1/usage/conflicts")
        found: list[dict[str, Any]] = listed["data"]
        return found

    [conflict] = conflicts()
    assert conflict == {
        "id": conflict["id"],
        "object": "usage.conflict",
        "actor": conflict["actor"],
        "created": conflict["created"],
        "customer": customer,
        "event_name": EVENT,
        "identifier": "one",
        "livemode": False,
        "payload": {"stripe_customer_id": customer, "value": "7"},
        "timestamp": conflict["timestamp"],
        "value": "7",
    }
    assert conflict["actor"].startswith("mes_")
    assert conflicts(identifier="one") == [conflict]
    assert conflicts(identifier="two") == []


def test_what_is_wrong_costs_the_others_nothing(
    stripe_client: StripeClient, sender: StripeClient, meter: str, customer: str
) -> None:
    send(
        sender,
        [
            event("cus_x"),
            event(customer, "4"),
            event(customer, "much"),
            {"event_name": "unheard_of", "payload": {}},
            event(customer, "1", timestamp="2000-01-01T00:00:00Z"),
        ],
    )
    assert counted(stripe_client, meter, customer) == 4


# ─── What is refused at once ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "events", "parameter_missing"),
        ({"events": []}, "events", None),
        ({"events": {}}, "events", None),
        ({"events": "many"}, "events", None),
        ({"events": [1]}, "events[0]", None),
        ({"events": [{}]}, "events[0][event_name]", "parameter_missing"),
        ({"events": [{"event_name": "a"}]}, "events[0][payload]", "parameter_missing"),
        (
            {"events": [{"event_name": "a", "payload": {}}, {"event_name": "", "payload": {}}]},
            "events[1][event_name]",
            "parameter_invalid_empty",
        ),
        (
            {"events": [{"event_name": "a", "payload": {}, "color": "red"}]},
            "events[0][color]",
            "parameter_unknown",
        ),
        ({"events": [{"event_name": "a", "payload": {"n": 1}}]}, "events[0][payload]", None),
        ({"events": [{"event_name": "a", "payload": {}}] * 101}, "events", None),
        ({"events": [], "more": 1}, "more", "parameter_unknown"),
    ],
)
def test_a_request_that_is_none_is_refused_whole(
    server: str, token: str, body: dict[str, Any], param: str, code: str | None
) -> None:
    answer = httpx.post(
        f"{server}/v2/billing/meter_event_stream",
        json=body,
        headers={"Authorization": f"Bearer {token}"},
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["param"], error.get("code")) == (param, code)


@pytest.mark.parametrize("body", [b"{", b"[]", b"1", b'{"events": [', b"\xff", b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(server: str, token: str, body: bytes) -> None:
    answer = httpx.post(
        f"{server}/v2/billing/meter_event_stream",
        content=body,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Invalid JSON")


# ─── Who may ─────────────────────────────────────────────────────────────────────────────────


def test_an_api_key_is_no_session(stripe_client: StripeClient, customer: str) -> None:
    with unauthenticated(stripe.AuthenticationError, None):
        send(stripe_client, [event(customer)])


def test_a_session_is_no_api_key(sender: StripeClient) -> None:
    with unauthenticated(stripe.AuthenticationError, None):
        sender.v1.customers.list()


def test_nobody_is_refused(server: str, customer: str) -> None:
    body = {"events": [event(customer)]}
    answer = httpx.post(f"{server}/v2/billing/meter_event_stream", json=body)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_session_that_has_ended_is_told_so(
    server: str, sender: StripeClient, token: str, database: Database, customer: str
) -> None:
    with database.transaction() as conn:
        conn.execute(
            "UPDATE meter_event_sessions SET expires_at = %s WHERE digest = %s",
            (clock.now(), manage_keys.digest(token)),
        )
    with unauthenticated(
        stripe.TemporarySessionExpiredError, "billing_meter_event_session_expired"
    ):
        send(sender, [event(customer)])


def test_a_session_ends_with_its_key(
    server: str, database: Database, account: Account, customer: str
) -> None:
    with database.transaction() as conn:
        doomed: IssuedKey = manage_keys.create_key(conn, account, now=clock.now())
    client = StripeClient(doomed.secret, base_addresses={"api": server})
    token = client.v2.billing.meter_event_session.create().authentication_token
    with database.transaction() as conn:
        manage_keys.revoke_key(conn, account, doomed.id, now=clock.now())
    sender = StripeClient(token, base_addresses={"meter_events": server})
    with unauthenticated(stripe.AuthenticationError, None):
        send(sender, [event(customer)])


def test_a_session_is_its_accounts(
    server: str, stranger: StripeClient, meter: str, customer: str, stripe_client: StripeClient
) -> None:
    token = stranger.v2.billing.meter_event_session.create().authentication_token
    sender = StripeClient(token, base_addresses={"meter_events": server})
    send(sender, [event(customer)])  # no meter of theirs has the name
    assert counted(stripe_client, meter, customer) == 0


# ─── Remembering ─────────────────────────────────────────────────────────────────────────────


class Sessions:
    """Where a session is found, and how often somebody looked."""

    def __init__(self) -> None:
        self.looked = 0
        end = NOW + timedelta(minutes=15)
        self.known = {"token": MeterEventSession("mes_1", 1, False, NOW, end)}

    async def find(self, token: str) -> MeterEventSession | None:
        self.looked += 1
        return self.known.get(token)


def authenticate(authenticator: SessionAuthenticator, now: datetime, token: str = "token") -> str:
    return asyncio.run(authenticator.authenticate(f"Bearer {token}", now=now)).id


def test_a_session_is_looked_up_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions()
    authenticator = SessionAuthenticator(sessions.find)
    for _ in range(3):
        assert authenticate(authenticator, NOW) == "mes_1"
    assert sessions.looked == 1
    monkeypatch.setattr(authentication, "REMEMBERED_S", -1.0)
    authenticator = SessionAuthenticator(sessions.find)
    for _ in range(3):
        authenticate(authenticator, NOW)
    assert sessions.looked == 4


def test_a_remembered_session_ends_on_time() -> None:
    sessions = Sessions()
    authenticator = SessionAuthenticator(sessions.find)
    end = NOW + timedelta(minutes=15)
    assert authenticate(authenticator, end - timedelta(microseconds=1)) == "mes_1"
    with pytest.raises(SessionExpired):
        authenticate(authenticator, end)
    assert sessions.looked == 1


def test_only_so_many_sessions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "REMEMBERED_MAX", 2)
    sessions = Sessions()
    for token in "abcd":
        sessions.known[token] = sessions.known["token"]
    authenticator = SessionAuthenticator(sessions.find)
    for token in "abcdabcd":
        authenticate(authenticator, NOW, token)
    assert len(authenticator._remembered) <= 2
    with pytest.raises(AuthenticationFailed):
        authenticate(authenticator, NOW, "e")
