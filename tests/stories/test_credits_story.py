"""Months in which a customer has credit: on its balance, in grants, and by credit notes."""

from __future__ import annotations

from typing import Any

import stripe
from town import HOUR, Town, at, day

JANUARY = at("2026-01-01 10:00:00")


def month(number: int) -> int:
    """The start of the month's period in 2026."""
    return at(f"2026-{number:02d}-01 10:00:00")


def pass_month(town: Town, clock: str, number: int) -> None:
    """Until the period that ends in this month is billed and its invoice final."""
    town.advance(clock, month(number))
    town.advance(clock, month(number) + HOUR)


def balance_of(town: Town, customer: str) -> int | None:
    return town.client.v1.customers.retrieve(customer).balance


def movements(town: Town, customer: str) -> list[tuple[str, int, int]]:
    """The balance's movements, oldest first: type, amount and balance after it."""
    found = town.client.v1.customers.balance_transactions.list(customer, {"limit": 100})
    return [(each.type, each.amount, each.ending_balance) for each in reversed(found.data)]


def grant(town: Town, customer: str, value: int, **more: Any) -> stripe.billing.CreditGrant:
    given = {
        "customer": customer,
        "category": "paid",
        "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": value}},
        "applicability_config": {"scope": {"price_type": "metered"}},
        **more,
    }
    return town.client.v1.billing.credit_grants.create(given)  # type: ignore[arg-type]


def summary(town: Town, customer: str) -> list[tuple[int, int]]:
    """Available and ledger balance, by currency."""
    found = town.client.v1.billing.credit_balance_summary.retrieve(
        {
            "customer": customer,
            "filter": {
                "type": "applicability_scope",
                "applicability_scope": {"price_type": "metered"},
            },
        }
    )
    shown = []
    for each in found.balances:
        assert each.available_balance.monetary is not None
        assert each.ledger_balance.monetary is not None
        shown.append((each.available_balance.monetary.value, each.ledger_balance.monetary.value))
    return shown


def preview(town: Town, subscription: str) -> stripe.Invoice:
    return town.client.v1.invoices.create_preview({"subscription": subscription})


def test_credit_on_the_balance_pays_until_it_is_gone(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, balance=-2500)
    subscription = town.subscribe(customer, town.price(unit_amount=1000))
    assert subscription.status == "active"

    expected = preview(town, subscription.id)
    assert (expected.starting_balance, expected.ending_balance) == (-1500, None)
    assert (expected.total, expected.amount_due) == (1000, 0)
    pass_month(town, clock, 2)
    pass_month(town, clock, 3)

    billed = town.invoices(subscription.id)
    assert [
        (each.total, each.starting_balance, each.ending_balance, each.amount_due, each.status)
        for each in billed
    ] == [
        (1000, -2500, -1500, 0, "paid"),
        (1000, -1500, -500, 0, "paid"),
        (1000, -500, 0, 500, "paid"),
    ]
    assert [each.amount_paid for each in billed] == [0, 0, 500]
    assert movements(town, customer) == [
        ("initial", -2500, -2500),
        ("applied_to_invoice", 1000, -1500),
        ("applied_to_invoice", 1000, -500),
        ("applied_to_invoice", 500, 0),
    ]
    pass_month(town, clock, 4)
    assert town.invoices(subscription.id)[-1].amount_due == 1000


def test_a_negative_invoice_is_credit_for_the_next_two(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.price(unit_amount=1000))
    town.client.v1.invoice_items.create(
        {"customer": customer, "amount": -2600, "currency": "usd", "subscription": subscription.id}
    )
    for number in (2, 3, 4):
        pass_month(town, clock, number)

    assert [
        (each.total, each.starting_balance, each.ending_balance, each.amount_due, each.status)
        for each in town.invoices(subscription.id)
    ] == [
        (1000, 0, 0, 1000, "paid"),
        (-1600, 0, -1600, 0, "paid"),
        (1000, -1600, -600, 0, "paid"),
        (1000, -600, 0, 400, "paid"),
    ]
    assert balance_of(town, customer) == 0


def test_a_debt_is_added_to_the_next_invoice(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.price(unit_amount=1000))
    owed = town.client.v1.customers.balance_transactions.create(
        customer, {"amount": 250, "currency": "usd", "description": "A lost key"}
    )
    assert (owed.type, owed.ending_balance) == ("adjustment", 250)
    assert preview(town, subscription.id).amount_due == 1250
    pass_month(town, clock, 2)

    invoice = town.invoices(subscription.id)[-1]
    assert (invoice.total, invoice.starting_balance, invoice.ending_balance) == (1000, 250, 0)
    assert (invoice.amount_due, invoice.amount_paid, invoice.status) == (1250, 1250, "paid")
    assert movements(town, customer)[-1] == ("applied_to_invoice", -250, 0)


def test_voiding_gives_the_balance_back(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, balance=-400)
    subscription = town.subscribe(
        customer,
        town.price(unit_amount=1000),
        collection_method="send_invoice",
        days_until_due=30,
    )
    town.advance(clock, JANUARY + HOUR)
    [invoice] = town.invoices(subscription.id)
    assert (invoice.status, invoice.amount_due) == ("open", 600)

    town.client.v1.invoices.void_invoice(invoice.id)

    assert movements(town, customer) == [
        ("initial", -400, -400),
        ("applied_to_invoice", 400, 0),
        ("unapplied_from_invoice", -400, -400),
    ]
    pass_month(town, clock, 2)
    assert town.invoices(subscription.id)[-1].amount_due == 600


def test_a_grant_pays_for_usage_over_months_and_the_rest_expires(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    calls = town.metered(unit_amount=10)
    subscription = town.subscribe(customer, town.price(unit_amount=1000), calls)
    made = grant(town, customer, 5000, expires_at=month(4), name="Welcome")
    assert summary(town, customer) == [(5000, 5000)]

    town.use(customer, "120")
    expected = preview(town, subscription.id)
    assert (expected.subtotal, expected.total, expected.amount_due) == (2200, 1000, 1000)
    pass_month(town, clock, 2)
    town.use(customer, "300", timestamp=month(2) + HOUR)
    pass_month(town, clock, 3)

    first, second = town.invoices(subscription.id)[1:]
    assert (first.subtotal, first.total, first.amount_paid) == (2200, 1000, 1000)
    assert (second.subtotal, second.total, second.amount_paid) == (4000, 1000, 1000)
    [paid] = first.total_pretax_credit_amounts or []
    assert (paid.amount, paid.type) == (1200, "credit_balance_transaction")
    assert paid.amount == expected.subtotal - expected.total
    usage = next(line for line in first.lines.data if line.amount == 1200)
    [on_line] = usage.pretax_credit_amounts or []
    assert on_line.credit_balance_transaction == paid.credit_balance_transaction
    assert summary(town, customer) == [(800, 800)]

    # Of the period that ends as the credit does, nothing is paid with it.
    town.use(customer, "10", timestamp=month(3) + HOUR)
    town.advance(clock, month(4) + HOUR)
    assert town.invoices(subscription.id)[-1].total == 1100
    assert summary(town, customer) == []
    found = town.client.v1.billing.credit_balance_transactions.list({"credit_grant": made.id})
    shown = [
        (each.type, (each.credit or each.debit).type, (each.credit or each.debit).amount)  # type: ignore[union-attr]
        for each in reversed(found.data)
    ]
    assert [
        (kind, what, amount.monetary and amount.monetary.value) for kind, what, amount in shown
    ] == [
        ("credit", "credits_granted", 5000),
        ("debit", "credits_applied", 1200),
        ("debit", "credits_applied", 3000),
        ("debit", "credits_expired", 800),
    ]
    assert [event.type for event in town.events(made.id)] == [
        "billing.credit_grant.created",
        "billing.credit_grant.updated",
    ]


def test_a_period_that_ends_before_its_credit_does_is_paid_with_it(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.metered(unit_amount=10))
    grant(town, customer, 700, expires_at=month(2) + 60)
    town.use(customer, "100")
    town.advance(clock, month(2) + 2 * HOUR)

    [invoice] = town.invoices(subscription.id)
    assert day(invoice.period_end) == "2026-02-01"
    assert (invoice.subtotal, invoice.total) == (1000, 300)
    assert summary(town, customer) == []


def test_promotional_credit_goes_first_and_only_to_its_prices(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    calls, images = town.metered("call", unit_amount=10), town.metered("image", unit_amount=10)
    town.subscribe(customer, calls, images)
    paid = grant(town, customer, 1000)
    gift = grant(town, customer, 300, category="promotional")
    own = grant(
        town,
        customer,
        500,
        priority=10,
        applicability_config={"scope": {"prices": [{"id": images}]}},
    )
    town.use(customer, "40", event_name="call")
    town.use(customer, "30", event_name="image")
    pass_month(town, clock, 2)

    left = {}
    for each in (paid, gift, own):
        found = town.client.v1.billing.credit_balance_summary.retrieve(
            {"customer": customer, "filter": {"type": "credit_grant", "credit_grant": each.id}}
        )
        [balance] = found.balances
        assert balance.ledger_balance.monetary is not None
        left[each.id] = balance.ledger_balance.monetary.value
    assert left == {paid.id: 900, gift.id: 0, own.id: 200}


def test_voiding_reinstates_the_credit_and_it_pays_again(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None)
    subscription = town.subscribe(
        customer,
        town.price(unit_amount=1000),
        town.metered(unit_amount=10),
        collection_method="send_invoice",
        days_until_due=30,
    )
    made = grant(town, customer, 5000)
    town.use(customer, "120")
    pass_month(town, clock, 2)
    invoice = town.invoices(subscription.id)[-1]
    assert (invoice.status, invoice.amount_due) == ("open", 1000)
    assert summary(town, customer) == [(3800, 3800)]

    town.client.v1.invoices.void_invoice(invoice.id)

    assert summary(town, customer) == [(5000, 5000)]
    [back, *_] = town.client.v1.billing.credit_balance_transactions.list(
        {
            "credit_grant": made.id,
            "expand": ["data.credit.credits_application_invoice_voided.invoice"],
        }
    ).data
    assert back.credit is not None
    assert back.credit.credits_application_invoice_voided is not None
    voided = back.credit.credits_application_invoice_voided.invoice
    assert isinstance(voided, stripe.Invoice)
    assert voided.status == "void"
    town.use(customer, "50", timestamp=month(2) + HOUR)
    pass_month(town, clock, 3)
    assert summary(town, customer) == [(4500, 4500)]


def test_a_grant_that_is_voided_or_expired_by_hand_pays_no_more(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.metered(unit_amount=10))
    first, second = grant(town, customer, 100), grant(town, customer, 100)
    assert town.client.v1.billing.credit_grants.void_grant(first.id).voided_at == JANUARY
    assert town.client.v1.billing.credit_grants.expire(second.id).expires_at == JANUARY
    town.use(customer, "20")
    pass_month(town, clock, 2)
    assert town.invoices(subscription.id)[-1].total == 200


def test_a_credit_note_before_and_after_payment(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    subscription = town.subscribe(
        customer,
        town.price(unit_amount=1000),
        collection_method="send_invoice",
        days_until_due=30,
    )
    town.advance(clock, JANUARY + HOUR)
    [invoice] = town.invoices(subscription.id)
    notes = town.client.v1.credit_notes

    before = notes.create({"invoice": invoice.id, "amount": 300, "reason": "order_change"})
    assert before.number == f"{invoice.number}-CN-01"
    assert (before.type, before.pre_payment_amount, before.post_payment_amount) == (
        "pre_payment",
        300,
        0,
    )
    lowered = town.client.v1.invoices.retrieve(invoice.id)
    assert (lowered.amount_due, lowered.amount_remaining) == (1000, 700)
    assert lowered.pre_payment_credit_notes_amount == 300

    paid = town.client.v1.invoices.pay(invoice.id)
    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 700, 0)
    after = notes.create({"invoice": invoice.id, "amount": 200, "credit_amount": 200})
    assert (after.number, after.type) == (f"{invoice.number}-CN-02", "post_payment")
    assert balance_of(town, customer) == -200
    assert movements(town, customer) == [("credit_note", -200, -200)]

    pass_month(town, clock, 2)
    assert town.invoices(subscription.id)[-1].amount_due == 800
    assert [event.type for event in town.events(after.id)] == ["credit_note.created"]


def test_a_credit_note_of_all_that_remains_pays_the_invoice(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card="pm_card_chargeCustomerFail")
    subscription = town.subscribe(customer, town.price(unit_amount=1000))
    assert subscription.status == "incomplete"
    [invoice] = town.invoices(subscription.id)

    town.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 1000})

    settled = town.client.v1.invoices.retrieve(invoice.id)
    assert (settled.status, settled.amount_paid, settled.amount_remaining) == ("paid", 0, 0)
    assert town.subscription(subscription.id).status == "active"
    assert town.client.v1.credit_notes.list({"invoice": invoice.id}).data[0].status == "issued"


def test_a_credit_note_can_be_voided_while_its_invoice_is_open(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    subscription = town.subscribe(
        customer,
        town.price(unit_amount=1000),
        collection_method="send_invoice",
        days_until_due=30,
    )
    town.advance(clock, JANUARY + HOUR)
    [invoice] = town.invoices(subscription.id)
    note = town.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 300})

    voided = town.client.v1.credit_notes.void_credit_note(note.id)

    assert (voided.status, voided.voided_at) == ("void", JANUARY + HOUR)
    assert town.client.v1.invoices.retrieve(invoice.id).amount_remaining == 1000
    again = town.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 1000})
    assert again.number == f"{invoice.number}-CN-02"
    assert town.client.v1.invoices.retrieve(invoice.id).status == "paid"


def test_a_renewal_that_credit_pays_brings_a_subscription_back(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.price(unit_amount=1000))
    town.pays_with(customer, "pm_card_chargeCustomerFail")
    pass_month(town, clock, 2)
    assert town.subscription(subscription.id).status == "past_due"

    town.client.v1.customers.update(customer, {"balance": -1500})
    pass_month(town, clock, 3)

    newest = town.invoices(subscription.id)[-1]
    assert (newest.amount_due, newest.status) == (0, "paid")
    assert town.subscription(subscription.id).status == "active"


def test_credit_comes_after_discounts_and_before_tax(town: Town) -> None:
    v1 = town.client.v1
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    rate = v1.tax_rates.create({"display_name": "VAT", "percentage": 20, "inclusive": False})
    coupon = v1.coupons.create({"percent_off": 10, "duration": "forever"})
    subscription = town.subscribe(
        customer,
        town.metered(unit_amount=10),
        default_tax_rates=[rate.id],
        discounts=[{"coupon": coupon.id}],
    )
    grant(town, customer, 400)
    v1.customers.update(customer, {"balance": -100})
    town.use(customer, "100")
    expected = preview(town, subscription.id)
    pass_month(town, clock, 2)

    [invoice] = town.invoices(subscription.id)
    for each in (expected, invoice):
        assert each.subtotal == 1000
        assert sum(off.amount for off in each.total_pretax_credit_amounts or []) == 100 + 400
        assert [tax.amount for tax in each.total_taxes or []] == [100]
        assert (each.total, each.amount_due) == (600, 500)
    assert invoice.amount_paid == 500
