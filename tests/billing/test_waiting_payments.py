"""Payments that wait, for a customer or a bank: asked about, replaced, given up; charged once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

import postpaid.api.server  # noqa: F401 (which declares what expands)
from postpaid.api.stripe.expand import expand, plan
from postpaid.billing import confirm as confirming
from postpaid.billing import correct
from postpaid.billing.check_sold import NewItem, NewSubscription, PaymentBehavior
from postpaid.billing.collect import LEASE
from postpaid.billing.confirm import Confirming, confirm, finish_confirming
from postpaid.billing.gateways import GATEWAYS
from postpaid.billing.manage_payment_intents import (
    NewPaymentIntent,
    cancel_payment_intent,
    create_payment_intent,
    finish_canceling,
)
from postpaid.billing.pass_time import expire_unpaid, settle_abandoned
from postpaid.billing.perform import Act, Answer, perform
from postpaid.billing.record_outcomes import RECHECK
from postpaid.billing.settle import settle
from postpaid.billing.subscribe import Begun, subscribe
from postpaid.billing.subscribe import finish as finish_subscribing
from postpaid.core.errors import ActionNotAllowed, Conflict, PaymentFailed
from postpaid.core.values import replace
from postpaid.outside.gateways.protocol import (
    Absent,
    ChargeRequest,
    Declined,
    Outcome,
    Processing,
    RequiresAction,
    Succeeded,
    Unknown,
)
from postpaid.storage import customers, payment_intents, payments, subscriptions
from postpaid.storage.database import Database
from postpaid.storage.payments import AttemptStatus, PaymentAttempt
from statements import counted
from world import FEE, START, World, make_world

DAY = timedelta(days=1)
LATER = START + 2 * LEASE  # when what nobody knows is asked about again
RECHECKED = START + 2 * LEASE + RECHECK  # when a bank, or a customer, is


class Killed(BaseException):
    """The process ends here: nobody handles this."""


@dataclass
class Desk:
    """A gateway that keeps every charge, by its key, in a state that the test may change."""

    first: str = "paid"  # what becomes of a charge that is new
    states: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    moods: list[str] = field(default_factory=list)  # how the next questions go, if not well
    name: str = "test"
    lock: threading.Lock = field(default_factory=threading.Lock)

    def charge(self, request: ChargeRequest) -> Outcome:
        with self.lock:
            mood = self._mood(f"charge {request.token}")
            if mood == "lost":
                return Unknown("it never arrived")
            if mood == "killed before":
                raise Killed
            self.states.setdefault(request.idempotency_key, self.first)
            if mood == "killed after":
                raise Killed
            return self._said(request.idempotency_key)

    def ask(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        with self.lock:
            if self._mood(f"ask {request.token}") == "silent":
                return Unknown("no answer")
            if request.idempotency_key not in self.states:
                return Absent()
            return self._said(request.idempotency_key)

    def cancel(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        with self.lock:
            if self._mood(f"cancel {request.token}") == "silent":
                return Unknown("no answer")
            key = request.idempotency_key
            if self.states.get(key) == "action":
                self.states[key] = "declined"
            return self._said(key) if key in self.states else Absent()

    def all_are(self, state: str) -> None:
        """What customers or banks have done in the meantime."""
        self.states = dict.fromkeys(self.states, state)

    @property
    def paid(self) -> int:
        return list(self.states.values()).count("paid")

    def _mood(self, call: str) -> str | None:
        self.calls.append(call.replace("pm_card_", ""))
        return self.moods.pop(0) if self.moods else None

    def _said(self, key: str) -> Outcome:
        reference = f"ch_{key}"
        return {
            "paid": Succeeded(reference),
            "action": RequiresAction(reference, client_secret=f"{reference}_secret"),
            "processing": Processing(reference),
            "declined": Declined("card_declined", None, "No.", reference),
        }[self.states[key]]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The gateway of everyone's cards."""
    desk = Desk()
    monkeypatch.setitem(GATEWAYS, "test", desk)  # type: ignore[arg-type]
    return desk


@dataclass(frozen=True)
class Started:
    """A subscription whose first payment was asked for, its customer being there."""

    world: World
    subscription_id: str
    intent_id: str
    invoice_id: str

    def status(self) -> str:
        with self.world.database.connection() as conn:
            found = subscriptions.load(conn, self.world.act.account_id, [self.subscription_id])
        return found[self.subscription_id].status.value

    def intent(self) -> str:
        return intent_status(self.world, self.intent_id)

    def attempts(self) -> list[PaymentAttempt]:
        return attempts_of(self.world, self.intent_id)

    def balance(self) -> int:
        with self.world.database.connection() as conn:
            found = customers.load(conn, self.world.act.account_id, self.world.customer_ids)
        return found[self.world.customer_ids[0]].balance


def intent_status(world: World, intent_id: str) -> str:
    with world.database.connection() as conn:
        return payment_intents.load(conn, world.act.account_id, [intent_id])[intent_id].status.value


def attempts_of(world: World, intent_id: str) -> list[PaymentAttempt]:
    with world.database.connection() as conn:
        return payments.of_intents(
            conn, world.act.account_id, [intent_id], statuses=list(AttemptStatus)
        )


def started(database: Database, desk: Desk, first: str) -> Started:
    desk.first = first
    world = make_world(database, 1)
    asked = NewSubscription(world.customer_ids[0], [NewItem(world.licence_id)], on_session=True)
    with database.transaction() as conn:
        begun = subscribe(conn, world.act, asked)
    finish_subscribing(database, world.act, begun)
    [invoice] = [each for each in world.invoices() if each.subscription_id == begun.subscription_id]
    assert invoice.payment_intent_id is not None
    return Started(world, begun.subscription_id, invoice.payment_intent_id, invoice.id)


def confirmed(world: World, intent_id: str, token: str | None = None) -> None:
    with world.database.transaction() as conn:
        begun = confirm(conn, world.act, intent_id, payment_method_id=token)
    finish_confirming(world.database, world.act, begun)


def recheck(world: World, wall: object = RECHECKED) -> int:
    return settle_abandoned(world.database, world.at(wall), wall=wall)  # type: ignore[arg-type]


# ─── Asked about ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", ["processing", "action"])
def test_what_waits_is_asked_about_until_it_is_decided(
    database: Database, desk: Desk, state: str
) -> None:
    story = started(database, desk, state)
    assert story.status() == "incomplete"
    assert desk.calls == ["charge visa"]

    # Not all the time, and not charged again; nothing changes before something is decided.
    assert recheck(story.world, START + RECHECK) == 0
    assert recheck(story.world) == 1
    assert recheck(story.world, RECHECKED + timedelta(minutes=5)) == 0
    assert desk.calls == ["charge visa", "ask visa"]

    desk.all_are("paid")
    recheck(story.world, RECHECKED + 2 * RECHECK)
    assert (story.status(), story.intent(), desk.paid) == ("active", "succeeded", 1)
    assert recheck(story.world, RECHECKED + DAY) == 0
    assert story.world.findings() == []


def test_a_bank_that_takes_days_outlasts_the_23_hours(database: Database, desk: Desk) -> None:
    story = started(database, desk, "processing")
    assert story.intent() == "processing"
    with pytest.raises(Conflict), database.transaction() as conn:
        correct.void_now(conn, story.world.act, story.invoice_id)
    assert expire_unpaid(database, story.world.at(START + DAY), START + DAY) == 0

    desk.all_are("declined")
    recheck(story.world, START + 2 * DAY)
    assert story.intent() == "requires_payment_method"
    assert expire_unpaid(database, story.world.at(START + 2 * DAY), START + 2 * DAY) == 1
    assert story.status() == "incomplete_expired"
    assert story.world.findings() == []


def test_one_that_never_arrived_is_charged_when_it_is_asked_about(
    database: Database, desk: Desk
) -> None:
    desk.moods = ["lost"]
    story = started(database, desk, "paid")
    assert story.status() == "incomplete"
    recheck(story.world, LATER)
    assert desk.calls == ["charge visa", "ask visa", "charge visa"]
    assert (story.status(), desk.paid) == ("active", 1)


# ─── Given up ────────────────────────────────────────────────────────────────────────────────


def test_what_waits_for_its_customer_is_given_up_with_its_invoice(
    database: Database, desk: Desk
) -> None:
    story = started(database, desk, "action")
    expire_unpaid(database, story.world.at(START + DAY), START + DAY)
    assert (story.status(), story.intent()) == ("incomplete_expired", "canceled")

    desk.moods = ["silent"]
    recheck(story.world, START + DAY)
    assert [each.status for each in story.attempts()] == ["action_required"]
    recheck(story.world, START + 2 * DAY)
    assert [each.status for each in story.attempts()] == ["canceled"]
    assert desk.calls == ["charge visa", "cancel visa", "cancel visa"]
    assert recheck(story.world, START + 3 * DAY) == 0
    assert (story.intent(), story.balance()) == ("canceled", 0)
    assert story.world.findings() == []


def test_a_first_payment_that_may_not_wait_is_given_up_at_once(
    database: Database, desk: Desk
) -> None:
    world = make_world(database, 1)
    desk.first = "action"
    begun = begin_or_fail(world)
    for _ in range(2):  # a repeat of the request says the same
        with pytest.raises(PaymentFailed) as refused:
            finish_subscribing(database, world.act, begun)
        assert refused.value.code == "subscription_payment_intent_requires_action"
    assert desk.calls == ["charge visa", "cancel visa"]
    [attempt] = attempts_of(world, refused.value.about["payment_intent"])
    assert attempt.status == "canceled"
    assert world.invoices()[-1].status == "void"
    assert world.findings() == []


def test_a_first_payment_that_a_bank_is_busy_with_is_no_error(
    database: Database, desk: Desk
) -> None:
    world = make_world(database, 1)
    desk.first = "processing"
    finish_subscribing(database, world.act, begin_or_fail(world))
    assert world.invoices()[-1].status == "open"
    desk.all_are("paid")
    recheck(world)
    assert world.invoices()[-1].status == "paid"
    assert world.findings() == []


def begin_or_fail(world: World) -> Begun:
    asked = NewSubscription(
        world.customer_ids[0],
        [NewItem(world.licence_id)],
        on_session=True,
        payment_behavior=PaymentBehavior.ERROR_IF_INCOMPLETE,
    )
    with world.database.transaction() as conn:
        return subscribe(conn, world.act, asked)


def test_money_that_came_all_the_same_is_the_customers_credit(
    database: Database, desk: Desk
) -> None:
    story = started(database, desk, "action")
    expire_unpaid(database, story.world.at(START + DAY), START + DAY)
    desk.all_are("paid")  # the customer was faster than we

    recheck(story.world, START + DAY)

    assert (story.status(), story.intent()) == ("incomplete_expired", "succeeded")
    assert story.balance() == -FEE
    [invoice] = [each for each in story.world.invoices() if each.id == story.invoice_id]
    assert (invoice.status, invoice.amount_paid) == ("void", 0)
    assert recheck(story.world, START + 2 * DAY) == 0
    assert story.world.findings() == []


def test_a_decline_that_comes_after_the_end_changes_nothing(database: Database, desk: Desk) -> None:
    """The gateway was asked before the invoice was void, and its answer is recorded after it."""
    story = started(database, desk, "action")
    [attempt] = story.attempts()

    class Slow(Desk):
        def ask(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
            with database.transaction() as conn:
                correct.void_now(conn, story.world.act, story.invoice_id)
            self.all_are("declined")
            return super().ask(request, reference)

    desk.__class__ = Slow
    settle(database, story.world.act, [attempt])
    assert (story.intent(), story.status()) == ("canceled", "incomplete_expired")
    assert [each.status for each in story.attempts()] == ["failed"]
    assert story.world.findings() == []


def test_one_of_no_invoice_is_given_up_at_once(database: Database, desk: Desk) -> None:
    world, intent_id = standalone(database)
    desk.first = "action"
    confirmed(world, intent_id, "pm_card_visa")
    with database.transaction() as conn:
        canceling = cancel_payment_intent(conn, world.act, intent_id, reason="abandoned")
    finish_canceling(database, world.act, canceling)
    finish_canceling(database, world.act, canceling)
    assert desk.calls == ["charge visa", "cancel visa"]
    assert [each.status for each in attempts_of(world, intent_id)] == ["canceled"]
    assert intent_status(world, intent_id) == "canceled"


def test_one_that_nobody_knows_of_cannot_be_given_up(database: Database, desk: Desk) -> None:
    world, intent_id = standalone(database)
    desk.moods = ["lost"]
    confirmed(world, intent_id, "pm_card_visa")
    with pytest.raises(Conflict), database.transaction() as conn:
        cancel_payment_intent(conn, world.act, intent_id, reason=None)
    confirmed(world, intent_id, "pm_card_mastercard")  # asks about that very one
    assert desk.calls == ["charge visa", "ask visa", "charge visa"]
    assert (intent_status(world, intent_id), desk.paid) == ("succeeded", 1)


# ─── Replaced ────────────────────────────────────────────────────────────────────────────────


def test_what_is_replaced_is_given_up_before_anything_else_is_charged(
    database: Database, desk: Desk
) -> None:
    story = started(database, desk, "action")
    desk.first = "paid"
    confirmed(story.world, story.intent_id, "pm_card_mastercard")
    assert desk.calls == ["charge visa", "cancel visa", "charge mastercard"]
    assert [each.status for each in story.attempts()] == ["canceled", "succeeded"]
    assert (story.status(), desk.paid) == ("active", 1)
    assert story.world.findings() == []


def test_what_is_replaced_may_turn_out_to_be_paid(database: Database, desk: Desk) -> None:
    story = started(database, desk, "action")
    desk.all_are("paid")
    confirmed(story.world, story.intent_id, "pm_card_mastercard")
    assert desk.calls == ["charge visa", "cancel visa"]
    assert [each.status for each in story.attempts()] == ["succeeded", "canceled"]
    assert (story.status(), story.intent(), desk.paid) == ("active", "succeeded", 1)
    assert story.balance() == 0
    assert story.world.findings() == []


def test_nothing_is_charged_while_nobody_knows_of_what_is_replaced(
    database: Database, desk: Desk
) -> None:
    story = started(database, desk, "action")
    desk.first = "paid"
    desk.moods = ["silent"]
    confirmed(story.world, story.intent_id, "pm_card_mastercard")
    assert [each.status for each in story.attempts()] == ["action_required", "pending"]

    recheck(story.world)
    assert desk.calls == [
        "charge visa",
        *["cancel visa"] * 2,
        "ask mastercard",
        "charge mastercard",
    ]
    assert (story.status(), desk.paid) == ("active", 1)
    assert story.world.findings() == []


def test_a_bank_that_has_begun_is_waited_for_before_anything_else_is_charged(
    database: Database, desk: Desk
) -> None:
    story = started(database, desk, "action")
    desk.all_are("processing")
    desk.first = "paid"
    confirmed(story.world, story.intent_id, "pm_card_mastercard")
    recheck(story.world)
    assert [each.status for each in story.attempts()] == ["action_required", "pending"]
    assert "charge mastercard" not in desk.calls

    desk.all_are("paid")
    recheck(story.world, START + DAY)
    assert [each.status for each in story.attempts()] == ["succeeded", "canceled"]
    assert (story.status(), desk.paid) == ("active", 1)
    assert recheck(story.world, START + 2 * DAY) == 0


def test_one_that_was_paid_before_its_replacement_is_made_is_enough(
    database: Database, desk: Desk
) -> None:
    """Whoever wrote the second died; the first is heard of by itself, and then the second."""
    story = started(database, desk, "action")
    with database.transaction() as conn:
        begun = confirm(
            conn, story.world.act, story.intent_id, payment_method_id="pm_card_mastercard"
        )
    desk.all_are("paid")
    settle(database, story.world.act, story.attempts()[:1])
    assert story.status() == "active"

    finish_confirming(database, story.world.act, begun)
    recheck(story.world)

    assert desk.calls == ["charge visa", "ask visa"]
    assert [each.status for each in story.attempts()] == ["succeeded", "canceled"]
    assert (desk.paid, story.balance()) == (1, 0)


def test_the_customer_cannot_authenticate_what_is_being_replaced(
    database: Database, desk: Desk
) -> None:
    story = started(database, desk, "action")
    with database.transaction() as conn:
        confirm(conn, story.world.act, story.intent_id, payment_method_id="pm_card_mastercard")
    with pytest.raises(ActionNotAllowed), database.transaction() as conn:
        confirming.authenticate(conn, story.world.act, story.intent_id, succeeds=True)


# ─── Killed, and at once ─────────────────────────────────────────────────────────────────────


def standalone(database: Database) -> tuple[World, str]:
    """A payment intent of no invoice."""
    world = make_world(database, 1)
    with database.transaction() as conn:
        asked = NewPaymentIntent(500, "usd", customer_id=world.customer_ids[0])
        made = create_payment_intent(conn, world.act, asked)
    return world, made.id


def by_request(world: World, act: Act, intent_id: str, token: str) -> Answer:
    """As the API does it: the attempt in one transaction, the rest after it."""

    def begin(conn: object) -> dict[str, object]:
        begun = confirm(conn, act, intent_id, payment_method_id=token)  # type: ignore[arg-type]
        return {"intent": begun.intent_id, "attempts": begun.attempt_ids}

    def finish(begun: object) -> Answer:
        which = Confirming(begun["intent"], begun["attempts"])  # type: ignore[index]
        finish_confirming(world.database, act, which)
        return Answer(200, {"status": intent_status(world, intent_id)})

    return perform(world.database, act, "confirm", {"intent": intent_id}, begin, finish)


@pytest.mark.parametrize("mood", ["killed before", "killed after"])
@pytest.mark.parametrize("who", ["a repeat", "the worker", "another"])
def test_a_confirmation_that_is_killed_charges_once(
    database: Database, desk: Desk, mood: str, who: str
) -> None:
    world, intent_id = standalone(database)
    desk.moods = [mood]
    act = replace(world.act, idempotency_key="once", request_id="req_1")
    with pytest.raises(Killed):
        by_request(world, act, intent_id, "pm_card_visa")

    after: dict[str, Callable[[], object]] = {
        "a repeat": lambda: by_request(
            world, replace(act, now=LATER, request_id="req_2"), intent_id, "pm_card_visa"
        ),
        "the worker": lambda: recheck(world, LATER),
        "another": lambda: confirmed(world, intent_id, "pm_card_mastercard"),
    }
    after[who]()

    assert (intent_status(world, intent_id), desk.paid) == ("succeeded", 1)
    assert [each.status for each in attempts_of(world, intent_id)] == ["succeeded"]
    answer = by_request(
        world, replace(act, now=LATER, request_id="req_3"), intent_id, "pm_card_visa"
    )
    assert answer.body == {"status": "succeeded"}
    assert desk.paid == 1
    assert world.findings() == []


def test_many_who_confirm_at_once_charge_once(database: Database, desk: Desk) -> None:
    world, intent_id = standalone(database)
    errors: list[Exception] = []

    def go(token: str) -> None:
        try:
            confirmed(world, intent_id, token)
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=go, args=(token,))
        for token in ("pm_card_visa", "pm_card_mastercard", "pm_card_amex") * 2
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert all(isinstance(each, ActionNotAllowed) for each in errors)  # it had succeeded by then
    assert (intent_status(world, intent_id), desk.paid) == ("succeeded", 1)
    assert world.findings() == []


@pytest.mark.parametrize("turn", range(5))
def test_a_payment_and_its_end_at_once_leave_one_of_them(
    database: Database, desk: Desk, turn: int
) -> None:
    world, intent_id = standalone(database)
    refused: list[Exception] = []

    def pays() -> None:
        try:
            confirmed(world, intent_id, "pm_card_visa")
        except ActionNotAllowed as error:
            refused.append(error)

    def cancels() -> None:
        try:
            with database.transaction() as conn:
                made = cancel_payment_intent(conn, world.act, intent_id, reason=None)
            finish_canceling(database, world.act, made)
        except (ActionNotAllowed, Conflict) as error:
            refused.append(error)

    both = [threading.Thread(target=each) for each in (pays, cancels)]
    for each in both[:: 1 if turn % 2 else -1]:
        each.start()
    for each in both:
        each.join()
    status = intent_status(world, intent_id)
    assert (status, desk.paid) in {("succeeded", 1), ("canceled", 0)}
    assert len(refused) == 1


# ─── Statements ──────────────────────────────────────────────────────────────────────────────


def test_the_number_of_payments_does_not_change_the_statements(
    database: Database, desk: Desk
) -> None:
    """Of asking about what waits, whatever it was replaced by."""
    alone = Database(database.url, pool_size=1, vault=database.vault)
    try:
        few, many = (_statements_of_asking(alone, desk, times) for times in (1, 20))
    finally:
        alone.close()
    assert few == many
    assert len(many) < 60


def _statements_of_asking(database: Database, desk: Desk, times: int) -> list[str]:
    desk.first = "action"
    world = make_world(database, times)
    found: list[PaymentAttempt] = []
    for customer_id in world.customer_ids:
        with database.transaction() as conn:
            asked = NewPaymentIntent(500, "usd", customer_id=customer_id)
            made = create_payment_intent(conn, world.act, asked)
        confirmed(world, made.id, "pm_card_visa")
        found += attempts_of(world, made.id)
    desk.all_are("paid")
    with database.connection() as conn:
        only = conn  # given back to the pool, and the next to be taken from it
    with counted(only) as statements:
        settle(database, world.act, found)
    return statements


def test_the_gateways_own_secret_is_what_confirms_the_payment(
    database: Database, desk: Desk
) -> None:
    story = started(database, desk, "action")
    [attempt] = story.attempts()
    shown: dict[str, object] = {"id": story.invoice_id, "object": "invoice"}
    wanted = plan("invoice", ["confirmation_secret"])
    with database.connection() as conn:
        expand(conn, story.world.act, wanted, [shown])
        assert shown["confirmation_secret"] == {
            "client_secret": f"ch_{attempt.id}_secret",
            "type": "payment_intent",
        }
        desk.all_are("paid")
        recheck(story.world)
        expand(conn, story.world.act, wanted, [shown])
        assert shown["confirmation_secret"] is None
