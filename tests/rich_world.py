"""A merchant whose subscribers have everything: discounts, taxes, credit, what is pending."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from postpaid.billing.change_discounts import discount_customer
from postpaid.billing.decide_items import NewInvoiceItem
from postpaid.billing.manage_coupons import create_coupon
from postpaid.billing.manage_credit_grants import NewGrant, grant_credit
from postpaid.billing.manage_discounts import AskedDiscount, discounts_from
from postpaid.billing.manage_invoice_items import create_invoice_item
from postpaid.billing.manage_tax_rates import create_tax_rate
from postpaid.billing.move_balance import adjust_balance
from postpaid.billing.price_items import Asking
from postpaid.core.credits import GrantCategory
from postpaid.core.discounts import Coupon, Duration
from postpaid.core.tax_rates import TaxRate
from postpaid.storage import customers, subscription_items, subscriptions
from postpaid.storage.database import Connection, Database
from world import World, make_world

USED = 2000  # calls: a thousand of them beyond what the price includes
PENDING = 250  # an invoice item of everyone's
BALANCE = -700  # credit in minor units
THRESHOLD = 1_000_000  # one that nobody reaches unless told otherwise


def make_rich_world(
    database: Database,
    subscribers: int,
    *,
    card: str = "pm_card_visa",
    threshold: int = THRESHOLD,
) -> World:
    """A world whose subscribers each have two discounts, two taxes, a balance, two grants, a
    threshold, an invoice item that waits, and usage beyond what is included."""
    world = make_world(database, subscribers, card=card)
    with database.transaction() as conn:
        tenth = _coupon(conn, world, percent_off=Decimal(10), duration=Duration.FOREVER)
        dollar = _coupon(conn, world, amount_off=100, currency="usd", duration=Duration.ONCE)
        vat = _tax_rate(conn, world, Decimal(20), inclusive=False)
        within = _tax_rate(conn, world, Decimal("8.25"), inclusive=True)
        for customer_id in world.customer_ids:
            discount_customer(conn, world.act, customer_id, AskedDiscount(tenth))
            for category in (GrantCategory.PAID, GrantCategory.PROMOTIONAL):
                asked = NewGrant(customer_id, 300, "usd", category, {})
                grant_credit(conn, world.act, asked)
            adjust_balance(conn, world.act, customer_id, amount=BALANCE, currency="usd")
            waiting = NewInvoiceItem(Asking(amount=PENDING), currency="usd")
            create_invoice_item(conn, world.act, waiting, customer_id=customer_id)
        found = customers.lock(conn, world.act.account_id, world.customer_ids)
        before = subscriptions.load(conn, world.act.account_id, world.subscription_ids)
        after = []
        for each in before.values():
            [discount] = discounts_from(
                conn,
                world.act,
                [AskedDiscount(dollar)],
                customer=found[each.customer_id],
                currency="usd",
                subscription_id=each.id,
            )
            licence, calls = each.items
            items = (
                replace(licence, tax_rate_ids=[vat]),
                replace(calls, tax_rate_ids=[within]),
            )
            after.append(
                replace(
                    each,
                    discount_ids=[discount.id],
                    threshold_amount=threshold,
                    items=items,
                )
            )
        subscriptions.update_many(conn, world.act.account_id, after)
        subscription_items.update_many(
            conn, world.act.account_id, [item for each in after for item in each.items]
        )
    world.use(world.customer_ids, USED)
    return world


def _coupon(conn: Connection, world: World, **terms: object) -> str:
    coupon = Coupon(world.act.new_id("coupon"), created_at=world.act.now, **terms)  # type: ignore[arg-type]
    return create_coupon(conn, world.act, coupon).id


def _tax_rate(conn: Connection, world: World, percentage: Decimal, *, inclusive: bool) -> str:
    rate = TaxRate(world.act.new_id("txr"), "VAT", percentage, inclusive, world.act.now)
    create_tax_rate(conn, world.act, rate)
    return rate.id
