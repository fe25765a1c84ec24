"""Pauses that end by themselves, also where nobody was there to end them in time."""

from __future__ import annotations

from datetime import timedelta

from all_at_once import all_at_once
from postpaid.billing.decide_pause import Pause, Resumption
from postpaid.billing.pass_time import close_due_periods
from postpaid.billing.pause import pause, resume, resume_due
from postpaid.core.subscriptions import SubscriptionStatus
from postpaid.storage import subscriptions_due
from postpaid.storage.database import Database
from world import END, FEE, HOUR, START, make_world

RESUMES = END + timedelta(days=13)


def test_periods_begin_when_they_were_to_however_late_it_is_seen(database: Database) -> None:
    world = make_world(database, 2)
    with database.transaction() as conn:
        for each in world.subscription_ids:
            pause(conn, world.at(START + HOUR), each, Pause(resumes_at=RESUMES))
    assert resume_due(database, world.at(RESUMES - HOUR), RESUMES) == 0
    world.use(world.customer_ids, 7, at=RESUMES - HOUR)  # nothing is asked for it
    late = RESUMES + timedelta(days=40)
    assert resume_due(database, world.at(late), late) == 2
    assert resume_due(database, world.at(late), late) == 0
    for subscription in world.subscriptions():
        assert (subscription.status, subscription.resumes_at) == (SubscriptionStatus.ACTIVE, None)
        assert {item.period_start for item in subscription.items} == {RESUMES}
        assert subscription.closes_at is not None
        assert subscription.closes_at < late
    first = world.invoices()
    assert {each.subtotal for each in first} >= {FEE}
    assert close_due_periods(database, world.at(late), late) == 2
    renewals = [each for each in world.invoices() if each.billing_reason == "subscription_cycle"]
    assert [each.total for each in renewals] == [FEE, FEE]
    assert world.findings() == []


def test_what_was_resumed_by_hand_or_is_set_aside_is_left_alone(database: Database) -> None:
    world = make_world(database, 2)
    by_hand, aside = world.subscription_ids
    with database.transaction() as conn:
        for each in world.subscription_ids:
            pause(conn, world.at(START + HOUR), each, Pause(resumes_at=RESUMES))
        resume(conn, world.at(START + 2 * HOUR), by_hand, Resumption())
        subscriptions_due.park(conn, world.act.account_id, {aside: "for a person to see"})
    assert resume_due(database, world.at(RESUMES), RESUMES) == 0
    statuses = [each.status.value for each in world.subscriptions()]
    assert sorted(statuses) == ["active", "paused"]


def test_workers_and_a_person_resume_each_once(database: Database) -> None:
    """Three workers and who resumes by hand, at the same moment: every period is billed once."""
    world = make_world(database, 12)
    with database.transaction() as conn:
        for each in world.subscription_ids:
            pause(conn, world.at(START + HOUR), each, Pause(resumes_at=RESUMES))
    before = len(world.invoices())

    def worker() -> int:
        return resume_due(database, world.at(RESUMES), RESUMES)

    def by_hand() -> None:
        with database.transaction() as conn:
            resume(conn, world.at(RESUMES), world.subscription_ids[5], Resumption())

    all_at_once([worker, worker, by_hand, worker])
    worker()  # who was skipped because another held it
    assert {each.status for each in world.subscriptions()} == {SubscriptionStatus.ACTIVE}
    assert {item.period_start for each in world.subscriptions() for item in each.items} == {RESUMES}
    made = world.invoices()[before:]
    assert len(made) == len({each.subscription_id for each in made}) == 12
    assert world.findings() == []
