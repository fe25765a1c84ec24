"""Every act says what it did, once, in Stripe's words, with what it was before."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

FEBRUARY = MONTH_BEGINS + 31 * DAY
MIDDLE = MONTH_BEGINS + 31 * DAY // 2

BALANCE = {"balance", "invoice_credit_balance"}  # one by currency

# These have stories of their own.
OF_PAYMENTS = ("charge.", "invoice.upcoming", "invoice_payment.", "payment_intent.", "refund.")

Said = list[tuple[str, set[str]]]


class Ear:
    """Hears what has been said since it last listened."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.heard = {each.id for each in town.events()}

    def new(self) -> Said:
        """Types with the keys of their former attributes, in the order in which they were said."""
        found = [
            each
            for each in self.town.events()
            if each.id not in self.heard and not each.type.startswith(OF_PAYMENTS)
        ]
        self.heard |= {each.id for each in found}
        return [
            (each.type, set(each.data.to_dict().get("previous_attributes", ()))) for each in found
        ]

    def types(self) -> list[str]:
        return [kind for kind, _ in self.new()]


@pytest.fixture
def ear(town: Town) -> Ear:
    return Ear(town)


def test_what_is_off_the_list(town: Town, ear: Ear) -> None:
    v1 = town.client.v1
    coupon = v1.coupons.create({"percent_off": 10, "duration": "forever"})
    assert ear.new() == [("coupon.created", set())]
    v1.coupons.update(coupon.id, {"name": "Ten"})
    assert ear.new() == [("coupon.updated", {"name"})]
    v1.coupons.update(coupon.id, {"name": "Ten"})
    assert ear.new() == []  # which changed nothing
    code = v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}})
    assert ear.new() == [("promotion_code.created", set())]
    rate = v1.tax_rates.create({"display_name": "VAT", "percentage": 5, "inclusive": False})
    assert ear.new() == [("tax_rate.created", set())]
    v1.tax_rates.update(rate.id, {"active": False, "metadata": {"a": "b"}})
    assert ear.new() == [("tax_rate.updated", {"active", "metadata"})]
    ada = v1.customers.create({"name": "Ada"})
    ear.new()

    town.client.raw_request("post", f"/v1/customers/{ada.id}", promotion_code=code.id)
    assert sorted(ear.new(), key=str) == [
        ("customer.discount.created", set()),
        ("customer.updated", {"discount"}),
    ]
    v1.customers.delete_discount(ada.id)
    assert sorted(ear.new(), key=str) == [
        ("customer.discount.deleted", set()),
        ("customer.updated", {"discount"}),
    ]
    v1.promotion_codes.update(code.id, {"active": False})
    assert ear.new() == [("promotion_code.updated", {"active"})]
    v1.coupons.delete(coupon.id)
    assert ear.types()[0] == "coupon.deleted"


def test_credit(town: Town, ear: Ear) -> None:
    v1 = town.client.v1
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(ada, town.metered(unit_amount=10))
    ear.new()
    given: Any = {
        "customer": ada,
        "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 500}},
        "applicability_config": {"scope": {"price_type": "metered"}},
    }
    grant = v1.billing.credit_grants.create(given)
    assert sorted(ear.new(), key=str) == [
        ("billing.credit_balance_transaction.created", set()),
        ("billing.credit_grant.created", set()),
    ]
    v1.billing.credit_grants.update(grant.id, {"metadata": {"a": "b"}})
    assert [(kind, "metadata" in was) for kind, was in ear.new()] == [
        ("billing.credit_grant.updated", True)
    ]
    v1.customers.balance_transactions.create(ada, {"amount": -100, "currency": "usd"})
    assert ear.new() == [("customer.updated", BALANCE)]

    town.use(ada, "80")
    town.advance(clock, FEBRUARY)
    ear.new()
    town.advance(clock, FEBRUARY + HOUR)
    types = [each for each in ear.types() if not each.startswith("test_helpers")]
    assert types.count("billing.credit_balance_transaction.created") == 1
    assert types.count("invoice.finalized") == types.count("invoice.paid") == 1

    bill = town.invoices(subscription.id)[-1]
    assert (bill.total, bill.amount_paid) == (300, 200)
    note = v1.credit_notes.create({"invoice": bill.id, "amount": 100, "credit_amount": 100})
    said = dict(ear.new())
    assert said.pop("credit_note.created") == set()
    assert said.pop("invoice.updated") == {"post_payment_credit_notes_amount"}
    assert said.pop("customer.updated", BALANCE) == BALANCE
    assert said == {}
    v1.credit_notes.update(note.id, {"memo": "Sorry"})
    assert ear.new() == [("credit_note.updated", {"memo"})]
    v1.credit_notes.void_credit_note(note.id)
    assert {kind for kind, _ in ear.new()} - {"customer.updated"} == {
        "credit_note.voided",
        "invoice.updated",
    }
    v1.billing.credit_grants.expire(grant.id)
    [(kind, was)] = ear.new()  # there was nothing left of it
    assert (kind, "expires_at" in was) == ("billing.credit_grant.updated", True)
    other = v1.billing.credit_grants.create(given)
    ear.new()
    v1.billing.credit_grants.void_grant(other.id)
    said = dict(ear.new())
    assert set(said) == {
        "billing.credit_grant.updated",
        "billing.credit_balance_transaction.created",
    }
    assert "voided_at" in said["billing.credit_grant.updated"]


def test_a_draft_and_its_items(town: Town, ear: Ear) -> None:
    v1 = town.client.v1
    ada = town.customer(town.clock())
    ear.new()
    pending = v1.invoice_items.create({"customer": ada, "amount": 500, "currency": "usd"})
    assert ear.new() == [("invoiceitem.created", set()), ("customer.updated", {"currency"})]
    v1.invoice_items.update(pending.id, {"amount": 700})
    [(kind, was)] = ear.new()
    assert (kind, {"amount"} <= was) == ("invoiceitem.updated", True)
    draft = v1.invoices.create({"customer": ada, "pending_invoice_items_behavior": "include"})
    said = ear.new()
    assert ("invoice.created", set()) in said
    assert [kind for kind, _ in said].count("invoice.created") == 1
    v1.invoices.update(draft.id, {"description": "For you"})
    assert ear.new() == [("invoice.updated", {"description"})]
    line = v1.invoices.retrieve(draft.id).lines.data[0]
    v1.invoices.line_items.update(draft.id, line.id, {"amount": 900})
    said = ear.new()
    [was] = [was for kind, was in said if kind == "invoice.updated"]
    assert {"amount_due", "amount_remaining", "lines", "subtotal", "total"} <= was
    v1.invoices.delete(draft.id)
    assert "invoice.deleted" in ear.types()

    other = v1.invoices.create(
        {"customer": ada, "collection_method": "send_invoice", "days_until_due": 3}
    )
    v1.invoice_items.create({"customer": ada, "invoice": other.id, "amount": 5, "currency": "usd"})
    ear.new()
    v1.invoices.finalize_invoice(other.id)
    assert ear.types() == ["invoice.finalized"]
    v1.invoices.send_invoice(other.id)
    assert ear.types() == ["invoice.sent"]
    v1.invoices.mark_uncollectible(other.id)
    assert "invoice.marked_uncollectible" in ear.types()
    v1.invoices.void_invoice(other.id)
    assert ear.types().count("invoice.voided") == 1


def test_a_draft_is_said_as_it_is_shown(town: Town) -> None:
    """Whom it is for and what the balance leaves due, though neither is kept until it is final."""
    v1 = town.client.v1
    ada = town.customer(None, email="ada@example.com", balance=-500)
    draft = v1.invoices.create({"customer": ada, "metadata": {"po": "9"}})
    v1.invoice_items.create(
        {"customer": ada, "invoice": draft.id, "amount": 700, "currency": "usd"}
    )
    changed = v1.invoices.retrieve(draft.id)
    assert (changed.customer_email, changed.starting_balance) == ("ada@example.com", -500)
    assert (draft.amount_due, changed.amount_due) == (0, 200)
    created, updated = town.events(draft.id)
    assert created.data.object.to_dict() == draft.to_dict()
    assert updated.data.object.to_dict() == changed.to_dict()
    was = updated.data.to_dict()["previous_attributes"]
    assert {key: was[key] for key in ("amount_due", "total")} == {"amount_due": 0, "total": 0}
    assert not {"customer_email", "customer_name", "starting_balance"} & set(was)


def test_a_subscription_that_changes(town: Town, ear: Ear) -> None:
    v1 = town.client.v1
    clock = town.clock()
    ada = town.customer(clock)
    price, more = town.price(unit_amount=1000), town.price(unit_amount=500)
    coupon = v1.coupons.create({"percent_off": 10, "duration": "forever"})
    ear.new()
    subscription = town.subscribe(ada, price)
    types = ear.types()
    assert types.count("customer.subscription.created") == types.count("invoice.created") == 1
    assert types.count("invoice.finalized") == types.count("invoice.paid") == 1
    item = subscription["items"].data[0].id
    town.advance(clock, MIDDLE)
    ear.new()

    v1.subscriptions.update(subscription.id, {"items": [{"id": item, "quantity": 2}]})
    said = ear.new()
    assert [kind for kind, _ in said].count("invoiceitem.created") == 2
    [was] = [was for kind, was in said if kind == "customer.subscription.updated"]
    assert {"items", "quantity"} & was
    assert len(said) == 3
    v1.subscription_items.create(
        {"subscription": subscription.id, "price": more, "proration_behavior": "none"}
    )
    [(kind, was)] = ear.new()
    assert (kind, "items" in was) == ("customer.subscription.updated", True)
    v1.subscriptions.update(subscription.id, {"metadata": {"a": "b"}, "description": "All"})
    assert ear.new() == [("customer.subscription.updated", {"metadata", "description"})]
    v1.subscriptions.update(subscription.id, {"discounts": [{"coupon": coupon.id}]})
    said = ear.new()
    assert ("customer.subscription.updated", {"discounts"}) in said
    assert ("customer.discount.created", set()) in said
    v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    [(kind, was)] = ear.new()
    assert kind == "customer.subscription.updated"
    assert {"cancel_at_period_end", "cancel_at", "canceled_at"} <= was
    v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert ear.types() == ["customer.subscription.updated"]
    v1.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "void"}})
    assert ear.new() == [("customer.subscription.updated", {"pause_collection"})]
    v1.subscriptions.update(subscription.id, {"pause_collection": ""})
    assert ear.new() == [("customer.subscription.updated", {"pause_collection"})]
    v1.subscriptions.update(subscription.id, {"description": "All"})
    assert ear.new() == []  # which it was
    v1.subscriptions.cancel(subscription.id)
    types = ear.types()
    assert types.count("customer.subscription.deleted") == 1
    assert "customer.subscription.updated" not in types


def test_a_schedule(town: Town, ear: Ear) -> None:
    v1 = town.client.v1
    clock = town.clock()
    ada = town.customer(clock)
    price = town.price(unit_amount=1000)
    month: Any = {"interval": "month", "interval_count": 1}
    ear.new()
    given: Any = {
        "customer": ada,
        "start_date": MONTH_BEGINS + DAY,
        "phases": [{"items": [{"price": price}], "duration": month}],
    }
    schedule = v1.subscription_schedules.create(given)
    assert ear.types() == ["subscription_schedule.created"]
    v1.subscription_schedules.update(schedule.id, {"metadata": {"a": "b"}})
    assert ear.new() == [("subscription_schedule.updated", {"metadata"})]
    town.advance(clock, MONTH_BEGINS + DAY)
    types = ear.types()
    assert types.count("subscription_schedule.updated") == 1
    assert types.count("customer.subscription.created") == 1
    v1.subscription_schedules.release(schedule.id)
    types = ear.types()
    assert types.count("subscription_schedule.released") == 1
    assert "subscription_schedule.updated" not in types
    assert types.count("customer.subscription.updated") == 1
    other = v1.subscription_schedules.create(given | {"start_date": MONTH_BEGINS + 9 * DAY})
    ear.new()
    v1.subscription_schedules.cancel(other.id)
    assert ear.types() == ["subscription_schedule.canceled"]
    with pytest.raises(stripe.InvalidRequestError):
        v1.subscription_schedules.cancel(other.id)
    assert ear.types() == []
