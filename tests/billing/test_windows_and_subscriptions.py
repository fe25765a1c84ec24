"""Usage of a meter that is billed by windows, and by subscriptions: by one of them, and once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from postpaid.billing import change as changing
from postpaid.billing import correct, draft_invoices, edit_lines
from postpaid.billing.bill_usage import NewBillingInvoice, bill_usage
from postpaid.billing.check_sold import NewItem, NewSubscription
from postpaid.billing.decide_items import ItemChange as ItemEdit
from postpaid.billing.draft_invoices import NewInvoice
from postpaid.billing.finalize import finalize
from postpaid.billing.grant_units import NewUnitCredit, grant_units
from postpaid.billing.price_items import Asking
from postpaid.billing.price_meters import AskedPrice, create_priced_meter
from postpaid.billing.subscribe import subscribe, subscribe_all
from postpaid.core.changes import Change, ItemChange
from postpaid.core.errors import ActionNotAllowed
from postpaid.core.invoicing import Invoice
from postpaid.core.metering import Aggregation
from postpaid.core.pricing import Model
from postpaid.core.subscriptions import CollectionMethod
from postpaid.core.values import replace
from postpaid.storage import catalog, customers, invoices, subscriptions, thresholds, unit_credits
from postpaid.storage.database import Database
from world import START, World, make_world

DAY = timedelta(days=1)


@pytest.fixture
def world(database: Database) -> World:
    """Who has used a meter that has a price of its own: 10 cents each."""
    made = make_world(database, 1)
    fields = {
        "display_name": "Bytes",
        "event_name": "byte",
        "aggregation": Aggregation.SUM,
        "customer_key": "customer",
        "value_key": "value",
    }
    with database.transaction() as conn:
        meter = create_priced_meter(conn, made.act, fields, AskedPrice("usd", Model(Decimal(10))))
    return replace(made, meter_id=meter.id, metered_id=meter.price_id or "")


def use(world: World, value: int, day: float) -> None:
    at = START + day * DAY
    world.use(world.customer_ids, value, at=at, received_at=at)


def bill(world: World, since: float, until: float, *, now: float) -> int:
    """What the window comes to."""
    with world.database.transaction() as conn:
        asked = NewBillingInvoice(
            world.customer_ids[0], START + since * DAY, START + until * DAY, days_until_due=7
        )
        [made] = bill_usage(conn, world.at(START + now * DAY), [asked])
    assert world.findings() == []
    return load(world, made.invoice_id).total


def load(world: World, invoice_id: str) -> Invoice:
    with world.database.connection() as conn:
        return invoices.load(conn, world.act.account_id, [invoice_id])[invoice_id]


def refused(world: World, since: float, until: float, *, now: float) -> str | None:
    with pytest.raises(ActionNotAllowed) as error:
        bill(world, since, until, now=now)
    return error.value.code


def begin(world: World, day: float, **more: object) -> str:
    """A subscription to the meter's price."""
    with world.database.transaction() as conn:
        asked = NewSubscription(
            customer_id=world.customer_ids[0],
            items=[NewItem(world.metered_id)],
            collection_method=CollectionMethod.SEND_INVOICE,
            days_until_due=7,
            **more,  # type: ignore[arg-type]
        )
        return subscribe(conn, world.at(START + day * DAY), asked).subscription_id


def end(world: World, subscription_id: str, day: float, *, invoice_now: bool) -> None:
    with world.database.transaction() as conn:
        act = world.at(START + day * DAY)
        ended = changing.cancel_now(conn, act, subscription_id, invoice_now=invoice_now)
    changing.finish(world.database, act, ended)


def test_what_was_used_before_a_subscription_began_is_billed_by_windows(world: World) -> None:
    for day in (0, 1, 2, 3):
        use(world, 10**day, day + 0.5)
    running = begin(world, 2)
    assert bill(world, 0, 1, now=4) == 10
    assert bill(world, 0, 4, now=4) == 100
    assert refused(world, 0, 4, now=4) == "usage_already_billed"
    assert refused(world, 2, 4, now=4) == "nothing_to_bill"
    end(world, running, 3.25, invoice_now=True)
    assert bill(world, 0, 4, now=4) == 10_000


def test_what_was_used_on_trial_stays_free(world: World) -> None:
    for day in (0, 1, 2):
        use(world, 10**day, day + 0.5)
    trying = begin(world, 1, trial_end_at=START + 3 * DAY)
    assert bill(world, 0, 2, now=2) == 10
    end(world, trying, 2, invoice_now=False)
    assert bill(world, 0, 3, now=3) == 1000


def test_a_price_that_is_added_leaves_what_windows_had_billed(world: World) -> None:
    """A metered item bills from when it is there, and the windows what came before it."""
    running = world.subscription_ids[0]
    use(world, 1, 0.5)
    assert bill(world, 0, 1, now=1) == 10
    use(world, 2, 1.5)
    with world.database.transaction() as conn:
        added = Change(running, items=[ItemChange(price_id=world.metered_id)])
        changing.change(conn, world.at(START + 2 * DAY), [added])
    use(world, 4, 2.5)
    assert bill(world, 0, 3, now=3) == 20
    end(world, running, 3, invoice_now=True)
    last = world.invoices()[-1]
    assert [
        (line.quantity, line.amount) for line in last.lines if line.price_id == world.metered_id
    ] == [(4, 40)]
    assert refused(world, 0, 3, now=4) == "usage_already_billed"


def test_a_subscription_that_a_schedule_begins_late_bills_what_is_left(world: World) -> None:
    """Somebody billed the first minutes of it while the worker was away."""
    use(world, 1, 0.5)
    use(world, 2, 1.5)
    assert bill(world, 0, 1.25, now=1.25) == 10
    with world.database.transaction() as conn:
        asked = NewSubscription(
            customer_id=world.customer_ids[0],
            items=[NewItem(world.metered_id)],
            collection_method=CollectionMethod.SEND_INVOICE,
            days_until_due=7,
            start_at=START + 1 * DAY,
        )
        [begun] = subscribe_all(conn, world.at(START + 2 * DAY), [asked], agreed=True)
        found = subscriptions.load(conn, world.act.account_id, [begun.subscription_id])
    [item] = found[begun.subscription_id].items
    assert item.usage_start == START + 1.25 * DAY
    end(world, begun.subscription_id, 3, invoice_now=True)
    assert [line.quantity for line in world.invoices()[-1].lines if line.meter_id] == [2]
    assert refused(world, 0, 3, now=4) == "usage_already_billed"


def test_what_is_used_after_a_threshold_was_reached_and_the_end_is_billed_by_windows(
    world: World,
) -> None:
    """A threshold's invoice is of a whole period, of which the end may never come."""
    running = begin(world, 1, limits={"threshold_amount": 50})
    use(world, 10, 1.5)
    with world.database.transaction() as conn:
        thresholds.insert_many(conn, world.act.account_id, [running])
    world.pass_time(START + 1.75 * DAY)
    [billed] = [each for each in world.invoices() if each.subscription_id == running]
    assert [line.quantity for line in billed.lines if line.meter_id] == [10]
    end(world, running, 2, invoice_now=False)
    use(world, 3, 2.5)
    assert bill(world, 0, 3, now=3) == 30
    assert refused(world, 0, 3, now=3) == "usage_already_billed"


# ─── Revisions ───────────────────────────────────────────────────────────────────────────────


def test_a_revision_keeps_the_units_that_had_paid(world: World) -> None:
    credit_id = grant(world, 8)
    use(world, 10, 0.5)
    assert bill(world, 0, 1, now=1) == 20
    original = world.invoices()[-1]
    revision = revise(world, original)
    assert (revision.total, available(world, credit_id)) == (20, 0)
    with world.database.transaction() as conn:
        correct.void_now(conn, world.at(START + 2 * DAY), revision.id)
    assert available(world, credit_id) == 8
    assert revise(world, revision).total == 20
    assert available(world, credit_id) == 0
    assert world.findings() == []


def test_units_that_have_paid_for_something_else_do_not_pay_for_a_revision(world: World) -> None:
    credit_id = grant(world, 8)
    use(world, 10, 0.5)
    use(world, 3, 1.5)
    bill(world, 0, 1, now=1)
    original = world.invoices()[-1]
    with world.database.transaction() as conn:
        correct.void_now(conn, world.at(START + 2 * DAY), original.id)
    assert bill(world, 1, 2, now=2) == 0
    with pytest.raises(ActionNotAllowed) as refused:
        revise(world, original)
    assert refused.value.code == "unit_credit_used"
    assert available(world, credit_id) == 5
    assert world.findings() == []


def test_how_much_was_used_is_not_for_a_revision_to_say(world: World) -> None:
    use(world, 10, 0.5)
    bill(world, 0, 1, now=1)
    with world.database.transaction() as conn:
        act = world.at(START + 2 * DAY)
        asked = NewInvoice(None, original_id=world.invoices()[-1].id)
        draft = draft_invoices.create_invoice(conn, act, asked)
        less = ItemEdit(given=frozenset({"quantity"}), asking=Asking(quantity=Decimal(1)))
        with pytest.raises(ActionNotAllowed) as refused:
            edit_lines.update_lines(conn, act, draft.id, [(draft.lines[0].id, less)])
    assert refused.value.code == "invoice_not_editable"


def grant(world: World, units: int) -> str:
    with world.database.transaction() as conn:
        price = catalog.find_price(conn, world.act.account_id, world.metered_id)
        assert price is not None
        asked = NewUnitCredit(world.customer_ids[0], price.product_id, Decimal(units), None)
        return grant_units(conn, world.act, asked).id


def available(world: World, credit_id: str) -> Decimal:
    with world.database.connection() as conn:
        return unit_credits.load(conn, world.act.account_id, [credit_id])[credit_id].available


def revise(world: World, original: Invoice) -> Invoice:
    """The final revision of an invoice."""
    with world.database.transaction() as conn:
        act = world.at(START + 2 * DAY)
        draft = draft_invoices.create_invoice(conn, act, NewInvoice(None, original_id=original.id))
        locked = customers.lock(conn, act.account_id, world.customer_ids)
        [final] = finalize(conn, act, [draft], locked, parks=False)
    return final
