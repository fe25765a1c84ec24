"""An account with a meter, two prices and many subscribers, written quickly for measuring."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from postpaid import clock, ids
from postpaid.billing import manage_alerts, manage_keys
from postpaid.billing.open_windows import open_windows
from postpaid.billing.perform import Act
from postpaid.core.alerts import AlertRecurrence
from postpaid.core.periods import Interval, Recurrence, period_at_index
from postpaid.core.subscriptions import (
    BillingMode,
    CollectionMethod,
    Item,
    Subscription,
    SubscriptionStatus,
)
from postpaid.storage import catalog, subscriptions
from postpaid.storage.database import Database, copy_into

START = datetime(2026, 1, 1, 10, 51, 40, tzinfo=UTC)
END = datetime(2026, 2, 1, 10, 51, 40, tzinfo=UTC)
NOW = END - timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class World:
    """What was made, and an act in its account at ``NOW``."""

    act: Act
    meter_id: str
    licence_id: str
    metered_id: str
    customer_ids: list[str]


def make_world(database: Database, *, customers: int, account_id: int | None = None) -> World:
    """The account with its catalogue and customers, each with a card that always pays."""
    with database.transaction() as conn:
        if account_id is None:
            row = conn.execute(
                "INSERT INTO accounts (id, livemode, name, created_at)"
                " VALUES (%s, false, %s, %s) RETURNING account_id",
                (ids.new_id("acct"), ids.new_id("bench"), START),
            ).fetchone()
            assert row is not None
            account_id = int(row[0])
        meter_id, product_id = ids.new_id("mtr"), ids.new_id("prod")
        licence_id, metered_id = ids.new_id("price"), ids.new_id("price")
        conn.execute(
            "INSERT INTO meters (account_id, id, display_name, event_name, aggregation,"
            " customer_key, value_key, status, created_at, updated_at, accepts_past_s,"
            " accepts_future_s, cancels_within_s) VALUES"
            " (%s, %s, 'Calls', 'api_call', 'sum', 'stripe_customer_id', 'value', 'active',"
            " %s, %s, 3024000, 300, 86400)",
            (account_id, meter_id, START, START),
        )
        conn.execute(
            "INSERT INTO products (account_id, id, name, active, type, created_at, updated_at)"
            " VALUES (%s, %s, 'Calls', true, 'service', %s, %s)",
            (account_id, product_id, START, START),
        )
        conn.execute(
            "INSERT INTO prices (account_id, id, product_id, active, currency, interval,"
            " interval_count, usage_type, unit_amount, created_at)"
            " VALUES (%s, %s, %s, true, 'usd', 'month', 1, 'licensed', 9900, %s)",
            (account_id, licence_id, product_id, START),
        )
        conn.execute(
            "INSERT INTO prices (account_id, id, product_id, active, currency, interval,"
            " interval_count, usage_type, meter_id, tiers_mode, tiers, created_at)"
            " VALUES (%s, %s, %s, true, 'usd', 'month', 1, 'metered', %s, 'graduated',"
            """ '[{"up_to": "10000", "unit_amount": "0", "flat_amount": null},"""
            """   {"up_to": null, "unit_amount": "1", "flat_amount": null}]', %s)""",
            (account_id, metered_id, product_id, meter_id, START),
        )
        customer_ids = [ids.new_id("cus") for _ in range(customers)]
        copy_into(
            conn,
            "customers",
            (
                "account_id",
                "id",
                "name",
                "invoice_prefix",
                "currency",
                "default_payment_method_id",
                "created_at",
            ),
            (
                (
                    account_id,
                    each,
                    "A customer",
                    each[-12:].upper() + str(i),
                    "usd",
                    each.replace("cus", "pm"),
                    START,
                )
                for i, each in enumerate(customer_ids)
            ),
        )
        copy_into(
            conn,
            "payment_methods",
            ("account_id", "id", "customer_id", "type", "gateway", "gateway_token", "created_at"),
            (
                (account_id, each.replace("cus", "pm"), each, "card", "test", "pm_card_visa", START)
                for each in customer_ids
            ),
        )
    act = Act(account_id, False, "benchmark", NOW, ids.new_id, ids.new_id("req"))
    return World(act, meter_id, licence_id, metered_id, customer_ids)


def metering_world(database: Database, *, customers: int) -> World:
    """Subscribers of the first account, in the middle of their period now, each with an alert."""
    now = clock.now().replace(microsecond=0)
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, manage_keys.FIRST_ACCOUNT, livemode=False, now=now)
    world = make_world(database, customers=customers, account_id=account.account_id)
    world = replace(world, act=world.act.at(now, None))
    subscribe_all(database, world, since=now - timedelta(days=5))
    with database.transaction() as conn:
        manage_alerts.create_alert(
            conn,
            world.act,
            title="The allotment is used up",
            meter_id=world.meter_id,
            customer_id=None,
            recurrence=AlertRecurrence.BILLING_PERIOD,
            gte=None,
            percent=100,
            amount=None,
        )
    return world


def subscribe_all(database: Database, world: World, *, since: datetime = START) -> None:
    """A subscription for every customer: $99 with 10,000 calls, one cent a call after."""
    period = period_at_index(since, Recurrence(Interval.MONTH), 0)
    made = []
    for customer_id in world.customer_ids:
        subscription_id = ids.new_id("sub")
        items = tuple(
            Item(
                id=ids.new_id("si"),
                subscription_id=subscription_id,
                price_id=price_id,
                quantity=quantity,
                period_index=0,
                period_start=period.start,
                period_end=period.end,
                metadata={},
                created_at=since,
            )
            for price_id, quantity in ((world.licence_id, 1), (world.metered_id, None))
        )
        made.append(
            Subscription(
                id=subscription_id,
                customer_id=customer_id,
                clock_id=None,
                status=SubscriptionStatus.ACTIVE,
                currency="usd",
                collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
                days_until_due=None,
                billing_mode=BillingMode.FLEXIBLE,
                billing_mode_at=since,
                anchor_at=since,
                closes_at=period.end,
                expires_at=None,
                start_at=since,
                cancel_at_period_end=False,
                canceled_at=None,
                ended_at=None,
                cancellation_reason=None,
                cancellation_comment=None,
                cancellation_feedback=None,
                default_payment_method_id=None,
                latest_invoice_id=None,
                description=None,
                metadata={},
                created_at=since,
                items=items,
            )
        )
    with database.transaction() as conn:
        subscriptions.insert_many(conn, world.act.account_id, made)
        sold = catalog.load_sold(conn, world.act.account_id, [world.licence_id, world.metered_id])
        open_windows(conn, world.act, made, sold)
