"""A billing invoice whose charge fails: two in the morning, three tries, and then nothing more."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from dunning import DECLINED, STOLEN, ours, schedule
from town import DAY, HOUR, Town, at

from frame_client import Frame

JULY = at("2026-07-01 10:00:00")
NIGHT = at("2026-07-02 02:00:00")


def overdrawn(town: Town, frame: Frame, card: str = DECLINED) -> tuple[str, str, dict[str, Any]]:
    """A clock, a customer of it whose card declines, and its invoice of June's usage."""
    clock = town.clock(at("2026-06-01"))
    customer = town.customer(clock, None)
    frame.post("/v1/billing/metering", {"event_name": "call", "aggregation": "sum", "value": 0.01})
    event = {"event_name": "call", "payload": {"customer": customer, "value": "2345"}}
    town.client.v1.billing.meter_events.create(event)  # type: ignore[arg-type]
    town.advance(clock, JULY)
    method = town.client.v1.payment_methods.attach(card, {"customer": customer}).id
    asked = {
        "customer": customer,
        "start_date": "2026-06-01T00:00:00Z",
        "end_date": "2026-06-30T23:59:59Z",
        "collection_method": "auto_charge",
        "payment_method": method,
    }
    return clock, customer, frame.post("/v1/billing/billing_invoice", asked)


def shown(frame: Frame, invoice: dict[str, Any]) -> tuple[str, int | None]:
    """Its status, and when it is tried again."""
    found = frame.get(f"/v1/invoices/{invoice['id']}")
    return found["status"], found["next_payment_attempt"]


def tries(town: Town, invoice: dict[str, Any]) -> int | None:
    return town.client.v1.invoices.retrieve(invoice["id"]).attempt_count


def test_three_tries_and_it_is_given_up(town: Town, frame: Frame) -> None:
    ours(town, "/v1/billing_settings", retry_schedule=schedule(town, kind="list", days=[9]))
    clock, _, invoice = overdrawn(town, frame)
    assert (invoice["status"], invoice["total"]) == ("outstanding", 2345)
    assert (shown(frame, invoice), tries(town, invoice)) == (("outstanding", NIGHT), 1)
    town.advance(clock, NIGHT - 1)
    assert tries(town, invoice) == 1
    town.advance(clock, NIGHT)
    assert (shown(frame, invoice), tries(town, invoice)) == (("outstanding", NIGHT + DAY), 2)
    town.advance(clock, NIGHT + DAY)
    assert (shown(frame, invoice), tries(town, invoice)) == (("outstanding", None), 3)
    town.advance(clock, NIGHT + 30 * DAY)
    assert (shown(frame, invoice), tries(town, invoice)) == (("outstanding", None), 3)
    told = [each.type for each in town.events(invoice["id"])]
    assert told.count("invoice.payment_failed") == 3
    assert "invoice.paid" not in told


def test_the_third_try_has_another_card(town: Town, frame: Frame) -> None:
    clock, customer, invoice = overdrawn(town, frame)
    town.advance(clock, NIGHT)
    card = town.client.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    frame.patch(f"/v1/invoices/{invoice['id']}", {"payment_method": card})
    town.advance(clock, NIGHT + DAY)
    assert (shown(frame, invoice), tries(town, invoice)) == (("paid", None), 3)
    assert town.client.v1.invoices.retrieve(invoice["id"]).amount_paid == 2345


def test_the_customers_next_card_pays_where_the_first_is_detached(town: Town, frame: Frame) -> None:
    clock, customer, invoice = overdrawn(town, frame)
    frame.post(f"/v1/payment_methods/{invoice['payment_method']}/detach")
    town.pays_with(customer, "pm_card_visa")
    town.advance(clock, NIGHT)
    assert (shown(frame, invoice), tries(town, invoice)) == (("paid", None), 2)


def test_a_stolen_card_is_not_tried_again_but_its_successor_is(town: Town, frame: Frame) -> None:
    clock, customer, invoice = overdrawn(town, frame, STOLEN)
    town.advance(clock, NIGHT)
    assert (shown(frame, invoice), tries(town, invoice)) == (("outstanding", NIGHT + DAY), 1)
    card = town.client.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    town.client.v1.invoices.update(invoice["id"], {"default_payment_method": card})
    town.advance(clock, NIGHT + DAY)
    assert (shown(frame, invoice), tries(town, invoice)) == (("paid", None), 2)


def test_the_nights_are_the_accounts_and_not_the_customers(town: Town, frame: Frame) -> None:
    ours(town, "/v1/billing_settings", time_zone="America/New_York")
    clock, customer, invoice = overdrawn(town, frame)
    assert shown(frame, invoice)[1] == NIGHT + 4 * HOUR  # it is still the first of July there
    town.client.v1.customers.update(customer, {"time_zone": "Asia/Tokyo"})  # type: ignore[typeddict-unknown-key]
    town.advance(clock, NIGHT + 4 * HOUR)
    assert shown(frame, invoice)[1] == NIGHT + DAY + 4 * HOUR


def test_what_the_customer_owes_it_can_pay_by_itself(town: Town, frame: Frame) -> None:
    clock, customer, invoice = overdrawn(town, frame)
    town.pays_with(customer, "pm_card_visa")
    with pytest.raises(stripe.CardError):
        town.client.v1.invoices.pay(invoice["id"])  # by its own card, which declines
    assert shown(frame, invoice) == ("outstanding", NIGHT)
    card = town.client.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    assert town.client.v1.invoices.pay(invoice["id"], {"payment_method": card}).status == "paid"
    town.advance(clock, NIGHT + DAY)
    assert (shown(frame, invoice), tries(town, invoice)) == (("paid", None), 1)
