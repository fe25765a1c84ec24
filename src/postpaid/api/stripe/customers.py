"""Customers as Stripe shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import MaxLen
from pydantic import AfterValidator

from postpaid.api.instants import seconds
from postpaid.api.params import (
    Amount,
    Id,
    Integer,
    Metadata,
    Params,
    Text,
    TimeRange,
    TimeZone,
    Unsettable,
    merge_metadata,
    refuse,
)
from postpaid.api.stripe import addresses, discounts, subscription_shapes
from postpaid.api.stripe.addresses import Address
from postpaid.api.stripe.expand import expandable, includable, loader, nested
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import change_discounts, manage_customers
from postpaid.billing.check_methods import check_methods
from postpaid.billing.manage_discounts import AskedDiscount
from postpaid.billing.perform import Act
from postpaid.core.errors import NotFound
from postpaid.core.subscriptions import Subscription
from postpaid.core.values import replace
from postpaid.storage import customers
from postpaid.storage import subscriptions as stored_subscriptions
from postpaid.storage.customers import Customer, TaxExempt
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows

routes = Routes("Customers")

EMBEDDED_SUBSCRIPTIONS_MAX = 10  # Stripe; the rest are at /v1/subscriptions


def _email(text: str) -> str:
    name, _, host = text.rpartition("@")
    if not name or not host or re.search(r"\s", text):
        raise refuse(f"Invalid email address: {text[:40]}", "email_invalid")
    return text


def _invoice_prefix(text: str) -> str:
    if not re.fullmatch("[A-Z0-9]{1,12}", text):
        raise refuse("Invalid invoice prefix: must be 1 to 12 uppercase letters or digits")
    return text


InvoicePrefix = Annotated[str, Text(12), AfterValidator(_invoice_prefix)]


class Shipping(Params):
    address: Address
    name: Annotated[str, Text(500)]
    phone: Unsettable[Annotated[str, Text(500)]] = None


class CustomField(Params):
    name: Annotated[str, Text(40)]
    value: Annotated[str, Text(140)]


class RenderingOptions(Params):
    amount_tax_display: Unsettable[Literal["exclude_tax", "include_inclusive_tax"]] = None


class InvoiceSettings(Params):
    custom_fields: Unsettable[Annotated[list[CustomField], MaxLen(4)]] = None
    default_payment_method: Unsettable[Id] = None
    footer: Unsettable[Annotated[str, Text(5000)]] = None
    rendering_options: Unsettable[RenderingOptions] = None


class CustomerUpdate(Params):
    address: Unsettable[Address] = None
    balance: Amount | None = None
    business_name: Unsettable[Annotated[str, Text(150)]] = None
    coupon: Unsettable[Id] = None
    description: Unsettable[Annotated[str, Text(5000)]] = None
    email: Unsettable[Annotated[str, Text(512), AfterValidator(_email)]] = None
    individual_name: Unsettable[Annotated[str, Text(150)]] = None
    invoice_prefix: InvoicePrefix | None = None
    invoice_settings: InvoiceSettings | None = None
    metadata: Metadata = None
    name: Unsettable[Annotated[str, Text(256)]] = None
    next_invoice_sequence: Annotated[int, Integer(1, 10**9)] | None = None
    phone: Unsettable[Annotated[str, Text(500)]] = None
    promotion_code: Unsettable[Id] = None
    preferred_locales: Unsettable[Annotated[list[Annotated[str, Text(35)]], MaxLen(20)]] = None
    shipping: Unsettable[Shipping] = None
    tax_exempt: Unsettable[TaxExempt] = None
    time_zone: Unsettable[TimeZone] = None


class CustomerCreate(CustomerUpdate):
    payment_method: Id | None = None
    test_clock: Id | None = None


class CustomerList(ListParams):
    created: TimeRange | None = None
    email: Annotated[str, Text(512)] | None = None
    test_clock: Id | None = None


@routes.post("/v1/customers", returns="customer")
def create(call: Call, params: CustomerCreate) -> dict[str, Any]:
    """Create a customer."""
    fields = from_stripe(params, {})
    default_id = fields.get("default_payment_method_id")
    check_methods(call.database, call.act, [params.payment_method, default_id])

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_customers.create_customer(
            conn, call.act, fields, payment_method_id=params.payment_method
        )
        created = _discounted(conn, call, params, created)
        return to_stripe(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/customers/{customer}", returns="customer")
def retrieve(call: Call, customer: str) -> dict[str, Any]:
    """Retrieve a customer; of one that was deleted, that it was."""

    def read(conn: Connection) -> dict[str, Any]:
        found = customers.find(conn, call.act.account_id, customer)
        if found is None:
            raise NotFound.of("customer", customer)
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.post("/v1/customers/{customer}", returns="customer")
def update(call: Call, params: CustomerUpdate, customer: str) -> dict[str, Any]:
    """Update a customer. What is not given stays; what is given empty is unset."""

    def change(before: Customer) -> Customer:
        return replace(before, **from_stripe(params, before.metadata))

    def write(conn: Connection) -> dict[str, Any]:
        updated = manage_customers.update_customer(conn, call.act, customer, change)
        updated = _discounted(conn, call, params, updated)
        return to_stripe(updated, livemode=call.act.livemode)

    return call.write(write)


def _discounted(
    conn: Connection, call: Call, params: CustomerUpdate, customer: Customer
) -> Customer:
    """The customer with the discount asked for, or without one when that is what was asked.

    Stripe had these parameters until 2025; they are how a discount on all that a customer buys is
    given.
    """
    if params.coupon or params.promotion_code:
        asked = AskedDiscount(params.coupon, params.promotion_code)
        return change_discounts.discount_customer(conn, call.act, customer.id, asked)
    if "coupon" in params.given() and customer.discount:
        change_discounts.delete_customer_discount(conn, call.act, customer.id)
        return replace(customer, discount=None)
    return customer


@routes.get("/v1/customers", returns="customer", many=True)
def list_(call: Call, params: CustomerList) -> dict[str, Any]:
    """List customers, newest first; those on a test clock only when asked for by it."""
    created_from, created_before = params.created.bounds if params.created else (None, None)
    return call.read(
        lambda conn: listing(
            "/v1/customers",
            customers.list_page(
                conn,
                call.act.account_id,
                params.page,
                clock_id=params.test_clock,
                email=params.email,
                created_from=created_from,
                created_before=created_before,
            ),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.delete("/v1/customers/{customer}", returns="customer")
def delete(call: Call, customer: str) -> dict[str, Any]:
    """Delete a customer and end its subscriptions at once."""
    return call.write(
        lambda conn: to_stripe(
            manage_customers.delete_customer(conn, call.act, customer), livemode=call.act.livemode
        )
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def from_stripe(params: CustomerUpdate, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The fields that are given, by a ``Customer``'s names; ``metadata`` is what it has so far."""
    fields: dict[str, Any] = {}
    for name, value in params.given().items():
        match name:
            case "address":
                fields["address"] = addresses.from_stripe(value)
            case "invoice_settings":
                fields |= _invoice_settings_from_stripe(value)
            case "metadata":
                fields["metadata"] = merge_metadata(metadata, value)
            case "preferred_locales":
                fields["preferred_locales"] = value or []
            case "shipping":
                fields["shipping"] = _shipping_from_stripe(value)
            case "tax_exempt":
                fields["tax_exempt"] = value or TaxExempt.NONE
            case "test_clock":
                fields["clock_id"] = value
            case "payment_method" | "coupon" | "promotion_code":
                pass  # it becomes the customer's, and is no field of it
            case _:
                fields[name] = value
    return fields


def _invoice_settings_from_stripe(settings: InvoiceSettings) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in settings.given().items():
        match name:
            case "custom_fields":
                pairs = [{"name": each.name, "value": each.value} for each in value or []]
                fields["invoice_custom_fields"] = pairs or None
            case "default_payment_method":
                fields["default_payment_method_id"] = value
            case "footer":
                fields["invoice_footer"] = value
            case "rendering_options":
                fields["invoice_rendering_options"] = value and {
                    "amount_tax_display": value.amount_tax_display
                }
    return fields


def _shipping_from_stripe(shipping: Shipping | None) -> dict[str, Any] | None:
    if shipping is None:
        return None
    return {
        "address": addresses.from_stripe(shipping.address),
        "carrier": None,
        "name": shipping.name,
        "phone": shipping.phone,
        "tracking_number": None,
    }


def to_stripe(customer: Customer, *, livemode: bool) -> dict[str, Any]:
    """A customer, or of one that was deleted only that."""
    if customer.deleted_at is not None:
        return {"id": customer.id, "object": "customer", "deleted": True}
    return {
        "id": customer.id,
        "object": "customer",
        "address": customer.address,
        "balance": customer.balance,
        "business_name": customer.business_name,
        "created": seconds(customer.created_at),
        "currency": customer.currency,
        "customer_account": None,
        "default_source": None,
        "delinquent": customer.delinquent,
        "description": customer.description,
        "discount": discounts.customers_to_stripe(customer.id, customer.discount),
        "email": customer.email,
        "individual_name": customer.individual_name,
        "invoice_credit_balance": (
            {customer.currency: customer.balance} if customer.currency and customer.balance else {}
        ),
        "invoice_prefix": customer.invoice_prefix,
        "invoice_settings": {
            "custom_fields": customer.invoice_custom_fields,
            "default_payment_method": customer.default_payment_method_id,
            "footer": customer.invoice_footer,
            "rendering_options": _rendering_options_to_stripe(customer),
        },
        "livemode": livemode,
        "metadata": customer.metadata,
        "name": customer.name,
        "next_invoice_sequence": customer.next_invoice_sequence,
        "phone": customer.phone,
        "preferred_locales": customer.preferred_locales,
        "shipping": customer.shipping,
        "tax_exempt": customer.tax_exempt,
        "test_clock": customer.clock_id,
        "time_zone": customer.time_zone,
    }


def _rendering_options_to_stripe(customer: Customer) -> dict[str, Any] | None:
    options = customer.invoice_rendering_options
    if options is None:
        return None
    return {"amount_tax_display": options["amount_tax_display"], "template": None}


@loader("customer")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = customers.load(conn, act.account_id, ids)
    return {key: to_stripe(each, livemode=act.livemode) for key, each in found.items()}


def _subscriptions(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The subscriptions of each customer that have not ended, newest first."""
    running = stored_subscriptions.running_of_customers(conn, act.account_id, ids)
    of_customer: dict[str, list[Subscription]] = {customer_id: [] for customer_id in ids}
    for each in sorted(running.values(), key=lambda each: each.id, reverse=True):
        of_customer[each.customer_id].append(each)
    first = [each for own in of_customer.values() for each in own[:EMBEDDED_SUBSCRIPTIONS_MAX]]
    shown = {each["id"]: each for each in subscription_shapes.render_many(conn, act, first)}
    return {
        customer_id: listing(
            f"/v1/subscriptions?customer={customer_id}",
            Rows(own[:EMBEDDED_SUBSCRIPTIONS_MAX], len(own) > EMBEDDED_SUBSCRIPTIONS_MAX),
            lambda each: shown[each.id],
        )
        for customer_id, own in of_customer.items()
    }


expandable("customer", "invoice_settings.default_payment_method", load="payment_method")
expandable("customer", "test_clock", load="test_helpers.test_clock")
nested("customer", "discount", "discount")
includable("customer", "subscriptions", _subscriptions, of="subscription", many=True)
