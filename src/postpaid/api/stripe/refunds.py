"""Refunds as Stripe shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from postpaid.api.instants import seconds
from postpaid.api.params import AMOUNT_MAX, Id, Integer, Metadata, Params, TimeRange, merge_metadata
from postpaid.api.stripe.expand import expandable, includable, loaded, loader
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import refund as refunding
from postpaid.billing.ask_refunds import ask_refunds
from postpaid.billing.perform import Act
from postpaid.billing.refund import NewRefund
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.payment_intents import attempt_id_of
from postpaid.core.refunds import Refund, RefundReason, RefundStatus
from postpaid.core.values import replace
from postpaid.storage import refunds
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows

routes = Routes("Refunds")

# What Stripe says of a refund that failed; anything else is unknown.
FAILURES = frozenset(
    {
        "charge_for_pending_refund_disputed",
        "declined",
        "expired_or_canceled_card",
        "insufficient_funds",
        "lost_or_stolen_card",
        "merchant_request",
    }
)


class RefundCreate(Params):
    amount: Annotated[int, Integer(1, AMOUNT_MAX)] | None = None
    charge: Id | None = None
    metadata: Metadata = None
    payment_intent: Id | None = None
    reason: RefundReason | None = None


class RefundUpdate(Params):
    metadata: Metadata = None


class RefundList(ListParams):
    charge: Id | None = None
    created: TimeRange | None = None
    payment_intent: Id | None = None


@routes.post("/v1/refunds", returns="refund")
def create(call: Call, params: RefundCreate) -> dict[str, Any]:
    """Refund a charge, or what a payment intent received, in full or in part."""
    if (params.charge is None) == (params.payment_intent is None):
        raise InvalidRequest(
            "You must give one of these parameters: charge, payment_intent.",
            param="charge",
            code="parameter_missing" if params.charge is None else "parameters_exclusive",
        )
    asked = NewRefund(
        attempt_id=params.charge and attempt_id_of(params.charge),
        payment_intent_id=params.payment_intent,
        amount=params.amount,
        reason=params.reason,
        metadata=merge_metadata({}, params.metadata),
    )

    def begin(conn: Connection) -> dict[str, Any]:
        return {"refund": refunding.refund(conn, call.act, asked).id}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        ask_refunds(call.database, call.act, [begun["refund"]])
        return retrieve(call, begun["refund"])

    return call.write_then(begin, finish)


@routes.get("/v1/refunds", returns="refund", many=True)
def list_(call: Call, params: RefundList) -> dict[str, Any]:
    """List refunds, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def read(conn: Connection) -> dict[str, Any]:
        found = refunds.list_page(
            conn,
            call.act.account_id,
            params.page,
            attempt_id=params.charge and attempt_id_of(params.charge),
            payment_intent_id=params.payment_intent,
            created_from=created_from,
            created_before=created_before,
        )
        return listing("/v1/refunds", found, to_stripe)

    return call.read(read)


@routes.get("/v1/refunds/{refund}", returns="refund")
def retrieve(call: Call, refund: str) -> dict[str, Any]:
    """Retrieve a refund."""
    return call.read(lambda conn: to_stripe(refunding.find_refund(conn, call.act, refund)))


@routes.post("/v1/refunds/{refund}", returns="refund")
def update(call: Call, params: RefundUpdate, refund: str) -> dict[str, Any]:
    """Update a refund's metadata."""

    def change(before: Refund) -> Refund:
        if "metadata" not in params.given():
            return before
        return replace(before, metadata=merge_metadata(before.metadata, params.metadata))

    return call.write(
        lambda conn: to_stripe(refunding.describe_refund(conn, call.act, refund, change))
    )


@routes.post("/v1/refunds/{refund}/cancel", returns="refund")
def cancel(call: Call, refund: str) -> dict[str, Any]:
    """Cancel a refund: refused, since only one that waits for its customer could be."""

    def write(conn: Connection) -> dict[str, Any]:
        found = refunding.find_refund(conn, call.act, refund)
        raise ActionNotAllowed(
            "You can only cancel a refund that requires action, and this one is "
            f"{found.status}: what a gateway was asked for cannot be taken back."
        )

    return call.write(write)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(refund: Refund, *, livemode: bool = False) -> dict[str, Any]:
    """The refund; a refund does not say its mode (Stripe)."""
    failed = refund.status == RefundStatus.FAILED
    known = refund.failure_code if refund.failure_code in FAILURES else "unknown"
    return {
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": None,
        "charge": refund.charge_id,
        "created": seconds(refund.created_at),
        "currency": refund.currency,
        "customer": refund.customer_id,
        "customer_account": None,
        "description": None,
        "destination_details": None,
        "failure_balance_transaction": None,
        "failure_reason": known if failed else None,
        "instructions_email": None,
        "metadata": dict(refund.metadata),
        "next_action": None,
        "payment_intent": refund.payment_intent_id,
        "payment_method": refund.payment_method_id,
        "pending_reason": "processing" if refund.status == RefundStatus.PENDING else None,
        "presentment_details": None,
        "reason": refund.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": refund.status,
        "transfer_reversal": None,
    }


@loader("refund")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = refunds.load(conn, act.account_id, ids)
    return {key: to_stripe(each) for key, each in found.items()}


def _of_charges(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, Any]:
    """The refunds of each charge, newest first; those beyond the first ten are listed."""
    attempt_ids = {each: attempt_id_of(each) for each in ids}
    found = refunds.of_attempts(conn, act.account_id, attempt_ids.values())
    shown = {}
    for charge_id, attempt_id in attempt_ids.items():
        newest = list(reversed(found[attempt_id]))
        page = Rows(newest[:10], has_more=len(newest) > 10)
        shown[charge_id] = listing(f"/v1/charges/{charge_id}/refunds", page, to_stripe)
    return shown


@routes.get("/v1/charges/{charge}/refunds", returns="refund", many=True)
def list_of_charge(call: Call, params: ListParams, charge: str) -> dict[str, Any]:
    """List a charge's refunds, newest first."""

    def read(conn: Connection) -> dict[str, Any]:
        if not loaded(conn, call.act, "charge", [charge]):
            raise NotFound.of("charge", charge)
        found = refunds.list_page(
            conn, call.act.account_id, params.page, attempt_id=attempt_id_of(charge)
        )
        return listing(f"/v1/charges/{charge}/refunds", found, to_stripe)

    return call.read(read)


includable("charge", "refunds", _of_charges, of="refund", many=True)
expandable("refund", "charge", load="charge")
expandable("refund", "customer", load="customer")
expandable("refund", "payment_intent", load="payment_intent")
expandable("refund", "payment_method", load="payment_method")
