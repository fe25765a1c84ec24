"""Collecting: attempts and outcomes, whoever dies in between and whatever the gateway says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from postpaid import ids
from postpaid.billing import collect, correct, pay
from postpaid.billing.check_sold import NewItem, NewSubscription
from postpaid.billing.pass_time import (
    expire_unpaid,
    finalize_due_drafts,
    run_passes,
    settle_abandoned,
)
from postpaid.billing.perform import Act, Answer, perform
from postpaid.billing.settle import GATEWAYS, settle
from postpaid.billing.subscribe import finish as finish_subscribing
from postpaid.billing.subscribe import subscribe
from postpaid.core.errors import ActionNotAllowed, Conflict
from postpaid.core.invoicing import Invoice
from postpaid.core.subscriptions import SubscriptionStatus
from postpaid.core.values import replace
from postpaid.outside.gateways.protocol import (
    Absent,
    ChargeRequest,
    Declined,
    Outcome,
    Succeeded,
    Unknown,
)
from postpaid.storage import customers, payments, subscriptions
from postpaid.storage.database import Database
from statements import counted
from world import END, FEE, HOUR, START, World, make_world

FINAL = END + HOUR
LATER = FINAL + 2 * collect.LEASE  # when every lease has run out


class Killed(BaseException):
    """The process ends here: nobody handles this."""


@dataclass
class Till:
    """A gateway that keeps what it takes, once per key, and behaves as it is told, then well."""

    moods: list[str] = field(default_factory=list)
    taken: dict[str, ChargeRequest] = field(default_factory=dict)
    asked: int = 0
    name: str = "test"

    def charge(self, request: ChargeRequest) -> Outcome:
        self.asked += 1
        mood = self.moods.pop(0) if self.moods else "good"
        if mood == "killed before":
            raise Killed
        if mood == "silent":
            return Unknown("timed out before it was heard")
        if mood == "declines":
            return Declined("card_declined", "generic_decline", "Your card was declined.")
        self.taken.setdefault(request.idempotency_key, request)
        if mood == "killed after":
            raise Killed
        if mood == "breaks":
            raise ConnectionError("the answer was lost")
        if mood == "late":
            return Unknown("timed out after it was done")
        return Succeeded(f"ch_{request.idempotency_key}")

    def ask(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        if request.idempotency_key not in self.taken:
            return Absent()  # so it is charged
        self.asked += 1
        if self.moods and self.moods.pop(0) == "silent":
            return Unknown("timed out")
        return Succeeded(f"ch_{request.idempotency_key}")

    def amounts(self) -> list[int]:
        return [request.amount for request in self.taken.values()]


@pytest.fixture
def till(monkeypatch: pytest.MonkeyPatch) -> Till:
    """The gateway of everyone's cards."""
    till = Till()
    monkeypatch.setitem(GATEWAYS, "test", till)  # type: ignore[arg-type]
    return till


def due(database: Database, subscribers: int = 1) -> World:
    """A world whose drafts are about to be final."""
    world = make_world(database, subscribers)
    world.pass_time(END)
    return world


def statuses(world: World) -> tuple[list[str], list[str]]:
    """Of the invoices and of the subscriptions."""
    return (
        [each.status.value for each in world.invoices()],
        [each.status.value for each in world.subscriptions()],
    )


# ─── Killed ──────────────────────────────────────────────────────────────────────────────────


def dying_at(prefix: str, till: Till, *, asked: int) -> Callable[[str], str]:
    """Makes ids, until one of ``prefix`` is wanted once the gateway was asked so often."""

    def new_id(wanted: str) -> str:
        if wanted == prefix and till.asked == asked:
            raise Killed
        return ids.new_id(wanted)

    return new_id


KILLED: dict[str, Callable[[Act, Till], Act]] = {
    "while the draft becomes final": lambda act, till: replace(
        act, new_id=dying_at("evt", till, asked=0)
    ),
    "before the attempt is written": lambda act, till: replace(
        act, new_id=dying_at("pa", till, asked=0)
    ),
    "before the gateway is asked": lambda act, till: till.moods.append("killed before") or act,  # type: ignore[func-returns-value]
    "after the gateway was asked": lambda act, till: till.moods.append("killed after") or act,  # type: ignore[func-returns-value]
    "while the outcome is recorded": lambda act, till: replace(
        act, new_id=dying_at("evt", till, asked=1)
    ),
}


@pytest.mark.parametrize("when", KILLED)
def test_a_pass_that_is_killed_charges_once(database: Database, till: Till, when: str) -> None:
    world = due(database)
    act = KILLED[when](world.at(FINAL), till)
    with pytest.raises(Killed):
        finalize_due_drafts(database, act, FINAL)

    # Others come, and later the worker: at any moment, and more than once.
    for now in (FINAL, LATER, LATER, LATER + HOUR):
        run_passes(database, world.at(now), wall=now)
        settle_abandoned(database, world.at(now), wall=now)

    assert statuses(world) == (["paid"], ["active"])
    assert till.amounts() == [FEE]
    [invoice] = world.invoices()
    assert (invoice.amount_paid, invoice.attempt_count) == (FEE, 1)
    assert world.findings() == []


@pytest.mark.parametrize("mood", ["killed before", "killed after"])
def test_a_request_to_pay_that_is_killed_is_finished_by_its_repeat(
    database: Database, till: Till, mood: str
) -> None:
    world, invoice = missed(database, till)
    till.moods = [mood]
    act = replace(world.at(FINAL), idempotency_key="pay once", request_id="req_1")
    with pytest.raises(Killed):
        pay_by_request(database, act, invoice.id)

    repeat = replace(act, now=FINAL + timedelta(minutes=1), request_id="req_2")
    answer = pay_by_request(database, repeat, invoice.id)

    assert answer.body == {"invoice": invoice.id, "status": "paid"}
    assert till.amounts() == [FEE]
    assert statuses(world) == (["paid"], ["active"])
    assert world.findings() == []


@pytest.mark.parametrize("mood", ["killed before", "killed after"])
def test_a_request_to_pay_that_nobody_repeats_is_finished_by_the_worker(
    database: Database, till: Till, mood: str
) -> None:
    world, invoice = missed(database, till)
    till.moods = [mood]
    act = replace(world.at(FINAL), idempotency_key="pay once", request_id="req_1")
    with pytest.raises(Killed):
        pay_by_request(database, act, invoice.id)

    settle_abandoned(database, world.at(LATER), wall=LATER)
    assert statuses(world) == (["paid"], ["active"])
    assert till.amounts() == [FEE]

    # The repeat comes after all, and gets its answer.
    repeat = replace(act, now=LATER, request_id="req_2")
    assert pay_by_request(database, repeat, invoice.id).body["status"] == "paid"
    assert till.amounts() == [FEE]


def missed(database: Database, till: Till) -> tuple[World, Invoice]:
    """A world whose one renewal was declined, and the open invoice."""
    world = due(database)
    till.moods = ["declines"]
    world.pass_time(FINAL)
    assert statuses(world) == (["open"], ["past_due"])
    return world, world.invoices()[0]


def pay_by_request(database: Database, act: Act, invoice_id: str) -> Answer:
    """As the API does it: the attempt in one transaction, the rest after it."""

    def begin(conn: object) -> dict[str, object]:
        paying = pay.pay(conn, act, invoice_id)  # type: ignore[arg-type]
        return {"invoice": paying.invoice_id, "attempts": paying.attempt_ids}

    def finish(begun: object) -> Answer:
        paying = pay.Paying(begun["invoice"], begun["attempts"])  # type: ignore[index]
        pay.finish_paying(database, act, paying, declines_raise=True)
        return Answer(200, {"invoice": invoice_id, "status": "paid"})

    return perform(database, act, "pay", {"invoice": invoice_id}, begin, finish)


@pytest.mark.parametrize("mood", ["killed before", "killed after"])
def test_a_first_payment_that_is_killed_is_made_once(
    database: Database, till: Till, mood: str
) -> None:
    world = make_world(database, 1)
    asked = NewSubscription(world.customer_ids[0], [NewItem(world.licence_id)])
    with database.transaction() as conn:
        begun = subscribe(conn, world.act, asked)
    till.moods = [mood]
    with pytest.raises(Killed):
        finish_subscribing(database, world.act, begun)

    wall = START + 2 * collect.LEASE
    settle_abandoned(database, world.at(wall), wall=wall)

    with database.connection() as conn:
        found = subscriptions.load(conn, world.act.account_id, [begun.subscription_id])
    assert found[begun.subscription_id].status == SubscriptionStatus.ACTIVE
    assert till.amounts() == [FEE]
    assert world.findings() == []


# ─── Not known ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mood", ["silent", "late", "breaks"])
def test_an_outcome_that_is_not_known_is_asked_about_again(
    database: Database, till: Till, mood: str
) -> None:
    world = due(database)
    till.moods = [mood]
    world.pass_time(FINAL)
    assert statuses(world) == (["open"], ["active"])
    [invoice] = world.invoices()
    assert (invoice.attempted, invoice.attempt_count) == (False, 0)

    # Not while whoever asked may still be at it; then until it is known.
    assert settle_abandoned(database, world.at(FINAL), wall=FINAL) == 0
    till.moods = ["silent"]
    for tries, wall in enumerate((LATER, LATER + timedelta(seconds=1), LATER + 2 * collect.LEASE)):
        settle_abandoned(database, world.at(wall), wall=wall)
        assert till.asked == (2, 2, 3)[tries]

    assert statuses(world) == (["paid"], ["active"])
    assert till.amounts() == [FEE]
    assert len(till.taken) == 1
    assert world.findings() == []


def test_one_that_is_not_known_holds_up_nobody_else(database: Database, till: Till) -> None:
    world = due(database, 5)
    till.moods = ["good", "silent", "declines", "breaks", "good"]
    world.pass_time(FINAL)
    assert statuses(world)[0] == ["paid", "open", "open", "open", "paid"]
    assert statuses(world)[1] == ["active", "active", "past_due", "active", "active"]
    settle_abandoned(database, world.at(LATER), wall=LATER)
    assert statuses(world)[0] == ["paid", "paid", "open", "paid", "paid"]
    assert len(till.taken) == 4
    assert world.findings() == []


def test_while_it_is_not_known_nothing_else_may_happen_to_the_invoice(
    database: Database, till: Till
) -> None:
    world = due(database)
    till.moods = ["late"]
    world.pass_time(FINAL)
    [invoice] = world.invoices()
    act = world.at(FINAL)

    with pytest.raises(Conflict), database.transaction() as conn:
        correct.void_now(conn, act, invoice.id)
    with pytest.raises(Conflict), database.transaction() as conn:
        pay.pay(conn, act, invoice.id, out_of_band=True)

    # Who wants to pay now asks about that very attempt.
    with database.transaction() as conn:
        paying = pay.pay(conn, act, invoice.id)
    pay.finish_paying(database, act, paying, declines_raise=True)
    assert statuses(world) == (["paid"], ["active"])
    assert len(till.taken) == 1


def test_a_first_payment_that_is_not_known_outlasts_its_23_hours(
    database: Database, till: Till
) -> None:
    """It may have been made: so nothing is void yet, and nobody else is held up."""
    world = make_world(database, 2)
    asked = NewSubscription(world.customer_ids[0], [NewItem(world.licence_id)])
    with database.transaction() as conn:
        begun = subscribe(conn, world.act, asked)
    till.moods = ["late"]
    finish_subscribing(database, world.act, begun)

    a_day_later = START + timedelta(days=1)
    assert expire_unpaid(database, world.at(a_day_later), a_day_later) == 0
    world.pass_time(FINAL)  # with the other subscriptions' renewals

    settle_abandoned(database, world.at(LATER), wall=LATER)
    with database.connection() as conn:
        found = subscriptions.load(conn, world.act.account_id, [begun.subscription_id])
    assert found[begun.subscription_id].status == SubscriptionStatus.ACTIVE
    assert world.invoices()[0].status == "paid"
    assert world.findings() == []


def test_a_first_payment_that_fails_after_its_23_hours_ends_it(
    database: Database, till: Till
) -> None:
    world = make_world(database, 1)
    asked = NewSubscription(world.customer_ids[0], [NewItem(world.licence_id)])
    with database.transaction() as conn:
        begun = subscribe(conn, world.act, asked)
    till.moods = ["silent", "declines"]
    finish_subscribing(database, world.act, begun)
    a_day_later = START + timedelta(days=1)
    settle_abandoned(database, world.at(a_day_later), wall=a_day_later)

    assert expire_unpaid(database, world.at(a_day_later), a_day_later) == 1

    with database.connection() as conn:
        found = subscriptions.load(conn, world.act.account_id, [begun.subscription_id])
    assert found[begun.subscription_id].status == SubscriptionStatus.INCOMPLETE_EXPIRED
    assert [invoice.status for invoice in world.invoices()] == ["void"]
    assert world.findings() == []


# ─── Known ───────────────────────────────────────────────────────────────────────────────────


def test_who_comes_second_changes_nothing(database: Database, till: Till) -> None:
    world = due(database)
    till.moods = ["late"]
    world.pass_time(FINAL)
    [invoice] = world.invoices()
    with database.connection() as conn:
        pending = payments.pending_of(conn, world.act.account_id, [invoice.id])
    attempts = list(pending.values())

    settle(database, world.at(FINAL), attempts)
    after = world.invoices()
    settle(database, world.at(LATER), attempts)

    assert world.invoices() == after
    assert world.findings() == []


def test_a_late_decline_does_not_undo_a_payment(database: Database, till: Till) -> None:
    """Two ask about one attempt; the gateway answers them differently, which it never should."""
    world = due(database)
    till.moods = ["late"]
    world.pass_time(FINAL)
    [invoice] = world.invoices()
    with database.connection() as conn:
        attempts = list(payments.pending_of(conn, world.act.account_id, [invoice.id]).values())
    till.moods = ["good", "declines"]
    for _ in range(2):
        settle(database, world.at(FINAL), attempts)
    assert statuses(world) == (["paid"], ["active"])


def test_what_is_paid_cannot_be_paid(database: Database, till: Till) -> None:
    world = due(database)
    world.pass_time(FINAL)
    [invoice] = world.invoices()
    with pytest.raises(ActionNotAllowed, match="already paid"), database.transaction() as conn:
        pay.pay(conn, world.at(FINAL), invoice.id)
    assert till.asked == 1


def test_the_gateway_is_asked_outside_every_transaction(database: Database, till: Till) -> None:
    """Whoever asks holds no lock: the customers can be locked while it waits."""
    world = due(database, 3)

    class Looking(Till):
        def charge(self, request: ChargeRequest) -> Outcome:
            with database.transaction() as conn:
                conn.execute("SET LOCAL lock_timeout = '1s'")
                customers.lock(conn, world.act.account_id, world.customer_ids)
            return super().charge(request)

    till.__class__ = Looking
    world.pass_time(FINAL)
    assert till.asked == 3
    assert statuses(world)[0] == ["paid"] * 3


# ─── Statements ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def one_connection(database: Database) -> Iterator[Database]:
    """The same database through a single connection, whose statements can all be counted."""
    alone = Database(database.url, pool_size=1)
    yield alone
    alone.close()


@pytest.mark.parametrize(
    "moods", [["good", "good"], ["declines", "declines"], ["good", "declines"]]
)
def test_the_number_of_invoices_does_not_change_the_statements(
    one_connection: Database, till: Till, moods: list[str]
) -> None:
    few, many = (
        _statements_of_collecting(one_connection, till, moods * times) for times in (1, 100)
    )
    assert few == many
    assert len(many) < 56


def _statements_of_collecting(database: Database, till: Till, moods: list[str]) -> list[str]:
    """Of finalizing, attempting, and recording the outcomes of, as many invoices as moods."""
    world = due(database, len(moods))
    till.moods = list(moods)
    with database.connection() as conn:
        only = conn  # given back to the pool, and the next to be taken from it
    with counted(only) as statements:
        finalize_due_drafts(database, world.at(FINAL), FINAL)
    return statements
