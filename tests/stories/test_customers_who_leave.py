"""A customer is deleted: its subscriptions end, and nothing more is billed by itself."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

FEBRUARY = MONTH_BEGINS + 31 * DAY
YEAR = MONTH_BEGINS + 365 * DAY


def items_of(price: str, **more: Any) -> dict[str, Any]:
    return {"items": [{"price": price}], **more}


def test_nothing_more_is_billed_to_a_customer_who_is_deleted(town: Town) -> None:
    v1 = town.client.v1
    clock = town.clock()
    ada = town.customer(clock)
    price, calls = town.price(unit_amount=1000), town.metered(unit_amount=10)
    subscription = town.subscribe(ada, price, calls)
    town.use(ada, "7")
    month: Any = {"interval": "month", "interval_count": 1}
    later = v1.subscription_schedules.create(
        {
            "customer": ada,
            "start_date": FEBRUARY + DAY,
            "phases": [{"items": [{"price": price}], "duration": month}],
        }
    )
    running = v1.subscription_schedules.create(
        {
            "customer": ada,
            "start_date": "now",
            "phases": [
                {"items": [{"price": price}], "duration": month},
                {"items": [{"price": price, "quantity": 3}], "duration": month},
            ],
        }
    )
    v1.invoice_items.create({"customer": ada, "amount": 700, "currency": "usd"})
    by_hand = v1.invoices.create({"customer": ada, "currency": "usd", "auto_advance": True})
    v1.invoice_items.create(
        {"customer": ada, "invoice": by_hand.id, "amount": 900, "currency": "usd"}
    )
    v1.customers.update(ada, {"balance": -300})
    credit = v1.billing.credit_grants.create(
        {
            "customer": ada,
            "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 500}},
            "applicability_config": {"scope": {"price_type": "metered"}},
            "expires_at": FEBRUARY,
        }
    )
    before = v1.invoices.list({"customer": ada}).data

    v1.customers.delete(ada)
    town.advance(clock, FEBRUARY - DAY)
    town.advance(clock, FEBRUARY + 20 * DAY)

    after = v1.invoices.list({"customer": ada}).data
    assert [(each.id, each.status) for each in after] == [(each.id, each.status) for each in before]
    draft = v1.invoices.retrieve(by_hand.id)
    assert (draft.status, draft.auto_advance, draft.automatically_finalizes_at) == (
        "draft",
        False,
        None,
    )
    assert town.subscription(subscription.id).status == "canceled"
    for each in (later, running):
        schedule = v1.subscription_schedules.retrieve(each.id)
        assert (schedule.status, schedule.canceled_at) == ("canceled", MONTH_BEGINS)
    pending = v1.invoice_items.list({"customer": ada, "pending": True}).data
    assert [each.amount for each in pending] == [700]
    said = [event.type for event in town.events(later.id, running.id, by_hand.id)]
    assert said.count("subscription_schedule.canceled") == 2
    assert said[-1] == "invoice.updated"
    changed = town.events(by_hand.id)[-1].data
    assert changed.previous_attributes is not None
    assert set(changed.previous_attributes.to_dict()) == {
        "auto_advance",
        "automatically_finalizes_at",
        "next_payment_attempt",
    }
    # What was given is still there to be seen, and what has expired has expired.
    [first, *_] = v1.billing.credit_balance_transactions.list({"credit_grant": credit.id}).data
    assert (first.debit and first.debit.type) == "credits_expired"


def test_an_unpaid_invoice_is_not_asked_for_again(town: Town) -> None:
    v1 = town.client.v1
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(ada, town.price(unit_amount=1000))
    town.pays_with(ada, "pm_card_chargeCustomerFail")
    town.advance(clock, FEBRUARY + HOUR)
    unpaid = town.invoices(subscription.id)[-1]
    assert (unpaid.status, unpaid.attempt_count) == ("open", 1)

    v1.customers.delete(ada)
    town.advance(clock, FEBRUARY + 25 * DAY)

    left = v1.invoices.retrieve(unpaid.id)
    assert (left.status, left.attempt_count, left.next_payment_attempt) == ("open", 1, None)
    assert left.auto_advance is False
    assert town.subscription(subscription.id).status == "canceled"


def test_a_deleted_customer_is_sold_nothing(town: Town) -> None:
    v1 = town.client.v1
    ada = town.customer(town.clock())
    price = town.price(unit_amount=1000)
    v1.customers.delete(ada)
    schedule: Any = {"customer": ada, "phases": [items_of(price)]}
    grant: Any = {
        "customer": ada,
        "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 500}},
        "applicability_config": {"scope": {"price_type": "metered"}},
    }
    for act in (
        lambda: town.subscribe(ada, price),
        lambda: v1.subscription_schedules.create(schedule),
        lambda: v1.invoices.create({"customer": ada, "currency": "usd"}),
        lambda: v1.invoice_items.create({"customer": ada, "amount": 1, "currency": "usd"}),
        lambda: v1.billing.credit_grants.create(grant),
        lambda: v1.customers.balance_transactions.create(ada, {"amount": 1, "currency": "usd"}),
        lambda: v1.promotion_codes.create(
            {
                "customer": ada,
                "promotion": {"type": "coupon", "coupon": v1.coupons.create({"percent_off": 1}).id},
            }
        ),
    ):
        with pytest.raises(stripe.InvalidRequestError, match="No such customer") as refused:
            act()
        assert refused.value.http_status == 404
