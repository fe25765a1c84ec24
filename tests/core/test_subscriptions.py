"""Subscriptions: the status table as a picture, periods that advance, and how one ends."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from postpaid.core.catalog import Price, Product, UsageType
from postpaid.core.cycles import advanced, settled, started
from postpaid.core.errors import ActionNotAllowed
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model
from postpaid.core.subscriptions import (
    ENDED,
    RENEWING,
    BillingMode,
    CollectionMethod,
    Item,
    Sold,
    Subscription,
    SubscriptionAction,
    SubscriptionStatus,
    ended,
    next_status,
)

S, A = SubscriptionStatus, SubscriptionAction

STATUSES = """
               incomplete          trialing  active    past_due  unpaid    paused
pay            active              trialing  active    active    active    paused
miss a payment incomplete          trialing  past_due  past_due  unpaid    paused
be forgiven    ·                   ·         ·         active    active    ·
expire         incomplete_expired  ·         ·         ·         ·         ·
cancel         incomplete_expired  canceled  canceled  canceled  canceled  canceled
begin a trial  ·                   trialing  trialing  trialing  ·         ·
end its trial  ·                   active    ·         ·         ·         ·
be paused      ·                   paused    paused    paused    ·         ·
be resumed     ·                   ·         ·         ·         ·         active
be given up    ·                   ·         ·         unpaid    ·         ·
"""


def test_the_status_table():
    living = [status for status in S if status not in ENDED]
    rows = [["", *living], *([each, *(_shown(before, each) for before in living)] for each in A)]
    widths = [15, *(max(len(row[place]) for row in rows) + 2 for place in range(1, len(rows[0])))]
    picture = "\n".join(
        "".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    assert picture == STATUSES.strip("\n")


@pytest.mark.parametrize("status", sorted(ENDED))
def test_nothing_happens_to_what_has_ended(status: SubscriptionStatus):
    assert {_shown(status, action) for action in A} == {"·"}


def _shown(before: SubscriptionStatus, action: SubscriptionAction) -> str:
    try:
        return next_status(before, action)
    except ActionNotAllowed:
        return "·"


def test_what_cannot_happen_is_said_in_a_sentence():
    with pytest.raises(ActionNotAllowed, match="A subscription that is canceled cannot cancel"):
        next_status(S.CANCELED, A.CANCEL)


# ─── Periods ─────────────────────────────────────────────────────────────────────────────────

ANCHOR = datetime(2028, 1, 31, 10, 51, 40, tzinfo=UTC)


def sold(price_id: str, recurrence: Recurrence) -> Sold:
    product = Product(f"prod_{price_id}", "Calls", ANCHOR, ANCHOR)
    price = Price(
        price_id,
        product.id,
        "usd",
        Model(unit_amount=Decimal(9900)),
        ANCHOR,
        recurrence=recurrence,
        usage_type=UsageType.LICENSED,
    )
    return Sold(price, product)


MONTHLY = {"price_1": sold("price_1", Recurrence(Interval.MONTH))}


def item(number: int = 1, price_id: str = "price_1") -> Item:
    return Item(
        id=f"si_{number}",
        subscription_id="sub_1",
        price_id=price_id,
        quantity=1,
        period_index=0,
        period_start=ANCHOR,
        period_end=ANCHOR.replace(year=2029),
        metadata={},
        created_at=ANCHOR,
    )


def subscription(status: SubscriptionStatus = S.ACTIVE) -> Subscription:
    """One that began on 31 January, a month at a time."""
    begun = Subscription(
        id="sub_1",
        customer_id="cus_1",
        clock_id=None,
        status=status,
        currency="usd",
        collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
        days_until_due=None,
        billing_mode=BillingMode.FLEXIBLE,
        billing_mode_at=ANCHOR,
        anchor_at=ANCHOR,
        closes_at=None,
        expires_at=None,
        start_at=ANCHOR,
        cancel_at_period_end=False,
        canceled_at=None,
        ended_at=None,
        cancellation_reason=None,
        cancellation_comment=None,
        cancellation_feedback=None,
        default_payment_method_id=None,
        latest_invoice_id=None,
        description=None,
        metadata={},
        created_at=ANCHOR,
        items=(item(),),
    )
    begun = replace(begun, items=tuple(started(begun, item, MONTHLY) for item in begun.items))
    if status in RENEWING:
        return replace(begun, closes_at=begun.items[0].period_end)
    if status == S.INCOMPLETE:
        return replace(begun, expires_at=ANCHOR.replace(hour=22))
    return begun


def test_items_start_at_the_anchor():
    first = started(subscription(), subscription().items[0], MONTHLY)
    assert (first.period_index, first.period_start) == (0, ANCHOR)
    assert first.period_end == datetime(2028, 2, 29, 10, 51, 40, tzinfo=UTC)


def test_periods_are_counted_from_the_anchor_and_never_drift():
    current = subscription()
    ends = []
    for index in range(13):
        [only] = current.items
        assert only.period_index == index
        ends.append(f"{only.period_end:%d %b}")
        following = advanced(current, MONTHLY)
        assert following.items[0].period_start == only.period_end == current.closes_at
        current = following
    assert ", ".join(ends) == (
        "29 Feb, 31 Mar, 30 Apr, 31 May, 30 Jun, 31 Jul, 31 Aug, 30 Sep, 31 Oct, 30 Nov, 31 Dec, "
        "31 Jan, 28 Feb"
    )


def test_only_the_items_that_end_advance():
    catalog = MONTHLY | {"price_2": sold("price_2", Recurrence(Interval.YEAR))}
    mixed = replace(subscription(), items=(item(1), item(2, "price_2")))
    mixed = replace(mixed, items=tuple(started(mixed, item, catalog) for item in mixed.items))
    mixed = replace(mixed, closes_at=min(each.period_end for each in mixed.items))

    after = advanced(mixed, catalog)

    assert [each.period_index for each in after.items] == [1, 0]
    assert after.closes_at == after.items[0].period_end


# ─── Payment ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [S.INCOMPLETE, S.ACTIVE, S.PAST_DUE])
def test_one_that_is_paid_renews(status: SubscriptionStatus):
    after = settled(subscription(status), A.PAY)
    assert after.status == S.ACTIVE
    assert (after.closes_at, after.expires_at) == (after.items[0].period_end, None)


def test_one_whose_first_payment_is_missed_waits_and_does_not_renew():
    before = subscription(S.INCOMPLETE)
    assert settled(before, A.MISS_PAYMENT) == before
    assert before.closes_at is None


def test_one_whose_renewal_is_missed_goes_on_renewing():
    after = settled(subscription(), A.MISS_PAYMENT)
    assert (after.status, after.closes_at) == (S.PAST_DUE, after.items[0].period_end)


@pytest.mark.parametrize("status", sorted(ENDED))
@pytest.mark.parametrize("action", [A.PAY, A.MISS_PAYMENT])
def test_one_that_has_ended_stays_ended(status: SubscriptionStatus, action: SubscriptionAction):
    over = subscription(status)
    assert settled(over, action) is over


# ─── The end ─────────────────────────────────────────────────────────────────────────────────

LATER = datetime(2028, 2, 10, tzinfo=UTC)


def test_what_has_ended_never_comes_due():
    for status, action in ((S.ACTIVE, A.CANCEL), (S.INCOMPLETE, A.EXPIRE)):
        over = ended(subscription(status), action, now=LATER, reason="cancellation_requested")
        assert (over.closes_at, over.expires_at, over.ended_at) == (None, None, LATER)
        assert (over.canceled_at, over.cancellation_reason) == (LATER, "cancellation_requested")


def test_the_end_remembers_when_and_why_it_was_asked_for():
    asked = replace(subscription(), canceled_at=ANCHOR, cancellation_reason="payment_disputed")
    over = ended(asked, A.CANCEL, now=LATER, reason="cancellation_requested")
    assert (over.canceled_at, over.ended_at) == (ANCHOR, LATER)
    assert over.cancellation_reason == "payment_disputed"
