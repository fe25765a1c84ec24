"""Billing meters by Frame's API, and what each of them costs."""

from decimal import Decimal
from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError

METER = {"event_name": "api_calls", "display_name": "API calls", "aggregation": "sum"}


def refused(frame: Frame, body: dict[str, Any], method: str = "POST", path: str = "") -> FrameError:
    with pytest.raises(FrameError) as error:
        frame.request(method, f"/v1/billing/metering{path}", body)
    return error.value


def test_a_meter_is_answered_as_frame_writes_it(frame: Frame) -> None:
    made = frame.post(
        "/v1/billing/metering",
        METER | {"value": Decimal("0.001"), "description": "Each one", "metadata": {"team": "a"}},
    )
    assert frame.last is not None
    assert frame.last.status_code == 201
    volatile = {name: made.pop(name) for name in ("id", "price", "product", "created", "updated")}
    assert all(volatile.values())
    assert made == {
        "object": "billing_meter",
        "status": "active",
        "active": True,
        "aggregation": "sum",
        "event_name": "api_calls",
        "display_name": "API calls",
        "description": "Each one",
        "value": "0.001",
        "markup_percentage": None,
        "currency": "USD",
        "tiers": None,
        "tiers_mode": None,
        "metadata": {"team": "a"},
        "livemode": False,
    }
    assert frame.get(f"/v1/billing/metering/{volatile['id']}") == made | volatile


def test_its_price_is_one_like_any_other_to_stripe(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    made = frame.post("/v1/billing/metering", METER | {"value": Decimal("0.0123")})
    price = stripe_client.v1.prices.retrieve(made["price"])
    assert (price.unit_amount_decimal, price.currency, price.product) == (
        Decimal("1.23"),
        "usd",
        made["product"],
    )
    assert price.recurring is not None
    assert (price.recurring.meter, price.recurring.usage_type, price.recurring.interval) == (
        made["id"],
        "metered",
        "month",
    )
    assert stripe_client.v1.products.retrieve(made["product"]).name == "API calls"
    assert stripe_client.v1.billing.meters.retrieve(made["id"]).event_name == "api_calls"


@pytest.mark.parametrize(
    ("said", "formula"),
    [
        ("sum", "sum"),
        ("count", "count"),
        ("count_unique", "unique"),
        ("average", "average"),
        ("time_duration", "duration"),
    ],
)
def test_every_aggregation_is_one_of_the_engines(
    frame: Frame, stripe_client: stripe.StripeClient, said: str, formula: str
) -> None:
    made = frame.post("/v1/billing/metering", METER | {"aggregation": said, "value": 2})
    assert (made["aggregation"], made["value"]) == (said, "2.0")
    meter = stripe_client.v1.billing.meters.retrieve(made["id"])
    assert meter.default_aggregation.formula == formula


@pytest.mark.parametrize(
    ("price", "value", "markup", "unit_amount"),
    [
        ({"value": 1, "markup_percentage": Decimal("2.9")}, "1.0", "2.9", "102.9"),
        ({"markup_percentage": 3}, "0.0", "3.0", "3"),
        ({"value": Decimal("0.5")}, "0.5", "0.0", "50"),
    ],
    ids=["both", "a markup alone", "a value alone"],
)
def test_a_markup_is_a_percentage_on_top_of_the_value(
    frame: Frame,
    stripe_client: stripe.StripeClient,
    price: dict[str, Any],
    value: str,
    markup: str,
    unit_amount: str,
) -> None:
    made = frame.post("/v1/billing/metering", METER | {"aggregation": "markup_percentage"} | price)
    assert (made["aggregation"], made["value"], made["markup_percentage"]) == (
        "markup_percentage",
        value,
        markup,
    )
    amount = stripe_client.v1.prices.retrieve(made["price"]).unit_amount_decimal
    assert amount == Decimal(unit_amount)


def test_tiers_are_in_major_units_too(frame: Frame, stripe_client: stripe.StripeClient) -> None:
    tiers = [
        {"up_to": 1000, "value": 0},
        {"up_to": None, "value": Decimal("0.05"), "flat_value": Decimal("1.5")},
    ]
    made = frame.post("/v1/billing/metering", METER | {"tiers": tiers, "currency": "EUR"})
    assert (made["value"], made["tiers_mode"], made["currency"]) == (None, "graduated", "EUR")
    assert made["tiers"] == [
        {"up_to": "1000.0", "value": "0.0", "flat_value": None},
        {"up_to": None, "value": "0.05", "flat_value": "1.5"},
    ]
    price = stripe_client.v1.prices.retrieve(made["price"], {"expand": ["tiers"]})
    assert price.tiers is not None
    assert [(tier.up_to, tier.unit_amount, tier.flat_amount) for tier in price.tiers] == [
        (1000, 0, None),
        (None, 5, 150),
    ]


def test_a_meter_can_have_the_price_of_a_product_that_is_there(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    product = stripe_client.v1.products.create({"name": "Storage"})
    made = frame.post("/v1/billing/metering", METER | {"value": 1, "product": product.id})
    assert made["product"] == product.id
    other = METER | {"event_name": "other", "value": 1}
    error = refused(frame, other | {"product": "prod_none"})
    assert (error.status, list(error.body["error_details"]["errors"])) == (404, ["product"])


def test_another_value_is_another_price_and_the_former_is_archived(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    made = frame.post("/v1/billing/metering", METER | {"value": 1})
    path = f"/v1/billing/metering/{made['id']}"
    same = frame.patch(path, {"value": Decimal("1.00"), "metadata": {"a": "b"}})
    assert (same["price"], same["metadata"]) == (made["price"], {"a": "b"})
    dearer = frame.patch(path, {"value": 2, "display_name": "Calls", "description": "Dear"})
    assert (dearer["value"], dearer["product"]) == ("2.0", made["product"])
    assert (dearer["display_name"], dearer["description"]) == ("Calls", "Dear")
    assert dearer["metadata"] == {"a": "b"}
    assert stripe_client.v1.products.retrieve(made["product"]).name == "Calls"
    assert dearer["price"] != made["price"]
    assert not stripe_client.v1.prices.retrieve(made["price"]).active
    assert stripe_client.v1.prices.retrieve(dearer["price"]).active
    tiered = frame.patch(path, {"tiers": [{"up_to": None, "value": 3}], "tiers_mode": "volume"})
    assert (tiered["value"], tiered["tiers_mode"]) == (None, "volume")
    assert frame.get(path)["price"] == tiered["price"]


def test_a_markup_changes_and_the_value_stays(frame: Frame) -> None:
    asked = METER | {"aggregation": "markup_percentage", "value": Decimal("0.1")}
    made = frame.post("/v1/billing/metering", asked | {"markup_percentage": 2})
    path = f"/v1/billing/metering/{made['id']}"
    changed = frame.patch(path, {"markup_percentage": 5})
    assert (changed["value"], changed["markup_percentage"]) == ("0.1", "5.0")
    changed = frame.patch(path, {"value": Decimal("0.2")})
    assert (changed["value"], changed["markup_percentage"]) == ("0.2", "5.0")


def test_a_meter_of_stripes_has_no_value_until_it_is_given_one(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    meter = stripe_client.v1.billing.meters.create(
        {
            "display_name": "Peak",
            "event_name": "peak",
            "default_aggregation": {"formula": "max"},  # type: ignore[typeddict-item]
        }
    )
    shown = frame.get(f"/v1/billing/metering/{meter.id}")
    assert (shown["value"], shown["price"], shown["aggregation"]) == (None, None, "max")
    priced = frame.patch(f"/v1/billing/metering/{meter.id}", {"value": 7, "currency": "gbp"})
    assert (priced["value"], priced["currency"]) == ("7.0", "GBP")
    assert stripe_client.v1.products.retrieve(priced["product"]).name == "Peak"


def test_a_meter_is_turned_off_and_on(frame: Frame, stripe_client: stripe.StripeClient) -> None:
    made = frame.post("/v1/billing/metering", METER | {"value": 1, "active": False})
    assert (made["status"], made["active"]) == ("inactive", False)
    path = f"/v1/billing/metering/{made['id']}"
    assert frame.patch(path, {"active": True, "value": 2})["status"] == "active"
    assert frame.patch(path, {"active": True})["status"] == "active"
    assert frame.patch(path, {"active": False, "value": 3})["value"] == "3.0"
    assert stripe_client.v1.billing.meters.retrieve(made["id"]).status == "inactive"


def test_a_meter_that_is_deleted_takes_no_events_and_keeps_its_name(frame: Frame) -> None:
    made = frame.post("/v1/billing/metering", METER | {"value": 1})
    path = f"/v1/billing/metering/{made['id']}"
    stub = {"id": made["id"], "object": "billing_meter", "deleted": True}
    assert frame.delete(path) == stub
    assert frame.delete(path) == stub
    assert frame.get(path)["status"] == "inactive"
    assert refused(frame, METER | {"value": 1}).status == 422


def test_an_event_name_is_one_meters(frame: Frame, other_frame: Frame) -> None:
    frame.post("/v1/billing/metering", METER | {"value": 1})
    error = refused(frame, METER | {"value": 1})
    assert (error.status, error.code) == (422, "validation_errors")
    assert list(error.body["error_details"]["errors"]) == ["event_name"]
    assert other_frame.post("/v1/billing/metering", METER)["event_name"] == "api_calls"


def test_meters_are_listed_by_status_and_by_customer(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    made = [
        frame.post("/v1/billing/metering", METER | {"event_name": name, "value": 1})["id"]
        for name in ("one", "two", "three")
    ]
    frame.delete(f"/v1/billing/metering/{made[1]}")
    customer = frame.post("/v1/customers", {"name": "Ada", "email": "ada@example.com"})["id"]
    stripe_client.v1.billing.meter_events.create(
        {"event_name": "three", "payload": {"customer": customer, "value": "1"}}
    )

    def listed(**query: Any) -> list[str]:
        answer = frame.get("/v1/billing/metering", **query)
        assert answer["meters"] == answer["data"]
        return [each["id"] for each in answer["data"]]

    assert listed() == made[::-1]
    assert listed(status="active") == [made[2], made[0]]
    assert listed(status="inactive") == [made[1]]
    assert listed(status="pending") == []
    assert listed(customer=customer) == [made[2]]
    assert listed(customer="cus_none") == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_name", ""),
        ("event_name", "x" * 256),
        ("event_name", 5),
        ("aggregation", "median"),
        ("aggregation", None),
        ("value", -1),
        ("value", "much"),
        ("value", True),
        ("value", 10**15),
        ("value", "1e-13"),
        ("markup_percentage", 2),
        ("display_name", "x" * 256),
        ("description", ["x"]),
        ("active", "perhaps"),
        ("currency", "xyz"),
        ("metadata", {"a[b]": "c"}),
        ("metadata", "a"),
        ("product", {}),
    ],
)
def test_what_a_meter_cannot_be_is_refused(frame: Frame, field: str, value: object) -> None:
    error = refused(frame, METER | {"value": 1} | {field: value})
    assert error.status == 422
    [param] = error.body["error_details"]["errors"]
    assert param.partition("[")[0].partition(".")[0] == field


@pytest.mark.parametrize(
    ("price", "param"),
    [
        ({"tiers": []}, "tiers"),
        ({"tiers": [{"up_to": 5, "value": 1}]}, "tiers"),
        ({"tiers": [{"up_to": None}]}, "tiers"),
        ({"tiers": [{"up_to": 0, "value": 1}]}, "tiers"),
        ({"tiers": "many"}, "tiers"),
        ({"tiers": [{"value": 1}], "value": 1}, "tiers"),
        ({"tiers": [{"value": 1}], "tiers_mode": "sideways"}, "tiers_mode"),
        ({"value": 1, "tiers_mode": "volume"}, "tiers_mode"),
        ({"product": "prod_1"}, "product"),
        ({"aggregation": "markup_percentage"}, "markup_percentage"),
        ({"aggregation": "markup_percentage", "tiers": [{"value": 1}]}, "tiers"),
    ],
    ids=str,
)
def test_what_a_price_cannot_be_is_refused(frame: Frame, price: dict[str, Any], param: str) -> None:
    error = refused(frame, METER | price)
    assert error.status == 422
    [named] = error.body["error_details"]["errors"]
    assert named.partition("[")[0].partition(".")[0] == param
    assert refused(frame, METER | {"event_name": 1}).status == 422  # and nothing was made
    assert frame.get("/v1/billing/metering")["data"] == []


def test_another_merchants_meter_is_not_there(frame: Frame, other_frame: Frame) -> None:
    made = frame.post("/v1/billing/metering", METER | {"value": 1})["id"]
    for method in ("GET", "PATCH", "DELETE"):
        assert refused(other_frame, {}, method, f"/{made}").status == 404
