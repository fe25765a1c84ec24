"""Every workflow by the list: for two hundred rich subscriptions the statements of one.

Rich is everything at once: discounts, taxes, balances, grants, thresholds, what is pending. Each
life below is lived by one subscriber and by two hundred, and each of its steps is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

import database as databases
from postpaid.billing import cancel, correct
from postpaid.billing.audit import audit
from postpaid.billing.bill_thresholds import bill_reached
from postpaid.billing.change import change
from postpaid.billing.compose import compose
from postpaid.billing.decide_pause import Pause
from postpaid.billing.draft_invoices import NewInvoice, create_invoice
from postpaid.billing.drop_updates import expire_updates
from postpaid.billing.edit_lines import add_lines
from postpaid.billing.gather_items import gather_items
from postpaid.billing.issue_credit_notes import NewCreditNote, issue, void_note
from postpaid.billing.manage_invoice_items import NewInvoiceItem
from postpaid.billing.pass_time import (
    close_due_periods,
    expire_credit,
    expire_unpaid,
    finalize_due_drafts,
    settle_abandoned,
)
from postpaid.billing.pause import pause, resume_due
from postpaid.billing.pay import finalize_now
from postpaid.billing.price_items import Asking
from postpaid.core.changes import Change, ChangePayment, ItemChange, ProrationBehavior
from postpaid.core.invoicing import InvoiceStatus
from postpaid.core.subscriptions import PauseBehavior, Subscription, SubscriptionStatus
from postpaid.core.values import replace
from postpaid.storage import customers, subscriptions, thresholds
from postpaid.storage.database import Connection, Database
from rich_world import make_rich_world
from statements import counted
from world import END, HOUR, START, World, make_world

FINAL = END + HOUR
FEBRUARY_15 = END + timedelta(days=14)
LONG_AFTER = END + timedelta(days=365)  # by the wall clock: whoever had asked is dead
MANY = 200

Steps = dict[str, list[str]]


class Counting(Database):
    """A database that keeps what it is asked."""

    def __init__(self, url: str) -> None:
        super().__init__(url, pool_size=2)
        self.asked: list[str] = []

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with super().transaction() as conn, counted(conn) as found:
            yield conn
        self.asked += found

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        with super().connection() as conn, counted(conn) as found:
            yield conn
        self.asked += found


class Life:
    """What happens to a world, step by step, and what each step asks of the database."""

    def __init__(self, world: World, database: Counting) -> None:
        self.world = world
        self.database = database
        self.steps: Steps = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.database.asked.clear()
        yield
        assert name not in self.steps, "every step has a name of its own"
        self.steps[name] = list(self.database.asked)

    def passes(self, name: str, now: datetime, run: Callable[..., int], many: int) -> None:
        """One batch of a pass, which does that many."""
        with self.step(name):
            assert run(self.database, self.world.at(now), now) == many

    def write(self, name: str, work: Callable[[Connection], Any]) -> Any:
        """One transaction, with all customers locked."""
        with self.step(name), self.database.transaction() as conn:
            customers.lock(conn, self.world.act.account_id, self.world.customer_ids)
            return work(conn)

    def edit(self, change: Callable[[Subscription], Subscription]) -> None:
        """Write all subscriptions as they are told, by the way."""
        with self.world.database.transaction() as conn:
            after = [change(each) for each in self.world.subscriptions()]
            subscriptions.update_many(conn, self.world.act.account_id, after)

    def seats(self, quantity: int, **more: Any) -> list[Change]:
        """So many licences for everyone, invoiced at once."""
        return [
            Change(
                each.id,
                items=[ItemChange(each.items[0].id, quantity=quantity)],
                proration=ProrationBehavior.ALWAYS_INVOICE,
                **more,
            )
            for each in self.world.subscriptions()
        ]


# ─── Lives ───────────────────────────────────────────────────────────────────────────────────


def paying(life: Life, many: int) -> None:
    """A renewal that is paid, changes, a renewal with their prorations, and the end."""
    world = life.world
    life.passes("close", END, close_due_periods, many)
    life.passes("finalize, apply credit, post, charge, record", FINAL, finalize_due_drafts, many)
    assert {each.status.value for each in world.invoices()} == {"paid"}
    assert all(each.total_discounts and each.total_taxes for each in world.invoices())
    assert all(each.total_credits for each in world.invoices())
    assert {each.starting_balance for each in world.invoices()} == {-700}

    made = life.write(
        "change, invoiced at once",
        lambda conn: change(conn, world.at(FEBRUARY_15), life.seats(3)),
    )
    assert [len(each.attempt_ids) for each in made] == [1] * many
    with life.step("settle what was left"):
        assert settle_abandoned(life.database, world.at(FEBRUARY_15), wall=LONG_AFTER) == many
    life.write(
        "change, prorated later",
        lambda conn: change(
            conn,
            world.at(FEBRUARY_15 + HOUR),
            [
                replace(each, proration=ProrationBehavior.CREATE_PRORATIONS)
                for each in life.seats(2)
            ],
        ),
    )
    with life.step("gather what is pending"), life.database.connection() as conn:
        waiting = gather_items(conn, world.at(FEBRUARY_15 + HOUR), world.subscriptions())
    assert len(waiting) == many
    march = END + timedelta(days=28)
    world.use(world.customer_ids, 1500, at=END + timedelta(days=1))
    life.passes("close with prorations", march, close_due_periods, many)
    drafts = [each for each in world.invoices() if each.status == InvoiceStatus.DRAFT]
    assert len(drafts) == many
    with life.step("compose"), life.database.connection() as conn:
        found = customers.load(conn, world.act.account_id, world.customer_ids)
        compose(conn, world.at(march), drafts, found)
    life.passes("finalize with prorations", march + HOUR, finalize_due_drafts, many)
    life.passes("expire credit", march + HOUR, expire_credit, 0)
    life.write("cancel", lambda conn: cancel.cancel(conn, world.at(march), world.subscriptions()))
    assert {each.status for each in world.subscriptions()} == {SubscriptionStatus.CANCELED}


def owing(life: Life, many: int) -> None:
    """Renewals that are not paid; one is voided, one given up."""
    world = life.world
    life.passes("close, owing", END, close_due_periods, many)
    life.passes("finalize and fail", FINAL, finalize_due_drafts, many)
    assert {each.status.value for each in world.subscriptions()} == {"past_due"}
    first = world.invoices()
    life.write("void", lambda conn: correct.void(conn, world.at(FINAL), first))
    march = END + timedelta(days=28)
    world.pass_time(march)
    world.pass_time(march + HOUR)
    second = [each for each in world.invoices() if each.status == InvoiceStatus.OPEN]
    assert len(second) == many
    life.write(
        "mark uncollectible",
        lambda conn: correct.mark_uncollectible(
            conn, world.at(march + HOUR), second, reason=correct.FORGIVEN
        ),
    )


def holding(life: Life, many: int) -> None:
    """Changes that wait for a payment that does not come."""
    world = life.world
    life.write(
        "change, held",
        lambda conn: change(
            conn,
            world.at(START + HOUR),
            life.seats(3, payment=ChangePayment.PENDING_IF_INCOMPLETE),
        ),
    )
    with life.step("fail to settle"):
        assert settle_abandoned(life.database, world.at(START + HOUR), wall=LONG_AFTER) == many
    life.passes("expire updates", START + 25 * HOUR, expire_updates, many)
    assert {each.items[0].quantity for each in world.subscriptions()} == {1}
    assert {each.status.value for each in world.invoices()} == {"void"}


def reaching(life: Life, many: int) -> None:
    """Thresholds that are reached, and what is left of the period after them."""
    world = life.world
    with world.database.transaction() as conn:
        thresholds.insert_many(conn, world.act.account_id, world.subscription_ids)
    life.passes("bill thresholds", START + 2 * HOUR, bill_reached, many)
    assert {each.billing_reason.value for each in world.invoices()} == {"subscription_threshold"}
    world.use(world.customer_ids, 500, at=START + 3 * HOUR)
    life.passes("close after a threshold", END, close_due_periods, many)
    life.passes("finalize after a threshold", FINAL, finalize_due_drafts, many)


def withheld(life: Life, many: int) -> None:
    """Renewals while collection is paused, in both ways that do something."""
    now = END
    for behavior in (PauseBehavior.VOID, PauseBehavior.MARK_UNCOLLECTIBLE):
        life.edit(lambda each, to=behavior: replace(each, pause_behavior=to))  # type: ignore[misc]
        life.passes(f"close paused to {behavior}", now, close_due_periods, many)
        life.passes(f"withhold to {behavior}", now + HOUR, finalize_due_drafts, many)
        now += timedelta(days=28)
    statuses = [each.status.value for each in life.world.invoices()]
    assert statuses == ["void"] * many + ["uncollectible"] * many


def never_begun(life: Life, many: int) -> None:
    """Subscriptions whose first payment never came."""
    life.edit(
        lambda each: replace(
            each,
            status=SubscriptionStatus.INCOMPLETE,
            closes_at=None,
            expires_at=START + 23 * HOUR,
        )
    )
    life.passes("expire", START + 23 * HOUR, expire_unpaid, many)
    assert {each.status.value for each in life.world.subscriptions()} == {"incomplete_expired"}


def paused(life: Life, many: int) -> None:
    """Pauses that end by themselves."""
    world = life.world
    with world.database.transaction() as conn:
        for each in world.subscription_ids:
            pause(conn, world.at(START + HOUR), each, Pause(resumes_at=FEBRUARY_15))
    life.passes("resume", FEBRUARY_15, resume_due, many)
    assert {each.status.value for each in world.subscriptions()} == {"active"}
    assert {each.anchor_at for each in world.subscriptions()} == {FEBRUARY_15}


LIVES: dict[str, tuple[Callable[[Life, int], None], dict[str, Any]]] = {
    "paying": (paying, {}),
    "owing": (owing, {"card": "pm_card_chargeCustomerFail"}),
    "holding": (holding, {"card": "pm_card_chargeCustomerFail"}),
    "reaching": (reaching, {"threshold": 100}),
    "withheld": (withheld, {}),
    "never begun": (never_begun, {}),
    "paused": (paused, {}),
}


@pytest.mark.parametrize("name", LIVES)
def test_two_hundred_take_the_statements_of_one(database: Database, name: str) -> None:
    few, many = (_lived(database, name, subscribers) for subscribers in (1, MANY))
    assert many.keys() == few.keys()
    grown = {step: _beyond(few[step], many[step]) for step in few if few[step] != many[step]}
    assert grown == {}


def test_a_credit_note_of_two_hundred_lines_takes_the_statements_of_one(
    database: Database,
) -> None:
    taken = []
    for lines in (1, MANY):
        world = make_world(database, 1)
        act = world.at(START)
        with database.transaction() as conn:
            draft = create_invoice(conn, act, NewInvoice(world.customer_ids[0]))
            added = [NewInvoiceItem(Asking(amount=100), currency="usd") for _ in range(lines)]
            add_lines(conn, act, draft.id, added)
            finalize_now(conn, act, draft.id, auto_advance=False)
        with database.transaction() as conn, counted(conn) as statements:
            note = issue(conn, act, NewCreditNote(draft.id, amount=50 * lines))
        assert len(note.lines) == lines
        with database.transaction() as conn, counted(conn) as again:
            void_note(conn, act, note.id)
        taken.append([*statements, *again])
        assert world.findings() == []
    assert taken[0] == taken[1]


def test_an_audit_of_two_hundred_takes_the_statements_of_one(server_url: str) -> None:
    taken = []
    for subscribers in (1, MANY):
        with databases.clone(server_url) as url:
            own = Counting(url)
            world = make_world(own, subscribers)
            world.use(world.customer_ids, 2000)
            world.pass_time(END)
            world.pass_time(FINAL)
            own.asked.clear()
            assert audit(own) == []
            taken.append(own.asked)
            own.close()
    assert taken[0] == taken[1]


def _beyond(few: list[str], many: list[str]) -> list[str]:
    """What was asked for many and not for few, to read in a failure."""
    left = list(few)
    beyond = []
    for each in many:
        if each in left:
            left.remove(each)
        else:
            beyond.append(each)
    return [*beyond, *(f"missing: {each}" for each in left)]


def _lived(database: Database, name: str, subscribers: int) -> Steps:
    live, riches = LIVES[name]
    counting = Counting(database.url)
    try:
        world = make_rich_world(database, subscribers, **riches)
        life = Life(world, counting)
        live(life, subscribers)
        assert all(life.steps.values()), "every step asks something"
        assert world.findings() == []
    finally:
        counting.close()
    return life.steps
