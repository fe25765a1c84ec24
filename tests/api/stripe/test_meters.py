"""Meters, through the official SDK."""

from typing import Any

import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient

from postpaid.core.metering import Aggregation
from shapes import assert_shape

INTEGER = "parameter_invalid_integer"
CALLS: dict[str, Any] = {
    "display_name": "Calls",
    "event_name": "calls",
    "default_aggregation": {"formula": "sum"},
}


@pytest.fixture
def meters(stripe_client: StripeClient) -> Any:
    return stripe_client.v1.billing.meters


def test_a_meter_reads_the_usual_keys(meters: Any) -> None:
    meter = meters.create(CALLS)
    assert_shape(meter.last_response.data, stripe.billing.Meter)
    assert meter.last_response.data == {
        "id": meter.id,
        "object": "billing.meter",
        "acceptance_window": {"future": 300, "past": 3_024_000},
        "cancellation_window": 86_400,
        "created": meter.created,
        "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        "default_aggregation": {"formula": "sum"},
        "display_name": "Calls",
        "event_name": "calls",
        "event_time_window": None,
        "livemode": False,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": meter.created,
        "value_settings": {"event_payload_key": "value"},
    }
    assert meter.id.startswith("mtr_")
    assert meters.retrieve(meter.id) == meter


@pytest.mark.parametrize("formula", list(Aggregation))
def test_a_meter_reads_the_keys_it_is_told(meters: Any, formula: str) -> None:
    meter = meters.create(
        {
            "display_name": "Calls",
            "event_name": "calls",
            "default_aggregation": {"formula": formula},
            "customer_mapping": {"event_payload_key": "who", "type": "by_id"},
            "value_settings": {"event_payload_key": "how_many"},
        }
    )
    assert meter.default_aggregation.formula == formula
    assert meter.customer_mapping.event_payload_key == "who"
    assert meter.value_settings.event_payload_key == "how_many"


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"display_name": None}, "display_name", "parameter_missing"),
        ({"event_name": None}, "event_name", "parameter_missing"),
        ({"default_aggregation": None}, "default_aggregation", "parameter_missing"),
        ({"event_name": ""}, "event_name", "parameter_invalid_empty"),
        ({"event_name": "x" * 101}, "event_name", None),
        ({"display_name": "x" * 251}, "display_name", None),
        ({"default_aggregation": {"formula": "median"}}, "default_aggregation[formula]", None),
        ({"event_time_window": "month"}, "event_time_window", None),
        (
            {"event_time_window": "day", "default_aggregation": {"formula": "p95"}},
            "event_time_window",
            None,
        ),
        ({"acceptance_window": {"past": -1}}, "acceptance_window[past]", INTEGER),
        ({"acceptance_window": {"past": 315_360_001}}, "acceptance_window[past]", INTEGER),
        ({"acceptance_window": {"future": 43_201}}, "acceptance_window[future]", INTEGER),
        ({"acceptance_window": {"since": 1}}, "acceptance_window[since]", "parameter_unknown"),
        ({"cancellation_window": "a day"}, "cancellation_window", INTEGER),
        ({"metadata": {"a": "b"}}, "metadata", "parameter_unknown"),
        ({"customer_mapping": {"type": "by_id"}}, "customer_mapping[event_payload_key]", "missing"),
        (
            {"customer_mapping": {"type": "by_email", "event_payload_key": "who"}},
            "customer_mapping[type]",
            None,
        ),
        (
            {"value_settings": {"event_payload_key": "stripe_customer_id"}},
            "value_settings[event_payload_key]",
            None,
        ),
    ],
)
def test_bad_input_is_refused(
    meters: Any, given: dict[str, Any], param: str, code: str | None
) -> None:
    code = "parameter_missing" if code == "missing" else code
    with refused(param, code=code):
        meters.create({**CALLS, **given})


def test_an_event_name_is_one_meters_even_an_inactive_ones(
    meters: Any, stranger: StripeClient
) -> None:
    first = meters.create(CALLS)
    with refused("event_name", code="resource_already_exists", saying="'calls'"):
        meters.create({**CALLS, "display_name": "Other"})
    meters.deactivate(first.id)
    with refused("event_name", code="resource_already_exists"):
        meters.create(CALLS)
    assert stranger.v1.billing.meters.create(CALLS).event_name == "calls"


def test_how_a_meter_counts_does_not_change(stripe_client: StripeClient, meters: Any) -> None:
    before = meters.create(CALLS)
    after = meters.update(before.id, {"display_name": "API calls"})
    assert after.to_dict() == before.to_dict() | {
        "display_name": "API calls",
        "updated": after.updated,
    }
    assert meters.retrieve(before.id) == after
    with refused("event_name", code="parameter_unknown"):
        meters.update(before.id, {"event_name": "other"})
    with refused("display_name", code="parameter_invalid_empty"):
        meters.update(before.id, {"display_name": ""})


@pytest.mark.parametrize("window", ["hour", "day"])
@pytest.mark.parametrize("formula", [each for each in Aggregation if each.combines])
def test_of_an_hour_or_a_day_a_meter_counts_the_last_event(
    meters: Any, formula: str, window: str
) -> None:
    meter = meters.create(
        {**CALLS, "event_time_window": window, "default_aggregation": {"formula": formula}}
    )
    assert_shape(meter.last_response.data, stripe.billing.Meter)
    assert meter.event_time_window == window
    with refused("event_time_window", code="parameter_unknown"):
        meters.update(meter.id, {"event_time_window": "day"})


def test_what_a_meter_accepts_can_change(meters: Any) -> None:
    meter = meters.create(
        {**CALLS, "acceptance_window": {"past": 0, "future": 43_200}, "cancellation_window": 60}
    )
    assert meter.acceptance_window.to_dict() == {"past": 0, "future": 43_200}
    assert meter.cancellation_window == 60
    meters.update(meter.id, {"acceptance_window": {"past": 315_360_000}})
    meters.update(meter.id, {"cancellation_window": 0})
    changed = meters.retrieve(meter.id)
    assert changed.acceptance_window.to_dict() == {"past": 315_360_000, "future": 43_200}
    assert (changed.cancellation_window, changed.display_name) == (0, "Calls")


def test_a_meter_rests_and_goes_on(stripe_client: StripeClient, meters: Any) -> None:
    meter = meters.create(CALLS)
    resting = meters.deactivate(meter.id)
    assert_shape(resting.last_response.data, stripe.billing.Meter)
    assert resting.status == "inactive"
    assert resting.status_transitions.deactivated_at >= meter.created
    with refused("id", code="status_transition_invalid", saying="inactive already"):
        meters.deactivate(meter.id)
    going = meters.reactivate(meter.id)
    assert (going.status, going.status_transitions.deactivated_at) == ("active", None)
    with refused("id", code="status_transition_invalid", saying="active already"):
        meters.reactivate(meter.id)
    assert [each.type for each in stripe_client.v1.events.list()] == [
        "billing.meter.reactivated",
        "billing.meter.deactivated",
        "billing.meter.created",
    ]


def test_meters_are_listed_newest_first(meters: Any) -> None:
    ids = [meters.create({**CALLS, "event_name": name}).id for name in "abc"][::-1]
    meters.deactivate(ids[1])
    for filters, expected in [
        ({}, ids),
        ({"status": "active"}, [ids[0], ids[2]]),
        ({"status": "inactive"}, [ids[1]]),
        ({"starting_after": ids[0]}, ids[1:]),
        ({"ending_before": ids[2]}, ids[:2]),
        ({"ending_before": ids[2], "limit": 1}, [ids[1]]),
    ]:
        assert [each.id for each in meters.list(filters)] == expected
    assert [each.id for each in meters.list({"limit": 1}).auto_paging_iter()] == ids
    with refused("status"):
        meters.list({"status": "asleep"})


def test_a_meter_of_another_account_is_not_there(meters: Any, stranger: StripeClient) -> None:
    meter = meters.create(CALLS)
    theirs = stranger.v1.billing.meters
    for ask in (theirs.retrieve, theirs.update, theirs.deactivate, theirs.reactivate):
        with missing("meter", meter.id):
            ask(meter.id)
    assert theirs.list().data == []
