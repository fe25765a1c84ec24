"""For every type of event an act that writes it, once, with what was before."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from town import DAY, HOUR, MONTH_BEGINS, Town

from frame_client import Frame
from postpaid.core.frame_events import CODES

FEBRUARY = MONTH_BEGINS + 31 * DAY
PAGE = Path(__file__).parents[2] / "docs" / "api" / "events.md"

Story: TypeAlias = Callable[[Town], Callable[[], Any]]
"""Prepares what is needed, and returns the act."""


def plain(act: Callable[[Town], Any]) -> Story:
    """An act that needs nothing."""
    return lambda town: lambda: act(town)


GRANT: Any = {
    "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 500}},
    "applicability_config": {"scope": {"price_type": "metered"}},
}
MONTH: Any = {"interval": "month", "interval_count": 1}


def customer(town: Town) -> str:
    return town.customer(town.clock())


def on_a_clock(town: Town, card: str | None = "pm_card_visa", **more: Any) -> tuple[str, str]:
    clock = town.clock()
    return clock, town.customer(clock, card, **more)


def subscription(town: Town, **more: Any) -> tuple[str, str]:
    """A clock and a subscription of a month."""
    clock, ada = on_a_clock(town)
    return clock, town.subscribe(ada, town.price(unit_amount=1000), **more).id


def draft(town: Town, **more: Any) -> str:
    v1 = town.client.v1
    ada = customer(town)
    made = v1.invoices.create({"customer": ada, **more}).id
    v1.invoice_items.create({"customer": ada, "invoice": made, "amount": 500, "currency": "usd"})
    return made


def open_invoice(town: Town) -> str:
    return town.client.v1.invoices.finalize_invoice(draft(town)).id


def coupon(town: Town) -> str:
    return town.client.v1.coupons.create({"percent_off": 10, "duration": "forever"}).id


def grant(town: Town) -> str:
    return town.client.v1.billing.credit_grants.create({"customer": customer(town), **GRANT}).id


def product(town: Town) -> str:
    return town.client.v1.products.create({"name": "Calls"}).id


def schedule(town: Town, **more: Any) -> tuple[str, str]:
    """A clock, and a schedule that begins a day later and lasts a month."""
    clock, ada = on_a_clock(town)
    given: Any = {
        "customer": ada,
        "start_date": MONTH_BEGINS + DAY,
        "phases": [{"items": [{"price": town.price(unit_amount=1000)}], "duration": MONTH}],
        **more,
    }
    return clock, town.client.v1.subscription_schedules.create(given).id


def deleted_customer(town: Town) -> Callable[[], Any]:
    ada = customer(town)
    return lambda: town.client.v1.customers.delete(ada)


def renewed(town: Town) -> Callable[[], Any]:
    clock, _ = subscription(town)
    return lambda: town.advance(clock, FEBRUARY + HOUR)


def trial_ending(town: Town) -> Callable[[], Any]:
    clock, _ = subscription(town, trial_period_days=10)
    return lambda: town.advance(clock, MONTH_BEGINS + 7 * DAY)


def waiting_change(town: Town) -> tuple[str, str, str]:
    """A clock, a customer whose payment fails, and the invoice that a change waits for."""
    clock, ada = on_a_clock(town)
    made = town.subscribe(ada, town.price(unit_amount=1000))
    town.pays_with(ada, "pm_card_chargeCustomerFail")
    changed = town.client.v1.subscriptions.update(
        made.id,
        {
            "items": [{"id": made["items"].data[0].id, "quantity": 5}],
            "payment_behavior": "pending_if_incomplete",
            "proration_behavior": "always_invoice",
        },
    )
    assert isinstance(changed.latest_invoice, str)
    return clock, ada, changed.latest_invoice


def applied_change(town: Town) -> Callable[[], Any]:
    _, ada, invoice = waiting_change(town)
    town.pays_with(ada, "pm_card_visa")
    return lambda: town.client.v1.invoices.pay(invoice)


def expired_change(town: Town) -> Callable[[], Any]:
    clock, _, _ = waiting_change(town)
    return lambda: town.advance(clock, MONTH_BEGINS + DAY)


def paused(town: Town) -> str:
    _, made = subscription(town)
    town.client.raw_request("post", f"/v1/subscriptions/{made}/pause", type="subscription")
    return made


def resumed(town: Town) -> Callable[[], Any]:
    made = paused(town)
    return lambda: town.client.v1.subscriptions.resume(made)


def discounted(town: Town) -> str:
    ada = customer(town)
    town.client.raw_request("post", f"/v1/customers/{ada}", coupon=coupon(town))
    return ada


def aborted_schedule(town: Town) -> Callable[[], Any]:
    clock, ada = on_a_clock(town, None)
    made = town.subscribe(ada, town.price(unit_amount=1000))
    assert made.status == "incomplete"
    town.client.v1.subscription_schedules.create({"from_subscription": made.id})
    return lambda: town.advance(clock, MONTH_BEGINS + DAY)


def expiring_schedule(town: Town) -> Callable[[], Any]:
    clock, _ = schedule(town)
    town.advance(clock, MONTH_BEGINS + 2 * DAY)
    return lambda: town.advance(clock, FEBRUARY)


def completed_schedule(town: Town) -> Callable[[], Any]:
    clock, _ = schedule(town, end_behavior="cancel")
    town.advance(clock, MONTH_BEGINS + 2 * DAY)
    return lambda: town.advance(clock, FEBRUARY + 2 * DAY)


def unfinalizable(town: Town) -> Callable[[], Any]:
    """Usage that nobody could pay arrives in the hour of grace; a person finds out in the end."""
    clock, ada = on_a_clock(town)
    town.subscribe(ada, town.metered(unit_amount=999_999_999_999))
    town.advance(clock, FEBRUARY)

    def act() -> None:
        v1 = town.client.v1
        many = "999999999999999"
        town.use(ada, many, timestamp=FEBRUARY - HOUR, identifier="too many")
        town.advance(clock, FEBRUARY + HOUR)
        [failed] = v1.invoices.list({"customer": ada, "status": "draft"}).data
        [said] = v1.events.list({"type": "invoice.finalization_failed"}).data
        told = said.to_dict()["data"]["object"]["last_finalization_error"]
        assert failed.last_finalization_error is not None
        assert told == failed.last_finalization_error.to_dict()
        assert (told["type"], bool(told["message"])) == ("invalid_request_error", True)
        v1.billing.meter_event_adjustments.create(
            {"event_name": "api_call", "type": "cancel", "cancel": {"identifier": "too many"}}
        )
        assert v1.invoices.finalize_invoice(failed.id).last_finalization_error is None

    return act


def unpaid(town: Town) -> Callable[[], Any]:
    clock, ada = on_a_clock(town)
    town.subscribe(ada, town.price(unit_amount=1000))
    town.pays_with(ada, "pm_card_chargeCustomerFail")
    town.advance(clock, FEBRUARY)
    return lambda: town.advance(clock, FEBRUARY + HOUR)


def credit_note(town: Town) -> str:
    return town.client.v1.credit_notes.create({"invoice": open_invoice(town), "amount": 100}).id


def triggered(town: Town) -> Callable[[], Any]:
    v1 = town.client.v1
    ada = v1.customers.create({"name": "Ada"}).id
    alert: Any = {
        "alert_type": "usage_threshold",
        "title": "Many",
        "usage_threshold": {"meter": town.meter(), "gte": 10, "recurrence": "one_time"},
    }
    v1.billing.alerts.create(alert)
    return lambda: town.use(ada, "11")


def of(make: Callable[[Town], str], act: Callable[[Any, str], Any]) -> Story:
    """An act on something that is made first, by its id, with the client's v1."""

    def story(town: Town) -> Callable[[], Any]:
        made = make(town)
        return lambda: act(town.client.v1, made)

    return story


def second(make: Callable[[Town], tuple[str, str]]) -> Callable[[Town], str]:
    return lambda town: make(town)[1]


def tax_rate(town: Town) -> str:
    given: Any = {"display_name": "VAT", "percentage": 5, "inclusive": False}
    return town.client.v1.tax_rates.create(given).id


def promotion_code(town: Town) -> str:
    given: Any = {"promotion": {"type": "coupon", "coupon": coupon(town)}}
    return town.client.v1.promotion_codes.create(given).id


def payment_method(town: Town) -> str:
    ada = town.customer(town.clock(), None)
    return town.client.v1.payment_methods.attach("pm_card_visa", {"customer": ada}).id


def item(town: Town) -> str:
    given: Any = {"customer": customer(town), "amount": 500, "currency": "usd"}
    return town.client.v1.invoice_items.create(given).id


def deactivated(town: Town) -> str:
    meter = town.meter()
    town.client.v1.billing.meters.deactivate(meter)
    return meter


def test_clock_arrived(town: Town) -> Callable[[], Any]:
    clock = town.clock()
    return lambda: town.advance(clock, FEBRUARY)


test_clock_arrived.__test__ = False  # type: ignore[attr-defined]

MOMENTS = {"start", "updated"}  # of the wall clock: another second, or the same
ANY = object()  # whose value is another one every time
LABEL: Any = {"metadata": {"a": "b"}}
LABELLED: dict[str, Any] = {"metadata": {"a": None}}

# What is done, and the former attributes that are told of; None where the type tells of none.
STORIES: dict[str, tuple[Story, dict[str, Any] | None]] = {
    "customer.created": (plain(lambda town: town.client.v1.customers.create({"name": "A"})), None),
    "customer.updated": (
        of(
            customer,
            lambda v1, ada: v1.customers.update(
                ada, {"name": "Bob", "address": {"city": "Bonn"}, "metadata": {"a": "b"}}
            ),
        ),
        {"name": "Ada", "address": None, "metadata": {"a": None}},
    ),
    "customer.deleted": (deleted_customer, None),
    "customer.subscription.created": (lambda town: lambda: subscription(town), None),
    "customer.subscription.updated": (renewed, {"items": ANY, "latest_invoice": ANY}),
    "customer.subscription.deleted": (
        of(second(subscription), lambda v1, made: v1.subscriptions.cancel(made)),
        None,
    ),
    "customer.subscription.paused": (
        of(
            second(subscription),
            lambda v1, made: v1.subscriptions.pause(made, {"type": "subscription"}),
        ),
        None,
    ),
    "customer.subscription.resumed": (resumed, None),
    "customer.subscription.trial_will_end": (trial_ending, None),
    "customer.subscription.pending_update_applied": (applied_change, None),
    "customer.subscription.pending_update_expired": (expired_change, None),
    "customer.discount.created": (
        lambda town: lambda: discounted(town),
        None,
    ),
    "customer.discount.updated": (
        lambda town: (
            lambda ada, other: (
                lambda: town.client.raw_request("post", f"/v1/customers/{ada}", coupon=other)
            )
        )(discounted(town), coupon(town)),
        {"id": ANY, "source": {"coupon": ANY}},
    ),
    "customer.discount.deleted": (
        of(discounted, lambda v1, ada: v1.customers.delete_discount(ada)),
        None,
    ),
    "subscription_schedule.created": (lambda town: lambda: schedule(town), None),
    "subscription_schedule.updated": (
        of(second(schedule), lambda v1, made: v1.subscription_schedules.update(made, LABEL)),
        LABELLED,
    ),
    "subscription_schedule.released": (
        of(second(schedule), lambda v1, made: v1.subscription_schedules.release(made)),
        None,
    ),
    "subscription_schedule.canceled": (
        of(second(schedule), lambda v1, made: v1.subscription_schedules.cancel(made)),
        None,
    ),
    "subscription_schedule.completed": (completed_schedule, None),
    "subscription_schedule.aborted": (aborted_schedule, None),
    "subscription_schedule.expiring": (expiring_schedule, None),
    "invoice.created": (lambda town: lambda: draft(town), None),
    "invoice.updated": (
        of(
            draft,
            lambda v1, made: v1.invoices.update(
                made, {"description": "For you", "metadata": {"a": "b"}}
            ),
        ),
        {"description": None, "metadata": {"a": None}},
    ),
    "invoice.deleted": (of(draft, lambda v1, made: v1.invoices.delete(made)), None),
    "invoice.finalized": (of(draft, lambda v1, made: v1.invoices.finalize_invoice(made)), None),
    "invoice.finalization_failed": (unfinalizable, None),
    "invoice.sent": (
        of(
            lambda town: (
                town.client.v1.invoices.finalize_invoice(
                    draft(town, collection_method="send_invoice", days_until_due=3)
                ).id
            ),
            lambda v1, made: v1.invoices.send_invoice(made),
        ),
        None,
    ),
    "invoice.paid": (of(open_invoice, lambda v1, made: v1.invoices.pay(made)), None),
    "invoice.payment_succeeded": (of(open_invoice, lambda v1, made: v1.invoices.pay(made)), None),
    "invoice.payment_failed": (unpaid, None),
    "invoice.marked_uncollectible": (
        of(open_invoice, lambda v1, made: v1.invoices.mark_uncollectible(made)),
        None,
    ),
    "invoice.voided": (of(open_invoice, lambda v1, made: v1.invoices.void_invoice(made)), None),
    "invoiceitem.created": (lambda town: lambda: item(town), None),
    "invoiceitem.updated": (
        of(item, lambda v1, made: v1.invoice_items.update(made, {"description": "This"})),
        {"description": None},
    ),
    "invoiceitem.deleted": (of(item, lambda v1, made: v1.invoice_items.delete(made)), None),
    "credit_note.created": (lambda town: lambda: credit_note(town), None),
    "credit_note.updated": (
        of(credit_note, lambda v1, made: v1.credit_notes.update(made, {"memo": "Sorry"})),
        {"memo": None},
    ),
    "credit_note.voided": (
        of(credit_note, lambda v1, made: v1.credit_notes.void_credit_note(made)),
        None,
    ),
    "billing.credit_grant.created": (lambda town: lambda: grant(town), None),
    "billing.credit_grant.updated": (
        of(grant, lambda v1, made: v1.billing.credit_grants.update(made, LABEL)),
        LABELLED,
    ),
    "billing.credit_balance_transaction.created": (
        of(grant, lambda v1, made: v1.billing.credit_grants.void_grant(made)),
        None,
    ),
    "coupon.created": (lambda town: lambda: coupon(town), None),
    "coupon.updated": (
        of(coupon, lambda v1, made: v1.coupons.update(made, {"name": "Ten"})),
        {"name": None},
    ),
    "coupon.deleted": (of(coupon, lambda v1, made: v1.coupons.delete(made)), None),
    "promotion_code.created": (lambda town: lambda: promotion_code(town), None),
    "promotion_code.updated": (
        of(promotion_code, lambda v1, made: v1.promotion_codes.update(made, {"active": False})),
        {"active": True},
    ),
    "tax_rate.created": (lambda town: lambda: tax_rate(town), None),
    "tax_rate.updated": (
        of(tax_rate, lambda v1, made: v1.tax_rates.update(made, {"active": False})),
        {"active": True},
    ),
    "payment_method.attached": (lambda town: lambda: payment_method(town), None),
    "payment_method.updated": (
        of(
            payment_method,
            lambda v1, made: v1.payment_methods.update(made, {"card": {"exp_year": 2097}}),
        ),
        {"card": {"exp_year": ANY}},
    ),
    "payment_method.detached": (
        of(payment_method, lambda v1, made: v1.payment_methods.detach(made)),
        {"customer": ANY},
    ),
    "product.created": (lambda town: lambda: product(town), None),
    "product.updated": (
        of(product, lambda v1, made: v1.products.update(made, {"name": "More", "active": False})),
        {"name": "Calls", "active": True},
    ),
    "product.deleted": (of(product, lambda v1, made: v1.products.delete(made)), None),
    "price.created": (lambda town: lambda: town.price(unit_amount=5), None),
    "price.updated": (
        of(
            lambda town: town.price(unit_amount=5),
            lambda v1, made: v1.prices.update(made, {"nickname": "Fee"}),
        ),
        {"nickname": None},
    ),
    "billing.meter.created": (lambda town: lambda: town.meter(), None),
    "billing.meter.updated": (
        of(
            lambda town: town.meter(),
            lambda v1, made: v1.billing.meters.update(made, {"display_name": "All"}),
        ),
        {"display_name": "api_call"},
    ),
    "billing.meter.deactivated": (
        of(lambda town: town.meter(), lambda v1, made: v1.billing.meters.deactivate(made)),
        {"status": "active", "status_transitions": {"deactivated_at": None}},
    ),
    "billing.meter.reactivated": (
        of(deactivated, lambda v1, made: v1.billing.meters.reactivate(made)),
        {"status": "inactive", "status_transitions": {"deactivated_at": ANY}},
    ),
    "billing.alert.triggered": (triggered, None),
    "test_helpers.test_clock.created": (lambda town: lambda: town.clock(), None),
    "test_helpers.test_clock.advancing": (
        test_clock_arrived,
        {"status": "ready", "status_details": {"advancing": None}},
    ),
    "test_helpers.test_clock.ready": (
        test_clock_arrived,
        {"frozen_time": ANY, "status": "advancing", "status_details": ANY},
    ),
    "test_helpers.test_clock.deleted": (
        of(
            lambda town: town.clock(),
            lambda v1, made: v1.test_helpers.test_clocks.delete(made),
        ),
        None,
    ),
}

# What takes a fault of ours or a worker's minute, or the SDK does not know: told in other tests.
ELSEWHERE = {
    "billing.meter.error_report_triggered": "tests/billing/test_report_rejections.py",
    "billing.meter.no_meter_found": "tests/billing/test_report_rejections.py",
    "test_helpers.test_clock.internal_failure": "tests/billing/test_a_stuck_clock.py",
    "usage.backfill.closed": "tests/api/stripe/test_backfills.py",
    "usage.backfill.reverted": "tests/api/stripe/test_backfills.py",
}


@pytest.mark.parametrize("kind", sorted(STORIES))
def test_it_is_said_once(town: Town, frame: Frame, kind: str) -> None:
    """And in Frame's words, where it has any, it is told by each code once, and can be shown."""
    story, former = STORIES[kind]
    act = story(town)
    heard = {each.id for each in town.events()}
    act()
    said = [each for each in town.events() if each.id not in heard and each.type == kind]
    assert len(said) == 1
    previous = said[0].to_dict()["data"].get("previous_attributes")
    assert seen(previous, former) == former
    told = [each["id"] for each in frame.get("/v1/events", per_page=100)["data"]]
    codes = [each.partition("-")[2].replace("-", ".") for each in told]
    assert (len(set(told)), set(codes) - CODES) == (len(told), set())


def seen(actual: Any, expected: Any) -> Any:
    """What is told, with ``ANY`` where nothing in particular is expected."""
    if expected is ANY:
        return ANY
    if isinstance(actual, dict) and isinstance(expected, dict):
        return {
            key: seen(value, expected.get(key))
            for key, value in actual.items()
            if key not in MOMENTS
        }
    return actual


def test_every_type_that_is_documented_has_its_story() -> None:
    for kind, path in ELSEWHERE.items():
        assert kind in (PAGE.parents[2] / path).read_text()
    left = documented() - STORIES.keys() - ELSEWHERE.keys()
    assert {each for each in left if not each.startswith(OF_OTHERS)} == set()
    assert (STORIES.keys() | ELSEWHERE.keys()) - documented() == set()


# Whose stories are told with payments and with webhooks.
OF_OTHERS = (
    "charge.",
    "customer.source.expiring",
    "invoice.overdue",
    "invoice.payment_action_required",
    "invoice.upcoming",
    "invoice.will_be_due",
    "invoice_payment.",
    "payment_intent.",
    "payment_method.card_",
    "refund.",
    "setup_intent.",
    "webhook_endpoint.",
)


def documented() -> set[str]:
    """The types in the page's table, where `.updated` stands for one with the beginning before."""
    types: set[str] = set()
    for row in re.findall(r"^\| [^|]+ \| (`.*`) \|$", PAGE.read_text(), re.MULTILINE):
        beginning = ""
        for name in re.findall(r"`([a-z0-9_.]+)`", row):
            if name.startswith("."):
                types.add(beginning + name)
            else:
                types.add(name)
                beginning = name.rpartition(".")[0]
    return types
