"""What is told of a month: every event, in order, with what changed."""

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY
DECLINED = "pm_card_chargeCustomerFail"


def told(events: list[stripe.Event]) -> list[str]:
    return [each.type for each in events]


def previous(event: stripe.Event) -> dict[str, object]:
    """What changed, as it was before."""
    return event.data.to_dict().get("previous_attributes", {})


def fee(town: Town) -> str:
    return town.price(unit_amount=10000, product_data={"name": "Fee"})


def test_a_month_is_told_in_order(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    usage = town.metered(unit_amount=5)
    subscription = town.subscribe(customer, fee(town), usage)
    town.use(customer, "100")
    town.advance(clock, FEBRUARY)
    town.advance(clock, FEBRUARY + HOUR)
    first, second = town.invoices(subscription.id)

    names = {subscription.id: "subscription", first.id: "first", second.id: "second"}
    events = town.events(*names)
    assert [
        (each.created - JANUARY, names[each.data.object["id"]], each.type) for each in events
    ] == [
        (0, "subscription", "customer.subscription.created"),
        (0, "first", "invoice.created"),
        (0, "first", "invoice.finalized"),
        (0, "first", "invoice.paid"),
        (0, "first", "invoice.payment_succeeded"),
        (0, "subscription", "customer.subscription.updated"),
        (31 * DAY, "second", "invoice.created"),
        (31 * DAY, "subscription", "customer.subscription.updated"),
        (31 * DAY + HOUR, "second", "invoice.finalized"),
        (31 * DAY + HOUR, "second", "invoice.paid"),
        (31 * DAY + HOUR, "second", "invoice.payment_succeeded"),
    ]

    # What is told is the object as it was then.
    created, _, finalized, paid, *_ = events
    assert created.data.object["status"] == "incomplete"
    assert (finalized.data.object["status"], paid.data.object["status"]) == ("open", "paid")
    assert [each.data.object["lines"]["total_count"] for each in events[1:5]] == [1] * 4
    draft, renewed, final = events[6:9]
    assert (draft.data.object["status"], draft.data.object["number"]) == ("draft", None)
    assert (final.data.object["status"], final.data.object["number"]) == ("open", second.number)
    assert draft.data.object["total"] == final.data.object["total"] == 10500
    assert [line["amount"] for line in draft.data.object["lines"]["data"]] == [500, 10000]

    # And what changed is told as it was before.
    activated = events[5]
    assert activated.data.object["status"] == "active"
    assert previous(activated) == {"status": "incomplete"}
    changed = previous(renewed)
    assert set(changed) == {"items", "latest_invoice"}
    assert changed["latest_invoice"] == first.id
    before = changed["items"]["data"]  # type: ignore[index]
    after = renewed.to_dict()["data"]["object"]["items"]["data"]
    for was, is_now in zip(before, after, strict=True):
        assert (was["current_period_start"], was["current_period_end"]) == (JANUARY, FEBRUARY)
        assert (is_now["current_period_start"], is_now["current_period_end"]) == (FEBRUARY, MARCH)
        assert was["price"] == is_now["price"]

    # Who asked is told too; what happened by itself was asked for by nobody.
    assert events[0].request is not None
    assert events[0].request.id
    assert events[0].request.idempotency_key
    assert renewed.request is None or renewed.request.id is None


def test_a_missed_payment_is_told(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town))
    town.pays_with(customer, DECLINED)
    town.advance(clock, FEBRUARY + HOUR)
    _, invoice = town.invoices(subscription.id)
    town.pays_with(customer, "pm_card_visa")
    town.client.v1.invoices.pay(invoice.id)

    events = town.events(subscription.id, invoice.id)
    assert told(events)[-7:] == [
        "customer.subscription.updated",
        "invoice.finalized",
        "invoice.payment_failed",
        "customer.subscription.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "customer.subscription.updated",
    ]
    missed, made_good = events[-4], events[-1]
    assert (missed.data.object["status"], previous(missed)) == ("past_due", {"status": "active"})
    assert (made_good.data.object["status"], previous(made_good)) == (
        "active",
        {"status": "past_due"},
    )


def test_a_first_payment_that_never_comes_is_told(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock, DECLINED), fee(town))
    town.advance(clock, JANUARY + DAY)
    [invoice] = town.invoices(subscription.id)

    events = town.events(subscription.id, invoice.id)
    assert told(events) == [
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice.payment_failed",
        "customer.subscription.updated",
        "invoice.voided",
    ]
    expired = events[4]
    assert expired.created == JANUARY + 23 * HOUR
    changed = previous(expired)
    assert (expired.data.object["status"], changed["status"]) == (
        "incomplete_expired",
        "incomplete",
    )


def test_an_end_is_told(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    subscriptions = town.client.v1.subscriptions
    subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    subscriptions.update(subscription.id, {"metadata": {"asked": "why"}})
    subscriptions.update(subscription.id, {"metadata": {"asked": "why"}})  # which changes nothing
    town.advance(clock, FEBRUARY)

    to_end, noted, ended = town.events(subscription.id)[-3:]
    assert previous(to_end) == {
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"reason": None},
    }
    assert previous(noted) == {"metadata": {"asked": None}}
    assert (ended.type, ended.data.object["status"]) == (
        "customer.subscription.deleted",
        "canceled",
    )
    assert previous(ended) == {}


# ─── Finding them ────────────────────────────────────────────────────────────────────────────


def test_events_are_found_by_type_and_time(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    town.advance(clock, FEBRUARY + HOUR)
    first, second = town.invoices(subscription.id)

    def found(**asked: object) -> list[str]:
        listed = town.client.v1.events.list({"limit": 100, **asked})  # type: ignore[typeddict-item]
        return [f"{each.type} {each.data.object['id']}" for each in listed.data]

    assert found(type="invoice.paid") == [f"invoice.paid {second.id}", f"invoice.paid {first.id}"]
    assert found(type="invoice.*", created={"gte": FEBRUARY, "lt": FEBRUARY + HOUR}) == [
        f"invoice.created {second.id}"
    ]
    assert found(types=["invoice.created", "invoice.finalized"], created={"lt": FEBRUARY}) == [
        f"invoice.finalized {first.id}",
        f"invoice.created {first.id}",
    ]
    assert found(type="invoice.overdue") == []
    assert found(type="invoice_paid") == []


def test_an_event_can_be_retrieved_and_never_changes(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town))
    before = town.events(subscription.id)

    town.client.v1.customers.update(customer, {"name": "Somebody else"})
    town.advance(clock, MARCH + HOUR)
    town.client.v1.subscriptions.cancel(subscription.id)

    for event in before:
        assert town.client.v1.events.retrieve(event.id) == event
    with pytest.raises(stripe.InvalidRequestError, match="No such event: 'evt_of_nobody'"):
        town.client.v1.events.retrieve("evt_of_nobody")


def test_events_come_in_pages(town: Town) -> None:
    town.customer(None)
    everything = town.events()
    assert len(everything) >= 3
    newest_first = [each.id for each in reversed(everything)]
    page = town.client.v1.events.list({"limit": 2})
    assert [each.id for each in page.data] == newest_first[:2]
    assert page.has_more
    assert [each.id for each in page.auto_paging_iter()] == newest_first
    back = town.client.v1.events.list({"limit": 2, "ending_before": newest_first[2]})
    assert [each.id for each in back.data] == newest_first[:2]


def test_there_are_events_of_every_kind_of_object(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    v1 = town.client.v1
    v1.payment_methods.detach(town.pays_with(customer, "pm_card_visa"))
    town.subscribe(customer, town.metered(unit_amount=0))
    town.advance(clock, FEBRUARY + HOUR)
    v1.customers.delete(customer)
    v1.products.delete(v1.products.create({"name": "Gone"}).id)
    v1.test_helpers.test_clocks.delete(clock)

    # The client has judged their shapes.
    assert {event.data.object["object"] for event in town.events()} == {
        "billing.meter",
        "customer",
        "invoice",
        "payment_method",
        "price",
        "product",
        "subscription",
        "test_helpers.test_clock",
    }
