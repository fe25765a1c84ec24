"""Transfers, as Frame shows the money of the engine's payment intents move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import MaxLen

from postpaid.api.frame import intents
from postpaid.api.frame.charge_intents import Anything, Description
from postpaid.api.frame.intents import Shown, Status, find, shown_many
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import FrameParams, ListParams, Metadata, Payer, merge_metadata
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.instants import seconds
from postpaid.api.params import Boolean, ChargedAmount, Currency, Id, Text
from postpaid.billing.manage_payment_intents import NewPaymentIntent
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest
from postpaid.core.payment_intents import PaymentIntent
from postpaid.storage import payment_intents
from postpaid.storage.database import Connection
from postpaid.storage.payments import REACHED

routes = Routes("Transfers")

NAMES = {
    "PaymentIntent": "transfer",
    "payment_intent": "transfer",
    "payment_method": "source_payment_method_id",
    "customer": "account_id",
}

# What has not come yet is pending, whatever it waits for (Frame).
STATUSES = {
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.CANCELED: "canceled",
    Status.REFUNDED: "reversed",
}
OTHERWISE = "pending"

REFUSED = {
    "promotion_codes": (
        "Promotion codes are redeemed on invoices. Validate them, and give what they leave as the "
        "amount."
    ),
    "destination_payment_method_id": "Money comes in here, and is not paid out.",
    "revenue_split": "Revenue is not split here.",
}


class TransferCreate(Payer):
    amount: ChargedAmount
    currency: Currency = "usd"
    confirm: Boolean = False
    description: Description | None = None
    destination_payment_method_id: Id | None = None
    metadata: Metadata = None
    promotion_codes: Annotated[list[Id], MaxLen(20)] | None = None
    reference: Annotated[str, Text(255)] | None = None
    revenue_split: Anything | None = None
    source_payment_method_id: Id | None = None


class TransferConfirm(FrameParams):
    source_payment_method_id: Id | None = None


class TransferList(ListParams, Payer):
    pass


@routes.post("/v1/transfers", status=201)
def create(call: Call, params: TransferCreate) -> dict[str, Any]:
    """Ask for money from an account's or a customer's payment method; ``confirm`` takes it."""
    intents.refuse_what_is_not_kept(params.given(), REFUSED)
    payer_id = params.payer_id
    if payer_id is None:
        raise InvalidRequest("Missing required param: account_id.", param="account_id")
    asked = NewPaymentIntent(
        amount=params.amount,
        currency=params.currency,
        customer_id=payer_id,
        payment_method_id=params.source_payment_method_id,
        description=params.description,
        metadata=merge_metadata({}, params.metadata),
        reference=params.reference,
    )
    return intents.create(call, asked, confirm=params.confirm, render=render_many, names=NAMES)


@routes.get("/v1/transfers")
def list_(call: Call, params: TransferList) -> dict[str, Any]:
    """List transfers, newest first, those of invoices among them."""
    customer_id = params.payer_id

    def read(conn: Connection) -> dict[str, Any]:
        rows = payment_intents.list_page(
            conn, call.act.account_id, params.rows, customer_id=customer_id
        )
        return listing(
            "/v1/transfers",
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="transfers",
        )

    return call.read(read)


@routes.get("/v1/transfers/{transfer}")
def retrieve(call: Call, transfer: str) -> dict[str, Any]:
    """Retrieve a transfer."""
    return call.read(
        lambda conn: render_many(conn, call.act, [find(conn, call.act, transfer, "transfer")])[0]
    )


@routes.post("/v1/transfers/{transfer}/confirm")
def confirm(call: Call, params: TransferConfirm, transfer: str) -> dict[str, Any]:
    """Take the money now; a decline is an error."""
    return intents.confirm(
        call,
        transfer,
        payment_method_id=params.source_payment_method_id,
        render=render_many,
        names=NAMES,
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def render_many(conn: Connection, act: Act, shown: Sequence[PaymentIntent]) -> list[dict[str, Any]]:
    """Transfers; a constant number of statements."""
    return [to_frame(each, livemode=act.livemode) for each in shown_many(conn, act, shown)]


def to_frame(shown: Shown, *, livemode: bool) -> dict[str, Any]:
    """A transfer: no fees are taken here, so what moves is the amount."""
    intent, error = shown.intent, shown.intent.last_error or {}
    charged = shown.latest is not None and shown.latest.status in REACHED
    return {
        "id": intent.id,
        "object": "transfer",
        "amount": intent.amount,
        "amount_refunded": shown.latest.amount_refunded if shown.latest else 0,
        "currency": intent.currency,
        "status": STATUSES.get(shown.status, OTHERWISE),
        "platform_fee": 0,
        "frame_fee": 0,
        "total_fees": 0,
        "gross_amount": intent.amount,
        "net_amount": intent.amount,
        **shown.owner.keys,
        "source_payment_method": shown.method,
        "source_payment_method_id": shown.method["id"] if shown.method else None,
        "destination_payment_method": None,
        "destination_payment_method_id": None,
        "description": intent.description,
        "reference": intent.reference,
        "failure_code": error.get("decline_code") or error.get("code"),
        "failure_reason": error.get("message"),
        "charge_intent": intent.id,
        "charge": shown.latest.charge_id if charged and shown.latest else None,
        "invoice": intent.invoice_id,
        "subscription": shown.subscription_id,
        "payout": None,
        "billing_agreement": None,
        "seller_id": None,
        "client_secret": intent.client_secret,
        "metadata": dict(intent.metadata),
        "livemode": livemode,
        "created": seconds(intent.created_at),
        "updated": seconds(intent.canceled_at or intent.paid_at or intent.created_at),
    }
