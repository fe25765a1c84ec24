"""Balances, credit grants and credit notes, through the official SDK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient

from shapes import assert_shape


@pytest.fixture
def customer(stripe_client: StripeClient) -> str:
    return stripe_client.v1.customers.create({"name": "Ada"}).id


@dataclass(frozen=True)
class Prices:
    """A licence of $10, and calls at 10 cents."""

    licence: str
    calls: str


@pytest.fixture
def prices(stripe_client: StripeClient) -> Prices:
    v1 = stripe_client.v1
    meter = v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": "call",
            "default_aggregation": {"formula": "sum"},
        }
    )
    licence = v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 1000,
            "recurring": {"interval": "month"},
            "product_data": {"name": "Licence"},
        }
    )
    calls = v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 10,
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
            "product_data": {"name": "Calls"},
        }
    )
    return Prices(licence.id, calls.id)


@pytest.fixture
def bill(stripe_client: StripeClient, customer: str, prices: Prices) -> stripe.Invoice:
    """An open invoice of two licences, $20."""
    v1 = stripe_client.v1
    subscription = v1.subscriptions.create(
        {
            "customer": customer,
            "items": [{"price": prices.licence, "quantity": 2}],
            "collection_method": "send_invoice",
            "days_until_due": 30,
        }
    )
    [draft] = v1.invoices.list({"subscription": subscription.id}).data
    return v1.invoices.finalize_invoice(draft.id)


# ─── The balance ─────────────────────────────────────────────────────────────────────────────


def test_a_balance_moves_and_says_why(stripe_client: StripeClient, customer: str) -> None:
    transactions = stripe_client.v1.customers.balance_transactions
    made = transactions.create(
        customer,
        {
            "amount": -500,
            "currency": "USD",
            "description": "Sorry",
            "metadata": {"ticket": "7"},
        },
    )
    assert_shape(made.to_dict(), stripe.CustomerBalanceTransaction)
    assert made.id.startswith("cbtxn_")
    assert (made.type, made.amount, made.ending_balance) == ("adjustment", -500, -500)
    transactions.create(customer, {"amount": 120, "currency": "usd"})

    holder = stripe_client.v1.customers.retrieve(customer)
    assert (holder.balance, holder.currency) == (-380, "usd")
    assert holder.to_dict()["invoice_credit_balance"] == {"usd": -380}
    listed = transactions.list(customer, {"limit": 1, "expand": ["data.customer"]})
    assert (listed.data[0].ending_balance, listed.has_more) == (-380, True)
    assert isinstance(listed.data[0].customer, stripe.Customer)

    changed = transactions.update(
        customer, made.id, {"description": "Very sorry", "metadata": {"ticket": ""}}
    )
    assert (changed.description, changed.amount) == ("Very sorry", -500)
    assert changed.to_dict()["metadata"] == {}
    assert transactions.retrieve(customer, made.id).description == "Very sorry"


def test_a_customers_balance_can_be_set(stripe_client: StripeClient) -> None:
    v1 = stripe_client.v1
    customer = v1.customers.create({"balance": -1000})
    assert (customer.balance, customer.currency) == (-1000, "usd")
    assert v1.customers.update(customer.id, {"balance": 250}).balance == 250
    assert v1.customers.update(customer.id, {"name": "Ada"}).balance == 250
    found = v1.customers.balance_transactions.list(customer.id).data
    assert [(each.type, each.amount) for each in found] == [
        ("adjustment", 1250),
        ("initial", -1000),
    ]


def test_what_a_balance_refuses(stripe_client: StripeClient, customer: str) -> None:
    transactions = stripe_client.v1.customers.balance_transactions
    made = transactions.create(customer, {"amount": -500, "currency": "usd"})
    with refused("currency", saying=f"The currency of the customer {customer} is usd"):
        transactions.create(customer, {"amount": -500, "currency": "eur"})
    with refused("currency", code="parameter_missing"):
        transactions.create(customer, {"amount": -500})  # type: ignore[typeddict-item]
    with refused("amount", code="parameter_invalid_integer"):
        transactions.create(customer, {"amount": "much", "currency": "usd"})  # type: ignore[typeddict-item]
    with missing("customer", "cus_nobody", "customer"):
        transactions.create("cus_nobody", {"amount": -500, "currency": "usd"})
    with missing("customer", "cus_nobody", "customer"):
        transactions.list("cus_nobody")
    with missing("customer balance transaction", "cbtxn_no", "transaction"):
        transactions.retrieve(customer, "cbtxn_no")
    other = stripe_client.v1.customers.create({})
    with missing("customer balance transaction", made.id, "transaction"):
        transactions.retrieve(other.id, made.id)
    assert stripe_client.v1.customers.retrieve(customer).balance == -500


def test_a_stranger_sees_no_balance(
    stripe_client: StripeClient, stranger: StripeClient, customer: str
) -> None:
    with missing("customer", customer, "customer"):
        stranger.v1.customers.balance_transactions.list(customer)


# ─── Grants ──────────────────────────────────────────────────────────────────────────────────


def granted(customer: str, **more: Any) -> Any:
    return {
        "customer": customer,
        "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 1000}},
        "applicability_config": {"scope": {"price_type": "metered"}},
        "category": "promotional",
        **more,
    }


def test_a_grant_through_its_life(
    stripe_client: StripeClient, customer: str, prices: Prices
) -> None:
    grants = stripe_client.v1.billing.credit_grants
    scope = {"scope": {"prices": [{"id": prices.calls}]}}
    made = grants.create(
        granted(
            customer,
            name="Welcome",
            priority=3,
            expires_at=4_000_000_000,
            metadata={"from": "sales"},
            applicability_config=scope,
        )
    )
    assert_shape(made.to_dict(), stripe.billing.CreditGrant)
    assert made.id.startswith("credgr_")
    assert (made.name, made.priority, made.category) == ("Welcome", 3, "promotional")
    assert made.applicability_config.scope.prices is not None
    assert [each.id for each in made.applicability_config.scope.prices] == [prices.calls]

    changed = grants.update(made.id, {"expires_at": "", "metadata": {"to": "Ada"}})
    assert changed.expires_at is None
    assert changed.to_dict()["metadata"] == {"from": "sales", "to": "Ada"}
    assert grants.retrieve(made.id, {"expand": ["customer"]}).customer.id == customer  # type: ignore[union-attr]

    [first] = stripe_client.v1.billing.credit_balance_transactions.list({"customer": customer}).data
    assert_shape(first.to_dict(), stripe.billing.CreditBalanceTransaction)
    assert first.credit is not None
    assert (first.type, first.credit.type, first.debit) == ("credit", "credits_granted", None)

    assert grants.void_grant(made.id).voided_at is not None
    [last, _] = stripe_client.v1.billing.credit_balance_transactions.list(
        {"credit_grant": made.id}
    ).data
    assert last.debit is not None
    assert (last.type, last.debit.type) == ("debit", "credits_voided")
    one = stripe_client.v1.billing.credit_balance_transactions.retrieve(
        last.id, {"expand": ["credit_grant"]}
    )
    assert isinstance(one.credit_grant, stripe.billing.CreditGrant)
    for again in (grants.void_grant, grants.expire):
        with refused(None, code="status_transition_invalid", saying="that is voided"):
            again(made.id)
    assert [each.id for each in grants.list({"customer": customer}).data] == [made.id]


def test_a_summary_says_what_is_there_and_what_can_be_used(
    stripe_client: StripeClient, customer: str, prices: Prices
) -> None:
    v1 = stripe_client.v1
    v1.billing.credit_grants.create(granted(customer))
    v1.billing.credit_grants.create(granted(customer, effective_at=4_000_000_000))
    only = {"scope": {"prices": [{"id": prices.calls}]}}
    one = v1.billing.credit_grants.create(granted(customer, applicability_config=only))

    def asked(filter_by: Any) -> list[tuple[int, int]]:
        found = v1.billing.credit_balance_summary.retrieve(
            {"customer": customer, "filter": filter_by}
        )
        assert_shape(found.to_dict(), stripe.billing.CreditBalanceSummary)
        return [
            (each.available_balance.monetary.value, each.ledger_balance.monetary.value)  # type: ignore[union-attr]
            for each in found.balances
        ]

    metered = {"type": "applicability_scope", "applicability_scope": {"price_type": "metered"}}
    calls = {"prices": [{"id": prices.calls}]}
    assert asked(metered) == [(1000, 2000)]
    assert asked({"type": "applicability_scope", "applicability_scope": calls}) == [(2000, 3000)]
    assert asked({"type": "credit_grant", "credit_grant": one.id}) == [(1000, 1000)]


@pytest.mark.parametrize(
    ("changed", "param", "saying"),
    [
        ({"priority": 101}, "priority", "less than or equal to 100"),
        ({"category": "stolen"}, "category", "must be one of paid or promotional"),
        ({"name": ""}, "name", "empty string"),
        ({"effective_at": 1}, "effective_at", "must not be in the past"),
        ({"expires_at": 1}, "expires_at", "must be after `effective_at`"),
        (
            {"amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 0}}},
            "amount[monetary][value]",
            "greater than or equal to 1",
        ),
        (
            {"applicability_config": {"scope": {"price_type": "licensed"}}},
            "applicability_config[scope][price_type]",
            "must be",
        ),
    ],
    ids=["priority", "category", "name", "effective_at", "expires_at", "amount", "scope"],
)
def test_what_a_grant_refuses(
    stripe_client: StripeClient, customer: str, changed: dict[str, Any], param: str, saying: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=saying) as raised:
        stripe_client.v1.billing.credit_grants.create(granted(customer, **changed))
    assert raised.value.param == param
    assert stripe_client.v1.billing.credit_grants.list({"customer": customer}).data == []


def test_what_the_scope_of_a_grant_refuses(
    stripe_client: StripeClient, customer: str, prices: Prices
) -> None:
    create = stripe_client.v1.billing.credit_grants.create

    def scoped(**scope: Any) -> Any:
        return granted(customer, applicability_config={"scope": scope})

    with refused("applicability_config[scope]", saying="one of `price_type` and `prices`"):
        create(scoped(price_type="metered", prices=[{"id": prices.calls}]))
    at = "applicability_config[scope][prices][0][id]"
    with refused(at, saying="metered prices only"):
        create(scoped(prices=[{"id": prices.licence}]))
    with missing("price", "price_no", at):
        create(scoped(prices=[{"id": "price_no"}]))
    euros = {"type": "monetary", "monetary": {"currency": "eur", "value": 5}}
    with refused(at, saying="is in usd, and the credit in eur"):
        create(scoped(prices=[{"id": prices.calls}]) | {"amount": euros})


def test_grants_that_are_not_there(
    stripe_client: StripeClient, stranger: StripeClient, customer: str
) -> None:
    made = stripe_client.v1.billing.credit_grants.create(granted(customer))
    theirs = stranger.v1.billing
    for call in (
        theirs.credit_grants.retrieve,
        theirs.credit_grants.void_grant,
        theirs.credit_grants.expire,
    ):
        with missing("billing credit grant", made.id):
            call(made.id)
    with missing("billing credit grant", made.id, "credit_grant"):
        theirs.credit_balance_transactions.list({"credit_grant": made.id})
    with refused("customer", code="parameter_missing"):
        theirs.credit_balance_transactions.list({})
    with missing("customer", customer, "customer"):
        theirs.credit_grants.create(granted(customer))


# ─── Credit notes ────────────────────────────────────────────────────────────────────────────


def test_a_credit_note_by_lines(
    stripe_client: StripeClient, http: httpx.Client, bill: stripe.Invoice
) -> None:
    v1 = stripe_client.v1
    [line] = bill.lines.data
    asked: Any = {
        "invoice": bill.id,
        "lines": [
            {"type": "invoice_line_item", "invoice_line_item": line.id, "quantity": 1},
            {
                "type": "custom_line_item",
                "description": "For your patience",
                "unit_amount": 150,
                "quantity": 2,
            },
        ],
        "reason": "order_change",
        "memo": "One licence too many",
        "metadata": {"by": "Eve"},
    }
    expected = v1.credit_notes.preview(asked)
    assert [each.amount for each in v1.credit_notes.preview_lines.list(asked).data] == [1000, 300]
    made = v1.credit_notes.create(asked)
    assert_shape(http.get(f"/v1/credit_notes/{made.id}").json(), stripe.CreditNote)
    assert made.id.startswith("cn_")
    assert made.number == f"{bill.number}-CN-01"
    assert (made.total, made.subtotal, made.status) == (1300, 1300, "issued")
    assert [(each.type, each.amount, each.quantity) for each in made.lines.data] == [
        ("invoice_line_item", 1000, 1),
        ("custom_line_item", 300, 2),
    ]
    own = {"id", "lines", "created", "effective_at"}  # and a second may have passed
    assert {key: value for key, value in expected.to_dict().items() if key not in own} == {
        key: value for key, value in made.to_dict().items() if key not in own
    }
    assert v1.invoices.retrieve(bill.id).amount_remaining == 700
    listed = v1.credit_notes.line_items.list(made.id, {"limit": 1})
    assert (listed.data[0].id, listed.has_more) == (made.lines.data[0].id, True)
    rest = v1.credit_notes.line_items.list(made.id, {"starting_after": listed.data[0].id})
    assert [each.description for each in rest.data] == ["For your patience"]
    changed = v1.credit_notes.update(made.id, {"memo": "Two", "metadata": {"by": ""}})
    assert (changed.memo, changed.to_dict()["metadata"]) == ("Two", {})
    found = v1.credit_notes.list({"invoice": bill.id, "expand": ["data.invoice"]}).data
    assert isinstance(found[0].invoice, stripe.Invoice)
    assert [each.id for each in found] == [made.id]


def test_a_paid_invoice_is_credited_to_the_balance_or_out_of_band(
    stripe_client: StripeClient, bill: stripe.Invoice, customer: str
) -> None:
    v1 = stripe_client.v1
    v1.invoices.pay(bill.id, {"paid_out_of_band": True})
    made = v1.credit_notes.create(
        {
            "invoice": bill.id,
            "amount": 700,
            "credit_amount": 500,
            "out_of_band_amount": 200,
            "expand": ["customer_balance_transaction"],
        }
    )
    assert (made.type, made.post_payment_amount, made.out_of_band_amount) == (
        "post_payment",
        700,
        200,
    )
    moved = made.customer_balance_transaction
    assert isinstance(moved, stripe.CustomerBalanceTransaction)
    assert (moved.type, moved.amount, moved.credit_note) == ("credit_note", -500, made.id)
    after = v1.invoices.retrieve(bill.id)
    assert (after.status, after.post_payment_credit_notes_amount) == ("paid", 700)

    with refused(None, code="status_transition_invalid", saying="out of band"):
        v1.credit_notes.void_credit_note(made.id)
    credit = v1.credit_notes.create({"invoice": bill.id, "amount": 300, "credit_amount": 300})
    assert v1.credit_notes.void_credit_note(credit.id).status == "void"
    assert v1.customers.retrieve(customer).balance == -500
    with refused(None, code="status_transition_invalid", saying="already voided"):
        v1.credit_notes.void_credit_note(credit.id)
    spent = v1.credit_notes.create({"invoice": bill.id, "amount": 300, "credit_amount": 300})
    v1.customers.update(customer, {"balance": -100})
    with refused(None, code="status_transition_invalid", saying="used already"):
        v1.credit_notes.void_credit_note(spent.id)


def test_what_lowered_a_paid_invoice_cannot_be_voided(
    stripe_client: StripeClient, bill: stripe.Invoice
) -> None:
    v1 = stripe_client.v1
    note = v1.credit_notes.create({"invoice": bill.id, "amount": 2000})
    assert v1.invoices.retrieve(bill.id).status == "paid"
    with refused(None, code="status_transition_invalid", saying="is paid by now"):
        v1.credit_notes.void_credit_note(note.id)


def line_of(bill: stripe.Invoice, **more: Any) -> dict[str, Any]:
    [line] = bill.lines.data
    return {"type": "invoice_line_item", "invoice_line_item": line.id, **more}


def test_what_a_credit_note_refuses(stripe_client: StripeClient, bill: stripe.Invoice) -> None:
    v1 = stripe_client.v1
    custom = {"type": "custom_line_item", "description": "x"}
    cases: list[tuple[dict[str, Any], str | None, str | None, str]] = [
        ({}, "amount", "parameter_missing", "`amount` or `lines`"),
        ({"amount": 0}, "amount", "parameter_invalid_integer", "greater than or equal to 1"),
        ({"amount": 2001}, "amount", None, "$20.01, is more than"),
        ({"amount": 100, "credit_amount": 1}, "credit_amount", None, "($0.01) must equal"),
        ({"amount": 100, "refund_amount": 100}, "refund_amount", None, "0 can be refunded"),
        ({"amount": 100, "reason": "whim"}, "reason", None, "must be one of"),
        (
            {"amount": 100, "lines": [line_of(bill, amount=99)]},
            "amount",
            None,
            "the lines come to 99",
        ),
        (
            {"lines": [line_of(bill, amount=2001)]},
            "lines[0][amount]",
            None,
            "at most 2000 can be credited",
        ),
        (
            {"lines": [line_of(bill, amount=1500), line_of(bill, amount=501)]},
            "lines[1][amount]",
            None,
            "at most 500 can be credited",
        ),
        ({"lines": [line_of(bill, quantity=3)]}, "lines[0][quantity]", None, "a quantity of 2"),
        ({"lines": [line_of(bill)]}, "lines[0][amount]", None, "one of `amount` and `quantity`"),
        (
            {"lines": [line_of(bill, amount=1, unit_amount=1)]},
            "lines[0][unit_amount]",
            None,
            "has no `unit_amount`",
        ),
        (
            {"lines": [{"type": "invoice_line_item", "amount": 1}]},
            "lines[0][invoice_line_item]",
            "parameter_missing",
            "Missing required param",
        ),
        (
            {"lines": [{"type": "custom_line_item", "unit_amount": 1}]},
            "lines[0][description]",
            "parameter_missing",
            "Missing required param",
        ),
        ({"lines": [custom]}, "lines[0][unit_amount]", None, "one of `unit_amount`"),
        ({"lines": [custom | {"unit_amount": 2001}]}, "amount", None, "is more than"),
        (
            {"lines": [custom | {"unit_amount_decimal": "0.2"}]},
            "lines",
            None,
            "must take back something",
        ),
    ]
    for given, param, code, saying in cases:
        with refused(param, code=code, saying=saying):
            v1.credit_notes.create({"invoice": bill.id, **given})  # type: ignore[typeddict-item]
    gone: Any = {"type": "invoice_line_item", "invoice_line_item": "il_no", "amount": 1}
    with missing("invoice line item", "il_no", "lines[0][invoice_line_item]"):
        v1.credit_notes.create({"invoice": bill.id, "lines": [gone]})
    with missing("invoice", "in_no", "invoice"):
        v1.credit_notes.create({"invoice": "in_no", "amount": 1})
    with missing("credit note", "cn_no"):
        v1.credit_notes.retrieve("cn_no")
    assert v1.credit_notes.list({"invoice": bill.id}).data == []
    assert v1.invoices.retrieve(bill.id).amount_remaining == 2000


@pytest.mark.parametrize("status", ["draft", "void"])
def test_only_open_and_paid_invoices_are_credited(
    stripe_client: StripeClient, customer: str, prices: Prices, status: str
) -> None:
    v1 = stripe_client.v1
    subscription = v1.subscriptions.create(
        {
            "customer": customer,
            "items": [{"price": prices.licence}],
            "collection_method": "send_invoice",
            "days_until_due": 30,
        }
    )
    [invoice] = v1.invoices.list({"subscription": subscription.id}).data
    if status == "void":
        v1.invoices.finalize_invoice(invoice.id)
        v1.invoices.void_invoice(invoice.id)
    with refused("invoice", code="status_transition_invalid", saying=f"this one is {status}"):
        v1.credit_notes.create({"invoice": invoice.id, "amount": 100})


def test_a_stranger_credits_nothing(
    stranger: StripeClient, stripe_client: StripeClient, bill: stripe.Invoice
) -> None:
    note = stripe_client.v1.credit_notes.create({"invoice": bill.id, "amount": 100})
    with missing("invoice", bill.id, "invoice"):
        stranger.v1.credit_notes.create({"invoice": bill.id, "amount": 100})
    with missing("credit note", note.id):
        stranger.v1.credit_notes.void_credit_note(note.id)
    assert stranger.v1.credit_notes.list({"invoice": bill.id}).data == []


def test_a_discounted_and_taxed_line_is_credited_in_proportion(
    stripe_client: StripeClient, customer: str, prices: Prices
) -> None:
    v1 = stripe_client.v1
    rate = v1.tax_rates.create({"display_name": "VAT", "percentage": 19, "inclusive": False})
    coupon = v1.coupons.create({"percent_off": 10, "duration": "forever"})
    subscription = v1.subscriptions.create(
        {
            "customer": customer,
            "items": [{"price": prices.licence, "quantity": 2}],
            "collection_method": "send_invoice",
            "days_until_due": 30,
            "default_tax_rates": [rate.id],
            "discounts": [{"coupon": coupon.id}],
        }
    )
    [draft] = v1.invoices.list({"subscription": subscription.id}).data
    bill = v1.invoices.finalize_invoice(draft.id)
    assert bill.total == 2142  # 2000 − 200 + 342

    half: Any = {"lines": [line_of(bill, quantity=1)]}
    note = v1.credit_notes.create({"invoice": bill.id, **half})
    assert_shape(note.to_dict(), stripe.CreditNote)
    assert (note.subtotal, note.discount_amount, note.total) == (1000, 100, 1071)
    assert note.total_taxes is not None
    assert [(each.amount, each.taxable_amount) for each in note.total_taxes] == [(171, 900)]
    assert note.total_excluding_tax == 900
    [line] = note.lines.data
    assert [each.id for each in line.tax_rates] == [rate.id]

    rest = v1.credit_notes.create({"invoice": bill.id, "amount": 1071})
    assert (rest.subtotal, rest.discount_amount, rest.total_excluding_tax) == (1000, 100, 900)
    assert v1.invoices.retrieve(bill.id).status == "paid"
