"""Where a subscription's items stand, by HTTP."""

from typing import Any

import httpx
import pytest
from stripe import StripeClient

from postpaid import clock, ids
from postpaid.billing.perform import Act
from postpaid.billing.take_stock import take_stock
from postpaid.storage import subscriptions
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from statements import counted

FROZEN = 1767264700  # 2026-01-01 10:51:40 UTC
FEBRUARY = FROZEN + 31 * 86400


class Shop:
    """A customer on a clock, and prices of what meters count."""

    def __init__(self, client: StripeClient) -> None:
        self.client = client
        self.clock = client.v1.test_helpers.test_clocks.create({"frozen_time": FROZEN}).id
        self.customer = client.v1.customers.create({"test_clock": self.clock}).id

    def price(self, name: str | None = None, **given: Any) -> Any:
        """A monthly price; metered if a name of events is given."""
        recurring: dict[str, Any] = {"interval": "month"}
        if name is not None:
            meter: Any = {
                "display_name": name,
                "event_name": name,
                "default_aggregation": {"formula": "sum"},
            }
            made = self.client.v1.billing.meters.create(meter)
            recurring |= {"usage_type": "metered", "meter": made.id}
        given = {"product_data": {"name": "It"}, "recurring": recurring, **given}
        return self.client.v1.prices.create({"currency": "usd", **given})  # type: ignore[typeddict-item]

    def subscribe(self, *prices: Any) -> Any:
        asked: Any = {
            "customer": self.customer,
            "items": [{"price": each.id} for each in prices],
            "collection_method": "send_invoice",
            "days_until_due": 30,
        }
        return self.client.v1.subscriptions.create(asked)

    def use(self, name: str, value: str) -> None:
        self.client.v1.billing.meter_events.create(
            {"event_name": name, "payload": {"stripe_customer_id": self.customer, "value": value}}
        )


@pytest.fixture
def shop(stripe_client: StripeClient) -> Shop:
    return Shop(stripe_client)


TIERED = {
    "billing_scheme": "tiered",
    "tiers_mode": "graduated",
    "tiers": [{"up_to": 1000, "unit_amount": 0}, {"up_to": "inf", "unit_amount_decimal": "1.5"}],
}


def usage(http: httpx.Client, subscription: Any) -> list[dict[str, Any]]:
    page = http.get(f"/v1/subscriptions/{subscription.id}/usage").json()
    assert page["object"] == "list"
    assert page["has_more"] is False
    assert page["url"] == f"/v1/subscriptions/{subscription.id}/usage"
    data: list[dict[str, Any]] = page["data"]
    return data


def test_a_position_is_exact_as_of_the_last_event(shop: Shop, http: httpx.Client) -> None:
    fee, calls = shop.price(unit_amount=9900), shop.price("calls", **TIERED)
    subscription = shop.subscribe(fee, calls)
    [item] = [each for each in subscription.items.data if each.price.id == calls.id]
    nothing = {
        "object": "subscription_item_usage",
        "amount": 0,
        "currency": "usd",
        "included": "1000",
        "meter": calls.recurring.meter,
        "overage": "0",
        "overage_amount": 0,
        "percent": "0",
        "price": calls.id,
        "remaining": "1000",
        "subscription": subscription.id,
        "subscription_item": item.id,
        "used": "0",
        "window": {"end": FEBRUARY, "start": FROZEN},
    }
    assert usage(http, subscription) == [nothing]
    shop.use("calls", "833.3")
    [now] = usage(http, subscription)
    assert now == nothing | {"used": "833.3", "remaining": "166.7", "percent": "83.33"}
    shop.use("calls", "167.7")
    [now] = usage(http, subscription)
    assert now == nothing | {
        "used": "1001",
        "remaining": "0",
        "overage": "1",
        "overage_amount": 2,
        "amount": 2,
        "percent": "100.1",
    }


def test_the_amount_is_what_the_next_invoice_bills(shop: Shop, http: httpx.Client) -> None:
    subscription = shop.subscribe(shop.price("calls", **TIERED))
    shop.use("calls", "1234.5")
    [now] = usage(http, subscription)
    preview = shop.client.v1.invoices.create_preview({"subscription": subscription.id})
    assert now["amount"] == preview.total == 352


def test_there_may_be_nothing_included_and_nothing_charged(shop: Shop, http: httpx.Client) -> None:
    each, free = shop.price("calls", unit_amount=2), shop.price("visits", unit_amount=0)
    subscription = shop.subscribe(each, free)
    shop.use("calls", "3")
    shop.use("visits", "3")
    of_price = {now["price"]: now for now in usage(http, subscription)}
    names = ("included", "remaining", "overage", "percent", "amount", "overage_amount")
    assert [of_price[each.id][name] for name in names] == ["0", "0", "3", None, 6, 6]
    assert [of_price[free.id][name] for name in names] == [None, None, "0", None, 0, 0]


def test_a_subscription_without_metered_items_has_no_positions(
    shop: Shop, http: httpx.Client
) -> None:
    assert usage(http, shop.subscribe(shop.price(unit_amount=9900))) == []


def test_a_subscription_that_has_ended_shows_its_last_window(
    shop: Shop, http: httpx.Client
) -> None:
    subscription = shop.subscribe(shop.price("calls", **TIERED))
    shop.use("calls", "5")
    shop.client.v1.subscriptions.cancel(subscription.id)
    [now] = usage(http, subscription)
    assert (now["used"], now["window"]) == ("5", {"end": FEBRUARY, "start": FROZEN})


def test_what_is_not_there_has_no_position(
    shop: Shop, http: httpx.Client, server: str, other_key: Any
) -> None:
    subscription = shop.subscribe(shop.price("calls", **TIERED))
    with httpx.Client(base_url=server, auth=(other_key.secret, "")) as stranger:
        for client, id_ in ((http, "sub_none"), (stranger, subscription.id)):
            answer = client.get(f"/v1/subscriptions/{id_}/usage")
            assert answer.status_code == 404
            assert answer.json()["error"] == {
                "type": "invalid_request_error",
                "message": f"No such subscription: '{id_}'",
                "code": "resource_missing",
                "param": "id",
            }


def test_it_takes_no_parameters(shop: Shop, http: httpx.Client) -> None:
    subscription = shop.subscribe(shop.price("calls", **TIERED))
    answer = http.get(f"/v1/subscriptions/{subscription.id}/usage", params={"at": "now"})
    assert answer.json()["error"]["code"] == "parameter_unknown"


def test_the_number_of_statements_does_not_depend_on_the_items(
    shop: Shop, database: Database, account: Account
) -> None:
    one = shop.subscribe(shop.price("a", unit_amount=1))
    many = shop.subscribe(*(shop.price(f"b{number}", unit_amount=1) for number in range(5)))

    act = Act(account.account_id, False, "test", clock.now(), ids.new_id)

    def statements(subscription: Any) -> int:
        with database.connection() as conn, counted(conn) as found:
            loaded = subscriptions.load(conn, account.account_id, [subscription.id])
            stock = take_stock(conn, act, list(loaded.values()))
        assert len(stock) == len(subscription.items.data)
        return len(found)

    assert statements(one) == statements(many)
