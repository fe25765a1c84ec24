"""Alerts, through the official SDK."""

from typing import Any

import httpx
import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient

from shapes import assert_shape


@pytest.fixture
def alerts(stripe_client: StripeClient) -> Any:
    return stripe_client.v1.billing.alerts


@pytest.fixture
def meter(stripe_client: StripeClient) -> str:
    return new_meter(stripe_client, "calls")


def new_meter(client: StripeClient, name: str, formula: str = "sum") -> str:
    given: Any = {
        "display_name": name,
        "event_name": name,
        "default_aggregation": {"formula": formula},
    }
    return client.v1.billing.meters.create(given).id


@pytest.fixture
def customer(stripe_client: StripeClient) -> str:
    return stripe_client.v1.customers.create({"name": "Ada"}).id


def given(meter: str, /, **threshold: Any) -> Any:
    """The parameters of an alert at 100, once."""
    threshold = {"meter": meter, "gte": 100, "recurrence": "one_time"} | threshold
    threshold = {key: value for key, value in threshold.items() if value is not None}
    return {"alert_type": "usage_threshold", "title": "High", "usage_threshold": threshold}


def use(client: StripeClient, customer: str, value: str, name: str = "calls") -> None:
    client.v1.billing.meter_events.create(
        {"event_name": name, "payload": {"stripe_customer_id": customer, "value": value}}
    )


def triggered(client: StripeClient) -> list[dict[str, Any]]:
    """What was said, oldest first."""
    found = client.v1.events.list({"type": "billing.alert.triggered", "limit": 100})
    return [each["data"]["object"] for each in reversed(found.last_response.data["data"])]  # type: ignore[union-attr]


def test_an_alert_is_made_active(alerts: Any, meter: str) -> None:
    alert = alerts.create(given(meter))
    assert_shape(alert.last_response.data, stripe.billing.Alert)
    assert alert.last_response.data == {
        "id": alert.id,
        "object": "billing.alert",
        "alert_type": "usage_threshold",
        "livemode": False,
        "status": "active",
        "title": "High",
        "usage_threshold": {
            "amount": None,
            "filters": [],
            "gte": 100,
            "meter": meter,
            "percent": None,
            "recurrence": "one_time",
        },
    }
    assert alert.id.startswith("alrt_")
    assert alerts.retrieve(alert.id) == alert


def test_an_alert_can_be_of_one_customer(alerts: Any, meter: str, customer: str) -> None:
    filters = [{"type": "customer", "customer": customer}]
    alert = alerts.create(given(meter, filters=filters))
    assert_shape(alert.last_response.data, stripe.billing.Alert)
    assert alert.last_response.data["usage_threshold"]["filters"] == filters


@pytest.mark.parametrize(
    ("threshold", "shown"),
    [
        pytest.param({"gte": "0.5"}, {"gte": "0.5"}, id="a-fraction"),
        pytest.param({"gte": "5.0"}, {"gte": 5}, id="whole-after-all"),
        pytest.param({"gte": 10**15}, {"gte": 10**15}, id="large"),
        pytest.param({"gte": None, "percent": 80}, {"gte": None, "percent": 80}, id="percent"),
        pytest.param({"gte": None, "amount": 900}, {"gte": None, "amount": 900}, id="amount"),
    ],
)
def test_an_alert_of_every_billing_period(
    alerts: Any, meter: str, threshold: dict[str, Any], shown: dict[str, Any]
) -> None:
    alert = alerts.create(given(meter, recurrence="billing_period", **threshold))
    nothing = {"gte": None, "percent": None, "amount": None}
    assert alert.last_response.data["usage_threshold"] == {
        "filters": [],
        "meter": meter,
        "recurrence": "billing_period",
        **nothing,
        **shown,
    }


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        pytest.param({"title": None}, "title", "parameter_missing", id="no-title"),
        pytest.param({"title": ""}, "title", "parameter_invalid_empty", id="empty-title"),
        pytest.param({"title": "x" * 257}, "title", None, id="long-title"),
        pytest.param({"alert_type": None}, "alert_type", "parameter_missing", id="no-type"),
        pytest.param({"alert_type": "spend"}, "alert_type", None, id="another-type"),
        pytest.param(
            {"usage_threshold": None}, "usage_threshold", "parameter_missing", id="no-threshold"
        ),
        pytest.param({"metadata": {"a": "b"}}, "metadata", "parameter_unknown", id="unknown"),
    ],
)
def test_what_is_wrong_with_an_alert_is_named(
    alerts: Any, meter: str, change: dict[str, Any], param: str, code: str | None
) -> None:
    asked = {key: value for key, value in (given(meter) | change).items() if value is not None}
    with refused(param, code=code):
        alerts.create(asked)
    assert alerts.list().data == []


@pytest.mark.parametrize(
    ("change", "name", "code"),
    [
        pytest.param({"gte": None}, "gte", "parameter_missing", id="none"),
        pytest.param({"gte": 0}, "gte", None, id="zero"),
        pytest.param({"gte": -5}, "gte", None, id="negative"),
        pytest.param({"gte": "many"}, "gte", None, id="no-number"),
        pytest.param({"gte": "0.0000000000001"}, "gte", None, id="too-fine"),
        pytest.param({"gte": 10**16}, "gte", None, id="too-large"),
        pytest.param({"percent": 80}, "percent", "parameters_exclusive", id="two"),
        pytest.param({"gte": None, "percent": 80}, "percent", None, id="percent-once"),
        pytest.param({"gte": None, "amount": 80}, "amount", None, id="amount-once"),
        pytest.param(
            {"gte": None, "percent": 0, "recurrence": "billing_period"},
            "percent",
            "parameter_invalid_integer",
            id="no-percent",
        ),
        pytest.param(
            {"gte": None, "amount": "1.5", "recurrence": "billing_period"},
            "amount",
            "parameter_invalid_integer",
            id="part-of-a-cent",
        ),
        pytest.param({"recurrence": None}, "recurrence", "parameter_missing", id="no-recurrence"),
        pytest.param({"recurrence": "daily"}, "recurrence", None, id="another-recurrence"),
        pytest.param({"meter": None}, "meter", "parameter_missing", id="no-meter"),
        pytest.param(
            {"filters": [{"type": "customer"}]},
            "filters][0][customer",
            "parameter_missing",
            id="no-customer",
        ),
        pytest.param(
            {"filters": [{"type": "plan", "customer": "cus_1"}]},
            "filters][0][type",
            None,
            id="another-filter",
        ),
        pytest.param(
            {"filters": [{"type": "customer", "customer": "cus_1"}] * 2},
            "filters",
            None,
            id="two-filters",
        ),
    ],
)
def test_what_is_wrong_with_a_threshold_is_named(
    alerts: Any, meter: str, change: dict[str, Any], name: str, code: str | None
) -> None:
    with refused(f"usage_threshold[{name}]", code=code):
        alerts.create(given(meter, **change))
    assert alerts.list().data == []


def test_the_meter_and_the_customer_must_be_there(
    alerts: Any, meter: str, customer: str, stranger: StripeClient, stripe_client: StripeClient
) -> None:
    for id_ in ("mtr_none", new_meter(stranger, "calls")):
        with missing("meter", id_, "usage_threshold[meter]"):
            alerts.create(given(id_))
    stripe_client.v1.customers.delete(customer)
    for id_ in ("cus_none", customer, stranger.v1.customers.create({}).id):
        with missing("customer", id_, "usage_threshold[filters][0][customer]"):
            alerts.create(given(meter, filters=[{"type": "customer", "customer": id_}]))


def test_all_usage_of_a_meter_that_does_not_add_up_cannot_be_watched(
    alerts: Any, stripe_client: StripeClient
) -> None:
    unique = new_meter(stripe_client, "seats", "unique")
    with refused("usage_threshold[recurrence]", saying="bills 'unique'"):
        alerts.create(given(unique))
    assert alerts.create(given(unique, recurrence="billing_period")).status == "active"


def test_a_meter_has_at_most_25_alerts_for_a_customer(
    alerts: Any, meter: str, customer: str, stripe_client: StripeClient
) -> None:
    filters = [{"type": "customer", "customer": customer}]
    for _ in range(5):
        alerts.create(given(meter))
    made = [alerts.create(given(meter, filters=filters)) for _ in range(20)]
    alerts.deactivate(made[0].id)
    for asked in (given(meter, filters=filters), given(meter)):
        with refused("usage_threshold[meter]", saying="at most 25 alerts"):
            alerts.create(asked)
    other = stripe_client.v1.customers.create({}).id
    alerts.create(given(meter, filters=[{"type": "customer", "customer": other}]))
    alerts.create(given(new_meter(stripe_client, "visits")))
    alerts.archive(made[0].id)
    alerts.create(given(meter))


def test_an_alert_sleeps_and_wakes_and_is_put_away_for_good(alerts: Any, meter: str) -> None:
    alert = alerts.create(given(meter)).id
    with refused(None, code="status_transition_invalid", saying="active cannot be activated"):
        alerts.activate(alert)
    assert alerts.deactivate(alert).status == "inactive"
    with refused(None, code="status_transition_invalid", saying="inactive cannot be deactivated"):
        alerts.deactivate(alert)
    assert alerts.activate(alert).status == "active"
    assert alerts.deactivate(alert).status == "inactive"
    assert alerts.archive(alert).status == "archived"
    for verb in (alerts.activate, alerts.deactivate, alerts.archive):
        with refused(None, code="status_transition_invalid", saying="archived cannot be"):
            verb(alert)
    assert alerts.retrieve(alert).status == "archived"


def test_an_alert_of_another_account_is_not_there(
    alerts: Any, meter: str, stranger: StripeClient
) -> None:
    alert = alerts.create(given(meter)).id
    theirs: Any = stranger.v1.billing.alerts
    for verb in (theirs.retrieve, theirs.activate, theirs.deactivate, theirs.archive):
        with missing("alert", alert):
            verb(alert)
    assert theirs.list().data == []


def test_alerts_are_listed_newest_first_and_by_meter(
    alerts: Any, meter: str, stripe_client: StripeClient
) -> None:
    other = new_meter(stripe_client, "visits")
    made = [alerts.create(given(each)).id for each in (meter, other, meter, meter)]
    alerts.archive(made[2])
    newest_first = made[::-1]
    assert [each.id for each in alerts.list()] == newest_first
    of_meter = [made[3], made[2], made[0]]
    asked = {"meter": meter, "alert_type": "usage_threshold", "limit": 2}
    page = alerts.list(asked)
    assert ([each.id for each in page.data], page.has_more) == (of_meter[:2], True)
    assert [each.id for each in page.auto_paging_iter()] == of_meter
    before = alerts.list({"ending_before": made[2]})
    assert [each.id for each in before.data] == [made[3]]
    assert alerts.list({"meter": "mtr_none"}).data == []
    with refused("alert_type"):
        alerts.list({"alert_type": "spend"})
    with missing("alert", "alrt_none", "starting_after"):
        alerts.list({"starting_after": "alrt_none"})


def test_an_alert_says_what_triggered_it(
    alerts: Any, meter: str, customer: str, stripe_client: StripeClient
) -> None:
    alert = alerts.create(given(meter, gte="99.5"))
    use(stripe_client, customer, "99")
    assert triggered(stripe_client) == []
    use(stripe_client, customer, "1.25")
    use(stripe_client, customer, "100")
    [said] = triggered(stripe_client)
    assert said == {
        "object": "billing.alert_triggered",
        "alert": alert.last_response.data,
        "amount": None,
        "created": said["created"],
        "currency": None,
        "customer": customer,
        "included": None,
        "livemode": False,
        "overage": None,
        "overage_amount": None,
        "percent": None,
        "remaining": None,
        "subscription": None,
        "subscription_item": None,
        "used": None,
        "value": 100,
        "value_decimal": "100.25",
        "window": None,
    }


def test_what_was_said_has_the_sdks_shape(
    alerts: Any, meter: str, customer: str, stripe_client: StripeClient
) -> None:
    alerts.create(given(meter, gte=1))
    use(stripe_client, customer, "5")
    [said] = triggered(stripe_client)
    assert_shape(said, stripe.billing.AlertTriggered)
    [event] = stripe_client.v1.events.list({"type": "billing.alert.triggered"}).data
    assert_shape(event.to_dict(), stripe.Event)
    assert stripe_client.v1.events.retrieve(event.id).data.object["value"] == 5


def test_a_repeated_request_makes_one_alert(http: httpx.Client, meter: str) -> None:
    data = {
        "alert_type": "usage_threshold",
        "title": "High",
        "usage_threshold[meter]": meter,
        "usage_threshold[gte]": "5",
        "usage_threshold[recurrence]": "one_time",
    }
    answers = [
        http.post("/v1/billing/alerts", data=data, headers={"Idempotency-Key": "once"}).json()
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert len(http.get("/v1/billing/alerts").json()["data"]) == 1
