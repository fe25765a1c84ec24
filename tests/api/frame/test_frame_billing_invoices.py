"""Billing invoices: what a customer has used of some time, billed once and charged at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from all_at_once import all_at_once
from frame_client import Frame, FrameError

Use = Callable[..., None]

DAY = 86_400
TODAY = int(time.time()) // DAY * DAY
SOME = TODAY - 20 * DAY  # a day, three weeks ago


def on(day: int) -> str:
    """The beginning of the day so many days after ``SOME``, as Frame's clients write it."""
    return datetime.fromtimestamp(SOME + day * DAY, UTC).isoformat().replace("+00:00", "Z")


def last_second_before(day: int) -> str:
    """The end of the day before, as Frame's examples write it."""
    moment = datetime.fromtimestamp(SOME + day * DAY, UTC) - timedelta(seconds=1)
    return moment.isoformat().replace("+00:00", "Z")


@pytest.fixture
def customer(frame: Frame) -> str:
    return str(frame.post("/v1/customers", {"name": "Ada", "email": "ada@example.com"})["id"])


@pytest.fixture
def card(stripe_client: stripe.StripeClient, customer: str) -> str:
    """A payment method of the customer's that pays."""
    return attach(stripe_client, customer, "pm_card_visa")


def attach(stripe_client: stripe.StripeClient, customer: str, card: str) -> str:
    return stripe_client.v1.payment_methods.attach(card, {"customer": customer}).id


@pytest.fixture
def meter(frame: Frame) -> str:
    """Calls, at a cent each."""
    return new_meter(frame, "call")


def new_meter(frame: Frame, event_name: str, **given: Any) -> str:
    said = {"aggregation": "sum", "display_name": event_name.title(), **given}
    if "tiers" not in said:
        said.setdefault("value", 0.01)
    return str(frame.post("/v1/billing/metering", {"event_name": event_name, **said})["id"])


@pytest.fixture
def use(stripe_client: stripe.StripeClient, customer: str) -> Use:
    """Use so many on a day."""

    def use(value: float, *, day: float = 0, event_name: str = "call", who: str = "") -> None:
        payload = {"customer": who or customer, "value": str(value)}
        stripe_client.v1.billing.meter_events.create(
            {"event_name": event_name, "payload": payload, "timestamp": int(SOME + day * DAY) + 60}
        )

    return use


def bill(frame: Frame, customer: str, start: str, end: str, **more: Any) -> dict[str, Any]:
    asked = {"customer": customer, "start_date": start, "end_date": end, **more}
    return frame.post("/v1/billing/billing_invoice", asked)


def refused(frame: Frame, customer: str, start: str, end: str, **more: Any) -> FrameError:
    with pytest.raises(FrameError) as error:
        bill(frame, customer, start, end, **more)
    return error.value


def amounts(invoice: dict[str, Any]) -> list[int]:
    return [each["amount_cents"] for each in invoice["line_items"]]


def test_usage_is_billed_and_charged_at_once(
    frame: Frame, customer: str, card: str, meter: str, use: Use
) -> None:
    use(2000, day=0)
    use(345, day=9)
    use(1, day=10)  # not of that time any more
    made = bill(
        frame,
        customer,
        on(0),
        last_second_before(10),
        collection_method="auto_charge",
        payment_method=card,
        description="Calls",
        metadata={"cycle": "7"},
    )
    assert frame.last is not None
    assert frame.last.status_code == 201
    [line] = made["line_items"]
    assert (line["quantity"], line["amount_cents"], line["billing_metric"]) == (2345, 2345, meter)
    assert (line["period_start"], line["period_end"]) == (SOME, SOME + 10 * DAY)
    assert (made["total"], made["currency"], made["status"]) == (2345, "USD", "paid")
    assert (made["object"], made["customer"]) == ("invoice", customer)
    assert (made["description"], made["metadata"]) == ("Calls", {"cycle": "7"})
    assert (made["collection_method"], made["net_terms"]) == ("auto_charge", 0)
    read = frame.get(f"/v1/invoices/{made['id']}")
    assert read | {"customer": customer, "account": None} == made
    assert read["customer"]["id"] == customer


def test_stripes_view_of_it_has_metered_lines_of_the_window(
    frame: Frame,
    stripe_client: stripe.StripeClient,
    customer: str,
    card: str,
    meter: str,
    use: Use,
) -> None:
    use(5)
    made = bill(frame, customer, on(0), on(1), payment_method=card)
    seen = stripe_client.v1.invoices.retrieve(made["id"])
    assert (seen.billing_reason, seen.status, seen.total) == ("manual", "paid", 5)
    [line] = seen.lines.data
    assert (line.period.start, line.period.end) == (SOME, SOME + DAY)
    assert (line.quantity, line.amount) == (5, 5)
    assert line.pricing is not None
    assert line.pricing.price_details is not None
    price = stripe_client.v1.prices.retrieve(str(line.pricing.price_details.price))
    assert price.recurring is not None
    assert (price.recurring.usage_type, price.recurring.meter) == ("metered", meter)
    [item] = stripe_client.v1.invoice_items.list({"invoice": seen.id}).data
    assert (item.amount, item.customer) == (5, customer)


def test_what_is_asked_for_is_sent_and_due_in_time(
    frame: Frame, customer: str, meter: str, use: Use
) -> None:
    use(100)
    made = bill(frame, customer, on(0), on(1), collection_method="request_payment", net_terms=30)
    assert (made["status"], made["collection_method"]) == ("outstanding", "request_payment")
    assert made["net_terms"] == 30
    due = datetime.fromtimestamp(made["created"] + 30 * DAY, UTC).date()
    assert made["due_date"] == due.isoformat()


def test_the_same_window_is_not_billed_again(
    frame: Frame, customer: str, card: str, meter: str, use: Use
) -> None:
    use(100)
    first = bill(frame, customer, on(0), on(1), payment_method=card)
    for start, end in ((on(0), on(1)), (on(0), on(0.5)), (on(0), last_second_before(1))):
        error = refused(frame, customer, start, end, payment_method=card)
        assert (error.status, error.code) == (422, "usage_already_billed")
    assert first["id"] in refused(frame, customer, on(0), on(1), payment_method=card).message
    assert len(frame.get("/v1/invoices", customer=customer)["data"]) == 1


def test_of_an_overlapping_window_the_rest_is_billed(
    frame: Frame, customer: str, card: str, meter: str, use: Use
) -> None:
    for day in range(6):
        use(10**day, day=day)
    assert amounts(bill(frame, customer, on(2), on(4), payment_method=card)) == [1100]
    whole = bill(frame, customer, on(0), on(6), payment_method=card)
    assert amounts(whole) == [11, 110_000]
    assert [each["period_end"] for each in whole["line_items"]] == [SOME + 2 * DAY, SOME + 6 * DAY]
    error = refused(frame, customer, on(1), on(5), payment_method=card)
    assert error.code == "usage_already_billed"


def test_what_came_late_is_billed_by_asking_again(
    frame: Frame, customer: str, card: str, meter: str, use: Use
) -> None:
    use(100)
    bill(frame, customer, on(0), on(1), payment_method=card)
    use(7, day=0.5)
    error = refused(frame, customer, on(0.25), on(1), payment_method=card)  # not all of it
    assert error.code == "usage_already_billed"
    late = bill(frame, customer, on(0), on(2), payment_method=card)
    assert (late["total"], amounts(late)) == (7, [107, -100])
    error = refused(frame, customer, on(0), on(2), payment_method=card)
    assert error.code == "usage_already_billed"
    use(1, day=0.5)
    assert bill(frame, customer, on(0), on(1), payment_method=card)["total"] == 1


def test_late_usage_is_rated_at_the_tiers_it_stands_in(
    frame: Frame, customer: str, card: str, use: Use
) -> None:
    tiers = [{"up_to": 100, "value": 0}, {"up_to": 200, "value": 1}, {"value": 0.5}]
    new_meter(frame, "call", tiers=tiers)
    use(150)
    assert bill(frame, customer, on(0), on(1), payment_method=card)["total"] == 5000
    use(100, day=0.5)
    assert bill(frame, customer, on(0), on(1), payment_method=card)["total"] == 5000 + 2500


def test_late_usage_costs_what_the_window_cost(
    frame: Frame, customer: str, card: str, meter: str, use: Use
) -> None:
    use(100)
    bill(frame, customer, on(0), on(1), payment_method=card)
    frame.patch(f"/v1/billing/metering/{meter}", {"value": 1})
    use(10, day=0.5)
    use(10, day=1)
    again = bill(frame, customer, on(0), on(2), payment_method=card)
    assert amounts(again) == [110, -100, 1000]


def test_a_void_invoice_frees_its_windows(
    frame: Frame,
    stripe_client: stripe.StripeClient,
    customer: str,
    meter: str,
    use: Use,
) -> None:
    use(100)
    asked = {"collection_method": "request_payment"}
    first = bill(frame, customer, on(0), on(1), **asked)
    use(5, day=0.5)
    late = bill(frame, customer, on(0), on(1), **asked)
    assert late["total"] == 5
    stripe_client.v1.invoices.void_invoice(first["id"])
    error = refused(frame, customer, on(0), on(0.5), **asked)  # what came late still bills it
    assert error.code == "usage_already_billed"
    again = bill(frame, customer, on(0), on(1), **asked)
    assert again["total"] == 100
    for each in (late, again):
        stripe_client.v1.invoices.void_invoice(each["id"])
    assert bill(frame, customer, on(0), on(0.25), **asked)["total"] == 100
    assert bill(frame, customer, on(0), on(1), **asked)["total"] == 5


def test_a_revision_bills_the_windows_in_its_originals_place(
    frame: Frame,
    stripe_client: stripe.StripeClient,
    customer: str,
    meter: str,
    use: Use,
) -> None:
    use(100)
    first = bill(frame, customer, on(0), on(1), collection_method="request_payment")
    revision = stripe_client.v1.invoices.create(
        {"from_invoice": {"action": "revision", "invoice": first["id"]}}
    )
    final = stripe_client.v1.invoices.finalize_invoice(revision.id)
    assert (final.total, final.status) == (100, "open")
    error = refused(frame, customer, on(0), on(1), collection_method="request_payment")
    assert (error.code, final.id in error.message) == ("usage_already_billed", True)
    stripe_client.v1.invoices.void_invoice(final.id)
    assert bill(frame, customer, on(0), on(1), collection_method="request_payment")["total"] == 100


def test_two_at_once_bill_once(
    frame: Frame, customer: str, card: str, meter: str, use: Use
) -> None:
    use(100)
    ends = [on(1), on(2), on(1), on(2)]

    def ask(place: int) -> str:
        with Frame(str(frame.http.base_url).removesuffix("/frame/"), key_of(frame)) as client:
            try:
                return str(
                    bill(client, customer, on(0), ends[place], payment_method=card)["status"]
                )
            except FrameError as error:
                return error.code

    answers = all_at_once([lambda place=place: ask(place) for place in range(4)])
    assert sorted(answers) == ["paid", *["usage_already_billed"] * 3]


def key_of(frame: Frame) -> str:
    return frame.http.headers["Authorization"].removeprefix("Bearer ")


def test_a_repeat_with_its_key_gets_the_first_answer(
    frame: Frame, customer: str, card: str, meter: str, use: Use
) -> None:
    use(100)
    asked = {
        "customer": customer,
        "start_date": on(0),
        "end_date": on(1),
        "payment_method": card,
    }
    first = frame.post("/v1/billing/billing_invoice", asked, key="june")
    assert frame.post("/v1/billing/billing_invoice", asked, key="june") == first


def test_every_meter_has_lines_of_its_own(frame: Frame, customer: str, card: str, use: Use) -> None:
    calls = new_meter(frame, "call", value=0.001)
    users = new_meter(frame, "user", aggregation="count_unique", value=3)
    mean = new_meter(frame, "load", aggregation="average", value=1)
    new_meter(frame, "idle")
    use(42318)
    for each in (1, 2, 2):
        use(each, event_name="user")
        use(each, event_name="load")
    made = bill(frame, customer, on(0), on(1), payment_method=card)
    assert {each["billing_metric"]: each["amount_cents"] for each in made["line_items"]} == {
        calls: 4232,
        users: 600,
        mean: 167,
    }


def test_base_and_usage_are_on_one_invoice(
    frame: Frame, customer: str, card: str, meter: str, use: Use
) -> None:
    product = frame.post(
        "/v1/products",
        {
            "name": "Pro",
            "description": "Pro plan",
            "default_price": 9900,
            "purchase_type": "recurring",
            "recurring_interval": "monthly",
        },
    )["id"]
    use(100)
    base = {"line_items": [{"product": product, "quantity": 2, "metadata": {"seat": "yes"}}]}
    made = bill(frame, customer, on(0), on(1), payment_method=card, **base)
    assert (amounts(made), made["total"]) == ([19_800, 100], 19_900)
    line = made["line_items"][0]
    assert (line["description"], line["unit_amount_cents"], line["quantity"]) == (
        "Pro plan",
        9900,
        2,
    )
    assert (line["product"], line["metadata"]) == (product, {"seat": "yes"})
    error = refused(frame, customer, on(0), on(1), payment_method=card, **base)
    assert error.code == "usage_already_billed"
    use(5, day=0.5)
    assert bill(frame, customer, on(0), on(1), payment_method=card, **base)["total"] == 5
    assert bill(frame, customer, on(1), on(2), payment_method=card, **base)["total"] == 19_800


def test_a_product_of_another_currency_is_sold_in_the_customers(
    frame: Frame, customer: str, card: str
) -> None:
    sold = {"name": "Pro", "default_price": 100, "purchase_type": "one_time", "currency": "eur"}
    base = {"line_items": [{"product": frame.post("/v1/products", sold)["id"]}]}
    made = bill(frame, customer, on(0), on(1), payment_method=card, **base)
    assert (made["total"], made["currency"]) == (100, "EUR")
    other = {"name": "Con", "default_price": 50, "purchase_type": "one_time"}
    base["line_items"].append({"product": frame.post("/v1/products", other)["id"]})
    made = bill(frame, customer, on(1), on(2), payment_method=card, **base)
    assert (made["total"], made["currency"]) == (150, "EUR")


def test_usage_in_two_currencies_is_refused(
    frame: Frame, customer: str, card: str, meter: str, use: Use
) -> None:
    new_meter(frame, "byte", currency="eur")
    use(1)
    use(1, event_name="byte")
    error = refused(frame, customer, on(0), on(1), payment_method=card)
    assert (error.status, error.code) == (422, "validation_errors")
    assert "combine currencies" in error.message


def test_without_usage_there_is_no_invoice(
    frame: Frame, customer: str, card: str, meter: str, use: Use
) -> None:
    use(1, day=3)
    error = refused(frame, customer, on(0), on(1), payment_method=card)
    assert (error.status, error.code) == (422, "nothing_to_bill")
    assert frame.get("/v1/invoices", customer=customer)["data"] == []
    use(1, day=0.5)  # it may come yet
    assert bill(frame, customer, on(0), on(1), payment_method=card)["total"] == 1


def test_usage_that_a_subscription_bills_is_left_to_it(
    frame: Frame,
    stripe_client: stripe.StripeClient,
    customer: str,
    card: str,
    meter: str,
    use: Use,
) -> None:
    other = new_meter(frame, "byte", value=1)
    price = frame.get(f"/v1/billing/metering/{meter}")["price"]
    running = stripe_client.v1.subscriptions.create(
        {
            "customer": customer,
            "items": [{"price": price}],
            "default_payment_method": card,
            "backdate_start_date": SOME,
            "billing_cycle_anchor": TODAY + DAY,
            "billing_mode": {"type": "classic"},
        }
    )
    use(10)
    use(1, day=2, event_name="byte")
    error = refused(frame, customer, on(0), on(1), payment_method=card)
    assert (error.code, running.id in error.message) == ("nothing_to_bill", True)
    [line] = bill(frame, customer, on(0), on(3), payment_method=card)["line_items"]
    assert line["billing_metric"] == other
    stripe_client.v1.subscriptions.cancel(running.id)
    assert bill(frame, customer, on(0), on(1), payment_method=card)["total"] == 10


def test_a_decline_leaves_it_open_and_tries_it_again_at_two(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str, meter: str, use: Use
) -> None:
    declining = attach(stripe_client, customer, "pm_card_chargeCustomerFail")
    use(100)
    made = bill(frame, customer, on(0), on(1), payment_method=declining)
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert (made["status"], made["amount_remaining"]) == ("outstanding", 100)
    again = datetime.fromtimestamp(made["next_payment_attempt"], UTC)
    assert (again.hour, again.minute) == (2, 0)
    assert timedelta(0) < again - datetime.now(UTC) <= timedelta(days=1)


def test_an_account_is_billed_like_a_customer(
    frame: Frame, stripe_client: stripe.StripeClient, meter: str, use: Use
) -> None:
    account = frame.post(
        "/v1/accounts",
        {
            "type": "individual",
            "profile": {
                "individual": {
                    "name": {"first_name": "Ada", "last_name": "Byron"},
                    "email": "ada@example.com",
                }
            },
        },
    )["id"]
    use(3, who=account)
    asked = {"account": account, "start_date": on(0), "end_date": on(1)}
    made = frame.post("/v1/billing/billing_invoice", asked)
    assert (made["account"], made["customer"], made["total"]) == (account, None, 3)
    assert made["collection_method"] == "request_payment"  # without anything to charge


def test_the_former_path_does_the_same(
    frame: Frame, customer: str, card: str, meter: str, use: Use
) -> None:
    use(3)
    asked = {"customer": customer, "start_date": on(0), "end_date": on(1), "payment_method": card}
    assert frame.post("/v1/billing/invoices", asked)["total"] == 3
    assert frame.last is not None
    assert frame.last.status_code == 201


def test_another_merchant_bills_nothing_of_it(
    frame: Frame, other_frame: Frame, customer: str, meter: str, use: Use
) -> None:
    use(3)
    error = refused(other_frame, customer, on(0), on(1))
    assert error.status == 404


WRONG: list[tuple[str, Any]] = [
    ("customer", ""),
    ("customer", 7),
    ("customer", "x" * 300),
    ("customer", "cus_none"),
    ("start_date", "yesterday"),
    ("start_date", None),
    ("start_date", -1),
    ("start_date", "2026-02-30T00:00:00Z"),
    ("start_date", on(1)),  # no window
    ("start_date", on(2)),
    ("start_date", "2001-01-01T00:00:00Z"),  # too long
    ("end_date", {}),
    ("end_date", "9999-12-31T23:59:59Z"),
    ("end_date", TODAY + 2 * DAY),
    ("collection_method", "charge_automatically"),
    ("collection_method", "auto_charge"),
    ("payment_method", "pm_none"),
    ("payment_method", 7),
    ("net_terms", -1),
    ("net_terms", 731),
    ("net_terms", 1.5),
    ("description", "x" * 1501),
    ("line_items", {}),
    ("line_items", [{}]),
    ("line_items", [{"product": "prod_none"}]),
    ("line_items", [{"product": "prod_none", "quantity": 0}]),
    ("line_items", [{"product": "prod_none"}] * 101),
    ("metadata", {"x" * 41: "1"}),
    ("metadata", 7),
]


@pytest.mark.parametrize(
    ("param", "value"), WRONG, ids=[f"{name}-{place}" for place, (name, _) in enumerate(WRONG)]
)
def test_each_wrong_parameter_is_named(
    frame: Frame, customer: str, meter: str, use: Use, param: str, value: Any
) -> None:
    use(1)
    asked = {"customer": customer, "start_date": on(0), "end_date": on(1)} | {param: value}
    with pytest.raises(FrameError) as error:
        frame.post("/v1/billing/billing_invoice", asked)
    assert error.value.status in (404, 422)
    [named] = error.value.body["error_details"]["errors"]
    # What auto_charge lacks is a payment method.
    assert named.startswith("payment_method" if value == "auto_charge" else param)


def test_a_payment_method_of_somebody_else_is_refused(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str, meter: str, use: Use
) -> None:
    eve = frame.post("/v1/customers", {"name": "Eve", "email": "eve@example.com"})["id"]
    theirs = attach(stripe_client, eve, "pm_card_visa")
    use(1)
    error = refused(frame, customer, on(0), on(1), payment_method=theirs)
    assert (error.status, list(error.body["error_details"]["errors"])) == (422, ["payment_method"])


def test_a_blocked_customer_is_billed_nothing(
    frame: Frame, customer: str, meter: str, use: Use
) -> None:
    use(1)
    frame.post(f"/v1/customers/{customer}/block")
    error = refused(frame, customer, on(0), on(1))
    assert (error.status, error.code) == (422, "customer_blocked")


def test_discounts_and_credit_come_off_as_on_any_invoice(
    frame: Frame,
    stripe_client: stripe.StripeClient,
    customer: str,
    card: str,
    meter: str,
    use: Use,
) -> None:
    coupon = stripe_client.v1.coupons.create({"percent_off": 10, "duration": "forever"})
    stripe_client.v1.customers.update(customer, {"coupon": coupon.id})  # type: ignore[typeddict-unknown-key]
    stripe_client.v1.billing.credit_grants.create(
        {
            "customer": customer,
            "category": "paid",
            "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 50}},
            "applicability_config": {"scope": {"price_type": "metered"}},
        }
    )
    use(1000)
    now = datetime.now(UTC).isoformat()  # credit is for what is used while there is some
    made = bill(frame, customer, on(0), now, payment_method=card)
    assert (made["gross_amount_cents"], made["discount_amount_cents"]) == (1000, 100)
    assert (made["total"], made["amount_paid"]) == (850, 850)
    use(100, day=0.5)
    assert bill(frame, customer, on(0), now, payment_method=card)["total"] == 90


def test_usage_that_was_cancelled_is_not_given_back(
    frame: Frame,
    stripe_client: stripe.StripeClient,
    customer: str,
    card: str,
    meter: str,
) -> None:
    def event(identifier: str, value: str) -> None:
        stripe_client.v1.billing.meter_events.create(
            {
                "event_name": "call",
                "identifier": identifier,
                "payload": {"customer": customer, "value": value},
                "timestamp": SOME + 60,
            }
        )

    event("right", "100")
    event("wrong", "50")
    bill(frame, customer, on(0), on(1), payment_method=card)
    stripe_client.v1.billing.meter_event_adjustments.create(
        {"event_name": "call", "type": "cancel", "cancel": {"identifier": "wrong"}}
    )
    error = refused(frame, customer, on(0), on(1), payment_method=card)
    assert error.code == "usage_already_billed"
    event("more", "60")
    assert bill(frame, customer, on(0), on(1), payment_method=card)["total"] == 10


def test_seconds_are_billed_until_the_window_ends(
    frame: Frame, customer: str, card: str, use: Use
) -> None:
    new_meter(frame, "run", aggregation="time_duration", value=0.01)
    use(1, event_name="run")  # begins a minute after midnight, and goes on
    made = bill(frame, customer, on(0), last_second_before(1), payment_method=card)
    assert made["total"] == DAY - 60
    use(0, day=1.5, event_name="run")
    assert bill(frame, customer, on(0), on(3), payment_method=card)["total"] == DAY // 2 + 60


def test_a_subscription_cannot_bill_it_again_from_the_past(
    frame: Frame,
    stripe_client: stripe.StripeClient,
    customer: str,
    card: str,
    meter: str,
    use: Use,
) -> None:
    use(10)
    bill(frame, customer, on(0), on(1), payment_method=card)
    price = frame.get(f"/v1/billing/metering/{meter}")["price"]
    asked: dict[str, Any] = {"customer": customer, "items": [{"price": price}]}
    with pytest.raises(stripe.InvalidRequestError) as error:
        stripe_client.v1.subscriptions.create(asked | {"backdate_start_date": SOME + DAY - 1})  # type: ignore[arg-type]
    assert error.value.param == "backdate_start_date"
    stripe_client.v1.subscriptions.create(asked | {"backdate_start_date": SOME + DAY})  # type: ignore[arg-type]
