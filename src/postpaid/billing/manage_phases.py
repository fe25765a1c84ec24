"""Add, change and remove price phases: a product's, and a subscription's that are to come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from postpaid.billing.copy_phases import (
    begin_schedule,
    carries_out_price_phases,
    check_base,
    prices_of,
    schedule_of,
)
from postpaid.billing.perform import Act
from postpaid.billing.subscribe import lock
from postpaid.billing.write_schedules import write
from postpaid.core.catalog import Price
from postpaid.core.cycles import zone_of
from postpaid.core.errors import ActionNotAllowed, NotFound
from postpaid.core.price_phases import (
    Edit,
    PricePhase,
    current,
    edited,
    leads_to,
    phase_of,
    planned,
    sold_item,
)
from postpaid.core.schedules import due_in
from postpaid.core.subscriptions import ENDED
from postpaid.core.values import replace
from postpaid.storage import catalog, price_phases
from postpaid.storage.database import Connection


def edit_product_phases(
    conn: Connection, act: Act, product_id: str, edit: Edit
) -> list[PricePhase]:
    """The product's phases after the edit, which is all or nothing.

    Who subscribes from now on gets them; running subscriptions keep theirs. Raises ``NotFound``,
    and ``InvalidRequest`` for phases that cannot be, or of a product that has no plain recurring
    price.
    """
    # Read.
    product = catalog.lock_product(conn, act.account_id, product_id)
    if product is None:
        raise NotFound.of("product", product_id, param="product")
    before = price_phases.of_products(conn, act.account_id, [product_id])[product_id]
    base = catalog.find_price(conn, act.account_id, product.default_price_id or "")

    # Decide.
    def new(given: Mapping[str, Any]) -> PricePhase:
        return PricePhase(
            act.new_id("phase"),
            product_id,
            None,
            created_at=act.now,
            updated_at=act.now,
            ordinal=given["ordinal"],
            pricing_type=given["pricing_type"],
        )

    after = edited(before, edit, new, act.now)
    if edit.added or edit.changed:
        check_base(base)
        assert base is not None
        assert base.model.unit_amount is not None
        for each in after:
            each.unit_amount(base.model.unit_amount)

    # Write.
    _write_rows(conn, act, before, after)
    return after


def edit_subscription_phases(
    conn: Connection, act: Act, subscription_id: str, edit: Edit
) -> list[PricePhase]:
    """The subscription's phases after the edit, which is all or nothing, and only of those to come.

    They begin with a period: after the running phase, or without one after the running period.
    Raises ``NotFound``, ``ActionNotAllowed`` for a phase that began, a subscription that has ended
    or one that follows a schedule of another kind, and ``InvalidRequest`` for phases that cannot
    be.
    """
    # Read.
    subscription, customer = lock(conn, act, subscription_id)
    act = act.at(customer.now(act.now), customer.clock_id)
    schedule = schedule_of(conn, act, subscription)
    if subscription.status in ENDED:
        raise ActionNotAllowed("A subscription that has ended has no phases to come.")
    if schedule is not None and not carries_out_price_phases(schedule):
        raise ActionNotAllowed(
            f"This subscription follows the schedule '{schedule.id}', which is not one of phases: "
            "change or release that first."
        )
    before = price_phases.of_subscriptions(conn, act.account_id, [subscription_id])[subscription_id]
    running, item = current(before), sold_item(subscription)
    base_id = running.base_price_id if running and running.base_price_id else item.price_id
    if schedule is not None and not leads_to(schedule, base_id):
        raise ActionNotAllowed("This subscription is to have another product: cancel that first.")
    base: Price = catalog.load_prices(conn, act.account_id, [base_id])[base_id]

    # Decide.
    def new(given: Mapping[str, Any]) -> PricePhase:
        return PricePhase(
            act.new_id("phase"),
            None,
            subscription_id,
            created_at=act.now,
            updated_at=act.now,
            ordinal=given["ordinal"],
            pricing_type=given["pricing_type"],
            base_price_id=base_id,
        )

    after = edited(before, edit, new, act.now)
    coming = [each for each in after if each.started_at is None]
    prices = prices_of(conn, act, coming, base) if coming else []
    coming = [replace(each, price_id=price.id) for each, price in zip(coming, prices, strict=True)]
    after = [*(each for each in after if each.started_at is not None), *coming]
    if schedule is not None and schedule.phase_index is not None:
        kept = schedule.phases[: schedule.phase_index + 1]
    else:
        phase_id = running.id if running else None
        kept = (
            phase_of(subscription, item.price_id, item.period_start, item.period_end, phase_id),
        )
    plan = kept
    if coming or (running and running.period_count is not None):
        assert base.recurrence is not None, "an item's price recurs"
        zone, start = zone_of(subscription), kept[-1].end_at
        plan = planned(subscription, kept, coming, base_id, base.recurrence, zone, start)

    # Write.
    _write_rows(conn, act, before, after)
    if schedule is None or schedule.phase_index is None:
        begin_schedule(conn, act, subscription, plan)
    elif plan != schedule.phases:
        due_at = due_in(plan, schedule.phase_index, act.now)
        write(conn, act, [(schedule, replace(schedule, phases=plan, due_at=due_at))])
    return after


def _write_rows(
    conn: Connection, act: Act, before: list[PricePhase], after: list[PricePhase]
) -> None:
    kept = {each.id for each in after}
    gone = {each.id for each in before if each.id not in kept}
    price_phases.delete_unstarted(conn, act.account_id, gone)
    price_phases.write_many(conn, act.account_id, [each for each in after if each not in before])
