"""Draft → open: usage of the grace hour counted in, numbered, addressed, frozen, announced.

After this an invoice's lines, totals, number and recipient never change; the database refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.measure import measure
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.invoicing import (
    Invoice,
    InvoiceStatus,
    finalized,
    invoice_number,
    metered_obligations,
    with_usage,
)
from postpaid.core.subscriptions import Catalog
from postpaid.core.values import replace
from postpaid.storage import catalog, customers, invoices, usage_totals
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


def finalize(
    conn: Connection,
    act: Act,
    drafts: Sequence[Invoice],
    locked: Mapping[str, Customer],
    *,
    parks: bool = True,
) -> list[Invoice]:
    """Finalize the drafts, whose customers the caller has ``locked``; return them as they are now.

    Numbers follow each customer's own sequence without a gap: the sequence moves under the lock, in
    this transaction. A draft that cannot be rated is parked with the reason, and left out; without
    ``parks`` it raises ``InvalidRequest``, for a person to hear. Raises ``ActionNotAllowed`` for an
    invoice that is no draft.
    """
    # Read.
    sold, used = _read(conn, act, drafts)

    # Decide.
    final: list[Invoice] = []
    rewritten: list[Invoice] = []
    parked: dict[str, str] = {}
    customer_by_id = dict(locked)
    for invoice in drafts:
        owed = {line.obligation: used[line.obligation] for line in metered_obligations(invoice)}
        try:
            recounted = with_usage(invoice, sold, owed)
        except ValueError as unbillable:
            if not parks:
                raise InvalidRequest(str(unbillable), param="invoice") from None
            parked[invoice.id] = str(unbillable)
            continue
        if recounted is not invoice:
            recounted = replace(
                recounted,
                lines=tuple(
                    line if line.id else replace(line, id=act.new_id("il"))
                    for line in recounted.lines
                ),
            )
            rewritten.append(recounted)
        customer = customer_by_id[invoice.customer_id]
        final.append(
            finalized(
                recounted,
                number=invoice_number(customer.invoice_prefix, customer.next_invoice_sequence),
                customer_snapshot=recipient(customer),
                payment_intent_id=act.new_id("pi"),
                now=act.now,
            )
        )
        customer_by_id[customer.id] = replace(
            customer, next_invoice_sequence=customer.next_invoice_sequence + 1
        )

    # Write.
    invoices.replace_lines(conn, act.account_id, rewritten)
    invoices.update_many(conn, act.account_id, final, before=[InvoiceStatus.DRAFT])
    invoices.park(conn, act.account_id, parked)
    customers.update_invoicing(
        conn,
        act.account_id,
        [customer_by_id[key] for key in {invoice.customer_id for invoice in final}],
    )
    announce(conn, act, [said for invoice in final for said in _announcements(invoice)])
    return final


def lock_invoices(
    conn: Connection, act: Act, invoice_ids: Sequence[str]
) -> tuple[list[Invoice], dict[str, Customer]]:
    """The invoices as they are once their customers are locked, and the customers.

    Raises ``NotFound`` for an id that is no invoice of this account.
    """
    before = invoices.load(conn, act.account_id, invoice_ids, with_lines=False)
    for invoice_id in invoice_ids:
        if invoice_id not in before:
            raise NotFound.of("invoice", invoice_id, param="invoice")
    locked = customers.lock(conn, act.account_id, [each.customer_id for each in before.values()])
    found = invoices.load(conn, act.account_id, invoice_ids)
    return [found[invoice_id] for invoice_id in invoice_ids], locked


def recipient(customer: Customer) -> dict[str, Any]:
    """Whom an invoice is addressed to: for ever, once it is final."""
    return {
        "name": customer.name,
        "email": customer.email,
        "phone": customer.phone,
        "address": customer.address,
        "shipping": customer.shipping,
        "tax_exempt": customer.tax_exempt,
    }


def _read(
    conn: Connection, act: Act, drafts: Sequence[Invoice]
) -> tuple[Catalog, dict[str, Decimal]]:
    windows: dict[str, usage_totals.Window] = {}
    price_ids: set[str] = set()
    for invoice in drafts:
        for line in metered_obligations(invoice):
            assert line.meter_id is not None
            assert line.price_id is not None
            price_ids.add(line.price_id)
            windows[line.obligation] = usage_totals.Window(
                invoice.customer_id, line.meter_id, line.period_start, line.period_end
            )
    sold = catalog.load_sold(conn, act.account_id, price_ids)
    # A person's act is at the wall clock's time, and the customer's periods may end after that.
    ended = max((window.end for window in windows.values()), default=act.now)
    return sold, measure(conn, act.account_id, windows, now=ended)


def _announcements(invoice: Invoice) -> list[Announcement]:
    bare = replace(invoice, lines=())  # frozen from now on, so they need not be copied
    types = ["invoice.finalized"]
    if invoice.status == InvoiceStatus.PAID:
        types += ["invoice.paid", "invoice.payment_succeeded"]
    return [Announcement(each, "invoice", invoice.id, bare) for each in types]
