"""Invoices that a person writes: drafted, edited, numbered, sent, written off, taken back."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY


def draft(town: Town, customer: str, **given: Any) -> stripe.Invoice:
    return town.client.v1.invoices.create({"customer": customer, **given})  # type: ignore[typeddict-item]


def item(town: Town, customer: str, amount: int, **given: Any) -> stripe.InvoiceItem:
    given = {"customer": customer, "amount": amount, "currency": "usd"} | given
    return town.client.v1.invoice_items.create(given)  # type: ignore[arg-type]


def amounts(invoice: stripe.Invoice) -> list[int]:
    return [line.amount for line in invoice.lines.data]


def retrieve(town: Town, invoice_id: str) -> stripe.Invoice:
    return town.client.v1.invoices.retrieve(invoice_id)


def test_an_invoice_for_a_workshop(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    invoices = town.client.v1.invoices

    # It is empty at first, and waits for a person.
    invoice = draft(town, customer, description="The workshop", metadata={"room": "4"})
    assert (invoice.status, invoice.billing_reason, invoice.auto_advance) == (
        "draft",
        "manual",
        False,
    )
    assert (invoice.total, invoice.lines.data, invoice.automatically_finalizes_at) == (0, [], None)
    assert (invoice.period_start, invoice.period_end) == (JANUARY, JANUARY)

    # Items are put on it, oldest first; one takes something off.
    day = item(town, customer, 120_000, invoice=invoice.id, description="One day")
    assert (day.invoice, day.discountable, day.net_amount) == (invoice.id, True, None)
    off = item(town, customer, -20_000, invoice=invoice.id, description="As we agreed")
    assert (off.discountable, off.net_amount) == (False, -20_000)
    now = retrieve(town, invoice.id)
    assert (amounts(now), now.subtotal, now.total, now.amount_due) == (
        [120_000, -20_000],
        100_000,
        100_000,
        100_000,
    )
    assert now.lines.data[0].parent is not None
    assert now.lines.data[0].parent.type == "invoice_item_details"
    assert now.lines.data[0].pricing is not None
    assert now.lines.data[0].pricing.unit_amount_decimal == 120_000

    # The days were two, at an hour's price to the twelfth place.
    changed = town.client.v1.invoice_items.update(
        day.id,
        {"unit_amount_decimal": "6000.5", "quantity_decimal": "41.25"},  # type: ignore[typeddict-item]
    )
    assert (changed.amount, changed.quantity, str(changed.quantity_decimal)) == (
        247_521,
        41,
        "41.25",
    )
    town.client.v1.invoice_items.delete(off.id)
    assert amounts(retrieve(town, invoice.id)) == [247_521]

    # A month later nothing has happened: it is a person who makes it final, and it is charged.
    town.advance(clock, FEBRUARY)
    assert retrieve(town, invoice.id).status == "draft"
    final = invoices.finalize_invoice(invoice.id, {"auto_advance": True})
    assert (final.status, final.amount_paid) == ("paid", 247_521)
    assert str(final.number).endswith("-0001")
    with pytest.raises(stripe.InvalidRequestError, match="can't be updated"):
        town.client.v1.invoice_items.update(day.id, {"description": "Two days"})
    said = [each.type for each in town.events(invoice.id, day.id, off.id)]
    assert said == [
        "invoice.created",
        "invoiceitem.created",
        "invoice.updated",
        "invoiceitem.created",
        "invoice.updated",
        "invoiceitem.updated",
        "invoice.updated",
        "invoiceitem.deleted",
        "invoice.updated",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]


def test_a_draft_that_advances_is_final_an_hour_later(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    first = item(town, customer, 700)
    second = item(town, customer, 300)
    invoice = draft(town, customer, auto_advance=True, pending_invoice_items_behavior="include")
    assert amounts(invoice) == [300, 700]  # newest first
    later = item(town, customer, 50, invoice=invoice.id)
    assert amounts(retrieve(town, invoice.id)) == [300, 700, 50]
    assert invoice.automatically_finalizes_at == JANUARY + HOUR
    assert invoice.next_payment_attempt == JANUARY + HOUR
    items = town.client.v1.invoice_items.list({"invoice": invoice.id}).data
    assert [each.id for each in items] == [later.id, second.id, first.id]

    town.advance(clock, JANUARY + HOUR - 1)
    assert retrieve(town, invoice.id).status == "draft"
    town.advance(clock, JANUARY + HOUR)
    final = retrieve(town, invoice.id)
    assert (final.status, final.total, final.amount_paid) == ("paid", 1050, 1050)


def test_a_deleted_draft_gives_back_what_it_had_gathered(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    pending = item(town, customer, 700)
    invoice = draft(town, customer, pending_invoice_items_behavior="include")
    assert town.client.v1.invoice_items.list({"customer": customer, "pending": True}).data == []

    gone = town.client.v1.invoices.delete(invoice.id)
    assert gone.deleted
    with pytest.raises(stripe.InvalidRequestError, match="No such invoice"):
        retrieve(town, invoice.id)
    assert [each.type for each in town.events(invoice.id)] == ["invoice.created", "invoice.deleted"]
    [again] = town.client.v1.invoice_items.list({"customer": customer, "pending": True}).data
    assert (again.id, again.invoice) == (pending.id, None)

    # The next invoice of a subscription has it, before the subscription's own lines.
    subscription = town.subscribe(customer, town.price(unit_amount=1000))
    town.advance(clock, FEBRUARY + HOUR)
    renewal = town.invoices(subscription.id)[-1]
    assert sorted(
        amount for each in town.invoices(subscription.id) for amount in amounts(each)
    ) == [700, 1000, 1000]
    with pytest.raises(stripe.InvalidRequestError, match="only delete draft"):
        town.client.v1.invoices.delete(renewal.id)


def test_lines_are_added_changed_and_removed(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    invoices = town.client.v1.invoices
    one_time = town.client.v1.prices.create(
        {"currency": "usd", "unit_amount": 250, "product_data": {"name": "Stickers"}}
    )
    waiting = item(town, customer, 99)
    invoice = draft(town, customer)
    with_lines = invoices.add_lines(
        invoice.id,
        {
            "lines": [
                {"amount": 1000, "description": "Setup"},
                {"pricing": {"price": one_time.id}, "quantity": 3},
                {"invoice_item": waiting.id},
            ],
            "invoice_metadata": {"po": "7"},
        },
    )
    assert amounts(with_lines) == [1000, 750, 99]
    assert with_lines.metadata is not None
    assert with_lines.metadata.to_dict() == {"po": "7"}
    setup, stickers, waited = with_lines.lines.data
    assert stickers.description == "Stickers"
    assert stickers.pricing is not None
    assert stickers.pricing.price_details is not None
    assert stickers.pricing.price_details.price == one_time.id

    changed = invoices.update_lines(
        invoice.id, {"lines": [{"id": stickers.id, "quantity": 4}, {"id": setup.id, "amount": 900}]}
    )
    assert amounts(changed) == [900, 1000, 99]
    line = invoices.line_items.update(invoice.id, setup.id, {"description": "Set-up"})
    assert (line.id, line.description, line.amount) == (setup.id, "Set-up", 900)

    left = invoices.remove_lines(
        invoice.id,
        {
            "lines": [
                {"id": setup.id, "behavior": "delete"},
                {"id": waited.id, "behavior": "unassign"},
            ]
        },
    )
    assert (amounts(left), left.total) == ([1000], 1000)
    items = town.client.v1.invoice_items.list({"customer": customer}).data
    assert {(each.amount, each.invoice) for each in items} == {(1000, invoice.id), (99, None)}
    assert invoices.finalize_invoice(invoice.id).status == "open"


def test_what_is_sent_is_due_when_it_says(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, None)
    invoices = town.client.v1.invoices
    invoice = draft(
        town,
        customer,
        collection_method="send_invoice",
        due_date=JANUARY + 14 * DAY,
        number="2026/7",
        custom_fields=[{"name": "PO", "value": "9"}],
        effective_at=JANUARY - DAY,
        footer="Thank you.",
        statement_descriptor="POSTPAID",
    )
    item(town, customer, 5000, invoice=invoice.id)
    assert (invoice.number, invoice.due_date) == ("2026/7", JANUARY + 14 * DAY)
    final = invoices.finalize_invoice(invoice.id)
    assert (final.status, final.number, final.due_date) == ("open", "2026/7", JANUARY + 14 * DAY)
    assert final.effective_at == JANUARY - DAY
    assert final.custom_fields is not None
    assert [each.value for each in final.custom_fields] == ["9"]
    assert invoices.send_invoice(invoice.id).status == "open"
    assert invoices.update(invoice.id, {"due_date": JANUARY + 30 * DAY}).due_date == (
        JANUARY + 30 * DAY
    )

    # The next one has the sequence's first number: the other was a person's.
    plain = draft(town, customer, collection_method="send_invoice", days_until_due=7)
    item(town, customer, 1, invoice=plain.id)
    final = invoices.finalize_invoice(plain.id)
    assert str(final.number).endswith("-0001")
    assert final.due_date == JANUARY + 7 * DAY


def test_what_is_written_off_lets_the_subscription_go_on(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.price(unit_amount=1000))
    town.pays_with(customer, "pm_card_chargeCustomerFail")
    town.advance(clock, FEBRUARY + HOUR)
    assert town.subscription(subscription.id).status == "past_due"
    missed = town.invoices(subscription.id)[-1]

    gone = town.client.v1.invoices.mark_uncollectible(missed.id)
    assert gone.status == "uncollectible"
    assert gone.status_details is not None
    assert gone.status_details.uncollectible is not None
    assert gone.status_details.uncollectible.reason == "user_forgiven"
    assert gone.status_transitions.marked_uncollectible_at == FEBRUARY + HOUR
    assert town.subscription(subscription.id).status == "active"

    # And it may be paid all the same.
    town.pays_with(customer, "pm_card_visa")
    assert town.client.v1.invoices.pay(missed.id).status == "paid"


def test_void_and_bill_again(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, None)
    subscription = town.subscribe(
        customer,
        town.price(unit_amount=1000),
        town.metered(unit_amount=5),
        collection_method="send_invoice",
        days_until_due=30,
    )
    town.use(customer, "100")
    item(town, customer, 77)
    town.advance(clock, FEBRUARY + HOUR)
    wrong = town.invoices(subscription.id)[-1]
    assert (wrong.status, wrong.total) == ("open", 1577)

    # It was addressed to the wrong company: void it, and bill the same again.
    invoices = town.client.v1.invoices
    invoices.void_invoice(wrong.id)
    town.client.v1.customers.update(customer, {"name": "Ada Ltd"})
    again = invoices.create({"from_invoice": {"action": "revision", "invoice": wrong.id}})
    assert (again.status, again.total, again.billing_reason) == (
        "draft",
        1577,
        wrong.billing_reason,
    )
    assert again.from_invoice is not None
    assert (again.from_invoice.action, again.from_invoice.invoice) == ("revision", wrong.id)
    with pytest.raises(stripe.InvalidRequestError, match="has a revision already"):
        invoices.create({"from_invoice": {"action": "revision", "invoice": wrong.id}})

    final = invoices.finalize_invoice(again.id)
    assert (final.status, final.total, final.customer_name) == ("open", 1577, "Ada Ltd")
    assert amounts(final) == amounts(wrong)
    assert final.number != wrong.number
    voided = retrieve(town, wrong.id)
    assert (voided.status, voided.latest_revision) == ("void", final.id)
    assert town.subscription(subscription.id).latest_invoice == final.id
    [moved] = town.client.v1.invoice_items.list({"customer": customer}).data
    assert moved.invoice == final.id


def test_usage_that_came_too_late_is_billed_with_the_revision(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, None)
    subscription = town.subscribe(
        customer,
        town.metered(unit_amount=5),
        collection_method="send_invoice",
        days_until_due=30,
    )
    town.use(customer, "100")
    town.advance(clock, FEBRUARY + HOUR)
    [wrong] = town.invoices(subscription.id)
    assert wrong.total == 500
    town.use(customer, "20", timestamp=JANUARY + DAY)

    invoices = town.client.v1.invoices
    invoices.void_invoice(wrong.id)
    again = invoices.create(
        {"from_invoice": {"action": "revision", "invoice": wrong.id}, "auto_advance": True}
    )
    assert again.total == 500
    town.advance(clock, FEBRUARY + 2 * HOUR)
    final = retrieve(town, again.id)
    assert (final.status, final.total) == ("open", 600)
    assert final.lines.data[0].quantity == 120


def test_a_revision_takes_the_place_of_what_is_open(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, None)
    subscription = town.subscribe(
        customer,
        town.price(unit_amount=1000),
        town.metered(unit_amount=5),
        collection_method="send_invoice",
        days_until_due=60,
    )
    town.use(customer, "10")
    town.advance(clock, FEBRUARY + HOUR)
    wrong = town.invoices(subscription.id)[-1]
    invoices = town.client.v1.invoices
    revision = invoices.create(
        {
            "from_invoice": {"action": "revision", "invoice": wrong.id},
            "description": "With our apologies",
        }
    )
    # Both stand: one is owed, the other only drafted.
    assert (retrieve(town, wrong.id).status, revision.total) == ("open", 1050)
    item(town, customer, -50, invoice=revision.id)

    final = invoices.finalize_invoice(revision.id)
    assert (final.status, final.total) == ("open", 1000)
    voided = retrieve(town, wrong.id)
    assert (voided.status, voided.latest_revision) == ("void", final.id)
    assert [each.type for each in town.events(wrong.id)][-1] == "invoice.voided"
    assert town.subscription(subscription.id).status == "active"


def test_a_revision_of_what_was_paid_meanwhile_is_refused(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    invoice = draft(town, customer)
    item(town, customer, 500, invoice=invoice.id)
    invoices = town.client.v1.invoices
    invoices.finalize_invoice(invoice.id)
    revision = invoices.create({"from_invoice": {"action": "revision", "invoice": invoice.id}})
    invoices.pay(invoice.id)
    with pytest.raises(stripe.InvalidRequestError, match="is paid: only one"):
        invoices.finalize_invoice(revision.id)
    assert invoices.delete(revision.id).deleted
    [kept] = town.client.v1.invoice_items.list({"customer": customer}).data
    assert kept.invoice == invoice.id


def test_numbers_by_account(town: Town) -> None:
    clock = town.clock()
    customers = [town.customer(clock, None), town.customer(clock, None)]

    def numbered(**settings: str) -> None:
        httpx.post(
            f"{town.base}/v1/billing_settings", data=settings, auth=(town.secret, "")
        ).raise_for_status()

    def billed(customer: str) -> str:
        invoice = draft(town, customer, collection_method="send_invoice", days_until_due=1)
        item(town, customer, 100, invoice=invoice.id)
        return str(town.client.v1.invoices.finalize_invoice(invoice.id).number)

    own = [billed(each) for each in customers]
    assert {each[-5:] for each in own} == {"-0001"}
    numbered(invoice_numbering="account", invoice_prefix="TOWN")
    assert [billed(each) for each in customers * 2] == [f"TOWN-{n:04d}" for n in range(1, 5)]
    numbered(invoice_numbering="customer")
    assert {billed(each)[-5:] for each in customers} == {"-0002"}
    numbered(invoice_numbering="account")
    assert billed(customers[0]) == "TOWN-0005"
    with pytest.raises(stripe.InvalidRequestError, match="given out in sequence"):
        draft(town, customers[0], number="TOWN-0006")
