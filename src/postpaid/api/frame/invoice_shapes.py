"""Invoices and their lines, as Frame shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

from postpaid.api.frame.shapes import currency, decimal_string, owner
from postpaid.api.instants import seconds
from postpaid.billing.perform import Act
from postpaid.core.due_days import Standing, standing
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.lines import Line
from postpaid.core.periods import zone_called
from postpaid.core.subscriptions import CollectionMethod
from postpaid.core.values import replace
from postpaid.storage import accounts, customers, invoice_lines
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

LINES_SHOWN_MAX = 250  # the rest are at /v1/invoices/{id}/line_items

COLLECTION = {
    CollectionMethod.CHARGE_AUTOMATICALLY: "auto_charge",
    CollectionMethod.SEND_INVOICE: "request_payment",
}

STATUS = {
    InvoiceStatus.DRAFT: "draft",
    InvoiceStatus.PAID: "paid",
    InvoiceStatus.UNCOLLECTIBLE: "written_off",
    InvoiceStatus.VOID: "voided",
}

STATUS_OF_OPEN = {
    Standing.NOT_DUE: "outstanding",
    Standing.DUE: "due",
    Standing.OVERDUE: "overdue",
}


def render_many(conn: Connection, act: Act, shown: Sequence[Invoice]) -> list[dict[str, Any]]:
    """Invoices with their lines, with two statements for all of them.

    Whether one is due goes by its customer's time, and by the account's calendar.
    """
    if not shown:
        return []
    found = customers.load(conn, act.account_id, {each.customer_id for each in shown})
    zone = zone_called(accounts.time_zone(conn, act.account_id))
    return [_to_frame(each, found[each.customer_id], act, zone) for each in shown]


def render_flat(conn: Connection, act: Act, shown: Sequence[Invoice]) -> list[dict[str, Any]]:
    """The same, and whose they are by the ids alone: so Frame answers to a billing invoice."""
    return [
        each
        | {
            "customer": each["customer"] and each["customer"]["id"],
            "account": each["account"] and each["account"]["id"],
        }
        for each in render_many(conn, act, shown)
    ]


def render_snapshots(conn: Connection, act: Act, shown: Sequence[Invoice]) -> list[dict[str, Any]]:
    """Invoices as events keep them: a final one's lines are where they will always be."""
    bare = [each.id for each in shown if each.status != InvoiceStatus.DRAFT and not each.lines]
    lines = invoice_lines.load_lines(conn, act.account_id, bare) if bare else {}
    whole = [replace(each, lines=tuple(lines.get(each.id, each.lines))) for each in shown]
    return render_many(conn, act, whole)


def line_to_frame(line: Line, invoice: Invoice, *, livemode: bool) -> dict[str, Any]:
    """A line. What is no whole number of cents per unit is in ``unit_amount_decimal`` alone."""
    return {
        "id": line.id,
        "object": "invoice_line_item",
        "invoice": invoice.id,
        "description": line.description,
        "quantity": _whole(line.quantity, decimal_string(line.quantity)),
        "unit_amount_cents": None if line.unit_amount is None else _whole(line.unit_amount, None),
        "unit_amount_decimal": None
        if line.unit_amount is None
        else decimal_string(line.unit_amount),
        "unit_amount_currency": currency(invoice.currency),
        "amount_cents": line.amount,
        "discount_amount_cents": sum((line.discounts or {}).values()),
        "product": line.product_id,
        "billing_metric": line.meter_id,
        "period_start": seconds(line.period_start),
        "period_end": seconds(line.period_end),
        "metadata": line.metadata,
        "livemode": livemode,
        "created": seconds(invoice.created_at),
        "updated": seconds(_updated_at(invoice)),
    }


def _to_frame(invoice: Invoice, customer: Customer, act: Act, zone: tzinfo) -> dict[str, Any]:
    payer = owner(customer)
    named = {"id": customer.id, "name": _name(invoice, customer)}
    return {
        "id": invoice.id,
        "object": "invoice",
        "invoice_number": _number(invoice, customer),
        "customer": {"object": "customer", **named} if payer.customer else None,
        "customer_id": payer.customer,
        "account": {"object": "account", **named} if payer.account else None,
        "account_id": payer.account,
        "subscription": invoice.subscription_id,
        "total": invoice.total,
        "gross_amount_cents": invoice.subtotal,
        "discount_amount_cents": sum((invoice.total_discounts or {}).values()),
        "amount_due": invoice.amount_due,
        "amount_paid": invoice.amount_paid,
        "amount_remaining": invoice.amount_remaining,
        "currency": currency(invoice.currency),
        "status": _status(invoice, customer.now(act.now), zone),
        "collection_method": COLLECTION[invoice.collection_method],
        "payment_method": invoice.default_payment_method_id,
        "auto_charge_payment_method": invoice.default_payment_method_id,
        "charge_intent": invoice.payment_intent_id,
        "net_terms": invoice.days_until_due or 0,
        "due_date": invoice.due_at and invoice.due_at.astimezone(zone).date().isoformat(),
        "description": invoice.description,
        "memo": invoice.footer,
        "discounts": list(invoice.discount_ids or ()),
        "line_items": [
            line_to_frame(line, invoice, livemode=act.livemode)
            for line in invoice.lines[:LINES_SHOWN_MAX]
        ],
        "metadata": invoice.metadata,
        "livemode": act.livemode,
        "issued_at": seconds(invoice.finalized_at),
        "paid_at": seconds(invoice.paid_at),
        "voided_at": seconds(invoice.voided_at),
        "next_payment_attempt": seconds(invoice.next_attempt_at),
        "created": seconds(invoice.created_at),
        "updated": seconds(_updated_at(invoice)),
    }


def _status(invoice: Invoice, now: datetime, zone: tzinfo) -> str:
    if invoice.status == InvoiceStatus.OPEN:
        return STATUS_OF_OPEN[standing(invoice.due_at, now, zone)]
    return STATUS[invoice.status]


def _number(invoice: Invoice, customer: Customer) -> str:
    """A draft has its number to come, if a person gave one, or is called one (Frame)."""
    return invoice.number or invoice.given_number or f"{customer.invoice_prefix}-DRAFT"


def _name(invoice: Invoice, customer: Customer) -> str | None:
    """Whom a final invoice is addressed to, or who a draft's customer is by now."""
    addressed: Mapping[str, Any] = invoice.customer_snapshot or {"name": customer.name}
    name: str | None = addressed.get("name")
    return name


def _updated_at(invoice: Invoice) -> datetime:
    """When it last came to another status."""
    moments = (
        invoice.created_at,
        invoice.finalized_at,
        invoice.paid_at,
        invoice.voided_at,
        invoice.marked_uncollectible_at,
    )
    return max(each for each in moments if each is not None)


def _whole(number: Decimal, otherwise: str | None) -> int | str | None:
    return int(number) if number == int(number) else otherwise
