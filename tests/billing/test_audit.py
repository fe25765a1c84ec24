"""The audit is silent while all is well, and names what is not, one thing at a time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from postpaid.billing import audit as auditing
from postpaid.billing.audit import audit
from postpaid.billing.correct import void_now
from postpaid.billing.pay import finalize_now
from postpaid.storage.checks import CHECKS
from postpaid.storage.database import Database
from world import END, HOUR, START, World, make_world

NEXT = END + HOUR


def billed(database: Database, customers: int = 1, card: str = "pm_card_visa") -> World:
    """A month is over and its invoices are final, and in the next month there is usage already."""
    world = make_world(database, customers, card=card)
    world.use(world.customer_ids, 1234)
    world.use(world.customer_ids, 5, at=NEXT)
    world.pass_time(END)
    world.pass_time(NEXT)
    return world


def corrupt(world: World, statement: str) -> None:
    """What neither we nor the database would ever do: all triggers are off."""
    with world.database.transaction() as conn:
        conn.execute("SET LOCAL session_replication_role = replica")
        mine = {"account_id": world.act.account_id}
        assert conn.execute(statement.encode(), mine).rowcount > 0


def broken(world: World) -> set[int]:
    """The invariants that the audit says do not hold in the world's account."""
    return {
        finding.invariant
        for finding in audit(world.database)
        for row in finding.rows
        if row[0] == world.act.account_id
    }


def test_of_a_healthy_account_there_is_nothing_to_say(database: Database) -> None:
    paid = billed(database, 3)
    owing = billed(database, 3, card="pm_card_chargeCustomerFail")
    with database.transaction() as conn:
        void_now(conn, owing.at(NEXT), owing.invoices()[0].id)
    drafted = make_world(database, 3)
    drafted.pass_time(END)
    assert {invoice.status for invoice in paid.invoices()} == {"paid"}
    assert [invoice.status for invoice in owing.invoices()] == ["void", "open", "open"]
    assert {invoice.status for invoice in drafted.invoices()} == {"draft"}
    assert broken(paid) == broken(owing) == broken(drafted) == set()


def test_usage_that_came_late_is_no_fault(database: Database) -> None:
    world = billed(database)
    world.use(world.customer_ids, 99, at=START + HOUR)
    corrupt(
        world,
        "UPDATE usage_events SET received_at = '2026-02-02' WHERE account_id = %(account_id)s"
        " AND value = 99",
    )
    assert broken(world) == set()


CORRUPTIONS: dict[str, tuple[set[int], str]] = {
    "a line that is not live": ({1}, "UPDATE invoice_lines SET live = false WHERE {mine}"),
    "a line of no invoice": (
        {1},
        "UPDATE invoice_lines SET invoice_id = 'in_none' WHERE {mine} AND amount = 0",
    ),
    "an invoice that was voided by hand": (
        {1, 9, 30},
        "UPDATE invoices SET status = 'void', paid_at = NULL, voided_at = created_at WHERE {mine}",
    ),
    "a subtotal": ({3}, "UPDATE invoices SET subtotal = subtotal + 1 WHERE {mine}"),
    "a total": ({3}, "UPDATE invoices SET total = total + 1 WHERE {mine}"),
    "what is due": ({3}, "UPDATE invoices SET amount_due = amount_due + 1 WHERE {mine}"),
    "a starting balance": ({3, 31}, "UPDATE invoices SET starting_balance = -1 WHERE {mine}"),
    "a balance that nothing moved": (
        {30, 31},
        "UPDATE customers SET balance = -5 WHERE {mine}",
    ),
    "a movement that does not follow": (
        {31},
        "INSERT INTO balance_transactions (account_id, id, customer_id, reason, amount,"
        " ending_balance, currency, created_at) SELECT account_id, 'cbtxn_1', id, 'adjustment',"
        " 5, 6, 'usd', created_at FROM customers WHERE {mine}",
    ),
    "a grant that nothing granted": (
        {30, 32},
        "INSERT INTO credit_grants (account_id, id, customer_id, amount, balance, currency,"
        " category, priority, effective_at, created_at, updated_at) SELECT account_id, 'credgr_1',"
        " id, 5, 5, 'usd', 'paid', 50, created_at, created_at, created_at FROM customers"
        " WHERE {mine}",
    ),
    "a line that no grant paid": (
        {3, 32},
        "UPDATE invoice_lines SET credits = '{\"cbtxn_1\": 5}' WHERE {mine} AND meter_id IS NULL",
    ),
    "a window that no invoice bills": (
        {51},
        "INSERT INTO billed_windows (account_id, series_id, start_at, end_at, price_id)"
        " SELECT s.account_id, s.series_id, '2026-01-01', '2026-01-02', min(p.id)"
        " FROM usage_series s JOIN prices p ON p.account_id = s.account_id WHERE s.{mine}"
        " GROUP BY s.account_id, s.series_id",
    ),
    "a window that no line bills": (
        {52},
        "WITH w AS (INSERT INTO billed_windows (account_id, series_id, start_at, end_at, price_id)"
        " SELECT s.account_id, min(s.series_id), '2026-01-01', '2026-01-02', min(p.id)"
        " FROM usage_series s JOIN prices p ON p.account_id = s.account_id WHERE s.{mine}"
        " GROUP BY s.account_id RETURNING *)"
        " INSERT INTO window_billings (account_id, obligation, invoice_id, series_id, start_at,"
        " end_at, quantity, amount) SELECT w.account_id, 'usage/none', min(i.id), w.series_id,"
        " w.start_at, w.end_at, 1, 1 FROM w JOIN invoices i ON i.account_id = w.account_id"
        " GROUP BY w.account_id, w.series_id, w.start_at, w.end_at",
    ),
    "a credit note that is none": (
        {33},
        "UPDATE invoices SET post_payment_credits = 5 WHERE {mine}",
    ),
    "a discount of a line": (
        {3},
        "UPDATE invoice_lines SET discounts = '{\"di_1\": 5}' WHERE {mine} AND meter_id IS NULL",
    ),
    "a tax of a line": (
        {3},
        'UPDATE invoice_lines SET taxes = \'{"txr_1": {"amount": 5, "inclusive": true}}\''
        " WHERE {mine} AND meter_id IS NULL",
    ),
    "a tax of an invoice": (
        {3},
        'UPDATE invoices SET total_taxes = \'{"txr_1": {"amount": 5}}\' WHERE {mine}',
    ),
    "a coupon that was redeemed for nothing": (
        {23},
        "INSERT INTO coupons (account_id, id, duration, percent_off, times_redeemed, created_at)"
        " SELECT account_id, 'TEN', 'once', 10, 1, created_at FROM customers WHERE {mine}",
    ),
    "a discount for once that no invoice has used up": (
        {3, 23},
        "WITH had AS (INSERT INTO discounts (account_id, id, coupon_id, customer_id, start_at,"
        " duration) SELECT account_id, 'di_1', 'TEN', id, created_at, 'once' FROM customers"
        " WHERE {mine}), off AS (UPDATE invoice_lines SET discounts = '{\"di_1\": 5}'"
        " WHERE {mine} AND meter_id IS NULL)"
        " UPDATE invoices SET total_discounts = '{\"di_1\": 5}' WHERE {mine}",
    ),
    "a line's amount": (
        {3},
        "UPDATE invoice_lines SET amount = amount + 1 WHERE {mine} AND meter_id IS NULL",
    ),
    "a missing line": ({3}, "DELETE FROM invoice_lines WHERE {mine} AND meter_id IS NULL"),
    "a sequence that went ahead": (
        {5},
        "UPDATE customers SET next_invoice_sequence = 3 WHERE {mine}",
    ),
    "a number out of the sequence": (
        {5},
        "UPDATE invoices SET number = replace(number, '-0001', '-0002') WHERE {mine}",
    ),
    "a number of another kind": ({5}, "UPDATE invoices SET number = 'R2D2' WHERE {mine}"),
    "a customer who is not there": ({5}, "DELETE FROM customers WHERE {mine}"),
    "a value": ({6}, "UPDATE usage_events SET value = 6 WHERE {mine} AND value = 5"),
    "an event that is gone": ({6}, "DELETE FROM usage_events WHERE {mine} AND value = 5"),
    "an event's time": (
        {6},
        "UPDATE usage_events SET occurred_at = occurred_at + interval '1 hour'"
        " WHERE {mine} AND value = 5",
    ),
    "an hour's sum": ({6}, "UPDATE usage_hours SET sum = sum + 1 WHERE {series}"),
    "an hour's count": ({6}, "UPDATE usage_hours SET count = count + 1 WHERE {series}"),
    "an hour without its last value": (
        {6},
        "UPDATE meters SET aggregation = 'last' WHERE {mine}",
    ),
    "an hour without its greatest value": (
        {6},
        "UPDATE meters SET aggregation = 'max' WHERE {mine}",
    ),
    "an hour that is gone": ({6}, "DELETE FROM usage_hours WHERE {series}"),
    "an hour too many": (
        {6},
        "INSERT INTO usage_hours (series_id, hour, sum, count) SELECT series_id,"
        " hour + interval '1 hour', sum, count FROM usage_hours WHERE {series}",
    ),
    "a window of which a part is missing": (
        {6},
        "INSERT INTO usage_windows (series_id, start_at, end_at) SELECT series_id, '2000-01-01',"
        " '2100-01-01' FROM usage_series WHERE {mine}",
    ),
    "an invoice from before its period's end": (
        {7},
        "UPDATE invoices SET created_at = created_at - interval '1 second' WHERE {mine}",
    ),
    "an event that was not said": (
        {9},
        "DELETE FROM events WHERE {mine} AND type = 'invoice.paid'",
    ),
    "an event that was said twice": (
        {9},
        "INSERT INTO events SELECT account_id, id || 'x', type, object_type, object_id, snapshot,"
        " previous, request_id, idempotency_key, clock_id, created_at FROM events"
        " WHERE {mine} AND type = 'invoice.paid'",
    ),
    "money that nobody paid": (
        {11, 30},
        "UPDATE payment_attempts SET amount = amount - 1 WHERE {mine}",
    ),
    "a payment that is gone": ({11, 30}, "DELETE FROM payment_attempts WHERE {mine}"),
    "money that was applied to nothing": (
        {11},
        "UPDATE payment_intents SET amount_applied = amount_applied - 1"
        " WHERE {mine} AND amount_applied > 0",
    ),
    "a payment that was too much for nobody": (
        {11},
        "UPDATE invoices SET amount_overpaid = 1 WHERE {mine}",
    ),
    "a charge that says it went back": (
        {11},
        "UPDATE payment_attempts SET amount_refunded = 1 WHERE {mine} AND status = 'succeeded'",
    ),
    "a refund out of nowhere": (
        {11, 30},
        "INSERT INTO refunds (account_id, id, attempt_id, payment_intent_id, payment_method_id,"
        " gateway, charge_reference, amount, currency, status, created_at, settled_at)"
        " SELECT account_id, 're_of_' || id, id, payment_intent_id, payment_method_id, gateway,"
        " 'ch_1', 1, currency, 'succeeded', now(), now()"
        " FROM payment_attempts WHERE {mine} AND status = 'succeeded'",
    ),
    "money in a bank that is in no book": (
        {30},
        "INSERT INTO payment_records (account_id, id, amount, currency, method, paid_at,"
        " created_at) SELECT account_id, 'pr_of_' || id, 1, currency, 'cash', now(), now()"
        " FROM payment_intents WHERE {mine}",
    ),
    "an invoice that was paid in part": (
        {11, 30},
        "UPDATE invoices SET amount_paid = amount_paid - 1 WHERE {mine}",
    ),
    "an entry of the ledger": (
        {29},
        "UPDATE ledger_entries SET amount = amount + 1 WHERE {mine} AND ledger_account = 'revenue'",
    ),
    "an entry that is gone": (
        {29},
        "DELETE FROM ledger_entries WHERE {mine} AND ledger_account = 'deferred_revenue'",
    ),
    "a transaction that is gone": (
        {29, 30},
        "DELETE FROM ledger_transactions WHERE {mine} AND kind = 'invoice_finalized'",
    ),
    "an entry of the wrong customer": (
        {29},
        "UPDATE ledger_entries SET customer_id = 'cus_none' WHERE {mine}"
        " AND ledger_account = 'revenue'",
    ),
    "a payment that was not posted": (
        {30},
        "WITH gone AS (DELETE FROM ledger_transactions WHERE {mine} AND kind = 'payment'"
        " RETURNING id) DELETE FROM ledger_entries WHERE {mine}"
        " AND transaction_id IN (SELECT id FROM gone)",
    ),
    "a receivable that nobody owes": (
        {30},
        "UPDATE ledger_entries SET ledger_account = 'receivable' WHERE {mine}"
        " AND ledger_account = 'revenue'",
    ),
    "credit that nobody has": (
        {30},
        "UPDATE ledger_entries SET ledger_account = 'customer_credit' WHERE {mine}"
        " AND ledger_account = 'revenue'",
    ),
    "credit that nobody granted": (
        {30},
        "UPDATE ledger_entries SET ledger_account = 'credit_grants' WHERE {mine}"
        " AND ledger_account = 'revenue'",
    ),
    "a subscription that is parked": (
        {12},
        "UPDATE subscriptions SET parked = 'why' WHERE {mine}",
    ),
    "an invoice that is parked": ({12}, "UPDATE invoices SET parked = 'why' WHERE {mine}"),
    "a quantity": (
        {13},
        "UPDATE invoice_lines SET quantity = quantity + 1 WHERE {mine} AND tier = 2",
    ),
    "an amount of usage": (
        {3, 13},
        "UPDATE invoice_lines SET amount = amount + 1 WHERE {mine} AND tier = 2",
    ),
    "a price": (
        {13},
        "UPDATE prices SET tiers = jsonb_set(tiers, '{1,unit_amount}', '\"2\"')"
        " WHERE {mine} AND tiers IS NOT NULL",
    ),
    "usage that was billed": (
        {6, 13},
        "UPDATE usage_events SET value = 1235 WHERE {mine} AND value = 1234",
    ),
    "a delivery that waits for nothing": (
        {39},
        "WITH told AS (INSERT INTO webhook_endpoints (account_id, id, url, enabled_events, facade,"
        " payload, status, secret, created_at) SELECT account_id, 'we_1', 'https://a.example',"
        " '[]', 'stripe', 'thin', 'enabled', '', created_at FROM customers WHERE {mine})"
        " INSERT INTO webhook_deliveries (account_id, id, endpoint_id, event_id, subject_id,"
        " due_at, created_at) SELECT account_id, 'whd_1', 'we_1', id, 'cus_1', NULL, created_at"
        " FROM events WHERE {mine} LIMIT 1",
    ),
    "an event that was yet to be delivered": (
        {42},
        "WITH told AS (INSERT INTO webhook_endpoints (account_id, id, url, enabled_events, facade,"
        " payload, status, secret, created_at) SELECT account_id, 'we_1', 'https://a.example',"
        " '[]', 'stripe', 'thin', 'enabled', '', created_at FROM customers WHERE {mine})"
        " INSERT INTO webhook_deliveries (account_id, id, endpoint_id, event_id, subject_id,"
        " created_at) SELECT account_id, 'whd_1', 'we_1', 'evt_none', 'cus_1', created_at"
        " FROM customers WHERE {mine}",
    ),
    "usage that was billed, with its totals": (
        {13},
        "WITH changed AS (UPDATE usage_events SET value = 1235 WHERE {mine} AND value = 1234),"
        " windows AS (UPDATE usage_windows SET sum = 1235 WHERE {series} AND sum = 1234)"
        " UPDATE usage_hours SET sum = 1235 WHERE {series} AND sum = 1234",
    ),
}


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_the_audit_names_the_invariant_of(database: Database, what: str) -> None:
    world = billed(database)
    assert broken(world) == set()
    invariants, statement = CORRUPTIONS[what]
    series = "series_id IN (SELECT series_id FROM usage_series WHERE {mine})"
    statement = statement.replace("{series}", series)
    corrupt(world, statement.replace("{mine}", "account_id = %(account_id)s"))
    assert broken(world) == invariants


def test_the_audit_names_what_was_billed_twice(fresh_database_url: str) -> None:
    database = Database(fresh_database_url, pool_size=2)
    world = billed(database, 2)
    with database.transaction() as conn:
        conn.execute("DROP INDEX invoice_lines_billed_once")
    corrupt(
        world,
        "UPDATE invoice_lines SET obligation = 'the same' WHERE account_id = %(account_id)s"
        " AND meter_id IS NULL",
    )
    assert broken(world) == {1}
    database.close()


def test_every_check_finds_something() -> None:
    found = {invariant for invariants, _ in CORRUPTIONS.values() for invariant in invariants}
    found |= {53}  # which tests/billing/test_draw_units.py corrupts
    assert {check.invariant for check in CHECKS} | {13} == found


def test_usage_is_rated_again_behind_any_number_of_drafts(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "BATCH", 1)
    world = make_world(database, 4)
    world.use(world.customer_ids, 1234)
    world.pass_time(END)
    last = max(world.invoices(), key=lambda invoice: invoice.subscription_id or "")
    with database.transaction() as conn:
        finalize_now(conn, world.at(END), last.id)
    assert broken(world) == set()
    corrupt(
        world,
        "UPDATE invoice_lines SET quantity = quantity + 1 WHERE account_id = %(account_id)s"
        f" AND tier = 2 AND invoice_id = '{last.id}'",
    )
    assert broken(world) == {13}


def test_a_finding_shows_its_rows(database: Database) -> None:
    world = billed(database, 2)
    corrupt(
        world,
        "UPDATE subscriptions SET parked = 'It is too large.' WHERE account_id = %(account_id)s",
    )
    [rows] = [finding.rows for finding in audit(database) if finding.invariant == 12]
    mine = [row for row in rows if row[0] == world.act.account_id]
    assert sorted(mine) == [
        (world.act.account_id, each.id, END + timedelta(days=28), "It is too large.")
        for each in world.subscriptions()
    ]
