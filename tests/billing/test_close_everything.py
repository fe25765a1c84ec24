"""Closing by the batch with every feature on: as many statements for one of each as for many."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from postpaid.billing.close_periods import close_periods
from postpaid.billing.pass_time import finalize_due_drafts
from postpaid.core.subscriptions import (
    PauseBehavior,
    Subscription,
    SubscriptionStatus,
    TrialEndBehavior,
    UsageInvoicing,
)
from postpaid.storage import customers, subscriptions, subscriptions_due
from postpaid.storage.database import Database
from statements import counted
from world import END, HOUR, World, make_world

S = SubscriptionStatus


def _trial(each: Subscription) -> Subscription:
    return replace(each, status=S.TRIALING, trial_start_at=each.start_at, trial_end_at=END)


FEATURES: tuple[Callable[[Subscription], Subscription], ...] = (
    lambda each: each,
    lambda each: replace(each, usage_invoicing=UsageInvoicing.SEPARATE),
    lambda each: replace(each, pause_behavior=PauseBehavior.VOID),
    lambda each: replace(each, pause_behavior=PauseBehavior.MARK_UNCOLLECTIBLE),
    lambda each: replace(each, pause_behavior=PauseBehavior.KEEP_AS_DRAFT, pause_resumes_at=END),
    lambda each: replace(each, zone="America/New_York"),
    lambda each: replace(each, cancel_at_period_end=True),
    lambda each: replace(
        each, cancel_at=END - timedelta(days=3), closes_at=END - timedelta(days=3)
    ),
    lambda each: replace(_trial(each), closes_at=END - timedelta(days=3)),
    _trial,
    lambda each: replace(_trial(each), trial_end_behavior=TrialEndBehavior.PAUSE),
    lambda each: replace(each, status=S.UNPAID),
)


def _with_features(database: Database, of_each: int) -> World:
    """Subscribers of whom so many have each feature, and whose drafts are due."""
    world = make_world(database, of_each * len(FEATURES))
    world.use(world.customer_ids, 1234)
    featured = [
        FEATURES[place % len(FEATURES)](each) for place, each in enumerate(world.subscriptions())
    ]
    with database.transaction() as conn:
        customers.hold(conn, world.act.account_id, world.customer_ids)
        subscriptions.update_many(conn, world.act.account_id, featured)
    return world


def _statements(database: Database, of_each: int) -> tuple[list[str], int]:
    world = _with_features(database, of_each)
    with database.transaction() as conn, counted(conn) as statements:
        due = subscriptions_due.claim_closing(conn, world.act.account_id, None, now=END, limit=500)
        assert len(due) == of_each * len(FEATURES)
        drafts = close_periods(conn, world.at(END), due)
    return statements, len(drafts)


def test_the_number_of_subscriptions_does_not_change_the_statements(database: Database) -> None:
    few, of_one = _statements(database, 1)
    many, of_many = _statements(database, 17)
    assert of_many == 17 * of_one
    assert few == many
    assert len(many) < 25


def test_each_feature_does_what_it_says(database: Database) -> None:
    world = _with_features(database, 1)
    world.pass_time(END)
    world.pass_time(END + HOUR)
    after = world.subscriptions()
    statuses = [each.status.value for each in after]
    assert statuses == [
        *["active"] * 6,
        "canceled",
        "canceled",
        "active",
        "active",
        "active",
        "unpaid",
    ]
    by_subscription: dict[str, list[str]] = {each.id: [] for each in after}
    for invoice in world.invoices():
        by_subscription[invoice.subscription_id or ""].append(invoice.status.value)
    assert [by_subscription[each.id] for each in after] == [
        ["paid"],
        ["paid", "paid"],
        ["void"],
        ["uncollectible"],
        ["paid"],
        ["paid"],
        ["paid"],
        ["paid"],
        ["paid"],
        ["paid"],
        ["paid"],
        ["draft"],
    ]
    assert finalize_due_drafts(database, world.at(END + HOUR), END) == 0
    assert world.findings() == []
