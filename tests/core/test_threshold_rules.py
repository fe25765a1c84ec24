"""Thresholds: when they are reached, what they bill, and from which quantity on to look."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpaid.core.allotments import bill
from postpaid.core.catalog import Price, Product, UsageType
from postpaid.core.errors import InvalidRequest
from postpaid.core.lines import usage_lines
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model, Tier, TiersMode
from postpaid.core.subscriptions import (
    BillingMode,
    Catalog,
    CollectionMethod,
    Item,
    PauseBehavior,
    Sold,
    Subscription,
    SubscriptionStatus,
)
from postpaid.core.thresholds import check, look_at, may_bill, reaches_amount, standings
from postpaid.core.values import replace

T0 = datetime(2026, 1, 1, tzinfo=UTC)
T1 = datetime(2026, 2, 1, tzinfo=UTC)
NOON = T0 + timedelta(hours=12)
PER_UNIT = Model(unit_amount=Decimal(5))
STEPS = (
    Tier(Decimal(100), Decimal(10)),
    Tier(Decimal(1000), Decimal(5), Decimal(30)),
    Tier(None, Decimal("0.5")),
)
GRADUATED = Model(tiers=STEPS, tiers_mode=TiersMode.GRADUATED)
VOLUME = Model(tiers=STEPS, tiers_mode=TiersMode.VOLUME)


def catalog(*models: Model, metered: bool = True) -> Catalog:
    found = {}
    for place, model in enumerate(models):
        product = Product(f"prod_{place}", "Calls", T0, T0)
        price = Price(
            f"price_{place}",
            product.id,
            "usd",
            model,
            T0,
            recurrence=Recurrence(Interval.MONTH),
            usage_type=UsageType.METERED if metered else UsageType.LICENSED,
            meter_id="mtr_1" if metered else None,
        )
        found[price.id] = Sold(price, product)
    return found


def subscription(sold: Catalog, *, usage: int | None = None, **fields: Any) -> Subscription:
    items = tuple(
        Item(
            f"si_{place}", "sub", price_id, None, 0, T0, T1, {}, T0,
            threshold_usage=None if usage is None else Decimal(usage),
        )
        for place, price_id in enumerate(sold)
    )  # fmt: skip
    made = Subscription(
        id="sub", customer_id="cus", clock_id=None, status=SubscriptionStatus.ACTIVE,
        currency="usd", collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
        days_until_due=None, billing_mode=BillingMode.FLEXIBLE, billing_mode_at=T0, anchor_at=T0,
        closes_at=T1, expires_at=None, start_at=T0, cancel_at_period_end=False, canceled_at=None,
        ended_at=None, cancellation_reason=None, cancellation_comment=None,
        cancellation_feedback=None, default_payment_method_id=None, latest_invoice_id=None,
        description=None, metadata={}, created_at=T0, items=items,
    )  # fmt: skip
    return replace(made, **fields)


def test_an_amount_is_of_all_usage_that_no_threshold_has_billed() -> None:
    sold = catalog(PER_UNIT, PER_UNIT)
    agreed = subscription(sold, threshold_amount=1000)

    def reached(first: int, second: int, billed: int = 0) -> bool:
        items = (replace(agreed.items[0], billed_amount=billed), agreed.items[1])
        used = {"si_0": Decimal(first), "si_1": Decimal(second)}
        now = replace(agreed, items=items)
        return reaches_amount(now, standings(now, sold, used, now=NOON))

    assert [reached(100, 99), reached(100, 100)] == [False, True]
    assert [reached(299, 0, 500), reached(300, 0, 500)] == [False, True]


def test_a_quantity_is_of_one_item_and_begins_anew_when_it_was_billed() -> None:
    sold = catalog(PER_UNIT)
    agreed = subscription(sold, usage=100)

    def reached(quantity: int, billed: int | None) -> bool:
        item = replace(agreed.items[0], billed_quantity=None if billed is None else Decimal(billed))
        now = replace(agreed, items=(item,))
        [standing] = standings(now, sold, {"si_0": Decimal(quantity)}, now=NOON)
        return standing.reaches_usage

    assert [reached(99, None), reached(100, None)] == [False, True]
    assert [reached(249, 150), reached(250, 150)] == [False, True]


@pytest.mark.parametrize(
    ("fields", "now", "bills"),
    [
        ({}, NOON, True),
        ({"status": SubscriptionStatus.PAST_DUE}, NOON, True),
        ({"status": SubscriptionStatus.TRIALING}, NOON, False),
        ({"status": SubscriptionStatus.INCOMPLETE}, NOON, False),
        ({"cancel_at_period_end": True}, T1 - timedelta(hours=25), True),
        ({"cancel_at_period_end": True}, T1 - timedelta(hours=24), False),
        ({"cancel_at": NOON + timedelta(hours=24)}, NOON, False),
        ({}, T1 - timedelta(hours=1), True),
        ({"threshold_amount": None}, NOON, False),
        ({"status": SubscriptionStatus.UNPAID}, NOON, False),
        ({"pause_behavior": PauseBehavior.VOID}, NOON, False),
    ],
    ids=[
        "active",
        "past due",
        "trialing",
        "incomplete",
        "a day before its end",
        "in its last day",
        "in the last day before a date",
        "in the last day of a period that another follows",
        "without one",
        "unpaid",
        "while its collection is paused",
    ],
)
def test_when_thresholds_bill(fields: dict[str, Any], now: datetime, bills: bool) -> None:
    agreed = subscription(catalog(PER_UNIT), **{"threshold_amount": 1000, **fields})
    assert may_bill(agreed, now) == bills


@given(
    st.sampled_from([PER_UNIT, GRADUATED]),
    st.integers(50, 20_000),
    st.integers(0, 5_000),
    st.integers(0, 10_000),
)
def test_below_the_quantity_to_look_at_no_threshold_is_reached(
    model: Model, amount: int, billed: int, quantity: int
) -> None:
    sold = catalog(model)
    agreed = subscription(sold, threshold_amount=amount)
    item = replace(agreed.items[0], billed_amount=billed)
    now = replace(agreed, items=(item,))
    at = look_at(now, item, sold)
    assert at is not None
    if quantity < at:
        found = standings(now, sold, {"si_0": Decimal(quantity)}, now=NOON)
        assert not reaches_amount(now, found)


def test_what_no_quantity_tells_is_looked_at_always() -> None:
    for sold in (catalog(VOLUME), catalog(PER_UNIT, PER_UNIT)):
        agreed = subscription(sold, threshold_amount=1000)
        assert look_at(agreed, agreed.items[0], sold) is None


@given(
    st.sampled_from([PER_UNIT, GRADUATED, VOLUME]),
    st.lists(st.integers(0, 900), min_size=1, max_size=4),
)
def test_threshold_invoices_and_the_last_one_come_to_what_one_would(
    model: Model, steps: list[int]
) -> None:
    """Whatever was billed in between: the end of the period makes it right."""
    sold = catalog(model)
    agreed = subscription(sold, threshold_amount=1000)
    item, quantity, billed = agreed.items[0], Decimal(0), 0
    for number, step in enumerate(steps, 1):
        quantity += step
        now = replace(agreed, items=(item,))
        used = {"si_0": quantity}
        [standing] = standings(now, sold, used, now=NOON, number=number)
        billed += standing.accrued
        item = replace(item, billed_quantity=quantity, billed_amount=standing.amount)
    last = usage_lines(agreed, item, sold, quantity + 7)
    assert billed + sum(line.amount for line in last) == bill(model, quantity + 7)


@pytest.mark.parametrize(
    ("sold", "fields", "usage"),
    [
        (catalog(PER_UNIT), {"threshold_amount": 49}, None),
        (catalog(PER_UNIT, metered=False), {"threshold_amount": 1000}, None),
        (catalog(PER_UNIT, metered=False), {}, 100),
        (
            catalog(Model(tiers=(Tier(None, None, Decimal(900)),), tiers_mode=TiersMode.VOLUME)),
            {"threshold_amount": 900},
            None,
        ),
    ],
    ids=["too low", "no usage", "of a licence", "not above the flat amounts"],
)
def test_thresholds_that_make_no_sense_are_refused(
    sold: Catalog, fields: dict[str, Any], usage: int | None
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check(subscription(sold, usage=usage, **fields), sold)
    assert "billing_thresholds" in str(refused.value.param)
