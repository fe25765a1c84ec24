"""The outbox: who gets what, in which order, and with how many statements."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from postpaid import clock, ids
from postpaid.billing import deliver, manage_keys, manage_webhook_endpoints, redeliver
from postpaid.billing.announce import Announcement, announce
from postpaid.billing.deliver import Taken, Tried
from postpaid.billing.perform import Act
from postpaid.billing.prune import Retention, prune
from postpaid.core.deliveries import (
    ATTEMPTS_KEPT,
    DISABLE_AFTER,
    LEASE,
    EndpointStatus,
    Facade,
    Outcome,
    Payload,
)
from postpaid.core.errors import InvalidRequest
from postpaid.core.values import replace
from postpaid.deliverer import RENDERS
from postpaid.storage import deliveries, delivery_attempts, events, webhook_endpoints
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection, Database
from postpaid.storage.vault import Vault, VaultError
from postpaid.storage.webhook_endpoints import WebhookEndpoint
from statements import counted

GOOD = Outcome(clock.now(), 1, 200, None, "thanks")
BAD = Outcome(clock.now(), 1, 500, "The answer was 500.", "oh no")


class Outbox:
    """One merchant's events and one endpoint of its."""

    def __init__(self, database: Database) -> None:
        now = clock.now()
        with database.transaction() as conn:
            account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=now)
        self.database = database
        self.act = Act(account.account_id, False, "test", now, ids.new_id)
        self.endpoint = self.new_endpoint()

    def new_endpoint(self) -> str:
        endpoint = WebhookEndpoint(
            id=ids.new_id("we"),
            url="https://example.com/",
            enabled_events=["*"],
            facade=Facade.STRIPE,
            payload=Payload.THIN,
            status=EndpointStatus.ENABLED,
            created_at=self.act.now,
        )
        with self.database.transaction() as conn:
            manage_webhook_endpoints.create_endpoint(conn, self.act, endpoint, self.database.vault)
        return endpoint.id

    def happen(self, *customer_ids: str) -> None:
        with self.database.transaction() as conn:
            announce_all(conn, self.act, customer_ids)

    def later(self, by: timedelta) -> Act:
        return replace(self.act, now=self.act.now + by)

    def take(self, act: Act | None = None, *, limit: int = 100) -> Taken | None:
        return deliver.take(self.database, act or self.act, self.endpoint, RENDERS, limit=limit)

    def record(self, taken: Taken, *tried: Tried, act: Act | None = None) -> None:
        with self.database.transaction() as conn:
            deliver.record(conn, act or self.act, self.endpoint, taken.leased_until, tried)

    def subjects(self, taken: Taken | None) -> list[list[str]]:
        """What was taken, by subject."""
        assert taken is not None
        return [[each.delivery.subject_id for each in train] for train in taken.trains]


def announce_all(conn: Connection, act: Act, customer_ids: Sequence[str]) -> None:
    said = [
        Announcement("customer.updated", "customer", each, Customer(each, "ACME", act.now))
        for each in customer_ids
    ]
    announce(conn, act, said)


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


def test_a_subjects_events_are_taken_together_and_by_one(outbox: Outbox) -> None:
    outbox.happen("cus_1", "cus_2", "cus_1")
    taken = outbox.take()
    assert outbox.subjects(taken) == [["cus_1", "cus_1"], ["cus_2"]]
    outbox.happen("cus_1", "cus_3")
    assert outbox.subjects(outbox.take()) == [["cus_3"]]  # behind what is leased nothing goes
    assert outbox.take() is None


def test_what_waited_is_due_when_what_was_before_it_is_done(outbox: Outbox) -> None:
    outbox.happen("cus_1")
    taken = outbox.take()
    assert taken is not None
    outbox.happen("cus_1", "cus_1")
    assert outbox.take() is None
    outbox.record(taken, Tried(taken.trains[0][0].delivery, GOOD))
    assert outbox.subjects(outbox.take()) == [["cus_1", "cus_1"]]


def test_what_failed_holds_up_its_subject_until_it_is_tried_again(outbox: Outbox) -> None:
    outbox.happen("cus_1", "cus_1", "cus_2")
    taken = outbox.take()
    assert taken is not None
    first, second = (each.delivery for each in taken.trains[0])
    outbox.record(
        taken, Tried(first, BAD), Tried(second, None), Tried(taken.trains[1][0].delivery, GOOD)
    )
    assert outbox.take() is None
    again = outbox.take(outbox.later(timedelta(seconds=7)))
    assert again is not None
    assert [each.delivery.id for each in again.trains[0]] == [first.id, second.id]


def test_what_a_dead_deliverer_had_is_another_ones_after_a_minute(outbox: Outbox) -> None:
    outbox.happen("cus_1", "cus_1")
    dead = outbox.take()
    assert dead is not None
    assert outbox.take(outbox.later(LEASE - timedelta(seconds=1))) is None
    alive = outbox.take(outbox.later(LEASE))
    assert outbox.subjects(alive) == outbox.subjects(dead)

    # The one that was thought dead comes back: what it says is no longer asked for.
    assert alive is not None
    outbox.record(dead, Tried(dead.trains[0][0].delivery, BAD), act=outbox.later(LEASE))
    outbox.record(
        alive, *(Tried(each.delivery, GOOD) for each in alive.trains[0]), act=outbox.later(LEASE)
    )
    assert outbox.take(outbox.later(LEASE * 3)) is None


def test_what_was_taken_and_not_tried_is_due_again(outbox: Outbox) -> None:
    outbox.happen("cus_1", "cus_1")
    taken = outbox.take()
    assert taken is not None
    outbox.record(taken, *(Tried(each.delivery, None) for each in taken.trains[0]))
    assert outbox.subjects(outbox.take()) == [["cus_1", "cus_1"]]


def test_a_few_are_taken_at_a_time_and_all_in_the_end(outbox: Outbox) -> None:
    outbox.happen(*(["cus_1"] * 30), *(["cus_2"] * 3))
    seen: list[str] = []
    for _ in range(50):
        taken = outbox.take(limit=4)
        if taken is None:
            break
        every = [each for train in taken.trains for each in train]
        assert len(every) <= 4
        outbox.record(taken, *(Tried(each.delivery, GOOD) for each in every))
        seen += [each.delivery.id for each in every]
    assert len(seen) == len(set(seen)) == 33


def test_a_disabled_endpoint_keeps_what_it_was_to_be_told(outbox: Outbox) -> None:
    outbox.happen("cus_1")

    def become(status: EndpointStatus) -> None:
        with outbox.database.transaction() as conn:
            manage_webhook_endpoints.update_endpoint(
                conn, outbox.act, outbox.endpoint, lambda before: replace(before, status=status)
            )

    become(EndpointStatus.DISABLED)
    outbox.happen("cus_2")
    assert outbox.take() is None
    become(EndpointStatus.ENABLED)
    assert outbox.subjects(outbox.take()) == [["cus_1"]]


def test_a_deleted_endpoint_is_told_nothing_more_and_its_deliveries_go(outbox: Outbox) -> None:
    other = outbox.new_endpoint()
    outbox.happen("cus_1")
    with outbox.database.transaction() as conn:
        manage_webhook_endpoints.delete_endpoint(conn, outbox.act, outbox.endpoint)
    outbox.happen("cus_1")
    assert outbox.take() is None
    prune(outbox.database, outbox.act, Retention())
    with outbox.database.connection() as conn:
        rows = conn.execute(
            "SELECT endpoint_id, count(*) FROM webhook_deliveries WHERE account_id = %s GROUP BY 1",
            (outbox.act.account_id,),
        ).fetchall()
    assert rows == [(other, 2)]


def test_settled_deliveries_are_kept_as_long_as_events(outbox: Outbox) -> None:
    outbox.happen("cus_1", "cus_2")
    taken = outbox.take()
    assert taken is not None
    outbox.record(taken, Tried(taken.trains[0][0].delivery, GOOD))
    keep = Retention(events=timedelta(days=30))
    prune(outbox.database, outbox.later(timedelta(days=29)), keep)
    assert len(all_of(outbox)) == 2
    prune(outbox.database, outbox.later(timedelta(days=31)), keep)
    assert [each.subject_id for each in all_of(outbox)] == ["cus_2"]  # still to be told


def all_of(outbox: Outbox) -> list[deliveries.Delivery]:
    with outbox.database.connection() as conn:
        rows = conn.execute(
            "SELECT id FROM webhook_deliveries WHERE account_id = %s", (outbox.act.account_id,)
        ).fetchall()
        return deliveries.load(conn, outbox.act.account_id, [row[0] for row in rows])


def test_how_many_endpoints_are_yet_to_be_told(outbox: Outbox) -> None:
    gone = outbox.new_endpoint()
    outbox.happen("cus_1")
    taken = outbox.take()
    assert taken is not None
    event_id = taken.trains[0][0].delivery.event_id

    def pending() -> dict[str, int]:
        with outbox.database.connection() as conn:
            return deliveries.pending_counts(
                conn, outbox.act.account_id, [event_id, "evt_no"], facade=Facade.STRIPE
            )

    assert pending() == {event_id: 2}
    outbox.record(taken, Tried(taken.trains[0][0].delivery, GOOD))
    assert pending() == {event_id: 1}
    with outbox.database.transaction() as conn:
        manage_webhook_endpoints.delete_endpoint(conn, outbox.act, gone)
    assert pending() == {}


def test_what_is_sent_again_keeps_the_order_among_what_is_pending(outbox: Outbox) -> None:
    outbox.happen("cus_1")
    taken = outbox.take()
    assert taken is not None
    old = taken.trains[0][0].delivery
    outbox.record(taken, Tried(old, GOOD))
    outbox.happen("cus_1", "cus_1")
    in_flight = outbox.take(limit=1)
    assert in_flight is not None
    with outbox.database.transaction() as conn:
        redeliver.resend_event(conn, outbox.act, old.event_id, endpoint_id=outbox.endpoint)
    again = outbox.take()
    assert again is not None
    [[only]] = again.trains  # not what another has in hand
    assert only.delivery.id == old.id
    assert only.delivery.attempts == 1


def test_a_range_is_sent_again_what_failed_or_all(outbox: Outbox) -> None:
    outbox.happen("cus_1", "cus_2", "cus_3")
    taken = outbox.take()
    assert taken is not None
    every = [train[0].delivery for train in taken.trains]
    outbox.record(taken, *(Tried(each, GOOD) for each in every))
    with outbox.database.transaction() as conn:
        conn.execute(
            "UPDATE webhook_deliveries SET status = 'failed' WHERE id = %s", (every[1].id,)
        )

    def again(**more: datetime | bool | None) -> int:
        manner = {"only_failed": True} | more
        with outbox.database.transaction() as conn:
            return redeliver.redeliver(conn, outbox.act, outbox.endpoint, **manner).count  # type: ignore[arg-type]

    hour = timedelta(hours=1)
    assert again(created_before=outbox.act.now) == 0
    assert again(created_from=outbox.act.now, created_before=outbox.act.now + hour) == 1
    assert again() == 0  # it is on its way
    assert again(only_failed=False) == 2
    assert outbox.subjects(outbox.take()) == [["cus_1"], ["cus_2"], ["cus_3"]]


def test_nothing_is_sent_again_to_a_disabled_endpoint(outbox: Outbox) -> None:
    with outbox.database.transaction() as conn:
        manage_webhook_endpoints.update_endpoint(
            conn,
            outbox.act,
            outbox.endpoint,
            lambda before: replace(before, status=EndpointStatus.DISABLED),
        )
        with pytest.raises(InvalidRequest, match="disabled"):
            redeliver.redeliver(conn, outbox.act, outbox.endpoint, only_failed=True)


def test_only_the_last_attempts_are_kept(outbox: Outbox) -> None:
    outbox.happen("cus_1")
    for _ in range(ATTEMPTS_KEPT + 5):
        taken = outbox.take()
        assert taken is not None
        outbox.record(taken, Tried(taken.trains[0][0].delivery, BAD))
        with outbox.database.transaction() as conn:
            conn.execute(
                "UPDATE webhook_deliveries SET status = 'pending', settled_at = NULL,"
                " due_at = 'epoch' WHERE account_id = %s",
                (outbox.act.account_id,),
            )
    [delivery] = all_of(outbox)
    assert delivery.attempts == ATTEMPTS_KEPT + 5
    with outbox.database.connection() as conn:
        kept = delivery_attempts.list_many(conn, outbox.act.account_id, [delivery.id])[delivery.id]
    assert [each.number for each in kept] == list(range(25, 5, -1))


# ─── What cannot be signed, shown, or blamed on the endpoint ─────────────────────────────────


@contextmanager
def another_machine(outbox: Outbox) -> Iterator[Database]:
    """The same database, from where secrets are sealed with another key."""
    database = Database(outbox.database.url, pool_size=2, vault=Vault.of_new_key())
    yield database
    database.close()


def test_what_cannot_be_signed_here_is_left_to_whoever_can(outbox: Outbox) -> None:
    outbox.happen("cus_1")
    with another_machine(outbox) as elsewhere, pytest.raises(VaultError, match="SECRET_KEY"):
        deliver.take(elsewhere, outbox.act, outbox.endpoint, RENDERS, limit=100)
    assert outbox.subjects(outbox.take()) == [["cus_1"]]


def test_a_secret_whose_key_is_lost_can_be_renewed(outbox: Outbox) -> None:
    outbox.happen("cus_1")
    with another_machine(outbox) as elsewhere:
        with elsewhere.transaction() as conn:
            manage_webhook_endpoints.rotate_secret(
                conn,
                outbox.act,
                outbox.endpoint,
                overlap=timedelta(days=1),
                vault=elsewhere.vault,
            )
        taken = deliver.take(elsewhere, outbox.act, outbox.endpoint, RENDERS, limit=100)
        assert taken is not None
        with elsewhere.connection() as conn:
            renewed = manage_webhook_endpoints.secret_of(
                conn, outbox.act, outbox.endpoint, elsewhere.vault
            )
    assert taken.secrets == [renewed]


def test_what_was_not_sent_does_not_count_against_the_endpoint(outbox: Outbox) -> None:
    outbox.happen("cus_1", "cus_2")
    unsent = replace(BAD, sent=False)
    for by in (timedelta(0), DISABLE_AFTER):
        taken = outbox.take(outbox.later(by))
        assert taken is not None
        tried = [Tried(train[0].delivery, unsent) for train in taken.trains]
        outbox.record(taken, *tried, act=outbox.later(by))
    assert {each.failures for each in all_of(outbox)} == {2}
    with outbox.database.connection() as conn:
        [endpoint] = webhook_endpoints.load(conn, outbox.act.account_id, [outbox.endpoint]).values()
    assert (endpoint.status, endpoint.failing_since) == (EndpointStatus.ENABLED, None)


def test_what_is_of_no_use_to_try_again_is_given_up_at_once(outbox: Outbox) -> None:
    outbox.happen("cus_1", "cus_1")
    taken = outbox.take()
    assert taken is not None
    first, second = (each.delivery for each in taken.trains[0])
    gone = replace(BAD, sent=False, again=False)
    outbox.record(taken, Tried(first, gone), Tried(second, None))
    assert [each.status for each in all_of(outbox)] == ["failed", "pending"]
    assert outbox.subjects(outbox.take()) == [["cus_1"]]


def test_what_comes_back_when_somebody_has_disabled_the_endpoint_does_not_judge_it(
    outbox: Outbox,
) -> None:
    outbox.happen("cus_1", "cus_2")
    taken = outbox.take()
    assert taken is not None
    outbox.record(taken, Tried(taken.trains[0][0].delivery, BAD))
    with outbox.database.transaction() as conn:
        disabled = manage_webhook_endpoints.update_endpoint(
            conn,
            outbox.act,
            outbox.endpoint,
            lambda before: replace(before, status=EndpointStatus.DISABLED),
        )
    assert disabled.failing_since is None  # it is disabled by somebody, not for failing
    outbox.record(taken, Tried(taken.trains[1][0].delivery, BAD))
    with outbox.database.connection() as conn:
        found = webhook_endpoints.load(conn, outbox.act.account_id, [outbox.endpoint])
    assert found == {outbox.endpoint: disabled}


def test_enabling_again_hastens_only_so_many(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manage_webhook_endpoints, "HASTENED_MAX", 2)
    outbox.happen("cus_1", "cus_2", "cus_3")
    for by in (
        timedelta(0),
        timedelta(seconds=7),
        timedelta(minutes=1),
    ):  # the next is minutes away
        taken = outbox.take(outbox.later(by))
        assert taken is not None
        tried = [Tried(train[0].delivery, BAD) for train in taken.trains]
        outbox.record(taken, *tried, act=outbox.later(by))
    for status in (EndpointStatus.DISABLED, EndpointStatus.ENABLED):
        with outbox.database.transaction() as conn:
            manage_webhook_endpoints.update_endpoint(
                conn,
                outbox.act,
                outbox.endpoint,
                lambda before, status=status: replace(before, status=status),  # type: ignore[misc]
            )
    assert len(outbox.subjects(outbox.take())) == 2


def test_one_that_fails_is_asked_about_one_event_of_each_object(outbox: Outbox) -> None:
    """So an event that it never takes does not keep it from being found alive."""
    outbox.happen("cus_0")
    taken = outbox.take()
    assert taken is not None
    outbox.record(taken, Tried(taken.trains[0][0].delivery, BAD))
    outbox.happen("cus_1", "cus_1", "cus_2")
    assert outbox.subjects(outbox.take(limit=4)) == [["cus_1"], ["cus_2"]]


def test_a_delivery_that_begins_again_while_its_event_is_pruned_is_not_lost_sight_of(
    outbox: Outbox,
) -> None:
    """What waits behind it is told of when it is given up."""
    outbox.happen("cus_1")
    taken = outbox.take()
    assert taken is not None
    old = taken.trains[0][0].delivery
    outbox.record(taken, Tried(old, GOOD))
    with outbox.database.transaction() as pruning:
        pruning.execute("DELETE FROM events WHERE id = %s", (old.event_id,))
        with outbox.database.transaction() as conn:
            redeliver.redeliver(conn, outbox.act, outbox.endpoint, only_failed=False)
        pruning.execute(
            events.DELETE_DELIVERIES,
            {"account_id": outbox.act.account_id, "ids": [old.event_id]},
        )
    outbox.happen("cus_1")
    again = outbox.take()
    assert again is not None
    [[first, second]] = again.trains
    assert (first.gone, first.body, second.gone) == (True, None, False)


def test_a_clock_that_goes_back_holds_up_nothing_new(outbox: Outbox) -> None:
    outbox.happen("cus_1", "cus_2")
    taken = outbox.take()
    assert taken is not None
    back = outbox.later(timedelta(hours=-1))
    outbox.record(taken, *(Tried(each[0].delivery, GOOD) for each in taken.trains), act=back)
    outbox.happen("cus_1")
    assert outbox.subjects(outbox.take(back)) == [["cus_1"]]


# ─── What it costs ───────────────────────────────────────────────────────────────────────────


def test_announcing_costs_the_same_for_one_and_for_many(outbox: Outbox) -> None:
    costs = []
    for count in (1, 50):
        with outbox.database.transaction() as conn, counted(conn) as statements:
            announce_all(conn, outbox.act, [f"cus_{number}" for number in range(count)])
        costs.append(len(statements))
    assert costs == [3, 3]


def test_without_an_endpoint_announcing_costs_one_small_statement_more(database: Database) -> None:
    outbox = Outbox(database)
    with outbox.database.transaction() as conn:
        manage_webhook_endpoints.delete_endpoint(conn, outbox.act, outbox.endpoint)
        with counted(conn) as statements:
            announce_all(conn, outbox.act, ["cus_1"])
    assert len(statements) == 2


def test_recording_costs_the_same_for_one_and_for_many(outbox: Outbox) -> None:
    costs = []
    for count in (1, 50):
        outbox.happen(*(f"cus_{number}" for number in range(count)))
        taken = outbox.take()
        assert taken is not None
        tried = [Tried(train[0].delivery, GOOD) for train in taken.trains]
        assert len(tried) == count
        with outbox.database.transaction() as conn, counted(conn) as statements:
            deliver.record(conn, outbox.act, outbox.endpoint, taken.leased_until, tried)
        costs.append(len(statements))
    assert costs[0] == costs[1]
