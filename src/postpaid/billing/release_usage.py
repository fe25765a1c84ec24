"""What void invoices had billed of usage → owed again, and the units it had taken given back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from postpaid.billing.draw_units import return_units
from postpaid.billing.perform import Act
from postpaid.core.invoicing import BillingReason, Invoice
from postpaid.core.thresholds import billed_by
from postpaid.core.values import replace
from postpaid.storage import billed_usage, subscription_items, subscriptions
from postpaid.storage.database import Connection


def release_usage(conn: Connection, act: Act, voided: Sequence[Invoice]) -> None:
    """What the void invoices billed of usage is owed again; the customers are locked.

    Of threshold invoices while their windows run; the windows of those that somebody asked for can
    be asked for again, and units that had been bought in advance come back.
    """
    if by_window := [each.id for each in voided if each.bills_usage]:
        billed_usage.release(conn, act.account_id, by_window)
        return_units(conn, act, by_window)
    wrong = [each for each in voided if each.billing_reason == BillingReason.SUBSCRIPTION_THRESHOLD]
    if not wrong:
        return
    ids = {each.subscription_id for each in wrong if each.subscription_id}
    running = subscriptions.load(conn, act.account_id, ids)
    billed: dict[tuple[str, datetime], int] = {}
    for each in wrong:
        for window, amount in billed_by(each.lines).items():
            billed[window] = billed.get(window, 0) + amount
    changed = [
        replace(item, billed_amount=item.billed_amount - billed[item.id, item.period_end])
        for each in running.values()
        for item in each.items
        if billed.get((item.id, item.period_end))
    ]
    subscription_items.update_many(conn, act.account_id, changed)
