"""Phases of subscriptions: what is asked for wrongly, at once, and by many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError
from postpaid import clock, ids
from postpaid.api.frame import phase_shapes
from postpaid.billing.copy_phases import offer_product
from postpaid.billing.perform import Act
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from statements import counted

PRO = {
    "name": "Pro",
    "default_price": 9900,
    "purchase_type": "recurring",
    "recurring_interval": "monthly",
}
FREE = {"ordinal": 1, "pricing_type": "static", "amount_cents": 0, "period_count": 1}


def product(frame: Frame, *amounts: int) -> str:
    made: str = frame.post("/v1/products", PRO)["id"]
    for ordinal, amount in enumerate(amounts):
        phase = FREE | {"ordinal": ordinal, "amount_cents": amount}
        frame.post(f"/v1/products/{made}/phases", phase)
    return made


def subscribe(frame: Frame, stripe_client: stripe.StripeClient, product_id: str) -> str:
    customer = stripe_client.v1.customers.create({"name": "Ada"}).id
    method = stripe_client.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    stripe_client.v1.customers.update(
        customer, {"invoice_settings": {"default_payment_method": method.id}}
    )
    asked = {"customer": customer, "product": product_id, "currency": "USD"}
    made: str = frame.post("/v1/subscriptions", asked)["id"]
    return made


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ({"ordinal": None}, "ordinal"),
        ({"ordinal": {}}, "ordinal"),
        ({"pricing_type": "free"}, "pricing_type"),
        ({"amount_cents": "much"}, "amount_cents"),
        ({"amount_cents": None}, "amount_cents"),
        ({"discount_percentage": 5}, "discount_percentage"),
        ({"period_count": -1}, "period_count"),
        ({"period_count": 1000, "ordinal": 5}, None),
        ({"currency": "EUR"}, "currency"),
        ({"currency": "USD", "interval": "month", "interval_count": 1}, None),
        ({"interval": "day"}, "interval"),
        ({"duration_type": "infinite"}, "period_count"),
        ({"name": 5}, "name"),
    ],
)
def test_a_phase_is_asked_for_as_it_can_be(
    frame: Frame, stripe_client: stripe.StripeClient, said: dict[str, Any], at: str | None
) -> None:
    path = f"/v1/subscriptions/{subscribe(frame, stripe_client, product(frame))}/phases"
    if at is None:
        made = frame.post(path, FREE | said)
        assert frame.get(path)["phases"] == [made]
        assert frame.get(f"{path}/{made['id']}") == made
        return
    with pytest.raises(FrameError) as refused:
        frame.post(path, FREE | said)
    assert (refused.value.status, refused.value.code) == (422, "validation_errors")
    assert list(refused.value.body["error_details"]["errors"]) == [at]


def test_a_phase_that_would_end_beyond_all_time_is_refused(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    yearly = frame.post("/v1/products", PRO | {"recurring_interval": "yearly"})["id"]
    path = f"/v1/subscriptions/{subscribe(frame, stripe_client, yearly)}/phases"
    for ordinal in (1, 2):
        frame.post(path, FREE | {"ordinal": ordinal, "period_count": 1000})
    with pytest.raises(FrameError) as refused:
        frame.post(path, FREE | {"ordinal": 3, "period_count": 1000})
    assert list(refused.value.body["error_details"]["errors"]) == ["period_count"]
    assert len(frame.get(path)["phases"]) == 2


def test_another_merchants_phases_are_not_there(
    frame: Frame, other_frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    path = f"/v1/subscriptions/{subscribe(frame, stripe_client, product(frame, 0, 5))}/phases"
    coming = frame.get(path)["phases"][1]["id"]
    for call in (
        lambda: other_frame.get(path),
        lambda: other_frame.get(f"{path}/{coming}"),
        lambda: other_frame.post(path, FREE | {"ordinal": 7}),
        lambda: other_frame.patch(f"{path}/{coming}", {"name": "Mine"}),
        lambda: other_frame.delete(f"{path}/{coming}"),
        lambda: other_frame.patch(f"{path}/bulk_update", {"phases": [{"id": coming}]}),
    ):
        with pytest.raises(FrameError) as refused:
            call()
        assert (refused.value.status, refused.value.code) == (404, "not_found")


def test_a_change_that_waits_is_not_overwritten_by_phases(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    key = subscribe(frame, stripe_client, product(frame, 0, 5))
    other = frame.post("/v1/products", PRO | {"recurring_interval": "yearly"})["id"]
    changed = frame.patch(f"/v1/subscriptions/{key}", {"product": other})
    assert changed["scheduled_change"]["product"] == other
    with pytest.raises(FrameError) as refused:
        frame.post(f"/v1/subscriptions/{key}/phases", FREE | {"ordinal": 9})
    assert (refused.value.status, refused.value.code) == (422, "invalid_transition")
    assert frame.get(f"/v1/subscriptions/{key}")["scheduled_change"]["product"] == other


def test_of_two_at_once_one_gets_the_ordinal(frame: Frame) -> None:
    path = f"/v1/products/{product(frame)}/phases"

    def ask(amount: int) -> int:
        body = FREE | {"amount_cents": amount}
        return frame.http.post(path, json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(ask, range(4)))
    assert answers == [201, 422, 422, 422]
    assert len(frame.get(path)["phases"]) == 1


def test_many_phases_cost_no_more_statements_than_one(
    frame: Frame,
    stripe_client: stripe.StripeClient,
    database: Database,
    account: Account,
) -> None:
    few, many = product(frame, 1), product(frame, *range(10, 20))
    act = Act(account.account_id, False, "test", clock.now(), ids.new_id)
    shown = [subscribe(frame, stripe_client, each) for each in (few, many, many)]
    costs = []
    with database.connection() as conn:
        for some in (shown[:1], shown):
            with counted(conn) as statements:
                found = phase_shapes.of_subscriptions(conn, act, some)
            assert [len(found[each].all) for each in some] == [1, 10, 10][: len(some)]
            costs.append(len(statements))
    assert costs[0] == costs[1]


def test_an_offer_of_many_phases_costs_no_more_statements_than_one_of_one(
    frame: Frame, database: Database, account: Account
) -> None:
    act = Act(account.account_id, False, "test", clock.now(), ids.new_id)
    costs = []
    for sold in (product(frame, 1), product(frame, *range(10))):
        with database.transaction() as conn, counted(conn) as statements:
            offer = offer_product(conn, act, sold, currency="eur")
        assert {each.currency for each in (offer.base, *offer.prices)} == {"eur"}
        assert [each.model.unit_amount for each in offer.prices] == [
            each.amount for each in offer.phases
        ]
        costs.append(len(statements))
    assert costs[0] == costs[1]
