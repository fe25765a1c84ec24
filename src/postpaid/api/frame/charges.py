"""Charges, as Frame shows them: payment attempts that reached their gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from postpaid.api.frame import payment_methods as methods_shapes
from postpaid.api.frame import shapes
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import ListParams, Payer
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import Owner
from postpaid.api.instants import seconds
from postpaid.api.params import Id
from postpaid.billing.perform import Act
from postpaid.core.errors import NotFound
from postpaid.core.payment_intents import PaymentIntent, attempt_id_of
from postpaid.core.refunds import Refund, RefundStatus
from postpaid.storage import payment_intents, payment_methods, payments, refunds
from postpaid.storage.database import Connection
from postpaid.storage.payments import REACHED, AttemptStatus, PaymentAttempt

routes = Routes("Charges")

STATUSES = {AttemptStatus.SUCCEEDED: "succeeded", AttemptStatus.FAILED: "failed"}
OTHERWISE = "pending"  # a bank has not decided


class ChargeList(ListParams, Payer):
    charge_intent: Id | None = None


@routes.get("/v1/charges")
def list_(call: Call, params: ChargeList) -> dict[str, Any]:
    """List charges, newest first: every try at a payment that reached its gateway."""
    customer_id = params.payer_id

    def read(conn: Connection) -> dict[str, Any]:
        rows = payments.list_charges(
            conn,
            call.act.account_id,
            params.rows,
            customer_id=customer_id,
            intent_id=params.charge_intent,
        )
        return listing(
            "/v1/charges",
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="charges",
        )

    return call.read(read)


@routes.get("/v1/charges/{charge}")
def retrieve(call: Call, charge: str) -> dict[str, Any]:
    """Retrieve a charge."""
    return call.read(lambda conn: render_many(conn, call.act, [_find(conn, call.act, charge)])[0])


@routes.get("/v1/charges/{charge}/trace")
def trace(call: Call, charge: str) -> dict[str, Any]:
    """What happened to a charge, step by step, oldest first."""

    def read(conn: Connection) -> dict[str, Any]:
        attempt = _find(conn, call.act, charge)
        gone = refunds.of_attempts(conn, call.act.account_id, [attempt.id])[attempt.id]
        return trace_to_frame(attempt, gone, livemode=call.act.livemode)

    return call.read(read)


def _find(conn: Connection, act: Act, charge_id: str) -> PaymentAttempt:
    attempt_id = attempt_id_of(charge_id)
    found = payments.load(conn, act.account_id, [attempt_id]).get(attempt_id)
    if found is None or found.status not in REACHED:
        raise NotFound.of("charge", charge_id)
    return found


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def render_many(
    conn: Connection, act: Act, shown: Sequence[PaymentAttempt]
) -> list[dict[str, Any]]:
    """Charges, with a statement each for their intents, what was charged, whose, and refunds."""
    if not shown:
        return []
    intents = payment_intents.load(conn, act.account_id, {each.payment_intent_id for each in shown})
    methods = payment_methods.load(conn, act.account_id, {each.payment_method_id for each in shown})
    method_by_id = {
        each["id"]: each for each in methods_shapes.render_many(conn, act, list(methods.values()))
    }
    whose = shapes.owners(conn, act.account_id, [each.customer_id for each in shown])
    gone = refunds.of_attempts(
        conn, act.account_id, [each.id for each in shown if each.amount_refunded]
    )
    return [
        to_frame(
            each,
            intents[each.payment_intent_id],
            method_by_id,
            whose[each.customer_id],
            gone[each.id],
            livemode=act.livemode,
        )
        for each in shown
    ]


def to_frame(
    attempt: PaymentAttempt,
    intent: PaymentIntent,
    methods: Mapping[str, dict[str, Any]],
    owner: Owner,
    gone: Sequence[Refund],
    *,
    livemode: bool,
) -> dict[str, Any]:
    """The charge that the attempt is; ``gone`` are its refunds, oldest first."""
    captured = attempt.amount if attempt.status == AttemptStatus.SUCCEEDED else 0
    reasons = [each.reason for each in gone if each.status != RefundStatus.FAILED]
    return {
        "id": attempt.charge_id,
        "object": "charge",
        "amount": attempt.amount,
        "amount_captured": captured,
        "amount_refunded": attempt.amount_refunded,
        "net_amount": captured - attempt.amount_refunded,
        "currency": attempt.currency,
        "status": STATUSES.get(attempt.status, OTHERWISE),
        "captured": captured > 0,
        "refunded": captured > 0 and attempt.amount_refunded == captured,
        "refund_reason": reasons[-1] if reasons else None,
        "disputed": False,
        "failure_code": attempt.decline_code or attempt.failure_code,
        "failure_message": attempt.failure_message,
        "charge_intent": attempt.payment_intent_id,
        "charge_intent_id": attempt.payment_intent_id,
        "transfer": attempt.payment_intent_id,
        "invoice": attempt.invoice_id,
        "payment_method": attempt.payment_method_id,
        "payment_method_id": attempt.payment_method_id,
        "payment_method_details": methods.get(attempt.payment_method_id),
        **owner.keys,
        "description": intent.description,
        "acquirer_reference_number": None,
        "authorization_code": None,
        "revenue_split": None,
        "metadata": dict(intent.metadata),
        "livemode": livemode,
        "created": seconds(attempt.attempted_at),
        "updated": seconds(attempt.settled_at or attempt.attempted_at),
    }


def trace_to_frame(
    attempt: PaymentAttempt, gone: Sequence[Refund], *, livemode: bool
) -> dict[str, Any]:
    """The attempt, what came of it, and its refunds with what came of those."""
    failure = {
        "failure_code": attempt.decline_code or attempt.failure_code,
        "failure_message": attempt.failure_message,
    }
    steps: list[tuple[datetime, str, dict[str, Any]]] = [
        (
            attempt.attempted_at,
            "charge.attempted",
            {
                "amount": attempt.amount,
                "currency": attempt.currency,
                "charge_intent": attempt.payment_intent_id,
                "payment_method": attempt.payment_method_id,
                "automatic": attempt.automatic,
            },
        )
    ]
    if attempt.settled_at is not None:
        paid = attempt.status == AttemptStatus.SUCCEEDED
        said = {"amount": attempt.amount, "reference": attempt.gateway_reference}
        steps.append(
            (
                attempt.settled_at,
                f"charge.{STATUSES.get(attempt.status, OTHERWISE)}",
                said if paid else said | failure,
            )
        )
    for each in gone:
        data = {"refund": each.id, "amount": each.amount, "reason": each.reason}
        steps.append((each.created_at, "refund.created", data))
        if each.settled_at is not None:
            why = {"failure_code": each.failure_code, "failure_message": each.failure_message}
            failed = each.status == RefundStatus.FAILED
            steps.append((each.settled_at, f"refund.{each.status}", data | (why if failed else {})))
    steps.sort(key=lambda step: step[0])
    return {
        "object": "charge_trace",
        "charge_id": attempt.charge_id,
        "status": STATUSES.get(attempt.status, OTHERWISE),
        "livemode": livemode,
        "events": [
            {"type": happened, "created": seconds(at), "data": data} for at, happened, data in steps
        ],
    }
