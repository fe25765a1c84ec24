"""One poisonous thing in a batch costs the others nothing, and does not go unseen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest

from postpaid.billing.bill_thresholds import bill_reached
from postpaid.billing.decide_items import NewInvoiceItem
from postpaid.billing.do_each import do_each, raise_failed
from postpaid.billing.manage_invoice_items import make_items
from postpaid.billing.pass_time import close_due_periods, finalize_due_drafts
from postpaid.billing.price_items import Asking
from postpaid.core.errors import Conflict, InvalidRequest
from postpaid.core.money import MAX_MINOR
from postpaid.core.values import replace
from postpaid.storage import customers, subscriptions, thresholds
from postpaid.storage.database import Connection, Database
from world import END, FEE, HOUR, START, World, make_world

PARKED = "Something is parked: it cannot be billed as it is."
TOO_MUCH = "The invoice's amounts come to more than can be billed."
MANY = 200
BAD = 77


class Work:
    """Writes a row for each number, and fails for those that it is given failures of."""

    def __init__(self, conn: Connection, failures: dict[int, Exception]) -> None:
        conn.execute("CREATE TEMPORARY TABLE IF NOT EXISTS done (number integer) ON COMMIT DROP")
        self.conn, self.failures = conn, failures

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        for number in numbers:
            self.conn.execute("INSERT INTO done VALUES (%s)", (number,))
            if number in self.failures:
                raise self.failures[number]
        return list(numbers)

    def done(self) -> list[int]:
        return [row[0] for row in self.conn.execute("SELECT number FROM done ORDER BY number")]


@pytest.mark.parametrize(
    "failure",
    [
        InvalidRequest("It cannot be."),
        ValueError("It cannot be."),
        OverflowError("It cannot be."),
        psycopg.errors.NumericValueOutOfRange("It cannot be.\nCONTEXT: or nearly"),
    ],
    ids=["refused", "a wrong value", "a date too far", "too large a number"],
)
def test_what_is_at_fault_by_itself_is_parked_and_all_else_is_done(
    database: Database, failure: Exception
) -> None:
    parked: list[tuple[int, str]] = []
    with database.transaction() as conn:
        work = Work(conn, {3: failure, 9: failure})
        done, failed = do_each(conn, range(10), work, lambda one, why: parked.append((one, why)))
        assert done == work.done() == [0, 1, 2, 4, 5, 6, 7, 8]
    assert parked == [(3, "It cannot be."), (9, "It cannot be.")]
    assert failed == []
    raise_failed(failed)


@pytest.mark.parametrize(
    "failure",
    [KeyError("ours"), AssertionError("ours"), Conflict("It is paid just now.")],
    ids=["a key", "an assertion", "a conflict"],
)
def test_what_is_not_its_own_fault_stays_due_and_is_told(
    database: Database, failure: Exception
) -> None:
    with database.transaction() as conn:
        work = Work(conn, {3: failure})
        done, failed = do_each(conn, range(5), work, lambda one, why: pytest.fail(why))
        assert done == work.done() == [0, 1, 2, 4]
    assert failed == [(3, failure)]
    with pytest.raises(ExceptionGroup) as raised:
        raise_failed(failed)
    assert raised.value.exceptions == (failure,)


def test_what_has_nowhere_to_be_parked_stays_due(database: Database) -> None:
    with database.transaction() as conn:
        work = Work(conn, {1: ValueError("x")})
        done, [(number, _)] = do_each(conn, range(3), work)
    assert (done, number) == ([0, 2], 1)
    with database.transaction() as conn:
        assert do_each(conn, [], work) == ([], [])


def test_a_lost_connection_is_nobodys_fault(database: Database) -> None:
    with pytest.raises(psycopg.OperationalError), database.transaction() as conn:
        do_each(conn, range(3), Work(conn, {1: psycopg.OperationalError("gone")}))


# ─── In the passes ───────────────────────────────────────────────────────────────────────────


def test_a_renewal_whose_lines_sum_beyond_what_can_be_is_parked_alone(database: Database) -> None:
    world = make_world(database, MANY)
    huge = NewInvoiceItem(
        Asking(quantity=Decimal(10), unit_amount=Decimal(MAX_MINOR) / 10), currency="usd"
    )
    with database.transaction() as conn:
        locked = customers.lock(conn, world.act.account_id, world.customer_ids[BAD : BAD + 1])
        [customer] = locked.values()
        make_items(conn, world.act, [huge] * 500, customer, None)

    assert close_due_periods(database, world.at(END), END) == MANY
    assert close_due_periods(database, world.at(END), END) == 0
    assert [each.total for each in world.invoices()] == [FEE] * (MANY - 1)
    assert world.findings() == [
        (PARKED, (world.act.account_id, world.subscription_ids[BAD], END, TOO_MUCH))
    ]


def test_a_draft_that_no_column_holds_is_parked_alone(database: Database) -> None:
    world = make_world(database, MANY)
    assert close_due_periods(database, world.at(END), END) == MANY
    poison(world)

    final = END + HOUR
    assert finalize_due_drafts(database, world.at(final), final) == MANY
    assert finalize_due_drafts(database, world.at(final), final) == 0
    by_customer = {each.customer_id: each.status.value for each in world.invoices()}
    assert by_customer.pop(world.customer_ids[BAD]) == "draft"
    assert set(by_customer.values()) == {"paid"}
    [row] = [row for sentence, row in world.findings() if sentence == PARKED]
    assert "out of range" in row[3]


def test_a_threshold_that_no_column_holds_is_parked_alone(database: Database) -> None:
    world = make_world(database, MANY)
    with database.transaction() as conn:
        subscriptions.update_many(
            conn,
            world.act.account_id,
            [replace(each, threshold_amount=100) for each in world.subscriptions()],
        )
    world.use(world.customer_ids, 1200, at=START + HOUR)
    with database.transaction() as conn:
        thresholds.insert_many(conn, world.act.account_id, world.subscription_ids)
    poison(world)

    now = START + timedelta(days=3)
    assert bill_reached(database, world.at(now), now) == MANY
    assert bill_reached(database, world.at(now), now) == 0
    assert [each.total for each in world.invoices()] == [200] * (MANY - 1)
    [row] = [row for sentence, row in world.findings() if sentence == PARKED]
    assert row[1] == world.subscription_ids[BAD]


def poison(world: World) -> None:
    """One of the customers owes so much that nothing can be added to it in 64 bits."""
    with world.database.transaction() as conn:
        conn.execute(
            "UPDATE customers SET balance = 9223372036854775807, currency = 'usd' "
            "WHERE account_id = %s AND id = %s",
            (world.act.account_id, world.customer_ids[BAD]),
        )
