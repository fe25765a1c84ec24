"""Subscriptions through Frame's API, and what is seen of them through Stripe's."""

from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError
from postpaid import clock
from postpaid.api.frame.subscription_shapes import render_many
from postpaid.billing.perform import Act
from postpaid.ids import new_id
from postpaid.storage import subscriptions
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from statements import counted


def product(frame: Frame, amount: int = 9900, interval: str = "monthly", **more: Any) -> str:
    given = {
        "name": "Pro",
        "default_price": amount,
        "purchase_type": "recurring",
        "recurring_interval": interval,
    }
    made: str = frame.post("/v1/products", given | more)["id"]
    return made


def payer(frame: Frame, client: stripe.StripeClient, card: str = "pm_card_visa") -> tuple[str, str]:
    """A customer and the card that is theirs, which is nobody's default."""
    customer: str = frame.post("/v1/customers", {"name": "Ada", "email": "ada@example.com"})["id"]
    return customer, client.v1.payment_methods.attach(card, {"customer": customer}).id


def subscribed(frame: Frame, client: stripe.StripeClient, **given: Any) -> dict[str, Any]:
    customer, method = payer(frame, client, given.pop("card", "pm_card_visa"))
    asked = {"customer": customer, "currency": "USD", "default_payment_method": method}
    given.setdefault("product", product(frame))
    return frame.post("/v1/subscriptions", asked | given)


def refusal(call: Any, *given: Any, **more: Any) -> tuple[int, str, list[str]]:
    """The status, the code and the parameters at fault."""
    with pytest.raises(FrameError) as refused:
        call(*given, **more)
    details = refused.value.body["error_details"]
    return refused.value.status, refused.value.code, list(details.get("errors", {}))


def test_a_subscription_is_charged_at_once_and_active(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    pro = product(frame)
    made = subscribed(frame, stripe_client, product=pro, description="Pro", metadata={"seat": 1})
    assert frame.last is not None
    assert frame.last.status_code == 201
    seen = stripe_client.v1.subscriptions.retrieve(made["id"], {"expand": ["latest_invoice"]})
    invoice = seen.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    [charge] = stripe_client.v1.charges.list({"customer": made["customer"]}).data
    plan = made.pop("plan")
    assert made == {
        "id": seen.id,
        "object": "subscription",
        "description": "Pro",
        "status": "active",
        "customer": seen.customer,
        "customer_id": seen.customer,
        "account": None,
        "account_id": None,
        "default_payment_method": seen.default_payment_method,
        "currency": "USD",
        "quantity": 1,
        "product": pro,
        "current_period_start": seen["items"].data[0].current_period_start,
        "current_period_end": seen["items"].data[0].current_period_end,
        "start_date": seen.start_date,
        "canceled_at": None,
        "ended_at": None,
        "paused_at": None,
        "resume_at": None,
        "phases": [],
        "has_phases": False,
        "current_phase": None,
        "effective_amount": 9900,
        "effective_interval": "month",
        "effective_interval_count": 1,
        "latest_charge_intent": charge.payment_intent,
        "latest_charge": charge.id,
        "latest_invoice": invoice.id,
        "scheduled_change": None,
        "test_clock": None,
        "metadata": {"seat": "1"},
        "livemode": False,
        "created": seen.created,
        "updated": seen.created,
    }
    assert plan == {
        "id": seen["items"].data[0].price.id,
        "object": "plan",
        "interval": "month",
        "interval_count": 1,
        "product": pro,
        "amount": 9900,
        "currency": "USD",
        "active": True,
        "created": seen["items"].data[0].price.created,
        "livemode": False,
    }
    assert (invoice.status, invoice.amount_paid) == ("paid", 9900)
    assert frame.get(f"/v1/subscriptions/{made['id']}") == made | {"plan": plan}


def test_a_declined_first_charge_leaves_it_incomplete(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    made = subscribed(frame, stripe_client, card="pm_card_chargeCustomerFail")
    assert frame.last is not None
    assert (frame.last.status_code, made["status"]) == (201, "incomplete")
    assert made["latest_charge"] is not None
    assert stripe_client.v1.subscriptions.retrieve(made["id"]).status == "incomplete"


def test_it_is_pending_while_nothing_was_declined(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    waits = subscribed(frame, stripe_client, card="pm_card_threeDSecure2Required")
    assert (waits["status"], waits["latest_charge"]) == ("pending", None)
    intent = stripe_client.v1.payment_intents.retrieve(waits["latest_charge_intent"])
    assert intent.status == "requires_action"
    penniless = frame.post("/v1/customers", {"name": "Eve", "email": "eve@example.com"})["id"]
    asked = {"customer": penniless, "product": product(frame), "currency": "usd"}
    unpaid = frame.post("/v1/subscriptions", asked)
    assert unpaid["status"] == "pending"

    def found(status: str) -> list[str]:
        return [each["id"] for each in frame.get("/v1/subscriptions/search", status=status)["data"]]

    declined = subscribed(frame, stripe_client, card="pm_card_chargeCustomerFail")
    assert found("pending") == [unpaid["id"], waits["id"]]
    assert found("incomplete") == [declined["id"]]
    canceled = frame.post(f"/v1/subscriptions/{unpaid['id']}/cancel")
    assert canceled["status"] == "terminated"
    assert found("terminated") == [unpaid["id"]]


def test_one_of_stripe_is_seen_with_its_first_licence(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    customer, method = payer(frame, stripe_client)
    prices = stripe_client.v1.prices
    meter = stripe_client.v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": "call",
            "default_aggregation": {"formula": "sum"},
        }
    )
    usage = prices.create(
        {
            "currency": "eur",
            "unit_amount": 2,
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
            "product_data": {"name": "Calls"},
        }
    )
    seats = prices.create(
        {
            "currency": "eur",
            "unit_amount": 500,
            "recurring": {"interval": "month", "interval_count": 3},
            "product_data": {"name": "Seats"},
        }
    )
    coupon = stripe_client.v1.coupons.create({"percent_off": 25, "duration": "forever"})
    made = stripe_client.v1.subscriptions.create(
        {
            "customer": customer,
            "default_payment_method": method,
            "items": [{"price": usage.id}, {"price": seats.id, "quantity": 3}],
            "discounts": [{"coupon": coupon.id}],
        }
    )
    seen = frame.get(f"/v1/subscriptions/{made.id}")
    assert (seen["plan"]["id"], seen["plan"]["amount"]) == (seats.id, 500)
    assert (seen["quantity"], seen["effective_amount"]) == (3, 1125)
    assert (seen["effective_interval_count"], seen["currency"]) == (3, "EUR")
    only = stripe_client.v1.subscriptions.create(
        {"customer": customer, "default_payment_method": method, "items": [{"price": usage.id}]}
    )
    seen = frame.get(f"/v1/subscriptions/{only.id}")
    assert (seen["plan"]["id"], seen["effective_amount"], seen["quantity"]) == (usage.id, 0, 1)


def test_subscriptions_are_listed_by_whose_and_searched_by_when(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    made = [subscribed(frame, stripe_client) for _ in range(3)]
    ids = [each["id"] for each in reversed(made)]
    page = frame.get("/v1/subscriptions", per_page=2)
    assert [each["id"] for each in page["data"]] == ids[:2]
    assert page["subscriptions"] == page["data"] == [made[2], made[1]]
    assert page["meta"]["next"] == 2
    [theirs] = frame.get("/v1/subscriptions", customer=made[0]["customer"])["data"]
    assert theirs == made[0]
    url, created = "/v1/subscriptions/search", made[0]["created"]
    assert frame.get(url, created_before=created)["data"] == []
    assert frame.get(url, created_after=created - 1, per_page=1, page=3)["data"] == [made[0]]
    assert frame.get(url, created_after=made[2]["created"])["data"] == []
    assert len(frame.get(url, status="active")["data"]) == 3
    assert frame.get(url, status="past_due")["data"] == []


def test_what_bills_nothing_is_updated(frame: Frame, stripe_client: stripe.StripeClient) -> None:
    made = subscribed(frame, stripe_client, metadata={"a": "1", "b": "2"})
    path = f"/v1/subscriptions/{made['id']}"
    other = stripe_client.v1.payment_methods.attach(
        "pm_card_mastercard", {"customer": made["customer"]}
    )
    asked = {"description": "New", "default_payment_method": other.id, "metadata": {"a": ""}}
    after = frame.patch(path, asked)
    assert (after["description"], after["default_payment_method"]) == ("New", other.id)
    assert after["metadata"] == {"b": "2"}
    assert frame.patch(path, {"description": ""})["description"] is None
    assert frame.get(f"{path}/change_logs")["data"] == []


def test_a_subscription_is_canceled_once(frame: Frame, stripe_client: stripe.StripeClient) -> None:
    made = subscribed(frame, stripe_client)
    path = f"/v1/subscriptions/{made['id']}"
    after = frame.post(f"{path}/cancel")
    assert after["status"] == stripe_client.v1.subscriptions.retrieve(made["id"]).status
    assert (after["status"], after["canceled_at"]) == ("canceled", after["ended_at"])
    assert refusal(frame.post, f"{path}/cancel")[:2] == (422, "invalid_transition")
    assert refusal(frame.post, f"{path}/pause")[:2] == (422, "invalid_transition")
    other = product(frame, 100)
    assert refusal(frame.patch, path, {"product": other})[:2] == (422, "invalid_transition")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"customer": None}, "customer"),
        ({"account": "cus_1"}, "customer"),
        ({"customer": "cus_none"}, "customer"),
        ({"customer": 5}, "customer"),
        ({"product": None}, "product"),
        ({"product": "prod_none"}, "product"),
        ({"product": ["x"]}, "product"),
        ({"product": "p" * 300}, "product"),
        ({"currency": None}, "currency"),
        ({"currency": "dollars"}, "currency"),
        ({"currency": 7}, "currency"),
        ({"default_payment_method": "pm_none"}, "default_payment_method"),
        ({"default_payment_method": {}}, "default_payment_method"),
        ({"description": "x" * 501}, "description"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"k": "v" * 101}}, "metadata"),
        ({"proration_behavior": "some"}, "proration_behavior"),
    ],
)
def test_what_cannot_be_subscribed_to_names_the_parameter(
    frame: Frame, stripe_client: stripe.StripeClient, given: dict[str, Any], param: str
) -> None:
    customer, method = payer(frame, stripe_client)
    asked = {"customer": customer, "product": product(frame), "currency": "USD"}
    asked |= {"default_payment_method": method} | given
    asked = {name: value for name, value in asked.items() if value is not None}
    status, _, params = refusal(frame.post, "/v1/subscriptions", asked)
    assert status in (404, 422)
    assert [each.partition("[")[0].partition(".")[0] for each in params] == [param]


def test_what_is_not_the_payers_or_not_sold_over_and_over_is_refused(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    customer, _ = payer(frame, stripe_client)
    _, anothers = payer(frame, stripe_client)
    once = frame.post(
        "/v1/products", {"name": "Setup", "default_price": 100, "purchase_type": "one_time"}
    )["id"]
    asked = {"customer": customer, "product": product(frame), "currency": "USD"}
    refused = refusal(frame.post, "/v1/subscriptions", asked | {"default_payment_method": anothers})
    assert refused[2] == ["default_payment_method"]
    assert refusal(frame.post, "/v1/subscriptions", asked | {"product": once}) == (
        422,
        "validation_errors",
        ["product"],
    )
    made = subscribed(frame, stripe_client)
    path = f"/v1/subscriptions/{made['id']}"
    for given, param in (
        ({"product": once}, "product"),
        ({"product": "prod_none"}, "product"),
        ({"default_payment_method": anothers}, "default_payment_method"),
        ({"update_interval": "monthly"}, "update_interval"),
        ({"proration_behavior": 1}, "proration_behavior"),
        ({"description": 5}, "description"),
        ({"metadata": [1]}, "metadata"),
    ):
        assert refusal(frame.patch, path, given)[2] == [param]
    assert frame.get(path) == made


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"status": "great"}, "status"),
        ({"created_before": "soon"}, "created_before"),
        ({"created_after": "-1"}, "created_after"),
        ({"customer": "c" * 300}, "customer"),
        ({"customer": "cus_1", "account": "cus_2"}, "customer"),
        ({"page": "0"}, "page"),
    ],
)
def test_a_search_that_cannot_be_names_the_parameter(
    frame: Frame, query: dict[str, str], param: str
) -> None:
    assert refusal(frame.get, "/v1/subscriptions/search", **query)[2] == [param]


def test_nobody_sees_anothers(
    frame: Frame, other_frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    path = f"/v1/subscriptions/{subscribed(frame, stripe_client)['id']}"
    for method, suffix in (
        ("GET", ""),
        ("PATCH", ""),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("GET", "/change_logs"),
        ("DELETE", "/scheduled_change"),
    ):
        with pytest.raises(FrameError) as refused:
            other_frame.request(method, path + suffix)
        assert refused.value.status == 404


def test_many_are_shown_with_the_statements_of_one(
    frame: Frame, stripe_client: stripe.StripeClient, database: Database, account: Account
) -> None:
    pro, yearly = product(frame), product(frame, 99000, "yearly")
    phase = {"ordinal": 1, "pricing_type": "static", "amount_cents": 100, "period_count": 2}
    frame.post(f"/v1/products/{pro}/phases", phase)
    coupon = stripe_client.v1.coupons.create({"percent_off": 10, "duration": "forever"})
    made = []
    for _ in range(4):
        made.append(subscribed(frame, stripe_client, product=pro)["id"])
        discounts: Any = [{"coupon": coupon.id}]
        stripe_client.v1.subscriptions.update(made[-1], {"discounts": discounts})
        frame.patch(f"/v1/subscriptions/{made[-1]}", {"product": yearly})
    act = Act(account.account_id, False, "test", clock.now(), new_id)
    taken = []
    with database.connection() as conn:
        found = list(subscriptions.load(conn, act.account_id, made).values())
        for some in (found[:1], found):
            with counted(conn) as statements:
                shown = render_many(conn, act, some)
            taken.append(len(statements))
            assert {each["effective_amount"] for each in shown} == {90}
            assert {each["scheduled_change"]["product"] for each in shown} == {yearly}
            assert {len(each["phases"]) for each in shown} == {1}
    assert taken[0] == taken[1]


def test_an_account_subscribes_as_a_customer_does(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    name = {"first_name": "Ada", "last_name": "Byron"}
    person = {"name": name, "email": "ada@example.com"}
    account_id = frame.post(
        "/v1/accounts", {"type": "individual", "profile": {"individual": person}}
    )["id"]
    method = stripe_client.v1.payment_methods.attach("pm_card_visa", {"customer": account_id})
    asked = {"account": account_id, "product": product(frame), "currency": "gbp"}
    made = frame.post("/v1/subscriptions", asked | {"default_payment_method": method.id})
    assert (made["status"], made["currency"]) == ("active", "GBP")
    assert (made["account"], made["account_id"]) == (account_id, account_id)
    assert (made["customer"], made["customer_id"]) == (None, None)
    [found] = frame.get("/v1/subscriptions/search", account=account_id)["data"]
    assert found == made
    assert stripe_client.v1.subscriptions.retrieve(made["id"]).customer == account_id
