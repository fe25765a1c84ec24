"""Test clocks, through the official SDK; that time passes on them is told in the stories."""

from typing import Any

import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient

from postpaid import clock
from postpaid.billing import manage_keys
from postpaid.storage.database import Database
from shapes import assert_shape

JANUARY = 1_767_225_600  # 2026-01-01
HOUR = 3600


@pytest.fixture
def clocks(stripe_client: StripeClient) -> Any:
    return stripe_client.v1.test_helpers.test_clocks


def test_a_clock_stands_where_it_is_put(clocks: Any) -> None:
    shown = clocks.create({"frozen_time": JANUARY, "name": "a year"}).last_response.data
    assert_shape(shown, stripe.test_helpers.TestClock)
    assert shown == {
        "id": shown["id"],
        "object": "test_helpers.test_clock",
        "created": shown["created"],
        "deletes_after": shown["created"] + 30 * 24 * HOUR,
        "frozen_time": JANUARY,
        "livemode": False,
        "name": "a year",
        "status": "ready",
        "status_details": {"advancing": None},
    }
    assert clocks.retrieve(shown["id"]).last_response.data == shown


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({}, "frozen_time", "parameter_missing"),
        ({"frozen_time": "now"}, "frozen_time", "parameter_invalid_integer"),
        ({"frozen_time": -1}, "frozen_time", None),
        ({"frozen_time": 10**12}, "frozen_time", None),
        ({"frozen_time": 1, "name": "x" * 301}, "name", None),
        ({"frozen_time": 1, "customer": "cus_x"}, "customer", "parameter_unknown"),
    ],
)
def test_bad_input_is_refused(
    clocks: Any, given: dict[str, Any], param: str, code: str | None
) -> None:
    with refused(param, code=code):
        clocks.create(given)


def test_a_clock_only_goes_forward(stripe_client: StripeClient, clocks: Any) -> None:
    started = clocks.create({"frozen_time": JANUARY})
    for back in (JANUARY, JANUARY - HOUR):
        with refused("frozen_time", saying="only goes forward"):
            clocks.advance(started.id, {"frozen_time": back})
    advancing = clocks.advance(started.id, {"frozen_time": JANUARY + HOUR})
    assert_shape(advancing.last_response.data, stripe.test_helpers.TestClock)
    assert (advancing.status, advancing.frozen_time) == ("advancing", JANUARY)
    assert advancing.status_details.advancing.target_frozen_time == JANUARY + HOUR
    with refused("id", code="status_transition_invalid", saying="`advancing`"):
        clocks.advance(started.id, {"frozen_time": JANUARY + 2 * HOUR})
    [event, _] = stripe_client.v1.events.list().data
    assert (event.type, event.created) == ("test_helpers.test_clock.advancing", JANUARY)


def test_a_deleted_clock_takes_its_customers_with_it(
    stripe_client: StripeClient, clocks: Any
) -> None:
    v1 = stripe_client.v1
    doomed = clocks.create({"frozen_time": JANUARY})
    other = clocks.create({"frozen_time": JANUARY})
    customer = v1.customers.create({"test_clock": doomed.id})
    spared = v1.customers.create({"test_clock": other.id})
    clocks.advance(doomed.id, {"frozen_time": JANUARY + HOUR})

    stub = {"id": doomed.id, "object": "test_helpers.test_clock", "deleted": True}
    assert clocks.delete(doomed.id).to_dict() == stub
    assert v1.customers.retrieve(customer.id).deleted
    assert v1.customers.retrieve(spared.id).test_clock == other.id
    assert [each.id for each in clocks.list()] == [other.id]
    for ask in (clocks.retrieve, clocks.delete):
        with missing("test clock", doomed.id):
            ask(doomed.id)
    with missing("test clock", doomed.id):
        clocks.advance(doomed.id, {"frozen_time": JANUARY + HOUR})
    with missing("test clock", doomed.id, "test_clock"):
        v1.customers.create({"test_clock": doomed.id})
    events = [each.type for each in v1.events.list({"limit": 2})]
    assert events == ["test_helpers.test_clock.deleted", "customer.deleted"]


def test_clocks_are_listed_newest_first(clocks: Any) -> None:
    ids = [clocks.create({"frozen_time": JANUARY}).id for _ in range(3)][::-1]
    assert [each.id for each in clocks.list({"limit": 1}).auto_paging_iter()] == ids
    assert [each.id for each in clocks.list({"ending_before": ids[2], "limit": 1})] == [ids[1]]


def test_a_clock_of_another_account_is_not_there(clocks: Any, stranger: StripeClient) -> None:
    ours = clocks.create({"frozen_time": JANUARY})
    theirs = stranger.v1.test_helpers.test_clocks
    with missing("test clock", ours.id):
        theirs.retrieve(ours.id)
    with missing("test clock", ours.id):
        theirs.advance(ours.id, {"frozen_time": JANUARY + HOUR})
    with missing("test clock", ours.id):
        theirs.delete(ours.id)
    with missing("test clock", ours.id, "test_clock"):
        stranger.v1.customers.create({"test_clock": ours.id})
    assert theirs.list().data == []


def test_live_mode_has_no_clocks_and_no_test_cards(server: str, database: Database) -> None:
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, "live", livemode=True, now=clock.now())
        key = manage_keys.create_key(conn, account, now=clock.now())
    v1 = stripe.StripeClient(key.secret, base_addresses={"api": server}).v1
    with refused(None, code="status_transition_invalid", saying="test mode only"):
        v1.test_helpers.test_clocks.create({"frozen_time": JANUARY})
    with missing("PaymentMethod", "pm_card_visa", "payment_method"):
        v1.customers.create({"payment_method": "pm_card_visa"})
    assert v1.customers.create().livemode is True
