"""How much of a licence's list price is asked for once discounts are off: prorations go by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from postpaid.billing.compose import compose
from postpaid.billing.perform import Act
from postpaid.core.invoicing import BillingReason, Invoice, draft
from postpaid.core.lines import licensed_quantity, lines_of, obligation_of
from postpaid.core.subscriptions import Catalog, Subscription
from postpaid.core.values import replace
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

Nets = Mapping[tuple[str, str, bool], Mapping[str, Fraction]]
"""The part of a list price that each discount takes off, by subscription, price, and whether it is
after a change. Nothing is off where there is none.
"""


def net_prices(
    conn: Connection,
    act: Act,
    changed: Sequence[tuple[Subscription, Subscription]],
    sold: Catalog,
    customers: Mapping[str, Customer],
) -> Nets:
    """What is off every licence's price before and after, as a renewal would discount it now.

    Stripe: prorations are made of discounted prices and are not discountable again. So amounts off
    are shared among the items, and then prorated with them. No statement without a discount.
    """
    drafts: list[Invoice] = []
    owed: dict[str, tuple[str, bool]] = {}
    for pair in changed:
        for is_after, each in enumerate(pair):
            drafts.append(renewal(act, each, sold))
            owed[drafts[-1].id] = each.id, bool(is_after)
    nets: dict[tuple[str, str, bool], Mapping[str, Fraction]] = {}
    for composed in compose(conn, act, drafts, customers):
        subscription_id, after = owed[composed.id]
        for price_id in {line.price_id for line in composed.lines if line.discounts}:
            lines = [line for line in composed.lines if line.price_id == price_id]
            gross = sum(line.amount for line in lines)
            off: dict[str, Fraction] = {}
            for line in lines:
                for key, amount in (line.discounts or {}).items():
                    off[key] = off.get(key, Fraction(0)) + Fraction(amount, gross)
            nets[subscription_id, price_id or "", after] = off
    return nets


def renewal(act: Act, subscription: Subscription, sold: Catalog) -> Invoice:
    """A draft that nobody will see: a whole period of each licence, as of the act's time."""
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
