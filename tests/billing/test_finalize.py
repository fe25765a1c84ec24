"""Drafts made final by the batch: counted once more, numbered without gaps, frozen."""

from datetime import timedelta

import pytest

from postpaid.billing.finalize import finalize, lock_invoices
from postpaid.billing.pass_time import finalize_due_drafts
from postpaid.billing.pay import finalize_now
from postpaid.core.errors import ActionNotAllowed, Conflict, InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.storage import customers, invoices
from postpaid.storage.database import Database
from statements import counted
from world import END, FEE, HOUR, World, make_world

FINAL = END + HOUR


def finalize_pass(world: World, now: object = FINAL) -> int:
    return finalize_due_drafts(world.database, world.at(now), now)  # type: ignore[arg-type]


def test_a_draft_is_final_when_its_hour_has_passed(database: Database) -> None:
    world = make_world(database, 1)
    world.pass_time(END)
    assert finalize_pass(world, FINAL - timedelta(seconds=1)) == 0
    assert finalize_pass(world) == 1

    [invoice] = world.invoices()
    assert (invoice.status, invoice.finalized_at, invoice.paid_at) == ("paid", FINAL, FINAL)
    assert invoice.number is not None
    assert invoice.number.endswith("-0001")
    assert invoice.customer_snapshot is not None
    assert invoice.customer_snapshot["name"] == "Ada"
    assert finalize_pass(world) == 0


def test_usage_that_was_late_is_counted_in(database: Database) -> None:
    world = make_world(database, 3)
    world.use(world.customer_ids, 1500)
    world.pass_time(END)
    before = {invoice.id: [line.id for line in invoice.lines] for invoice in world.invoices()}
    world.use(world.customer_ids[1:2], 700)

    finalize_pass(world)

    first, second, third = world.invoices()
    assert [each.total for each in (first, second, third)] == [FEE + 500, FEE + 1200, FEE + 500]
    assert [line.amount for line in second.lines] == [0, 1200, FEE]
    for same in (first, third):
        assert [line.id for line in same.lines] == before[same.id]
    assert world.findings() == []


def test_a_final_invoice_is_not_finalized_again(database: Database) -> None:
    world = make_world(database, 2)
    world.pass_time(END)
    drafts = world.invoices()
    world.pass_time(FINAL)
    after = world.invoices()
    for again, refusal in ((drafts, Conflict), (after, ActionNotAllowed)):
        with pytest.raises(refusal), database.transaction() as conn:  # noqa: PT012
            locked = customers.lock(conn, world.act.account_id, world.customer_ids)
            finalize(conn, world.at(FINAL), again, locked)
    assert world.invoices() == after
    assert world.findings() == []


def test_each_customer_has_numbers_of_its_own_without_gaps(database: Database) -> None:
    world = make_world(database, 3)
    for month in range(3):
        world.pass_time(END + timedelta(days=31 * month))
        world.pass_time(END + timedelta(days=31 * month) + HOUR)
    numbers: dict[str, list[str]] = {}
    for invoice in world.invoices():
        numbers.setdefault(invoice.customer_id, []).append(str(invoice.number)[-5:])
    assert list(numbers.values()) == [["-0001", "-0002", "-0003"]] * 3
    assert world.findings() == []


def test_what_cannot_be_rated_is_parked_and_the_others_are_final(database: Database) -> None:
    world = make_world(database, 4)
    world.pass_time(END)
    for _ in range(2):
        world.use(world.customer_ids[:1], 10**15)

    assert finalize_pass(world) == 4

    assert [each.status for each in world.invoices()] == ["draft", "paid", "paid", "paid"]
    [(sentence, (_, parked, _, reason))] = world.findings()
    assert sentence == "Something is parked: it cannot be billed as it is."
    assert parked == world.invoices()[0].id
    assert "quantity must be between" in reason
    assert finalize_pass(world) == 0


def test_a_person_who_finalizes_what_cannot_be_rated_is_told_why(database: Database) -> None:
    world = make_world(database, 1)
    world.pass_time(END)
    for _ in range(2):
        world.use(world.customer_ids, 10**15)
    [draft] = world.invoices()

    with (
        pytest.raises(InvalidRequest, match="quantity must be between"),
        database.transaction() as conn,
    ):
        finalize_now(conn, world.at(FINAL), draft.id)

    assert world.invoices() == [draft]
    assert world.findings() == []


def test_what_a_person_has_seen_to_is_no_longer_parked(database: Database) -> None:
    world = make_world(database, 1)
    world.pass_time(END)
    for value in (10**15, 10**15):
        world.use(world.customer_ids, value)
    finalize_pass(world)
    [parked] = world.invoices()
    assert len(world.findings()) == 1

    world.use(world.customer_ids, -(10**15))
    with database.transaction() as conn:
        paying = finalize_now(conn, world.at(FINAL), parked.id, auto_advance=False)

    [invoice] = world.invoices()
    assert (invoice.id, invoice.status, invoice.total) == (parked.id, "open", FEE + 10**15 - 1000)
    assert paying.attempt_ids == []
    assert world.findings() == []


def test_an_invoice_of_nobody_cannot_be_locked(database: Database) -> None:
    world, stranger = make_world(database, 1), make_world(database, 1)
    world.pass_time(END)
    [draft] = world.invoices()
    for act, invoice_id in ((world.act, "in_of_nobody"), (stranger.act, draft.id)):
        with pytest.raises(NotFound), database.transaction() as conn:
            lock_invoices(conn, act, [invoice_id])


def test_a_recipient_is_as_it_was_when_the_invoice_became_final(database: Database) -> None:
    world = make_world(database, 1)
    world.pass_time(END)
    _rename(world, "Ada Lovelace")
    world.pass_time(FINAL)
    _rename(world, "Countess")
    [invoice] = world.invoices()
    assert invoice.customer_snapshot is not None
    assert invoice.customer_snapshot["name"] == "Ada Lovelace"


def _rename(world: World, name: str) -> None:
    with world.database.transaction() as conn:
        for customer in customers.lock(conn, world.act.account_id, world.customer_ids).values():
            customers.update(conn, world.act.account_id, replace(customer, name=name))


# ─── Statements ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("late", [False, True])
def test_the_number_of_drafts_does_not_change_the_statements(
    database: Database, late: bool
) -> None:
    few, many = (_statements_of_finalizing(database, subscribers, late) for subscribers in (1, 200))
    assert few == many
    assert len(many) < 22


def _statements_of_finalizing(database: Database, subscribers: int, late: bool) -> list[str]:
    world = make_world(database, subscribers)
    world.use(world.customer_ids, 1234)
    world.pass_time(END)
    if late:
        world.use(world.customer_ids, 1)
    with database.transaction() as conn, counted(conn) as statements:
        drafts = invoices.claim_finalizing(
            conn, world.act.account_id, None, now=FINAL, limit=subscribers
        )
        locked = customers.lock(conn, world.act.account_id, world.customer_ids)
        assert len(finalize(conn, world.at(FINAL), drafts, locked)) == subscribers
    return statements
