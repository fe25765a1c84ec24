"""A resource that exists only to test what every resource is built on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import MaxLen

from postpaid.api.instants import seconds
from postpaid.api.params import (
    Amount,
    Boolean,
    Currency,
    Dec,
    Instant,
    Integer,
    ListOf,
    Metadata,
    Params,
    Text,
    TextMap,
    TimeRange,
    Timestamp,
    Unsettable,
    merge_metadata,
)
from postpaid.api.stripe.expand import expandable, includable, loader
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing.perform import Act
from postpaid.core.errors import NotFound, PaymentFailed
from postpaid.core.money import plain
from postpaid.storage.database import Connection, fetch_one
from postpaid.storage.paging import fetch_page

SCHEMA = """
CREATE TABLE IF NOT EXISTS gadgets (
    account_id integer NOT NULL,
    id         object_id NOT NULL,
    name       text NOT NULL,
    metadata   jsonb NOT NULL,
    paid       boolean NOT NULL DEFAULT false,
    PRIMARY KEY (account_id, id)
)
"""

routes = Routes("Gadgets")


class Part(Params):
    kind: Literal["nut", "bolt", "gear"]
    quantity: Annotated[int, Integer(0, 1000)] = 1
    weight: Dec | None = None
    up_to: Annotated[int, Integer(1, 1000)] | Literal["inf"] | None = None


class Owner(Params):
    name: Annotated[str, Text(40)]
    email: Unsettable[Annotated[str, Text(80)]] = None


class GadgetCreate(Params):
    name: Annotated[str, Text(40)]
    active: Boolean = True
    color: Literal["red", "green", "blue"] | None = None
    currency: Currency = "usd"
    description: Unsettable[Annotated[str, Text(100)]] = None
    due_at: Timestamp | None = None
    labels: Annotated[dict[str, str], TextMap(3, 10, 20)] | None = None
    metadata: Metadata = None
    owner: Owner | None = None
    parts: ListOf[Part] | None = None
    price: Amount | None = None
    tags: Annotated[list[Annotated[str, Text(10)]], MaxLen(3)] | None = None
    unit_cost: Dec | None = None


class GadgetUpdate(Params):
    name: Annotated[str, Text(40)] | None = None
    metadata: Metadata = None


class GadgetPay(Params):
    card: Literal["good", "declined", "broken"] = "good"


class GadgetList(ListParams):
    created: TimeRange | None = None
    colors: ListOf[Literal["red", "green", "blue"]] | None = None


class GadgetCreateV2(Params):
    name: Annotated[str, Text(40)]
    at: Instant | None = None
    parts: ListOf[Part] | None = None
    unit_cost: Dec | None = None


@routes.post("/v1/gadgets", returns="test.gadget")
def create(call: Call, params: GadgetCreate) -> dict[str, Any]:
    """Create a gadget.

    What it is good for is left to the caller.
    """

    def write(conn: Connection) -> dict[str, Any]:
        gadget_id = call.act.new_id("gadget")
        conn.execute(
            "INSERT INTO gadgets (account_id, id, name, metadata) VALUES (%s, %s, %s, %s)",
            (call.act.account_id, gadget_id, params.name, merge_metadata({}, params.metadata)),
        )
        shown = _one(conn, call.act, gadget_id)
        return shown | {
            "due_at": seconds(params.due_at),
            "unit_cost": None if params.unit_cost is None else plain(params.unit_cost),
        }

    return call.write(write)


@routes.get("/v1/gadgets/{gadget}", returns="test.gadget")
def retrieve(call: Call, gadget: str) -> dict[str, Any]:
    """Retrieve a gadget."""
    return call.read(lambda conn: _one(conn, call.act, gadget))


@routes.get("/v1/gadgets/newest", returns="test.gadget")
def retrieve_newest(call: Call) -> dict[str, Any]:
    """Retrieve the newest gadget, whose path looks like a gadget's."""
    return {"id": "newest", "object": "test.gadget"}


@routes.post("/v1/gadgets/{gadget}", returns="test.gadget")
def update(call: Call, params: GadgetUpdate, gadget: str) -> dict[str, Any]:
    """Update a gadget."""

    def write(conn: Connection) -> dict[str, Any]:
        before = _one(conn, call.act, gadget)
        after = before | params.given()
        if "metadata" in params.given():
            after["metadata"] = merge_metadata(before["metadata"], params.metadata)
        conn.execute(
            "UPDATE gadgets SET name = %s, metadata = %s WHERE account_id = %s AND id = %s",
            (after["name"], after["metadata"], call.act.account_id, gadget),
        )
        return after

    return call.write(write)


@routes.delete("/v1/gadgets/{gadget}", returns="test.gadget")
def delete(call: Call, gadget: str) -> dict[str, Any]:
    """Delete a gadget."""

    def write(conn: Connection) -> dict[str, Any]:
        _one(conn, call.act, gadget)
        conn.execute(
            "DELETE FROM gadgets WHERE account_id = %s AND id = %s", (call.act.account_id, gadget)
        )
        return {"id": gadget, "object": "test.gadget", "deleted": True}

    return call.write(write)


@routes.get("/v1/gadgets", returns="test.gadget", many=True)
def list_(call: Call, params: GadgetList) -> dict[str, Any]:
    """List gadgets."""

    def read(conn: Connection) -> dict[str, Any]:
        found = fetch_page(
            conn,
            Gadget,
            "SELECT id, name, metadata, paid FROM gadgets WHERE account_id = %(account_id)s ",
            {"account_id": call.act.account_id},
            params.page,
            table="gadgets",
            what="gadget",
        )
        return listing("/v1/gadgets", found, to_stripe)

    return call.read(read)


@routes.post("/v1/gadgets/{gadget}/pay", returns="test.gadget")
def pay(call: Call, params: GadgetPay, gadget: str) -> dict[str, Any]:
    """Pay for a gadget."""

    def begin(conn: Connection) -> dict[str, Any]:
        return {"id": _one(conn, call.act, gadget)["id"]}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        if params.card == "declined":
            raise PaymentFailed(
                "Your card was declined.", code="card_declined", decline_code="generic_decline"
            )
        if params.card == "broken":
            raise RuntimeError("the terminal of SECRET is on fire")
        with call.database.transaction() as conn:
            conn.execute("UPDATE gadgets SET paid = true WHERE id = %s", (begun["id"],))
        return call.read(lambda conn: _one(conn, call.act, begun["id"]))

    return call.write_then(begin, finish)


@routes.post("/v2/gadgets", returns="test.gadget")
def create_v2(call: Call, params: GadgetCreateV2) -> dict[str, Any]:
    """Create a gadget from JSON."""

    def write(conn: Connection) -> dict[str, Any]:
        return {
            "id": call.act.new_id("gadget"),
            "object": "test.gadget",
            "name": params.name,
            "at": None if params.at is None else params.at.isoformat(),
            "unit_cost": None if params.unit_cost is None else plain(params.unit_cost),
        }

    return call.write(write)


@routes.delete("/v2/gadgets/{gadget}", returns="test.gadget")
def delete_v2(call: Call, gadget: str) -> dict[str, Any]:
    """Delete a gadget, keyed."""
    return call.write(lambda conn: {"id": gadget, "nonce": call.act.new_id("nonce")})


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Gadget:
    id: str
    name: str
    metadata: dict[str, str]
    paid: bool


def _one(conn: Connection, act: Act, gadget_id: str) -> dict[str, Any]:
    found = fetch_one(
        conn,
        Gadget,
        "SELECT id, name, metadata, paid FROM gadgets"
        " WHERE account_id = %(account_id)s AND id = %(id)s",
        {"account_id": act.account_id, "id": gadget_id},
    )
    if found is None:
        raise NotFound.of("gadget", gadget_id)
    return to_stripe(found)


def to_stripe(gadget: Gadget) -> dict[str, Any]:
    return {
        "id": gadget.id,
        "object": "test.gadget",
        "metadata": gadget.metadata,
        "name": gadget.name,
        "owner": "owner_1",
        "paid": gadget.paid,
    }


@loader("test.owner")
def load_owners(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {each: {"id": each, "object": "test.owner", "name": f"The {each}"} for each in ids}


def history(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, list[str]]:
    return {each: ["made", "sold"] for each in ids}


expandable("test.gadget", "owner", load="test.owner")
includable("test.gadget", "history", history)
