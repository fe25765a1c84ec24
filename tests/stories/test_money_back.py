"""Money that goes back: refunds of charges, and credit notes that say what they are for."""

import httpx
import pytest
import stripe
from town import DAY, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEE = 10000


def paid_invoice(town: Town, customer: str) -> stripe.Invoice:
    """An invoice of the fee that the customer's card has paid."""
    price = town.price(unit_amount=FEE, product_data={"name": "Fee"})
    subscription = town.subscribe(customer, price)
    [invoice] = town.invoices(subscription.id)
    assert (invoice.status, invoice.amount_paid) == ("paid", FEE)
    return invoice


def intent_of(town: Town, invoice: stripe.Invoice) -> str:
    found = town.client.v1.invoices.retrieve(invoice.id, {"expand": ["payments"]})
    assert found.payments is not None
    [payment] = found.payments.data
    assert isinstance(payment.payment.payment_intent, str)
    return payment.payment.payment_intent


def charge_of(town: Town, invoice: stripe.Invoice) -> stripe.Charge:
    intent = town.client.v1.payment_intents.retrieve(intent_of(town, invoice))
    assert isinstance(intent.latest_charge, str)
    return town.client.v1.charges.retrieve(intent.latest_charge, {"expand": ["refunds"]})


def ledger(town: Town, customer: str) -> dict[str, int]:
    """What the books say of the customer, by account; what is zero is left out."""
    answer = httpx.get(
        f"{town.base}/v1/ledger/balances",
        params={"customer": customer},
        auth=(town.secret, ""),
        trust_env=False,
    )
    return {each["account"]: each["amount"] for each in answer.json()["data"] if each["amount"]}


def test_a_charge_goes_back_in_parts_and_then_no_more(town: Town) -> None:
    customer = town.customer(town.clock())
    invoice = paid_invoice(town, customer)
    charge = charge_of(town, invoice)

    first = town.client.v1.refunds.create(
        {"charge": charge.id, "amount": 3000, "reason": "requested_by_customer"}
    )
    assert (first.status, first.amount, first.charge) == ("succeeded", 3000, charge.id)
    assert charge_of(town, invoice).amount_refunded == 3000
    assert charge_of(town, invoice).refunded is False

    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        town.client.v1.refunds.create({"charge": charge.id, "amount": 7001})
    second = town.client.v1.refunds.create({"payment_intent": intent_of(town, invoice)})
    assert second.amount == 7000
    with pytest.raises(stripe.InvalidRequestError) as refused:
        town.client.v1.refunds.create({"charge": charge.id})
    assert refused.value.code == "charge_already_refunded"

    # The charge says so, and the invoice stays paid: a credit note would lower it.
    charge = charge_of(town, invoice)
    assert (charge.amount_refunded, charge.refunded) == (FEE, True)
    assert charge.refunds is not None
    assert [each.id for each in charge.refunds.data] == [second.id, first.id]
    assert town.client.v1.invoices.retrieve(invoice.id).status == "paid"
    assert [each.type for each in town.events(first.id)] == ["refund.created", "refund.updated"]
    assert [each.type for each in town.events(charge.id)] == [
        "charge.succeeded",
        "charge.refunded",
        "charge.refunded",
    ]


def test_a_refund_alone_leaves_the_invoice_and_a_note_says_what_it_was_for(town: Town) -> None:
    customer = town.customer(town.clock())
    invoice = paid_invoice(town, customer)
    charge = charge_of(town, invoice)
    refund = town.client.v1.refunds.create({"charge": charge.id, "amount": 4000})
    assert ledger(town, customer)["refunds"] == 4000

    # Of the refund there is a paper now, for part of it; the rest waits for another.
    note = town.client.v1.credit_notes.create(
        {
            "invoice": invoice.id,
            "amount": 3000,
            "refunds": [{"refund": refund.id, "amount_refunded": 3000}],
        }
    )
    assert (note.post_payment_amount, note.amount) == (3000, 3000)
    assert [(each.refund, each.amount_refunded) for each in note.refunds] == [(refund.id, 3000)]
    assert ledger(town, customer)["refunds"] == 1000
    with pytest.raises(stripe.InvalidRequestError, match="1000 is on no credit note"):
        town.client.v1.credit_notes.create(
            {
                "invoice": invoice.id,
                "amount": 2000,
                "refunds": [{"refund": refund.id, "amount_refunded": 2000}],
            }
        )
    with pytest.raises(stripe.InvalidRequestError, match="by refunds cannot be taken back"):
        town.client.v1.credit_notes.void_credit_note(note.id)
    invoice = town.client.v1.invoices.retrieve(invoice.id)
    assert (invoice.status, invoice.post_payment_credit_notes_amount) == ("paid", 3000)


def test_a_credit_note_refunds_a_card_itself(town: Town) -> None:
    customer = town.customer(town.clock())
    invoice = paid_invoice(town, customer)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        town.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 2500})
    assert refused.value.param is None
    preview = town.client.v1.credit_notes.preview(
        {"invoice": invoice.id, "amount": 2500, "refund_amount": 2500}
    )
    assert preview.refunds == []
    note = town.client.v1.credit_notes.create(
        {
            "invoice": invoice.id,
            "amount": 2500,
            "refund_amount": 2500,
            "expand": ["refunds.refund"],
        }
    )
    [back] = note.refunds
    assert isinstance(back.refund, stripe.Refund)
    assert (back.refund.status, back.refund.amount, back.amount_refunded) == (
        "succeeded",
        2500,
        2500,
    )
    assert charge_of(town, invoice).amount_refunded == 2500
    books = ledger(town, customer)
    assert "refunds" not in books
    assert books["cash"] == FEE - 2500
    with pytest.raises(stripe.InvalidRequestError, match="7500 can be refunded"):
        town.client.v1.credit_notes.create(
            {"invoice": invoice.id, "amount": 7501, "refund_amount": 7501}
        )


def test_a_refund_that_fails_days_later_is_there_to_be_refunded_again(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, "pm_card_refundFail")
    invoice = paid_invoice(town, customer)
    charge = charge_of(town, invoice)
    refund = town.client.v1.refunds.create({"charge": charge.id})
    assert (refund.status, refund.failure_reason) == ("pending", None)
    assert charge_of(town, invoice).amount_refunded == FEE

    town.advance(clock, JANUARY + 3 * DAY)
    refund = town.client.v1.refunds.retrieve(refund.id)
    assert (refund.status, refund.failure_reason) == ("failed", "expired_or_canceled_card")
    charge = charge_of(town, invoice)
    assert (charge.amount_refunded, charge.refunded) == (0, False)
    assert ledger(town, customer)["cash"] == FEE
    assert [each.type for each in town.events(refund.id)] == [
        "refund.created",
        "refund.updated",
        "refund.failed",
    ]
    assert [each.type for each in town.events(charge.id)] == [
        "charge.succeeded",
        "charge.refunded",
        "charge.updated",
    ]
    assert town.client.v1.refunds.create({"charge": charge.id, "amount": 1}).amount == 1


def test_refunds_are_found_described_and_not_cancelled(town: Town) -> None:
    customer = town.customer(town.clock(), "pm_card_pendingRefund")
    invoice = paid_invoice(town, customer)
    intent = intent_of(town, invoice)
    refund = town.client.v1.refunds.create(
        {"payment_intent": intent, "amount": 10, "metadata": {"why": "kind"}}
    )
    assert refund.status == "pending"
    refund = town.client.v1.refunds.update(refund.id, {"metadata": {"who": "Ada"}})
    assert refund.metadata is not None
    assert refund.metadata.to_dict() == {"why": "kind", "who": "Ada"}
    other = town.client.v1.refunds.create({"payment_intent": intent, "amount": 20})
    assert [each.id for each in town.client.v1.refunds.list({"limit": 2}).data] == [
        other.id,
        refund.id,
    ]
    found = town.client.v1.refunds.list({"payment_intent": intent, "starting_after": other.id})
    assert [each.id for each in found.data] == [refund.id]
    assert isinstance(refund.charge, str)
    assert len(town.client.v1.refunds.list({"charge": refund.charge}).data) == 2
    assert town.client.v1.refunds.list({"charge": "ch_none"}).data == []
    with pytest.raises(stripe.InvalidRequestError, match="requires action"):
        town.client.v1.refunds.cancel(refund.id)
    for asked in ({}, {"charge": "ch_1", "payment_intent": "pi_1"}, {"charge": "ch_none"}):
        with pytest.raises(stripe.InvalidRequestError):
            town.client.v1.refunds.create(asked)  # type: ignore[arg-type]


def test_a_charge_that_failed_has_nothing_to_refund(town: Town) -> None:
    customer = town.customer(town.clock(), "pm_card_chargeCustomerFail")
    price = town.price(unit_amount=FEE, product_data={"name": "Fee"})
    subscription = town.subscribe(customer, price)
    [invoice] = town.invoices(subscription.id)
    with pytest.raises(stripe.InvalidRequestError, match="successful charge"):
        town.client.v1.refunds.create({"payment_intent": intent_of(town, invoice)})
    with pytest.raises(stripe.InvalidRequestError, match="did not succeed"):
        town.client.v1.refunds.create({"charge": charge_of(town, invoice).id})


@pytest.mark.parametrize("amount", [50, 99_999_999])
@pytest.mark.parametrize("currency", ["usd", "jpy", "bhd"])
def test_small_and_large_amounts_go_back_in_every_kind_of_currency(
    town: Town, currency: str, amount: int
) -> None:
    customer = town.customer(town.clock())
    price = town.price(unit_amount=amount, currency=currency)
    [invoice] = town.invoices(town.subscribe(customer, price).id)
    assert (invoice.status, invoice.currency, invoice.amount_paid) == ("paid", currency, amount)
    note = town.client.v1.credit_notes.create(
        {"invoice": invoice.id or "", "amount": 1, "refund_amount": 1}
    )
    assert (note.currency, note.amount, note.total) == (currency, 1, 1)
    charge = charge_of(town, invoice)
    assert (charge.currency, charge.amount, charge.amount_refunded) == (currency, amount, 1)
    rest = town.client.v1.refunds.create({"charge": charge.id})
    assert (rest.currency, rest.amount, rest.status) == (currency, amount - 1, "succeeded")
    assert charge_of(town, invoice).refunded is True
