"""Refunds, as Frame shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from postpaid.api.frame import shapes
from postpaid.api.frame.naming import in_frames_words
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import FrameParams, ListParams, Metadata, merge_metadata
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import Owner
from postpaid.api.instants import seconds
from postpaid.api.params import AMOUNT_MAX, Id, Integer
from postpaid.billing import refund as refunding
from postpaid.billing.ask_refunds import ask_refunds
from postpaid.billing.perform import Act
from postpaid.billing.refund import NewRefund
from postpaid.core.errors import InvalidRequest
from postpaid.core.payment_intents import attempt_id_of
from postpaid.core.refunds import Refund, RefundReason
from postpaid.storage import refunds
from postpaid.storage.database import Connection

routes = Routes("Refunds")


class Parent(FrameParams):
    """What is refunded: a transfer and its charge intent are one."""

    transfer: Id | None = None
    charge_intent: Id | None = None
    charge: Id | None = None

    @property
    def named(self) -> list[str]:
        return [name for name in Parent.model_fields if getattr(self, name) is not None]


class RefundCreate(Parent):
    amount: Annotated[int, Integer(1, AMOUNT_MAX)] | None = None
    metadata: Metadata = None
    reason: RefundReason | None = None


class RefundList(ListParams, Parent):
    pass


@routes.post("/v1/refunds", status=201)
def create(call: Call, params: RefundCreate) -> dict[str, Any]:
    """Refund what a transfer, a charge intent or a charge received, in full or in part."""
    if len(params.named) != 1:
        raise InvalidRequest(
            "Exactly one of transfer, charge_intent and charge must be given.",
            param=params.named[1] if params.named else "transfer",
        )
    asked = NewRefund(
        attempt_id=params.charge and attempt_id_of(params.charge),
        payment_intent_id=params.transfer or params.charge_intent,
        amount=params.amount,
        reason=params.reason,
        metadata=merge_metadata({}, params.metadata),
    )

    def begin(conn: Connection) -> dict[str, Any]:
        return {"refund": refunding.refund(conn, call.act, asked).id}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        ask_refunds(call.database, call.act, [begun["refund"]])
        return retrieve(call, begun["refund"])

    [name] = params.named
    with in_frames_words({"payment_intent": name, "PaymentIntent": name.replace("_", " ")}):
        return call.write_then(begin, finish)


@routes.get("/v1/refunds")
def list_(call: Call, params: RefundList) -> dict[str, Any]:
    """List refunds, newest first."""
    if params.transfer and params.charge_intent not in (None, params.transfer):
        raise InvalidRequest(
            "Only one of transfer and charge_intent may be given.", param="charge_intent"
        )

    def read(conn: Connection) -> dict[str, Any]:
        rows = refunds.list_page(
            conn,
            call.act.account_id,
            params.rows,
            attempt_id=params.charge and attempt_id_of(params.charge),
            payment_intent_id=params.transfer or params.charge_intent,
        )
        return listing(
            "/v1/refunds",
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="refunds",
        )

    return call.read(read)


@routes.get("/v1/refunds/{refund}")
def retrieve(call: Call, refund: str) -> dict[str, Any]:
    """Retrieve a refund."""

    def read(conn: Connection) -> dict[str, Any]:
        return render_many(conn, call.act, [refunding.find_refund(conn, call.act, refund)])[0]

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def render_many(conn: Connection, act: Act, shown: Sequence[Refund]) -> list[dict[str, Any]]:
    """Refunds, with a statement for all their customers."""
    whose = shapes.owners(conn, act.account_id, [each.customer_id for each in shown])
    return [to_frame(each, whose[each.customer_id], livemode=act.livemode) for each in shown]


def to_frame(refund: Refund, owner: Owner, *, livemode: bool) -> dict[str, Any]:
    """A refund; what it is of says what went back of it."""
    return {
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "currency": refund.currency,
        "status": refund.status,
        "reason": refund.reason,
        "transfer": refund.payment_intent_id,
        "charge_intent": refund.payment_intent_id,
        "charge": refund.charge_id,
        "payment_method": refund.payment_method_id,
        "invoice": refund.invoice_id,
        **owner.keys,
        "failure_code": refund.failure_code,
        "failure_reason": refund.failure_message,
        "metadata": dict(refund.metadata),
        "livemode": livemode,
        "created": seconds(refund.created_at),
        "updated": seconds(refund.settled_at or refund.created_at),
    }
