"""How subscriptions begin: at an anchor to come, in the past, by the calendar, with a trial."""

import pytest
import stripe
from town import DAY, HOUR, Town, at, day


def fee(town: Town, amount: int = 3100, **more: object) -> str:
    return town.price(unit_amount=amount, product_data={"name": "Fee"}, **more)


def shown(invoice: stripe.Invoice) -> list[tuple[str, int, str, str]]:
    """What each line says, what it comes to, and for when."""
    return [
        (line.description or "", line.amount, day(line.period.start), day(line.period.end))
        for line in invoice.lines.data
    ]


def upcoming(town: Town, subscription_id: str) -> stripe.Invoice:
    return town.client.v1.invoices.create_preview({"subscription": subscription_id})


# ─── Anchors ─────────────────────────────────────────────────────────────────────────────────


def test_until_an_anchor_to_come_the_rest_of_the_period_is_paid(town: Town) -> None:
    clock = town.clock(at("2026-01-15"))
    customer = town.customer(clock)
    asked = {
        "customer": customer,
        "items": [{"price": fee(town)}, {"price": town.metered(unit_amount=5)}],
        "billing_cycle_anchor": at("2026-02-01"),
    }
    preview = town.client.v1.invoices.create_preview(
        {
            "customer": customer,
            "subscription_details": {
                "items": asked["items"],
                "billing_cycle_anchor": at("2026-02-01"),
            },
        }  # type: ignore[typeddict-item]
    )
    begun = town.client.v1.subscriptions.create(asked)  # type: ignore[arg-type]

    assert (begun.status, begun.billing_cycle_anchor) == ("active", at("2026-02-01"))
    [first] = town.invoices(begun.id)
    assert shown(first) == [
        ("Time on Fee from 15 Jan 2026 until 01 Feb 2026", 1700, "2026-01-15", "2026-02-01")
    ]
    assert shown(preview) == shown(first)
    assert (first.status, first.billing_reason) == ("paid", "subscription_create")

    town.use(customer, "100", timestamp=at("2026-01-15"))
    town.advance(clock, at("2026-02-01") + HOUR)
    second = town.invoices(begun.id)[1]
    assert shown(second) == [
        ("100 × Calls (at $0.05 / month)", 500, "2026-01-15", "2026-02-01"),
        ("1 × Fee (at $31.00 / month)", 3100, "2026-02-01", "2026-03-01"),
    ]
    assert [day(item.current_period_end) for item in town.subscription(begun.id)["items"]] == [
        "2026-03-01",
        "2026-03-01",
    ]


def test_without_prorations_the_time_until_the_anchor_is_free(town: Town) -> None:
    clock = town.clock(at("2026-01-15"))
    customer = town.customer(clock)
    begun = town.subscribe(
        customer,
        fee(town),
        billing_cycle_anchor=at("2026-02-01"),
        proration_behavior="none",
    )
    assert (begun.status, begun.latest_invoice) == ("active", None)
    expected = shown(upcoming(town, begun.id))
    town.advance(clock, at("2026-02-01") + HOUR)
    [first] = town.invoices(begun.id)
    assert shown(first) == expected
    assert first.total == 3100


@pytest.mark.parametrize(
    ("anchor", "match"),
    [("2026-01-14", "must be in the future"), ("2026-02-16", "next natural billing date")],
)
def test_an_anchor_is_within_one_period(town: Town, anchor: str, match: str) -> None:
    customer = town.customer(town.clock(at("2026-01-15")))
    with pytest.raises(stripe.InvalidRequestError, match=match) as refused:
        town.subscribe(customer, fee(town), billing_cycle_anchor=at(anchor))
    assert refused.value.param == "billing_cycle_anchor"


def test_the_end_of_the_month_over_a_leap_year(town: Town) -> None:
    clock = town.clock(at("2028-01-10 12:00"))
    begun = town.subscribe(
        town.customer(clock),
        fee(town),
        billing_cycle_anchor_config={"day_of_month": 31, "hour": 0, "minute": 0, "second": 0},
    )
    assert begun.billing_cycle_anchor == at("2028-01-31")
    assert begun.billing_cycle_anchor_config is not None
    assert begun.billing_cycle_anchor_config.to_dict() == {
        "day_of_month": 31,
        "hour": 0,
        "minute": 0,
        "month": None,
        "second": 0,
    }
    town.advance(clock, at("2029-02-28 02:00"))
    ends = [day(each.period_end) for each in town.invoices(begun.id)[1:]]
    assert ends == [
        "2028-01-31",
        "2028-02-29",
        "2028-03-31",
        "2028-04-30",
        "2028-05-31",
        "2028-06-30",
        "2028-07-31",
        "2028-08-31",
        "2028-09-30",
        "2028-10-31",
        "2028-11-30",
        "2028-12-31",
        "2029-01-31",
        "2029-02-28",
    ]
    assert {each.total for each in town.invoices(begun.id)[1:]} == {3100}


def test_an_anchor_further_ahead_than_the_first_full_invoice(town: Town) -> None:
    """Stripe's example: every two months from February on day 31 is counted from 31 August."""
    clock = town.clock(at("2026-02-10"))
    every_two_months = fee(town, recurring={"interval_count": 2})
    begun = town.subscribe(
        town.customer(clock), every_two_months, billing_cycle_anchor_config={"day_of_month": 31}
    )
    assert begun.billing_cycle_anchor == at("2026-08-31")
    assert day(begun["items"].data[0].current_period_end) == "2026-02-28"
    town.advance(clock, at("2026-09-01"))
    assert [day(each.period_end) for each in town.invoices(begun.id)[1:]] == [
        "2026-02-28",
        "2026-04-30",
        "2026-06-30",
        "2026-08-31",
    ]


# ─── The past ────────────────────────────────────────────────────────────────────────────────


def test_backdated_with_a_line_for_each_period_that_has_passed(town: Town) -> None:
    clock = town.clock(at("2026-03-10"))
    customer = town.customer(clock)
    calls = town.metered(unit_amount=5)
    town.use(customer, "10", timestamp=at("2026-02-20"))
    town.use(customer, "20", timestamp=at("2026-03-05"))
    begun = town.subscribe(
        customer,
        fee(town),
        calls,
        backdate_start_date=at("2026-02-15"),
        billing_cycle_anchor=at("2026-04-01"),
    )
    assert (begun.start_date, begun.status) == (at("2026-02-15"), "active")
    [first] = town.invoices(begun.id)
    assert shown(first) == [
        ("10 × Calls (at $0.05 / month)", 50, "2026-02-15", "2026-03-01"),
        ("Time on Fee from 15 Feb 2026 until 01 Mar 2026", 1550, "2026-02-15", "2026-03-01"),
        ("1 × Fee (at $31.00 / month)", 3100, "2026-03-01", "2026-04-01"),
    ]
    town.advance(clock, at("2026-04-01") + HOUR)
    assert shown(town.invoices(begun.id)[1]) == [
        ("20 × Calls (at $0.05 / month)", 100, "2026-03-01", "2026-04-01"),
        ("1 × Fee (at $31.00 / month)", 3100, "2026-04-01", "2026-05-01"),
    ]


def test_backdated_in_classic_mode_with_one_line(town: Town) -> None:
    clock = town.clock(at("2026-02-10"))
    customer = town.customer(clock)
    calls = town.metered(unit_amount=5)
    town.use(customer, "10", timestamp=at("2026-01-20"))
    begun = town.subscribe(
        customer,
        fee(town),
        calls,
        billing_mode={"type": "classic"},
        backdate_start_date=at("2026-01-15"),
        billing_cycle_anchor=at("2026-03-01"),
    )
    [first] = town.invoices(begun.id)
    assert first.total == 1700 + 3100  # 17/31 of January and all of February
    assert [line.amount for line in first.lines.data] == [0, 4800]
    town.advance(clock, at("2026-03-01") + HOUR)
    lines = shown(town.invoices(begun.id)[1])
    assert lines[0] == ("10 × Calls (at $0.05 / month)", 50, "2026-01-15", "2026-03-01")


def test_flexible_counts_from_the_backdated_start(town: Town) -> None:
    clock = town.clock(at("2026-03-10"))
    begun = town.subscribe(
        town.customer(clock), fee(town), backdate_start_date=at("2026-01-31 08:00")
    )
    assert begun.billing_cycle_anchor == at("2026-01-31 08:00")
    [first] = town.invoices(begun.id)
    assert [line[1:] for line in shown(first)] == [
        (3100, "2026-01-31", "2026-02-28"),
        (3100, "2026-02-28", "2026-03-31"),
    ]


# ─── Several intervals ───────────────────────────────────────────────────────────────────────


def test_an_annual_fee_with_monthly_usage(town: Town) -> None:
    clock = town.clock(at("2026-01-01"))
    customer = town.customer(clock)
    annual = fee(town, 120000, recurring={"interval": "year"})
    begun = town.subscribe(customer, annual, town.metered(unit_amount=2))
    ends = {day(item.current_period_end) for item in begun["items"]}
    assert ends == {"2026-02-01", "2027-01-01"}
    for month in range(12):
        town.use(customer, "100")
        due = at("2027-01-01") if month == 11 else at(f"2026-{month + 2:02}-01")
        expected = shown(upcoming(town, begun.id))
        town.advance(clock, due + HOUR)
        latest = town.invoices(begun.id)[-1]
        assert shown(latest) == expected
        assert latest.total == (200 + 120000 if month == 11 else 200)
    assert len(town.invoices(begun.id)) == 13
    renewal = town.invoices(begun.id)[-1]
    assert (day(renewal.period_start), day(renewal.period_end)) == ("2026-12-01", "2027-01-01")


@pytest.mark.parametrize(
    ("mode", "recurring", "match"),
    [
        ("flexible", {"interval": "week"}, "multiples of the shortest"),
        ("classic", {"interval": "year"}, "same billing interval"),
    ],
)
def test_intervals_that_do_not_fit(
    town: Town, mode: str, recurring: dict[str, str], match: str
) -> None:
    prices = [fee(town), fee(town, recurring=recurring)]
    with pytest.raises(stripe.InvalidRequestError, match=match):
        town.subscribe(town.customer(town.clock()), *prices, billing_mode={"type": mode})


# ─── Trials ──────────────────────────────────────────────────────────────────────────────────


def test_a_trial_costs_nothing_and_ends_with_an_invoice(town: Town) -> None:
    clock = town.clock(at("2026-01-01"))
    customer = town.customer(clock)
    begun = town.subscribe(customer, fee(town), town.metered(unit_amount=5), trial_period_days=14)
    assert begun.status == "trialing"
    assert (begun.trial_start, begun.trial_end) == (at("2026-01-01"), at("2026-01-15"))
    assert begun.billing_cycle_anchor == at("2026-01-15")
    [first] = town.invoices(begun.id)
    assert shown(first) == [("Free trial for 1 × Fee", 0, "2026-01-01", "2026-01-15")]
    assert first.status == "paid"

    town.use(customer, "1000", timestamp=at("2026-01-01"))
    town.advance(clock, at("2026-01-12"))
    said = [each.type for each in town.events(begun.id)]
    assert said[-1] == "customer.subscription.trial_will_end"
    assert town.subscription(begun.id).status == "trialing"

    expected = shown(upcoming(town, begun.id))
    town.advance(clock, at("2026-01-15") + HOUR)
    second = town.invoices(begun.id)[1]
    assert shown(second) == expected
    assert shown(second) == [("1 × Fee (at $31.00 / month)", 3100, "2026-01-15", "2026-02-15")]
    assert (second.status, second.billing_reason) == ("paid", "subscription_cycle")
    assert town.subscription(begun.id).status == "active"

    town.use(customer, "7")
    town.advance(clock, at("2026-02-15") + HOUR)
    assert town.invoices(begun.id)[2].total == 3100 + 35


def test_a_classic_trial_says_so_at_the_end_of_the_line(town: Town) -> None:
    clock = town.clock(at("2026-01-01"))
    begun = town.subscribe(
        town.customer(clock),
        fee(town),
        trial_end=at("2026-02-01"),
        billing_mode={"type": "classic"},
    )
    [first] = town.invoices(begun.id)
    assert shown(first) == [("1 × Fee (Free trial)", 0, "2026-01-01", "2026-02-01")]


def test_a_trial_into_past_due(town: Town) -> None:
    clock = town.clock(at("2026-01-01"))
    customer = town.customer(clock, card=None)
    begun = town.subscribe(customer, fee(town), trial_period_days=7)
    town.advance(clock, at("2026-01-08") + HOUR)
    assert town.subscription(begun.id).status == "past_due"
    town.pays_with(customer, "pm_card_visa")
    town.client.v1.invoices.pay(town.invoices(begun.id)[-1].id)
    assert town.subscription(begun.id).status == "active"


@pytest.mark.parametrize(
    ("behavior", "status", "event"),
    [
        ("cancel", "canceled", "customer.subscription.deleted"),
        ("pause", "paused", "customer.subscription.paused"),
    ],
)
def test_a_trial_that_ends_with_nothing_to_pay_with(
    town: Town, behavior: str, status: str, event: str
) -> None:
    clock = town.clock(at("2026-01-01"))
    begun = town.subscribe(
        town.customer(clock, card=None),
        fee(town),
        trial_period_days=7,
        trial_settings={"end_behavior": {"missing_payment_method": behavior}},
    )
    town.advance(clock, at("2026-03-01"))
    after = town.subscription(begun.id)
    assert after.status == status
    assert len(town.invoices(begun.id)) == 1
    assert town.events(begun.id)[-1].type == event


def test_with_something_to_pay_with_the_trial_ends_as_any(town: Town) -> None:
    clock = town.clock(at("2026-01-01"))
    begun = town.subscribe(
        town.customer(clock),
        fee(town),
        trial_period_days=7,
        trial_settings={"end_behavior": {"missing_payment_method": "pause"}},
    )
    town.advance(clock, at("2026-01-08") + HOUR)
    assert town.subscription(begun.id).status == "active"
    assert [each.total for each in town.invoices(begun.id)] == [0, 3100]


def test_a_short_trial_says_at_once_that_it_will_end(town: Town) -> None:
    clock = town.clock(at("2026-01-01"))
    begun = town.subscribe(town.customer(clock), fee(town), trial_end=at("2026-01-03"))
    types = [each.type for each in town.events(begun.id)]
    assert types == ["customer.subscription.created", "customer.subscription.trial_will_end"]


def test_a_trial_has_an_end_within_two_years(town: Town) -> None:
    customer = town.customer(town.clock(at("2026-01-01")))
    with pytest.raises(stripe.InvalidRequestError, match="730 days"):
        town.subscribe(customer, fee(town), trial_end=at("2026-01-01") + 731 * DAY)
