"""Write down every change of what subscriptions sell: what was, what is, how that is collected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from postpaid.billing.move_items import Decision
from postpaid.billing.perform import Act
from postpaid.core.changes import Change, ProrationBehavior
from postpaid.core.plans import Settlement, SubscriptionChange, kind_of, sells_otherwise, state_of
from postpaid.core.subscriptions import RENEWING, Catalog, Subscription
from postpaid.storage import subscription_changes
from postpaid.storage.database import Connection


@dataclass(frozen=True, slots=True)
class Terms:
    """How a change is billed: ``amount`` minor units on the invoice, or on the next one.

    ``effective_at`` None means now.
    """

    proration: ProrationBehavior = ProrationBehavior.NONE
    amount: int = 0
    is_billed: bool = False  # whether anything is credited or charged, even if that is 0 together
    invoice_id: str | None = None
    effective_at: datetime | None = None
    is_scheduled: bool = False  # a phase of its schedule began


AS_IT_RENEWS = Terms()


def terms_of(asked: Change, decision: Decision) -> Terms:
    """How a change that was decided is billed."""
    prorated = [item for item in decision.made if item.proration]
    return Terms(
        proration=asked.proration,
        amount=sum(item.amount for item in prorated),
        is_billed=bool(prorated),
        invoice_id=decision.invoice.id if decision.invoice else None,
        effective_at=asked.prorated_at,
        is_scheduled=asked.by_schedule,
    )


def log_changes(
    conn: Connection,
    act: Act,
    pairs: Sequence[tuple[Subscription, Subscription]],
    sold: Catalog,
    terms: Mapping[str, Terms],
) -> None:
    """Write down those of the pairs that sell something else after than before.

    ``terms`` are by subscription; what has none happened as it renewed. At most one statement.
    """
    subscription_changes.insert_many(
        conn,
        act.account_id,
        [
            _logged(act, before, after, sold, terms.get(after.id, AS_IT_RENEWS))
            for before, after in pairs
            if sells_otherwise(before, after)
        ],
    )


def _logged(
    act: Act, before: Subscription, after: Subscription, sold: Catalog, terms: Terms
) -> SubscriptionChange:
    was, becomes = state_of(before, sold), state_of(after, sold)
    effective_at = terms.effective_at or act.now
    settlement, settles_at = Settlement.NONE, None
    if terms.invoice_id is not None:
        settlement, settles_at = Settlement.AT_ONCE, act.now
    elif terms.is_billed:
        settlement = Settlement.NEXT_RENEWAL
        if after.status in RENEWING:
            settles_at = min(item.period_end for item in after.items)
    return SubscriptionChange(
        id=act.new_id("sub_change"),
        subscription_id=after.id,
        kind=kind_of(was, becomes, sold, scheduled=terms.is_scheduled),
        proration=terms.proration,
        settlement=settlement,
        settles_at=settles_at,
        amount=terms.amount,
        invoice_id=terms.invoice_id,
        state_before=was,
        state_after=becomes,
        effective_at=effective_at,
        created_at=act.now,
    )
