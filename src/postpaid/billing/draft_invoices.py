"""Draft an invoice by hand; change, delete and send one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from postpaid.billing.announce import Announcement, announce, changes, customer_updated
from postpaid.billing.begin_reminders import begin_reminders
from postpaid.billing.check_blocked import check_customer_not_blocked
from postpaid.billing.choose_method import check_payment_method
from postpaid.billing.compose import compose
from postpaid.billing.decide_items import CURRENCY, NewInvoiceItem, decide_items
from postpaid.billing.draw_units import return_units
from postpaid.billing.edit_draft import LINES_MAX, check_room, edit_draft
from postpaid.billing.gather_items import lines_of_items, put_items_on
from postpaid.billing.lock_customer import lock_customer
from postpaid.billing.lock_invoices import lock_invoices
from postpaid.billing.manage_discounts import (
    AskedDiscount,
    Chosen,
    Wanted,
    check_minimum,
    choose,
    redeem,
    remove_left_out,
)
from postpaid.billing.manage_invoice_items import write_items
from postpaid.billing.manage_tax_rates import check_tax_rates
from postpaid.billing.number_invoices import check_given_number
from postpaid.billing.perform import Act
from postpaid.billing.schedule_retries import switch_collection
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.invoice_items import line_of
from postpaid.core.invoicing import (
    GRACE,
    BillingReason,
    Invoice,
    InvoiceAction,
    InvoiceStatus,
    empty_draft,
    next_status,
    with_lines,
)
from postpaid.core.lines import Line
from postpaid.core.revisions import check_revisable, lines_again
from postpaid.core.subscriptions import CollectionMethod, Subscription
from postpaid.core.values import replace
from postpaid.storage import customers, discounts, invoice_items, invoices, revisions, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

FINALIZES_WITHIN = timedelta(days=5 * 366)  # Stripe: five years

LABELS = frozenset({"metadata"})  # of any invoice
OF_OPEN = LABELS | {
    "auto_advance",
    "default_payment_method_id",
    "description",
    "due_at",
    "footer",
    "appearance",
}
"""What of a final invoice that is not settled may still change: nothing that is owed (Stripe)."""


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """An invoice asked for. ``fields`` has the invoice's own names for what it is to say.

    ``gathers`` puts the customer's pending items on it, or those of its subscription. ``original``
    is the id of the invoice that it revises. ``items`` are lines that it is to have besides.
    """

    customer_id: str | None
    subscription_id: str | None = None
    currency: str | None = None
    gathers: bool = False
    original_id: str | None = None
    discounts: Sequence[AskedDiscount] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    items: Sequence[NewInvoiceItem] = ()


def create_invoice(conn: Connection, act: Act, asked: NewInvoice) -> Invoice:
    """Draft an invoice: empty, of items that wait or are new, or of what another one billed.

    With ``auto_advance`` it becomes final by itself, an hour from now unless said otherwise.
    Raises ``NotFound`` and ``InvalidRequest`` with the parameter at fault, and ``ActionNotAllowed``
    for an invoice that cannot be revised.
    """
    # Read.
    original = None
    if asked.original_id is not None:
        at = ("from_invoice", "invoice")
        [original], locked = lock_invoices(conn, act, [asked.original_id], param=at)
        customer = locked[original.customer_id]
        _check_original(conn, act, original, asked)
    elif asked.customer_id is None:
        raise InvalidRequest(
            "Missing required param: customer.", param="customer", code="parameter_missing"
        )
    else:
        customer = lock_customer(conn, act, asked.customer_id)
        check_customer_not_blocked(customer)
    act = act.at(customer.now(act.now), customer.clock_id)
    subscription = _subscription(conn, act, asked, customer)
    currency = _currency(asked, original, subscription, customer)

    # Decide.
    invoice = (
        _revision(act, original) if original else _blank(act, customer, subscription, currency)
    )
    invoice = _with_fields(conn, act, invoice, asked.fields, customer)
    lines: list[Line] = []
    if original is not None:
        lines = [replace(line, id=act.new_id("il")) for line in lines_again(original, invoice.id)]
    elif asked.gathers:
        pending = invoice_items.pending(conn, act.account_id, [customer.id])[customer.id]
        fitting = [
            item
            for item in pending
            if item.currency == currency
            and (subscription is None or item.subscription_id == subscription.id)
        ]
        lines = lines_of_items(act, fitting[:LINES_MAX])
    items, chosen_for_items = (
        decide_items(conn, act, asked.items, customer, invoice) if asked.items else ([], Chosen())
    )
    lines += [line_of(each, act.new_id("il")) for each in items]
    check_room(lines)
    wanted = Wanted(asked.discounts or (), invoice_id=invoice.id)
    chosen = choose(conn, act, [wanted], customer=customer, currency=currency)
    if asked.discounts is not None:
        invoice = replace(invoice, discount_ids=chosen.ids() or [])
    [invoice] = compose(
        conn,
        act,
        [with_lines(invoice, lines)],
        {customer.id: customer},
        unwritten=[*chosen.new, *chosen_for_items.new],
    )
    if items:
        check_minimum(chosen, invoice.subtotal, currency)

    # Write.
    redeem(conn, act, chosen)
    said = write_items(conn, act, items, chosen_for_items) if items else []
    invoices.insert_many(conn, act.account_id, [invoice])
    if original is None and asked.gathers:
        put_items_on(conn, act, [invoice])
    said.append(Announcement("invoice.created", "invoice", invoice.id, invoice))
    if customer.currency is None and (asked.currency is not None or items):
        billed = replace(customer, currency=currency)
        customers.update_invoicing(conn, act.account_id, [billed])
        said.append(customer_updated(customer, billed))
    announce(conn, act, said)
    return invoice


def update_invoice(
    conn: Connection,
    act: Act,
    invoice_id: str,
    fields: Mapping[str, Any],
    *,
    discounts: Sequence[AskedDiscount] | None = None,
    rediscounts: bool = False,
    relabel: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None,
) -> Invoice:
    """Change what an invoice says: all of a draft, little of a final one (Stripe).

    ``fields`` has the invoice's own names. ``discounts`` are put in place of those that it had if
    it ``rediscounts``. Raises ``ActionNotAllowed`` for what of a final invoice never changes.
    """
    [before], locked = lock_invoices(conn, act, [invoice_id])
    customer = locked[before.customer_id]
    act = act.at(customer.now(act.now), customer.clock_id)
    given = dict(fields)
    if relabel is not None:
        given["metadata"] = relabel(before.metadata)
    if "appearance" in given:
        given["appearance"] = {**(before.appearance or {}), **given["appearance"]}
    _check_editable(before, set(given) | ({"discounts"} if rediscounts else set()))
    after = _with_fields(conn, act, before, given, customer)
    if before.status != InvoiceStatus.DRAFT:
        after = switch_collection(conn, act, before, after)
        if after != before:
            invoices.update_many(conn, act.account_id, [after], before=[before.status])
            if after.due_at != before.due_at:
                begin_reminders(conn, act, [after])
            said = changes(before, after)
            bare = replace(after, lines=())
            announce(conn, act, [Announcement("invoice.updated", "invoice", after.id, bare, said)])
        return after
    if rediscounts:
        wanted = Wanted(discounts or (), invoice_id=before.id)
        chosen = choose(conn, act, [wanted], customer=customer, currency=before.currency)
        redeem(conn, act, chosen)
        _forget_discounts(conn, act, before, kept=chosen.ids())
        after = replace(after, discount_ids=chosen.ids() or [])
    return edit_draft(conn, act, after, after.lines, customer, before=before)


def delete_draft(conn: Connection, act: Act, invoice_id: str) -> None:
    """Delete a draft that no subscription made; what it had gathered is pending again.

    Raises ``ActionNotAllowed`` for a final invoice, or a subscription's.
    """
    [draft], locked = lock_invoices(conn, act, [invoice_id])
    customer = locked[draft.customer_id]
    act = act.at(customer.now(act.now), customer.clock_id)
    next_status(draft.status, InvoiceAction.DELETE)
    if draft.billing_reason != BillingReason.MANUAL and draft.from_invoice_id is None:
        raise ActionNotAllowed(
            "You can't delete invoices created by subscriptions.", code="invoice_not_editable"
        )
    item_ids = [line.invoice_item_id for line in draft.lines if line.invoice_item_id]
    found = invoice_items.load(conn, act.account_id, item_ids).values() if item_ids else ()
    freed = [replace(each, invoice_id=None) for each in found if each.invoice_id == draft.id]
    invoices.delete_drafts(conn, act.account_id, [draft.id])
    invoice_items.update_many(conn, act.account_id, freed)
    if draft.bills_usage:
        return_units(conn, act, [draft.id])
    _forget_discounts(conn, act, draft, kept=None)
    announce(conn, act, [Announcement("invoice.deleted", "invoice", draft.id, draft)])


def send_invoice(conn: Connection, act: Act, invoice_id: str) -> Invoice:
    """Say that the open invoice is to be sent now: whoever listens for the event sends it."""
    [invoice], locked = lock_invoices(conn, act, [invoice_id])
    customer = locked[invoice.customer_id]
    act = act.at(customer.now(act.now), customer.clock_id)
    next_status(invoice.status, InvoiceAction.SEND)
    bare = replace(invoice, lines=())
    announce(conn, act, [Announcement("invoice.sent", "invoice", invoice.id, bare)])
    return invoice


# ─── What it says ────────────────────────────────────────────────────────────────────────────


def _blank(
    act: Act, customer: Customer, subscription: Subscription | None, currency: str
) -> Invoice:
    """A draft of a person's, as the customer's invoices are."""
    custom_fields = customer.invoice_custom_fields
    return replace(
        empty_draft(
            act.new_id("in"),
            customer.id,
            subscription_id=subscription.id if subscription else None,
            clock_id=customer.clock_id,
            reason=BillingReason.MANUAL,
            collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
            days_until_due=None,
            currency=currency,
            period=(act.now, act.now),
            now=act.now,
        ),
        footer=customer.invoice_footer,
        subscription_metadata=subscription.metadata if subscription else None,
        appearance={"custom_fields": list(custom_fields)} if custom_fields else None,
    )


def _revision(act: Act, original: Invoice) -> Invoice:
    """A draft that says what the original says, and stands where it stands."""
    return replace(
        empty_draft(
            act.new_id("in"),
            original.customer_id,
            subscription_id=original.subscription_id,
            clock_id=original.clock_id,
            reason=original.billing_reason,
            collection_method=original.collection_method,
            days_until_due=original.days_until_due,
            currency=original.currency,
            period=(original.period_start, original.period_end),
            now=act.now,
        ),
        default_payment_method_id=original.default_payment_method_id,
        description=original.description,
        footer=original.footer,
        metadata=original.metadata,
        subscription_metadata=original.subscription_metadata,
        discount_ids=original.discount_ids,
        tax_rate_ids=original.tax_rate_ids,
        threshold_reason=original.threshold_reason,
        from_invoice_id=original.id,
        proration_at=original.proration_at,
        appearance=original.appearance,
        bills_usage=original.bills_usage,
    )


def _with_fields(
    conn: Connection, act: Act, before: Invoice, given: Mapping[str, Any], customer: Customer
) -> Invoice:
    """The invoice with what is given, and what follows from it. Raises ``InvalidRequest``."""
    after = replace(before, **given) if given else before
    method_id = given.get("default_payment_method_id")
    if method_id is not None:
        check_payment_method(conn, act, customer.id, method_id)
    if "tax_rate_ids" in given:
        check_tax_rates(conn, act, {("default_tax_rates",): after.tax_rate_ids})
    if after.given_number is not None and after.given_number != before.given_number:
        check_given_number(conn, act, after.given_number, other_than=after.id)
    _check_due(act, after, given)
    return _scheduled(act, before, after, given)


def _check_due(act: Act, after: Invoice, given: Mapping[str, Any]) -> None:
    """When it is due is said of what is sent, in one of two ways (Stripe)."""
    sent = after.collection_method == CollectionMethod.SEND_INVOICE
    for param, name in (("days_until_due", "days_until_due"), ("due_date", "due_at")):
        if given.get(name) is not None and not sent:
            raise InvalidRequest(
                f"`{param}` can only be given with `collection_method` `send_invoice`.",
                param=param,
            )
    if given.get("days_until_due") is not None and given.get("due_at") is not None:
        raise InvalidRequest(
            "You may only specify one of these parameters: days_until_due, due_date.",
            param="due_date",
        )
    if sent and after.days_until_due is None and after.due_at is None:
        raise InvalidRequest(
            "With `collection_method` `send_invoice` you must give `days_until_due` or `due_date`.",
            param="days_until_due",
            code="parameter_missing",
        )
    if given.get("due_at") is not None and given["due_at"] <= act.now:
        raise InvalidRequest("The due date must be in the future.", param="due_date")


def _scheduled(act: Act, before: Invoice, after: Invoice, given: Mapping[str, Any]) -> Invoice:
    """The invoice with when it becomes final by itself, and is charged."""
    if after.collection_method == CollectionMethod.CHARGE_AUTOMATICALLY:
        after = replace(after, days_until_due=None, due_at=None)
    elif given.get("days_until_due") is not None:
        after = replace(after, due_at=None)
    elif given.get("due_at") is not None and after.status == InvoiceStatus.DRAFT:
        after = replace(after, days_until_due=None)
    if after.status != InvoiceStatus.DRAFT:
        return after
    chosen = given.get("finalizes_at")
    if chosen is not None:
        param = "automatically_finalizes_at"
        if not after.auto_advance:
            raise InvalidRequest(f"`{param}` needs `auto_advance`.", param=param)
        if not act.now < chosen <= act.now + FINALIZES_WITHIN:
            raise InvalidRequest(
                "An invoice must be finalized in the future, within five years.", param=param
            )
    if not after.auto_advance:
        return replace(after, finalizes_at=None, next_attempt_at=None)
    finalizes_at = chosen or before.finalizes_at or act.now + GRACE
    charged = after.collection_method == CollectionMethod.CHARGE_AUTOMATICALLY
    return replace(
        after, finalizes_at=finalizes_at, next_attempt_at=finalizes_at if charged else None
    )


# ─── What may be asked for ───────────────────────────────────────────────────────────────────


def _check_editable(before: Invoice, given: set[str]) -> None:
    if before.status == InvoiceStatus.DRAFT:
        return
    settled = before.status in (InvoiceStatus.PAID, InvoiceStatus.VOID)
    if given - (LABELS if settled else OF_OPEN):
        next_status(before.status, InvoiceAction.EDIT)


def _check_original(conn: Connection, act: Act, original: Invoice, asked: NewInvoice) -> None:
    at = ("from_invoice", "invoice")
    for name in ("customer_id", "subscription_id", "currency"):
        if getattr(asked, name) not in (None, getattr(original, name)):
            param = name.removesuffix("_id")
            raise InvalidRequest(
                f"A revision has the `{param}` of the invoice {original.id}, and no other.",
                param=param,
            )
    try:
        check_revisable(original)
    except ValueError as refused:
        raise ActionNotAllowed(str(refused), param=at) from None
    standing = revisions.find(conn, act.account_id, original.id)
    if standing is not None:
        raise ActionNotAllowed(
            f"The invoice {original.id} has a revision already, {standing}: change, revise or "
            "void that one.",
            param=at,
        )
    check_room(original.lines)


def _subscription(
    conn: Connection, act: Act, asked: NewInvoice, customer: Customer
) -> Subscription | None:
    if asked.subscription_id is None:
        return None
    found = subscriptions.load(conn, act.account_id, [asked.subscription_id])
    subscription = found.get(asked.subscription_id)
    if subscription is None:
        raise NotFound.of("subscription", asked.subscription_id, param="subscription")
    if subscription.customer_id != customer.id:
        raise InvalidRequest(
            f"The subscription {subscription.id} does not belong to customer {customer.id}.",
            param="subscription",
        )
    return subscription


def _currency(
    asked: NewInvoice,
    original: Invoice | None,
    subscription: Subscription | None,
    customer: Customer,
) -> str:
    if original is not None:
        return original.currency
    billed_in = subscription.currency if subscription else customer.currency
    if asked.currency is not None and billed_in not in (None, asked.currency):
        raise InvalidRequest(
            "You cannot combine currencies on a single customer. This customer is billed in "
            f"{billed_in}.",
            param="currency",
        )
    return asked.currency or billed_in or CURRENCY


def _forget_discounts(
    conn: Connection, act: Act, draft: Invoice, *, kept: Sequence[str] | None
) -> None:
    """Take away the discounts that are the draft's own, and not those of its customer."""
    if draft.discount_ids:
        found = discounts.load(conn, act.account_id, draft.discount_ids).values()
        own = [each.id for each in found if each.invoice_id == draft.id]
        remove_left_out(conn, act, own, kept)
