"""A stream with mistakes in it: what is taken back, what is reported, and what is billed."""

from __future__ import annotations

import time
from typing import Any

import pytest
import stripe
from town import DAY, MONTH_BEGINS, Town, at

from postpaid.storage.database import Database

FEBRUARY = at("2026-02-01 10:51:40")
HOUR = 3600


def iso(seconds: int) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.000Z"


def event(customer: str, value: str, identifier: str, at: int, **more: Any) -> dict[str, Any]:
    return {
        "event_name": "api_call",
        "payload": {"stripe_customer_id": customer, "value": value},
        "identifier": identifier,
        "timestamp": iso(at),
        **more,
    }


def shift_back(database: Database, account_id: int) -> None:
    """Let the wall clock be past the present ten seconds, as far as reports are concerned."""
    with database.transaction() as conn:
        conn.execute(
            "UPDATE usage_rejections SET window_start = window_start - interval '1 minute'"
            " WHERE account_id = %s",
            (account_id,),
        )


def account_of(town: Town) -> int:
    with town.database.connection() as conn:
        row = conn.execute(
            "SELECT account_id FROM meters ORDER BY created_at DESC, id DESC LIMIT 1"
        ).fetchone()
    assert row is not None
    return int(row[0])


def reports(town: Town, kind: str) -> list[Any]:
    """What the events of v2 tell of rejected usage, once the worker has."""
    types = [f"v1.billing.meter.{kind}"]
    for _ in range(1000):
        found = town.client.v2.core.events.list({"types": types}).data
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("Nothing was ever reported.")


@pytest.fixture
def town_of_v2(town: Town) -> Town:
    """Answers of v2 are judged where they are tested; here the books are."""
    client = stripe.StripeClient(
        town.secret,
        base_addresses=dict.fromkeys(("api", "files", "meter_events", "connect"), town.base),  # type: ignore[arg-type]
    )
    return Town(client, town.base, town.secret, town.database)


def test_what_was_taken_back_is_not_billed_and_what_was_wrong_is_told(town_of_v2: Town) -> None:
    """One cent a call.

    January 1                                            February 1
    |--- 100 + 20 + 3, "two" (20) taken back ------------| bills 103
         "one" again with 999: a conflict, not counted
         three of nobody, one of no meter: reported
    """
    town = town_of_v2
    clock = town.clock()
    ada = town.customer(clock)
    metered = town.metered(unit_amount=1)
    subscription = town.subscribe(ada, metered)

    session = town.client.v2.billing.meter_event_session.create()
    sender = stripe.StripeClient(
        session.authentication_token, base_addresses={"meter_events": town.base}
    )
    used_at = MONTH_BEGINS + 60
    good = [event(ada, value, name, used_at) for value, name in [("100", "one"), ("20", "two")]]
    wrong = [event("cus_nobody", "1", f"nobody-{n}", used_at) for n in range(3)]
    unheard = event(ada, "1", "unheard", used_at) | {"event_name": "unheard_of"}
    stream: Any = sender.v2.billing.meter_event_stream
    stream.create({"events": [*good, *wrong, unheard]})
    stream.create({"events": [*good, event(ada, "3", "three", used_at)]})
    stream.create({"events": [event(ada, "999", "one", used_at)]})

    town.client.v2.billing.meter_event_adjustments.create(
        {"event_name": "api_call", "type": "cancel", "cancel": {"identifier": "two"}}
    )
    stream.create({"events": good})

    shift_back(town.database, account_of(town))
    [report] = reports(town, "error_report_triggered")
    assert report.data.reason.error_count == 3
    [reason] = report.data.reason.error_types
    assert reason.code == "meter_event_customer_not_found"
    assert [each.request.identifier for each in reason.sample_errors] == [
        "nobody-0",
        "nobody-1",
        "nobody-2",
    ]
    assert report.fetch_related_object().event_name == "api_call"
    [unknown] = reports(town, "no_meter_found")
    assert unknown.data.reason.error_count == 1
    conflicts = town.client.raw_request("get", "/v1/usage/conflicts").data["data"]
    assert [(each["identifier"], each["value"]) for each in conflicts] == [("one", "999")]

    town.advance(clock, FEBRUARY + 2 * HOUR)
    [invoice] = town.invoices(subscription.id)
    assert (invoice.status, invoice.total) == ("paid", 103)

    with pytest.raises(stripe.NotCancelableError):
        town.client.v2.billing.meter_event_adjustments.create(
            {"event_name": "api_call", "type": "cancel", "cancel": {"identifier": "one"}}
        )
    town.advance(clock, FEBRUARY + DAY)
    assert town.invoices(subscription.id)[0].total == 103
