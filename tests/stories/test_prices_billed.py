"""What every kind of price comes to at the end of a month; and that the preview had said so."""

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY

TIERS = [
    {"up_to": 1000, "unit_amount_decimal": "0", "flat_amount": 900},
    {"up_to": "inf", "unit_amount_decimal": "3.6", "flat_amount": 0},
]

# The price, what is used, and the lines: quantity, amount, and how it is said.
PRICES: dict[str, tuple[dict[str, Any], list[str], list[tuple[str, int, str]]]] = {
    "per unit": (
        {"unit_amount": 5},
        ["100", "23"],
        [("123", 615, "123 × Calls (at $0.05 / month)")],
    ),
    "a part of a cent per unit": (
        {"unit_amount_decimal": "0.05"},
        ["30"],
        [("30", 2, "30 × Calls (at $0.0005 / month)")],
    ),
    "a part of a unit": (
        {"unit_amount_decimal": "1.25"},
        ["0.5", "0.3"],
        [("0.8", 1, "0.8 × Calls (at $0.0125 / month)")],
    ),
    "twelve places": (
        {"unit_amount_decimal": "0.000000000001"},
        ["500000000000"],
        [("500000000000", 1, "500000000000 × Calls (at $0.00000000000001 / month)")],
    ),
    "packages, a package begun being one": (
        {"unit_amount": 8, "transform_quantity": {"divide_by": 60, "round": "up"}},
        ["9892"],
        [("9892", 1320, "9892 × Calls (at $0.08 per 60 units / month)")],
    ),
    "packages, only full ones": (
        {"unit_amount": 8, "transform_quantity": {"divide_by": 60, "round": "down"}},
        ["9892"],
        [("9892", 1312, "9892 × Calls (at $0.08 per 60 units / month)")],
    ),
    "packages of nothing": (
        {"unit_amount": 8, "transform_quantity": {"divide_by": 60, "round": "up"}},
        [],
        [("0", 0, "0 × Calls (at $0.08 per 60 units / month)")],
    ),
    "graduated, into the second tier": (
        {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS},
        ["1031"],
        [
            ("1000", 0, "1000 × Calls (Tier 1 at $0.00 / month)"),
            ("0", 900, "Calls (Tier 1 at $9.00 / month)"),
            ("31", 112, "31 × Calls (Tier 2 at $0.036 / month)"),
            ("0", 0, "Calls (Tier 2 at $0.00 / month)"),
        ],
    ),
    "graduated, to the end of the first tier": (
        {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS},
        ["999", "1"],
        [
            ("1000", 0, "1000 × Calls (Tier 1 at $0.00 / month)"),
            ("0", 900, "Calls (Tier 1 at $9.00 / month)"),
        ],
    ),
    "graduated, unused": (
        {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS},
        [],
        [
            ("0", 0, "0 × Calls (Tier 1 at $0.00 / month)"),
            ("0", 900, "Calls (Tier 1 at $9.00 / month)"),
        ],
    ),
    "volume": (
        {"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": TIERS},
        ["1031"],
        [
            ("1031", 3712, "1031 × Calls (Tier 2 at $0.036 / month)"),
            ("0", 0, "Calls (Tier 2 at $0.00 / month)"),
        ],
    ),
    "more was taken back than given": (
        {"unit_amount": 5},
        ["10", "-30"],
        [("0", 0, "0 × Calls (at $0.05 / month)")],
    ),
    "yen": (
        {"unit_amount_decimal": "0.5", "currency": "jpy"},
        ["1001"],
        [("1001", 501, "1001 × Calls (at ¥0.5 / month)")],
    ),
    "dinars": (
        {"unit_amount": 1500, "currency": "kwd"},
        ["2"],
        [("2", 3000, "2 × Calls (at KWD 1.500 / month)")],
    ),
    "a label for the units": (
        {"unit_amount": 5, "product_data": {"name": "Calls", "unit_label": "call"}},
        ["7"],
        [("7", 35, "7 call × Calls (at $0.05 / month)")],
    ),
}


def lines(invoice: stripe.Invoice) -> list[tuple[str, int, str | None]]:
    """Quantity, amount and words, which a preview and what follows it have in common."""
    return [
        (f"{line.quantity_decimal:f}", line.amount, line.description)
        for line in invoice.lines.data
        if line.quantity_decimal is not None
    ]


@pytest.mark.parametrize("name", PRICES)
def test_usage_comes_to_what_its_price_says(town: Town, name: str) -> None:
    price, used, expected = PRICES[name]
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.metered(**price))
    for value in used:
        town.use(customer, value)

    upcoming = town.client.v1.invoices.create_preview({"subscription": subscription.id})
    town.advance(clock, FEBRUARY + HOUR)

    [invoice] = town.invoices(subscription.id)
    assert lines(invoice) == lines(upcoming) == expected
    assert invoice.total == upcoming.total == sum(amount for _, amount, _ in expected)
    assert (invoice.status, invoice.amount_paid) == ("paid", invoice.total)
    assert invoice.currency == price.get("currency", "usd")
    assert [line.quantity for line in invoice.lines.data] == [
        int(float(quantity)) for quantity, _, _ in expected
    ]
    assert all(
        (line.period.start, line.period.end) == (JANUARY, FEBRUARY) for line in invoice.lines.data
    )


# Meters that count otherwise: what is used in January and February, and what each month bills.
METERS = {
    "count": (["5", "-1", "0"], ["7"], 3, 1),
    "last": (["5", "900", "12"], [], 12, 0),
    "sum": (["5", "900", "12.5"], ["1"], 917.5, 1),
}


@pytest.mark.parametrize("formula", METERS)
def test_a_meter_adds_up_as_it_was_told(town: Town, formula: str) -> None:
    january, february, first, second = METERS[formula]
    clock = town.clock()
    customer = town.customer(clock)
    price = town.metered(formula=formula, unit_amount=100)
    subscription = town.subscribe(customer, price)

    for hour, value in enumerate(january):
        town.advance(clock, JANUARY + (hour + 1) * HOUR)
        town.use(customer, value)
    town.advance(clock, FEBRUARY + HOUR)
    for value in february:
        town.use(customer, value)
    town.advance(clock, MARCH + HOUR)

    assert [each.total for each in town.invoices(subscription.id)] == [first * 100, second * 100]


def test_the_last_value_is_the_one_that_was_last_and_not_the_one_that_came_last(
    town: Town,
) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.metered(formula="last", unit_amount=100))
    town.advance(clock, JANUARY + 10 * DAY)
    for value, days in (("3", 1), ("8", 9), ("5", 4)):
        town.use(customer, value, timestamp=JANUARY + days * DAY)
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [800]


def test_a_counting_meter_needs_no_value(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.metered(formula="count", unit_amount=100))
    for _ in range(3):
        town.client.v1.billing.meter_events.create(
            {"event_name": "api_call", "payload": {"stripe_customer_id": customer}}
        )
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [300]


# A licence for a number of seats: the price, the quantity, and what it comes to in advance.
LICENCES: dict[str, tuple[dict[str, Any], int | None, list[tuple[str, int, str]]]] = {
    "one by default": ({"unit_amount": 1500}, None, [("1", 1500, "1 × Seats (at $15.00 / month)")]),
    "several": ({"unit_amount": 1500}, 3, [("3", 4500, "3 × Seats (at $15.00 / month)")]),
    "none": ({"unit_amount": 1500}, 0, [("0", 0, "0 × Seats (at $15.00 / month)")]),
    "packages": (
        {"unit_amount": 1500, "transform_quantity": {"divide_by": 5, "round": "up"}},
        7,
        [("7", 3000, "7 × Seats (at $15.00 per 5 units / month)")],
    ),
    "graduated": (
        {
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers": [{"up_to": 5, "unit_amount": 1500}, {"up_to": "inf", "unit_amount": 1000}],
        },
        7,
        [
            ("5", 7500, "5 × Seats (Tier 1 at $15.00 / month)"),
            ("2", 2000, "2 × Seats (Tier 2 at $10.00 / month)"),
        ],
    ),
}


@pytest.mark.parametrize("name", LICENCES)
def test_a_licence_is_paid_in_advance(town: Town, name: str) -> None:
    price, quantity, expected = LICENCES[name]
    clock = town.clock()
    item = {"price": town.price(product_data={"name": "Seats"}, **price)}
    if quantity is not None:
        item["quantity"] = quantity  # type: ignore[assignment]
    subscription = town.subscribe(town.customer(clock), items=[item])
    assert [each.quantity for each in subscription["items"].data] == [
        1 if quantity is None else quantity
    ]

    town.advance(clock, FEBRUARY + HOUR)

    first, second = town.invoices(subscription.id)
    assert lines(first) == lines(second) == expected
    for invoice, (start, end) in ((first, (JANUARY, FEBRUARY)), (second, (FEBRUARY, MARCH))):
        assert {(line.period.start, line.period.end) for line in invoice.lines.data} == {
            (start, end)
        }
