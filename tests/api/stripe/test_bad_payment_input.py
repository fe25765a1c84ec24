"""Payment intents, charges, invoice payments: what is refused, whose they are, and their pages."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "no amount": ({"currency": "usd"}, "amount"),
    "nothing to pay": ({"amount": "0", "currency": "usd"}, "amount"),
    "less than nothing": ({"amount": "-1", "currency": "usd"}, "amount"),
    "too much": ({"amount": "100000000", "currency": "usd"}, "amount"),
    "a part of a cent": ({"amount": "1.5", "currency": "usd"}, "amount"),
    "no currency": ({"amount": "500"}, "currency"),
    "a currency that is none": ({"amount": "500", "currency": "xxx"}, "currency"),
    "nobody": ({"amount": "500", "currency": "usd", "customer": "cus_no"}, "customer"),
    "somebody unnamed": ({"amount": "500", "currency": "usd", "customer": ""}, "customer"),
    "no such card": ({"amount": "500", "currency": "usd", "payment_method": "x"}, "payment_method"),
    "away for ever": (
        {"amount": "500", "currency": "usd", "confirm": "true", "off_session": "for ever"},
        "off_session",
    ),
    "back to nowhere": ({"amount": "500", "currency": "usd", "return_url": "x"}, "return_url"),
    "used for what": (
        {"amount": "500", "currency": "usd", "setup_future_usage": "fun"},
        "setup_future_usage",
    ),
    "captured by hand": (
        {"amount": "500", "currency": "usd", "capture_method": "manual"},
        "capture_method",
    ),
    "with a fee": (
        {"amount": "500", "currency": "usd", "application_fee_amount": "1"},
        "application_fee_amount",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_payment_that_cannot_be_is_refused_by_name(http: httpx.Client, case: str) -> None:
    given, param = REFUSED[case]
    answer = http.post("/v1/payment_intents", data=given)
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["error"]["param"] == param
    assert http.get("/v1/payment_intents").json()["data"] == []


def test_one_to_be_paid_at_once_needs_something_to_pay_with(http: httpx.Client) -> None:
    given = {"amount": "500", "currency": "usd", "confirm": "true"}
    answer = http.post("/v1/payment_intents", data=given)
    assert answer.status_code == 400
    assert "missing a payment method" in answer.json()["error"]["message"]
    assert http.get("/v1/payment_intents").json()["data"] == []  # nothing is left behind


def test_another_accounts_payments_are_not_there(
    stripe_client: stripe.StripeClient, stranger: stripe.StripeClient
) -> None:
    paid = stripe_client.v1.payment_intents.create(
        {"amount": 500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )
    intents, charges = stranger.v1.payment_intents, stranger.v1.charges
    for asked in (
        lambda: intents.retrieve(paid.id),
        lambda: intents.update(paid.id, {"description": "Mine"}),
        lambda: intents.confirm(paid.id),
        lambda: intents.cancel(paid.id),
        lambda: intents.capture(paid.id),
        lambda: charges.retrieve(str(paid.latest_charge)),
        lambda: stranger.v1.invoice_payments.retrieve("inpay_1"),
        lambda: intents.list({"starting_after": paid.id}),
        lambda: charges.list({"starting_after": str(paid.latest_charge)}),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            asked()
        assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")
    assert (intents.list().data, charges.list().data) == ([], [])
    with pytest.raises(stripe.InvalidRequestError, match="No such PaymentMethod"):
        intents.create({"amount": 1, "currency": "usd", "payment_method": str(paid.payment_method)})


def test_a_client_secret_is_of_one_payment(stripe_client: stripe.StripeClient) -> None:
    one, other = (
        stripe_client.v1.payment_intents.create({"amount": 500, "currency": "usd"})
        for _ in range(2)
    )
    secret = str(one.client_secret)
    found = stripe_client.v1.payment_intents.retrieve(one.id, {"client_secret": secret})
    assert found.id == one.id
    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_client.v1.payment_intents.retrieve(other.id, {"client_secret": secret})
    assert refused.value.param == "client_secret"


def test_payments_and_charges_page_by_page(stripe_client: stripe.StripeClient) -> None:
    v1 = stripe_client.v1
    customer = v1.customers.create({"name": "Ada"}).id
    given: Any = {
        "currency": "usd",
        "customer": customer,
        "payment_method": "pm_card_visa",
        "confirm": True,
    }
    made = [v1.payment_intents.create({"amount": 100 + i, **given}) for i in range(5)]
    v1.payment_intents.create({"amount": 1, "currency": "usd"})
    intents = v1.payment_intents.list({"customer": customer, "limit": 2})
    assert [each.id for each in intents.auto_paging_iter()] == [each.id for each in reversed(made)]
    charges = v1.charges.list({"customer": customer, "limit": 2})
    assert charges.has_more
    paged = list(charges.auto_paging_iter())
    assert [each.id for each in paged] == [each.latest_charge for each in reversed(made)]
    before = v1.charges.list({"customer": customer, "limit": 2, "ending_before": paged[3].id})
    assert [each.id for each in before.data] == [paged[1].id, paged[2].id]
    created = made[0].created
    assert len(v1.charges.list({"created": {"gte": created}}).data) == 5
    assert v1.charges.list({"created": {"lt": created}}).data == []
    with pytest.raises(stripe.InvalidRequestError) as refused:
        v1.charges.list({"starting_after": made[0].id})
    assert (refused.value.param, refused.value.code) == ("starting_after", "resource_missing")


def test_invoice_payments_are_filtered_by_what_they_are(http: httpx.Client) -> None:
    for given in ({"payment[type]": "payment_intent"}, {"payment[type]": "payment_record"}):
        answer = http.get("/v1/invoice_payments", params=given)
        kind = given["payment[type]"]
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, f"payment[{kind}]")
    answer = http.get("/v1/invoice_payments", params={"payment[type]": "charge"})
    assert answer.status_code == 400
    named = {"payment[type]": "payment_intent", "payment[payment_intent]": "pi_nobody"}
    assert http.get("/v1/invoice_payments", params=named).json()["data"] == []
