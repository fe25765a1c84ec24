"""Subscriptions of both APIs at once: what meets in one life, and what the other API then shows."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from town import HOUR, Town, at

from all_at_once import all_at_once
from frame_client import Frame, FrameError

JANUARY, FEBRUARY, MARCH = at("2026-01-01"), at("2026-02-01"), at("2026-03-01")
ELEVENTH = at("2026-01-11")


def product(frame: Frame, amount: int, *phases: dict[str, Any], interval: str = "monthly") -> str:
    asked = {"name": f"{amount}", "default_price": amount, "purchase_type": "recurring"}
    made: str = frame.post("/v1/products", asked | {"recurring_interval": interval})["id"]
    for ordinal, phase in enumerate(phases, start=1):
        frame.post(f"/v1/products/{made}/phases", {"ordinal": ordinal} | phase)
    return made


def static(amount: int, count: int | None = 1) -> dict[str, Any]:
    return {"pricing_type": "static", "amount_cents": amount, "period_count": count}


def relative(percentage: float, count: int | None = 1) -> dict[str, Any]:
    asked = {"pricing_type": "relative", "discount_percentage": percentage}
    return {**asked, "period_count": count}


def price_of(town: Town, product_id: str) -> str:
    found = town.client.v1.products.retrieve(product_id).default_price
    assert isinstance(found, str)
    return found


def subscribe(
    town: Town, frame: Frame, clock: str, product_id: str, card: str = "pm_card_visa"
) -> str:
    asked = {"customer": town.customer(clock, card), "product": product_id, "currency": "USD"}
    made: str = frame.post("/v1/subscriptions", asked)["id"]
    return made


def path(subscription_id: str) -> str:
    return f"/v1/subscriptions/{subscription_id}"


def totals(town: Town, subscription_id: str) -> list[int]:
    return [each.total for each in town.invoices(subscription_id)]


def logs(frame: Frame, subscription_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = frame.get(path(subscription_id) + "/change_logs")["data"]
    return found


def paid(town: Town, subscription_id: str) -> str:
    found = town.subscription(subscription_id).customer
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("count", [2, None], ids=["of two periods", "without an end"])
def test_a_phase_ends_with_its_subscription(town: Town, frame: Frame, count: int | None) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, 8000, static(4000, count)))
    town.advance(clock, ELEVENTH)
    ended = frame.post(path(key) + "/cancel")
    assert (ended["status"], ended["current_phase"]) == ("canceled", None)
    assert [each["ended_at"] for each in ended["phases"]] == [ELEVENTH]


def test_a_phase_ends_with_a_subscription_that_time_ends(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, 8000, static(4000, 3)))
    unpaid = subscribe(
        town, frame, clock, product(frame, 8000, static(4000, 3)), "pm_card_chargeCustomerFail"
    )
    town.client.v1.subscriptions.update(key, {"cancel_at_period_end": True})
    town.advance(clock, FEBRUARY + HOUR)
    for one in (key, unpaid):
        assert frame.get(path(one))["current_phase"] is None
    assert totals(town, key) == [4000]


def test_a_price_of_stripes_ends_the_phase_that_runs(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, 8000, static(4000, None)))
    [item] = town.subscription(key)["items"].data
    other = town.price(unit_amount=100)
    town.client.v1.subscriptions.update(
        key, {"items": [{"id": item.id, "price": other}], "proration_behavior": "none"}
    )
    seen = frame.get(path(key))
    assert (seen["current_phase"], seen["effective_amount"]) == (None, 100)
    assert [each["ended_at"] for each in seen["phases"]] == [JANUARY]
    frame.post(path(key) + "/phases", relative(50) | {"ordinal": 2})  # of what is sold by now
    town.advance(clock, MARCH + HOUR)
    assert totals(town, key) == [4000, 50, 100]


def test_none_of_a_licence_is_none_of_the_next_one(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    made = town.client.v1.subscriptions.create(
        {
            "customer": town.customer(clock),
            "items": [{"price": town.price(unit_amount=1000), "quantity": 0}],
        }
    )
    frame.patch(path(made.id), {"product": product(frame, 3100), "update_interval": "period_end"})
    town.advance(clock, FEBRUARY + HOUR)
    assert frame.get(path(made.id))["quantity"] == 0
    assert totals(town, made.id) == [0, 0]


@pytest.mark.parametrize("when", ["immediately", "period_end"])
def test_a_metered_product_takes_the_place_of_a_licence(
    town: Town, frame: Frame, when: str
) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, 3100))
    metered = town.metered(unit_amount=5)
    calls = str(town.client.v1.prices.retrieve(metered).product)
    town.client.v1.products.update(calls, {"default_price": metered})
    town.advance(clock, ELEVENTH)
    frame.patch(path(key), {"product": calls, "update_interval": when})
    town.advance(clock, FEBRUARY + HOUR)
    town.use(paid(town, key), "100")
    town.advance(clock, MARCH + HOUR)
    assert totals(town, key)[1:] == ([-2100, 500] if when == "immediately" else [0, 500])
    back = {"product": product(frame, 3100), "proration_behavior": "none"}
    frame.patch(path(key), back | {"update_interval": when})
    town.advance(clock, at("2026-04-02"))
    seen = frame.get(path(key))
    assert (seen["quantity"], seen["effective_amount"]) == (1, 3100)
    assert totals(town, key)[-1] == 3100


def test_a_log_says_what_a_coupon_leaves(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, 3100))
    coupon = town.client.v1.coupons.create({"percent_off": 50, "duration": "forever"})
    town.client.v1.subscriptions.update(key, {"discounts": [{"coupon": coupon.id}]})
    town.advance(clock, ELEVENTH)
    for proration in ("always_invoice", "create_prorations"):
        frame.patch(path(key), {"product": product(frame, 6200), "proration_behavior": proration})
        frame.patch(path(key), {"product": product(frame, 3100)})
    assert logs(frame, key)[-1]["adjustment"]["amount"] == totals(town, key)[1]


def test_a_change_of_several_items_is_one_log(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, 3100))
    town.advance(clock, ELEVENTH)
    [item] = town.subscription(key)["items"].data
    seat, calls = town.price(unit_amount=3100), town.metered(unit_amount=5)
    update = town.client.v1.subscriptions.update
    update(
        key,
        {
            "items": [
                {"id": item.id, "quantity": 2},
                {"price": seat, "quantity": 3},
                {"price": calls},
            ],
            "proration_behavior": "always_invoice",
        },
    )
    [log] = logs(frame, key)
    assert log["adjustment"]["amount"] == totals(town, key)[1] == 2100 + 6300
    assert [each["quantity"] for each in log["after"]["items"]] == [2, 3, None]
    town.use(paid(town, key), "100")
    town.advance(clock, at("2026-01-21"))
    meter = town.client.v1.prices.retrieve(calls).recurring
    assert meter is not None
    other = town.price(unit_amount=10, recurring={"usage_type": "metered", "meter": meter.meter})
    by_price = {each.price.id: each for each in town.subscription(key)["items"].data}
    update(
        key,
        {
            "items": [
                {"id": by_price[calls].id, "price": other},
                {"id": by_price[seat].id, "deleted": True},
            ],
            "proration_behavior": "always_invoice",
        },
    )
    log = logs(frame, key)[0]
    # Of three seats 11 of 31 days are given back; the usage before is billed with that, for itself.
    assert (log["adjustment"]["amount"], totals(town, key)[2]) == (-3300, -3300 + 500)
    assert (log["change_type"], len(log["after"]["items"])) == ("downgrade", 2)


def test_a_phase_of_stripes_within_a_period_is_logged_as_one(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    price = town.price(unit_amount=3100)
    name = str(town.client.v1.prices.retrieve(price).product)
    dear = town.client.v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 6200,
            "product": name,
            "recurring": {"interval": "month"},
        }
    ).id
    schedule = town.client.v1.subscription_schedules.create(
        {
            "customer": town.customer(clock),
            "start_date": "now",
            "end_behavior": "release",
            "phases": [
                {"items": [{"price": price}], "end_date": ELEVENTH},
                {
                    "items": [{"price": dear}],
                    "end_date": MARCH,
                    "proration_behavior": "always_invoice",
                },
            ],
        }
    )
    key = str(schedule.subscription)
    town.advance(clock, FEBRUARY + HOUR)
    [log] = logs(frame, key)
    assert (log["change_type"], log["effective_at"]) == ("phase", ELEVENTH)
    assert totals(town, key) == [3100, 2100, 6200]
    assert (log["adjustment"]["collection"], log["adjustment"]["amount"]) == ("immediate", 2100)


@pytest.mark.parametrize("waits", ["phases", "another product"])
def test_what_is_agreed_beside_the_plan_outlives_its_phases(
    town: Town, frame: Frame, waits: str
) -> None:
    """A quantity and a metered item that come through Stripe are not lost with the next phase."""
    clock = town.clock(JANUARY)
    if waits == "phases":
        key = subscribe(town, frame, clock, product(frame, 8000, static(4000), static(5000)))
    else:
        key = subscribe(town, frame, clock, product(frame, 4000))
        asked = {"product": product(frame, 5000), "update_interval": "period_end"}
        frame.patch(path(key), asked)
    [item] = town.subscription(key)["items"].data
    calls = town.metered(unit_amount=5)
    town.client.v1.subscriptions.update(
        key,
        {
            "items": [{"id": item.id, "quantity": 3}, {"price": calls}],
            "proration_behavior": "none",
        },
    )
    town.use(paid(town, key), "10")
    town.advance(clock, FEBRUARY + HOUR)
    town.use(paid(town, key), "20")
    town.advance(clock, MARCH + HOUR)
    last = 3 * (8000 if waits == "phases" else 5000)
    assert totals(town, key) == [4000, 15_000 + 50, last + 100]
    assert frame.get(path(key))["quantity"] == 3


def test_a_blocked_payer_is_resumed_owes_and_gets_no_other_product(
    town: Town, frame: Frame
) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, None)
    card = {"type": "card", "card_number": "4242424242424242", "exp_month": "12"}
    card |= {"exp_year": "2031", "cvc": "123", "customer": customer}
    method = frame.post("/v1/payment_methods", card)["id"]
    asked = {"customer": customer, "product": product(frame, 3100), "currency": "USD"}
    key = frame.post("/v1/subscriptions", asked | {"default_payment_method": method})["id"]
    town.advance(clock, ELEVENTH)
    frame.post(path(key) + "/pause", {"resume_at": FEBRUARY})
    frame.post(f"/v1/payment_methods/{method}/block")
    frame.post(f"/v1/customers/{customer}/block")
    town.advance(clock, FEBRUARY + HOUR)
    seen = frame.get(path(key))
    assert (seen["status"], totals(town, key)) == ("past_due", [3100, 1000])
    for when in ("immediately", "period_end"):
        asked = {"product": product(frame, 9000), "update_interval": when}
        with pytest.raises(FrameError) as refused:
            frame.patch(path(key), asked)
        assert refused.value.code == "customer_blocked"
    frame.post(f"/v1/customers/{customer}/unblock")
    frame.post(f"/v1/payment_methods/{method}/unblock")
    town.client.v1.invoices.pay(str(seen["latest_invoice"]))
    assert frame.get(path(key))["status"] == "active"


def test_subscriptions_end_with_their_customer(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, 8000, static(4000), static(5000)))
    other = subscribe(town, frame, clock, product(frame, 8000))
    frame.patch(path(other), {"product": product(frame, 99000, interval="yearly")})
    third = subscribe(town, frame, clock, product(frame, 8000))
    frame.post(path(third) + "/pause", {"resume_at": FEBRUARY})
    for one in (key, other, third):
        frame.delete(f"/v1/customers/{paid(town, one)}")
        seen = frame.get(path(one))
        shown = [seen["status"], seen["current_phase"], seen["scheduled_change"]]
        assert shown == ["canceled", None, None]
        for call in ("pause", "resume", "cancel"):
            with pytest.raises(FrameError) as refused:
                frame.post(f"{path(one)}/{call}")
            assert refused.value.status in (404, 422)
        with pytest.raises(FrameError) as refused:
            frame.patch(path(one), {"product": product(frame, 7000)})
        assert refused.value.status in (404, 422)
        with pytest.raises(FrameError) as refused:
            frame.post(path(one) + "/phases", static(1) | {"ordinal": 9})
    town.advance(clock, MARCH)


def test_the_change_that_waits_is_edited_through_stripe(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, 8000, relative(33.3333, 3)))
    yearly = product(frame, 99000, interval="yearly")
    frame.patch(path(key), {"product": yearly})
    schedules = town.client.v1.subscription_schedules
    schedule = schedules.retrieve(str(town.subscription(key).schedule))
    same = [
        {
            "items": [
                {"price": str(item.price), "quantity": item.quantity} for item in each["items"]
            ],
            "start_date": each.start_date,
            "end_date": each.end_date,
            "proration_behavior": each.proration_behavior,
        }
        for each in schedule.phases
    ]
    again = schedules.update(schedule.id, {"phases": same})  # type: ignore[typeddict-item]
    assert again.to_dict()["phases"] == schedule.to_dict()["phases"]
    seen = frame.get(path(key))
    assert seen["scheduled_change"]["product"] == yearly
    assert seen["current_phase"]["ordinal"] == 1
    # later through Stripe
    same[1]["items"] = [{"price": price_of(town, product(frame, 50000, interval="yearly"))}]
    schedules.update(schedule.id, {"phases": same})  # type: ignore[typeddict-item]
    town.advance(clock, FEBRUARY + HOUR)
    assert totals(town, key) == [5333, 50000]
    assert [each["ended_at"] for each in frame.get(path(key))["phases"]] == [FEBRUARY]


def test_phases_keep_to_the_month_ends_of_an_anchor_agreed_through_stripe(
    town: Town, frame: Frame
) -> None:
    clock = town.clock(at("2026-02-28 12:00:00"))
    anchor = {"day_of_month": 31, "hour": 1, "minute": 30, "second": 0}
    made = town.client.v1.subscriptions.create(
        {
            "customer": town.customer(clock),
            "items": [{"price": town.price(unit_amount=1000)}],
            "billing_cycle_anchor_config": anchor,  # type: ignore[typeddict-item]
        }
    )
    frame.post(path(made.id) + "/phases", relative(50, 2) | {"ordinal": 1})
    town.advance(clock, at("2026-08-15"))
    billed = [(each.total, each.lines.data[0].period.start) for each in town.invoices(made.id)[1:]]
    assert billed == [
        (500, at("2026-03-31 01:30:00")),
        (500, at("2026-04-30 01:30:00")),
        (1000, at("2026-05-31 01:30:00")),
        (1000, at("2026-06-30 01:30:00")),
        (1000, at("2026-07-31 01:30:00")),
    ]


def test_several_who_want_something_else_of_one_subscription_at_once(
    town: Town, frame: Frame
) -> None:
    """Each is answered, as if they had queued; the end is the end, whenever its turn was."""
    clock = town.clock(JANUARY)
    first = product(frame, 3100, static(1000, 2))
    kept = [subscribe(town, frame, clock, first) for _ in range(6)]
    other, yearly = product(frame, 6200), product(frame, 9000, interval="yearly")
    town.advance(clock, ELEVENTH)

    def asked(key: str, path_of: str, body: dict[str, Any] | None) -> Any:
        with Frame(town.base, town.secret) as own:
            try:
                return own.request("PATCH" if path_of == "" else "POST", path(key) + path_of, body)
            except FrameError as refused:
                return refused

    at_once = {"product": other, "proration_behavior": "always_invoice"}
    wanted: list[tuple[str, dict[str, Any] | None]] = [
        ("", at_once),
        ("", {"product": yearly}),
        ("/pause", None),
        ("/resume", None),
        ("/phases", static(2000) | {"ordinal": 5}),
        ("/cancel", None),
        ("/cancel", None),
    ]
    for key in kept:
        answers = all_at_once([partial(asked, key, *each) for each in wanted])
        refused = [each for each in answers if isinstance(each, FrameError)]
        assert {each.status for each in refused} <= {404, 422}
        assert sum(not isinstance(each, FrameError) for each in answers[-2:]) == 1
        seen = frame.get(path(key))
        assert (seen["status"], seen["current_phase"]) == ("canceled", None)
        assert seen["scheduled_change"] is None
        billed = [each["adjustment"]["invoice"] for each in logs(frame, key)]
        assert {each.id for each in town.invoices(key)[1:]} >= {each for each in billed if each}
    before = [totals(town, key) for key in kept]
    town.advance(clock, MARCH)
    assert [totals(town, key) for key in kept] == before
