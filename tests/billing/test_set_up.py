"""Setting payment methods up: what is not known, who dies in between, and everybody at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from postpaid.billing import manage_payment_methods, manage_setup_intents, set_up
from postpaid.billing.gateways import GATEWAYS
from postpaid.billing.manage_customers import delete_customer
from postpaid.billing.set_up import LEASE, Confirming, settle_abandoned_set_ups
from postpaid.core.errors import BillingError, Conflict, PaymentFailed
from postpaid.core.setup_intents import SetupIntent
from postpaid.outside.gateways.protocol import (
    Absent,
    Declined,
    Outcome,
    Processing,
    RequiresAction,
    SetupRequest,
    Succeeded,
    Unknown,
)
from postpaid.storage import events, payment_methods, setup_attempts, setup_intents
from postpaid.storage.database import Database
from postpaid.storage.paging import Page
from postpaid.storage.payments import AttemptStatus
from postpaid.storage.setup_attempts import SetupAttempt
from statements import counted
from world import START, World, make_world

LATER = START + 2 * LEASE
CARD = "pm_card_visa"
OTHER_CARD = "pm_card_mastercard"


@dataclass
class Bank:
    """A gateway that answers as it is told, and then well; it notes the keys that it was given."""

    answers: list[Outcome | Exception] = field(default_factory=list)
    nonsense: set[str] = field(default_factory=set)  # the tokens for which it says what none may
    keys: list[str] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    name: str = "test"

    def set_up(self, request: SetupRequest) -> Outcome:
        self.keys.append(request.idempotency_key)
        self.before()
        if request.token in self.nonsense:
            return Absent()  # type: ignore[return-value]
        answer = self.answers.pop(0) if self.answers else Succeeded("seti_1")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask_set_up(self, request: SetupRequest, reference: str) -> Outcome:
        assert reference == "seti_waiting"
        return self.set_up(request)


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> Bank:
    """The gateway of everyone's cards."""
    bank = Bank()
    monkeypatch.setitem(GATEWAYS, "test", bank)  # type: ignore[arg-type]
    return bank


def new_intent(world: World, place: int = 0) -> str:
    with world.database.transaction() as conn:
        made = manage_setup_intents.create_setup_intent(
            conn, world.act, customer_id=world.customer_ids[place], payment_method_id=None
        )
    return made.id


def begin(world: World, intent_id: str, card: str = CARD) -> Confirming:
    with world.database.transaction() as conn:
        return set_up.confirm(conn, world.act, intent_id, payment_method_id=card)


def finish(world: World, confirming: Confirming) -> None:
    set_up.finish_confirming(world.database, world.act, confirming)


def intent_of(world: World, intent_id: str) -> SetupIntent:
    with world.database.connection() as conn:
        return setup_intents.load(conn, world.act.account_id, [intent_id])[intent_id]


def attempts_of(world: World, intent_id: str) -> list[SetupAttempt]:
    """The attempts at it, oldest first."""
    with world.database.connection() as conn:
        page = Page(limit=100)
        account_id = world.act.account_id
        rows = setup_attempts.list_page(conn, account_id, page, setup_intent_id=intent_id).rows
    return rows[::-1]


def owner_of(world: World, method_id: str) -> str | None:
    with world.database.connection() as conn:
        found = payment_methods.find(conn, world.act.account_id, method_id)
    assert found is not None
    return found.customer_id


def said(world: World, intent_id: str) -> list[str]:
    with world.database.connection() as conn:
        page = Page(limit=100)
        found = events.list_page(conn, world.act.account_id, page, object_id=intent_id).rows
    return [each.type.partition(".")[2] for each in reversed(found)]


# ─── Not known ───────────────────────────────────────────────────────────────────────────────


def test_who_died_before_asking_leaves_an_attempt_that_the_worker_makes(
    database: Database, bank: Bank
) -> None:
    world = make_world(database, 1)
    intent_id = new_intent(world)
    begun = begin(world, intent_id)
    assert settle_abandoned_set_ups(database, world.act, wall=START) == 0  # whoever asks may live
    assert settle_abandoned_set_ups(database, world.at(LATER), wall=LATER) == 1
    done = intent_of(world, intent_id)
    assert (done.status, done.payment_method_id is not None) == ("succeeded", True)
    assert owner_of(world, done.payment_method_id or "") == world.customer_ids[0]
    assert bank.keys == [begun.attempt_id]
    assert settle_abandoned_set_ups(database, world.at(LATER), wall=LATER + LEASE) == 0
    finish(world, begun)  # and whoever was only slow finds it done
    assert said(world, intent_id) == ["created", "succeeded"]


@pytest.mark.parametrize(
    "lost", [Unknown("no answer"), TimeoutError("no answer")], ids=["unknown", "raises"]
)
def test_what_is_not_known_is_asked_about_again_with_the_same_key(
    database: Database, bank: Bank, lost: Outcome | Exception
) -> None:
    world = make_world(database, 1)
    intent_id = new_intent(world)
    bank.answers = [lost, lost]
    begun = begin(world, intent_id)
    finish(world, begun)
    assert intent_of(world, intent_id).status == "requires_confirmation"
    finish(world, begin(world, intent_id, intent_of(world, intent_id).payment_method_id or ""))
    settle_abandoned_set_ups(database, world.at(LATER), wall=LATER)
    assert intent_of(world, intent_id).status == "succeeded"
    assert bank.keys == [begun.attempt_id] * 3
    assert [each.status for each in attempts_of(world, intent_id)] == ["succeeded"]


def test_while_one_is_not_known_another_payment_method_has_to_wait(
    database: Database, bank: Bank
) -> None:
    world = make_world(database, 1)
    intent_id = new_intent(world)
    bank.answers = [Unknown("no answer")]
    finish(world, begin(world, intent_id))
    with pytest.raises(Conflict):
        begin(world, intent_id, OTHER_CARD)


def test_what_waits_for_somebody_is_asked_about_by_its_reference(
    database: Database, bank: Bank
) -> None:
    world = make_world(database, 1)
    intent_id = new_intent(world)
    waiting = RequiresAction("seti_waiting", url="https://bank.example/3ds")
    bank.answers = [waiting, waiting, Processing("seti_waiting")]
    finish(world, begin(world, intent_id))
    asked = intent_of(world, intent_id)
    assert asked.status == "requires_action"
    assert asked.next_action == {"url": "https://bank.example/3ds", "client_secret": None}

    statuses = []
    for hours in (1, 2, 3, 4):
        wall = START + timedelta(hours=hours)
        settle_abandoned_set_ups(database, world.at(wall), wall=wall)
        statuses.append(intent_of(world, intent_id).status.value)
    assert statuses == ["requires_action", "processing", "succeeded", "succeeded"]
    assert said(world, intent_id) == ["created", "requires_action", "succeeded"]


def test_a_decline_is_recorded_once_and_raised_for_everyone_who_asked(
    database: Database, bank: Bank
) -> None:
    world = make_world(database, 1)
    intent_id = new_intent(world)
    bank.answers = [Declined("card_declined", "lost_card", "Your card was declined.")]
    begun = begin(world, intent_id)
    for _ in range(2):
        with pytest.raises(PaymentFailed) as raised:
            finish(world, begun)
        assert raised.value.about["setup_intent"] == intent_id
    assert bank.keys == [begun.attempt_id]
    assert said(world, intent_id) == ["created", "setup_failed"]


# ─── What cannot be recorded ─────────────────────────────────────────────────────────────────


def test_an_outcome_that_cannot_be_recorded_keeps_no_other_from_being_recorded(
    database: Database, bank: Bank
) -> None:
    world = make_world(database, 5)
    with database.transaction() as conn:  # the first two are elsewhere in time
        conn.execute(
            "INSERT INTO test_clocks (account_id, id, status, frozen_at, created_at, deletes_at)"
            " VALUES (%(account)s, 'clock_1', 'ready', %(at)s, %(at)s, %(at)s)",
            {"account": world.act.account_id, "at": START},
        )
        conn.execute(
            "UPDATE customers SET clock_id = 'clock_1' WHERE account_id = %s AND id = ANY(%s)",
            (world.act.account_id, world.customer_ids[:2]),
        )
    intent_ids = [new_intent(world, place) for place in range(5)]
    for place, intent_id in enumerate(intent_ids):
        begin(world, intent_id, OTHER_CARD if place in (0, 3) else CARD)
    bad = [attempts_of(world, intent_ids[place])[0] for place in (0, 3)]
    bank.nonsense = {each.gateway_token for each in bad}

    with pytest.raises(ExceptionGroup) as raised:
        settle_abandoned_set_ups(database, world.at(LATER), wall=LATER)
    assert len(raised.value.exceptions) == 2
    waits, done = "requires_confirmation", "succeeded"
    statuses = [intent_of(world, each).status for each in intent_ids]
    assert statuses == [waits, done, done, waits, done]

    # They stay due, and one whose asker waits is told why.
    with pytest.raises(AssertionError):
        finish(world, Confirming(intent_ids[0], bad[0].id))
    bank.nonsense.clear()
    again = LATER + 2 * LEASE
    assert settle_abandoned_set_ups(database, world.at(again), wall=again) == 2
    assert {intent_of(world, each).status for each in intent_ids} == {done}


# ─── What else happens while the gateway is asked ────────────────────────────────────────────


def test_what_is_canceled_while_it_is_asked_about_stays_so(database: Database, bank: Bank) -> None:
    world = make_world(database, 1)
    intent_id = new_intent(world)

    def cancel() -> None:
        with database.transaction() as conn:
            manage_setup_intents.cancel_setup_intent(conn, world.act, intent_id, reason=None)

    bank.before = cancel
    finish(world, begin(world, intent_id))
    after = intent_of(world, intent_id)
    assert after.status == "canceled"
    assert owner_of(world, after.payment_method_id or "") is None
    assert [each.status for each in attempts_of(world, intent_id)] == [AttemptStatus.CANCELED]
    assert said(world, intent_id) == ["created", "canceled"]


def test_what_becomes_someone_elses_meanwhile_is_not_set_up(database: Database, bank: Bank) -> None:
    world = make_world(database, 2)
    intent_id = new_intent(world)
    begun = begin(world, intent_id)
    method_id = intent_of(world, intent_id).payment_method_id or ""

    def attach() -> None:
        with database.transaction() as conn:
            manage_payment_methods.attach_payment_method(
                conn, world.act, method_id, world.customer_ids[1]
            )

    bank.before = attach
    with pytest.raises(PaymentFailed, match="another customer"):
        finish(world, begun)
    assert owner_of(world, method_id) == world.customer_ids[1]
    assert intent_of(world, intent_id).status == "requires_payment_method"


def test_a_customer_who_leaves_meanwhile_gets_nothing(database: Database, bank: Bank) -> None:
    world = make_world(database, 1)
    intent_id = new_intent(world)
    begun = begin(world, intent_id)
    method_id = intent_of(world, intent_id).payment_method_id or ""

    def leave() -> None:
        with database.transaction() as conn:
            delete_customer(conn, world.act, world.customer_ids[0])

    bank.before = leave
    finish(world, begun)
    assert owner_of(world, method_id) is None
    assert intent_of(world, intent_id).status == "canceled"


# ─── At once ─────────────────────────────────────────────────────────────────────────────────


def test_of_many_who_confirm_at_once_one_attaches_it(database: Database) -> None:
    """And those who bring another card are told to wait, or that it is done."""
    world = make_world(database, 1)
    intent_id = new_intent(world)
    with database.transaction() as conn:
        cards = [
            manage_payment_methods.take(conn, world.act, card, param="payment_method").id
            for card in (CARD, OTHER_CARD)
        ]
    refused: list[BillingError] = []
    together = threading.Barrier(8)

    def confirm(card: str) -> None:
        together.wait()
        try:
            finish(world, begin(world, intent_id, card))
        except BillingError as error:
            refused.append(error)

    threads = [threading.Thread(target=confirm, args=(cards[i % 2],)) for i in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    done = intent_of(world, intent_id)
    assert done.status == "succeeded"
    owners = {each: owner_of(world, each) for each in cards}
    assert [key for key, owner in owners.items() if owner] == [done.payment_method_id]
    assert said(world, intent_id) == ["created", "succeeded"]
    assert len(attempts_of(world, intent_id)) == 1
    assert {each.code for each in refused} <= {None, "setup_intent_unexpected_state"} | {
        Conflict.default_code
    }


def test_to_confirm_and_to_cancel_at_once_ends_in_one_of_the_two(database: Database) -> None:
    world = make_world(database, 1)
    ends = set()
    for _ in range(8):
        intent_id = new_intent(world)
        together = threading.Barrier(2)

        def confirm(wanted: str, together: threading.Barrier) -> None:
            together.wait()
            with suppress(BillingError):
                finish(world, begin(world, wanted))

        def cancel(wanted: str, together: threading.Barrier) -> None:
            together.wait()
            with suppress(BillingError), database.transaction() as conn:
                manage_setup_intents.cancel_setup_intent(conn, world.act, wanted, reason=None)

        threads = [
            threading.Thread(target=each, args=(intent_id, together)) for each in (confirm, cancel)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        done = intent_of(world, intent_id)
        ends.add(done.status.value)
        attached = done.payment_method_id and owner_of(world, done.payment_method_id)
        assert bool(attached) == (done.status == "succeeded")
        assert said(world, intent_id) == ["created", done.status.value]
    assert ends <= {"succeeded", "canceled"}


def test_a_batch_of_attempts_takes_no_more_statements_than_one(
    database: Database,
) -> None:
    counts = []
    for many in (1, 7):
        world = make_world(database, many)
        for place in range(many):
            begin(world, new_intent(world, place))
        with database.transaction() as conn, counted(conn) as run:
            attempts = list(
                setup_attempts.load(
                    conn,
                    world.act.account_id,
                    setup_attempts.claim_unsettled(
                        conn,
                        world.act.account_id,
                        now=LATER,
                        leased_until=LATER,
                        recheck_at=LATER,
                        limit=100,
                    ),
                ).values()
            )
            outcomes = {each.id: Succeeded(each.id) for each in attempts}
            set_up.record_set_ups(conn, world.act, attempts, outcomes)
        assert len(attempts) == many
        counts.append(len(run))
    assert counts[0] == counts[1]
