"""Warned in time: at a share of what is included, at an amount, once, and once a month."""

from __future__ import annotations

from typing import Any

import httpx
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY
TIERS: dict[str, Any] = {
    "billing_scheme": "tiered",
    "tiers_mode": "graduated",
    "tiers": [{"up_to": 1000, "unit_amount": 0}, {"up_to": "inf", "unit_amount": 2}],
}


def ask(town: Town, path: str, data: dict[str, str] | None = None) -> Any:
    """What is ours and not the SDK's, by plain HTTP."""
    answer = httpx.request(
        "GET" if data is None else "POST",
        town.base + path,
        data=data,
        auth=(town.secret, ""),
        trust_env=False,
    )
    assert answer.is_success, answer.text
    return answer.json()


def warn(town: Town, meter: str, **threshold: str) -> str:
    """An alert of every billing window of the meter."""
    given = {"meter": meter, "recurrence": "billing_period", **threshold}
    data = {"alert_type": "usage_threshold", "title": "High"}
    data |= {f"usage_threshold[{name}]": value for name, value in given.items()}
    alert: str = ask(town, "/v1/billing/alerts", data)["id"]
    return alert


def warnings(town: Town) -> list[dict[str, Any]]:
    """What alerts said, oldest first."""
    page = ask(town, "/v1/events?type=billing.alert.triggered&limit=100")
    return [each["data"]["object"] for each in reversed(page["data"])]


def position(town: Town, subscription: str) -> dict[str, Any]:
    [found] = ask(town, f"/v1/subscriptions/{subscription}/usage")["data"]
    assert isinstance(found, dict)
    return found


def keys(said: dict[str, Any], *names: str) -> list[Any]:
    return [said[name] for name in names]


def test_a_customer_is_warned_as_the_month_goes(town: Town) -> None:
    """
    1 Jan ─ 700 ─ 850 (80 %) ─ 1000 (100 %) ─ 1250 ($5) ─ 1 Feb ─ 900 (80 %)
    """
    clock = town.clock()
    customer = town.customer(clock)
    price = town.metered(**TIERS)
    meter = town.client.v1.prices.retrieve(price).recurring.meter  # type: ignore[union-attr]
    assert isinstance(meter, str)
    subscription = town.subscribe(customer, price)
    most, all_ = (warn(town, meter, percent=each) for each in ("80", "100"))
    dollars = warn(town, meter, amount="500")

    town.use(customer, "700")
    assert warnings(town) == []
    town.advance(clock, JANUARY + 10 * DAY)
    town.use(customer, "150")
    [said] = warnings(town)
    assert said["alert"]["id"] == most
    assert said["created"] == JANUARY + 10 * DAY
    january = {"start": JANUARY, "end": FEBRUARY}
    assert keys(said, "included", "used", "remaining", "overage", "overage_amount") == [
        "1000",
        "850",
        "150",
        "0",
        0,
    ]
    assert keys(said, "customer", "subscription", "window") == [
        customer,
        subscription.id,
        january,
    ]
    for name in ("amount", "included", "used", "percent", "window", "subscription_item"):
        assert said[name] == position(town, subscription.id)[name]

    town.use(customer, "150")
    town.use(customer, "250")
    told = [(each["alert"]["id"], each["value"], each["amount"]) for each in warnings(town)]
    assert told == [(most, 850, 0), (all_, 1000, 0), (dollars, 1250, 500)]
    town.use(customer, "250")
    assert len(warnings(town)) == 3

    town.advance(clock, FEBRUARY + HOUR)
    [invoice] = town.invoices(subscription.id)
    assert invoice.total == 1000
    now = position(town, subscription.id)
    assert keys(now, "used", "window") == ["0", {"start": FEBRUARY, "end": MARCH}]
    town.use(customer, "900")
    [*_, said] = warnings(town)
    assert len(warnings(town)) == 4
    assert (said["alert"]["id"], said["window"]) == (most, {"start": FEBRUARY, "end": MARCH})


def test_usage_in_the_hour_of_grace_warns_of_the_month_it_is_billed_in(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    price = town.metered(unit_amount=10)
    meter = town.client.v1.prices.retrieve(price).recurring.meter  # type: ignore[union-attr]
    assert isinstance(meter, str)
    subscription = town.subscribe(customer, price)
    warn(town, meter, gte="100")
    town.use(customer, "60")
    town.advance(clock, FEBRUARY + HOUR // 2)
    town.use(customer, "60", timestamp=FEBRUARY - HOUR)
    town.use(customer, "60")
    [said] = warnings(town)
    assert keys(said, "value", "window") == [120, {"start": JANUARY, "end": FEBRUARY}]
    town.advance(clock, FEBRUARY + HOUR)
    [invoice] = town.invoices(subscription.id)
    assert invoice.total == said["amount"] == 1200


def test_stripes_alert_is_of_everything_a_customer_ever_used(town: Town) -> None:
    clock = town.clock()
    ada, bob = town.customer(clock), town.customer(clock)
    price = town.metered(unit_amount=10)
    meter = town.client.v1.prices.retrieve(price).recurring.meter  # type: ignore[union-attr]
    assert isinstance(meter, str)
    for customer in (ada, bob):
        town.subscribe(customer, price)
    town.use(ada, "50")
    alert = town.client.v1.billing.alerts.create(
        {
            "alert_type": "usage_threshold",
            "title": "A hundred calls",
            "usage_threshold": {"meter": meter, "gte": 100, "recurrence": "one_time"},
        }
    )
    town.advance(clock, FEBRUARY + HOUR)
    town.use(bob, "99")
    town.use(ada, "49")
    assert warnings(town) == []
    town.use(ada, "3")
    town.use(ada, "300")
    [event] = town.client.v1.events.list({"type": "billing.alert.triggered"}).data
    said: Any = event.data.object
    assert (said.alert.id, said.customer, said.value) == (alert.id, ada, 102)

    town.client.v1.billing.alerts.archive(alert.id)
    town.use(bob, "99")
    assert len(warnings(town)) == 1
    assert {"billing.alert", "billing.alert_triggered"} <= town.judge.seen


def test_a_subscription_that_ended_with_its_period_shows_where_it_stood(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.metered(**TIERS), cancel_at_period_end=True)
    town.use(customer, "1200")
    before = position(town, subscription.id)
    town.advance(clock, FEBRUARY + HOUR)
    assert town.subscription(subscription.id).status == "canceled"
    assert position(town, subscription.id) == before
    assert [each.total for each in town.invoices(subscription.id)] == [before["amount"]] == [400]
