"""What is to be collected of a final invoice: its payment intent, opened and given up with it."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid import ids
from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.perform import Act
from postpaid.core.invoicing import BillingReason, Invoice, InvoiceStatus
from postpaid.core.payment_intents import PaymentIntent, PaymentIntentStatus, canceled
from postpaid.core.values import replace
from postpaid.storage import payment_intents, payments
from postpaid.storage.database import Connection

DESCRIPTIONS = {  # in Stripe's words
    BillingReason.SUBSCRIPTION_CREATE: "Subscription creation",
    BillingReason.SUBSCRIPTION_UPDATE: "Subscription update",
    BillingReason.SUBSCRIPTION_CYCLE: "Subscription update",
    BillingReason.SUBSCRIPTION_THRESHOLD: "Subscription update",
}


def open_intents(conn: Connection, act: Act, final: Sequence[Invoice]) -> list[Announcement]:
    """Write the payment intents of final invoices that are open; what there is to announce of it.

    One statement, and none for none.
    """
    made = [
        _made(act, invoice, invoice.payment_intent_id)
        for invoice in final
        if invoice.status == InvoiceStatus.OPEN and invoice.payment_intent_id
    ]
    payment_intents.insert_many(conn, act.account_id, made)
    return [
        Announcement("payment_intent.created", "payment_intent", intent.id, intent)
        for intent in made
    ]


def intent_for_the_rest(act: Act, invoice: Invoice) -> PaymentIntent:
    """A new payment intent for what remains of an invoice whose own is over. Nothing is written."""
    return _made(act, invoice, act.new_id("pi"))


def _made(act: Act, invoice: Invoice, intent_id: str) -> PaymentIntent:
    return PaymentIntent(
        id=intent_id,
        customer_id=invoice.customer_id,
        clock_id=invoice.clock_id,
        invoice_id=invoice.id,
        amount=invoice.amount_remaining,
        amount_received=0,
        currency=invoice.currency,
        status=PaymentIntentStatus.REQUIRES_PAYMENT_METHOD,
        client_secret=new_client_secret(intent_id),
        payment_method_id=None,
        latest_attempt_id=None,
        last_error=None,
        next_action=None,
        setup_future_usage=None,
        description=DESCRIPTIONS.get(invoice.billing_reason),
        cancellation_reason=None,
        created_at=act.now,
        canceled_at=None,
    )


def follow_remaining(conn: Connection, act: Act, owed: Sequence[Invoice]) -> None:
    """Let the payment intents of these invoices ask for what remains by now (Stripe).

    The customers are locked. One whose payment is under way follows when that has failed; if it
    succeeds, what is too much is the customer's credit.
    """
    remaining = {each.id: each.amount_remaining for each in owed}
    found = payment_intents.open_of_invoices(conn, act.account_id, remaining)
    after = [
        replace(each, amount=remaining[each.invoice_id or ""])
        for each in found
        if each.status != PaymentIntentStatus.PROCESSING
        and each.amount != remaining[each.invoice_id or ""]
    ]
    payment_intents.update_many(conn, act.account_id, after)


def cancel_intents(
    conn: Connection, act: Act, over: Sequence[Invoice], *, reason: str | None = "void_invoice"
) -> None:
    """Give up what was still to be collected of these invoices, whose customers are locked.

    An attempt that waits for its customer is given up at the gateway afterwards, by the worker. One
    that a bank is busy with cannot be: if money comes of it, that is the customer's credit.
    """
    found = payment_intents.open_of_invoices(conn, act.account_id, [each.id for each in over])
    before = [each for each in found if each.status != PaymentIntentStatus.PROCESSING]
    after = [canceled(each, now=act.now, reason=reason) for each in before]
    payment_intents.update_many(conn, act.account_id, after)
    if any(each.status == PaymentIntentStatus.REQUIRES_ACTION for each in before):
        payments.hasten(conn, act.account_id, [each.id for each in before])
    announce(
        conn,
        act,
        [
            Announcement(
                "payment_intent.canceled", "payment_intent", now.id, now, changes(then, now)
            )
            for then, now in zip(before, after, strict=True)
        ],
    )


def new_client_secret(intent_id: str) -> str:
    """What lets whoever has it confirm this one payment, or setup, and nothing else."""
    return ids.new_secret(f"{intent_id}_secret_")
