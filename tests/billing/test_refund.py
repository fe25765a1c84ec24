"""Refunds and payments by hand: at once, in doubt, failing, and in any order."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from all_at_once import all_at_once
from postpaid.billing import correct
from postpaid.billing.ask_refunds import ask_pending_refunds, ask_refunds, record_refunds
from postpaid.billing.gateways import GATEWAYS
from postpaid.billing.issue_credit_notes import NewCreditNote, issue
from postpaid.billing.pass_time import finalize_due_drafts, settle_abandoned
from postpaid.billing.record_outcomes import RECHECK
from postpaid.billing.record_payments import (
    NewPaymentRecord,
    attach_payment,
    record_payment,
    report_payment,
)
from postpaid.billing.refund import LEASE, NewRefund, refund
from postpaid.core.errors import BillingError, Conflict
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.refunds import Refund, RefundStatus
from postpaid.outside.gateways.protocol import (
    Absent,
    ChargeRequest,
    Declined,
    Outcome,
    Processing,
    RefundRequest,
    Succeeded,
    Unknown,
)
from postpaid.storage import customers, payment_intents, payments, refunds
from postpaid.storage.database import Database
from postpaid.storage.payments import AttemptStatus, PaymentAttempt
from statements import counted
from world import END, FEE, HOUR, World, make_world

FINAL = END + HOUR


@dataclass
class Till:
    """A gateway that does as it is told, then well, and gives back once per key."""

    charges: Callable[[ChargeRequest], Outcome] | None = None
    moods: list[str] = field(default_factory=list)
    given_back: dict[str, int] = field(default_factory=dict)
    name: str = "test"

    def charge(self, request: ChargeRequest) -> Outcome:
        if self.charges is not None:
            return self.charges(request)
        return Succeeded(f"ch_{request.idempotency_key}")

    def ask(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        return self.charge(request)

    def cancel(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        return self.charge(request)

    def refund(self, request: RefundRequest) -> Outcome:
        mood = self.moods.pop(0) if self.moods else "good"
        if mood == "request lost":
            return Unknown("timed out before it was heard")
        if mood == "refuses":
            return Declined("declined", None, "No.")
        self.given_back.setdefault(request.idempotency_key, request.amount)
        if mood == "answer lost":
            raise ConnectionError("the answer was lost")
        if mood == "takes its time":
            return Processing("re_slow")
        return Succeeded(f"re_{request.idempotency_key}")

    def ask_refund(self, request: RefundRequest, reference: str | None) -> Outcome | Absent:
        if request.idempotency_key not in self.given_back:
            return Absent()
        if self.moods and self.moods.pop(0) == "fails":
            del self.given_back[request.idempotency_key]
            return Declined("expired_or_canceled_card", None, "The card is gone.")
        return Succeeded(f"re_{request.idempotency_key}")


@pytest.fixture
def till(monkeypatch: pytest.MonkeyPatch) -> Till:
    till = Till()
    monkeypatch.setitem(GATEWAYS, "test", till)  # type: ignore[arg-type]
    return till


def billed(database: Database, subscribers: int = 1) -> World:
    """A world whose invoices are final, and paid unless the till says otherwise."""
    world = make_world(database, subscribers)
    world.pass_time(END)
    world.pass_time(FINAL)
    return world


def charges(world: World) -> list[PaymentAttempt]:
    intent_ids = [each.payment_intent_id for each in world.invoices() if each.payment_intent_id]
    with world.database.connection() as conn:
        return payments.of_intents(
            conn, world.act.account_id, intent_ids, statuses=list(AttemptStatus)
        )


def give_back(world: World, attempt_id: str, amount: int | None = None) -> Refund:
    act = world.at(FINAL)
    with world.database.transaction() as conn:
        made = refund(conn, act, NewRefund(attempt_id=attempt_id, amount=amount))
    ask_refunds(world.database, act, [made.id])
    return found(world, made.id)


def found(world: World, refund_id: str) -> Refund:
    with world.database.connection() as conn:
        return refunds.load(conn, world.act.account_id, [refund_id])[refund_id]


def record(world: World, invoice_id: str, amount: int) -> None:
    with world.database.transaction() as conn:
        record_payment(conn, world.at(FINAL), invoice_id, NewPaymentRecord(amount, "usd"))


def balance(world: World) -> int:
    [customer_id] = world.customer_ids
    with world.database.connection() as conn:
        return customers.load(conn, world.act.account_id, [customer_id])[customer_id].balance


# ─── At once ─────────────────────────────────────────────────────────────────────────────────


def test_refunds_at_once_are_never_more_than_the_charge(database: Database, till: Till) -> None:
    world = billed(database)
    [charge] = charges(world)
    answers = all_at_once([lambda: give_back(world, charge.id, FEE * 2 // 5)] * 6)

    made = [each for each in answers if isinstance(each, Refund)]
    assert len(made) == 2
    assert all(isinstance(each, BillingError) for each in answers if each not in made)
    assert sum(till.given_back.values()) == 2 * (FEE * 2 // 5)
    assert charges(world)[0].amount_refunded == 2 * (FEE * 2 // 5)
    assert world.findings() == []


def test_a_payment_that_is_recorded_while_a_card_is_charged_is_not_lost(
    database: Database, till: Till
) -> None:
    world = make_world(database, 1)
    world.pass_time(END)

    def charge(request: ChargeRequest) -> Outcome:
        # Elsewhere, while no lock is held: the bank's statement has it already.
        [invoice] = world.invoices()
        if invoice.status == InvoiceStatus.OPEN:
            thread = threading.Thread(target=record, args=(world, invoice.id, FEE))
            thread.start()
            thread.join(timeout=30)
            assert not thread.is_alive()
        return Succeeded(f"ch_{request.idempotency_key}")

    till.charges = charge
    world.pass_time(FINAL)
    [invoice] = world.invoices()
    assert (invoice.status, invoice.amount_paid, invoice.amount_overpaid) == ("paid", FEE, FEE)
    assert balance(world) == -FEE
    assert world.findings() == []

    # Giving the card's money back takes the credit back.
    [paid] = charges(world)
    assert give_back(world, paid.id).amount_of_credit == FEE
    assert balance(world) == 0
    assert world.findings() == []


def test_what_is_recorded_in_part_while_a_card_is_declined_lowers_what_is_asked(
    database: Database, till: Till
) -> None:
    world = make_world(database, 1)
    world.pass_time(END)

    def charge(request: ChargeRequest) -> Outcome:
        record(world, world.invoices()[0].id, 900)
        return Declined("card_declined", "generic_decline", "Your card was declined.")

    till.charges = charge
    with_one_try(world)
    [invoice] = world.invoices()
    assert (invoice.status, invoice.amount_remaining) == ("open", FEE - 900)
    assert intent_of(world, invoice).amount == FEE - 900
    assert world.findings() == []


def with_one_try(world: World) -> None:
    """The draft becomes final and is tried, and nothing after it."""
    act = world.at(FINAL)
    finalize_due_drafts(world.database, act, FINAL)


def intent_of(world: World, invoice: Invoice) -> Any:
    assert invoice.payment_intent_id is not None
    with world.database.connection() as conn:
        found = payment_intents.load(conn, world.act.account_id, [invoice.payment_intent_id])
    return found[invoice.payment_intent_id]


def test_nothing_is_taken_back_while_a_bank_is_busy_and_money_by_hand_is_kept(
    database: Database, till: Till
) -> None:
    world = make_world(database, 1)
    world.pass_time(END)
    till.charges = lambda request: Processing("py_1")
    with_one_try(world)
    [invoice] = world.invoices()
    act = world.at(FINAL)
    for work in (
        lambda conn: correct.void_now(conn, act, invoice.id),
        lambda conn: correct.mark_uncollectible_now(conn, act, invoice.id),
        lambda conn: issue(conn, act, NewCreditNote(invoice.id, amount=100)),
    ):
        with pytest.raises(Conflict), database.transaction() as conn:
            work(conn)

    # But a transfer that came is a fact. What the bank then does is the customer's.
    record(world, invoice.id, FEE)
    assert world.invoices()[0].status == InvoiceStatus.PAID
    assert intent_of(world, invoice).status == "processing"
    till.charges = lambda request: Declined("debit_not_authorized", None, "No.")
    later = FINAL + 2 * RECHECK
    settle_abandoned(database, world.at(later), wall=later)
    assert intent_of(world, invoice).status == "canceled"
    assert (world.invoices()[0].status, balance(world)) == (InvoiceStatus.PAID, 0)
    assert world.findings() == []


def test_a_bank_that_pays_what_was_paid_makes_credit(database: Database, till: Till) -> None:
    world = make_world(database, 1)
    world.pass_time(END)
    till.charges = lambda request: Processing("py_1")
    with_one_try(world)
    record(world, world.invoices()[0].id, FEE)
    till.charges = None
    later = FINAL + 2 * RECHECK
    settle_abandoned(database, world.at(later), wall=later)
    [invoice] = world.invoices()
    assert (invoice.amount_paid, invoice.amount_overpaid, balance(world)) == (FEE, FEE, -FEE)
    assert world.findings() == []


# ─── In doubt ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mood", ["request lost", "answer lost", "takes its time"])
def test_a_refund_in_doubt_is_asked_about_and_made_once(
    database: Database, till: Till, mood: str
) -> None:
    world = billed(database)
    [charge] = charges(world)
    till.moods = [mood]
    made = give_back(world, charge.id, 700)
    assert made.status == RefundStatus.PENDING
    assert charges(world)[0].amount_refunded == 700

    at = FINAL + 2 * RECHECK
    assert ask_pending_refunds(database, world.at(at), wall=at) == 1
    assert ask_pending_refunds(database, world.at(at + HOUR), wall=at + HOUR) == 0
    assert found(world, made.id).status == RefundStatus.SUCCEEDED
    assert till.given_back == {made.id: 700}
    assert world.findings() == []


def test_a_worker_leaves_a_refund_alone_that_is_just_asked_for(
    database: Database, till: Till
) -> None:
    world = billed(database)
    [charge] = charges(world)
    with database.transaction() as conn:
        refund(conn, world.at(FINAL), NewRefund(attempt_id=charge.id))
    soon = FINAL + LEASE / 2
    assert ask_pending_refunds(database, world.at(soon), wall=soon) == 0
    late = FINAL + LEASE + timedelta(seconds=1)
    assert ask_pending_refunds(database, world.at(late), wall=late) == 1
    assert list(till.given_back.values()) == [FEE]


def test_a_refund_that_is_refused_gives_the_credit_back_too(database: Database, till: Till) -> None:
    world = billed(database)
    [charge] = charges(world)
    [invoice] = world.invoices()
    record(world, invoice.id, 50)
    till.moods = ["takes its time", "fails"]
    made = give_back(world, charge.id)
    at = FINAL + 2 * RECHECK
    ask_pending_refunds(database, world.at(at), wall=at)
    made = found(world, made.id)
    assert (made.status, made.failure_code) == (RefundStatus.FAILED, "expired_or_canceled_card")
    assert (charges(world)[0].amount_refunded, balance(world)) == (0, -50)
    till.moods = ["refuses"]
    assert give_back(world, charge.id).status == RefundStatus.FAILED
    assert give_back(world, charge.id).status == RefundStatus.SUCCEEDED
    assert world.findings() == []


def test_what_is_recorded_of_many_refunds_costs_no_more_statements(
    database: Database, till: Till
) -> None:
    world = billed(database, 9)
    till.moods = ["takes its time"] * 9
    made = [give_back(world, each.id) for each in charges(world)]
    counts = []
    for some in (made[:1], made[1:]):
        no = Declined("declined", None, "No.")
        with database.transaction() as conn, counted(conn) as statements:
            record_refunds(conn, world.at(FINAL), some, {each.id: no for each in some}, wall=FINAL)
        counts.append(len(statements))
    assert counts[0] == counts[1]
    assert world.findings() == []


# ─── In any order ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(8))
def test_whatever_comes_and_goes_the_books_say_so(
    database: Database, till: Till, seed: int
) -> None:
    """Against a model that knows three sums: what came, what went back, and what is owed."""
    chance = random.Random(seed)
    world = make_world(database, 1)
    world.pass_time(END)
    till.charges = lambda request: (
        Succeeded(f"ch_{request.idempotency_key}")
        if chance.random() < 0.5
        else Declined("card_declined", "generic_decline", "Your card was declined.")
    )
    with_one_try(world)
    [invoice] = world.invoices()
    by_hand = 0
    for _ in range(12):
        act = world.at(FINAL)
        thing = chance.choice(["record", "refund", "note", "void", "refund fails"])
        amount = chance.randint(1, FEE)
        paid = [each for each in charges(world) if each.status == AttemptStatus.SUCCEEDED]
        try:
            if thing == "record":
                record(world, invoice.id, amount)
                by_hand += amount
            elif thing == "note":
                with database.transaction() as conn:
                    owed = world.invoices()[0].amount_remaining
                    issue(conn, act, NewCreditNote(invoice.id, amount=min(amount, owed)))
            elif thing == "void" and chance.random() < 0.3:
                with database.transaction() as conn:
                    correct.void_now(conn, act, invoice.id)
            elif thing.startswith("refund") and paid:
                till.moods = ["refuses"] if thing == "refund fails" else []
                give_back(world, paid[0].id, amount)
        except BillingError:
            pass

        now = world.invoices()[0]
        by_card = sum(
            each.amount for each in charges(world) if each.status == AttemptStatus.SUCCEEDED
        )
        went = sum(each.amount_refunded for each in charges(world))
        assert went == sum(till.given_back.values()) <= by_card
        assert now.amount_paid + now.amount_overpaid == by_hand + by_card
        assert -balance(world) <= by_hand + by_card
        assert world.findings() == []


def test_a_payment_that_is_attached_twice_at_once_pays_one_invoice(
    database: Database, till: Till
) -> None:
    till.charges = lambda request: Declined("card_declined", "generic_decline", "No.")
    world = billed(database, 4)
    act = world.at(FINAL)
    with database.transaction() as conn:
        nobodys = report_payment(conn, act, NewPaymentRecord(100, "usd"))

    def attach(invoice_id: str) -> None:
        with database.transaction() as conn:
            attach_payment(conn, act, invoice_id, payment_record_id=nobodys.id)

    works = [partial(attach, each.id) for each in world.invoices()]
    answers = all_at_once(works)
    assert [each for each in answers if each is None] == [None]
    assert sorted(each.amount_paid for each in world.invoices()) == [0, 0, 0, 100]
    assert world.findings() == []
