"""Money that comes by other ways than a card: in part, too much, too late, before its invoice."""

from typing import Any

import httpx
import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
FEE = 10000


def sent(town: Town, customer: str) -> stripe.Invoice:
    """An open invoice of the fee that waits for the customer's money."""
    town.client.v1.invoice_items.create({"customer": customer, "amount": FEE, "currency": "usd"})
    draft = town.client.v1.invoices.create(
        {"customer": customer, "collection_method": "send_invoice", "days_until_due": 30}
        | {"pending_invoice_items_behavior": "include"}  # type: ignore[arg-type]
    )
    return town.client.v1.invoices.finalize_invoice(draft.id)


def record(town: Town, invoice: str, amount: int, **more: Any) -> httpx.Response:
    """Ours: money came for the invoice."""
    return httpx.post(
        f"{town.base}/v1/invoices/{invoice}/record_payment",
        data={"amount": amount, **more},
        auth=(town.secret, ""),
        trust_env=False,
    )


def balances(town: Town, customer: str) -> dict[str, int]:
    answer = httpx.get(
        f"{town.base}/v1/ledger/balances",
        params={"customer": customer},
        auth=(town.secret, ""),
        trust_env=False,
    )
    return {each["account"]: each["amount"] for each in answer.json()["data"] if each["amount"]}


def reported(town: Town, amount: int, **more: Any) -> stripe.PaymentRecord:
    return town.client.v1.payment_records.report_payment(
        {
            "amount_requested": {"value": amount, "currency": "usd"},
            "initiated_at": JANUARY - DAY,
            "guaranteed": {"guaranteed_at": JANUARY},
            "outcome": "guaranteed",
            "payment_method_details": {"type": "custom", "custom": {"display_name": "Cheque"}},
            "processor_details": {"type": "custom", "custom": {"payment_reference": "no. 7"}},
            **more,  # type: ignore[typeddict-item]
        }
    )


def as_it_is(town: Town, invoice: stripe.Invoice) -> stripe.Invoice:
    return town.client.v1.invoices.retrieve(invoice.id, {"expand": ["payments"]})


def test_an_invoice_is_paid_in_parts(town: Town) -> None:
    customer = town.customer(town.clock(), card=None)
    invoice = sent(town, customer)

    assert record(town, invoice.id, 4000, reference="RF18").status_code == 200
    invoice = as_it_is(town, invoice)
    assert (invoice.status, invoice.amount_paid, invoice.amount_remaining) == ("open", 4000, 6000)
    assert invoice.amount_paid_off_stripe == 4000
    assert invoice.payments is not None
    by_kind = {each.payment.type: each for each in invoice.payments.data}
    assert (by_kind["payment_record"].status, by_kind["payment_record"].amount_paid) == (
        "paid",
        4000,
    )
    assert by_kind["payment_intent"].amount_requested == 6000  # it asks for the rest
    assert by_kind["payment_intent"].is_default

    assert record(town, invoice.id, 6000).status_code == 200
    invoice = as_it_is(town, invoice)
    assert (invoice.status, invoice.amount_paid, invoice.amount_remaining) == ("paid", FEE, 0)
    assert invoice.payments is not None
    assert sorted(each.status for each in invoice.payments.data) == ["canceled", "paid", "paid"]
    types = [each.type for each in town.events(invoice.id)]
    assert types.count("invoice.paid") == 1
    assert "invoice.payment_succeeded" not in types
    assert balances(town, customer)["cash_out_of_band"] == FEE
    [first, second] = town.client.v1.invoice_payments.list(
        {"invoice": invoice.id, "status": "paid"}
    ).data
    assert (first.amount_paid, second.amount_paid) == (6000, 4000)


def test_a_card_pays_what_is_left(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, "pm_card_chargeCustomerFail")
    price = town.price(unit_amount=FEE, product_data={"name": "Fee"})
    subscription = town.subscribe(customer, price)
    [invoice] = town.invoices(subscription.id)
    assert record(town, invoice.id, 2500).status_code == 200
    assert town.subscription(subscription.id).status == "incomplete"

    card = town.pays_with(customer, "pm_card_visa")
    invoice = town.client.v1.invoices.pay(invoice.id, {"payment_method": card})
    assert (invoice.status, invoice.amount_paid, invoice.amount_overpaid) == ("paid", FEE, 0)
    assert town.subscription(subscription.id).status == "active"
    [charge, _] = town.client.v1.charges.list({"customer": customer}).data
    assert charge.amount == 7500
    assert balances(town, customer)["cash"] == 7500


def test_what_is_too_much_is_the_customers_credit(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    invoice = sent(town, customer)
    assert record(town, invoice.id, FEE + 300).status_code == 200
    invoice = as_it_is(town, invoice)
    assert (invoice.status, invoice.amount_paid, invoice.amount_overpaid) == ("paid", FEE, 300)
    assert town.client.v1.customers.retrieve(customer).balance == -300
    assert [each.type for each in town.events(invoice.id)][-2:] == [
        "invoice.paid",
        "invoice.overpaid",
    ]
    [moved, *_] = town.client.v1.customers.balance_transactions.list(customer).data
    assert (moved.type, moved.amount, moved.invoice) == ("invoice_overpaid", -300, invoice.id)

    # Money that comes once more is credit altogether.
    assert record(town, invoice.id, 50).status_code == 200
    assert as_it_is(town, invoice).amount_overpaid == 350
    assert town.client.v1.customers.retrieve(customer).balance == -350


def test_money_for_a_void_invoice_is_credit_and_for_a_draft_refused(town: Town) -> None:
    customer = town.customer(town.clock(), card=None)
    draft = town.client.v1.invoices.create({"customer": customer, "currency": "usd"})
    assert record(town, draft.id, 10).status_code == 400
    town.client.v1.invoices.delete(draft.id)

    invoice = sent(town, customer)
    assert record(town, invoice.id, 1000).status_code == 200
    town.client.v1.invoices.void_invoice(invoice.id)
    assert town.client.v1.customers.retrieve(customer).balance == -1000  # what was paid of it
    assert record(town, invoice.id, 200).status_code == 200
    invoice = as_it_is(town, invoice)
    assert (invoice.status, invoice.amount_paid, invoice.amount_overpaid) == ("void", 1000, 200)
    assert town.client.v1.customers.retrieve(customer).balance == -1200


def test_what_was_written_off_is_paid_after_all(town: Town) -> None:
    customer = town.customer(town.clock(), card=None)
    invoice = sent(town, customer)
    town.client.v1.invoices.mark_uncollectible(invoice.id)
    assert record(town, invoice.id, 400).status_code == 200
    assert as_it_is(town, invoice).status == "uncollectible"
    assert balances(town, customer)["bad_debt"] == FEE - 400
    assert record(town, invoice.id, FEE).status_code == 200
    assert as_it_is(town, invoice).status == "paid"
    assert "bad_debt" not in balances(town, customer)
    assert town.client.v1.customers.retrieve(customer).balance == -400


def test_a_reported_payment_waits_for_its_invoice(town: Town) -> None:
    customer = town.customer(town.clock(), card=None)
    cheque = reported(town, FEE, customer_details={"customer": customer})
    assert cheque.amount_guaranteed.value == FEE
    assert balances(town, customer) == {"cash_out_of_band": FEE, "unapplied_payments": -FEE}

    invoice = sent(town, customer)
    invoice = town.client.v1.invoices.attach_payment(invoice.id, {"payment_record": cheque.id})
    assert (invoice.status, invoice.amount_paid) == ("paid", FEE)
    assert "unapplied_payments" not in balances(town, customer)
    [payment] = town.client.v1.invoice_payments.list(
        {"payment": {"type": "payment_record", "payment_record": cheque.id}}
    ).data
    assert (payment.invoice, payment.status, payment.is_default) == (invoice.id, "paid", False)

    another = sent(town, customer)
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        town.client.v1.invoices.attach_payment(another.id, {"payment_record": cheque.id})
    nobodys = reported(town, 10)
    with pytest.raises(stripe.InvalidRequestError, match="This invoice is paid"):
        town.client.v1.invoices.attach_payment(invoice.id, {"payment_record": nobodys.id})
    strangers = reported(town, 10, customer_details={"customer": town.customer(None, card=None)})
    with pytest.raises(stripe.InvalidRequestError, match="another customer's"):
        town.client.v1.invoices.attach_payment(another.id, {"payment_record": strangers.id})
    invoice = town.client.v1.invoices.attach_payment(another.id, {"payment_record": nobodys.id})
    assert invoice.amount_remaining == FEE - 10
    assert town.client.v1.payment_records.retrieve(nobodys.id).customer_details is not None


def test_a_payment_without_an_invoice_pays_one_later(town: Town) -> None:
    customer = town.customer(town.clock())
    method = town.client.v1.payment_methods.list({"customer": customer}).data[0].id
    intent = town.client.v1.payment_intents.create(
        {
            "amount": FEE + 500,
            "currency": "usd",
            "customer": customer,
            "payment_method": method,
            "confirm": True,
        }
    )
    assert intent.status == "succeeded"
    assert balances(town, customer) == {"cash": FEE + 500, "unapplied_payments": -FEE - 500}
    town.client.v1.refunds.create({"payment_intent": intent.id, "amount": 200})

    invoice = sent(town, customer)
    invoice = town.client.v1.invoices.attach_payment(invoice.id, {"payment_intent": intent.id})
    assert (invoice.status, invoice.amount_paid, invoice.amount_overpaid) == ("paid", FEE, 300)
    assert town.client.v1.customers.retrieve(customer).balance == -300
    assert "unapplied_payments" not in balances(town, customer)

    # What was credit goes back first, and is credit no more.
    town.client.v1.refunds.create({"payment_intent": intent.id, "amount": 350})
    assert town.client.v1.customers.retrieve(customer).balance == 0
    assert balances(town, customer)["refunds"] == 50


def test_a_credit_note_lowers_what_is_asked_for(town: Town) -> None:
    customer = town.customer(town.clock(), card=None)
    invoice = sent(town, customer)
    assert record(town, invoice.id, 1000).status_code == 200
    note = town.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 2000})
    asked = as_it_is(town, invoice)
    assert asked.amount_remaining == 7000
    assert asked.payments is not None
    [default] = [each for each in asked.payments.data if each.is_default]
    assert default.amount_requested == 7000
    town.client.v1.credit_notes.void_credit_note(note.id)
    asked = as_it_is(town, invoice)
    assert asked.payments is not None
    [default] = [each for each in asked.payments.data if each.is_default]
    assert default.amount_requested == 9000


def test_a_renewal_asks_for_what_a_transfer_left(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    price = town.price(unit_amount=FEE, product_data={"name": "Fee"})
    subscription = town.subscribe(customer, price)
    town.pays_with(customer, "pm_card_chargeCustomerFail")
    town.advance(clock, FEBRUARY + HOUR)
    [_, renewal] = town.invoices(subscription.id)
    assert (renewal.status, town.subscription(subscription.id).status) == ("open", "past_due")

    assert record(town, renewal.id, 9000).status_code == 200
    town.pays_with(customer, "pm_card_visa")
    town.advance(clock, FEBRUARY + 14 * DAY)
    renewal = as_it_is(town, renewal)
    assert (renewal.status, renewal.amount_paid, renewal.amount_overpaid) == ("paid", FEE, 0)
    assert town.subscription(subscription.id).status == "active"
    assert town.client.v1.charges.list({"customer": customer}).data[0].amount == 1000


def test_a_debit_that_comes_when_a_transfer_has_paid_is_credit_and_said_to_be_there(
    town: Town,
) -> None:
    clock = town.clock()
    customer = town.customer(clock, "pm_usBankAccount_success")
    price = town.price(unit_amount=FEE, product_data={"name": "Fee"})
    [invoice] = town.invoices(town.subscribe(customer, price).id)
    assert record(town, invoice.id, FEE).status_code == 200

    town.advance(clock, MONTH_BEGINS + DAY)

    invoice = as_it_is(town, invoice)
    assert (invoice.status, invoice.amount_paid, invoice.amount_overpaid) == ("paid", FEE, FEE)
    assert town.client.v1.customers.retrieve(customer).balance == -FEE
    paid = [each for each in town.events() if each.type == "invoice_payment.paid"]
    assert [each.data.object["payment"]["type"] for each in paid] == [
        "payment_record",
        "payment_intent",
    ]
