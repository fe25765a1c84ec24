"""What a change of a subscription's plan is, and what may be one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from postpaid.core.catalog import Price, Product, UsageType
from postpaid.core.errors import InvalidRequest
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.plans import ChangeKind, SoldItem, SoldState, check_plan, kind_of
from postpaid.core.pricing import Model
from postpaid.core.subscriptions import Sold, SubscriptionStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MONTH, YEAR = Recurrence(Interval.MONTH), Recurrence(Interval.YEAR)


def price(price_id: str, product_id: str, recurrence: Recurrence | None = MONTH) -> Price:
    usage_type = UsageType.LICENSED if recurrence else None
    return Price(
        price_id,
        product_id,
        "usd",
        Model(Decimal(1)),
        NOW,
        recurrence=recurrence,
        usage_type=usage_type,
    )


CATALOG = {
    each.id: Sold(each, Product(each.product_id, each.product_id, NOW, NOW))
    for each in (price("basic", "basic"), price("half", "basic"), price("yearly", "yearly", YEAR))
}


def state(price_id: str, amount: str, *others: str | None) -> SoldState:
    """The plan at a price and an amount, and what else is sold; None is metered."""
    items = [
        SoldItem(f"si_{place}", price_id, CATALOG[price_id].product.id, 1, each and Decimal(each))
        for place, each in enumerate((amount, *others))
    ]
    period = NOW, NOW + timedelta(days=31)
    return SoldState(SubscriptionStatus.ACTIVE, *period, "si_0", tuple(items))


@pytest.mark.parametrize(
    ("before", "after", "scheduled", "kind"),
    [
        (state("basic", "100"), state("basic", "100.5"), False, ChangeKind.UPGRADE),
        (state("basic", "100", "50"), state("basic", "120"), False, ChangeKind.DOWNGRADE),
        (state("basic", "100"), state("half", "100"), False, ChangeKind.OTHER),
        (state("basic", "100", None), state("basic", "100"), False, ChangeKind.OTHER),
        (state("basic", "100"), state("yearly", "100"), False, ChangeKind.INTERVAL),
        (state("half", "50"), state("basic", "100"), True, ChangeKind.PHASE),
        (state("basic", "100"), state("yearly", "1000"), True, ChangeKind.INTERVAL),
    ],
    ids=["more", "less in all", "as much", "usage", "interval", "phase", "by a schedule"],
)
def test_a_change_is_named_by_what_it_costs(
    before: SoldState, after: SoldState, scheduled: bool, kind: ChangeKind
) -> None:
    assert kind_of(before, after, CATALOG, scheduled=scheduled) == kind


def test_a_plan_recurs() -> None:
    check_plan(price("monthly", "p"))
    with pytest.raises(InvalidRequest) as refused:
        check_plan(price("once", "p", None))
    assert refused.value.param == ("product",)
