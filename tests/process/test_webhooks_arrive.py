"""Every event arrives, in order for each object, whatever the receiver and the deliverer do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
import stripe
from cryptography.fernet import Fernet
from delivering import SOON

import database as databases
from postpaid import clock, deliverer, ids
from postpaid.billing import manage_keys, manage_webhook_endpoints
from postpaid.billing.announce import Announcement, announce
from postpaid.billing.perform import Act
from postpaid.core.deliveries import DISABLE_AFTER, DeliveryStatus, EndpointStatus, Facade, Payload
from postpaid.core.values import replace
from postpaid.storage import deliveries, delivery_attempts, events, webhook_endpoints
from postpaid.storage.customers import Customer
from postpaid.storage.database import Database
from postpaid.storage.deliveries import Delivery
from postpaid.storage.paging import Page
from postpaid.storage.vault import Vault
from postpaid.storage.webhook_endpoints import WebhookEndpoint
from receiver import LOOPBACK, Receiver, in_order, receiving

KEY = Fernet.generate_key().decode()


@dataclass
class Merchant:
    """An account in which things happen."""

    database: Database
    act: Act

    def endpoint(self, url: str, *types: str, payload: Payload = Payload.SNAPSHOT) -> str:
        endpoint = WebhookEndpoint(
            id=ids.new_id("we"),
            url=url,
            enabled_events=types or ("*",),
            facade=Facade.STRIPE,
            payload=payload,
            status=EndpointStatus.ENABLED,
            created_at=self.act.now,
        )
        with self.database.transaction() as conn:
            manage_webhook_endpoints.create_endpoint(conn, self.act, endpoint, self.database.vault)
        return endpoint.id

    def another_account(self) -> Act:
        now = clock.now()
        with self.database.transaction() as conn:
            account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=now)
        return Act(account.account_id, False, "test", now, ids.new_id)

    def secret(self, endpoint_id: str) -> str:
        with self.database.connection() as conn:
            secret = manage_webhook_endpoints.secret_of(
                conn, self.act, endpoint_id, self.database.vault
            )
        assert secret is not None
        return secret

    def happen(self, *customer_ids: str, type: str = "customer.updated") -> list[str]:
        """Something happens to the customers, one after the other; returns the events' ids."""
        made: list[str] = []

        def new_id(prefix: str) -> str:
            made.append(ids.new_id(prefix))
            return made[-1]

        said = [
            Announcement(type, "customer", each, Customer(each, "ACME", self.act.now))
            for each in customer_ids
        ]
        with self.database.transaction() as conn:
            announce(conn, replace(self.act, new_id=new_id), said)
        return [each for each in made if each.startswith("evt_")]

    def deliveries(self, endpoint_id: str) -> list[Delivery]:
        """Those to the endpoint, oldest first."""
        with self.database.connection() as conn:
            rows = deliveries.list_page(
                conn, self.act.account_id, Page(limit=1000), endpoint_id=endpoint_id
            ).rows
        return rows[::-1]

    def statuses(self, endpoint_id: str) -> set[DeliveryStatus]:
        return {each.status for each in self.deliveries(endpoint_id)}

    def look(self, endpoint_id: str) -> WebhookEndpoint:
        with self.database.connection() as conn:
            return webhook_endpoints.load(conn, self.act.account_id, [endpoint_id])[endpoint_id]

    def last_errors(self, endpoint_id: str) -> set[str | None]:
        of_endpoint = [each.id for each in self.deliveries(endpoint_id)]
        with self.database.connection() as conn:
            found = delivery_attempts.list_many(conn, self.act.account_id, of_endpoint)
        return {attempts[0].error for attempts in found.values() if attempts}


@pytest.fixture(scope="module")
def database(server_url: str) -> Iterator[Database]:
    with databases.clone(server_url) as url:
        opened = Database(url, pool_size=12, vault=Vault([KEY]))
        yield opened
        opened.close()


@pytest.fixture
def merchant(database: Database) -> Iterator[Merchant]:
    now = clock.now()
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=now)
    yield Merchant(database, Act(account.account_id, False, "test", now, ids.new_id))
    with database.transaction() as conn:  # what the next test delivers is its own
        conn.execute("UPDATE webhook_endpoints SET status = 'disabled'")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@contextmanager
def delivering(database: Database, **more: Any) -> Iterator[None]:
    """A deliverer in a thread, until the block ends; patient, since a busy machine is slow."""
    stop = threading.Event()
    manner: dict[str, Any] = {"timeout_s": 30, "delays": SOON} | more
    allowed = manner.pop("allowed", LOOPBACK)
    thread = threading.Thread(target=deliverer.run, args=(database, stop, allowed), kwargs=manner)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def wait_until(condition: Callable[[], bool]) -> None:
    Receiver().wait_until(condition)


# ─── What arrives ────────────────────────────────────────────────────────────────────────────


def test_both_verifiers_accept_what_is_sent(merchant: Merchant, receiver: Receiver) -> None:
    endpoint = merchant.endpoint(f"{receiver.url}/hooks?a=b")
    [event_id] = merchant.happen("cus_1")
    with delivering(merchant.database):
        receiver.wait_for(1)
        wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.DELIVERED})

    [sent] = receiver.received
    secret = merchant.secret(endpoint)
    event = stripe.Webhook.construct_event(sent.body, sent.headers["stripe-signature"], secret)
    assert event.id == event_id
    assert event.data.object["id"] == "cus_1"
    assert standardwebhooks.Webhook(secret).verify(sent.body, dict(sent.headers))["id"] == event_id
    assert sent.headers["webhook-id"] == event_id
    assert sent.path == "/hooks?a=b"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(sent.body + b" ", sent.headers["stripe-signature"], secret)


def test_a_thin_endpoint_is_told_where_to_look(merchant: Merchant, receiver: Receiver) -> None:
    endpoint = merchant.endpoint(receiver.url, payload=Payload.THIN)
    [event_id] = merchant.happen("cus_1")
    with delivering(merchant.database):
        receiver.wait_for(1)
    [sent] = receiver.received
    client = stripe.StripeClient("sk_test_unused")
    told = client.parse_event_notification(
        sent.body, sent.headers["stripe-signature"], merchant.secret(endpoint)
    )
    assert told.id == event_id
    assert told.type == "v1.customer.updated"


def test_an_endpoint_gets_the_types_it_wants(merchant: Merchant, receiver: Receiver) -> None:
    merchant.endpoint(f"{receiver.url}/some", "customer.created", "invoice.*")
    merchant.endpoint(f"{receiver.url}/kind", "customer.*")
    merchant.happen("cus_1", type="customer.created")
    merchant.happen("cus_1", type="customer.updated")
    with delivering(merchant.database):
        receiver.wait_until(lambda: len(receiver.taken) == 3)
    by_path = sorted((each.path, each.event["type"]) for each in receiver.taken)
    assert by_path == [
        ("/kind", "customer.created"),
        ("/kind", "customer.updated"),
        ("/some", "customer.created"),
    ]


def test_a_renewed_secret_and_the_former_one_both_verify(
    merchant: Merchant, receiver: Receiver
) -> None:
    endpoint = merchant.endpoint(receiver.url)
    former = merchant.secret(endpoint)
    with merchant.database.transaction() as conn:
        manage_webhook_endpoints.rotate_secret(
            conn,
            merchant.act,
            endpoint,
            overlap=timedelta(hours=1),
            vault=merchant.database.vault,
        )
    renewed = merchant.secret(endpoint)
    assert renewed != former
    merchant.happen("cus_1")
    with delivering(merchant.database):
        receiver.wait_for(1)
    [sent] = receiver.received
    for secret in (former, renewed):
        stripe.Webhook.construct_event(sent.body, sent.headers["stripe-signature"], secret)
        standardwebhooks.Webhook(secret).verify(sent.body, dict(sent.headers))


def test_a_former_secret_is_not_used_without_an_overlap(
    merchant: Merchant, receiver: Receiver
) -> None:
    endpoint = merchant.endpoint(receiver.url)
    former = merchant.secret(endpoint)
    with merchant.database.transaction() as conn:
        manage_webhook_endpoints.rotate_secret(
            conn, merchant.act, endpoint, overlap=timedelta(0), vault=merchant.database.vault
        )
    merchant.happen("cus_1")
    with delivering(merchant.database):
        receiver.wait_for(1)
    [sent] = receiver.received
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(sent.body, sent.headers["stripe-signature"], former)


# ─── Receivers that misbehave ────────────────────────────────────────────────────────────────


MOODS = ("hang", "redirect", "slow", "reset", "error")


def moody(until: int) -> Callable[[Any], str]:
    """Everything in turn, and then only what is right."""
    return lambda received: MOODS[received.number % 5] if received.number <= until else "ok"


def test_a_bad_receiver_gets_everything_in_order_though_the_deliverer_is_killed(
    merchant: Merchant,
) -> None:
    """Killed thrice, with SIGKILL, while it is sending; others go on where it was."""
    customers = [f"cus_{number}" for number in range(6)]
    with receiving(moody(60)) as receiver:
        endpoint = merchant.endpoint(receiver.url)
        expected: dict[str, list[str]] = {each: [] for each in customers}
        for _ in range(8):
            for customer, event_id in zip(customers, merchant.happen(*customers), strict=True):
                expected[customer].append(event_id)
        for kill in range(3):
            script = str(Path(__file__).with_name("delivering.py"))
            process = subprocess.Popen(
                [sys.executable, "-P", script, merchant.database.url, KEY],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            try:
                came = len(receiver.received)
                receiver.wait_until(lambda came=came: len(receiver.received) >= came + 7)  # type: ignore[misc]
            finally:
                process.kill()
                process.wait()
            with merchant.database.transaction() as conn:  # as if a minute had gone by
                conn.execute(
                    "UPDATE webhook_deliveries SET due_at = 'epoch' WHERE due_at > 'epoch'"
                )
            for customer, event_id in zip(customers, merchant.happen(*customers), strict=True):
                expected[customer].append(event_id)
            assert merchant.statuses(endpoint) != {DeliveryStatus.DELIVERED}, kill
        with delivering(merchant.database, timeout_s=0.5):
            receiver.wait_for(6 * 11)
            wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.DELIVERED})
        taken = receiver.first_taken()
    for of_customer in expected.values():
        assert in_order(taken, of_customer)


def test_a_slow_endpoint_keeps_no_other_waiting(merchant: Merchant, receiver: Receiver) -> None:
    with receiving(lambda received: "hang") as hanging:
        slow = merchant.endpoint(hanging.url)
        merchant.endpoint(receiver.url)
        merchant.happen(*(f"cus_{number}" for number in range(200)))
        with delivering(merchant.database):
            receiver.wait_for(200)
            assert merchant.statuses(slow) == {DeliveryStatus.PENDING}
            assert not hanging.taken


def test_an_answer_without_an_end_is_cut_off(merchant: Merchant) -> None:
    with receiving(lambda received: "long") as receiver:
        endpoint = merchant.endpoint(receiver.url)
        merchant.happen("cus_1", "cus_1")
        with delivering(merchant.database):
            wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.DELIVERED})
    delivered = merchant.deliveries(endpoint)
    with merchant.database.connection() as conn:
        logged = delivery_attempts.list_many(
            conn, merchant.act.account_id, [each.id for each in delivered]
        )
    assert [attempts[0].response for attempts in logged.values()] == ["x" * 500] * 2


def test_redirects_are_failures_and_go_nowhere(merchant: Merchant) -> None:
    with receiving(lambda received: "redirect") as receiver:
        endpoint = merchant.endpoint(receiver.url)
        merchant.happen("cus_1")
        with delivering(merchant.database, delays=SOON[:2]):
            wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.FAILED})
        assert {each.path for each in receiver.received} == {"/"}
        assert len(receiver.received) == 3
    [error] = merchant.last_errors(endpoint)
    assert error == "The answer was 307: redirects are not followed."


def test_what_is_given_up_lets_the_next_one_through(merchant: Merchant) -> None:
    with receiving() as receiver:
        endpoint = merchant.endpoint(receiver.url)
        [first, second] = merchant.happen("cus_1", "cus_1")
        receiver.mood = lambda received: "error" if received.event["id"] == first else "ok"
        with delivering(merchant.database, delays=SOON[:1]):
            receiver.wait_for(1)
            wait_until(lambda: DeliveryStatus.PENDING not in merchant.statuses(endpoint))
        assert [each["id"] for each in receiver.first_taken()] == [second]
        assert [each.event["id"] for each in receiver.received] == [first, first, second]


def test_an_endpoint_that_only_fails_for_three_days_is_disabled_and_that_is_told(
    merchant: Merchant, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving(lambda received: "error") as failing:
        dead = merchant.endpoint(failing.url, "customer.*")
        merchant.endpoint(receiver.url, "webhook_endpoint.disabled")
        with merchant.database.transaction() as conn:
            webhook_endpoints.update(
                conn,
                merchant.act.account_id,
                replace(merchant.look(dead), failing_since=merchant.act.now - DISABLE_AFTER),
            )
        merchant.happen("cus_1")
        with delivering(merchant.database):
            receiver.wait_for(1)
        assert merchant.look(dead).status == EndpointStatus.DISABLED
        assert f"{dead} was disabled" in caplog.text
        [told] = receiver.first_taken()
        assert told["data"]["object"]["id"] == dead
        assert told["data"]["previous_attributes"]["status"] == "enabled"
        assert "whsec" not in str(told)

        # What happens meanwhile is not for it; what was kept is sent when it is enabled again.
        merchant.happen("cus_2")
        failing.mood = lambda received: "ok"
        with merchant.database.transaction() as conn:
            manage_webhook_endpoints.update_endpoint(
                conn,
                merchant.act,
                dead,
                lambda before: replace(before, status=EndpointStatus.ENABLED),
            )
        with delivering(merchant.database):
            failing.wait_for(1)
            wait_until(lambda: merchant.statuses(dead) == {DeliveryStatus.DELIVERED})
        assert [each["data"]["object"]["id"] for each in failing.first_taken()] == ["cus_1"]


# ─── What changes while it is being sent ─────────────────────────────────────────────────────


@pytest.mark.parametrize("what", ["deleted", "disabled"])
def test_a_removed_endpoint_is_not_sent_what_was_in_hand(merchant: Merchant, what: str) -> None:
    with receiving(lambda received: "slow") as receiver:
        endpoint = merchant.endpoint(receiver.url)
        merchant.happen(*(f"cus_{number % 40}" for number in range(200)))
        with delivering(merchant.database):
            receiver.wait_until(lambda: len(receiver.received) >= 20)
            with merchant.database.transaction() as conn:
                if what == "deleted":
                    manage_webhook_endpoints.delete_endpoint(conn, merchant.act, endpoint)
                else:
                    manage_webhook_endpoints.update_endpoint(
                        conn,
                        merchant.act,
                        endpoint,
                        lambda before: replace(before, status=EndpointStatus.DISABLED),
                    )
        assert len(receiver.received) < 150  # what was on its way, and not all that was in hand


def test_an_endpoint_that_moves_gets_the_rest_where_it_is(
    merchant: Merchant, receiver: Receiver
) -> None:
    with receiving(lambda received: "slow") as former:
        endpoint = merchant.endpoint(former.url)
        merchant.happen(*(f"cus_{number % 40}" for number in range(200)))
        with delivering(merchant.database):
            former.wait_until(lambda: len(former.received) >= 20)
            with merchant.database.transaction() as conn:
                manage_webhook_endpoints.update_endpoint(
                    conn, merchant.act, endpoint, lambda before: replace(before, url=receiver.url)
                )
            wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.DELIVERED})
        assert len(receiver.received) > 50
        assert len(receiver.received) + len(former.received) == 200


def test_a_hundred_dead_endpoints_leave_room_for_a_living_one(
    merchant: Merchant, receiver: Receiver
) -> None:
    """They have their turns too: each is tried, though not all at once."""
    with receiving(lambda received: "hang") as dead:
        for number in range(100):
            other = Merchant(merchant.database, merchant.another_account())
            gone = other.endpoint(f"{dead.url}/{number}")
            other.happen("cus_1")
            with merchant.database.transaction() as conn:
                webhook_endpoints.update(
                    conn,
                    other.act.account_id,
                    replace(other.look(gone), failing_since=merchant.act.now),
                )
        merchant.endpoint(receiver.url)
        merchant.happen("cus_1")
        forever = (timedelta(days=1),) * 3
        with delivering(merchant.database, delays=forever):
            receiver.wait_for(1)
            assert len(dead.received) <= deliverer.LINES_FAILING_MAX
        with delivering(merchant.database, timeout_s=0.5, delays=forever):
            dead.wait_until(lambda: len({each.path for each in dead.received}) == 100)


def test_where_secrets_cannot_be_opened_nothing_is_sent_and_that_is_said_once(
    merchant: Merchant, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        merchant.endpoint(f"{receiver.url}/{number}")
    merchant.happen("cus_1")
    elsewhere = Database(merchant.database.url, pool_size=6, vault=Vault.of_new_key())
    try:
        with delivering(elsewhere):
            wait_until(lambda: "POSTPAID_SECRET_KEY" in caplog.text)
            with delivering(merchant.database):
                receiver.wait_until(lambda: len(receiver.taken) == 3)
    finally:
        elsewhere.close()
    assert caplog.text.count("POSTPAID_SECRET_KEY") == 1
    assert "Traceback" not in caplog.text
    assert "whsec" not in caplog.text


# ─── Where nothing is sent ───────────────────────────────────────────────────────────────────


def test_nothing_is_sent_inside_unless_it_is_allowed(
    merchant: Merchant, receiver: Receiver
) -> None:
    endpoint = merchant.endpoint(receiver.url)
    merchant.happen("cus_1")
    with delivering(merchant.database, allowed=(), delays=()):
        wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.FAILED})
    assert not receiver.received
    [error] = merchant.last_errors(endpoint)
    assert error is not None
    assert "127.0.0.1 is not a public address" in error


def test_a_name_is_looked_up_once_and_the_address_that_was_checked_is_used(
    merchant: Merchant, receiver: Receiver
) -> None:
    """A name that first is public and then is not: what was checked is where it connects to."""
    port = receiver.url.rpartition(":")[2]
    endpoint = merchant.endpoint(f"http://turning.example:{port}/")
    asked: list[str] = []

    def turning(host: str) -> list[str]:
        asked.append(host)
        return ["192.0.2.1"] if len(asked) == 1 else ["127.0.0.1"]

    merchant.happen("cus_1")
    with delivering(merchant.database, allowed=("192.0.2.0/24",), look_up=turning, delays=SOON[:1]):
        wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.FAILED})
    assert asked == ["turning.example"] * 2  # once for each attempt
    assert not receiver.received


def test_a_name_with_one_bad_address_among_good_ones_is_refused(
    merchant: Merchant, receiver: Receiver
) -> None:
    port = receiver.url.rpartition(":")[2]
    endpoint = merchant.endpoint(f"http://many.example:{port}/")
    merchant.happen("cus_1")
    with delivering(
        merchant.database,
        look_up=lambda host: ["127.0.0.1", "::ffff:10.0.0.1"],
        delays=(),
    ):
        wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.FAILED})
    assert not receiver.received


def test_a_name_that_may_be_reached_is(merchant: Merchant, receiver: Receiver) -> None:
    port = receiver.url.rpartition(":")[2]
    merchant.endpoint(f"http://good.example:{port}/")
    merchant.happen("cus_1")
    with delivering(merchant.database, look_up=lambda host: ["127.0.0.1"]):
        receiver.wait_for(1)
    assert receiver.received[0].headers["host"] == f"good.example:{port}"


def test_a_name_that_nobody_knows_is_a_failure(merchant: Merchant) -> None:
    def unknown(host: str) -> list[str]:
        raise OSError("Name or service not known")

    endpoint = merchant.endpoint("https://unknown.example/")
    merchant.happen("cus_1")
    with delivering(merchant.database, look_up=unknown, delays=()):
        wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.FAILED})
    [error] = merchant.last_errors(endpoint)
    assert error is not None
    assert "unknown.example" in error


# ─── Any number of deliverers ────────────────────────────────────────────────────────────────


def test_several_deliverers_share_the_work_and_keep_the_order(
    merchant: Merchant, receiver: Receiver
) -> None:
    endpoint = merchant.endpoint(receiver.url)
    with (
        delivering(merchant.database),
        delivering(merchant.database),
        delivering(merchant.database),
    ):
        made = [merchant.happen("cus_1", "cus_2", "cus_3") for _ in range(60)]
        receiver.wait_for(180)
        wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.DELIVERED})
    assert len(receiver.received) == 180  # each once, as nobody died
    taken = receiver.first_taken()
    for place in range(3):
        assert in_order(taken, [each[place] for each in made])


def test_several_deliverers_keep_the_order_while_some_attempts_fail(merchant: Merchant) -> None:
    """Events go on happening, three deliverers are at it, and every seventh attempt fails."""
    customers = [f"cus_{number}" for number in range(6)]
    with receiving(lambda received: "ok" if received.number % 7 else "error") as receiver:
        endpoint = merchant.endpoint(receiver.url)
        with (
            delivering(merchant.database),
            delivering(merchant.database),
            delivering(merchant.database),
        ):
            made = [merchant.happen(*customers) for _ in range(20)]
            receiver.wait_for(120)
            wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.DELIVERED})
        taken = receiver.first_taken()
        assert len(receiver.taken) == 120  # each once, as nobody died
    for place in range(6):
        assert in_order(taken, [each[place] for each in made])


def test_an_event_that_is_gone_is_given_up(merchant: Merchant, receiver: Receiver) -> None:
    endpoint = merchant.endpoint(receiver.url)
    [event_id] = merchant.happen("cus_1")
    with merchant.database.transaction() as conn:
        assert events.find(conn, merchant.act.account_id, event_id)
        conn.execute("DELETE FROM events WHERE id = %s", (event_id,))
    with delivering(merchant.database, delays=()):
        wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.FAILED})
    assert merchant.last_errors(endpoint) == {"The event is no longer kept."}
