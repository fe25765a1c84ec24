"""What a subscription sells beside its plan goes on through the phases that change only the plan.

A schedule that a merchant writes says all of what each phase sells, and keeps to that (Stripe). One
that was made to carry out price phases, or another product that waits, says no more than what the
plan is or costs: what else is agreed in the meantime is not to be lost with the next phase.
"""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.perform import Act
from postpaid.billing.write_schedules import write
from postpaid.core.plans import carrying, ends_otherwise, sells_otherwise
from postpaid.core.subscriptions import Subscription
from postpaid.storage import catalog, price_phases, subscription_schedules
from postpaid.storage.database import Connection
from postpaid.storage.price_phases import Sells


def carry_items(
    conn: Connection, act: Act, pairs: Sequence[tuple[Subscription, Subscription]]
) -> None:
    """Let schedules follow what became of subscriptions otherwise than by them. They are locked.

    A change of the plan that waits for the end of the period waits for that of another one, too.
    A running price phase ends whose price is not sold any more. A constant number of statements,
    and none where nothing is sold otherwise.
    """
    price_phases.end_unsold(
        conn,
        act.account_id,
        [
            Sells(after.id, act.now, [item.price_id for item in after.items])
            for before, after in pairs
            if sells_otherwise(before, after)
        ],
    )
    followed = {
        after.schedule_id: (before, after)
        for before, after in pairs
        if after.schedule_id and (sells_otherwise(before, after) or ends_otherwise(before, after))
    }
    if not followed:
        return
    # Read.
    schedules = subscription_schedules.load(conn, act.account_id, followed)
    price_ids = {
        item.price_id
        for each in schedules.values()
        for phase in each.phases
        if phase.changes_plan_only
        for item in phase.items
    }
    if not price_ids:
        return
    price_ids |= {
        item.price_id for pair in followed.values() for each in pair for item in each.items
    }
    prices = catalog.load_prices(conn, act.account_id, price_ids)

    # Decide.
    kept = [
        (each, carrying(each, *followed[key], prices, act.now)) for key, each in schedules.items()
    ]

    # Write.
    write(conn, act, [(before, after) for before, after in kept if after != before])
