"""Subscriptions that change, pause and end through Frame's API; money equal to the same by Stripe.

Each story is told twice on one clock, and the invoices of both compared.
"""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from town import HOUR, Town, at, day

from frame_client import Frame, FrameError

JANUARY, FEBRUARY, MARCH = at("2026-01-01"), at("2026-02-01"), at("2026-03-01")
ELEVENTH = at("2026-01-11")


def product(frame: Frame, amount: int, interval: str = "monthly") -> str:
    asked = {
        "name": f"{amount} {interval}",
        "default_price": amount,
        "purchase_type": "recurring",
        "recurring_interval": interval,
    }
    made: str = frame.post("/v1/products", asked)["id"]
    return made


def begun(town: Town, frame: Frame, clock: str, product_id: str) -> tuple[str, str]:
    """Two who subscribe to the product: one through Frame's API, and one through Stripe's."""
    asked = {"customer": town.customer(clock), "product": product_id, "currency": "USD"}
    ours = frame.post("/v1/subscriptions", asked)
    assert (ours["status"], ours["test_clock"]) == ("active", clock)
    price = town.client.v1.products.retrieve(product_id).default_price
    assert isinstance(price, str)
    return ours["id"], town.subscribe(town.customer(clock), price).id


def bills(town: Town, subscription_id: str) -> list[Any]:
    """All that is on paper, oldest first, but ids."""
    return [
        (
            each.status,
            each.billing_reason,
            each.total,
            each.amount_due,
            [
                (line.description, line.amount, day(line.period.start), day(line.period.end))
                for line in each.lines.data
            ],
        )
        for each in town.invoices(subscription_id)
    ]


def price_of(town: Town, product_id: str) -> str:
    found = town.client.v1.products.retrieve(product_id).default_price
    assert isinstance(found, str)
    return found


def update(town: Town, subscription_id: str, product_id: str, **more: Any) -> None:
    """The subscription's one item sells another product, by Stripe's API."""
    [item] = town.subscription(subscription_id)["items"].data
    items = [{"id": item.id, "price": price_of(town, product_id)}]
    town.client.v1.subscriptions.update(subscription_id, {"items": items, **more})


def path(subscription_id: str) -> str:
    return f"/v1/subscriptions/{subscription_id}"


def logs(frame: Frame, subscription_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = frame.get(path(subscription_id) + "/change_logs")["data"]
    return found


@pytest.mark.parametrize(("before", "after"), [(3100, 6200), (6200, 3100)], ids=["up", "down"])
@pytest.mark.parametrize("proration", ["create_prorations", "always_invoice", "none"])
def test_another_product_within_the_period_costs_what_it_does_by_stripe(
    town: Town, frame: Frame, before: int, after: int, proration: str
) -> None:
    old, new = product(frame, before), product(frame, after)
    clock = town.clock(JANUARY)
    ours, theirs = begun(town, frame, clock, old)
    town.advance(clock, ELEVENTH)
    changed = frame.patch(path(ours), {"product": new, "proration_behavior": proration})
    update(town, theirs, new, proration_behavior=proration)
    assert (changed["plan"]["product"], changed["effective_amount"]) == (new, after)
    assert (changed["status"], changed["scheduled_change"]) == ("active", None)
    [ours_log], [theirs_log] = logs(frame, ours), logs(frame, theirs)

    town.advance(clock, MARCH + HOUR)
    paper = bills(town, ours)
    assert paper == bills(town, theirs)
    difference = (after - before) * 21 // 31  # of 31 days 21 are left
    totals = {
        "create_prorations": [before, after + difference, after],
        "always_invoice": [before, difference, after, after],
        "none": [before, after, after],
    }
    assert [each[2] for each in paper] == totals[proration]
    assert {each[0] for each in paper} == {"paid"}

    latest = town.invoices(ours)[1].id if proration == "always_invoice" else None
    assert ours_log["adjustment"] == {
        "collection": {
            "create_prorations": "next_renewal",
            "always_invoice": "immediate",
            "none": "none",
        }[proration],
        "amount": 0 if proration == "none" else difference,
        "currency": "USD",
        "collected_at": {
            "create_prorations": FEBRUARY,
            "always_invoice": ELEVENTH,
            "none": None,
        }[proration],
        "invoice": latest,
    }
    shown = ["previous_product", "new_product", "proration_behavior", "change_type", "effective_at"]
    kind = "upgrade" if after > before else "downgrade"
    assert [ours_log[name] for name in shown] == [old, new, proration, kind, ELEVENTH]
    assert [theirs_log[name] for name in shown] == [ours_log[name] for name in shown]


def test_a_change_log_has_the_keys_of_the_documents_and_of_the_client(
    town: Town, frame: Frame
) -> None:
    old, new = product(frame, 3100), product(frame, 6200)
    clock = town.clock(JANUARY)
    ours, _ = begun(town, frame, clock, old)
    town.advance(clock, ELEVENTH)
    frame.patch(path(ours), {"product": new})
    frame.patch(path(ours), {"product": old})
    found = frame.get(path(ours) + "/change_logs", per_page=1, page=2)
    assert found["meta"].pop("url").startswith(path(ours) + "/change_logs")
    assert found["meta"] == {
        "page": 2,
        "has_more": False,
        "prev": 1,
        "next": None,
        "subscription_id": ours,
    }
    assert found["subscription_change_logs"] == found["data"]
    [log] = found["data"]
    data = log.pop("data")
    assert log.items() >= data.items()
    state = {
        "status": "active",
        "current_period_start": JANUARY,
        "current_period_end": FEBRUARY,
    }
    sold = {"quantity": 1, "currency": "USD", "interval": "month", "interval_count": 1}
    was = sold | {"product": old, "price": price_of(town, old), "amount": "3100.0"}
    becomes = sold | {"product": new, "price": price_of(town, new), "amount": "6200.0"}
    adjustment = log.pop("adjustment")
    assert log == {
        "id": log["id"],
        "object": "subscription_change_log",
        "subscription": ours,
        "subscription_id": ours,
        "change_type": "upgrade",
        "changed_at": ELEVENTH,
        "previous_product": old,
        "new_product": new,
        "previous_price": price_of(town, old),
        "new_price": price_of(town, new),
        "proration_behavior": "create_prorations",
        "effective_at": ELEVENTH,
        "before": state | was | {"items": [was]},
        "after": state | becomes | {"items": [becomes]},
        "livemode": False,
        "created": ELEVENTH,
    }
    assert adjustment["amount"] == 2100


def test_another_interval_waits_for_the_end_of_the_period(town: Town, frame: Frame) -> None:
    monthly, yearly = product(frame, 3100), product(frame, 31000, "yearly")
    clock = town.clock(JANUARY)
    ours, theirs = begun(town, frame, clock, monthly)
    town.advance(clock, ELEVENTH)
    changed = frame.patch(path(ours), {"product": yearly})
    schedules = town.client.v1.subscription_schedules
    schedule = schedules.create({"from_subscription": theirs})
    phases = [
        {
            "start_date": schedule.phases[0].start_date,
            "end_date": schedule.phases[0].end_date,
            "items": [{"price": price_of(town, monthly)}],
        },
        {"items": [{"price": price_of(town, yearly)}]},
    ]
    schedules.update(schedule.id, {"phases": phases})  # type: ignore[typeddict-item]

    waits = changed["scheduled_change"]
    assert waits == {
        "id": town.subscription(ours).schedule,
        "object": "subscription_scheduled_change",
        "product": yearly,
        "interval_switch": True,
        "effective_date": changed["current_period_end"],
        "created": ELEVENTH,
        "livemode": False,
    }
    assert changed["plan"]["product"] == monthly
    by_stripe = frame.get(path(theirs))["scheduled_change"]
    assert by_stripe == waits | {"id": schedule.id}
    assert [
        each["scheduled_change"]
        for each in frame.get("/v1/subscriptions", test_clock=clock)["data"]
    ] == [by_stripe, waits]
    assert logs(frame, ours) == []

    town.advance(clock, FEBRUARY + HOUR)
    after = frame.get(path(ours))
    assert (after["plan"]["interval"], after["scheduled_change"]) == ("year", None)
    assert (day(after["current_period_start"]), day(after["current_period_end"])) == (
        "2026-02-01",
        "2027-02-01",
    )
    assert [each[2] for each in bills(town, ours)] == [3100, 31000]
    assert bills(town, ours) == bills(town, theirs)
    for subscription_id in (ours, theirs):
        [log] = logs(frame, subscription_id)
        assert (log["change_type"], log["previous_product"], log["new_product"]) == (
            "interval",
            monthly,
            yearly,
        )
        assert (log["effective_at"], log["changed_at"]) == (FEBRUARY, FEBRUARY)
        assert log["adjustment"]["collection"] == "none"

    town.advance(clock, at("2027-02-01") + HOUR)
    assert [each[2] for each in bills(town, ours)] == [3100, 31000, 31000]
    assert town.subscription(ours).schedule is None


def test_a_change_that_waits_is_deleted_or_makes_way(town: Town, frame: Frame) -> None:
    monthly, yearly = product(frame, 3100), product(frame, 31000, "yearly")
    more, quarterly = product(frame, 6200), product(frame, 9000, "every_3_months")
    clock = town.clock(JANUARY)
    ours, other = begun(town, frame, clock, monthly)
    for each in (ours, other):
        frame.patch(path(each), {"product": yearly})
    after = frame.delete(path(ours) + "/scheduled_change")
    assert (after["id"], after["scheduled_change"]) == (ours, None)
    with pytest.raises(FrameError) as refused:
        frame.delete(path(ours) + "/scheduled_change")
    assert refused.value.status == 404
    assert frame.patch(path(other), {"product": quarterly})["scheduled_change"]["product"] == (
        quarterly
    )
    asked = {"product": more, "proration_behavior": "none"}
    changed = frame.patch(path(other), asked)
    assert (changed["scheduled_change"], changed["plan"]["product"]) == (None, more)
    town.advance(clock, FEBRUARY + HOUR)
    assert [each[2] for each in bills(town, ours)] == [3100, 3100]
    assert [each[2] for each in bills(town, other)] == [3100, 6200]
    assert logs(frame, ours) == []
    assert [each["new_product"] for each in logs(frame, other)] == [more]


def test_who_says_when_a_change_is_made_is_heard(town: Town, frame: Frame) -> None:
    dear, cheap = product(frame, 6200), product(frame, 3100)
    yearly = product(frame, 73000, "yearly")
    clock = town.clock(JANUARY)
    ours, other = begun(town, frame, clock, dear)
    town.advance(clock, ELEVENTH)
    later = frame.patch(path(ours), {"product": cheap, "update_interval": "period_end"})
    waits = later["scheduled_change"]
    assert (waits["interval_switch"], waits["effective_date"]) == (False, FEBRUARY)
    asked = {"product": yearly, "update_interval": "immediately"}
    now = frame.patch(path(other), asked)
    assert (now["plan"]["product"], now["scheduled_change"]) == (yearly, None)
    town.advance(clock, FEBRUARY + HOUR)
    assert [each[2] for each in bills(town, ours)] == [6200, 3100]
    [_, switched] = bills(town, other)  # Stripe: another period is billed at once
    [log] = logs(frame, other)
    assert log["adjustment"]["invoice"] == town.invoices(other)[1].id
    assert log["adjustment"]["amount"] == switched[2] == 73000 * 355 // 365 - 4200
    assert [each["change_type"] for each in logs(frame, ours)] == ["downgrade"]


def test_the_product_that_it_has_is_no_change(town: Town, frame: Frame) -> None:
    monthly = product(frame, 3100)
    clock = town.clock(JANUARY)
    ours, _ = begun(town, frame, clock, monthly)
    frame.patch(f"/v1/products/{monthly}", {"default_price": 4000})
    after = frame.patch(path(ours), {"product": monthly})
    assert (after["effective_amount"], logs(frame, ours)) == (3100, [])


def test_a_change_whose_charge_is_declined_stands_and_is_past_due(town: Town, frame: Frame) -> None:
    old, new = product(frame, 3100), product(frame, 6200)
    clock = town.clock(JANUARY)
    ours, theirs = begun(town, frame, clock, old)
    town.advance(clock, ELEVENTH)
    for each in (ours, theirs):
        customer = town.subscription(each).customer
        assert isinstance(customer, str)
        town.pays_with(customer, "pm_card_chargeCustomerFail")
    changed = frame.patch(path(ours), {"product": new, "proration_behavior": "always_invoice"})
    update(town, theirs, new, proration_behavior="always_invoice")
    assert (changed["status"], changed["plan"]["product"]) == ("past_due", new)
    assert bills(town, ours) == bills(town, theirs)
    [log] = logs(frame, ours)
    assert log["adjustment"]["invoice"] == changed["latest_invoice"]


def test_a_pause_ends_by_itself_and_costs_what_it_does_by_stripe(town: Town, frame: Frame) -> None:
    monthly = product(frame, 3100)
    clock = town.clock(JANUARY)
    ours, theirs = begun(town, frame, clock, monthly)
    town.advance(clock, ELEVENTH)
    resumes = at("2026-03-15 09:30:00")
    paused = frame.post(path(ours) + "/pause", {"resume_at": "2026-03-15T09:30:00Z"})
    town.client.v1.subscriptions.pause(theirs, {})
    assert (paused["status"], paused["paused_at"]) == ("paused", ELEVENTH)
    assert paused["resume_at"] == resumes
    town.advance(clock, resumes)
    town.client.v1.subscriptions.resume(theirs, {})
    town.advance(clock, at("2026-04-15 12:00:00"))
    after = frame.get(path(ours))
    assert (after["status"], after["paused_at"], after["resume_at"]) == ("active", None, None)
    assert after["current_period_start"] == at("2026-04-15 09:30:00")
    paper = bills(town, ours)
    assert paper == bills(town, theirs)
    # Of January 21 days of 31 are given back, and pay for a part of the period from March 15 on.
    assert [each[2] for each in paper] == [3100, 1000, 3100]
    happened = [each.type for each in town.events(ours)]
    assert happened.count("customer.subscription.paused") == 1
    assert happened.count("customer.subscription.resumed") == 1
    assert logs(frame, ours) == []


def test_a_pause_is_ended_by_hand_before_its_time(town: Town, frame: Frame) -> None:
    monthly = product(frame, 3100)
    clock = town.clock(JANUARY)
    ours, other = begun(town, frame, clock, monthly)
    for each in (ours, other):
        frame.post(path(each) + "/pause", {"resume_at": MARCH})
    town.advance(clock, ELEVENTH)
    resumed = frame.post(path(ours) + "/resume")
    assert (resumed["status"], resumed["current_period_start"]) == ("active", ELEVENTH)
    canceled = frame.post(path(other) + "/cancel")
    assert (canceled["status"], canceled["resume_at"]) == ("canceled", None)
    town.advance(clock, MARCH + HOUR)
    assert [each[2] for each in bills(town, ours)] == [3100, 0, 3100]
    assert [each[2] for each in bills(town, other)] == [3100]


def test_one_that_ends_in_its_pause_is_not_resumed(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    ours, _ = begun(town, frame, clock, product(frame, 3100))
    town.client.v1.subscriptions.update(ours, {"cancel_at": ELEVENTH})
    frame.post(path(ours) + "/pause", {"resume_at": FEBRUARY})
    town.advance(clock, MARCH + HOUR)
    seen = frame.get(path(ours))
    assert (seen["status"], seen["ended_at"]) == ("canceled", ELEVENTH)
    assert [each[2] for each in bills(town, ours)] == [3100, -3100]  # what the pause gave back


def test_a_pause_that_cannot_be_is_refused(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    ours, _ = begun(town, frame, clock, product(frame, 3100))
    before = frame.get(path(ours))
    for given in (JANUARY, JANUARY - 1, "2026-01-01", "soon", True, [], 10**20):
        with pytest.raises(FrameError) as refused:
            frame.post(path(ours) + "/pause", {"resume_at": given})
        assert list(refused.value.body["error_details"]["errors"]) == ["resume_at"]
    assert frame.get(path(ours)) == before
    for action in ("pause", "resume"):
        frame.post(path(ours) + "/" + action)
        with pytest.raises(FrameError) as refused:
            frame.post(path(ours) + "/" + action)
        assert (refused.value.status, refused.value.code) == (422, "invalid_transition")


def test_while_it_is_paused_any_product_takes_its_place(town: Town, frame: Frame) -> None:
    monthly, yearly = product(frame, 3100), product(frame, 31000, "yearly")
    clock = town.clock(JANUARY)
    ours, _ = begun(town, frame, clock, monthly)
    town.advance(clock, ELEVENTH)
    frame.post(path(ours) + "/pause")
    with pytest.raises(FrameError) as refused:
        frame.patch(path(ours), {"product": yearly, "update_interval": "period_end"})
    assert refused.value.code == "invalid_transition"
    changed = frame.patch(path(ours), {"product": yearly})
    assert (changed["status"], changed["plan"]["product"]) == ("paused", yearly)
    [log] = logs(frame, ours)
    assert log["adjustment"]["collection"] == "none"
    resumed = frame.post(path(ours) + "/resume")
    assert resumed["current_period_end"] == at("2027-01-11")
    assert [each[2] for each in bills(town, ours)] == [3100, 31000 - 2100]


def test_changes_through_stripe_are_logged_too(town: Town, frame: Frame) -> None:
    old, new = product(frame, 3100), product(frame, 9300)
    clock = town.clock(JANUARY)
    ours, _ = begun(town, frame, clock, old)
    town.advance(clock, ELEVENTH)
    [item] = town.subscription(ours)["items"].data
    client = town.client.v1
    client.subscription_items.update(item.id, {"quantity": 2})
    client.subscriptions.update(ours, {"metadata": {"a": "b"}})
    pending = {"payment_behavior": "pending_if_incomplete", "proration_behavior": "always_invoice"}
    customer = town.subscription(ours).customer
    assert isinstance(customer, str)
    town.pays_with(customer, "pm_card_chargeCustomerFail")
    update(town, ours, new, **pending)
    assert len(logs(frame, ours)) == 1  # it waits for its payment
    waits = town.subscription(ours).latest_invoice
    assert isinstance(waits, str)
    card = client.payment_methods.attach("pm_card_visa", {"customer": customer})
    client.invoices.pay(waits, {"payment_method": card.id})
    [applied, doubled] = logs(frame, ours)
    assert (doubled["change_type"], doubled["after"]["quantity"]) == ("upgrade", 2)
    assert (doubled["before"]["quantity"], doubled["previous_product"]) == (1, old)
    assert (applied["previous_product"], applied["new_product"]) == (old, new)
    assert applied["proration_behavior"] == "always_invoice"
    assert applied["adjustment"]["invoice"] == waits
    assert isinstance(client.invoices.retrieve(waits), stripe.Invoice)


# ─── Phases, and another product ─────────────────────────────────────────────────────────────


def phased(frame: Frame, amount: int) -> str:
    """A product that costs half for three months, and 30.00 for two more."""
    made = product(frame, amount)
    for ordinal, terms in enumerate(
        (
            {"pricing_type": "relative", "discount_percentage": 50, "period_count": 3},
            {"pricing_type": "static", "amount_cents": 3000, "period_count": 2},
        )
    ):
        frame.post(f"/v1/products/{made}/phases", {"ordinal": ordinal, **terms})
    return made


def subscribed(town: Town, frame: Frame, clock: str, product_id: str) -> dict[str, Any]:
    asked = {"customer": town.customer(clock), "product": product_id, "currency": "USD"}
    return frame.post("/v1/subscriptions", asked)


def test_another_product_at_once_ends_the_phases(town: Town, frame: Frame) -> None:
    old, new = phased(frame, 8000), product(frame, 10000)
    clock = town.clock(JANUARY)
    made = subscribed(town, frame, clock, old)
    assert (made["effective_amount"], len(made["phases"])) == (4000, 2)
    changed = frame.patch(path(made["id"]), {"product": new, "proration_behavior": "none"})
    assert (changed["effective_amount"], changed["current_phase"]) == (10000, None)
    assert [each["ended_at"] for each in changed["phases"]] == [JANUARY]
    assert changed["scheduled_change"] is None
    town.advance(clock, MARCH + HOUR)
    assert [each[2] for each in bills(town, made["id"])] == [4000, 10000, 10000]
    [log] = logs(frame, made["id"])
    assert (log["change_type"], log["new_product"]) == ("upgrade", new)


def test_another_product_at_the_end_of_the_period_ends_the_phases_then(
    town: Town, frame: Frame
) -> None:
    old, new = phased(frame, 8000), product(frame, 100000, "yearly")
    clock = town.clock(JANUARY)
    made = subscribed(town, frame, clock, old)
    changed = frame.patch(path(made["id"]), {"product": new})
    assert changed["scheduled_change"]["effective_date"] == FEBRUARY
    assert [each["discount_percentage"] for each in changed["phases"]] == [50]
    assert changed["current_phase"]["ended_at"] is None
    town.advance(clock, MARCH + HOUR)
    after = frame.get(path(made["id"]))
    assert (after["current_phase"], after["scheduled_change"]) == (None, None)
    assert [each["ended_at"] for each in after["phases"]] == [FEBRUARY]
    assert [each[2] for each in bills(town, made["id"])] == [4000, 100000]


def test_a_change_that_is_deleted_leaves_the_running_phase_as_long_as_it_was(
    town: Town, frame: Frame
) -> None:
    old, new = phased(frame, 8000), product(frame, 100000, "yearly")
    clock = town.clock(JANUARY)
    made = subscribed(town, frame, clock, old)
    town.advance(clock, FEBRUARY + HOUR)
    frame.patch(path(made["id"]), {"product": new})
    after = frame.delete(path(made["id"]) + "/scheduled_change")
    assert (after["scheduled_change"], after["effective_amount"]) == (None, 4000)
    town.advance(clock, at("2026-05-01") + HOUR)
    assert [each[2] for each in bills(town, made["id"])] == [4000, 4000, 4000, 8000, 8000]
    assert [each["change_type"] for each in logs(frame, made["id"])] == ["phase"]
    assert frame.get(path(made["id"]))["current_phase"] is None


# ─── What Stripe's API made ──────────────────────────────────────────────────────────────────


def test_of_several_items_the_first_licence_is_exchanged(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    seat = town.price(unit_amount=1000, product_data={"name": "Seat"})
    made = town.client.v1.subscriptions.create(
        {
            "customer": customer,
            "items": [{"price": town.metered(unit_amount=5)}, {"price": seat, "quantity": 3}],
        }
    )
    [calls, _] = made["items"].data
    yearly = product(frame, 9000, "yearly")
    changed = frame.patch(path(made.id), {"product": yearly, "update_interval": "period_end"})
    assert (changed["quantity"], changed["effective_amount"]) == (3, 3000)
    town.use(customer, "100")
    town.advance(clock, FEBRUARY + HOUR)
    kept = {item.id: item for item in town.subscription(made.id)["items"].data}
    assert kept[calls.id].price.id == calls.price.id
    after = frame.get(path(made.id))
    assert (after["plan"]["product"], after["quantity"]) == (yearly, 3)
    assert after["effective_amount"] == 27000
    assert [each[2] for each in bills(town, made.id)] == [3000, 27000 + 500]


def test_within_a_trial_any_product_is_tried(town: Town, frame: Frame) -> None:
    old, new = product(frame, 3100), product(frame, 6200)
    yearly = product(frame, 50000, "yearly")
    clock = town.clock(JANUARY)
    price = price_of(town, old)
    tried, switched = (
        town.subscribe(town.customer(clock), price, trial_end=ELEVENTH).id for _ in range(2)
    )
    changed = frame.patch(path(tried), {"product": new})
    assert (changed["status"], changed["effective_amount"]) == ("trialing", 6200)
    waits = frame.patch(path(switched), {"product": yearly})
    assert waits["scheduled_change"]["effective_date"] == ELEVENTH
    town.advance(clock, ELEVENTH + HOUR)
    assert [each[2] for each in bills(town, tried)] == [0, 6200]
    assert [each[2] for each in bills(town, switched)] == [0, 50000]
    assert [each["adjustment"]["collection"] for each in logs(frame, tried)] == ["none"]


def test_a_change_that_waits_through_a_pause_tracks_the_end_of_the_period(
    town: Town, frame: Frame
) -> None:
    monthly, yearly = product(frame, 3100), product(frame, 36500, "yearly")
    clock = town.clock(JANUARY)
    ours, _ = begun(town, frame, clock, monthly)
    asked = {"product": yearly, "proration_behavior": "none"}
    assert frame.patch(path(ours), asked)["scheduled_change"]["effective_date"] == FEBRUARY
    town.advance(clock, at("2026-01-30"))
    resumes = at("2026-02-03")
    frame.post(path(ours) + "/pause", {"resume_at": resumes})
    town.advance(clock, resumes + 2 * HOUR)
    resumed = frame.get(path(ours))
    assert (resumed["plan"]["product"], resumed["current_period_end"]) == (
        monthly,
        at("2026-03-03"),
    )
    assert resumed["scheduled_change"]["effective_date"] == resumed["current_period_end"]
    town.advance(clock, at("2026-03-03") + HOUR)
    after = frame.get(path(ours))
    assert (after["plan"]["product"], after["scheduled_change"]) == (yearly, None)
    assert after["current_period_end"] == at("2027-03-03")
    # Two days of January were left when it was paused; the month since was used to its end.
    assert [each[2] for each in bills(town, ours)] == [3100, 3100 - 200, 36500]
