"""Meter event adjustments of v1 and v2, through the official SDK."""

from typing import Any

import pytest
import stripe
from refusals import refused
from stripe import StripeClient
from test_v2_metering import EVENT, counted

from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from shapes import assert_shape


@pytest.fixture
def customer(stripe_client: StripeClient) -> str:
    return stripe_client.v1.customers.create({"name": "Ada"}).id


@pytest.fixture
def meter(stripe_client: StripeClient) -> str:
    return stripe_client.v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": EVENT,
            "default_aggregation": {"formula": "sum"},
        }
    ).id


@pytest.fixture(params=["v1", "v2"])
def adjustments(request: pytest.FixtureRequest, stripe_client: StripeClient) -> Any:
    """Those of either version: what they do is the same."""
    return getattr(stripe_client, request.param).billing.meter_event_adjustments


def use(client: StripeClient, customer: str, value: str, identifier: str) -> None:
    client.v1.billing.meter_events.create(
        {
            "event_name": EVENT,
            "payload": {"stripe_customer_id": customer, "value": value},
            "identifier": identifier,
        }
    )


def cancel(identifier: str, event_name: str = EVENT) -> dict[str, Any]:
    return {"event_name": event_name, "type": "cancel", "cancel": {"identifier": identifier}}


def test_a_v1_adjustment_is_complete_at_once(
    stripe_client: StripeClient, meter: str, customer: str
) -> None:
    use(stripe_client, customer, "5", "one")
    use(stripe_client, customer, "2", "two")
    adjustments: Any = stripe_client.v1.billing.meter_event_adjustments
    shown = adjustments.create(cancel("one")).last_response.data
    assert_shape(shown, stripe.billing.MeterEventAdjustment)
    assert shown == {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": "one"},
        "event_name": EVENT,
        "livemode": False,
        "status": "complete",
        "type": "cancel",
    }
    assert counted(stripe_client, meter, customer) == 2


def test_a_v2_adjustment_is_complete_at_once(
    stripe_client: StripeClient, meter: str, customer: str
) -> None:
    use(stripe_client, customer, "5", "one")
    use(stripe_client, customer, "2", "two")
    adjustments: Any = stripe_client.v2.billing.meter_event_adjustments
    shown = adjustments.create(cancel("one")).last_response.data
    assert_shape(shown, stripe.v2.billing.MeterEventAdjustment)
    assert shown == {
        "id": shown["id"],
        "object": "v2.billing.meter_event_adjustment",
        "cancel": {"identifier": "one"},
        "created": shown["created"],
        "event_name": EVENT,
        "livemode": False,
        "status": "complete",
        "type": "cancel",
    }
    assert shown["created"].endswith("Z")
    assert counted(stripe_client, meter, customer) == 2


def test_a_cancelled_identifier_stays_taken(
    stripe_client: StripeClient, adjustments: Any, meter: str, customer: str
) -> None:
    use(stripe_client, customer, "5", "one")
    adjustments.create(cancel("one"))
    with refused("identifier", code="resource_already_exists"):
        use(stripe_client, customer, "5", "one")
    assert counted(stripe_client, meter, customer) == 0


def test_a_repeat_with_its_key_gets_the_first_answer(
    stripe_client: StripeClient, adjustments: Any, meter: str, customer: str
) -> None:
    use(stripe_client, customer, "5", "one")
    first = adjustments.create(cancel("one"), {"idempotency_key": "once"})
    assert adjustments.create(cancel("one"), {"idempotency_key": "once"}) == first


def test_what_is_cancelled_cannot_be_again(
    stripe_client: StripeClient, meter: str, customer: str
) -> None:
    use(stripe_client, customer, "5", "one")
    stripe_client.v2.billing.meter_event_adjustments.create(cancel("one"))  # type: ignore[arg-type]
    with refused("cancel[identifier]", code="already_canceled", saying="'one'"):
        stripe_client.v1.billing.meter_event_adjustments.create(cancel("one"))  # type: ignore[arg-type]
    with pytest.raises(stripe.AlreadyCanceledError) as raised:
        stripe_client.v2.billing.meter_event_adjustments.create(cancel("one"))  # type: ignore[arg-type]
    assert (raised.value.http_status, raised.value.code) == (400, "already_canceled")


def test_what_came_long_ago_cannot_be_cancelled(
    stripe_client: StripeClient, meter: str, customer: str, database: Database, account: Account
) -> None:
    use(stripe_client, customer, "5", "one")
    use(stripe_client, customer, "6", "two")
    with database.transaction() as conn:
        conn.execute(
            "UPDATE usage_events SET received_at = received_at - interval '86401 seconds'"
            " WHERE account_id = %s",
            (account.account_id,),
        )
    with refused("cancel[identifier]", code="not_cancelable", saying="24 hours ago"):
        stripe_client.v1.billing.meter_event_adjustments.create(cancel("one"))  # type: ignore[arg-type]
    with pytest.raises(stripe.NotCancelableError) as raised:
        stripe_client.v2.billing.meter_event_adjustments.create(cancel("two"))  # type: ignore[arg-type]
    assert (raised.value.http_status, raised.value.code) == (400, "not_cancelable")


def test_an_unknown_identifier_is_missing(adjustments: Any, meter: str) -> None:
    with refused("cancel[identifier]", code="resource_missing", status=404, saying="'one'"):
        adjustments.create(cancel("one"))


def test_an_event_has_the_name_it_came_with(
    stripe_client: StripeClient, adjustments: Any, meter: str, customer: str
) -> None:
    stripe_client.v1.billing.meters.create(
        {
            "display_name": "Other",
            "event_name": "other",
            "default_aggregation": {"formula": "sum"},
        }
    )
    use(stripe_client, customer, "5", "one")
    with refused("event_name", saying="another event name"):
        adjustments.create(cancel("one", "other"))
    with refused("event_name", code="resource_missing", status=404, saying="'unheard_of'"):
        adjustments.create(cancel("one", "unheard_of"))
    assert counted(stripe_client, meter, customer) == 5


def test_an_event_of_another_account_is_not_there(
    stripe_client: StripeClient, stranger: StripeClient, meter: str, customer: str
) -> None:
    use(stripe_client, customer, "5", "one")
    stranger.v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": EVENT,
            "default_aggregation": {"formula": "sum"},
        }
    )
    with refused("cancel[identifier]", code="resource_missing", status=404):
        stranger.v1.billing.meter_event_adjustments.create(cancel("one"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"event_name": None}, "event_name", "parameter_missing"),
        ({"event_name": "x" * 101}, "event_name", None),
        ({"type": None}, "type", "parameter_missing"),
        ({"type": "cancel_range"}, "type", None),
        ({"cancel": None}, "cancel", "parameter_missing"),
        ({"cancel": {"id": "one"}}, "cancel[id]", "parameter_unknown"),
        ({"cancel": {"identifier": ""}}, "cancel[identifier]", "parameter_invalid_empty"),
        ({"cancel": {"identifier": "x" * 101}}, "cancel[identifier]", None),
        ({"color": "red"}, "color", "parameter_unknown"),
    ],
)
def test_bad_input_is_refused(
    adjustments: Any, change: dict[str, Any], param: str, code: str | None
) -> None:
    with refused(param, code=code):
        adjustments.create(cancel("one") | change)
