"""Invoices by hand, many at a time: numbers without gaps, and statements that do not add up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest

from postpaid.billing import manage_settings
from postpaid.billing.decide_items import ItemChange, NewInvoiceItem
from postpaid.billing.draft_invoices import NewInvoice, create_invoice
from postpaid.billing.edit_lines import Removal, add_lines, remove_lines, update_lines
from postpaid.billing.finalize import finalize
from postpaid.billing.lock_invoices import lock_invoices
from postpaid.billing.manage_invoice_items import create_invoice_item
from postpaid.billing.pay import finalize_now
from postpaid.billing.perform import Act
from postpaid.billing.price_items import Asking
from postpaid.core.errors import InvalidRequest
from postpaid.core.invoicing import Invoice, Numbering
from postpaid.storage.database import Connection, Database
from statements import counted
from world import START, World, make_world


def item(amount: int, **given: object) -> NewInvoiceItem:
    return NewInvoiceItem(Asking(amount=amount), **given)  # type: ignore[arg-type]


def a_draft(world: World, customer_id: str, amount: int = 100) -> str:
    """A draft of one item."""
    act = world.at(START)
    with world.database.transaction() as conn:
        invoice = create_invoice(conn, act, NewInvoice(customer_id))
        create_invoice_item(conn, act, item(amount), customer_id=None, invoice_id=invoice.id)
    return invoice.id


def by_account(world: World, prefix: str = "TOWN") -> None:
    with world.database.transaction() as conn:
        manage_settings.update_settings(
            conn,
            world.at(START),
            {"invoice_numbering": Numbering.ACCOUNT, "invoice_prefix": prefix},
        )


def numbers(world: World) -> list[str]:
    return sorted(each.number for each in world.invoices() if each.number is not None)


def test_numbers_by_account_have_no_gap_when_many_finalize_at_once(database: Database) -> None:
    world = make_world(database, 8)
    by_account(world)
    drafts = [a_draft(world, each) for each in world.customer_ids for _ in range(5)]
    failing = set(drafts[3::7])  # these transactions fail after their number was taken
    ready = threading.Barrier(len(world.customer_ids))
    problems: list[Exception] = []

    def work(mine: Sequence[str]) -> None:
        ready.wait()
        for invoice_id in mine:
            try:
                with database.transaction() as conn:
                    finalize_now(conn, world.at(START), invoice_id)
                    if invoice_id in failing:
                        raise LookupError(invoice_id)
            except LookupError:
                pass
            except Exception as problem:
                problems.append(problem)

    threads = [
        threading.Thread(target=work, args=(drafts[place::8],))
        for place in range(len(world.customer_ids))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    done = len(drafts) - len(failing)
    assert numbers(world) == [f"TOWN-{n:04d}" for n in range(1, done + 1)]
    assert world.findings() == []


def test_numbers_stay_unique_while_the_numbering_is_switched(database: Database) -> None:
    world = make_world(database, 4)
    drafts = [a_draft(world, each) for each in world.customer_ids for _ in range(6)]
    stop = threading.Event()
    problems: list[Exception] = []

    def switch() -> None:
        place = 0
        while not stop.is_set():
            to = [Numbering.ACCOUNT, Numbering.CUSTOMER][place % 2]
            place += 1
            with database.transaction() as conn:
                manage_settings.update_settings(
                    conn,
                    world.at(START),
                    {"invoice_numbering": to, "invoice_prefix": "SWITCH"},
                )

    def work(mine: Sequence[str]) -> None:
        for invoice_id in mine:
            try:
                with database.transaction() as conn:
                    finalize_now(conn, world.at(START), invoice_id)
            except Exception as problem:
                problems.append(problem)

    switching = threading.Thread(target=switch)
    working = [threading.Thread(target=work, args=(drafts[place::4],)) for place in range(4)]
    for thread in [switching, *working]:
        thread.start()
    for thread in working:
        thread.join()
    stop.set()
    switching.join()

    assert problems == []
    assert len(set(numbers(world))) == len(drafts)
    assert world.findings() == []


def test_a_prefix_is_the_accounts_or_one_customers(database: Database) -> None:
    world = make_world(database, 2)
    with database.transaction() as conn:
        [prefix] = conn.execute(
            "SELECT invoice_prefix FROM customers WHERE account_id = %s AND id = %s",
            (world.act.account_id, world.customer_ids[0]),
        ).fetchone() or [""]
    with pytest.raises(InvalidRequest, match="is a customer's"):
        by_account(world, prefix)
    with (
        pytest.raises(InvalidRequest, match="need an `invoice_prefix`"),
        database.transaction() as conn,
    ):
        manage_settings.update_settings(
            conn, world.at(START), {"invoice_numbering": Numbering.ACCOUNT}
        )


def final_of(conn: Connection, act: Act, ids: Sequence[str]) -> list[Invoice]:
    drafts, locked = lock_invoices(conn, act, ids)
    return finalize(conn, act, drafts, locked)


@pytest.mark.parametrize("revised", [False, True], ids=["first", "revised"])
def test_many_are_finalized_with_the_statements_of_one(database: Database, revised: bool) -> None:
    """By account, and revisions too: voids, numbers and lines are written for all at once."""
    costs = []
    for many in (1, 30):
        world = make_world(database, many)
        by_account(world)
        act = world.at(START)
        ids = [a_draft(world, each) for each in world.customer_ids]
        if revised:
            with database.transaction() as conn:
                final_of(conn, act, ids)
                asked = [NewInvoice(None, original_id=each) for each in ids]
                ids = [create_invoice(conn, act, each).id for each in asked]
        with database.transaction() as conn, counted(conn) as statements:
            final = final_of(conn, act, ids)
        assert [each.number is not None for each in final] == [True] * many
        costs.append(len(statements))
        assert world.findings() == []
    assert costs[0] == costs[1]


def edits(count: int) -> list[Callable[[Connection, Act, Invoice], Invoice]]:
    """What can be done with ``count`` lines of a draft."""
    added = [item(100 + place) for place in range(count)]

    def change(conn: Connection, act: Act, draft: Invoice) -> Invoice:
        asked = Asking(unit_amount=Decimal("0.5"), quantity=Decimal(3))
        to = [(line.id, ItemChange(frozenset({"amount"}), asked)) for line in draft.lines]
        return update_lines(conn, act, draft.id, to)

    def remove(conn: Connection, act: Act, draft: Invoice) -> Invoice:
        gone = [Removal(line.id, place % 2 == 0, ()) for place, line in enumerate(draft.lines)]
        return remove_lines(conn, act, draft.id, gone)

    return [lambda conn, act, draft: add_lines(conn, act, draft.id, added), change, remove]


def test_many_lines_are_edited_with_the_statements_of_few(database: Database) -> None:
    costs = []
    for many in (2, 100):
        world = make_world(database, 1)
        act = world.at(START)
        with database.transaction() as conn:
            draft = create_invoice(conn, act, NewInvoice(world.customer_ids[0]))
            cost = []
            for edit in edits(many):
                with counted(conn) as statements:
                    draft = edit(conn, act, draft)
                cost.append(len(statements))
        assert draft.lines == ()
        costs.append(cost)
        assert world.findings() == []
    assert costs[0] == costs[1]


def test_many_pending_items_become_lines_with_the_statements_of_one(database: Database) -> None:
    costs = []
    for many in (1, 60):
        world = make_world(database, 1)
        act = world.at(START)
        [customer_id] = world.customer_ids
        with database.transaction() as conn:
            for amount in range(1, many + 1):
                create_invoice_item(conn, act, item(amount), customer_id=customer_id)
            with counted(conn) as statements:
                draft = create_invoice(conn, act, NewInvoice(customer_id, gathers=True))
        assert [line.amount for line in draft.lines] == list(range(many, 0, -1))
        costs.append(len(statements))
    assert costs[0] == costs[1]


def test_a_draft_has_at_most_so_many_lines(database: Database) -> None:
    world = make_world(database, 1)
    act = world.at(START)
    with database.transaction() as conn:
        draft = create_invoice(conn, act, NewInvoice(world.customer_ids[0]))
        draft = add_lines(conn, act, draft.id, [item(1) for _ in range(250)])
        assert draft.total == 250
        with pytest.raises(InvalidRequest, match="at most 250"):
            add_lines(conn, act, draft.id, [item(1)])


def test_an_amount_is_rounded_once_half_away_from_zero(database: Database) -> None:
    world = make_world(database, 1)
    act = world.at(START)
    asked = [("0.5", "1", 1), ("-0.5", "1", -1), ("0.1", "4", 0), ("33.333333333333", "3", 100)]
    with database.transaction() as conn:
        for unit_amount, quantity, amount in asked:
            made = create_invoice_item(
                conn,
                act,
                NewInvoiceItem(
                    Asking(unit_amount=Decimal(unit_amount), quantity=Decimal(quantity))
                ),
                customer_id=world.customer_ids[0],
            )
            assert (made.amount, made.discountable) == (amount, amount >= 0)


def test_a_revision_that_comes_too_late_is_parked(database: Database) -> None:
    """A revision whose original was paid meanwhile is parked by the worker, with the reason."""
    world = make_world(database, 1)
    act = world.at(START)
    original = a_draft(world, world.customer_ids[0])
    with database.transaction() as conn:
        final_of(conn, act, [original])
        again = create_invoice(
            conn,
            act,
            NewInvoice(None, original_id=original, fields={"auto_advance": True}),
        )
    with database.transaction() as conn:
        conn.execute(
            "UPDATE invoices SET status = 'paid', paid_at = now() WHERE id = %s", (original,)
        )
    assert again.finalizes_at is not None
    world.pass_time(again.finalizes_at)
    with database.connection() as conn:
        row = conn.execute("SELECT parked FROM invoices WHERE id = %s", (again.id,)).fetchone()
    assert row is not None
    assert "is paid: only one that is open" in row[0]
