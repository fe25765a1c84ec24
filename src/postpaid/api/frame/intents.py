"""What charge intents and transfers have in common: both are the engine's payment intents.

A charge intent is how a payment is asked for, and a transfer how it moved; they have one id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from postpaid.api.frame import payment_methods as methods_shapes
from postpaid.api.frame import shapes
from postpaid.api.frame.naming import in_frames_words
from postpaid.api.frame.routes import Call
from postpaid.api.frame.shapes import Owner
from postpaid.billing import confirm as confirming
from postpaid.billing.confirm import Confirming
from postpaid.billing.manage_payment_intents import NewPaymentIntent, create_payment_intent
from postpaid.billing.perform import Act
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.payment_intents import OVER, PaymentIntent, PaymentIntentStatus
from postpaid.storage import invoices, payment_intents, payment_methods, payments
from postpaid.storage.database import Connection
from postpaid.storage.payments import AttemptStatus, PaymentAttempt

Render = Callable[[Connection, Act, Sequence[PaymentIntent]], list[dict[str, Any]]]


class Status(StrEnum):
    """How far a payment is: a charge intent's status in Frame's words."""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_3D_SECURE = "requires_3d_secure"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    REFUNDED = "refunded"


STATUSES = {
    PaymentIntentStatus.REQUIRES_PAYMENT_METHOD: Status.REQUIRES_PAYMENT_METHOD,
    PaymentIntentStatus.REQUIRES_CONFIRMATION: Status.REQUIRES_CONFIRMATION,
    PaymentIntentStatus.REQUIRES_ACTION: Status.REQUIRES_3D_SECURE,
    PaymentIntentStatus.PROCESSING: Status.PENDING,
    PaymentIntentStatus.SUCCEEDED: Status.SUCCEEDED,
    PaymentIntentStatus.CANCELED: Status.CANCELED,
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A payment intent and what is said of it: its latest attempt, whose, and paid with what."""

    intent: PaymentIntent
    status: Status
    latest: PaymentAttempt | None
    method: dict[str, Any] | None
    owner: Owner
    subscription_id: str | None


def shown_many(conn: Connection, act: Act, intents: Sequence[PaymentIntent]) -> list[Shown]:
    """Each intent with what is said of it, in six statements at most."""
    if not intents:
        return []
    latest_ids = [each.latest_attempt_id for each in intents if each.latest_attempt_id]
    latest = payments.load(conn, act.account_id, latest_ids)
    asked = [each.id for each in intents if each.status not in OVER]
    under_way = {
        each.payment_intent_id
        for each in payments.of_intents(
            conn, act.account_id, asked, statuses=[AttemptStatus.PENDING]
        )
    }
    stored = payment_methods.load(conn, act.account_id, _method_ids(intents, latest))
    methods = {
        each["id"]: each for each in methods_shapes.render_many(conn, act, list(stored.values()))
    }
    whose = shapes.owners(conn, act.account_id, [each.customer_id for each in intents])
    subscriptions = invoices.subscriptions_of(
        conn, act.account_id, [each.invoice_id for each in intents if each.invoice_id]
    )
    return [
        Shown(
            intent=each,
            status=_status(each, latest.get(each.latest_attempt_id or ""), under_way),
            latest=latest.get(each.latest_attempt_id or ""),
            method=methods.get(_method_id(each, latest) or ""),
            owner=whose[each.customer_id],
            subscription_id=subscriptions.get(each.invoice_id or ""),
        )
        for each in intents
    ]


def _method_id(intent: PaymentIntent, latest: Mapping[str, PaymentAttempt]) -> str | None:
    """What it is or was to be paid with: of one that was declined, what was."""
    if intent.payment_method_id is not None:
        return intent.payment_method_id
    attempt = latest.get(intent.latest_attempt_id or "")
    return attempt.payment_method_id if attempt else None


def _method_ids(intents: Sequence[PaymentIntent], latest: Mapping[str, PaymentAttempt]) -> set[str]:
    return {key for each in intents if (key := _method_id(each, latest)) is not None}


def _status(intent: PaymentIntent, latest: PaymentAttempt | None, under_way: set[str]) -> Status:
    """The intent's status, with what became of the money afterwards, and of the last try."""
    if intent.id in under_way:
        return Status.PENDING
    if latest is not None and 0 < intent.amount_received <= latest.amount_refunded:
        return Status.REFUNDED
    if intent.status == PaymentIntentStatus.REQUIRES_PAYMENT_METHOD and intent.last_error:
        return Status.FAILED
    return STATUSES[intent.status]


# ─── What is done to them ────────────────────────────────────────────────────────────────────


def refuse_what_is_not_kept(given: Mapping[str, Any], refused: Mapping[str, str]) -> None:
    """Raises ``InvalidRequest`` for what would be passed over at somebody's cost."""
    for name, message in refused.items():
        if given.get(name):
            raise InvalidRequest(message, param=name)


def create(
    call: Call,
    asked: NewPaymentIntent,
    *,
    confirm: bool,
    render: Render,
    names: Mapping[str, str],
) -> dict[str, Any]:
    """Make a payment intent, and with ``confirm`` pay it at once; a decline is an error."""
    with in_frames_words(names):
        if not confirm:
            return call.write(
                lambda conn: render(conn, call.act, [create_payment_intent(conn, call.act, asked)])[
                    0
                ]
            )

        def begin(conn: Connection) -> Confirming:
            made = create_payment_intent(conn, call.act, asked)
            return confirming.confirm(conn, call.act, made.id)

        return _confirmed(call, begin, render)


def confirm(
    call: Call,
    intent_id: str,
    *,
    payment_method_id: str | None,
    render: Render,
    names: Mapping[str, str],
) -> dict[str, Any]:
    """Pay a payment intent now, its customer being there; a decline is an error."""
    with in_frames_words(names):
        return _confirmed(
            call,
            lambda conn: confirming.confirm(
                conn, call.act, intent_id, payment_method_id=payment_method_id
            ),
            render,
        )


def _confirmed(
    call: Call, begin: Callable[[Connection], Confirming], render: Render
) -> dict[str, Any]:
    """Begin in one transaction, ask the gateway after it, and show the intent as it is then."""

    def write(conn: Connection) -> dict[str, Any]:
        begun = begin(conn)
        return {"intent": begun.intent_id, "attempts": begun.attempt_ids}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        begun_by = Confirming(begun["intent"], begun["attempts"])
        confirming.finish_confirming(call.database, call.act, begun_by)
        return call.read(
            lambda conn: render(conn, call.act, [find(conn, call.act, begun_by.intent_id)])[0]
        )

    return call.write_then(write, finish)


def find(conn: Connection, act: Act, intent_id: str, what: str = "charge intent") -> PaymentIntent:
    """Raises ``NotFound``."""
    found = payment_intents.load(conn, act.account_id, [intent_id])
    if intent_id not in found:
        raise NotFound.of(what, intent_id)
    return found[intent_id]


def not_authorized(conn: Connection, act: Act, intent_id: str, doing: str) -> dict[str, Any]:
    """Raises ``ActionNotAllowed``: whatever is confirmed is captured with it, and whole."""
    [shown] = shown_many(conn, act, [find(conn, act, intent_id)])
    raise ActionNotAllowed(
        f"This charge intent cannot be {doing}: its status is {shown.status}, and what is "
        "confirmed here is captured at once, so that nothing is ever only authorized."
    )
