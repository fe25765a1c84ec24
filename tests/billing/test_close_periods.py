"""Closing periods by the batch: once each, whatever happens, at a constant number of statements."""

from datetime import datetime, timedelta

import pytest

from postpaid.billing.change import cancel_now
from postpaid.billing.close_periods import close_periods, preview
from postpaid.billing.pass_time import close_due_periods, run_passes
from postpaid.core.errors import Conflict
from postpaid.storage import subscriptions_due
from postpaid.storage.database import Database
from statements import counted
from world import END, FEE, HOUR, START, World, make_world


def close(world: World, now: datetime = END) -> int:
    return close_due_periods(world.database, world.at(now), now)


def test_a_period_that_has_ended_becomes_a_draft(database: Database) -> None:
    world = make_world(database, 1)
    world.use(world.customer_ids, 1234)
    assert close(world) == 1

    [draft] = world.invoices()
    [subscription] = world.subscriptions()
    assert (draft.status, draft.total, draft.finalizes_at) == ("draft", FEE + 234, END + HOUR)
    assert [line.amount for line in draft.lines] == [0, 234, FEE]
    assert subscription.latest_invoice_id == draft.id
    assert [item.period_start for item in subscription.items] == [END, END]
    assert subscription.closes_at == datetime(2026, 3, 1, 10, 51, 40, tzinfo=END.tzinfo)
    assert world.findings() == []


def test_nothing_is_closed_before_its_period_has_ended(database: Database) -> None:
    world = make_world(database, 1)
    assert close(world, END - timedelta(seconds=1)) == 0
    with (
        pytest.raises(AssertionError, match="before its period has ended"),
        database.transaction() as conn,
    ):
        close_periods(conn, world.at(END - timedelta(seconds=1)), world.subscriptions())
    assert world.invoices() == []


def test_closing_twice_bills_once(database: Database) -> None:
    world = make_world(database, 5)
    assert [close(world), close(world), close(world)] == [5, 0, 0]
    assert len(world.invoices()) == 5


def test_closing_what_someone_else_closed_is_stopped_by_the_obligations_name(
    database: Database,
) -> None:
    """Without the claim and its lock: the same subscriptions as they were before, again."""
    world = make_world(database, 5)
    before = world.subscriptions()
    close(world)
    after = world.subscriptions()

    with pytest.raises(Conflict), database.transaction() as conn:
        close_periods(conn, world.at(END), before)

    assert len(world.invoices()) == 5
    assert world.subscriptions() == after
    assert world.findings() == []


def test_a_worker_that_comes_late_bills_every_period_for_itself(database: Database) -> None:
    world = make_world(database, 2)
    world.use(world.customer_ids, 1100, at=START + HOUR)
    world.use(world.customer_ids, 1200, at=END + HOUR)
    late = END + timedelta(days=40)

    world.pass_time(late)
    world.pass_time(late + HOUR)

    assert (
        sorted(invoice.total for invoice in world.invoices()) == [FEE + 100] * 2 + [FEE + 200] * 2
    )
    for invoice in world.invoices():
        assert (invoice.created_at, invoice.finalized_at) == (late, late + HOUR)
    assert world.findings() == []


def test_a_batch_has_a_bound(database: Database) -> None:
    world = make_world(database, 501)
    assert [close(world), close(world), close(world)] == [500, 1, 0]


def test_what_cannot_be_rated_is_parked_and_the_others_are_billed(database: Database) -> None:
    world = make_world(database, 10)
    world.use(world.customer_ids, 1500)
    for _ in range(2):
        world.use(world.customer_ids[:1], 10**15)

    assert close(world) == 10
    world.pass_time(END + HOUR)

    assert [invoice.total for invoice in world.invoices()] == [FEE + 500] * 9
    [(sentence, (_, parked, closes_at, reason))] = world.findings()
    assert sentence == "Something is parked: it cannot be billed as it is."
    assert (parked, closes_at) == (world.subscription_ids[0], END)
    assert "quantity must be between 0 and 1000000000000000" in reason
    assert run_passes(database, world.at(END + HOUR), wall=END) == 0


def test_one_that_is_parked_can_be_ended(database: Database) -> None:
    world = make_world(database, 1)
    for _ in range(2):
        world.use(world.customer_ids, 10**15)
    close(world)
    assert len(world.findings()) == 1

    with database.transaction() as conn:
        cancel_now(conn, world.at(END), world.subscription_ids[0])

    assert world.findings() == []
    assert world.invoices() == []


# ─── Statements ──────────────────────────────────────────────────────────────────────────────


def test_the_number_of_subscriptions_does_not_change_the_statements(database: Database) -> None:
    few, many = (_statements_of_closing(database, subscribers) for subscribers in (1, 200))
    assert few == many
    assert len(many) < 20


def _statements_of_closing(database: Database, subscribers: int) -> list[str]:
    world = make_world(database, subscribers)
    world.use(world.customer_ids, 1234)
    with database.transaction() as conn, counted(conn) as statements:
        due = subscriptions_due.claim_closing(
            conn, world.act.account_id, None, now=END, limit=subscribers
        )
        assert len(close_periods(conn, world.at(END), due)) == subscribers
    return statements


def test_the_number_of_subscriptions_does_not_change_a_previews_statements(
    database: Database,
) -> None:
    world = make_world(database, 100)
    lists = []
    for running in (world.subscriptions()[:1], world.subscriptions()):
        with database.connection() as conn, counted(conn) as statements:
            assert preview(conn, world.act, running) is not None
        lists.append(statements)
    assert lists[0] == lists[1]
