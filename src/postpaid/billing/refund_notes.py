"""What of a credit note goes back by refunds: those it makes, and those there were before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from postpaid.billing import gateways
from postpaid.billing.perform import Act
from postpaid.billing.refund import new_refund, write_refunds
from postpaid.core.credit_notes import CreditNote
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.invoicing import Invoice
from postpaid.core.payment_intents import PaymentIntent
from postpaid.core.refunds import Refund, RefundReason, RefundStatus
from postpaid.core.values import replace
from postpaid.storage import payment_intents, payments, refunds
from postpaid.storage.database import Connection
from postpaid.storage.payments import AttemptStatus, PaymentAttempt
from postpaid.storage.refunds import NoteRefund


@dataclass(frozen=True, slots=True)
class AskedRefund:
    """A refund that there is, and how much of it a credit note is the paper of: None is all."""

    refund_id: str
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class Refunding:
    """What goes back by refunds: so much of which payment, and so much of which refund did."""

    taken: Sequence[tuple[PaymentAttempt, PaymentIntent, int]] = ()
    linked: Sequence[tuple[Refund, int]] = ()
    attempts: Mapping[str, PaymentAttempt] = field(default_factory=dict)

    @property
    def amount(self) -> int:
        """All of it, in minor units."""
        return sum(each[2] for each in self.taken) + sum(each[1] for each in self.linked)


def back_by_refunds(
    conn: Connection,
    act: Act,
    invoice: Invoice,
    amount: int,
    asked: Sequence[AskedRefund],
    *,
    is_preview: bool,
) -> Refunding:
    """What a note gives back by refunds: a new one of ``amount``, and those asked for.

    Six statements at most.

    The customer is locked, and the payments are unless it is a preview. Raises ``NotFound``, and
    ``InvalidRequest`` for more than was paid through gateways and not refunded, or than a refund
    has that no other note is the paper of, or for a gateway that is there no more.
    """
    linked = _linked(conn, act, asked, invoice) if asked else []
    if not amount:
        return Refunding((), linked)
    # Read.
    intents = {
        each.id: each for each in payment_intents.of_invoices(conn, act.account_id, [invoice.id])
    }
    paid = payments.of_intents(conn, act.account_id, intents, statuses=[AttemptStatus.SUCCEEDED])
    attempts = {each.id: each for each in paid}
    if not is_preview:
        attempts = payments.lock(conn, act.account_id, attempts)

    # Decide. The newest payment goes back first.
    taken: list[tuple[PaymentAttempt, PaymentIntent, int]] = []
    left = amount
    for attempt in sorted(attempts.values(), key=lambda each: each.id, reverse=True):
        intent = intents[attempt.payment_intent_id]
        part = min(left, attempt.amount - attempt.amount_refunded, intent.amount_applied)
        if part > 0:
            taken.append((attempt, intent, part))
            left -= part
    if left:
        raise InvalidRequest(
            f"Of what was paid of this invoice, {amount - left} can be refunded.",
            param="refund_amount",
        )
    gateways.hold(conn, act, {each.gateway for each, _, _ in taken}, param="refund_amount")
    return Refunding(taken, linked, attempts)


def _linked(
    conn: Connection, act: Act, asked: Sequence[AskedRefund], invoice: Invoice
) -> list[tuple[Refund, int]]:
    ids = [each.refund_id for each in asked]
    found = refunds.load(conn, act.account_id, ids)
    taken = refunds.linked(conn, act.account_id, ids)
    linked: list[tuple[Refund, int]] = []
    for at, each in enumerate(asked):
        param = ("refunds", at, "refund")
        refund = found.get(each.refund_id)
        if refund is None:
            raise NotFound.of("refund", each.refund_id, param=param)
        if refund.invoice_id != invoice.id:
            raise InvalidRequest("This refund is not of this invoice's payment.", param=param)
        if refund.status == RefundStatus.FAILED:
            raise InvalidRequest("This refund failed: nothing went back.", param=param)
        if ids.count(refund.id) > 1:
            raise InvalidRequest("This refund is given twice.", param=param)
        left = refund.amount - refund.amount_of_credit - taken.get(refund.id, 0)
        amount = left if each.amount is None else each.amount
        if not 0 < amount <= left:
            raise InvalidRequest(
                f"Of this refund, {left} is on no credit note yet.",
                param=("refunds", at, "amount_refunded") if each.amount is not None else param,
            )
        linked.append((refund, amount))
    return linked


def write_refunding(
    conn: Connection, act: Act, note: CreditNote, refunding: Refunding, *, wall: datetime
) -> None:
    """Write the refunds that the note makes, and that it is the paper of them and of others."""
    made = [
        replace(
            new_refund(act, attempt, intent, part, wall=wall),
            reason=RefundReason.REQUESTED_BY_CUSTOMER,
        )
        for attempt, intent, part in refunding.taken
    ]
    if made:
        write_refunds(conn, act, made, refunding.attempts, {})
    links = [NoteRefund(note.id, each.id, each.amount) for each in made]
    links += [NoteRefund(note.id, each.id, amount) for each, amount in refunding.linked]
    refunds.link(conn, act.account_id, links)
