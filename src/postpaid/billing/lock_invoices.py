"""Invoices as they are once their customers are locked: what every act on one begins with."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.perform import Act
from postpaid.core.errors import NotFound, Path
from postpaid.core.invoicing import Invoice
from postpaid.storage import customers, invoices
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


def lock_invoices(
    conn: Connection, act: Act, invoice_ids: Sequence[str], *, param: Path | str = "invoice"
) -> tuple[list[Invoice], dict[str, Customer]]:
    """The invoices as they are once their customers are locked, and the customers.

    Raises ``NotFound`` for an id that is no invoice of this account.
    """
    before = invoices.load(conn, act.account_id, invoice_ids, with_lines=False)
    for invoice_id in invoice_ids:
        if invoice_id not in before:
            raise NotFound.of("invoice", invoice_id, param=param)
    locked = customers.lock(conn, act.account_id, [each.customer_id for each in before.values()])
    found = invoices.load(conn, act.account_id, invoice_ids)
    for invoice_id in invoice_ids:
        if invoice_id not in found:  # a draft that was deleted while we waited
            raise NotFound.of("invoice", invoice_id, param=param)
    return [found[invoice_id] for invoice_id in invoice_ids], locked
