"""A merchant with many subscribers, written quickly: what tests of the passes begin with."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from metered import Stored, store_usage
from postpaid import ids
from postpaid.billing import manage_catalog, manage_keys, manage_meters
from postpaid.billing.audit import audit
from postpaid.billing.pass_time import run_passes
from postpaid.billing.perform import Act
from postpaid.core.catalog import UsageType
from postpaid.core.invoicing import Invoice
from postpaid.core.metering import Aggregation
from postpaid.core.periods import Interval, Period, Recurrence, period_at_index
from postpaid.core.pricing import Model, Tier, TiersMode
from postpaid.core.subscriptions import (
    BillingMode,
    CollectionMethod,
    Item,
    Subscription,
    SubscriptionStatus,
)
from postpaid.storage import invoices, subscriptions
from postpaid.storage.database import Connection, Database, copy_into, wake_workers
from postpaid.storage.paging import Page

START = datetime(2026, 1, 1, 10, 51, 40, tzinfo=UTC)
END = datetime(2026, 2, 1, 10, 51, 40, tzinfo=UTC)
HOUR = timedelta(hours=1)
FEE = 9900


@dataclass(frozen=True)
class World:
    """One account: a fee of $99 with 1,000 calls, one cent a call after, and its subscribers."""

    database: Database
    act: Act  # at the start; see ``at``
    period: Period
    meter_id: str
    licence_id: str
    metered_id: str
    customer_ids: list[str]
    subscription_ids: list[str]

    def at(self, now: datetime) -> Act:
        return replace(self.act, now=now)

    def pass_time(self, now: datetime) -> None:
        """Run the passes as of ``now`` until nothing more is due."""
        while run_passes(self.database, self.at(now), wall=now):
            pass

    def use(
        self,
        customer_ids: Sequence[str],
        value: Any,
        *,
        at: datetime | None = None,
        received_at: datetime | None = None,
    ) -> None:
        """An event of each of the customers; an hour after the start unless told otherwise."""
        at = at or self.period.start + HOUR
        with self.database.transaction() as conn:
            store_usage(
                conn,
                self.act.account_id,
                [
                    Stored(
                        ids.new_id("mtev"),
                        self.meter_id,
                        customer_id,
                        at,
                        Decimal(value),
                        received_at or at,
                    )
                    for customer_id in customer_ids
                ],
            )

    def invoices(self) -> list[Invoice]:
        """All of them, oldest first."""
        found: list[Invoice] = []
        page = Page(100)
        with self.database.connection() as conn:
            while True:
                rows = invoices.list_page(conn, self.act.account_id, page)
                found += rows.rows
                if not rows.has_more:
                    return found[::-1]
                page = Page(100, after=rows.rows[-1].id)

    def subscriptions(self) -> list[Subscription]:
        with self.database.connection() as conn:
            found = subscriptions.load(conn, self.act.account_id, self.subscription_ids)
        return list(found.values())

    def findings(self) -> list[tuple[str, tuple[Any, ...]]]:
        """What the audit finds wrong in this account."""
        return [
            (finding.sentence, row)
            for finding in audit(self.database)
            for row in finding.rows
            if row[0] == self.act.account_id
        ]


def make_world(
    database: Database,
    subscribers: int,
    *,
    card: str = "pm_card_visa",
    start: datetime = START,
) -> World:
    """An account in which everyone subscribed at the ``start`` and pays with the test ``card``."""
    period = period_at_index(start, Recurrence(Interval.MONTH), 0)
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=start)
        act = Act(account.account_id, False, "test", start, ids.new_id)
        meter_id, licence_id, metered_id = _make_catalog(conn, act)
        customer_ids = [act.new_id("cus") for _ in range(subscribers)]
        _make_customers(conn, act, customer_ids, card)
        made = [_subscription(act, each, licence_id, metered_id, period) for each in customer_ids]
        subscriptions.insert_many(conn, act.account_id, made)
        wake_workers(conn)
    return World(
        database,
        act,
        period,
        meter_id,
        licence_id,
        metered_id,
        customer_ids,
        [each.id for each in made],
    )


def _make_catalog(conn: Connection, act: Act) -> tuple[str, str, str]:
    """The ids of the meter, of the fee's price and of the calls'."""
    meter = manage_meters.create_meter(
        conn,
        act,
        display_name="Calls",
        event_name="api_call",
        aggregation=Aggregation.SUM,
        customer_key="stripe_customer_id",
        value_key="value",
    )
    monthly = {"currency": "usd", "recurrence": Recurrence(Interval.MONTH)}
    licence = manage_catalog.create_price(
        conn,
        act,
        monthly | {"usage_type": UsageType.LICENSED, "model": Model(Decimal(FEE))},
        product={"name": "Fee"},
    )
    tiers = (Tier(Decimal(1000), Decimal(0)), Tier(None, Decimal(1)))
    overage = Model(tiers=tiers, tiers_mode=TiersMode.GRADUATED)
    metered = manage_catalog.create_price(
        conn,
        act,
        monthly | {"usage_type": UsageType.METERED, "model": overage, "meter_id": meter.id},
        product={"name": "Calls"},
    )
    return meter.id, licence.id, metered.id


def _make_customers(conn: Connection, act: Act, customer_ids: Sequence[str], card: str) -> None:
    """Customers, each with a payment method; and with invoice numbers that begin with its id."""
    method_of = {each: each.replace("cus_", "pm_") for each in customer_ids}
    copy_into(
        conn,
        "customers",
        ("account_id", "id", "name", "invoice_prefix", "default_payment_method_id", "created_at"),
        (
            (
                act.account_id,
                each,
                "Ada",
                f"{each[4:]}".upper() + f"{place}",
                method_of[each],
                act.now,
            )
            for place, each in enumerate(customer_ids)
        ),
    )
    copy_into(
        conn,
        "payment_methods",
        ("account_id", "id", "customer_id", "type", "gateway", "gateway_token", "created_at"),
        (
            (act.account_id, method_of[each], each, "card", "test", card, act.now)
            for each in customer_ids
        ),
    )


def _subscription(
    act: Act, customer_id: str, licence_id: str, metered_id: str, period: Period
) -> Subscription:
    """A month of a fee and calls, whose first invoice is somebody else's affair."""
    subscription_id = act.new_id("sub")
    items = tuple(
        Item(
            id=act.new_id("si"),
            subscription_id=subscription_id,
            price_id=price_id,
            quantity=quantity,
            period_index=0,
            period_start=period.start,
            period_end=period.end,
            metadata={},
            created_at=act.now,
        )
        for price_id, quantity in ((licence_id, 1), (metered_id, None))
    )
    return Subscription(
        id=subscription_id,
        customer_id=customer_id,
        clock_id=None,
        status=SubscriptionStatus.ACTIVE,
        currency="usd",
        collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
        days_until_due=None,
        billing_mode=BillingMode.FLEXIBLE,
        billing_mode_at=act.now,
        anchor_at=act.now,
        closes_at=period.end,
        expires_at=None,
        start_at=act.now,
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
        created_at=act.now,
        items=items,
    )
