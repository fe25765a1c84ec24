"""Phases through Frame's API: what each period costs until the product's own price goes on."""

from __future__ import annotations

from typing import Any

import pytest
from town import HOUR, Town, at, day

from frame_client import Frame, FrameError

JANUARY, FEBRUARY, MARCH = at("2026-01-01"), at("2026-02-01"), at("2026-03-01")


def product(frame: Frame, *phases: dict[str, Any], amount: int = 9901, **more: Any) -> str:
    asked = {
        "name": "Pro",
        "default_price": amount,
        "purchase_type": "recurring",
        "recurring_interval": "monthly",
    }
    made: str = frame.post("/v1/products", asked | more)["id"]
    for ordinal, phase in enumerate(phases, start=1):
        frame.post(f"/v1/products/{made}/phases", {"ordinal": ordinal} | phase)
    return made


def static(amount: int, count: int | None = 1, **more: Any) -> dict[str, Any]:
    return {"pricing_type": "static", "amount_cents": amount, "period_count": count, **more}


def relative(percentage: float, count: int | None = 1, **more: Any) -> dict[str, Any]:
    asked = {"pricing_type": "relative", "discount_percentage": percentage}
    return {**asked, "period_count": count, **more}


def subscribe(town: Town, frame: Frame, clock: str, product_id: str, **more: Any) -> dict[str, Any]:
    asked = {"customer": town.customer(clock), "product": product_id, "currency": "USD"}
    return frame.post("/v1/subscriptions", asked | more)


def path(subscription_id: str) -> str:
    return f"/v1/subscriptions/{subscription_id}"


def paper(town: Town, subscription_id: str) -> list[tuple[str, int]]:
    """When each invoice's period began, and its total; all of them are paid."""
    found = town.invoices(subscription_id)
    assert {each.status for each in found} == {"paid"}
    return [(day(each.lines.data[0].period.start), each.total) for each in found]


def phases(frame: Frame, subscription_id: str) -> list[tuple[int, str | None, str | None]]:
    """The phases' ordinals, and when they started and ended."""
    return [
        (
            each["ordinal"],
            each["started_at"] and day(each["started_at"]),
            each["ended_at"] and day(each["ended_at"]),
        )
        for each in frame.get(path(subscription_id) + "/phases")["phases"]
    ]


def test_a_year_begins_free_goes_on_at_half_and_then_at_full_price(
    town: Town, frame: Frame
) -> None:
    clock = town.clock(at("2026-01-31"))
    sold = product(frame, static(0, name="Trial"), relative(50, 3))
    made = subscribe(town, frame, clock, sold)
    key = made["id"]
    assert (made["status"], made["effective_amount"], made["has_phases"]) == ("active", 0, True)
    assert made["phases"] == frame.get(path(key) + "/phases")["data"]
    assert made["current_phase"] == made["phases"][0]
    trial, half = made["phases"]
    assert (trial["name"], trial["amount"], day(trial["started_at"])) == ("Trial", 0, "2026-01-31")
    assert (half["discount_percentage"], half["started_at"]) == (50, None)
    assert (trial["phaseable_type"], trial["phaseable_id"]) == ("Subscription", key)
    template = frame.get(f"/v1/products/{sold}/phases")["data"]
    assert not {each["id"] for each in template} & {each["id"] for each in made["phases"]}

    schedule_id = str(town.subscription(key).schedule)
    schedule = town.client.v1.subscription_schedules.retrieve(schedule_id)
    planned = [(day(each.start_date), day(each.end_date)) for each in schedule.phases]
    assert planned == [
        ("2026-01-31", "2026-02-28"),
        ("2026-02-28", "2026-05-31"),
        ("2026-05-31", "2026-06-30"),
    ]

    previews = town.client.v1.invoices
    assert previews.create_preview({"subscription": key}).total == 4951
    town.advance(clock, at("2026-03-15"))
    seen = frame.get(path(key))
    assert previews.create_preview({"subscription": key}).total == 4951
    assert seen["effective_amount"] == 4951  # of 99.01 a half is 49.505, rounded at the line
    assert seen["current_phase"]["id"] == half["id"]
    assert phases(frame, key) == [(1, "2026-01-31", "2026-02-28"), (2, "2026-02-28", None)]

    town.advance(clock, at("2027-01-30"))
    assert paper(town, key) == [
        ("2026-01-31", 0),
        ("2026-02-28", 4951),
        ("2026-03-31", 4951),
        ("2026-04-30", 4951),
        ("2026-05-31", 9901),
        ("2026-06-30", 9901),
        ("2026-07-31", 9901),
        ("2026-08-31", 9901),
        ("2026-09-30", 9901),
        ("2026-10-31", 9901),
        ("2026-11-30", 9901),
        ("2026-12-31", 9901),
    ]
    seen = frame.get(path(key))
    assert (seen["current_phase"], seen["effective_amount"]) == (None, 9901)
    assert phases(frame, key) == [
        (1, "2026-01-31", "2026-02-28"),
        (2, "2026-02-28", "2026-05-31"),
    ]
    assert town.subscription(key).schedule is None
    released = town.client.v1.subscription_schedules.retrieve(schedule_id)
    assert released.status == "released"
    item = town.subscription(key)["items"].data[0]
    assert item.price.id == town.client.v1.products.retrieve(sold).default_price


def test_a_last_phase_without_a_count_goes_on(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, static(500), relative(33.3333, None)))["id"]
    always = subscribe(town, frame, clock, product(frame, relative(10, None)))["id"]
    town.advance(clock, at("2026-05-15"))
    later = ["2026-02-01", "2026-03-01", "2026-04-01", "2026-05-01"]
    assert paper(town, key) == [("2026-01-01", 500)] + [(each, 6601) for each in later]
    assert frame.get(path(key))["current_phase"]["ordinal"] == 2
    assert [total for _, total in paper(town, always)] == [8911] * 5
    assert town.subscription(always).schedule is None
    for one in (key, always):
        with pytest.raises(FrameError) as refused:
            frame.post(path(one) + "/phases", static(1) | {"ordinal": 9})
        assert refused.value.status == 422
        assert list(refused.value.body["error_details"]["errors"]) == ["ordinal"]


def test_what_becomes_of_the_product_is_nothing_to_those_who_have_it(
    town: Town, frame: Frame
) -> None:
    clock = town.clock(JANUARY)
    sold = product(frame, static(100), static(200))
    key = subscribe(town, frame, clock, sold)["id"]
    for phase in frame.get(f"/v1/products/{sold}/phases")["data"]:
        frame.delete(f"/v1/products/{sold}/phases/{phase['id']}")
    frame.patch(f"/v1/products/{sold}", {"default_price": 1})
    late = subscribe(town, frame, clock, sold)
    assert (late["effective_amount"], late["has_phases"]) == (1, False)
    town.advance(clock, at("2026-04-15"))
    assert [total for _, total in paper(town, key)] == [100, 200, 9901, 9901]
    assert [total for _, total in paper(town, late["id"])] == [1, 1, 1, 1]


def test_phases_are_sold_in_the_currency_of_the_subscription(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    sold = product(frame, static(100), relative(50))
    first = subscribe(town, frame, clock, sold, currency="EUR")
    again = subscribe(town, frame, clock, sold, currency="EUR")
    assert first["phases"][0]["currency"] == "EUR"
    town.advance(clock, at("2026-03-15"))
    for each in (first, again):
        assert paper(town, each["id"]) == [
            ("2026-01-01", 100),
            ("2026-02-01", 4951),
            ("2026-03-01", 9901),
        ]
        assert {one.currency for one in town.invoices(each["id"])} == {"eur"}
    prices = town.client.v1.prices.list({"product": sold, "limit": 100}).data
    assert len(prices) == 4  # the dollars, and each of the three amounts in euros once


def test_phases_to_come_can_be_changed_and_no_others(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, static(0), static(100), static(200)))["id"]
    town.advance(clock, FEBRUARY + HOUR)
    ended, running, coming = frame.get(path(key) + "/phases")["data"]
    for phase, word in [(ended, "has ended"), (running, "is running")]:
        for call in (
            lambda one=phase: frame.patch(f"{path(key)}/phases/{one['id']}", {"name": "x"}),
            lambda one=phase: frame.delete(f"{path(key)}/phases/{one['id']}"),
            lambda one=phase: frame.patch(
                f"{path(key)}/phases/bulk_update", {"phases": [{"id": one["id"], "ordinal": 9}]}
            ),
        ):
            with pytest.raises(FrameError) as refused:
                call()
            assert (refused.value.status, refused.value.code) == (422, "invalid_transition")
            assert word in refused.value.message
    with pytest.raises(FrameError) as refused:
        frame.post(path(key) + "/phases", static(1) | {"ordinal": 0})
    assert list(refused.value.body["error_details"]["errors"]) == ["ordinal"]

    changed = frame.patch(f"{path(key)}/phases/{coming['id']}", {"amount_cents": 300})
    assert (changed["amount"], changed["id"]) == (300, coming["id"])
    added = frame.post(path(key) + "/phases", relative(25, 2) | {"ordinal": 7})
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert (added["ordinal"], added["started_at"]) == (7, None)
    swapped = frame.patch(
        path(key) + "/phases/bulk_update",
        {"phases": [{"id": added["id"], "ordinal": 5}, {"id": coming["id"], "ordinal": 6}]},
    )
    order = [ended["id"], running["id"], added["id"], coming["id"]]
    assert [each["id"] for each in swapped["data"]] == order
    assert swapped["meta"]["subscription_id"] == key

    town.advance(clock, at("2026-07-15"))
    assert paper(town, key) == [
        ("2026-01-01", 0),
        ("2026-02-01", 100),
        ("2026-03-01", 7426),
        ("2026-04-01", 7426),
        ("2026-05-01", 300),
        ("2026-06-01", 9901),
        ("2026-07-01", 9901),
    ]


def test_without_the_phases_to_come_the_base_price_comes_sooner(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, static(0), static(100)))["id"]
    [_, coming] = frame.get(path(key) + "/phases")["data"]
    stub = {"id": coming["id"], "object": "subscription_phase", "deleted": True}
    assert frame.delete(f"{path(key)}/phases/{coming['id']}") == stub
    town.advance(clock, at("2026-03-15"))
    assert [total for _, total in paper(town, key)] == [0, 9901, 9901]
    assert phases(frame, key) == [(1, "2026-01-01", "2026-02-01")]


def test_a_subscription_without_phases_can_get_some(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame))["id"]
    town.advance(clock, at("2026-01-20"))
    first = frame.post(path(key) + "/phases", relative(100) | {"ordinal": 1})
    frame.post(path(key) + "/phases", static(400) | {"ordinal": 2})
    assert frame.get(path(key))["current_phase"] is None
    town.advance(clock, at("2026-05-15"))
    assert [total for _, total in paper(town, key)] == [9901, 0, 400, 9901, 9901]
    with pytest.raises(FrameError) as refused:
        frame.delete(f"{path(key)}/phases/{first['id']}")
    assert "has ended" in refused.value.message
    frame.post(path(key) + "/phases", static(500) | {"ordinal": 3})
    last = frame.post(path(key) + "/phases", static(600) | {"ordinal": 4})
    frame.delete(f"{path(key)}/phases/{last['id']}")
    town.advance(clock, at("2026-07-15"))
    assert [total for _, total in paper(town, key)][5:] == [500, 9901]


def test_phases_of_a_subscription_made_through_stripe_begin_with_its_next_period(
    town: Town, frame: Frame
) -> None:
    clock = town.clock(JANUARY)
    key = town.subscribe(town.customer(clock), town.price(unit_amount=1000)).id
    frame.post(path(key) + "/phases", relative(10, 1) | {"ordinal": 1})
    town.advance(clock, at("2026-03-15"))
    assert [total for _, total in paper(town, key)] == [1000, 900, 1000]


def test_phases_go_by_the_calendar_while_a_subscription_is_paused(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, static(0), static(3100)))["id"]
    town.advance(clock, at("2026-01-11"))
    frame.post(path(key) + "/pause")
    town.advance(clock, at("2026-02-10"))
    assert phases(frame, key) == [(1, "2026-01-01", None), (2, None, None)]
    frame.post(path(key) + "/resume")
    town.advance(clock, at("2026-04-15"))
    assert phases(frame, key) == [
        (1, "2026-01-01", "2026-02-01"),
        (2, "2026-02-01", "2026-03-01"),
    ]
    assert paper(town, key) == [
        ("2026-01-01", 0),
        ("2026-01-11", 0),  # the pause gives back nothing of nothing; a new period begins free
        ("2026-02-10", 3100),  # the second phase has begun meanwhile: it is made up for at once
        ("2026-03-01", 9901 + 3182 - 996),  # 9 of the 28 days at full price, and not at 31.00
        ("2026-04-10", 9901),
    ]


def test_a_schedule_of_its_own_leaves_no_place_for_phases(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    key = town.subscribe(town.customer(clock), town.price(unit_amount=1000)).id
    town.client.v1.subscription_schedules.create({"from_subscription": key})
    with pytest.raises(FrameError) as refused:
        frame.post(path(key) + "/phases", static(1) | {"ordinal": 1})
    assert (refused.value.status, refused.value.code) == (422, "invalid_transition")
    town.client.v1.subscriptions.cancel(key)
    with pytest.raises(FrameError) as refused:
        frame.post(path(key) + "/phases", static(1) | {"ordinal": 1})
    assert (refused.value.status, refused.value.code) == (422, "invalid_transition")
    with pytest.raises(FrameError) as refused:
        frame.post(path("sub_none") + "/phases", static(1) | {"ordinal": 1})
    assert refused.value.status == 404


def test_a_schedule_released_through_stripe_leaves_the_phase_that_runs(
    town: Town, frame: Frame
) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, static(100), static(200)))["id"]
    town.client.v1.subscription_schedules.release(str(town.subscription(key).schedule))
    assert phases(frame, key) == [(1, "2026-01-01", None)]
    town.advance(clock, at("2026-03-15"))
    assert [total for _, total in paper(town, key)] == [100, 100, 100]
    frame.post(path(key) + "/phases", static(300) | {"ordinal": 2})
    town.advance(clock, at("2026-05-15"))
    assert [total for _, total in paper(town, key)][3:] == [300, 9901]
    assert phases(frame, key) == [
        (1, "2026-01-01", "2026-04-01"),
        (2, "2026-04-01", "2026-05-01"),
    ]


def test_a_schedule_changed_through_stripe_still_carries_out_what_it_kept(
    town: Town, frame: Frame
) -> None:
    clock = town.clock(JANUARY)
    key = subscribe(town, frame, clock, product(frame, static(100), static(200)))["id"]
    schedules = town.client.v1.subscription_schedules
    schedule = schedules.retrieve(str(town.subscription(key).schedule))
    kept = [
        {
            "items": [{"price": str(item.price), "quantity": 1} for item in each["items"]],
            "start_date": each.start_date,
            "end_date": each.end_date,
        }
        for each in schedule.phases
    ]
    dear = town.price(unit_amount=50_000)
    other = [kept[0], {**kept[1], "items": [{"price": dear}]}, kept[2]]
    schedules.update(schedule.id, {"phases": other})  # type: ignore[typeddict-item]
    assert phases(frame, key) == [(1, "2026-01-01", None)]
    town.advance(clock, at("2026-03-15"))
    assert [total for _, total in paper(town, key)] == [100, 50_000, 9901]
    assert phases(frame, key) == [(1, "2026-01-01", "2026-02-01")]
