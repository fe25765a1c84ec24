"""Objects in their richest states: all keys are there (the client judges), and what they say."""

from __future__ import annotations

import time
from typing import Any

import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

FEBRUARY = MONTH_BEGINS + 31 * DAY
MIDDLE = MONTH_BEGINS + 31 * DAY // 2


def invoice_of(town: Town, invoice_id: str, *expand: str) -> dict[str, Any]:
    found = town.client.v1.invoices.retrieve(invoice_id, {"expand": list(expand)})
    return found.to_dict()


def final(town: Town, subscription: str, count: int) -> stripe.Invoice:
    """The newest of the subscription's invoices, once there are so many and it is final."""
    for _ in range(1000):
        found = town.invoices(subscription)
        if len(found) == count and found[-1].status == "paid":
            return found[-1]
        time.sleep(0.02)
    raise AssertionError(f"There never were {count} invoices.")


def test_an_invoice_that_is_discounted_credited_taxed_and_settled_from_the_balance(
    town: Town,
) -> None:
    v1 = town.client.v1
    clock = town.clock()
    ada = town.customer(
        clock, email="ada@example.com", phone="+1", address={"country": "DE", "city": "Berlin"}
    )
    calls, seats = town.metered(unit_amount=10), town.price(unit_amount=2000)
    rate = v1.tax_rates.create(
        {
            "display_name": "VAT",
            "percentage": 10,
            "inclusive": False,
            "country": "DE",
            "tax_type": "vat",
        }
    )
    coupon = v1.coupons.create(
        {"percent_off": 50, "duration": "repeating", "duration_in_months": 3, "name": "Half"}
    )
    code = v1.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "HALF", "customer": ada}
    )
    three = v1.coupons.create({"amount_off": 300, "currency": "usd", "duration": "forever"})
    given: Any = [
        {"price": calls},
        {"price": seats, "discounts": [{"coupon": three.id}], "metadata": {"desk": "4"}},
    ]
    subscription = v1.subscriptions.create(
        {
            "customer": ada,
            "items": given,
            "discounts": [{"promotion_code": code.id}],
            "default_tax_rates": [rate.id],
            "description": "Calls and seats",
            "metadata": {"plan": "all"},
        }
    )
    grant = v1.billing.credit_grants.create(
        {
            "customer": ada,
            "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 200}},
            "applicability_config": {"scope": {"price_type": "metered"}},
            "name": "Welcome",
        }
    )
    v1.customers.balance_transactions.create(ada, {"amount": -150, "currency": "usd"})
    town.use(ada, "100")
    town.advance(clock, FEBRUARY + HOUR)

    bill = town.invoices(subscription.id)[-1]
    shown = invoice_of(
        town,
        bill.id,
        "customer",
        "discounts.source.coupon",
        "discounts.promotion_code",
        "total_discount_amounts.discount",
        "total_pretax_credit_amounts.credit_balance_transaction",
        "lines.data.discount_amounts.discount",
        "lines.data.pretax_credit_amounts.credit_balance_transaction.credit_grant",
        "parent.subscription_details.subscription",
        "payments",
    )
    # Seats: 2000 - 300 of their own, half of it off. Calls: 1000, half off, 200 paid by credit.
    assert (shown["subtotal"], shown["total"]) == (2700, 1265)
    assert (shown["subtotal_excluding_tax"], shown["total_excluding_tax"]) == (2700, 1150)
    assert (shown["starting_balance"], shown["ending_balance"], shown["amount_due"]) == (
        -150,
        0,
        1115,
    )
    assert (shown["status"], shown["amount_paid"], shown["amount_remaining"]) == ("paid", 1115, 0)
    [discount] = shown["discounts"]
    assert discount["source"]["coupon"]["name"] == "Half"
    assert discount["promotion_code"]["code"] == "HALF"
    assert (discount["subscription"], discount["start"]) == (subscription.id, MONTH_BEGINS)
    assert discount["end"] == MONTH_BEGINS + (31 + 28 + 31) * DAY
    assert sorted(each["amount"] for each in shown["total_discount_amounts"]) == [300, 1350]
    [tax] = shown["total_taxes"]
    assert tax == {
        "amount": 115,
        "tax_behavior": "exclusive",
        "tax_rate_details": {"tax_rate": rate.id},
        "taxability_reason": "not_available",
        "taxable_amount": 1150,
        "type": "tax_rate_details",
    }
    [used] = [each for each in shown["total_pretax_credit_amounts"] if each["type"] != "discount"]
    movement = used["credit_balance_transaction"]
    assert (used["amount"], movement["debit"]["type"]) == (200, "credits_applied")
    assert movement["debit"]["credits_applied"]["invoice"] == bill.id
    assert movement["debit"]["amount"]["monetary"] == {"currency": "usd", "value": 200}
    by_price = {each["pricing"]["price_details"]["price"]: each for each in shown["lines"]["data"]}
    assert by_price[calls]["pretax_credit_amounts"][-1]["credit_balance_transaction"][
        "credit_grant"
    ]["name"] == str(grant.name)
    assert [each["amount"] for each in by_price[seats]["discount_amounts"]] == [300, 850]
    assert by_price[seats]["metadata"] == {"desk": "4"}
    assert by_price[seats]["parent"]["type"] == "subscription_item_details"
    assert shown["customer_address"]["city"] == "Berlin"
    assert (shown["customer_email"], shown["customer_phone"]) == ("ada@example.com", "+1")
    assert shown["parent"]["subscription_details"]["metadata"] == {"plan": "all"}
    assert shown["parent"]["subscription_details"]["subscription"]["id"] == subscription.id
    assert shown["default_tax_rates"][0]["percentage"] == 10
    [payment] = shown["payments"]["data"]
    assert (payment["status"], payment["amount_paid"]) == ("paid", 1115)

    moved = v1.customers.balance_transactions.list(
        ada, {"expand": ["data.invoice", "data.customer"]}
    ).data[0]
    assert (moved.type, moved.amount, moved.ending_balance) == ("applied_to_invoice", 150, 0)
    assert isinstance(moved.invoice, stripe.Invoice)
    assert moved.invoice.id == bill.id
    as_it_is = v1.subscriptions.retrieve(
        subscription.id, {"expand": ["discounts", "latest_invoice", "items.data.discounts"]}
    )
    assert isinstance(as_it_is.latest_invoice, stripe.Invoice)
    assert as_it_is.description == "Calls and seats"
    [own] = as_it_is["items"].data[1].discounts
    assert isinstance(own, stripe.Discount)
    assert (own.subscription_item, own.source.coupon) == (as_it_is["items"].data[1].id, three.id)


def test_a_proration_credited_on_a_credit_note(town: Town) -> None:
    v1 = town.client.v1
    clock = town.clock()
    ada = town.customer(clock)
    small, large = town.price(unit_amount=3100), town.price(unit_amount=6200)
    rate = v1.tax_rates.create({"display_name": "VAT", "percentage": 20, "inclusive": True})
    subscription = town.subscribe(ada, small, default_tax_rates=[rate.id])
    item = subscription["items"].data[0].id
    first = town.invoices(subscription.id)[0]
    town.advance(clock, MIDDLE)
    changed: Any = {"items": [{"id": item, "price": large}]}
    v1.subscriptions.update(subscription.id, changed)

    charge, credit = v1.invoice_items.list({"customer": ada, "pending": True}).data
    if charge.amount < 0:
        charge, credit = credit, charge
    assert (charge.amount, credit.amount) == (3100, -1550)
    for each in (charge, credit):
        assert (each.proration, each.discountable) == (True, False)
        assert each.parent is not None
        assert each.parent.subscription_details is not None
        assert each.parent.subscription_details.subscription == subscription.id
        assert each.parent.subscription_details.subscription_item == item
        assert (each.period.start, each.period.end) == (MIDDLE, FEBRUARY)
        assert each.test_clock == clock
    assert credit.proration_details is not None
    of = credit.proration_details.credited_items
    assert of is not None
    assert of.invoice_line_item_details is not None
    assert (of.type, of.invoice_line_item_details.invoice) == ("invoice_line_items", first.id)
    assert of.invoice_line_item_details.invoice_line_items == [first.lines.data[0].id]

    town.advance(clock, FEBRUARY + HOUR)
    bill = invoice_of(town, town.invoices(subscription.id)[-1].id)
    prorated = next(each for each in bill["lines"]["data"] if each["amount"] < 0)
    details = prorated["parent"]["subscription_item_details"]
    assert (details["proration"], details["invoice_item"]) == (True, credit.id)
    assert details["proration_details"]["credited_items"]["invoice"] == first.id
    # Tax is within: a sixth of all that is billed.
    assert (bill["total"], bill["total_excluding_tax"]) == (7750, 7750 - 1292)
    assert bill["subtotal_excluding_tax"] == bill["total_excluding_tax"]

    line = next(each for each in bill["lines"]["data"] if each["amount"] == 6200)
    given: Any = {"type": "invoice_line_item", "invoice_line_item": line["id"], "amount": 600}
    note = v1.credit_notes.create(
        {
            "invoice": bill["id"],
            "lines": [given],
            "credit_amount": 600,
            "reason": "order_change",
            "memo": "Sorry",
            "expand": ["customer_balance_transaction.credit_note", "invoice", "customer"],
        }
    )
    assert (note.total, note.total_excluding_tax, note.type) == (600, 500, "post_payment")
    assert (note.subtotal, note.subtotal_excluding_tax) == (600, 500)
    moved = note.customer_balance_transaction
    assert isinstance(moved, stripe.CustomerBalanceTransaction)
    assert (moved.type, moved.amount) == ("credit_note", -600)
    assert isinstance(moved.credit_note, stripe.CreditNote)
    assert moved.credit_note.id == note.id
    [taken] = note.lines.data
    assert [each.amount for each in taken.taxes or []] == [100]
    assert taken.invoice_line_item == line["id"]
    after = invoice_of(town, bill["id"])
    assert (after["post_payment_credit_notes_amount"], after["amount_remaining"]) == (600, 0)


def test_an_invoice_of_a_threshold(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    given: Any = [{"price": town.metered(unit_amount=10), "billing_thresholds": {"usage_gte": 90}}]
    subscription = town.client.v1.subscriptions.create({"customer": ada, "items": given})
    town.use(ada, "100")

    bill = final(town, subscription.id, 1)

    assert bill.billing_reason == "subscription_threshold"
    assert bill.threshold_reason is not None
    [reason] = bill.threshold_reason.item_reasons
    assert (reason.usage_gte, reason.line_item_ids) == (90, [bill.lines.data[0].id])
    [item] = town.subscription(subscription.id)["items"].data
    assert item.billing_thresholds is not None
    assert item.billing_thresholds.usage_gte == 90


def test_a_revision_and_what_it_revises(town: Town) -> None:
    v1 = town.client.v1
    ada = town.customer(town.clock(), card=None)
    draft = v1.invoices.create(
        {
            "customer": ada,
            "currency": "usd",
            "collection_method": "send_invoice",
            "days_until_due": 10,
            "custom_fields": [{"name": "Order", "value": "7"}],
            "footer": "Thank you",
            "rendering": {"amount_tax_display": "exclude_tax", "pdf": {"page_size": "a4"}},
        }
    )
    v1.invoice_items.create({"customer": ada, "invoice": draft.id, "amount": 5, "currency": "usd"})
    first = v1.invoices.finalize_invoice(draft.id)
    assert (first.status, first.due_date) == ("open", MONTH_BEGINS + 10 * DAY)
    revision = v1.invoices.create({"from_invoice": {"action": "revision", "invoice": first.id}})
    v1.invoices.finalize_invoice(revision.id)

    old = invoice_of(town, first.id, "latest_revision")
    new = invoice_of(town, revision.id, "from_invoice.invoice")
    assert (old["status"], old["latest_revision"]["id"]) == ("void", revision.id)
    assert new["from_invoice"]["action"] == "revision"
    assert new["from_invoice"]["invoice"]["id"] == first.id
    assert new["custom_fields"] == [{"name": "Order", "value": "7"}]
    assert new["rendering"]["pdf"] == {"page_size": "a4"}
    assert new["footer"] == "Thank you"
    assert (new["collection_method"], new["auto_advance"]) == ("send_invoice", False)
    v1.invoices.mark_uncollectible(revision.id)
    lost = invoice_of(town, revision.id)
    assert lost["status_details"]["uncollectible"]["reason"] is not None


def test_a_subscription_that_is_paused_and_one_whose_collection_is(town: Town) -> None:
    v1 = town.client.v1
    clock = town.clock()
    ada = town.customer(clock)
    price = town.price(unit_amount=1000)
    paused = town.subscribe(ada, price)
    held = town.subscribe(ada, price)
    town.advance(clock, MIDDLE)
    town.client.raw_request("post", f"/v1/subscriptions/{paused.id}/pause", type="subscription")
    v1.subscriptions.update(
        held.id, {"pause_collection": {"behavior": "keep_as_draft", "resumes_at": FEBRUARY + DAY}}
    )

    assert town.subscription(paused.id).status == "paused"
    kept = town.subscription(held.id)
    assert kept.pause_collection is not None
    assert (kept.status, kept.pause_collection.behavior) == ("active", "keep_as_draft")
    assert kept.pause_collection.resumes_at == FEBRUARY + DAY


def test_a_change_that_waits_for_its_payment(town: Town) -> None:
    v1 = town.client.v1
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(ada, town.price(unit_amount=1000))
    item = subscription["items"].data[0].id
    town.pays_with(ada, "pm_card_chargeCustomerFail")
    town.advance(clock, MIDDLE)
    asked: Any = {
        "items": [{"id": item, "quantity": 3}],
        "payment_behavior": "pending_if_incomplete",
        "proration_behavior": "always_invoice",
        "expand": ["latest_invoice", "customer"],
    }
    waiting = v1.subscriptions.update(subscription.id, asked)

    assert waiting.pending_update is not None
    assert waiting.pending_update.expires_at == MIDDLE + 23 * HOUR
    [then] = waiting.pending_update.subscription_items or []
    assert (then.id, then.quantity, waiting["items"].data[0].quantity) == (item, 3, 1)
    assert isinstance(waiting.latest_invoice, stripe.Invoice)
    assert waiting.latest_invoice.billing_reason == "subscription_update"
    assert waiting.latest_invoice.status == "open"


def test_a_schedule_and_its_subscription(town: Town) -> None:
    v1 = town.client.v1
    clock = town.clock()
    ada = town.customer(clock)
    card = str(v1.payment_methods.list({"customer": ada}).data[0].id)
    price, once = town.price(unit_amount=1000), town.price(unit_amount=2000)
    month: Any = {"interval": "month", "interval_count": 1}
    rate = v1.tax_rates.create({"display_name": "VAT", "percentage": 10, "inclusive": False})
    given: Any = {
        "customer": ada,
        "start_date": "now",
        "end_behavior": "cancel",
        "metadata": {"deal": "7"},
        "default_settings": {"default_payment_method": card, "description": "A deal"},
        "phases": [
            {
                "items": [{"price": price, "quantity": 2, "tax_rates": [rate.id]}],
                "duration": month,
                "metadata": {"phase": "1"},
            },
            {"items": [{"price": once}], "duration": month, "proration_behavior": "none"},
        ],
        "expand": [
            "subscription",
            "customer",
            "phases.items.price",
            "default_settings.default_payment_method",
        ],
    }
    schedule = v1.subscription_schedules.create(given)

    assert (schedule.status, schedule.end_behavior) == ("active", "cancel")
    assert schedule.current_phase is not None
    assert (schedule.current_phase.start_date, schedule.current_phase.end_date) == (
        MONTH_BEGINS,
        FEBRUARY,
    )
    first, second = schedule.phases
    assert isinstance(first["items"][0].price, stripe.Price)
    assert (first["items"][0].price.id, first["items"][0].quantity) == (price, 2)
    assert first["items"][0].tax_rates is not None
    assert first["items"][0].tax_rates[0].percentage == 10
    assert (second.proration_behavior, second.end_date) == ("none", FEBRUARY + 28 * DAY)
    assert isinstance(schedule.default_settings.default_payment_method, stripe.PaymentMethod)
    assert isinstance(schedule.subscription, stripe.Subscription)
    found = v1.subscriptions.retrieve(schedule.subscription.id, {"expand": ["schedule"]})
    assert isinstance(found.schedule, stripe.SubscriptionSchedule)
    assert found.schedule.id == schedule.id
    assert found.metadata.to_dict() == {"phase": "1"}
    town.advance(clock, FEBRUARY + 28 * DAY + HOUR)
    over = v1.subscription_schedules.retrieve(schedule.id)
    assert (over.status, over.completed_at) == ("completed", FEBRUARY + 28 * DAY)


def test_a_payment_in_each_of_its_states(town: Town) -> None:
    v1 = town.client.v1
    clock = town.clock()
    ada = town.customer(clock, "pm_card_authenticationRequired")
    subscription = town.subscribe(ada, town.price(unit_amount=1000))
    expand = [
        "confirmation_secret",
        "payments.data.payment.payment_intent.latest_charge",
        "payments.data.payment.payment_intent.payment_method",
    ]

    def shown() -> tuple[dict[str, Any], dict[str, Any]]:
        invoice = invoice_of(town, str(subscription.latest_invoice), *expand)
        [payment] = invoice["payments"]["data"]
        return payment, payment["payment"]["payment_intent"]

    payment, waits = shown()
    assert (payment["status"], payment["amount_paid"]) == ("open", None)
    assert (waits["status"], waits["latest_charge"]) == ("requires_action", None)
    town.authenticate(waits["id"], "fail")
    _, failed = shown()
    assert failed["status"] == "requires_payment_method"
    assert failed["latest_charge"]["outcome"]["type"] == "issuer_declined"
    debit = v1.payment_methods.attach("pm_usBankAccount_success", {"customer": ada})
    v1.payment_intents.confirm(waits["id"], {"payment_method": debit.id})
    _, processing = shown()
    assert (processing["status"], processing["latest_charge"]["status"]) == (
        "processing",
        "pending",
    )
    assert processing["latest_charge"]["payment_method_details"]["type"] == "us_bank_account"
    town.advance(clock, MONTH_BEGINS + HOUR)
    payment, paid = shown()
    assert (payment["status"], payment["amount_paid"]) == ("paid", 1000)
    assert paid["latest_charge"]["outcome"]["network_status"] == "approved_by_network"
    assert paid["payment_method"]["us_bank_account"]["last4"] == "6789"
    assert town.subscription(subscription.id).status == "active"
