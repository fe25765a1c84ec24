"""What a period of a subscription's plan costs at present, after its discounts."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.compose import compose
from postpaid.billing.net_prices import renewal
from postpaid.billing.perform import Act
from postpaid.core.plans import plan_of
from postpaid.core.subscriptions import Subscription
from postpaid.storage import catalog, customers
from postpaid.storage.database import Connection


def price_plans(conn: Connection, act: Act, shown: Sequence[Subscription]) -> dict[str, int]:
    """Minor units a period, as a renewal at this moment would ask for the plan, by subscription.

    Tax is not in it, nor what else is sold beside the plan; a metered plan comes to nothing. A
    constant number of statements.
    """
    if not shown:
        return {}
    # Read.
    sold = catalog.load_sold(
        conn, act.account_id, {item.price_id for each in shown for item in each.items}
    )
    owners = customers.load(conn, act.account_id, {each.customer_id for each in shown})

    # Decide.
    drafts = []
    for each in shown:
        owner = owners[each.customer_id]
        drafts.append(renewal(act.at(owner.now(act.now), owner.clock_id), each, sold))
    prices = {key: each.price for key, each in sold.items()}
    plans = {each.id: plan_of(each, prices) for each in shown}
    return {
        each.id: sum(
            line.amount - sum((line.discounts or {}).values())
            for line in draft.lines
            if line.subscription_item_id == plans[each.id].id
        )
        for each, draft in zip(shown, compose(conn, act, drafts, owners), strict=True)
    }
