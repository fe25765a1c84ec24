"""Products of Frame's: a name, an amount and how often."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError
from postpaid import clock, ids
from postpaid.api.frame import products
from postpaid.billing.perform import Act
from postpaid.storage import catalog
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from postpaid.storage.paging import Page
from statements import counted

PRO = {
    "name": "Pro",
    "description": "All of it",
    "default_price": 9900,
    "purchase_type": "recurring",
    "recurring_interval": "monthly",
}


def test_a_product_has_one_amount_and_how_often(frame: Frame) -> None:
    made = frame.post("/v1/products", PRO | {"metadata": {"tier": "pro"}, "shippable": False})
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert made == {
        "id": made["id"],
        "object": "product",
        "name": "Pro",
        "description": "All of it",
        "default_price": 9900,
        "currency": "USD",
        "purchase_type": "recurring",
        "recurring": {"interval": "month", "interval_count": 1},
        "recurring_interval": "monthly",
        "shippable": False,
        "active": True,
        "url": None,
        "image": None,
        "metadata": {"tier": "pro"},
        "livemode": False,
        "created": made["created"],
        "updated": made["created"],
    }
    assert frame.get(f"/v1/products/{made['id']}") == made


@pytest.mark.parametrize(
    ("said", "named", "interval", "count"),
    [
        ("daily", "daily", "day", 1),
        ("weekly", "weekly", "week", 1),
        ("monthly", "monthly", "month", 1),
        ("every_3_months", "every_3_months", "month", 3),
        ("every_three_months", "every_3_months", "month", 3),
        ("every_6_months", "every_6_months", "month", 6),
        ("every_six_months", "every_6_months", "month", 6),
        ("yearly", "yearly", "year", 1),
    ],
)
def test_it_recurs_as_its_price_does(
    frame: Frame,
    stripe_client: stripe.StripeClient,
    said: str,
    named: str,
    interval: str,
    count: int,
) -> None:
    made = frame.post("/v1/products", PRO | {"recurring_interval": said})
    assert made["recurring_interval"] == named
    assert made["recurring"] == {"interval": interval, "interval_count": count}
    seen = stripe_client.v1.products.retrieve(made["id"], {"expand": ["default_price"]})
    price = seen.default_price
    assert isinstance(price, stripe.Price)
    assert price.recurring is not None
    assert (price.unit_amount, price.currency, price.recurring.usage_type) == (
        9900,
        "usd",
        "licensed",
    )
    assert (price.recurring.interval, price.recurring.interval_count) == (interval, count)


def test_what_is_bought_once_does_not_recur(frame: Frame) -> None:
    once = {"name": "Setup", "default_price": 0, "purchase_type": "one_time"}
    made = frame.post("/v1/products", once)
    assert (made["default_price"], made["recurring"], made["recurring_interval"]) == (0, None, None)
    assert made["purchase_type"] == "one_time"


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 251}, "name"),
        ({"description": 5}, "description"),
        ({"default_price": None}, "default_price"),
        ({"default_price": -1}, "default_price"),
        ({"default_price": 9.5}, "default_price"),
        ({"default_price": "much"}, "default_price"),
        ({"default_price": 10**13}, "default_price"),
        ({"purchase_type": "billing"}, "purchase_type"),
        ({"purchase_type": None}, "purchase_type"),
        ({"purchase_type": "one_time"}, "recurring_interval"),
        ({"recurring_interval": None}, "recurring_interval"),
        ({"recurring_interval": "fortnightly"}, "recurring_interval"),
        ({"recurring_interval": {"every": 3}}, "recurring_interval"),
        ({"currency": "gold"}, "currency"),
        ({"shippable": "perhaps"}, "shippable"),
        ({"url": "ftp://example.com"}, "url"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"k": "x" * 101}}, "metadata"),
    ],
)
def test_a_product_that_cannot_be_is_refused(frame: Frame, said: dict[str, Any], at: str) -> None:
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/products", PRO | said)
    assert (refused.value.status, refused.value.code) == (422, "validation_errors")
    assert list(refused.value.body["error_details"]["errors"]) == [at]


def test_another_price_is_for_those_who_come_later(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    made = frame.post("/v1/products", PRO)
    before = str(stripe_client.v1.products.retrieve(made["id"]).default_price)
    after = frame.patch(
        f"/v1/products/{made['id']}",
        {"default_price": 12000, "name": "Pro+", "metadata": {"rev": 2}, "description": ""},
    )
    assert (after["default_price"], after["name"], after["metadata"]) == (
        12000,
        "Pro+",
        {"rev": "2"},
    )
    assert after["description"] is None
    assert after["recurring"] == made["recurring"]
    now = str(stripe_client.v1.products.retrieve(made["id"]).default_price)
    prices = stripe_client.v1.prices.list({"product": made["id"]})
    assert {each.id: (each.unit_amount, each.active) for each in prices} == {
        before: (9900, False),
        now: (12000, True),
    }
    same = frame.patch(f"/v1/products/{made['id']}", {"default_price": 12000})
    assert same == after  # nothing new is made of nothing new
    assert len(stripe_client.v1.prices.list({"product": made["id"]}).data) == 2


def test_what_is_deleted_is_sold_no_more(frame: Frame) -> None:
    made = frame.post("/v1/products", PRO)
    stub = {"id": made["id"], "object": "product", "deleted": True}
    assert frame.delete(f"/v1/products/{made['id']}") == stub
    assert frame.get(f"/v1/products/{made['id']}")["active"] is False
    assert frame.get("/v1/products", active=True)["data"] == []
    assert frame.patch(f"/v1/products/{made['id']}", {"active": True})["active"] is True


def test_products_are_listed_and_searched(frame: Frame) -> None:
    basic = frame.post("/v1/products", PRO | {"name": "Basic"})["id"]
    pro = frame.post("/v1/products", PRO | {"name": "Pro 100%", "shippable": True})["id"]
    gone = frame.post("/v1/products", PRO | {"name": "Probably"})["id"]
    frame.delete(f"/v1/products/{gone}")

    def found(path: str, **query: Any) -> list[str]:
        answer = frame.get(path, **query)
        assert answer["products"] == answer["data"]
        return [each["id"] for each in answer["data"]]

    assert found("/v1/products") == [gone, pro, basic]
    assert found("/v1/products", active=True) == [pro, basic]
    assert found("/v1/products", active=False) == [gone]
    assert found("/v1/products/search", name="pRO") == [gone, pro]
    assert found("/v1/products/search", name="pro", active=True) == [pro]
    assert found("/v1/products/search", name="0%") == [pro]
    assert found("/v1/products/search", name="%") == [pro]
    assert found("/v1/products/search", shippable=True) == [pro]
    assert found("/v1/products/search", shippable=False) == [gone, basic]
    assert found("/v1/products/search", per_page=1, page=2) == [pro]


def test_products_of_stripes_are_shown_as_well_as_can_be(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    bare = stripe_client.v1.products.create({"name": "Bare", "images": ["https://x.example/i.png"]})
    seen = frame.get(f"/v1/products/{bare.id}")
    assert (seen["default_price"], seen["purchase_type"], seen["currency"]) == (None, None, None)
    assert seen["image"] == "https://x.example/i.png"
    fine = stripe_client.v1.products.create(
        {
            "name": "Fine",
            "default_price_data": {
                "currency": "eur",
                "unit_amount_decimal": "0.5",  # type: ignore[typeddict-item]
                "recurring": {"interval": "week", "interval_count": 2},
            },
        }
    )
    seen = frame.get(f"/v1/products/{fine.id}")
    assert (seen["default_price"], seen["purchase_type"]) == (None, "recurring")
    assert (seen["currency"], seen["recurring_interval"]) == ("EUR", None)
    assert seen["recurring"] == {"interval": "week", "interval_count": 2}
    with pytest.raises(FrameError) as refused:
        frame.patch(f"/v1/products/{bare.id}", {"default_price": 5})
    assert (refused.value.status, refused.value.code) == (422, "invalid_transition")
    assert list(refused.value.body["error_details"]["errors"]) == ["default_price"]


def test_there_is_nothing_to_change_in_what_is_not_there(frame: Frame, other_frame: Frame) -> None:
    made = other_frame.post("/v1/products", PRO)["id"]
    for call in (
        lambda: frame.get(f"/v1/products/{made}"),
        lambda: frame.patch(f"/v1/products/{made}", {"name": "Mine"}),
        lambda: frame.delete(f"/v1/products/{made}"),
    ):
        with pytest.raises(FrameError) as refused:
            call()
        assert (refused.value.status, refused.value.code) == (404, "not_found")


def test_many_products_cost_no_more_statements_than_one(
    frame: Frame, database: Database, account: Account
) -> None:
    act = Act(account.account_id, False, "test", clock.now(), ids.new_id)
    for number in range(4):
        frame.post("/v1/products", PRO | {"name": f"Product {number}"})
    with database.connection() as conn:
        rows = catalog.list_products(conn, account.account_id, Page(limit=10)).rows
        costs = []
        for shown in (rows[:1], rows):
            with counted(conn) as statements:
                assert len(products.render_many(conn, act, shown)) == len(shown)
            costs.append(len(statements))
    assert len(rows) == 4
    assert costs[0] == costs[1]
