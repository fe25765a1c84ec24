"""What is written is read back the same, and what must be unique is."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg
import pytest

from postpaid.core.catalog import Price, Product, ProductType, TaxBehavior, UsageType
from postpaid.core.errors import ActionNotAllowed, AlreadyExists
from postpaid.core.metering import Aggregation
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model, Tier, TiersMode, Transform
from postpaid.storage import catalog, customers, meters, payment_methods, test_clocks
from postpaid.storage.customers import Customer, TaxExempt
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter, MeterStatus
from postpaid.storage.payment_methods import PaymentMethod
from postpaid.storage.test_clocks import TestClock as Clock
from postpaid.storage.test_clocks import TestClockStatus as ClockStatus

OURS, THEIRS = 1, 2
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 2, 1, 12, tzinfo=UTC)

CLOCK = Clock(
    id="clock_1",
    name="a year",
    status=ClockStatus.READY,
    frozen_at=NOON,
    target_at=None,
    failure=None,
    created_at=LATER,
    deletes_at=LATER,
    deleted_at=None,
)
METER = Meter(
    id="mtr_1",
    display_name="Calls",
    event_name="calls",
    aggregation=Aggregation.LAST,
    customer_key="stripe_customer_id",
    value_key="value",
    status=MeterStatus.ACTIVE,
    created_at=NOON,
    updated_at=NOON,
    deactivated_at=None,
)
PRODUCT = Product(
    id="prod_1",
    name="API",
    created_at=NOON,
    updated_at=NOON,
    active=False,
    type=ProductType.GOOD,
    description="d",
    unit_label="call",
    statement_descriptor="ACME",
    tax_code="txcd_1",
    url="https://acme.example",
    images=["a", "b"],
    marketing_features=[{"name": "fast"}],
    package_dimensions={"height": "1.5"},
    shippable=True,
    metadata={"a": "b"},
    default_price_id="price_1",
)
PRICE = Price(
    id="price_1",
    product_id="prod_1",
    currency="usd",
    model=Model(Decimal("0.000000000001"), transform=Transform(100, "up")),
    created_at=NOON,
    active=False,
    nickname="n",
    lookup_key="k",
    tax_behavior=TaxBehavior.EXCLUSIVE,
    recurrence=Recurrence(Interval.WEEK, 2),
    usage_type=UsageType.METERED,
    meter_id="mtr_1",
    metadata={"a": "b"},
)
TIERED = replace(
    PRICE,
    id="price_2",
    lookup_key=None,
    model=Model(
        tiers=(
            Tier(Decimal("10.5"), Decimal("0.1"), None),
            Tier(None, Decimal("1e-7"), Decimal(10**15)),
        ),
        tiers_mode=TiersMode.VOLUME,
    ),
)
ONCE = Price(
    id="price_3", product_id="prod_1", currency="jpy", model=Model(Decimal(0)), created_at=NOON
)
CUSTOMER = Customer(
    id="cus_1",
    invoice_prefix="ACME",
    created_at=NOON,
    clock_id="clock_1",
    name="Acme",
    email="a@acme.example",
    phone="1",
    description="d",
    business_name="b",
    individual_name="i",
    address={"city": "Berlin", "line2": None},
    shipping={"name": "Jenny", "address": {"city": "Berlin"}},
    metadata={"a": "b"},
    preferred_locales=["de", "en"],
    tax_exempt=TaxExempt.REVERSE,
    currency="eur",
    balance=-5,
    delinquent=True,
    next_invoice_sequence=7,
    first_invoice_sequence=3,
    default_payment_method_id="pm_1",
    invoice_custom_fields=[{"name": "VAT", "value": "1"}],
    invoice_footer="f",
    invoice_rendering_options={"amount_tax_display": None},
    profile={"type": "individual"},
    blocked_at=NOON,
    date_of_birth=date(1990, 5, 17),
    clock_at=NOON,
)
METHOD = PaymentMethod(
    id="pm_1",
    customer_id="cus_1",
    type="card",
    gateway="test",
    gateway_token="pm_card_visa",
    card={"brand": "visa", "exp_year": 2030},
    created_at=NOON,
    billing_details={"address": {"city": "Berlin"}},
    metadata={"a": "b"},
    blocked_at=NOON,
)


@pytest.fixture(autouse=True)
def _everything_is_written(conn: Connection) -> None:
    test_clocks.insert(conn, OURS, CLOCK)
    meters.insert(conn, OURS, METER)
    catalog.insert_product(conn, OURS, PRODUCT)
    for price in (PRICE, TIERED, ONCE):
        catalog.insert_price(conn, OURS, price)
    customers.insert(conn, OURS, CUSTOMER)
    payment_methods.insert(conn, OURS, METHOD)


def test_what_is_written_is_read_back(conn: Connection) -> None:
    assert test_clocks.find(conn, OURS, "clock_1") == CLOCK
    assert meters.find(conn, OURS, "mtr_1") == METER
    assert meters.load_by_event_names(conn, OURS, ["calls", "x"]) == {"calls": METER}
    assert catalog.find_product(conn, OURS, "prod_1") == PRODUCT
    for price in (PRICE, TIERED, ONCE):
        assert catalog.find_price(conn, OURS, price.id) == price
    assert customers.find(conn, OURS, "cus_1") == CUSTOMER
    assert payment_methods.find(conn, OURS, "pm_1") == METHOD


def test_what_is_locked_is_what_is_read(conn: Connection) -> None:
    assert test_clocks.lock(conn, OURS, "clock_1") == CLOCK
    assert meters.lock(conn, OURS, "mtr_1") == METER
    assert catalog.lock_product(conn, OURS, "prod_1") == PRODUCT
    assert catalog.lock_price(conn, OURS, "price_2") == TIERED
    assert catalog.lock_price_of_lookup_key(conn, OURS, "k") == PRICE
    assert customers.lock(conn, OURS, ["cus_1", "cus_x"]) == {"cus_1": CUSTOMER}
    assert payment_methods.lock(conn, OURS, "pm_1") == METHOD


def test_another_account_finds_nothing(conn: Connection) -> None:
    assert test_clocks.find(conn, THEIRS, "clock_1") is None
    assert meters.find(conn, THEIRS, "mtr_1") is None
    assert meters.load_by_event_names(conn, THEIRS, ["calls"]) == {}
    assert catalog.find_product(conn, THEIRS, "prod_1") is None
    assert catalog.find_price(conn, THEIRS, "price_1") is None
    assert catalog.lock_price_of_lookup_key(conn, THEIRS, "k") is None
    assert customers.lock(conn, THEIRS, ["cus_1"]) == {}
    assert customers.clocks(conn, THEIRS, ["cus_1"]) == {}
    assert payment_methods.find(conn, THEIRS, "pm_1") is None


def test_what_is_updated_is_read_back(conn: Connection) -> None:
    bare = Customer(id="cus_1", invoice_prefix="B", created_at=NOON, deleted_at=LATER)
    customers.update(conn, OURS, bare)
    kept = replace(bare, clock_id="clock_1", clock_at=NOON)  # a customer stays on its clock
    assert customers.find(conn, OURS, "cus_1") == kept

    product = Product(id="prod_1", name="N", created_at=NOON, updated_at=LATER)
    catalog.update_product(conn, OURS, product)
    assert catalog.find_product(conn, OURS, "prod_1") == replace(product, type=ProductType.GOOD)

    renamed = replace(PRICE, nickname=None, lookup_key="l", active=True, metadata={})
    catalog.update_price(conn, OURS, replace(renamed, model=ONCE.model))
    assert catalog.find_price(conn, OURS, "price_1") == renamed

    resting = replace(METER, status=MeterStatus.INACTIVE, deactivated_at=LATER, updated_at=LATER)
    meters.update(conn, OURS, replace(resting, event_name="other"))
    assert meters.find(conn, OURS, "mtr_1") == resting

    detached = replace(METHOD, customer_id=None, billing_details={}, metadata={})
    payment_methods.update(conn, OURS, detached)
    assert payment_methods.find(conn, OURS, "pm_1") == detached


def test_a_price_is_sold_with_its_product(conn: Connection) -> None:
    sold = catalog.load_sold(conn, OURS, ["price_1", "price_3", "price_x"])
    assert {key: (each.price, each.product) for key, each in sold.items()} == {
        "price_1": (PRICE, PRODUCT),
        "price_3": (ONCE, PRODUCT),
    }


def test_what_must_be_unique_is(conn: Connection) -> None:
    with pytest.raises(AlreadyExists, match="'ACME'"), conn.transaction():
        customers.insert(conn, OURS, replace(CUSTOMER, id="cus_2"))
    with pytest.raises(AlreadyExists, match="'calls'"), conn.transaction():
        meters.insert(conn, OURS, replace(METER, id="mtr_2"))
    with pytest.raises(AlreadyExists, match="'prod_1'"), conn.transaction():
        catalog.insert_product(conn, OURS, PRODUCT)
    with pytest.raises(AlreadyExists, match="'k'"), conn.transaction():
        catalog.insert_price(conn, OURS, replace(PRICE, id="price_4"))
    with pytest.raises(AlreadyExists, match="'k'"), conn.transaction():
        catalog.update_price(conn, OURS, replace(ONCE, lookup_key="k"))
    customers.insert(conn, OURS, replace(CUSTOMER, id="cus_2", invoice_prefix="B"))
    with pytest.raises(AlreadyExists, match="'B'"), conn.transaction():
        customers.update(conn, OURS, replace(CUSTOMER, invoice_prefix="B"))


def test_a_violation_that_nobody_expects_is_not_dressed_up(conn: Connection) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation), conn.transaction():
        customers.insert(conn, OURS, replace(CUSTOMER, invoice_prefix="NEW"))


def test_a_product_with_prices_cannot_be_deleted(conn: Connection) -> None:
    with pytest.raises(ActionNotAllowed, match="prices"), conn.transaction():
        catalog.delete_product(conn, OURS, "prod_1")
    catalog.insert_product(conn, OURS, replace(PRODUCT, id="prod_2"))
    catalog.delete_product(conn, OURS, "prod_2")
    assert catalog.find_product(conn, OURS, "prod_2") is None


def test_a_customer_lives_by_its_clock(conn: Connection) -> None:
    on_none = replace(CUSTOMER, id="cus_2", clock_id=None, clock_at=None, invoice_prefix="B")
    gone = replace(on_none, id="cus_3", deleted_at=NOON, invoice_prefix="C")
    customers.insert(conn, OURS, on_none)
    customers.insert(conn, OURS, gone)
    assert customers.clocks(conn, OURS, ["cus_1", "cus_2", "cus_3", "cus_x"]) == {
        "cus_1": NOON,
        "cus_2": None,
    }
    assert customers.on_clock(conn, OURS, "clock_1") == ["cus_1"]
    assert CUSTOMER.now(LATER) == NOON
    assert on_none.now(LATER) == LATER


def test_a_clock_moves_until_it_arrives(conn: Connection) -> None:
    between = datetime(2026, 1, 15, tzinfo=UTC)
    advancing = replace(CLOCK, status=ClockStatus.ADVANCING, target_at=LATER)
    test_clocks.update(conn, OURS, advancing)
    assert test_clocks.advancing(conn, OURS) == ["clock_1"]
    test_clocks.move(conn, OURS, "clock_1", between)
    assert test_clocks.find(conn, OURS, "clock_1") == replace(advancing, frozen_at=between)
    assert customers.clocks(conn, OURS, ["cus_1"]) == {"cus_1": between}
    test_clocks.finish(conn, OURS, "clock_1")
    arrived = replace(CLOCK, frozen_at=LATER)
    assert test_clocks.find(conn, OURS, "clock_1") == arrived
    test_clocks.finish(conn, OURS, "clock_1")
    test_clocks.fail(conn, OURS, "clock_1", "too late to fail")
    assert test_clocks.find(conn, OURS, "clock_1") == arrived
    assert test_clocks.advancing(conn, OURS) == []


def test_a_clock_that_fails_says_why(conn: Connection) -> None:
    advancing = replace(CLOCK, status=ClockStatus.ADVANCING, target_at=LATER)
    test_clocks.update(conn, OURS, advancing)
    test_clocks.fail(conn, OURS, "clock_1", "a reason")
    assert test_clocks.find(conn, OURS, "clock_1") == replace(
        CLOCK, status=ClockStatus.INTERNAL_FAILURE, failure="a reason"
    )


def test_invoicing_writes_only_what_is_its_own(conn: Connection) -> None:
    billed = replace(CUSTOMER, currency="usd", balance=9, next_invoice_sequence=8, name="wrong")
    customers.update_invoicing(conn, OURS, [billed])
    assert customers.find(conn, OURS, "cus_1") == replace(billed, name="Acme")
    customers.update_invoicing(conn, OURS, [])
