"""Subscriptions over a year and more: every renewal is previewed, and is billed as previewed."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import stripe
from previewing import assert_as_previewed, previews_hold, upcoming
from town import DAY, HOUR, Town, at, day

NEW_YORK = ZoneInfo("America/New_York")


def there(moment: str) -> int:
    """Unix seconds of a moment by the clock on a wall in New York."""
    return int(datetime.fromisoformat(moment).replace(tzinfo=NEW_YORK).timestamp())


def on_the_wall(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone(NEW_YORK):%Y-%m-%d %H:%M}"


def fee(town: Town, amount: int = 3100, **more: Any) -> str:
    return town.price(unit_amount=amount, product_data={"name": "Fee"}, **more)


def lines(invoice: stripe.Invoice) -> list[tuple[str, int, str, str]]:
    """What each line says, what it comes to, and for when."""
    return [
        (line.description or "", line.amount, day(line.period.start), day(line.period.end))
        for line in invoice.lines.data
    ]


# ─── The calendar ────────────────────────────────────────────────────────────────────────────


def test_two_years_from_the_31st_of_january_over_a_leap_day(town: Town) -> None:
    """A discount of three months and a tax go with it; usage grows by one a month."""
    clock = town.clock(at("2027-01-31 12:34:56"))
    customer = town.customer(clock)
    coupon = town.client.v1.coupons.create(
        {"percent_off": 12.5, "duration": "repeating", "duration_in_months": 3}
    )
    tax = town.client.v1.tax_rates.create(
        {"display_name": "VAT", "percentage": 19, "inclusive": False}
    )
    begun = town.subscribe(
        customer,
        fee(town),
        town.metered(unit_amount=7),
        discounts=[{"coupon": coupon.id}],
        default_tax_rates=[tax.id],
    )
    used = iter(range(1, 100))
    counts: list[int] = []

    def use(latest: stripe.Invoice | None) -> None:
        counts.append(next(used))
        town.use(customer, str(counts[-1]))

    billed = previews_hold(town, clock, begun.id, at("2029-01-31 12:34:56"), use)

    assert [day(each.created) for each in billed] == [
        "2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31", "2027-06-30", "2027-07-31",
        "2027-08-31", "2027-09-30", "2027-10-31", "2027-11-30", "2027-12-31", "2028-01-31",
        "2028-02-29", "2028-03-31", "2028-04-30", "2028-05-31", "2028-06-30", "2028-07-31",
        "2028-08-31", "2028-09-30", "2028-10-31", "2028-11-30", "2028-12-31", "2029-01-31",
    ]  # fmt: skip
    assert {each.created % DAY for each in billed} == {at("2027-01-31 12:34:56") % DAY}
    assert [each.subtotal for each in billed] == [3100 + 7 * count for count in counts[:24]]
    # Three months from 31 January are until 30 April: the renewals of February and March.
    with_discount = [bool(each.total_discount_amounts) for each in billed]
    assert with_discount == [True] * 2 + [False] * 22
    assert [each.total for each in billed[:3]] == [3234, 3241, 3714]
    for one, other in pairwise(billed):
        assert one.period_end == other.period_start


def test_a_year_in_new_york_with_usage_around_both_changes_of_the_clocks(town: Town) -> None:
    """Midnight there is 05:00 UTC in winter and 04:00 in summer."""
    clock = town.clock(there("2026-01-15 00:00"))
    customer = town.customer(clock, time_zone="America/New_York")
    begun = town.subscribe(customer, fee(town), town.metered(unit_amount=1))
    # A second before the period ends, and at its end: the first is of it, the second is not.
    turns = iter(["2026-03-15", "2026-04-15", "2026-10-15", "2026-11-15"])
    edge = next(turns)

    def use(latest: stripe.Invoice | None) -> None:
        nonlocal edge
        expected = upcoming(town, begun.id)
        assert expected is not None
        if expected.created == there(edge):
            town.advance(clock, there(edge) - 60)
            town.use(customer, "5", timestamp=there(edge) - 61)
            town.use(customer, "70", timestamp=there(edge))
            edge = next(turns, "2000-01-01")

    billed = previews_hold(town, clock, begun.id, there("2027-01-15"), use)

    assert [on_the_wall(each.created) for each in billed] == [
        *(f"2026-{month:02}-15 00:00" for month in range(2, 13)),
        "2027-01-15 00:00",
    ]
    used = {on_the_wall(each.created)[:7]: each.total - 3100 for each in billed}
    assert {month: value for month, value in used.items() if value} == {
        "2026-03": 5,
        "2026-04": 75,
        "2026-05": 70,
        "2026-10": 5,
        "2026-11": 75,
        "2026-12": 70,
    }


def test_an_annual_fee_with_monthly_usage_over_two_years(town: Town) -> None:
    clock = town.clock(at("2026-01-31"))
    customer = town.customer(clock)
    annual = fee(town, 120000, recurring={"interval": "year"})
    begun = town.subscribe(customer, annual, town.metered(unit_amount=2))

    billed = previews_hold(
        town, clock, begun.id, at("2028-01-31"), lambda latest: town.use(customer, "100")
    )

    assert [each.total for each in billed] == [*[200] * 11, 120200] * 2
    assert [lines(billed[place])[1] for place in (11, 23)] == [
        ("1 × Fee (at $1,200.00 / year)", 120000, "2027-01-31", "2028-01-31"),
        ("1 × Fee (at $1,200.00 / year)", 120000, "2028-01-31", "2029-01-31"),
    ]
    assert {each.billing_reason for each in billed} == {"subscription_cycle"}
    assert all((each.period_end - each.period_start) < 32 * DAY for each in billed)


def test_twenty_items_over_a_year(town: Town) -> None:
    """Ten licences and ten meters: newest first, and each of its own."""
    clock = town.clock(at("2026-01-01"))
    customer = town.customer(clock)
    prices = []
    for number in range(10):
        name = {"name": f"Licence {number}"}
        prices.append(town.price(unit_amount=100 + number, product_data=name))
        name = {"name": f"Meter {number}"}
        prices.append(town.metered(f"of_{number}", unit_amount=number + 1, product_data=name))
    begun = town.subscribe(customer, *prices)

    def use(latest: stripe.Invoice | None) -> None:
        town.use(customer, "3", event_name="of_4")
        town.use(customer, "2", event_name="of_9")

    billed = previews_hold(town, clock, begun.id, at("2027-01-01"), use)

    assert len(billed) == 12
    assert {each.total for each in billed} == {1045 + 15 + 20}
    listed = town.client.v1.invoices.line_items.list(billed[-1].id, {"limit": 100})
    assert [(line.description or "").split(" × ")[1].split(" (")[0] for line in listed.data] == [
        name for number in reversed(range(10)) for name in (f"Meter {number}", f"Licence {number}")
    ]
    with pytest.raises(stripe.InvalidRequestError):
        town.subscribe(customer, *prices, fee(town))


# ─── The past ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["flexible", "classic"])
def test_backdated_and_then_a_year(town: Town, mode: str) -> None:
    clock = town.clock(at("2026-03-10"))
    customer = town.customer(clock)
    calls = town.metered(unit_amount=5)
    for moment, value in (("2026-02-20", "10"), ("2026-03-05", "20")):
        town.use(customer, value, timestamp=at(moment))
    asked = {"items": [{"price": fee(town)}, {"price": calls}], "billing_mode": {"type": mode}}
    expected = town.client.v1.invoices.create_preview(
        {
            "customer": customer,
            "subscription_details": {**asked, "start_date": at("2026-01-31")},  # type: ignore[typeddict-item]
        }
    )
    begun = town.subscribe(customer, **asked, backdate_start_date=at("2026-01-31"))
    [first] = town.invoices(begun.id)
    assert_as_previewed(first, expected, begins=True)

    billed = previews_hold(
        town, clock, begun.id, at("2027-03-31"), lambda latest: town.use(customer, "1")
    )

    if mode == "flexible":
        assert day(begun.billing_cycle_anchor) == "2026-01-31"
        assert lines(first) == [
            ("10 × Calls (at $0.05 / month)", 50, "2026-01-31", "2026-02-28"),
            ("1 × Fee (at $31.00 / month)", 3100, "2026-01-31", "2026-02-28"),
            ("1 × Fee (at $31.00 / month)", 3100, "2026-02-28", "2026-03-31"),
        ]
        assert [day(each.created) for each in billed[:2]] == ["2026-03-31", "2026-04-30"]
        assert [each.total for each in billed] == [3100 + 5 * 21, *[3105] * 12]
    else:
        assert day(begun.billing_cycle_anchor) == "2026-03-10"
        assert [day(each.created) for each in billed[:2]] == ["2026-04-10", "2026-05-10"]
        assert [each.total for each in billed] == [3100 + 5 * 31, *[3105] * 11]


# ─── Ends that are asked for ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["flexible", "classic"])
def test_an_end_at_a_date_after_half_a_year(town: Town, mode: str) -> None:
    clock = town.clock(at("2026-01-01"))
    customer = town.customer(clock)
    begun = town.subscribe(
        customer,
        fee(town),
        town.metered(unit_amount=5),
        billing_mode={"type": mode},
        cancel_at=at("2026-07-11"),
    )
    billed = previews_hold(
        town, clock, begun.id, at("2026-12-31"), lambda latest: town.use(customer, "2")
    )
    assert [each.total for each in billed] == [*[3110] * 6, 10 - 2100]
    assert day(billed[-1].created) == "2026-07-11"
    assert town.subscription(begun.id).status == "canceled"


def test_asked_to_end_with_the_period_and_taken_back_month_after_month(town: Town) -> None:
    clock = town.clock(at("2026-01-01"))
    customer = town.customer(clock)
    begun = town.subscribe(customer, fee(town), town.metered(unit_amount=5))
    subscriptions = town.client.v1.subscriptions

    def waver(latest: stripe.Invoice | None) -> None:
        if latest is not None and latest.created == at("2027-01-01"):
            return  # it has ended
        town.use(customer, "2")
        subscriptions.update(begun.id, {"cancel_at_period_end": True})
        ending = upcoming(town, begun.id)
        assert ending is not None
        assert ending.total == 10  # usage, and no licence
        if ending.created < at("2027-01-01"):
            subscriptions.update(begun.id, {"cancel_at_period_end": False})

    billed = previews_hold(town, clock, begun.id, at("2027-06-01"), waver)

    assert [each.total for each in billed] == [*[3110] * 11, 10]
    assert town.subscription(begun.id).status == "canceled"
    assert upcoming(town, begun.id) is None


# ─── Collection ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("keep_as_draft", "draft"), ("mark_uncollectible", "uncollectible"), ("void", "void")],
)
def test_collection_is_paused_for_four_months_of_a_year(
    town: Town, behavior: str, status: str
) -> None:
    clock = town.clock(at("2026-01-01"))
    customer = town.customer(clock)
    begun = town.subscribe(customer, fee(town), town.metered(unit_amount=5))

    def pause(latest: stripe.Invoice | None) -> None:
        town.use(customer, "2")
        if latest is not None and day(latest.created) == "2026-04-01":
            town.client.v1.subscriptions.update(
                begun.id,
                {
                    "pause_collection": {
                        "behavior": behavior,  # type: ignore[typeddict-item]
                        "resumes_at": at("2026-08-15"),
                    }
                },
            )

    billed = previews_hold(town, clock, begun.id, at("2027-01-01"), pause)

    assert [each.total for each in billed] == [3110] * 12
    expected = [*["paid"] * 3, *[status] * 4, *["paid"] * 5]
    assert [each.status for each in town.invoices(begun.id)[1:]] == expected
    after = town.subscription(begun.id)
    assert (after.status, after.pause_collection) == ("active", None)


def test_a_year_of_sent_invoices(town: Town) -> None:
    """Each is finalized an hour after its renewal and due fifteen days later; all are paid."""
    clock = town.clock(at("2026-01-01"))
    customer = town.customer(clock, card=None)
    begun = town.subscribe(
        customer,
        fee(town),
        town.metered(unit_amount=5),
        collection_method="send_invoice",
        days_until_due=15,
    )
    assert begun.status == "active"
    invoices = town.client.v1.invoices

    def pay(latest: stripe.Invoice | None) -> None:
        town.use(customer, "2")
        if latest is None:
            town.advance(clock, at("2026-01-01") + HOUR)
            [latest] = town.invoices(begun.id)
        assert (latest.status, latest.amount_remaining) == ("open", latest.total)
        assert latest.due_date == latest.created + HOUR + 15 * DAY
        assert latest.next_payment_attempt is None
        invoices.pay(latest.id, {"paid_out_of_band": True})

    billed = previews_hold(town, clock, begun.id, at("2027-01-01"), pay)

    assert [each.total for each in billed] == [3110] * 12
    assert {each.status for each in town.invoices(begun.id)} == {"paid"}
    assert town.subscription(begun.id).status == "active"


# ─── One invoice, or one each ────────────────────────────────────────────────────────────────


def test_a_year_of_usage_on_invoices_of_its_own(town: Town) -> None:
    """Both have the tax; what comes off once comes off the first of them, which is the usage's."""
    clock = town.clock(at("2026-01-01"))
    customer = town.customer(clock)
    tax = town.client.v1.tax_rates.create(
        {"display_name": "VAT", "percentage": 10, "inclusive": False}
    )
    begun = town.subscribe(
        customer,
        fee(town),
        town.metered(unit_amount=5),
        usage_invoicing="separate",
        default_tax_rates=[tax.id],
    )
    coupon = town.client.v1.coupons.create({"amount_off": 20, "currency": "usd"})

    def use(latest: stripe.Invoice | None) -> None:
        town.use(customer, "10")
        if latest is not None and day(latest.created) == "2026-04-01":
            town.client.v1.subscriptions.update(begun.id, {"discounts": [{"coupon": coupon.id}]})
        if latest is not None and day(latest.created) == "2026-06-01":
            town.client.v1.customers.balance_transactions.create(
                customer, {"amount": -100, "currency": "usd"}
            )

    billed = previews_hold(town, clock, begun.id, at("2027-01-01"), use)

    assert [each.total for each in billed] == [3410] * 12
    every = town.invoices(begun.id)[1:]
    assert [each.total for each in every[0::2]] == [*[55] * 3, 33, *[55] * 8]
    assert [each.total for each in every[1::2]] == [3410] * 12
    assert [each.amount_due for each in every[10:12]] == [0, 3410 - 45]
    assert {each.status for each in every} == {"paid"}
