"""Lists of subscriptions, invoices and lines: filters, and pages in both directions."""

from collections.abc import Callable
from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY


def ids(page: Any) -> list[str]:
    return [each.id for each in page.data]


def check_pages(fetch: Callable[..., Any], expected: list[str]) -> None:
    """Every page of every size, forwards and backwards, is a part of what is expected."""
    for limit in (1, 2, 3, 100):
        forwards: list[str] = []
        page = fetch(limit=limit)
        while True:
            forwards += ids(page)
            assert page.has_more == (forwards != expected)
            if not page.has_more:
                break
            assert len(page.data) == limit
            page = fetch(limit=limit, starting_after=page.data[-1].id)
        assert forwards == expected

        backwards: list[str] = []
        page = fetch(limit=limit, ending_before=expected[-1])
        while True:
            backwards = ids(page) + backwards
            assert page.has_more == (backwards != expected[:-1])
            if not page.has_more:
                break
            assert len(page.data) == limit
            page = fetch(limit=limit, ending_before=page.data[0].id)
        assert backwards == expected[:-1]
    assert fetch(limit=100, starting_after=expected[-1]).data == []
    assert fetch(limit=100, ending_before=expected[0]).data == []


# ─── Subscriptions ───────────────────────────────────────────────────────────────────────────


def test_subscriptions_are_found_by_what_they_are(town: Town) -> None:
    clock = town.clock()
    fee, usage = town.price(unit_amount=100), town.metered(unit_amount=1)
    ada, grace = town.customer(clock), town.customer(clock)
    active = town.subscribe(ada, fee).id
    canceled = town.subscribe(ada, usage).id
    town.client.v1.subscriptions.cancel(canceled)
    sent = town.subscribe(grace, fee, usage, collection_method="send_invoice", days_until_due=9).id
    expired = town.subscribe(ada, fee, payment_behavior="default_incomplete").id
    town.client.v1.subscriptions.cancel(expired)
    town.advance(clock, JANUARY + DAY)
    incomplete = town.subscribe(ada, fee, payment_behavior="default_incomplete").id
    by_the_wall = town.subscribe(town.customer(None), fee).id

    def found(**asked: Any) -> list[str]:
        return ids(town.client.v1.subscriptions.list(asked))  # type: ignore[arg-type]

    assert found() == [by_the_wall]  # those on clocks are for those who ask for them
    assert found(test_clock=clock) == [incomplete, expired, sent, active]
    assert found(test_clock=clock, status="all") == [incomplete, expired, sent, canceled, active]
    assert found(test_clock=clock, status="ended") == [expired, canceled]
    assert found(test_clock=clock, status="canceled") == [canceled]
    assert found(test_clock=clock, status="active") == [sent, active]
    assert found(test_clock=clock, status="incomplete") == [incomplete]
    assert found(test_clock=clock, status="incomplete_expired") == [expired]
    assert found(test_clock=clock, status="past_due") == []
    assert found(customer=grace) == [sent]
    assert found(customer=ada) == [incomplete, expired, active]
    assert found(test_clock=clock, price=usage) == [sent]
    assert found(test_clock=clock, price=usage, status="all") == [sent, canceled]
    assert found(test_clock=clock, collection_method="send_invoice") == [sent]
    later = {"gt": JANUARY}
    assert found(test_clock=clock, created=later, status="all") == [incomplete]
    assert found(test_clock=clock, created={"lte": JANUARY}) == [expired, sent, active]
    assert found(test_clock=clock, created=JANUARY) == [expired, sent, active]
    assert found(price="price_of_nobody") == found(customer="cus_of_nobody") == []


def test_subscriptions_come_in_pages(town: Town) -> None:
    customer = town.customer(town.clock())
    usage = town.metered(unit_amount=1)
    made = [town.subscribe(customer, usage).id for _ in range(5)]
    check_pages(
        lambda **asked: town.client.v1.subscriptions.list({"customer": customer, **asked}),
        made[::-1],
    )


# ─── Invoices ────────────────────────────────────────────────────────────────────────────────


def test_invoices_are_found_by_what_they_are(town: Town) -> None:
    clock = town.clock()
    fee = town.price(unit_amount=100)
    ada, grace = town.customer(clock), town.customer(clock)
    first = town.subscribe(ada, fee).id
    second = town.subscribe(ada, fee).id
    sent = town.subscribe(grace, fee, collection_method="send_invoice", days_until_due=9).id
    town.advance(clock, FEBRUARY + HOUR)
    paid_1, paid_2 = town.invoices(first)
    paid_3, void = town.invoices(second)
    open_1, open_2 = town.invoices(sent)
    town.client.v1.invoices.void_invoice(open_1.id)
    everything = town.client.v1.invoices.list({"limit": 100}).data
    assert [each.created for each in everything] == [FEBRUARY] * 3 + [JANUARY] * 3

    def found(**asked: Any) -> set[str]:
        return set(ids(town.client.v1.invoices.list(asked)))  # type: ignore[arg-type]

    def among(*invoices: stripe.Invoice) -> set[str]:
        return {each.id for each in invoices}

    assert found(customer=grace) == among(open_1, open_2)
    assert found(subscription=first) == among(paid_1, paid_2)
    assert found(status="open") == among(open_2)
    assert found(status="void") == among(open_1)
    assert found(status="paid", customer=ada) == among(paid_1, paid_2, paid_3, void)
    assert found(status="draft") == set()
    assert found(collection_method="send_invoice") == among(open_1, open_2)
    assert found(created={"gte": FEBRUARY}) == among(paid_2, void, open_2)
    assert found(created={"lt": FEBRUARY}, customer=ada) == among(paid_1, paid_3)
    assert found(due_date={"gt": FEBRUARY}) == among(open_2)
    assert found(due_date={"lte": FEBRUARY}) == among(open_1)
    assert found(subscription="sub_of_nobody") == set()


def test_invoices_come_in_pages(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), town.price(unit_amount=100))
    town.advance(clock, JANUARY + 200 * DAY)
    expected = [each.id for each in town.invoices(subscription.id)][::-1]
    assert len(expected) == 7
    check_pages(
        lambda **asked: town.client.v1.invoices.list({"subscription": subscription.id, **asked}),
        expected,
    )


# ─── Lines ───────────────────────────────────────────────────────────────────────────────────


def test_an_invoice_of_many_lines_shows_ten_and_lists_them_all(town: Town) -> None:
    """
    Twelve items, the newest first; one of them reached four tiers.
    """
    clock = town.clock()
    customer = town.customer(clock)
    tiers = [{"up_to": end, "unit_amount": 1, "flat_amount": 5} for end in (1, 2, 3, "inf")]
    graduated = town.metered(
        billing_scheme="tiered",
        tiers_mode="graduated",
        tiers=tiers,
        product_data={"name": "Calls"},
    )
    fees = [
        town.price(unit_amount=100 + number, product_data={"name": f"Fee {number}"})
        for number in range(11)
    ]
    subscription = town.subscribe(customer, *fees, graduated)
    assert len(subscription["items"].data) == 12
    town.use(customer, "10")
    upcoming = town.client.v1.invoices.create_preview({"subscription": subscription.id})
    assert len(upcoming.lines.data) == 19
    assert upcoming.lines.has_more is False

    town.advance(clock, FEBRUARY + HOUR)

    first, second = town.invoices(subscription.id)
    assert [line.amount for line in first.lines.data] == list(range(110, 100, -1))
    assert (len(second.lines.data), second.lines.has_more) == (10, True)
    all_lines = town.client.v1.invoices.line_items.list(second.id, {"limit": 100}).data
    assert [line.amount for line in all_lines] == [1, 5, 1, 5, 1, 5, 7, 5, *range(110, 99, -1)]
    assert [line.description for line in all_lines] == [
        line.description for line in upcoming.lines.data
    ]
    assert second.lines.data == all_lines[:10]
    check_pages(
        lambda **asked: town.client.v1.invoices.line_items.list(second.id, asked),
        [line.id for line in all_lines],
    )
    assert [line.id for line in second.lines.auto_paging_iter()] == [line.id for line in all_lines]


@pytest.mark.parametrize("cursor", ["starting_after", "ending_before"])
def test_a_page_begins_at_something_that_is_there(town: Town, cursor: str) -> None:
    subscription = town.subscribe(town.customer(town.clock()), town.price(unit_amount=1))
    [invoice] = town.invoices(subscription.id)
    v1 = town.client.v1
    for fetch in (
        lambda asked: v1.subscriptions.list(asked),
        lambda asked: v1.invoices.list(asked),
        lambda asked: v1.invoices.line_items.list(invoice.id, asked),
        lambda asked: v1.events.list(asked),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            fetch({cursor: "of_nobody"})
        assert (refused.value.http_status, refused.value.param) == (404, cursor)
        assert refused.value.code == "resource_missing"


# ─── What is within ──────────────────────────────────────────────────────────────────────────


def test_what_is_named_can_be_expanded(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    graduated = town.metered(
        billing_scheme="tiered",
        tiers_mode="graduated",
        tiers=[{"up_to": 5, "unit_amount": 0}, {"up_to": "inf", "unit_amount": 1}],
    )
    fee = town.price(unit_amount=100)
    own = town.client.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    subscription = town.subscribe(
        customer,
        fee,
        graduated,
        default_payment_method=own.id,
        expand=[
            "customer.invoice_settings.default_payment_method",
            "default_payment_method",
            "items.data.price.product",
            "items.data.price.tiers",
            "latest_invoice.payments",
            "test_clock",
        ],
    ).to_dict()

    assert subscription["customer"]["name"] == "Ada"
    settings = subscription["customer"]["invoice_settings"]
    assert settings["default_payment_method"]["card"]["last4"] == "4242"
    assert subscription["default_payment_method"]["id"] == own.id
    prices = [item["price"] for item in subscription["items"]["data"]]
    assert [price["product"]["name"] for price in prices] == ["Calls", "Calls"]
    assert prices[0]["tiers"] is None
    assert [tier["up_to"] for tier in prices[1]["tiers"]] == [5, None]
    invoice = subscription["latest_invoice"]
    [payment] = invoice["payments"]["data"]
    assert (payment["status"], payment["amount_paid"]) == ("paid", 100)
    whole = town.client.v1.invoices.retrieve(
        invoice["id"], {"expand": ["lines.data.pricing.price_details.price", "customer"]}
    ).to_dict()
    assert whole["lines"]["data"][0]["pricing"]["price_details"]["price"]["id"] == fee
    assert whole["customer"]["name"] == "Ada"
    assert subscription["test_clock"]["frozen_time"] == JANUARY


def test_lists_expand_too(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    for _ in range(2):
        town.subscribe(customer, town.price(unit_amount=100))

    found = town.client.v1.subscriptions.list(
        {
            "customer": customer,
            "expand": ["data.latest_invoice.payments", "data.customer", "data.items.data.price"],
        }
    ).to_dict()
    for each in found["data"]:
        assert each["customer"]["id"] == customer
        assert each["latest_invoice"]["payments"]["data"][0]["status"] == "paid"

    invoices = town.client.v1.invoices.list(
        {
            "customer": customer,
            "expand": [
                "data.parent.subscription_details.subscription.customer",
                "data.customer",
                "data.payments.data.invoice",
            ],
        }
    ).to_dict()
    for each in invoices["data"]:
        parent = each["parent"]["subscription_details"]["subscription"]
        assert parent["customer"]["id"] == each["customer"]["id"] == customer
        assert each["payments"]["data"][0]["invoice"]["id"] == each["id"]


@pytest.mark.parametrize(
    "path", ["nothing", "latest_invoice.nothing", "items.price", "status", "customer.status.x"]
)
def test_what_leads_nowhere_cannot_be_expanded(town: Town, path: str) -> None:
    customer = town.customer(town.clock())
    with pytest.raises(stripe.InvalidRequestError, match="This property cannot be expanded") as no:
        town.subscribe(customer, town.price(unit_amount=1), expand=[path])
    assert (no.value.http_status, no.value.param) == (400, "expand[0]")
    assert town.client.v1.subscriptions.list({"customer": customer}).data == []
