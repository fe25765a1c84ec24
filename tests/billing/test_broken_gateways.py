"""A gateway that is broken, gone, or opened by no key costs nobody else anything."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from all_at_once import all_at_once
from postpaid.billing import correct, manage_payment_gateways
from postpaid.billing.ask_refunds import AT_ONCE, ask_pending_refunds, ask_refunds
from postpaid.billing.collect import LEASE
from postpaid.billing.gateways import GATEWAYS
from postpaid.billing.issue_credit_notes import NewCreditNote, issue
from postpaid.billing.manage_payment_methods import attach_payment_method, detach_payment_method
from postpaid.billing.pass_time import settle_abandoned
from postpaid.billing.record_payments import NewPaymentRecord, record_payment
from postpaid.billing.refund import NewRefund, refund
from postpaid.billing.settle import settle
from postpaid.core.errors import Conflict, InvalidRequest
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
from postpaid.storage import payments, refunds
from postpaid.storage.database import Database
from postpaid.storage.payment_gateways import GatewayKind, PaymentGateway
from postpaid.storage.payments import AttemptStatus, PaymentAttempt
from postpaid.storage.vault import Vault
from world import END, FEE, HOUR, World, make_world

FINAL = END + HOUR
LATER = FINAL + 2 * LEASE
NOWHERE = "http://127.0.0.1:1"
MANY = AT_ONCE + 4


@dataclass
class Till:
    """A gateway whose mood can be changed, and that gives back once per key."""

    charges: Callable[[ChargeRequest], Outcome] = lambda request: Succeeded(
        f"py_{request.idempotency_key}"
    )
    is_down: bool = False
    given_back: dict[str, int] = field(default_factory=dict)
    name: str = "test"

    def charge(self, request: ChargeRequest) -> Outcome:
        return self.charges(request)

    def ask(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        return self.charges(request)

    def cancel(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        return Absent()

    def refund(self, request: RefundRequest) -> Outcome:
        if self.is_down:
            raise ConnectionError("nobody there")
        self.given_back.setdefault(request.idempotency_key, request.amount)
        return Succeeded(f"re_{request.idempotency_key}")

    def ask_refund(self, request: RefundRequest, reference: str | None) -> Outcome | Absent:
        if self.is_down:
            return Unknown("nobody there")
        return self.refund(request) if request.idempotency_key in self.given_back else Absent()


@pytest.fixture
def till(monkeypatch: pytest.MonkeyPatch) -> Till:
    till = Till()
    monkeypatch.setitem(GATEWAYS, "test", till)  # type: ignore[arg-type]
    return till


def choose(world: World, name: str = "gone", vault: Vault | None = None) -> PaymentGateway:
    """A gateway that nobody answers at."""
    with world.database.transaction() as conn:
        return manage_payment_gateways.create_payment_gateway(
            conn,
            world.act,
            vault=vault or world.database.vault,
            name=name,
            kind=GatewayKind.STRIPE,
            api_key="sk_test_12345",
            base_url=NOWHERE,
            is_default=False,
            metadata={},
        )


def move(world: World, table: str, name: str, how_many: int) -> None:
    """Let the oldest of these have been of that gateway all the time."""
    with world.database.transaction() as conn:
        conn.execute(
            f"UPDATE {table} SET gateway = %(name)s WHERE account_id = %(account_id)s AND id IN"
            f" (SELECT id FROM {table} WHERE account_id = %(account_id)s ORDER BY id"
            " LIMIT %(limit)s)",
            {"name": name, "account_id": world.act.account_id, "limit": how_many},
        )


def attempts(world: World) -> list[PaymentAttempt]:
    ids = [each.payment_intent_id for each in world.invoices() if each.payment_intent_id]
    with world.database.connection() as conn:
        return payments.of_intents(conn, world.act.account_id, ids, statuses=list(AttemptStatus))


def billed(database: Database, subscribers: int = 1) -> World:
    world = make_world(database, subscribers)
    world.pass_time(END)
    world.pass_time(FINAL)
    return world


def give_back(world: World, attempt_id: str, amount: int | None = None) -> Refund:
    with world.database.transaction() as conn:
        made = refund(conn, world.at(FINAL), NewRefund(attempt_id=attempt_id, amount=amount))
    ask_refunds(world.database, world.at(FINAL), [made.id])
    return made


def found(world: World, made: Sequence[Refund]) -> list[Refund]:
    with world.database.connection() as conn:
        loaded = refunds.load(conn, world.act.account_id, [each.id for each in made])
    return [loaded[each.id] for each in made]


# ─── One that is broken ──────────────────────────────────────────────────────────────────────


def test_a_gateway_that_answers_nobody_keeps_no_other_gateways_payments_waiting(
    database: Database, till: Till
) -> None:
    world = make_world(database, MANY + 5)
    choose(world)
    move(world, "payment_methods", "gone", MANY)
    world.pass_time(END)
    world.pass_time(FINAL)
    by_gateway = {each.id: each for each in attempts(world)}
    assert {each.status for each in by_gateway.values() if each.gateway == "test"} == {"succeeded"}
    there = [each for each in by_gateway.values() if each.gateway == "gone"]
    assert {each.status for each in there} == {"pending"}
    assert sum(each.asked for each in there) == AT_ONCE
    assert world.findings() == []


def test_a_gateway_that_answers_nobody_keeps_no_other_gateways_refunds_waiting(
    database: Database, till: Till
) -> None:
    world = billed(database, MANY + 5)
    choose(world)
    charged = attempts(world)
    move(world, "payment_attempts", "gone", MANY)
    with database.transaction() as conn:
        act = world.at(FINAL)
        made = [refund(conn, act, NewRefund(attempt_id=each.id)) for each in charged]
    assert ask_pending_refunds(database, world.at(LATER), wall=LATER) == MANY + 5
    there = [each for each in found(world, made) if each.gateway == "gone"]
    here = [each for each in found(world, made) if each.gateway == "test"]
    assert (len(there), len(here)) == (MANY, 5)
    assert {each.status for each in here} == {"succeeded"}
    assert {each.status for each in there} == {"pending"}
    # Those that were not asked about come first the next time.
    assert sum(each.asked for each in there) == AT_ONCE
    again = LATER + 2 * LEASE
    ask_pending_refunds(database, world.at(again), wall=again)
    assert sorted(each.asked for each in found(world, made) if each.gateway == "gone") == [
        *[1] * (2 * MANY - 2 * AT_ONCE),
        *[2] * (2 * AT_ONCE - MANY),
    ]
    assert world.findings() == []


def test_what_no_database_can_keep_of_an_answer_keeps_no_other_answer_from_being_kept(
    database: Database, till: Till
) -> None:
    bad: list[Outcome] = [
        Declined("card_declined", "do\0not", "No \ud800." + "x" * 100_000),
        Succeeded("py\0_1"),
        Succeeded("py_2"),
    ]
    till.charges = lambda request: bad.pop()
    world = billed(database, 3)
    assert sorted(each.status for each in world.invoices()) == ["open", "paid", "paid"]
    [declined] = [each for each in attempts(world) if each.status == "failed"]
    assert declined.decline_code == "donot"
    assert (declined.failure_message or "").startswith("No ?.xxx")
    assert world.findings() == []


def test_an_outcome_that_cannot_be_recorded_keeps_no_other_from_being_recorded(
    database: Database, till: Till
) -> None:
    till.charges = lambda request: Processing(f"py_{request.idempotency_key}")
    world = billed(database, 3)
    full = world.invoices()[1]
    with database.transaction() as conn:
        record_payment(conn, world.at(FINAL), full.id, NewPaymentRecord(FEE, "usd"))
        conn.execute(  # no room for any more credit
            "UPDATE customers SET balance = -9223372036854775807, currency = 'usd'"
            " WHERE account_id = %s AND id = %s",
            (world.act.account_id, full.customer_id),
        )
    till.charges = lambda request: Succeeded(f"py_{request.idempotency_key}")
    at = FINAL + HOUR
    with pytest.raises(ExceptionGroup):
        settle_abandoned(database, world.at(at), wall=at)
    assert {each.status for each in world.invoices()} == {"paid"}
    assert sorted(each.status for each in attempts(world)) == [
        "processing",
        "succeeded",
        "succeeded",
    ]


# ─── One that no key opens ───────────────────────────────────────────────────────────────────


def test_credentials_that_no_key_opens_leave_their_payments_in_doubt_and_the_rest_goes_on(
    database: Database, till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(database, 4)
    choose(world, vault=Vault.of_new_key())
    move(world, "payment_methods", "gone", 2)
    world.pass_time(END)
    world.pass_time(FINAL)
    assert sorted(each.status for each in attempts(world)) == [*["pending"] * 2, *["succeeded"] * 2]
    assert "The gateway gone of account" in caplog.text
    assert "sk_test" not in caplog.text
    assert world.findings() == []


# ─── One that is gone ────────────────────────────────────────────────────────────────────────


def test_a_gateway_is_kept_while_a_refund_there_is_in_doubt(database: Database, till: Till) -> None:
    world = billed(database)
    gateway = choose(world)
    move(world, "payment_attempts", "gone", 1)
    [charge] = attempts(world)
    made = give_back(world, charge.id, 100)
    assert found(world, [made])[0].status == RefundStatus.PENDING
    delete = manage_payment_gateways.delete_payment_gateway
    with pytest.raises(Conflict), database.transaction() as conn:
        delete(conn, world.act, gateway.id)

    # Once it is decided, nothing needs the gateway, and nothing more can go back through it.
    with database.transaction() as conn:
        conn.execute("UPDATE refunds SET gateway = 'test' WHERE id = %s", (made.id,))
    ask_pending_refunds(database, world.at(LATER), wall=LATER)
    with database.transaction() as conn:
        delete(conn, world.act, gateway.id)
    with pytest.raises(InvalidRequest) as refused:
        give_back(world, charge.id, 100)
    assert refused.value.code == "payment_gateway_missing"
    [invoice] = world.invoices()
    note = NewCreditNote(invoice.id, amount=100, refund_amount=100)
    with pytest.raises(InvalidRequest) as refused, database.transaction() as conn:
        issue(conn, world.at(FINAL), note)
    assert refused.value.code == "payment_gateway_missing"
    assert world.findings() == []

    # Under its name there may be one again.
    choose(world)
    assert give_back(world, charge.id, 100).status == RefundStatus.PENDING


def test_a_payment_method_of_a_gateway_that_is_gone_becomes_nobodys(
    database: Database, till: Till
) -> None:
    world = make_world(database, 1)
    gateway = choose(world)
    move(world, "payment_methods", "gone", 1)
    [customer_id] = world.customer_ids
    method_id = customer_id.replace("cus_", "pm_")
    with database.transaction() as conn:
        detach_payment_method(conn, world.act, method_id)
        manage_payment_gateways.delete_payment_gateway(conn, world.act, gateway.id)
    with pytest.raises(InvalidRequest) as refused, database.transaction() as conn:
        attach_payment_method(conn, world.act, method_id, customer_id)
    assert (refused.value.code, refused.value.param) == (
        "payment_gateway_missing",
        ("payment_method",),
    )


def test_a_credit_note_gives_back_what_its_gateway_did_not_hear_of_at_first(
    database: Database, till: Till
) -> None:
    world = billed(database)
    [invoice] = world.invoices()
    till.is_down = True
    with database.transaction() as conn:
        note = issue(
            conn, world.at(FINAL), NewCreditNote(invoice.id, amount=700, refund_amount=700)
        )
    [link] = linked(world, note.id)
    ask_refunds(database, world.at(FINAL), [link])
    assert refund_of(world, link).status == RefundStatus.PENDING
    assert world.findings() == []
    till.is_down = False
    ask_pending_refunds(database, world.at(LATER), wall=LATER)
    assert refund_of(world, link).status == RefundStatus.SUCCEEDED
    assert till.given_back == {link: 700}
    assert attempts(world)[0].amount_refunded == 700
    assert world.findings() == []


def linked(world: World, note_id: str) -> list[str]:
    with world.database.connection() as conn:
        return [
            each.refund_id
            for each in refunds.of_notes(conn, world.act.account_id, [note_id])[note_id]
        ]


def refund_of(world: World, refund_id: str) -> Refund:
    with world.database.connection() as conn:
        return refunds.load(conn, world.act.account_id, [refund_id])[refund_id]


# ─── At once ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(4))
def test_whatever_gives_back_at_once_gives_back_no_more_than_came(
    database: Database, till: Till, seed: int
) -> None:
    chance = random.Random(seed)
    world = billed(database)
    [charge] = attempts(world)
    [invoice] = world.invoices()
    till.is_down = chance.random() < 0.5
    act = world.at(FINAL)

    def write_note() -> Any:
        amount = chance.randint(1, FEE)
        with database.transaction() as conn:
            note = issue(conn, act, NewCreditNote(invoice.id, amount=amount, refund_amount=amount))
        ask_refunds(database, act, linked(world, note.id))

    def void() -> Any:
        with database.transaction() as conn:
            correct.void_now(conn, act, invoice.id)

    works = [
        write_note,
        write_note,
        void,
        partial(give_back, world, charge.id, chance.randint(1, FEE)),
        partial(give_back, world, charge.id, chance.randint(1, FEE)),
        lambda: settle(database, act, [charge]),
        lambda: ask_pending_refunds(database, world.at(LATER), wall=LATER),
    ]
    chance.shuffle(works)
    all_at_once(works)
    till.is_down = False
    for at in (LATER + HOUR, LATER + 2 * HOUR):
        ask_pending_refunds(database, world.at(at), wall=at)
    [charge] = attempts(world)
    assert 0 < charge.amount_refunded == sum(till.given_back.values()) <= charge.amount
    assert world.invoices()[0].status == "paid"
    assert world.findings() == []
