"""Change how an account bills: its invoices' numbers, where its days begin, how it is paid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from postpaid.billing.manage_retry_schedules import check_retry_schedules
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest
from postpaid.core.invoicing import Numbering
from postpaid.core.values import replace
from postpaid.storage import invoice_numbers
from postpaid.storage.database import Connection
from postpaid.storage.invoice_numbers import BillingSettings


def update_settings(conn: Connection, act: Act, changed: Mapping[str, Any]) -> BillingSettings:
    """Change the account's settings; ``changed`` has their own names.

    Numbers that are given out stay, and no later one is like any of them: a prefix is the account's
    or one customer's, for ever. Raises ``InvalidRequest`` for a prefix that is a customer's, or for
    none where one is needed, and ``NotFound`` for a retry schedule that is none.
    """
    before = invoice_numbers.lock_settings(conn, act.account_id)
    after = replace(before, **changed)
    if after.invoice_numbering == Numbering.ACCOUNT and after.invoice_prefix is None:
        raise InvalidRequest(
            "Invoices that are numbered by account need an `invoice_prefix`.",
            param="invoice_prefix",
            code="parameter_missing",
        )
    prefix = after.invoice_prefix
    if prefix is not None and prefix != before.invoice_prefix:
        if invoice_numbers.is_prefix(conn, act.account_id, prefix):
            raise InvalidRequest(
                f"The invoice prefix '{prefix}' is a customer's.", param="invoice_prefix"
            )
        if invoice_numbers.other_sequence_used(conn, act.account_id, prefix):
            raise InvalidRequest(
                f"The invoice prefix '{prefix}' is on a customer's invoices.",
                param="invoice_prefix",
            )
    check_retry_schedules(conn, act, [changed.get("retry_schedule_id")])
    if after != before:
        invoice_numbers.update_settings(conn, act.account_id, after)
    return after
