"""Everything that can happen to subscriptions and invoices, at once and to the same customers."""

from __future__ import annotations

import csv
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from postpaid import ids
from postpaid.billing import change as changing
from postpaid.billing import correct, subscribe
from postpaid.billing import pay as payment
from postpaid.billing.check_sold import NewItem, NewSubscription
from postpaid.billing.decide_items import NewInvoiceItem
from postpaid.billing.draft_invoices import NewInvoice, create_invoice, delete_draft
from postpaid.billing.issue_credit_notes import NewCreditNote, issue, void_note
from postpaid.billing.manage_credit_grants import NewGrant, grant_credit, void_grant
from postpaid.billing.manage_invoice_items import create_invoice_item
from postpaid.billing.move_balance import adjust_balance
from postpaid.billing.pass_time import run_passes, settle_abandoned
from postpaid.billing.perform import LEASE, Act, Answer, perform
from postpaid.billing.price_items import Asking
from postpaid.core.changes import Change, ChangePayment, ItemChange, ProrationBehavior
from postpaid.core.credits import GrantCategory
from postpaid.core.errors import BillingError, InvalidRequest
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.export_ledger import Wanted, export_journal
from postpaid.storage import ledger_reports
from postpaid.storage.database import Connection, Database
from rich_world import make_rich_world
from world import END, FEE, HOUR, START, World, make_world

FINAL = END + HOUR
DAY = timedelta(days=1)
LONG_AFTER = END + 400 * DAY
ROUNDS = (START + 9 * DAY, END, FINAL, END + 14 * DAY, END + 28 * DAY, END + 28 * DAY + HOUR)
ACTORS = 6
ACTS = 14  # of each actor in a round
PERHAPS = {"void", "give_up", "pay"}  # of what others leave open; with a good card that is little


class Actor:
    """Someone who does one thing after another to customers that others are busy with too."""

    def __init__(self, world: World, now: datetime, seed: int) -> None:
        self.world = world
        self.now = now
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.refused: list[BillingError] = []

    def act(self) -> None:
        """One thing, or its refusal."""
        name = self.chance.choice(sorted(THINGS))
        try:
            THINGS[name](self)
        except BillingError as error:
            self.refused.append(error)
        else:
            self.done[name] += 1

    @property
    def at(self) -> Act:
        return self.world.at(self.now)

    @property
    def customer_id(self) -> str:
        return self.chance.choice(self.world.customer_ids)

    def write(self, work: Callable[[Connection, Act], Any]) -> Any:
        with self.world.database.transaction() as conn:
            return work(conn, self.at)

    def invoice(self, *statuses: InvoiceStatus) -> Invoice:
        """Any that was in one of these statuses a moment ago."""
        found = [each for each in self.world.invoices() if each.status in statuses]
        if not found:
            raise BillingError("There is none.")
        return self.chance.choice(found)

    # ─── Things ──────────────────────────────────────────────────────────────────────────────

    def change(self) -> None:
        subscription = self.chance.choice(self.world.subscriptions())
        asked = Change(
            subscription.id,
            items=[ItemChange(subscription.items[0].id, quantity=self.chance.randrange(1, 6))],
            proration=self.chance.choice(list(ProrationBehavior)),
            payment=self.chance.choice(list(ChangePayment)),
        )
        [changed] = self.write(lambda conn, act: changing.change(conn, act, [asked]))
        changing.finish(self.world.database, self.at, changed)

    def end(self) -> None:
        if self.chance.random() < 0.8:  # most go on
            return
        subscription = self.chance.choice(self.world.subscriptions())
        asked = {name: self.chance.random() < 0.5 for name in ("invoice_now", "prorate")}
        changed = self.write(
            lambda conn, act: changing.cancel_now(conn, act, subscription.id, **asked)
        )
        changing.finish(self.world.database, self.at, changed)

    def begin(self) -> None:
        asked = NewSubscription(self.customer_id, [NewItem(self.world.licence_id)])
        begun = self.write(lambda conn, act: subscribe.subscribe(conn, act, asked))
        subscribe.finish(self.world.database, self.at, begun)

    def finalize(self) -> None:
        invoice = self.invoice(InvoiceStatus.DRAFT)
        paying = self.write(lambda conn, act: payment.finalize_now(conn, act, invoice.id))
        payment.finish_paying(self.world.database, self.at, paying, declines_raise=False)

    def pay(self) -> None:
        invoice = self.invoice(InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)
        by_hand = self.chance.random() < 0.3
        paying = self.write(
            lambda conn, act: payment.pay(conn, act, invoice.id, out_of_band=by_hand)
        )
        payment.finish_paying(self.world.database, self.at, paying, declines_raise=True)

    def void(self) -> None:
        invoice = self.invoice(InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)
        self.write(lambda conn, act: correct.void_now(conn, act, invoice.id))

    def give_up(self) -> None:
        invoice = self.invoice(InvoiceStatus.OPEN)
        self.write(lambda conn, act: correct.mark_uncollectible_now(conn, act, invoice.id))

    def credit(self) -> None:
        invoice = self.invoice(InvoiceStatus.OPEN, InvoiceStatus.PAID)
        amount = self.chance.randrange(1, max(2, invoice.total))
        before = min(amount, invoice.amount_remaining)
        asked = NewCreditNote(invoice.id, amount=amount, credit_amount=amount - before)
        note = self.write(lambda conn, act: issue(conn, act, asked))
        if self.chance.random() < 0.3:
            self.write(lambda conn, act: void_note(conn, act, note.id))

    def adjust(self) -> None:
        customer_id, amount = self.customer_id, self.chance.randrange(-2000, 2000)
        self.write(
            lambda conn, act: adjust_balance(conn, act, customer_id, amount=amount, currency="usd")
        )

    def grant(self) -> None:
        asked = NewGrant(
            self.customer_id, self.chance.randrange(1, 500), "usd", GrantCategory.PAID, {}
        )
        grant = self.write(lambda conn, act: grant_credit(conn, act, asked))
        if self.chance.random() < 0.3:
            self.write(lambda conn, act: void_grant(conn, act, grant.id))

    def add_item(self) -> None:
        customer_id = self.customer_id
        asked = NewInvoiceItem(Asking(amount=self.chance.randrange(-300, 900)), currency="usd")
        self.write(lambda conn, act: create_invoice_item(conn, act, asked, customer_id=customer_id))

    def draft(self) -> None:
        asked = NewInvoice(self.customer_id, gathers=True)
        draft = self.write(lambda conn, act: create_invoice(conn, act, asked))
        if self.chance.random() < 0.3:
            self.write(lambda conn, act: delete_draft(conn, act, draft.id))

    def use(self) -> None:
        at = self.now - timedelta(minutes=self.chance.randrange(1, 100))
        customer_id, value = self.customer_id, self.chance.randrange(500)
        self.world.use([customer_id], value, at=at, received_at=self.now)

    def pass_time(self) -> None:
        run_passes(self.world.database, self.at, wall=self.now)


THINGS: dict[str, Callable[[Actor], None]] = {
    name: getattr(Actor, name)
    for name in (
        *("change", "end", "begin", "finalize", "pay", "void", "give_up", "credit", "adjust"),
        *("grant", "add_item", "draft", "use", "pass_time"),
    )
}


def all_at_once(actors: list[Actor]) -> None:
    """Each acts in a thread of its own. Raises what is no refusal, and for a deadlock."""
    ready = threading.Barrier(len(actors))
    failures: list[Exception] = []

    def run(actor: Actor) -> None:
        ready.wait()
        try:
            for _ in range(ACTS):
                actor.act()
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(each,)) for each in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    causes = [refusal.__cause__ for actor in actors for refusal in actor.refused]
    failures += [each for each in causes if isinstance(each, psycopg.Error)]
    if failures:
        raise failures[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_at_once_the_books_are_right(
    database: Database, seed: int, tmp_path: Path
) -> None:
    """No deadlock, no error that is not a refusal, numbers without gaps, and a silent audit."""
    card = ["pm_card_visa", "pm_card_chargeCustomerFail"][seed % 2]
    world = make_rich_world(database, 3, card=card)
    done: Counter[str] = Counter()
    for place, now in enumerate(ROUNDS):
        actors = [Actor(world, now, 1000 * seed + 10 * place + n) for n in range(ACTORS)]
        all_at_once(actors)
        settle_abandoned(database, world.at(now), wall=now + DAY)
        world.pass_time(now)
        for each in actors:
            done += each.done
        assert world.findings() == []
    assert set(done) >= set(THINGS) - PERHAPS, "everything was done by someone"
    for customer_id in world.customer_ids:
        numbers = sorted(
            int(each.number.rpartition("-")[2])
            for each in world.invoices()
            if each.customer_id == customer_id and each.number
        )
        assert numbers == list(range(1, len(numbers) + 1))
    assert exported(world, tmp_path / "journal.csv") == balances(world)


def exported(world: World, path: Path) -> dict[str, Decimal]:
    """What the journal's accounts come to; each of its transactions sums to nothing."""
    with world.database.transaction() as conn:
        export_journal(conn, world.act.account_id, path, Wanted(UTC, recognized_until=LONG_AFTER))
    by_transaction: defaultdict[str, Decimal] = defaultdict(Decimal)
    by_account: defaultdict[str, Decimal] = defaultdict(Decimal)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            amount = Decimal(row["debit"] or 0) - Decimal(row["credit"] or 0)
            by_transaction[row["transaction"]] += amount
            by_account[row["account"]] += amount
    assert set(by_transaction.values()) == {Decimal(0)}
    return {account: amount for account, amount in by_account.items() if amount}


def balances(world: World) -> dict[str, Decimal]:
    """What the ledger's accounts come to once everything is earned."""
    with world.database.connection() as conn:
        found = ledger_reports.balances(conn, world.act.account_id, at=LONG_AFTER)
    amounts = {each.ledger_account: each.debits - each.credits for each in found}
    return {str(account): Decimal(amount) / 100 for account, amount in amounts.items() if amount}


def test_of_two_changes_of_one_subscription_both_are_billed_one_after_the_other(
    database: Database,
) -> None:
    """Ten people add a seat each: what is billed is as if they had queued."""
    world = make_world(database, 1)
    world.pass_time(END)
    world.pass_time(FINAL)
    [before] = world.subscriptions()
    now = END + 14 * DAY
    ready = threading.Barrier(10)

    def add(quantity: int) -> None:
        ready.wait()
        asked = Change(
            before.id,
            items=[ItemChange(before.items[0].id, quantity=quantity)],
            proration=ProrationBehavior.ALWAYS_INVOICE,
        )
        with database.transaction() as conn:
            [changed] = changing.change(conn, world.at(now), [asked])
        changing.finish(database, world.at(now), changed)

    threads = [threading.Thread(target=add, args=(2 + n,)) for n in range(10)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    [after] = world.subscriptions()
    quantity = after.items[0].quantity
    assert quantity in range(2, 12)
    prorated = sum(
        line.amount for invoice in world.invoices() for line in invoice.lines if line.proration
    )
    assert prorated == (quantity - 1) * FEE // 2  # half of February is left
    assert world.findings() == []


# ─── A process that dies ─────────────────────────────────────────────────────────────────────


class Died(BaseException):
    """What the process does between the two steps of a change."""


class Changing:
    """A change of one subscription to three seats, as a request with a key makes it."""

    def __init__(self, world: World, how: ChangePayment, now: datetime) -> None:
        self.world = world
        self.how = how
        self.act = replace(world.at(now), request_id="req_1", idempotency_key="its key")
        [self.subscription] = world.subscriptions()

    def begin(self, conn: Connection) -> dict[str, Any]:
        asked = Change(
            self.subscription.id,
            items=[ItemChange(self.subscription.items[0].id, quantity=3)],
            proration=ProrationBehavior.ALWAYS_INVOICE,
            payment=self.how,
        )
        [changed] = changing.change(conn, self.act, [asked])
        return {"invoice": changed.invoice_id, "attempts": changed.attempt_ids}

    def finish(self, begun: Any) -> Answer:
        changed = changing.Changed(
            self.subscription.id, begun["invoice"], begun["attempts"], self.how
        )
        try:
            changing.finish(self.world.database, self.act, changed)
        except BillingError as error:
            return Answer(402, {"error": error.message})
        return Answer(200, {"quantity": self.quantity})

    def die(self, begun: Any) -> Answer:
        raise Died

    def dies(self) -> None:
        with pytest.raises(Died):
            perform(self.world.database, self.act, "change", {}, self.begin, self.die)

    def is_repeated(self) -> Answer:
        again = replace(self.act, now=self.act.now + LEASE + timedelta(seconds=1))
        again = replace(again, request_id=ids.new_id("req"))
        return perform(self.world.database, again, "change", {}, self.begin, self.finish)

    @property
    def quantity(self) -> int | None:
        [subscription] = self.world.subscriptions()
        return subscription.items[0].quantity


def dying(database: Database, how: ChangePayment, *, card: str = "pm_card_visa") -> Changing:
    """A change whose process died between writing it and asking for its money."""
    world = make_world(database, 1, card=card)
    dead = Changing(world, how, START + 10 * DAY)
    dead.dies()
    return dead


HOW = pytest.mark.parametrize("how", list(ChangePayment), ids=str)


@HOW
def test_a_change_whose_process_died_is_finished_by_the_repeat(
    database: Database, how: ChangePayment
) -> None:
    dead = dying(database, how)
    answer = dead.is_repeated()
    assert (answer.status, answer.body) == (200, {"quantity": 3})
    assert dead.is_repeated().body == answer.body
    made = dead.world.invoices()
    paid = how != ChangePayment.DEFAULT_INCOMPLETE
    assert [each.status.value for each in made] == ["paid" if paid else "open"]
    assert attempts(dead.world) == ({"succeeded": 1} if paid else {})
    assert dead.world.findings() == []


@HOW
def test_a_change_whose_process_died_is_finished_by_the_worker(
    database: Database, how: ChangePayment
) -> None:
    dead = dying(database, how)
    world, wall = dead.world, dead.act.now + DAY
    settle_abandoned(database, world.at(wall), wall=wall)
    assert dead.quantity == 3
    paid = how != ChangePayment.DEFAULT_INCOMPLETE
    assert [each.status.value for each in world.invoices()] == ["paid" if paid else "open"]
    assert dead.is_repeated().body == {"quantity": 3}
    assert attempts(world) == ({"succeeded": 1} if paid else {})
    assert world.findings() == []


@pytest.mark.parametrize("repeats", [True, False], ids=["and is repeated", "and is not"])
def test_a_change_whose_process_died_and_whose_payment_fails_was_never_made(
    database: Database, repeats: bool
) -> None:
    """The worker asks for the money; the repeat tells of it, or else a day goes by."""
    dead = dying(database, ChangePayment.ERROR_IF_INCOMPLETE, card="pm_card_chargeCustomerFail")
    world, wall = dead.world, dead.act.now + DAY
    settle_abandoned(database, world.at(wall), wall=wall)
    assert dead.quantity == 1
    if repeats:
        assert dead.is_repeated().status == 402
    world.pass_time(wall)
    [invoice] = world.invoices()
    [subscription] = world.subscriptions()
    assert (invoice.status, dead.quantity) == (InvoiceStatus.VOID, 1)
    assert (subscription.status.value, subscription.pending_update) == ("active", None)
    assert world.findings() == []


def attempts(world: World) -> dict[str, int]:
    """How many attempts there are of each status."""
    with world.database.connection() as conn:
        rows = conn.execute(
            "SELECT status, count(*) FROM payment_attempts WHERE account_id = %s GROUP BY 1",
            (world.act.account_id,),
        )
        return dict(rows.fetchall())


def test_credit_is_not_spent_twice(database: Database) -> None:
    """Five credits taken back at once from an invoice that has room for one."""
    world = make_world(database, 1)
    world.pass_time(END)
    world.pass_time(FINAL)
    [invoice] = world.invoices()
    asked = NewCreditNote(invoice.id, amount=FEE - 100, credit_amount=FEE - 100)
    ready = threading.Barrier(5)
    made: list[str] = []
    refused: list[str] = []

    def credit() -> None:
        ready.wait()
        try:
            with database.transaction() as conn:
                made.append(issue(conn, world.at(FINAL), asked).id)
        except InvalidRequest as error:
            refused.append(error.message)

    threads = [threading.Thread(target=credit) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(made), len(refused)) == (1, 4)
    assert world.findings() == []
