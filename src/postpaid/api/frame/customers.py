"""Customers, as Frame shows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from postpaid.api.frame import addresses, payment_methods
from postpaid.api.frame.addresses import Address
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import FrameParams, ListParams, Metadata, When, merge_metadata
from postpaid.api.frame.payment_methods import PaymentMethodListOfOne
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import owner
from postpaid.api.instants import seconds
from postpaid.api.params import Id, Text, Unsettable, refuse
from postpaid.billing import block, manage_customers
from postpaid.billing.perform import Act
from postpaid.core.errors import NotFound
from postpaid.core.values import replace
from postpaid.storage import customer_search, customers
from postpaid.storage import payment_methods as stored_payment_methods
from postpaid.storage.customer_search import CustomerSearch
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod

routes = Routes("Customers")

EMBEDDED_PAYMENT_METHODS_MAX = 5  # Frame; the rest are at /v1/customers/{id}/payment_methods
YEAR_MIN = 1900  # of birth


# ─── Parameters ──────────────────────────────────────────────────────────────────────────────


def _email(text: str) -> str:
    name, _, host = text.rpartition("@")
    if not name or not host or re.search(r"\s", text):
        raise refuse(f"Invalid email address: {text[:40]}")
    return text


def _day(value: Any) -> date:
    try:
        day = date.fromisoformat(value)
        if day.isoformat() == value and YEAR_MIN <= day.year < 2200:
            return day
    except (TypeError, ValueError):
        pass
    raise refuse(f"Invalid date: {str(value)[:40]}; must be like 1990-12-31")


Email: TypeAlias = Annotated[str, Text(512), AfterValidator(_email)]
Day: TypeAlias = Annotated[
    date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})
]
Phone: TypeAlias = Annotated[str, Text(500)]
SocialSecurityNumber: TypeAlias = Annotated[str, Text(20)]


class CustomerUpdate(FrameParams):
    name: Annotated[str, Text(256)] | None = None
    email: Email | None = None
    description: Unsettable[Annotated[str, Text(5000)]] = None
    phone: Unsettable[Phone] = None
    date_of_birth: Unsettable[Day] = None
    ssn: Unsettable[SocialSecurityNumber] = None  # taken, and kept nowhere
    billing_address: Unsettable[Address] = None
    shipping_address: Unsettable[Address] = None
    metadata: Metadata = None


class CustomerCreate(CustomerUpdate):
    name: Annotated[str, Text(256)]
    email: Email
    test_clock: Id | None = None


class CustomerList(ListParams):
    email: Annotated[str, Text(512)] | None = None
    test_clock: Id | None = None


class CustomerSearchParams(ListParams):
    name: Annotated[str, Text(256)] | None = None
    email: Annotated[str, Text(512)] | None = None
    phone: Phone | None = None
    created_before: When | None = None
    created_after: When | None = None
    test_clock: Id | None = None

    @property
    def search(self) -> CustomerSearch:
        return CustomerSearch(
            name=self.name,
            email=self.email,
            phone=self.phone,
            created_from=self.created_after,
            created_before=self.created_before,
            clock_id=self.test_clock,
        )


# ─── Routes ──────────────────────────────────────────────────────────────────────────────────


@routes.post("/v1/customers", status=201)
def create(call: Call, params: CustomerCreate) -> dict[str, Any]:
    """Create a customer."""
    fields = from_frame(params, None)

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_customers.create_customer(conn, call.act, fields)
        return to_frame(created, [], livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/customers")
def list_(call: Call, params: CustomerList) -> dict[str, Any]:
    """List customers, newest first; those on a test clock only when asked for by it.

    Accounts are in a list of their own.
    """
    search = CustomerSearch(exact_email=params.email, clock_id=params.test_clock)
    return _list(call, params, "/v1/customers", search)


@routes.get("/v1/customers/search")
def search(call: Call, params: CustomerSearchParams) -> dict[str, Any]:
    """Search customers by parts of what they are called, newest first."""
    return _list(call, params, "/v1/customers/search", params.search)


@routes.get("/v1/customers/{customer}")
def retrieve(call: Call, customer: str) -> dict[str, Any]:
    """Retrieve a customer."""

    def read(conn: Connection) -> dict[str, Any]:
        found = customers.find(conn, call.act.account_id, customer)
        if found is None or found.deleted_at is not None:
            raise NotFound.of("customer", customer)
        return _shown(conn, call.act, found)

    return call.read(read)


@routes.patch("/v1/customers/{customer}")
def update(call: Call, params: CustomerUpdate, customer: str) -> dict[str, Any]:
    """Update a customer; of its metadata what is given."""

    def change(before: Customer) -> Customer:
        return replace(before, **from_frame(params, before))

    def write(conn: Connection) -> dict[str, Any]:
        updated = manage_customers.update_customer(conn, call.act, customer, change)
        return _shown(conn, call.act, updated)

    return call.write(write)


@routes.delete("/v1/customers/{customer}")
def delete(call: Call, customer: str) -> dict[str, Any]:
    """Delete a customer: its subscriptions end at once, its invoices stay."""

    def write(conn: Connection) -> dict[str, Any]:
        deleted = manage_customers.delete_customer(conn, call.act, customer)
        return {"id": deleted.id, "object": "customer", "deleted": True}

    return call.write(write)


@routes.post("/v1/customers/{customer}/block")
def block_(call: Call, customer: str) -> dict[str, Any]:
    """Block a customer: it is sold nothing more, and what it has goes on."""
    return _block(call, customer, blocked=True)


@routes.post("/v1/customers/{customer}/unblock")
def unblock(call: Call, customer: str) -> dict[str, Any]:
    """Unblock a customer."""
    return _block(call, customer, blocked=False)


@routes.get("/v1/customers/{customer}/payment_methods")
def list_payment_methods(
    call: Call, params: PaymentMethodListOfOne, customer: str
) -> dict[str, Any]:
    """List a customer's payment methods, newest first."""
    url = f"/v1/customers/{customer}/payment_methods"
    return payment_methods.list_of(call, params, url, owner_id=customer)


def _list(call: Call, params: ListParams, url: str, search: CustomerSearch) -> dict[str, Any]:
    def read(conn: Connection) -> dict[str, Any]:
        rows = customer_search.find_without_profile(conn, call.act.account_id, params.rows, search)
        return listing(
            url,
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="customers",
        )

    return call.read(read)


def _block(call: Call, customer_id: str, *, blocked: bool) -> dict[str, Any]:
    def write(conn: Connection) -> dict[str, Any]:
        after = block.block_customer(conn, call.act, customer_id, blocked=blocked)
        return _shown(conn, call.act, after)

    return call.write(write)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def from_frame(params: CustomerUpdate, before: Customer | None) -> dict[str, Any]:
    """The fields that are given, by a ``Customer``'s names; ``before`` is what it is so far."""
    fields: dict[str, Any] = {}
    for name, value in params.given().items():
        match name:
            case "billing_address":
                fields["address"] = addresses.from_frame(value)
            case "shipping_address":
                fields["shipping"] = _shipping_from_frame(value, params, before)
            case "metadata":
                fields["metadata"] = merge_metadata(before.metadata if before else {}, value)
            case "test_clock":
                fields["clock_id"] = value
            case "ssn":
                pass
            case _:
                fields[name] = value
    return fields


def _shipping_from_frame(
    address: Address | None, params: CustomerUpdate, before: Customer | None
) -> dict[str, Any] | None:
    """Where to, and to whom: whoever it was before, or else the customer."""
    if address is None:
        return None
    to = {
        "carrier": None,
        "name": params.name or (before.name if before else None) or "",
        "phone": params.phone or (before.phone if before else None),
        "tracking_number": None,
        **((before.shipping if before else None) or {}),
    }
    return {**to, "address": addresses.from_frame(address)}


def _shown(conn: Connection, act: Act, customer: Customer) -> dict[str, Any]:
    return render_many(conn, act, [customer])[0]


def render_many(conn: Connection, act: Act, shown: Sequence[Customer]) -> list[dict[str, Any]]:
    latest = stored_payment_methods.latest_of_customers(
        conn,
        act.account_id,
        {each.id for each in shown},
        limit=EMBEDDED_PAYMENT_METHODS_MAX,
    )
    return [to_frame(each, latest[each.id], livemode=act.livemode) for each in shown]


def to_frame(
    customer: Customer, methods: Sequence[PaymentMethod], *, livemode: bool
) -> dict[str, Any]:
    """A customer, with its last payment methods."""
    born = customer.date_of_birth
    shipping = customer.shipping or {}
    whose = owner(customer)
    return {
        "id": customer.id,
        "object": "customer",
        "name": customer.name,
        "email": customer.email,
        "description": customer.description,
        "phone": customer.phone,
        "date_of_birth": None if born is None else born.isoformat(),
        "status": "blocked" if customer.blocked_at else "active",
        "billing_address": addresses.to_frame(customer.address),
        "shipping_address": addresses.to_frame(shipping.get("address")),
        "payment_methods": [
            payment_methods.to_frame(each, whose, livemode=livemode) for each in methods
        ],
        "test_clock": customer.clock_id,
        "metadata": customer.metadata,
        "livemode": livemode,
        "created": seconds(customer.created_at),
        "updated": seconds(customer.created_at),
    }
