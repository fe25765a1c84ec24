"""Records are created, changed and deleted, each change with its event, at the right time."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import psycopg
import pytest

from postpaid.billing import (
    manage_catalog,
    manage_customers,
    manage_meters,
    manage_payment_methods,
    manage_test_clocks,
)
from postpaid.billing.check_sold import NewItem, NewSubscription
from postpaid.billing.perform import Act
from postpaid.billing.subscribe import subscribe
from postpaid.core.catalog import Price, UsageType
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound, PaymentFailed
from postpaid.core.metering import Aggregation
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model
from postpaid.core.subscriptions import SubscriptionStatus
from postpaid.storage import (
    accounts,
    customers,
    events,
    invoices,
    payment_methods,
    subscriptions,
    test_clocks,
)
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.paging import Page

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FROZEN = datetime(2030, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def act(conn: Connection) -> Act:
    """An act at noon in an account of its own; ids are counted, so that they can be foretold."""
    accounts.insert(conn, "acct_manage", "Manage", livemode=False, country="US", now=NOON)
    account = accounts.find_by_name(conn, "Manage", livemode=False)
    assert account is not None
    numbers = count(1)
    return Act(
        account_id=account.account_id,
        livemode=False,
        actor="key_1",
        now=NOON,
        new_id=lambda prefix: f"{prefix}_{next(numbers):04d}",
        request_id="req_1",
    )


def said(conn: Connection, act: Act) -> list[str]:
    """What was announced so far, oldest first."""
    return [event.type for event in _events(conn, act)]


def _events(conn: Connection, act: Act) -> list[events.Event]:
    return events.list_page(conn, act.account_id, Page(100)).rows[::-1]


def monthly_price(conn: Connection, act: Act) -> Price:
    fields = {
        "currency": "usd",
        "model": Model(Decimal(100)),
        "recurrence": Recurrence(Interval.MONTH),
        "usage_type": UsageType.LICENSED,
    }
    return manage_catalog.create_price(conn, act, fields, product={"name": "Base"})


def subscribed(conn: Connection, act: Act, customer: Customer) -> str:
    """Subscribe the customer to a price, with a first invoice; the subscription's id."""
    price = monthly_price(conn, act)
    asked = NewSubscription(customer.id, [NewItem(price.id)])
    return subscribe(conn, act, asked).subscription_id


# ─── Events ──────────────────────────────────────────────────────────────────────────────────


def test_a_change_has_one_event_and_none_is_none(conn: Connection, act: Act) -> None:
    customer = manage_customers.create_customer(conn, act, {"name": "Acme"})
    manage_customers.update_customer(conn, act, customer.id, lambda c: replace(c, name="Hooli"))
    manage_customers.update_customer(conn, act, customer.id, lambda c: replace(c, name="Hooli"))
    meter = manage_meters.create_meter(
        conn,
        act,
        display_name="Calls",
        event_name="calls",
        aggregation=Aggregation.SUM,
        customer_key="who",
        value_key="value",
    )
    manage_meters.update_meter(conn, act, meter.id, lambda m: m)
    manage_meters.update_meter(conn, act, meter.id, lambda m: replace(m, display_name="C"))
    price = monthly_price(conn, act)
    manage_catalog.update_price(conn, act, price.id, lambda p: p)
    manage_catalog.update_price(conn, act, price.id, lambda p: replace(p, nickname="n"))
    manage_catalog.update_product(conn, act, price.product_id, lambda p: p)
    manage_catalog.update_product(conn, act, price.product_id, lambda p: replace(p, name="B"))
    assert said(conn, act) == [
        "customer.created",
        "customer.updated",
        "billing.meter.created",
        "billing.meter.updated",
        "product.created",
        "price.created",
        "price.updated",
        "product.updated",
    ]


def test_an_event_knows_what_was_before(conn: Connection, act: Act) -> None:
    customer = manage_customers.create_customer(conn, act, {"name": "Acme", "email": "a@b.c"})
    manage_customers.update_customer(conn, act, customer.id, lambda c: replace(c, name="Hooli"))
    created, updated = _events(conn, act)
    assert created.previous is None
    assert updated.previous == '{"name":"Acme"}'
    assert '"name":"Hooli"' in updated.snapshot


def test_a_product_is_as_new_as_its_last_change(conn: Connection, act: Act) -> None:
    price = monthly_price(conn, act)
    later = replace(act, now=NOON + HOUR)
    changed = manage_catalog.update_product(
        conn, later, price.product_id, lambda p: replace(p, name="B")
    )
    assert (changed.created_at, changed.updated_at) == (NOON, NOON + HOUR)


# ─── The customer's time ─────────────────────────────────────────────────────────────────────


def test_what_happens_on_a_clock_happens_at_its_time(conn: Connection, act: Act) -> None:
    clock = manage_test_clocks.create_test_clock(conn, act, frozen_at=FROZEN, name=None)
    customer = manage_customers.create_customer(
        conn, act, {"clock_id": clock.id}, payment_method_id="pm_card_visa"
    )
    method = manage_payment_methods.attach_payment_method(conn, act, "pm_card_visa", customer.id)
    manage_payment_methods.detach_payment_method(conn, act, method.id)
    manage_customers.delete_customer(conn, act, customer.id)
    assert clock.created_at == NOON
    assert customer.created_at == method.created_at == FROZEN
    assert {(each.created_at, each.clock_id) for each in _events(conn, act)} == {(FROZEN, clock.id)}


def test_a_clock_takes_its_customers_and_their_subscriptions(conn: Connection, act: Act) -> None:
    clock = manage_test_clocks.create_test_clock(conn, act, frozen_at=FROZEN, name=None)
    on_clock = [
        manage_customers.create_customer(conn, act, {"clock_id": clock.id}) for _ in range(2)
    ]
    spared = manage_customers.create_customer(conn, act, {})
    running = [subscribed(conn, act, each) for each in (*on_clock, spared)]
    manage_test_clocks.advance_test_clock(conn, act, clock.id, target_at=FROZEN + HOUR)

    manage_test_clocks.delete_test_clock(conn, act, clock.id)

    gone = customers.load(conn, act.account_id, [each.id for each in (*on_clock, spared)])
    assert [each.deleted_at for each in gone.values()] == [FROZEN, FROZEN, None]
    left = subscriptions.load(conn, act.account_id, running)
    assert [each.ended_at for each in left.values()] == [FROZEN, FROZEN, None]
    assert test_clocks.advancing(conn, act.account_id) == []
    assert said(conn, act)[-3:] == [
        "customer.deleted",
        "customer.deleted",
        "test_helpers.test_clock.deleted",
    ]


# ─── Customers ───────────────────────────────────────────────────────────────────────────────


def test_a_deleted_customer_owes_nothing_more(conn: Connection, act: Act) -> None:
    customer = manage_customers.create_customer(conn, act, {})
    subscription_id = subscribed(conn, act, customer)
    manage_customers.delete_customer(conn, act, customer.id)
    subscription = subscriptions.load(conn, act.account_id, [subscription_id])[subscription_id]
    assert subscription.status == SubscriptionStatus.INCOMPLETE_EXPIRED
    assert subscription.closes_at is None
    with pytest.raises(NotFound):
        manage_customers.delete_customer(conn, act, customer.id)


def test_a_deleted_customer_has_nothing_to_pay_with(conn: Connection, act: Act) -> None:
    fields = {"default_payment_method_id": "pm_card_visa"}
    customer = manage_customers.create_customer(conn, act, fields)
    other = manage_customers.create_customer(conn, act, fields)
    manage_customers.delete_customer(conn, act, customer.id)
    owners = {
        method.id: method.customer_id
        for method in payment_methods.list_page(conn, act.account_id, Page()).rows
    }
    assert owners == {
        customer.default_payment_method_id: None,
        other.default_payment_method_id: other.id,
    }
    assert said(conn, act)[-2:] == ["payment_method.detached", "customer.deleted"]


def test_a_prefix_is_made_from_the_id(conn: Connection, act: Act) -> None:
    act = replace(act, new_id=lambda prefix: f"{prefix}_0VbZTxoaQsLipvoEZQh6HckM")
    assert manage_customers.create_customer(conn, act, {}).invoice_prefix == "OEZQH6HCKM"


def test_a_prefix_stays_with_the_invoices_that_have_it(conn: Connection, act: Act) -> None:
    first = manage_customers.create_customer(conn, act, {"invoice_prefix": "ACME"})
    subscribed(conn, act, first)
    rename = manage_customers.update_customer
    rename(conn, act, first.id, lambda c: replace(c, invoice_prefix="HOOLI"))
    with pytest.raises(InvalidRequest, match="'ACME' is on another customer's invoices"):
        manage_customers.create_customer(conn, act, {"invoice_prefix": "ACME"})
    second = manage_customers.create_customer(conn, act, {"invoice_prefix": "INITECH"})
    with pytest.raises(InvalidRequest, match="'ACME'"):
        rename(conn, act, second.id, lambda c: replace(c, invoice_prefix="ACME"))
    back = rename(conn, act, first.id, lambda c: replace(c, invoice_prefix="ACME"))
    assert back.invoice_prefix == "ACME"


def test_a_number_is_never_given_again(conn: Connection, act: Act) -> None:
    def number_next(sequence: int) -> Customer:
        return manage_customers.update_customer(
            conn, act, customer.id, lambda c: replace(c, next_invoice_sequence=sequence)
        )

    fields = {"next_invoice_sequence": 5, "invoice_prefix": "ACME"}
    customer = manage_customers.create_customer(conn, act, fields)
    assert customer.first_invoice_sequence == 5
    assert number_next(3).first_invoice_sequence == 3

    subscription_id = subscribed(conn, act, customer)
    subscription = subscriptions.load(conn, act.account_id, [subscription_id])[subscription_id]
    invoice_id = subscription.latest_invoice_id or ""
    assert invoices.load(conn, act.account_id, [invoice_id])[invoice_id].number == "ACME-0003"
    with pytest.raises(InvalidRequest, match="must be at least 4"):
        number_next(3)
    skipped = number_next(10)
    assert (skipped.first_invoice_sequence, skipped.next_invoice_sequence) == (9, 10)


# ─── Payment methods ─────────────────────────────────────────────────────────────────────────


def test_one_test_card_named_twice_is_one_payment_method(conn: Connection, act: Act) -> None:
    customer = manage_customers.create_customer(
        conn,
        act,
        {"default_payment_method_id": "pm_card_visa"},
        payment_method_id="pm_card_visa",
    )
    assert said(conn, act) == ["customer.created", "payment_method.attached"]
    assert customer == customers.find(conn, act.account_id, customer.id)


def test_detaching_takes_the_default_away(conn: Connection, act: Act) -> None:
    customer = manage_customers.create_customer(
        conn, act, {"default_payment_method_id": "pm_card_visa"}
    )
    method_id = customer.default_payment_method_id or ""
    detached = manage_payment_methods.detach_payment_method(conn, act, method_id)
    assert detached.customer_id is None
    after = customers.find(conn, act.account_id, customer.id)
    assert after == replace(customer, default_payment_method_id=None)
    assert said(conn, act)[-2:] == ["payment_method.detached", "customer.updated"]


@pytest.mark.parametrize("exp", [(12, 2025), (1, 2025)])
def test_a_card_that_expired_is_refused(conn: Connection, act: Act, exp: tuple[int, int]) -> None:
    card = manage_payment_methods.NewCard("4242424242424242", *exp)
    with pytest.raises(PaymentFailed) as raised:
        manage_payment_methods.create_payment_method(
            conn, act, card, billing_details={}, metadata={}
        )
    assert raised.value.code == "invalid_expiry_year"


def test_a_card_lasts_to_the_end_of_its_month(conn: Connection, act: Act) -> None:
    card = manage_payment_methods.NewCard("4242424242424242", act.now.month, act.now.year)
    made = manage_payment_methods.create_payment_method(
        conn, act, card, billing_details={}, metadata={}
    )
    assert made.gateway_token == "pm_card_visa"
    assert "4242424242424242" not in str(made)


# ─── Test clocks ─────────────────────────────────────────────────────────────────────────────


def test_a_clock_that_failed_stands_still(conn: Connection, act: Act) -> None:
    clock = manage_test_clocks.create_test_clock(conn, act, frozen_at=FROZEN, name=None)
    manage_test_clocks.advance_test_clock(conn, act, clock.id, target_at=FROZEN + HOUR)
    test_clocks.fail(conn, act.account_id, clock.id, "why")
    with pytest.raises(ActionNotAllowed, match="internal_failure"):
        manage_test_clocks.advance_test_clock(conn, act, clock.id, target_at=FROZEN + HOUR)


# ─── Two at once ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def two(fresh_database_url: str) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    """Two connections to one database, both committing."""
    with (
        psycopg.connect(fresh_database_url, autocommit=True) as one,
        psycopg.connect(fresh_database_url, autocommit=True) as other,
    ):
        other.execute("SET lock_timeout = '100ms'")
        yield one, other


def test_who_changes_a_customer_has_it_to_oneself(two: Any, act: Act) -> None:
    one, other = two
    customer = manage_customers.create_customer(one, act, {})
    with one.transaction():
        customers.lock(one, act.account_id, [customer.id])
        with pytest.raises(psycopg.errors.LockNotAvailable):
            manage_customers.delete_customer(other, act, customer.id)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            manage_payment_methods.attach_payment_method(other, act, "pm_card_visa", customer.id)
        assert customers.find(other, act.account_id, customer.id) == customer


def test_a_clock_that_is_being_deleted_takes_no_customers(two: Any, act: Act) -> None:
    one, other = two
    clock = manage_test_clocks.create_test_clock(one, act, frozen_at=FROZEN, name=None)
    with one.transaction():
        manage_test_clocks.delete_test_clock(one, act, clock.id)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            manage_customers.create_customer(other, act, {"clock_id": clock.id})
    with pytest.raises(NotFound):
        manage_customers.create_customer(other, act, {"clock_id": clock.id})
