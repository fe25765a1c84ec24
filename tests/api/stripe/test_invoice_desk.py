"""Invoices by hand through the API: every status with every action, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import stripe

from shapes import assert_shape

STATUSES = ("draft", "open", "paid", "uncollectible", "void")


@dataclass
class Desk:
    """A merchant with one customer, who pays by card."""

    client: stripe.StripeClient
    customer: str
    names: dict[str, str] = field(default_factory=dict)

    def draft(self, **given: Any) -> stripe.Invoice:
        return self.client.v1.invoices.create({"customer": self.customer, **given})  # type: ignore[typeddict-item]

    def item(self, **given: Any) -> stripe.InvoiceItem:
        given = {"amount": 500, "currency": "usd"} | given
        if "invoice" not in given:
            given = {"customer": self.customer} | given
        return self.client.v1.invoice_items.create(given)  # type: ignore[arg-type]

    def invoice(self, status: str) -> stripe.Invoice:
        """An invoice of five dollars in the status."""
        invoices = self.client.v1.invoices
        made = self.draft()
        self.item(invoice=made.id)
        if status == "draft":
            return invoices.retrieve(made.id)
        made = invoices.finalize_invoice(made.id)
        match status:
            case "paid":
                return invoices.pay(made.id)
            case "uncollectible":
                return invoices.mark_uncollectible(made.id)
            case "void":
                return invoices.void_invoice(made.id)
        return made


@pytest.fixture
def desk(stripe_client: stripe.StripeClient) -> Desk:
    customer = stripe_client.v1.customers.create({"name": "Ada"}).id
    method = stripe_client.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    stripe_client.v1.customers.update(
        customer, {"invoice_settings": {"default_payment_method": method}}
    )
    return Desk(stripe_client, customer)


Action = Callable[[stripe.InvoiceService, str], Any]

ACTIONS: Mapping[str, Action] = {
    "finalize": lambda invoices, key: invoices.finalize_invoice(key),
    "pay": lambda invoices, key: invoices.pay(key),
    "send": lambda invoices, key: invoices.send_invoice(key),
    "mark_uncollectible": lambda invoices, key: invoices.mark_uncollectible(key),
    "void": lambda invoices, key: invoices.void_invoice(key),
    "delete": lambda invoices, key: invoices.delete(key),
    "describe": lambda invoices, key: invoices.update(key, {"description": "New"}),
    "label": lambda invoices, key: invoices.update(key, {"metadata": {"a": "b"}}),
    "rate": lambda invoices, key: invoices.update(key, {"default_tax_rates": ""}),
    "add_lines": lambda invoices, key: invoices.add_lines(key, {"lines": [{"amount": 1}]}),
    "revise": lambda invoices, key: invoices.create(
        {"from_invoice": {"action": "revision", "invoice": key}}
    ),
}

# What each action makes of an invoice in each status, or what is said instead.
EDIT = "can't be updated"
OPEN = "open"
MATRIX: Mapping[str, tuple[str, str, str, str, str]] = {
    #           draft        open             paid              uncollectible     void
    "finalize": (OPEN, "can't re-finalize", "can't re-finalize", "can't re-fin", "can't re-fin"),
    "pay": ("paid", "paid", "already paid", "paid", "This invoice is void"),
    "send": ("isn't open", OPEN, "isn't open", "isn't open", "isn't open"),
    "mark_uncollectible": ("isn't open", "uncollectible", "isn't open", "isn't op", "isn't op"),
    "void": ("This invoice is draft", "void", "This invoice is paid", "void", "invoice is void"),
    "delete": ("deleted", "only delete draft", "only delete", "only delete", "only delete"),
    "describe": ("draft", OPEN, EDIT, "uncollectible", EDIT),
    "label": ("draft", OPEN, "paid", "uncollectible", "void"),
    "rate": ("draft", EDIT, EDIT, EDIT, EDIT),
    "add_lines": ("draft", EDIT, EDIT, EDIT, EDIT),
    "revise": ("only one that is open", "draft", "only one that is open", "draft", "draft"),
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("action", list(MATRIX))
def test_what_each_status_allows(desk: Desk, status: str, action: str) -> None:
    invoice = desk.invoice(status)
    assert invoice.status == status
    outcome = MATRIX[action][STATUSES.index(status)]
    if outcome in STATUSES or outcome == "deleted":
        answer = ACTIONS[action](desk.client.v1.invoices, invoice.id)
        if outcome == "deleted":
            assert answer.deleted is True
        else:
            assert answer.status == outcome
        return
    with pytest.raises(stripe.InvalidRequestError) as refused:
        ACTIONS[action](desk.client.v1.invoices, invoice.id)
    assert refused.value.http_status == 400
    assert outcome in str(refused.value.user_message)
    assert desk.client.v1.invoices.retrieve(invoice.id).status == status


@pytest.mark.parametrize("status", [each for each in STATUSES if each != "draft"])
def test_an_item_on_a_final_invoice_stays(desk: Desk, status: str) -> None:
    invoice = desk.invoice(status)
    [item] = desk.client.v1.invoice_items.list({"invoice": invoice.id}).data
    for act in (
        lambda: desk.client.v1.invoice_items.update(item.id, {"metadata": {"a": "b"}}),
        lambda: desk.client.v1.invoice_items.delete(item.id),
        lambda: desk.item(invoice=invoice.id),
    ):
        with pytest.raises(stripe.InvalidRequestError, match=EDIT) as refused:
            act()
        assert refused.value.code == "invoice_not_editable"


ITEMS: list[tuple[dict[str, Any], str, str]] = [
    ({"amount": None}, "amount", "You must give an `amount`"),
    ({"quantity": 2}, "quantity", "one of these parameters: amount, quantity"),
    ({"amount": None, "unit_amount_decimal": "1", "quantity": -1}, "quantity", "greater than"),
    (
        {"amount": None, "unit_amount_decimal": "1", "quantity": 1, "quantity_decimal": "1"},
        "quantity_decimal",
        "one of these parameters: quantity, quantity_decimal",
    ),
    ({"pricing": {"price": "price_x"}}, "pricing", "one of these parameters: amount, pricing"),
    ({"amount": None, "pricing": {"price": "price_x"}}, "pricing[price]", "No such price"),
    ({"amount": None, "price": "{monthly}"}, "pricing[price]", "type=recurring"),
    ({"amount": None, "price": "{retired}"}, "pricing[price]", "inactive"),
    ({"amount": None, "price": "{euros}"}, "currency", "cannot combine currencies"),
    ({"currency": "xxx"}, "currency", "Invalid currency"),
    ({"currency": "eur"}, "currency", "billed in usd"),
    ({"customer": "cus_x"}, "customer", "No such customer"),
    ({"customer": None}, "customer", "Missing required param: customer."),
    ({"customer": "{other}", "invoice": "{draft}"}, "invoice", "does not belong"),
    ({"invoice": "in_x"}, "invoice", "No such invoice"),
    ({"subscription": "sub_x"}, "subscription", "No such subscription"),
    ({"period": {"start": 20, "end": 10}}, "period[end]", "ends after it starts"),
    ({"period": {"start": 20}}, "period[end]", "Missing required param"),
    ({"tax_rates": ["txr_x"]}, "tax_rates[0]", "No such tax rate"),
    ({"discounts": [{"coupon": "gone"}]}, "discounts[0][coupon]", "No such coupon"),
    (
        {"amount": None, "price_data": {"currency": "usd", "product": "prod_x", "unit_amount": 1}},
        "price_data[product]",
        "No such product",
    ),
    (
        {"amount": None, "price_data": {"currency": "usd", "product": "{product}"}},
        "price_data[unit_amount]",
        "one of `unit_amount`",
    ),
    (
        {"amount": None, "unit_amount_decimal": "1e13", "quantity": 10**12},
        "quantity",
        "not an amount that can be billed",
    ),
    ({"colour": "red"}, "colour", "unknown parameter"),
]


@pytest.mark.parametrize(("given", "param", "saying"), ITEMS)
def test_an_item_that_cannot_be(desk: Desk, given: dict[str, Any], param: str, saying: str) -> None:
    product = desk.client.v1.products.create({"name": "Advice"}).id
    prices = desk.client.v1.prices
    of_product: Any = {"product": product, "unit_amount": 5, "currency": "usd"}
    desk.names = {
        "product": product,
        "other": desk.client.v1.customers.create().id,
        "draft": desk.draft(currency="usd").id,
        "monthly": prices.create({**of_product, "recurring": {"interval": "month"}}).id,
        "retired": prices.create({**of_product, "active": False}).id,
        "euros": prices.create({**of_product, "currency": "eur"}).id,
    }
    asked = {"customer": desk.customer, "amount": 5, "currency": "usd"} | given
    asked = {key: named(desk, value) for key, value in asked.items() if value is not None}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        desk.client.v1.invoice_items.create(asked)  # type: ignore[arg-type]
    assert (refused.value.param, saying in str(refused.value.user_message)) == (param, True), (
        refused.value.user_message
    )
    assert desk.client.v1.invoice_items.list({"customer": desk.customer}).data == []


DRAFTS: list[tuple[dict[str, Any], str, str]] = [
    ({"customer": None}, "customer", "Missing required param: customer."),
    ({"customer": "cus_x"}, "customer", "No such customer"),
    ({"subscription": "sub_x"}, "subscription", "No such subscription"),
    ({"days_until_due": 3}, "days_until_due", "`collection_method` `send_invoice`"),
    ({"due_date": 4102444800}, "due_date", "`collection_method` `send_invoice`"),
    ({"collection_method": "send_invoice"}, "days_until_due", "you must give"),
    ({"collection_method": "send_invoice", "due_date": 9}, "due_date", "in the future"),
    (
        {"collection_method": "send_invoice", "due_date": 4102444800, "days_until_due": 3},
        "due_date",
        "one of these parameters",
    ),
    (
        {"automatically_finalizes_at": 4102444800},
        "automatically_finalizes_at",
        "needs `auto_advance`",
    ),
    (
        {"auto_advance": True, "automatically_finalizes_at": 4102444800},
        "automatically_finalizes_at",
        "within five years",
    ),
    ({"default_payment_method": "pm_x"}, "default_payment_method", "No such PaymentMethod"),
    ({"default_tax_rates": ["txr_x"]}, "default_tax_rates[0]", "No such tax rate"),
    ({"discounts": [{"coupon": "gone"}]}, "discounts[0][coupon]", "No such coupon"),
    ({"number": "{taken}"}, "number", "another invoice's"),
    ({"number": "{prefix}-0099"}, "number", "given out in sequence"),
    (
        {"from_invoice": {"action": "copy", "invoice": "in_1"}},
        "from_invoice[action]",
        "must be one of",
    ),
    (
        {"customer": None, "from_invoice": {"action": "revision", "invoice": "in_x"}},
        "from_invoice[invoice]",
        "No such invoice",
    ),
    (
        {"customer": "cus_x", "from_invoice": {"action": "revision", "invoice": "{open}"}},
        "customer",
        "A revision has the `customer`",
    ),
]


@pytest.mark.parametrize(("given", "param", "saying"), DRAFTS)
def test_a_draft_that_cannot_be(desk: Desk, given: dict[str, Any], param: str, saying: str) -> None:
    customer = desk.client.v1.customers.retrieve(desk.customer)
    desk.names = {
        "taken": "7/2026",
        "prefix": str(customer.invoice_prefix),
        "open": desk.invoice("open").id,
    }
    desk.draft(number="7/2026")
    asked = {"customer": desk.customer} | given
    asked = {key: named(desk, value) for key, value in asked.items() if value is not None}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        desk.client.v1.invoices.create(asked)  # type: ignore[arg-type]
    assert (refused.value.param, saying in str(refused.value.user_message)) == (param, True), (
        refused.value.user_message
    )


LINES: list[tuple[str, dict[str, Any], str | None, str]] = [
    ("add_lines", {"amount": None}, "lines[0][amount]", "You must give"),
    ("add_lines", {"invoice_item": "ii_x"}, "lines[0][invoice_item]", "No such invoiceitem"),
    ("add_lines", {"invoice_item": "{on}"}, "lines[0][invoice_item]", "on an invoice already"),
    (
        "add_lines",
        {"invoice_item": "{on}", "amount": 3},
        "lines[0][invoice_item]",
        "give nothing else",
    ),
    ("update_lines", {"id": "il_x", "amount": 1}, "lines[0][id]", "No such line_item"),
    ("remove_lines", {"id": "il_x", "behavior": "delete"}, "lines[0][id]", "No such line_item"),
    ("remove_lines", {"id": "il_x"}, "lines[0][behavior]", "Missing required param"),
]


@pytest.mark.parametrize(("action", "line", "param", "saying"), LINES)
def test_a_line_that_cannot_be(
    desk: Desk, action: str, line: dict[str, Any], param: str | None, saying: str
) -> None:
    draft = desk.draft()
    desk.names = {"on": desk.item(invoice=draft.id).id}
    line = {key: named(desk, value) for key, value in line.items() if value is not None}
    asked: Any = {"lines": [line or {"description": "Nothing"}]}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        getattr(desk.client.v1.invoices, action)(draft.id, asked)
    assert (refused.value.param, saying in str(refused.value.user_message)) == (param, True), (
        refused.value.user_message
    )


def test_the_shapes_of_items_and_lines(desk: Desk, http: httpx.Client) -> None:
    rate = desk.client.v1.tax_rates.create(
        {"display_name": "VAT", "percentage": 20, "inclusive": True}
    )
    coupon = desk.client.v1.coupons.create({"percent_off": 50})
    invoice = desk.draft(
        default_tax_rates=[rate.id],
        discounts=[{"coupon": coupon.id}],
        rendering={"amount_tax_display": "exclude_tax", "pdf": {"page_size": "a4"}},
    )
    item = desk.item(invoice=invoice.id, amount=1200, tax_rates=[rate.id])
    assert_shape(http.get(f"/v1/invoiceitems/{item.id}").json(), stripe.InvoiceItem)
    shown = desk.client.v1.invoices.retrieve(invoice.id)
    assert_shape(http.get(f"/v1/invoices/{invoice.id}").json(), stripe.Invoice)
    assert (shown.subtotal, shown.total) == (1200, 600)
    assert (shown.subtotal_excluding_tax, shown.total_excluding_tax) == (1000, 500)
    assert [each.id for each in shown.default_tax_rates] == [rate.id]
    assert shown.total_taxes is not None
    [tax] = shown.total_taxes
    assert (tax.amount, tax.taxable_amount, tax.tax_behavior) == (100, 500, "inclusive")
    assert shown.total_discount_amounts is not None
    [discount] = shown.total_discount_amounts
    assert (discount.amount, [discount.discount]) == (600, shown.discounts)
    assert shown.total_pretax_credit_amounts is not None
    [before_tax] = shown.total_pretax_credit_amounts
    assert (before_tax.amount, before_tax.type) == (600, "discount")

    # What was asked for is taken off again, and the money with it.
    plain = desk.client.v1.invoices.update(invoice.id, {"discounts": "", "default_tax_rates": ""})
    assert (plain.total, plain.discounts, plain.default_tax_rates) == (1200, [], [])
    bare = desk.client.v1.invoice_items.update(item.id, {"tax_rates": ""})
    assert bare.tax_rates == []
    assert desk.client.v1.invoices.retrieve(invoice.id).total_taxes == []


def test_an_items_discount_outlives_its_draft(desk: Desk) -> None:
    coupon = desk.client.v1.coupons.create({"percent_off": 50, "duration": "forever"})
    draft = desk.draft()
    item = desk.item(invoice=draft.id, discounts=[{"coupon": coupon.id}])
    assert desk.client.v1.invoices.retrieve(draft.id).total == 250
    desk.client.v1.invoices.delete(draft.id)
    again = desk.client.v1.invoice_items.retrieve(item.id)
    assert (again.invoice, again.discounts) == (None, item.discounts)


def test_settings(desk: Desk, http: httpx.Client) -> None:
    del desk
    assert http.get("/v1/billing_settings").json() == {
        "object": "billing_settings",
        "invoice_numbering": "customer",
        "invoice_prefix": None,
        "invoice_reminder_days": [],
        "invoice_upcoming_days": 7,
        "next_invoice_sequence": 1,
        "retry_schedule": None,
        "time_zone": "UTC",
    }
    for asked, param in [
        ({"invoice_numbering": "account"}, "invoice_prefix"),
        ({"invoice_numbering": "moon"}, "invoice_numbering"),
        ({"invoice_prefix": "no-good"}, "invoice_prefix"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
    ]:
        answer = http.post("/v1/billing_settings", data=asked)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    changed = http.post(
        "/v1/billing_settings",
        data={
            "invoice_numbering": "account",
            "invoice_prefix": "SHOP",
            "time_zone": "Europe/Berlin",
        },
    ).json()
    assert (changed["invoice_numbering"], changed["invoice_prefix"]) == ("account", "SHOP")
    assert changed["time_zone"] == "Europe/Berlin"
    refused = http.post("/v1/customers", data={"invoice_prefix": "SHOP"})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "invoice_prefix"


def named(desk: Desk, value: Any) -> Any:
    """The value with ``{name}`` made the id that the test knows by it."""
    if isinstance(value, str):
        return value.format(**desk.names)
    if isinstance(value, dict):
        return {key: named(desk, each) for key, each in value.items()}
    return [named(desk, each) for each in value] if isinstance(value, list) else value
