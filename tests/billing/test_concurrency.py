"""Several at once: passes against passes, people against passes, people against people."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from postpaid.billing import collect, correct, subscribe
from postpaid.billing import pay as payment
from postpaid.billing.change import cancel_now
from postpaid.billing.check_sold import NewItem, NewSubscription
from postpaid.billing.manage_customers import delete_customer
from postpaid.billing.pass_time import PASSES, run_passes, settle_abandoned
from postpaid.core.errors import BillingError
from postpaid.storage.database import Connection, Database
from world import END, FEE, HOUR, START, World, make_world

FINAL = END + HOUR
SUBSCRIBERS = 300


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Start all of them at one moment; what each returned, or the business error it raised."""
    ready = threading.Barrier(len(works))
    results: list[Any] = [None] * len(works)

    def run(place: int, work: Callable[[], Any]) -> None:
        ready.wait()
        try:
            results[place] = work()
        except BillingError as error:
            results[place] = error
        except Exception as failure:
            results[place] = failure

    threads = [threading.Thread(target=run, args=each) for each in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, BillingError):
            raise result
    return results


def passes(world: World, now: Any) -> Callable[[], int]:
    """Runs the passes until it finds nothing more; returns how much it did."""

    def run() -> int:
        done = 0
        while more := run_passes(world.database, world.at(now), wall=now):
            done += more
        return done

    return run


def finish(world: World, now: Any) -> None:
    """What was skipped because another held it is still due: do it."""
    passes(world, now)()


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_that_share_the_work_bill_everyone_once(database: Database, workers: int) -> None:
    world = make_world(database, SUBSCRIBERS)
    world.use(world.customer_ids, 1100)

    for now in (END, FINAL):
        at_once(*[passes(world, now)] * workers)
        finish(world, now)

    invoices = world.invoices()
    assert Counter(invoice.subscription_id for invoice in invoices) == Counter(
        world.subscription_ids
    )
    assert {(invoice.status.value, invoice.total) for invoice in invoices} == {("paid", FEE + 100)}
    assert {str(invoice.number)[-5:] for invoice in invoices} == {"-0001"}
    assert world.findings() == []


def test_workers_in_small_batches_share_the_work(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of seven, so that the two are at it in turns for long."""
    monkeypatch.setattr("postpaid.billing.pass_time.BATCH", 7)
    world = make_world(database, 100)
    for now in (END, FINAL):
        assert sum(at_once(passes(world, now), passes(world, now))) <= 100
        finish(world, now)
    assert Counter(each.subscription_id for each in world.invoices()) == Counter(
        world.subscription_ids
    )
    assert {each.status.value for each in world.invoices()} == {"paid"}
    assert world.findings() == []


def test_every_pass_against_every_pass(database: Database) -> None:
    """Closing, finalizing and expiring at once, over months, as late workers do."""
    world = make_world(database, 50)
    for days in (0, 31, 62, 93):
        now = END + timedelta(days=days) + HOUR
        works = [
            lambda each=each, now=now: each(database, world.at(now), now)
            for each in PASSES
            for _ in range(2)
        ]
        at_once(*works)
        finish(world, now)
    last = END + timedelta(days=94) + HOUR
    finish(world, last)
    assert len(world.invoices()) == 50 * 4
    assert {each.status.value for each in world.invoices()} == {"paid"}
    assert world.findings() == []


# ─── People and passes ───────────────────────────────────────────────────────────────────────


def do(database: Database, work: Callable[[Connection], Any]) -> Any:
    with database.transaction() as conn:
        return work(conn)


def pay(world: World, invoice_id: str) -> Callable[[], Any]:
    def run() -> None:
        act = world.at(FINAL)
        paying = do(world.database, lambda conn: payment.pay(conn, act, invoice_id))
        payment.finish_paying(world.database, act, paying, declines_raise=True)

    return run


def test_a_person_and_a_pass_finalize_a_draft_once(database: Database) -> None:
    world = make_world(database, 20)
    finish(world, END)
    drafts = world.invoices()

    def by_hand(invoice_id: str) -> Callable[[], Any]:
        return lambda: do(
            database, lambda conn: payment.finalize_now(conn, world.at(FINAL), invoice_id)
        )

    at_once(passes(world, FINAL), *(by_hand(each.id) for each in drafts[:6]))
    finish(world, FINAL)
    settle(world)

    assert {each.status.value for each in world.invoices()} == {"paid"}
    assert {str(each.number)[-5:] for each in world.invoices()} == {"-0001"}
    assert world.findings() == []


def settle(world: World) -> None:
    """Attempts that were begun by hand here, and are finished by no request."""
    settle_abandoned(world.database, world.at(FINAL), wall=FINAL + 2 * collect.LEASE)


def test_several_people_pay_one_invoice_once(database: Database) -> None:
    world = make_world(database, 1)
    finish(world, END)
    [draft] = world.invoices()

    results = at_once(*[pay(world, draft.id)] * 6)

    [invoice] = world.invoices()
    assert (invoice.status.value, invoice.amount_paid) == ("paid", FEE)
    assert all(each is None or "already paid" in str(each) for each in results)
    assert attempts(world) == {"succeeded": 1}
    assert world.findings() == []


def attempts(world: World) -> dict[str, int]:
    """How many attempts there are of each status."""
    with world.database.connection() as conn:
        rows = conn.execute(
            "SELECT status, count(*) FROM payment_attempts WHERE account_id = %s GROUP BY 1",
            (world.act.account_id,),
        )
        return dict(rows.fetchall())


def test_to_pay_and_to_void_exclude_each_other(database: Database) -> None:
    for _ in range(5):
        world = make_world(database, 1, card="pm_card_chargeCustomerFail")
        finish(world, END)
        finish(world, FINAL)
        with database.transaction() as conn:
            conn.execute(
                "UPDATE payment_methods SET gateway_token = 'pm_card_visa' WHERE account_id = %s",
                (world.act.account_id,),
            )
        [invoice] = world.invoices()

        at_once(
            pay(world, invoice.id),
            lambda world=world, id=invoice.id: do(
                database, lambda conn: correct.void_now(conn, world.at(FINAL), id)
            ),
        )

        [after] = world.invoices()
        [subscription] = world.subscriptions()
        assert after.status in ("paid", "void")
        assert after.amount_paid == (FEE if after.status == "paid" else 0)
        assert subscription.status == "active"
        assert world.findings() == []


def test_an_end_and_a_renewal_at_once(database: Database) -> None:
    """Whoever is first: one that is canceled is not renewed after it, and no draft is collected."""
    world = make_world(database, 30)

    def cancel(ids: Sequence[str]) -> Callable[[], Any]:
        def run() -> None:
            for each in ids:
                do(
                    database,
                    lambda conn, each=each: cancel_now(conn, world.at(END), each),
                )

        return run

    at_once(
        passes(world, END),
        cancel(world.subscription_ids[:10]),
        cancel(world.subscription_ids[10:20]),
    )
    finish(world, END)
    finish(world, FINAL)

    by_subscription = {each.subscription_id: each for each in world.invoices()}
    for subscription in world.subscriptions()[:20]:
        assert (subscription.status, subscription.closes_at) == ("canceled", None)
        draft = by_subscription.get(subscription.id)
        assert draft is None or (draft.status, draft.finalizes_at) == ("draft", None)
    for subscription in world.subscriptions()[20:]:
        assert by_subscription[subscription.id].status == "paid"
    assert world.findings() == []


def test_a_customer_that_is_deleted_while_it_is_billed(database: Database) -> None:
    world = make_world(database, 20)

    def delete() -> None:
        for each in world.customer_ids[:10]:
            do(database, lambda conn, each=each: delete_customer(conn, world.at(END), each))

    at_once(passes(world, END), delete)
    finish(world, END)
    finish(world, FINAL)

    statuses = Counter(each.status.value for each in world.subscriptions())
    assert statuses == {"canceled": 10, "active": 10}
    paid = [each.customer_id for each in world.invoices() if each.status == "paid"]
    assert sorted(paid) == sorted(world.customer_ids[10:])
    assert world.findings() == []


def test_a_customer_who_subscribes_many_times_at_once_gets_numbers_without_gaps(
    database: Database,
) -> None:
    world = make_world(database, 1)
    [customer] = world.customer_ids

    def begin() -> None:
        asked = NewSubscription(customer, [NewItem(world.licence_id)])
        begun = do(database, lambda conn: subscribe.subscribe(conn, world.act, asked))
        subscribe.finish(database, world.act, begun)

    at_once(*[begin] * 8)

    numbers = sorted(str(each.number)[-5:] for each in world.invoices())
    assert numbers == [f"-{n:04}" for n in range(1, 9)]
    assert attempts(world) == {"succeeded": 8}
    assert world.findings() == []


def test_usage_that_arrives_while_the_books_are_closed_is_on_the_invoice_or_late(
    database: Database,
) -> None:
    """It was sent a second before the hour is over, and stored before or after the invoice is."""
    world = make_world(database, 10)
    finish(world, END)

    def report() -> None:
        for _ in range(20):
            world.use(
                world.customer_ids,
                2000,
                at=START + HOUR,
                received_at=FINAL - timedelta(seconds=1),
            )

    at_once(report, passes(world, FINAL))
    finish(world, FINAL)

    for invoice in world.invoices():
        billed = sum(line.quantity for line in invoice.lines if line.meter_id)
        assert billed % 2000 == 0
        assert invoice.total == FEE + max(0, int(billed) - 1000)
    assert world.findings() == []
