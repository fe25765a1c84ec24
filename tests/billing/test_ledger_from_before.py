"""What was billed before there was a ledger is in it once the migration has run."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from postpaid.billing.correct import void_now
from postpaid.billing.pay import pay
from postpaid.core.ledger import Transaction
from postpaid.storage import ledger
from postpaid.storage.database import Database, migrate
from world import END, HOUR, World, make_world

FINAL = END + HOUR

FORGET = """
DROP TABLE ledger_entries, ledger_transactions;
DROP FUNCTION ledger_earned, refuse_entries_that_do_not_balance, refuse_change_of_ledger;
DELETE FROM schema_migrations WHERE name = '0010_ledger';
"""


def posted(database: Database, world: World) -> set[tuple[Transaction, object]]:
    """Every transaction of the world, and when it happened."""
    with database.connection() as conn:
        found = ledger.of_invoices(conn, world.act.account_id, [i.id for i in world.invoices()])
    return {
        (unordered(each.transaction), each.created_at)
        for several in found.values()
        for each in several
    }


def unordered(transaction: Transaction) -> Transaction:
    entries = sorted(transaction.entries, key=lambda entry: (entry.amount, entry.account))
    return Transaction(
        transaction.kind,
        transaction.source_id,
        transaction.customer_id,
        transaction.invoice_id,
        transaction.currency,
        tuple(entries),
    )


def test_it_is_as_if_it_had_always_been_there(fresh_database_url: str) -> None:
    database = Database(fresh_database_url, pool_size=2)
    paid = make_world(database, 2)
    owing = make_world(database, 3, card="pm_card_chargeCustomerFail")
    for world in (paid, owing):
        world.use(world.customer_ids, 1500)
        world.pass_time(END)
        world.pass_time(FINAL)
    _, wrong, settled = owing.invoices()
    later = owing.at(FINAL + timedelta(days=1))
    with database.transaction() as conn:
        void_now(conn, later, wrong.id)
        pay(conn, later, settled.id, out_of_band=True)
    before = [posted(database, world) for world in (paid, owing)]
    assert [len(each) for each in before] == [4, 5]
    assert paid.findings() == owing.findings() == []

    with psycopg.connect(fresh_database_url, autocommit=True) as conn:
        conn.execute(FORGET)
    assert migrate(fresh_database_url) == ["0010_ledger"]

    assert [posted(database, world) for world in (paid, owing)] == before
    assert paid.findings() == owing.findings() == []
    database.close()
