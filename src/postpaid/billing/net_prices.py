"""How much of a licence's list price is asked for, once discounts are off: what prorations go by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from postpaid.billing.compose import compose
from postpaid.billing.perform import Act
from postpaid.core.invoicing import (
    BillingReason,
    Invoice,
    draft,
    licensed_quantity,
    lines_of,
    obligation_of,
)
from postpaid.core.subscriptions import Catalog, Subscription
from postpaid.core.values import replace
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

Nets = Mapping[tuple[str, str], Fraction]
"""The part of the list price that is left, by item and price; all of it where there is none."""


def net_prices(
    conn: Connection,
    act: Act,
    changed: Sequence[tuple[Subscription, Subscription]],
    sold: Catalog,
    customers: Mapping[str, Customer],
) -> Nets:
    """What is left of every licence's price before and after, as a renewal would discount it now.

    Stripe: prorations are made of discounted prices and are not discountable again. So amounts off
    are shared among the items, and then prorated with them. No statement without a discount.
    """
    drafts = [
        made
        for before, after in changed
        for each in (before, after)
        if (made := _renewal(act, each, sold)).lines
    ]
    nets: dict[tuple[str, str], Fraction] = {}
    for composed in compose(conn, act, drafts, customers):
        asked: dict[tuple[str, str], list[int]] = {}
        for line in composed.lines:
            totals = asked.setdefault((line.subscription_item_id or "", line.price_id or ""), [0, 0])
            totals[0] += line.amount - sum((line.discounts or {}).values())
            totals[1] += line.amount
        nets |= {key: Fraction(net, gross) for key, (net, gross) in asked.items() if gross}
    return {key: net for key, net in nets.items() if net != 1}


def _renewal(act: Act, subscription: Subscription, sold: Catalog) -> Invoice:
    """A draft that nobody will see: a whole period of each licence."""
    made = []
    for item in subscription.items:
        if not sold[item.price_id].price.metered:
            made += lines_of(obligation_of(item), sold[item.price_id], licensed_quantity(item))
    return draft(
        act.new_id("in"),
        subscription,
        [replace(line, id=act.new_id("il")) for line in made],
        reason=BillingReason.UPCOMING,
        period=(act.now, act.now),
        auto_advance=False,
        finalizes_at=None,
        now=act.now,
    )
