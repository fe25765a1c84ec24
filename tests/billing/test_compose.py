"""Discounts and taxes on drafts: how many statements they cost, and who comes first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import pytest

from postpaid.billing.change_discounts import discount_customer
from postpaid.billing.close_periods import close_periods
from postpaid.billing.compose import compose
from postpaid.billing.finalize import finalize
from postpaid.billing.manage_coupons import create_coupon
from postpaid.billing.manage_discounts import AskedDiscount, Wanted, choose, discounts_from, redeem
from postpaid.billing.manage_tax_rates import create_tax_rate
from postpaid.core.discounts import Coupon, Duration
from postpaid.core.errors import InvalidRequest
from postpaid.core.invoicing import Invoice
from postpaid.core.tax_rates import TaxRate
from postpaid.storage import (
    coupons,
    customers,
    subscription_items,
    subscriptions,
    subscriptions_due,
)
from postpaid.storage.database import Connection, Database
from statements import counted
from world import END, FEE, HOUR, World, make_world


def new_coupon(world: World, **terms: object) -> str:
    terms = {"duration": Duration.FOREVER, "percent_off": Decimal(10)} | terms
    with world.database.transaction() as conn:
        coupon = Coupon(world.act.new_id("coupon"), created_at=world.act.now, **terms)  # type: ignore[arg-type]
        return create_coupon(conn, world.act, coupon).id


def adjust_all(world: World, coupon_id: str) -> None:
    """Every subscription gets the coupon, every item a tax rate, every customer the coupon too."""
    with world.database.transaction() as conn:
        rate = TaxRate(world.act.new_id("txr"), "VAT", Decimal(20), False, world.act.now)
        create_tax_rate(conn, world.act, rate)
        found = customers.lock(conn, world.act.account_id, world.customer_ids)
        before = subscriptions.load(conn, world.act.account_id, world.subscription_ids).values()
        after = []
        for each in before:
            [discount] = discounts_from(
                conn,
                world.act,
                [AskedDiscount(coupon_id)],
                customer=found[each.customer_id],
                currency="usd",
                subscription_id=each.id,
            )
            discount_customer(conn, world.act, each.customer_id, AskedDiscount(coupon_id))
            items = tuple(replace(item, tax_rate_ids=[rate.id]) for item in each.items)
            after.append(replace(each, discount_ids=[discount.id], items=items))
        subscriptions.update_many(conn, world.act.account_id, after)
        subscription_items.update_many(
            conn, world.act.account_id, [item for each in after for item in each.items]
        )


def drafts_of(conn: Connection, world: World) -> list[Invoice]:
    due = subscriptions_due.claim_closing(conn, world.act.account_id, None, now=END, limit=500)
    return close_periods(conn, world.at(END), due)


@pytest.mark.parametrize("terms", [{}, {"duration": Duration.ONCE}], ids=["for ever", "once"])
def test_the_number_of_drafts_does_not_change_the_statements(
    database: Database, terms: dict[str, object]
) -> None:
    few, many = (_statements(database, subscribers, terms) for subscribers in (1, 100))
    assert few == many


def _statements(database: Database, subscribers: int, terms: dict[str, object]) -> list[str]:
    world = make_world(database, subscribers)
    adjust_all(world, new_coupon(world, **terms))
    world.use(world.customer_ids, 1500)
    with database.transaction() as conn, counted(conn) as statements:
        drafts = drafts_of(conn, world)
        locked = customers.lock(conn, world.act.account_id, world.customer_ids)
        final = finalize(conn, world.at(END + HOUR), drafts, locked)
    expected = (FEE + 500) * 9 // 10
    assert [each.total for each in final] == [expected * 12 // 10] * subscribers
    assert [each.subtotal for each in final] == [FEE + 500] * subscribers
    assert world.findings() == []
    return statements


def test_a_draft_without_any_costs_nothing_and_stays_itself(database: Database) -> None:
    world = make_world(database, 2)
    with database.transaction() as conn:
        drafts = drafts_of(conn, world)
        found = customers.load(conn, world.act.account_id, world.customer_ids)
        with counted(conn) as statements:
            composed = compose(conn, world.at(END), drafts, found)
    assert statements == []
    assert all(one is other for one, other in zip(drafts, composed, strict=True))


def test_what_is_composed_is_composed_again_to_the_same(database: Database) -> None:
    world = make_world(database, 2)
    adjust_all(world, new_coupon(world))
    with database.transaction() as conn:
        drafts = drafts_of(conn, world)
        found = customers.load(conn, world.act.account_id, world.customer_ids)
        again = compose(conn, world.at(END + HOUR), drafts, found)
    assert all(one is other for one, other in zip(drafts, again, strict=True))


def test_of_a_draft_its_own_discounts_hold_and_none_when_it_says_so(database: Database) -> None:
    world = make_world(database, 1)
    [customer_id] = world.customer_ids
    tenth, half = new_coupon(world), new_coupon(world, percent_off=Decimal(50))
    with database.transaction() as conn:
        discount_customer(conn, world.act, customer_id, AskedDiscount(tenth))
        found = customers.lock(conn, world.act.account_id, [customer_id])
        [own] = discounts_from(
            conn,
            world.act,
            [AskedDiscount(half)],
            customer=found[customer_id],
            currency="usd",
            invoice_id="in_1",
        )
        [draft] = drafts_of(conn, world)
        assert (draft.total, draft.amount_due) == (FEE * 9 // 10, FEE * 9 // 10)

        totals = []
        for ids in ([own.id], [], None):
            asked = replace(draft, discount_ids=ids)
            [composed] = compose(conn, world.at(END), [asked], found)
            totals.append(composed.total)
        assert totals == [FEE // 2, FEE, FEE * 9 // 10]


def test_a_draft_keeps_the_discount_that_a_customer_loses_and_gets_none_that_comes_later(
    database: Database,
) -> None:
    world = make_world(database, 2)
    loses, gets = world.customer_ids
    tenth = new_coupon(world)
    with database.transaction() as conn:
        discount_customer(conn, world.act, loses, AskedDiscount(tenth))
        drafts = drafts_of(conn, world)
        later = world.at(END + HOUR / 2)
        half = new_coupon(world, percent_off=Decimal(50))
        discount_customer(conn, later, loses, AskedDiscount(half))
        discount_customer(conn, later, gets, AskedDiscount(half))
        found = customers.load(conn, world.act.account_id, world.customer_ids)
        composed = compose(conn, world.at(END + HOUR), drafts, found)
    by_customer = {each.customer_id: each.total for each in composed}
    assert by_customer == {loses: FEE * 9 // 10, gets: FEE}


@pytest.fixture
def racing(database: Database) -> Iterator[tuple[World, str]]:
    world = make_world(database, 8)
    yield world, new_coupon(world, max_redemptions=3)
    assert world.findings() == []


def test_many_at_once_redeem_no_more_than_there_are(racing: tuple[World, str]) -> None:
    world, coupon_id = racing
    together = threading.Barrier(len(world.customer_ids))
    refused: list[str] = []

    def take(customer_id: str) -> None:
        with world.database.transaction() as conn:
            locked = customers.lock(conn, world.act.account_id, [customer_id])
            chosen = choose(
                conn,
                world.act,
                [Wanted([AskedDiscount(coupon_id)], invoice_id="in_1")],
                customer=locked[customer_id],
                currency="usd",
            )
            together.wait(30)
            try:
                redeem(conn, world.act, chosen)
            except InvalidRequest as error:
                refused.append(str(error.code))
                raise

    def run(customer_id: str) -> None:
        with suppress(InvalidRequest):
            take(customer_id)

    threads = [threading.Thread(target=run, args=(each,)) for each in world.customer_ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["coupon_expired"] * 5
    with world.database.connection() as conn:
        [coupon] = coupons.load(conn, world.act.account_id, [coupon_id]).values()
    assert coupon.times_redeemed == 3
