"""Customers, as Frame shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from postpaid.api.frame import addresses
from postpaid.api.frame.addresses import Address
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import FrameParams, ListParams, Metadata, merge_metadata
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.instants import seconds
from postpaid.api.params import Id, Text, Unsettable
from postpaid.billing import manage_customers
from postpaid.billing.perform import Act
from postpaid.core.errors import NotFound
from postpaid.core.values import replace
from postpaid.storage import customers
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

routes = Routes("Customers")


class CustomerUpdate(FrameParams):
    name: Annotated[str, Text(256)] | None = None
    email: Annotated[str, Text(512)] | None = None
    description: Unsettable[Annotated[str, Text(5000)]] = None
    phone: Unsettable[Annotated[str, Text(500)]] = None
    billing_address: Unsettable[Address] = None
    metadata: Metadata = None


class CustomerCreate(CustomerUpdate):
    name: Annotated[str, Text(256)]
    email: Annotated[str, Text(512)]
    test_clock: Id | None = None


class CustomerList(ListParams):
    email: Annotated[str, Text(512)] | None = None
    test_clock: Id | None = None


@routes.post("/v1/customers", status=201)
def create(call: Call, params: CustomerCreate) -> dict[str, Any]:
    """Create a customer."""
    fields = from_frame(params, {})

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_customers.create_customer(conn, call.act, fields)
        return to_frame(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/customers/{customer}")
def retrieve(call: Call, customer: str) -> dict[str, Any]:
    """Retrieve a customer."""

    def read(conn: Connection) -> dict[str, Any]:
        found = customers.find(conn, call.act.account_id, customer)
        if found is None or found.deleted_at is not None:
            raise NotFound.of("customer", customer)
        return to_frame(found, livemode=call.act.livemode)

    return call.read(read)


@routes.patch("/v1/customers/{customer}")
def update(call: Call, params: CustomerUpdate, customer: str) -> dict[str, Any]:
    """Update a customer; of its metadata what is given."""

    def change(before: Customer) -> Customer:
        return replace(before, **from_frame(params, before.metadata))

    def write(conn: Connection) -> dict[str, Any]:
        updated = manage_customers.update_customer(conn, call.act, customer, change)
        return to_frame(updated, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/customers")
def list_(call: Call, params: CustomerList) -> dict[str, Any]:
    """List customers, newest first; those on a test clock only when asked for by it."""

    def read(conn: Connection) -> dict[str, Any]:
        rows = customers.list_page(
            conn,
            call.act.account_id,
            params.rows,
            clock_id=params.test_clock,
            email=params.email,
        )
        return listing(
            "/v1/customers",
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="customers",
        )

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def from_frame(params: CustomerUpdate, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The fields that are given, by a ``Customer``'s names; ``metadata`` is what it has so far."""
    fields: dict[str, Any] = {}
    for name, value in params.given().items():
        match name:
            case "billing_address":
                fields["address"] = addresses.from_frame(value)
            case "metadata":
                fields["metadata"] = merge_metadata(metadata, value)
            case "test_clock":
                fields["clock_id"] = value
            case _:
                fields[name] = value
    return fields


def render_many(conn: Connection, act: Act, shown: Sequence[Customer]) -> list[dict[str, Any]]:
    return [to_frame(each, livemode=act.livemode) for each in shown]


def to_frame(customer: Customer, *, livemode: bool) -> dict[str, Any]:
    """A customer."""
    return {
        "id": customer.id,
        "object": "customer",
        "name": customer.name,
        "email": customer.email,
        "description": customer.description,
        "phone": customer.phone,
        "status": "blocked" if customer.blocked_at else "active",
        "billing_address": addresses.to_frame(customer.address),
        "metadata": customer.metadata,
        "livemode": livemode,
        "created": seconds(customer.created_at),
        "updated": seconds(customer.created_at),
    }
