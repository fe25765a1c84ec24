"""Billing credits, as Frame shows them: units of usage that are paid for in advance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from postpaid.api.frame.naming import in_frames_words
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import ListParams, Metadata, Payer, When, merge_metadata
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import decimal_string, owner
from postpaid.api.instants import seconds
from postpaid.api.params import Boolean, Dec, Id
from postpaid.billing import grant_units
from postpaid.billing.grant_units import NewUnitCredit
from postpaid.billing.perform import Act
from postpaid.core.errors import NotFound
from postpaid.core.unit_credits import UnitCredit
from postpaid.storage import customers, unit_credits
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

routes = Routes("Billing credits")

NAMES = {"units": "billing_credits", "expires_at": "expires"}


class BillingCreditCreate(Payer):
    product: Id
    billing_credits: Dec
    expires: When
    limited: Boolean = False
    metadata: Metadata = None


class BillingCreditList(ListParams, Payer):
    product: Id | None = None


@routes.post("/v1/billing/billing_credit", status=201)
def create(call: Call, params: BillingCreditCreate) -> dict[str, Any]:
    """Give a customer units of usage in advance."""
    asked = NewUnitCredit(
        customer_id=params.required_payer_id,
        product_id=params.product,
        units=params.billing_credits,
        expires_at=params.expires,
        is_limited=params.limited,
        metadata=merge_metadata({}, params.metadata),
    )

    def write(conn: Connection) -> dict[str, Any]:
        return render_many(conn, call.act, [grant_units.grant_units(conn, call.act, asked)])[0]

    with in_frames_words(NAMES):
        return call.write(write)


@routes.get("/v1/billing/billing_credit/{credit}")
def retrieve(call: Call, credit: str) -> dict[str, Any]:
    """Retrieve a billing credit."""

    def read(conn: Connection) -> dict[str, Any]:
        found = unit_credits.load(conn, call.act.account_id, [credit])
        if credit not in found:
            raise NotFound.of("billing credit", credit)
        return render_many(conn, call.act, [found[credit]])[0]

    return call.read(read)


@routes.get("/v1/billing/billing_credit")
def list_(call: Call, params: BillingCreditList) -> dict[str, Any]:
    """List billing credits, newest first, of everyone or of one."""
    payer_id = params.payer_id

    def read(conn: Connection) -> dict[str, Any]:
        rows = unit_credits.list_page(
            conn,
            call.act.account_id,
            params.rows,
            customer_id=payer_id,
            product_id=params.product,
        )
        return listing(
            "/v1/billing/billing_credit",
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="billing_credits",
        )

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def render_many(conn: Connection, act: Act, shown: Sequence[UnitCredit]) -> list[dict[str, Any]]:
    """Billing credits, with one statement for all of them."""
    if not shown:
        return []
    found = customers.load(conn, act.account_id, {each.customer_id for each in shown})
    return [
        to_frame(each, found[each.customer_id], now=act.now, livemode=act.livemode)
        for each in shown
    ]


def to_frame(
    credit: UnitCredit, customer: Customer, *, now: datetime, livemode: bool
) -> dict[str, Any]:
    """A billing credit of the customer's; whether it has expired goes by the customer's time."""
    return {
        "id": credit.id,
        "object": "billing_credit",
        **owner(customer).keys,
        "product": credit.product_id,
        "billing_credits": decimal_string(credit.granted),
        "available_credits": decimal_string(credit.available),
        "used_credits": decimal_string(credit.used),
        "status": credit.status(customer.now(now)),
        "limited": credit.is_limited,
        "watchlist": False,
        "expires": seconds(credit.expires_at),
        "metadata": credit.metadata,
        "livemode": livemode,
        "created": seconds(credit.created_at),
        "updated": seconds(credit.updated_at),
    }
