"""Single events and sessions of v2, through the official SDK."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import stripe
from refusals import refused
from stripe import StripeClient

from postpaid import clock
from postpaid.billing import manage_keys
from postpaid.billing.manage_keys import IssuedKey
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from shapes import assert_shape

EVENT = "api_call"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def spelled(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
def events(stripe_client: StripeClient, meter: str) -> Any:
    return stripe_client.v2.billing.meter_events


def counted(client: StripeClient, meter: str, customer: str) -> float:
    """What the meter has counted today and yesterday."""
    now = int(clock.now().timestamp()) // 60 * 60
    summaries = client.v1.billing.meters.event_summaries.list(
        meter, {"customer": customer, "start_time": now - 86_400, "end_time": now + 600}
    )
    return sum(each.aggregated_value for each in summaries.data)


# ─── Events ──────────────────────────────────────────────────────────────────────────────────


def test_an_event_is_recorded_to_the_millisecond(
    stripe_client: StripeClient, events: Any, meter: str, customer: str
) -> None:
    moment = spelled(clock.now().replace(microsecond=123_000) - timedelta(hours=1))
    payload = {"stripe_customer_id": customer, "value": "12.5", "region": "eu"}
    event = events.create(
        {"event_name": EVENT, "payload": payload, "identifier": "one", "timestamp": moment}
    )
    shown = event.last_response.data
    assert_shape(shown, stripe.v2.billing.MeterEvent)
    assert shown == {
        "object": "v2.billing.meter_event",
        "created": shown["created"],
        "event_name": EVENT,
        "identifier": "one",
        "livemode": False,
        "payload": payload,
        "timestamp": moment,
    }
    assert abs(at(shown["created"]) - clock.now()) < timedelta(minutes=1)
    assert counted(stripe_client, meter, customer) == 12.5


def test_an_event_occurs_now_and_has_a_name_unless_told_otherwise(
    events: Any, customer: str
) -> None:
    event = events.create(
        {"event_name": EVENT, "payload": {"stripe_customer_id": customer, "value": "1"}}
    )
    assert event.identifier
    assert event.timestamp == event.created


def test_a_time_zone_and_microseconds_are_understood(events: Any, customer: str) -> None:
    moment = clock.now().replace(microsecond=123_999) - timedelta(hours=1)
    elsewhere = moment.astimezone(None).isoformat()
    event = events.create(
        {
            "event_name": EVENT,
            "payload": {"stripe_customer_id": customer, "value": "1"},
            "timestamp": elsewhere,
        }
    )
    assert event.timestamp == spelled(moment.replace(microsecond=123_000))


def test_an_identifier_counts_once_in_v1_and_v2(
    stripe_client: StripeClient, events: Any, meter: str, customer: str
) -> None:
    event: Any = {
        "event_name": EVENT,
        "identifier": "one",
        "payload": {"stripe_customer_id": customer, "value": "3"},
    }
    events.create(event)
    for create in (events.create, stripe_client.v1.billing.meter_events.create):
        with refused("identifier", code="resource_already_exists", saying="identifier one."):
            create(event)
    assert counted(stripe_client, meter, customer) == 3


def test_a_repeat_with_its_key_gets_the_first_answer(
    stripe_client: StripeClient, events: Any, meter: str, customer: str
) -> None:
    event = {"event_name": EVENT, "payload": {"stripe_customer_id": customer, "value": "3"}}
    first = events.create(event, {"idempotency_key": "once"})
    assert events.create(event, {"idempotency_key": "once"}) == first
    assert counted(stripe_client, meter, customer) == 3


@pytest.mark.parametrize(
    ("change", "param", "code", "status"),
    [
        ({"event_name": None}, "event_name", "parameter_missing", 400),
        ({"event_name": ""}, "event_name", "parameter_invalid_empty", 400),
        ({"event_name": "x" * 101}, "event_name", None, 400),
        ({"event_name": "other"}, "event_name", "no_meter", 404),
        ({"payload": None}, "payload", "parameter_missing", 400),
        ({"payload": []}, "payload", None, 400),
        ({"payload": {}}, "payload[stripe_customer_id]", "meter_event_no_customer_defined", 400),
        ({"payload": {"value": 1}}, "payload", None, 400),
        ({"identifier": "x" * 101}, "identifier", None, 400),
        ({"identifier": 1}, "identifier", None, 400),
        ({"timestamp": 1767225600}, "timestamp", None, 400),
        ({"timestamp": "2026-01-01"}, "timestamp", None, 400),
        ({"timestamp": "2026-01-01T00:00:00"}, "timestamp", None, 400),
        ({"timestamp": "yesterday"}, "timestamp", None, 400),
        ({"timestamp": "9999-12-31T23:59:59Z"}, "timestamp", None, 400),
        ({"timestamp": "2000-01-01T00:00:00Z"}, "timestamp", "timestamp_too_far_in_past", 400),
        ({"timestamp": "2199-01-01T00:00:00Z"}, "timestamp", "timestamp_in_future", 400),
        ({"color": "red"}, "color", "parameter_unknown", 400),
    ],
)
def test_a_bad_event_is_refused(
    events: Any, customer: str, change: dict[str, Any], param: str, code: str | None, status: int
) -> None:
    good = {"event_name": EVENT, "payload": {"stripe_customer_id": customer, "value": "1"}}
    with refused(param, code=code, status=status):
        events.create(good | change)


def test_an_unknown_customer_is_missing(events: Any) -> None:
    with refused("payload[stripe_customer_id]", code="resource_missing", status=404):
        events.create(
            {"event_name": EVENT, "payload": {"stripe_customer_id": "cus_x", "value": "1"}}
        )


# ─── Sessions ────────────────────────────────────────────────────────────────────────────────


def test_a_session_lasts_for_a_quarter_of_an_hour(stripe_client: StripeClient) -> None:
    session: Any = stripe_client.v2.billing.meter_event_session.create()
    shown = session.last_response.data
    assert_shape(shown, stripe.v2.billing.MeterEventSession)
    assert set(shown) == {
        "id",
        "object",
        "authentication_token",
        "created",
        "expires_at",
        "livemode",
    }
    assert session.livemode is False
    assert at(session.expires_at) - at(session.created) == timedelta(minutes=15)


def test_a_session_takes_no_parameters(stripe_client: StripeClient) -> None:
    with refused("minutes", code="parameter_unknown"):
        stripe_client.raw_request("post", "/v2/billing/meter_event_session", minutes=60)


def test_a_token_is_kept_nowhere(
    stripe_client: StripeClient, database: Database, account: Account
) -> None:
    """Also a repeat with the same key must not need it: it opens another session."""
    sessions = stripe_client.v2.billing.meter_event_session
    first, again = (sessions.create(options={"idempotency_key": "once"}) for _ in range(2))
    assert first.authentication_token != again.authentication_token
    with database.connection() as conn:
        for table in ("meter_event_sessions", "idempotency_keys", "acts", "events"):
            rows = conn.execute(
                f"SELECT t::text FROM {table} t WHERE account_id = %s".encode(),
                (account.account_id,),
            ).fetchall()
            assert first.authentication_token not in str(rows)


def test_a_key_that_was_revoked_opens_nothing(
    server: str, http: httpx.Client, database: Database, account: Account
) -> None:
    with database.transaction() as conn:
        doomed: IssuedKey = manage_keys.create_key(conn, account, now=clock.now())
        manage_keys.revoke_key(conn, account, doomed.id, now=clock.now())
    client = StripeClient(doomed.secret, base_addresses={"api": server})
    with pytest.raises(stripe.AuthenticationError):
        client.v2.billing.meter_event_session.create()
