"""Phases of products: a pattern for those who subscribe from then on."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError

PRO = {
    "name": "Pro",
    "default_price": 9900,
    "purchase_type": "recurring",
    "recurring_interval": "monthly",
}
FREE = {"ordinal": 1, "pricing_type": "static", "amount_cents": 0, "period_count": 1}
HALF = {"ordinal": 2, "pricing_type": "relative", "discount_percentage": 50, "period_count": 3}


@pytest.fixture
def product(frame: Frame) -> str:
    return str(frame.post("/v1/products", PRO)["id"])


def test_a_product_has_phases_in_their_order(frame: Frame, product: str) -> None:
    half = frame.post(f"/v1/products/{product}/phases", HALF | {"name": "Half"})
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert half == {
        "id": half["id"],
        "object": "subscription_phase",
        "ordinal": 2,
        "name": "Half",
        "pricing_type": "relative",
        "duration_type": "finite",
        "amount": None,
        "amount_cents": None,
        "currency": "USD",
        "discount_percentage": 50,
        "period_count": 3,
        "interval": "month",
        "interval_count": 1,
        "phaseable_type": "Product",
        "phaseable_id": product,
        "product_id": product,
        "subscription_id": None,
        "started_at": None,
        "ended_at": None,
        "livemode": False,
        "created": half["created"],
        "updated": half["created"],
    }
    free = frame.post(f"/v1/products/{product}/phases", FREE)
    assert (free["amount"], free["discount_percentage"]) == (0, None)
    listed = frame.get(f"/v1/products/{product}/phases")
    assert listed["phases"] == listed["data"] == [free, half]
    assert listed["meta"]["product_id"] == product
    assert frame.get(f"/v1/products/{product}/phases/{half['id']}") == half
    second = frame.get(f"/v1/products/{product}/phases", per_page=1, page=2)
    assert second["data"] == [half]


def test_a_phase_is_changed_and_removed(frame: Frame, product: str) -> None:
    path = f"/v1/products/{product}/phases"
    one = frame.post(path, FREE)["id"]
    changed = frame.patch(f"{path}/{one}", {"name": "Trial", "period_count": 2})
    assert (changed["name"], changed["period_count"], changed["amount"]) == ("Trial", 2, 0)
    other = frame.patch(f"{path}/{one}", {"pricing_type": "relative", "discount_percentage": 12.5})
    assert (other["pricing_type"], other["amount"], other["discount_percentage"]) == (
        "relative",
        None,
        12.5,
    )
    endless = frame.patch(f"{path}/{one}", {"duration_type": "infinite"})
    assert (endless["duration_type"], endless["period_count"]) == ("infinite", None)
    stub = {"id": one, "object": "subscription_phase", "deleted": True}
    assert frame.delete(f"{path}/{one}") == stub
    assert frame.get(path)["phases"] == []
    with pytest.raises(FrameError) as refused:
        frame.get(f"{path}/{one}")
    assert refused.value.status == 404


def test_several_are_changed_at_once_or_none(frame: Frame, product: str) -> None:
    path = f"/v1/products/{product}/phases"
    free, half = frame.post(path, FREE)["id"], frame.post(path, HALF)["id"]
    swapped = frame.patch(
        f"{path}/bulk_update",
        {"phases": [{"id": free, "ordinal": 2}, {"id": half, "ordinal": 1, "name": "First"}]},
    )
    assert [(each["id"], each["ordinal"]) for each in swapped["phases"]] == [(half, 1), (free, 2)]
    assert swapped["meta"]["product_id"] == product
    for said, status, at in [
        ({"phases": [{"id": free, "name": "x"}, {"id": half, "ordinal": 2}]}, 422, "ordinal"),
        ({"phases": [{"id": free, "name": "x"}, {"id": "phase_none"}]}, 404, "id"),
        ({"phases": [{"id": free, "name": "x"}, {"id": free}]}, 422, "id"),
    ]:
        with pytest.raises(FrameError) as refused:
            frame.patch(f"{path}/bulk_update", said)
        assert refused.value.status == status
        assert list(refused.value.body["error_details"]["errors"]) == [f"phases[1][{at}]"]
    assert frame.get(path)["phases"] == swapped["phases"]


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ({"ordinal": None}, "ordinal"),
        ({"ordinal": -1}, "ordinal"),
        ({"ordinal": "first"}, "ordinal"),
        ({"ordinal": 1.5}, "ordinal"),
        ({"pricing_type": None}, "pricing_type"),
        ({"pricing_type": "tiered"}, "pricing_type"),
        ({"pricing_type": "relative"}, "amount_cents"),
        ({"pricing_type": "relative", "amount_cents": None}, "discount_percentage"),
        ({"amount_cents": None}, "amount_cents"),
        ({"amount_cents": -1}, "amount_cents"),
        ({"amount_cents": 10**13}, "amount_cents"),
        ({"amount_cents": 1.5}, "amount_cents"),
        ({"discount_percentage": 10}, "discount_percentage"),
        ({"discount_percentage": 101}, "discount_percentage"),
        ({"discount_percentage": -1}, "discount_percentage"),
        ({"discount_percentage": "half"}, "discount_percentage"),
        ({"period_count": 0}, "period_count"),
        ({"period_count": 1001}, "period_count"),
        ({"period_count": []}, "period_count"),
        ({"duration_type": "infinite"}, "period_count"),
        ({"duration_type": "finite", "period_count": None}, "period_count"),
        ({"duration_type": "long"}, "duration_type"),
        ({"interval": "year"}, "interval"),
        ({"interval": "monthly"}, "interval"),
        ({"interval_count": 2}, "interval_count"),
        ({"currency": "eur"}, "currency"),
        ({"name": "x" * 251}, "name"),
    ],
)
def test_a_phase_that_cannot_be_is_refused(
    frame: Frame, product: str, said: dict[str, Any], at: str
) -> None:
    path = f"/v1/products/{product}/phases"
    with pytest.raises(FrameError) as refused:
        frame.post(path, FREE | said)
    assert (refused.value.status, refused.value.code) == (422, "validation_errors")
    assert list(refused.value.body["error_details"]["errors"]) == [at]
    assert frame.get(path)["phases"] == []


def test_phases_that_do_not_go_together_are_refused(frame: Frame, product: str) -> None:
    path = f"/v1/products/{product}/phases"
    frame.post(path, FREE)
    endless = frame.post(path, HALF | {"period_count": None})["id"]
    for said, at in [
        (FREE, "ordinal"),
        (HALF | {"ordinal": 3}, "ordinal"),
        (FREE | {"ordinal": 0, "period_count": None}, "period_count"),
        (FREE | {"ordinal": 2}, "ordinal"),
    ]:
        with pytest.raises(FrameError) as refused:
            frame.post(path, said)
        assert refused.value.status == 422
        assert list(refused.value.body["error_details"]["errors"]) == [at]
    frame.patch(f"{path}/{endless}", {"period_count": 2})
    for ordinal in range(3, 21):
        frame.post(path, FREE | {"ordinal": ordinal})
    with pytest.raises(FrameError) as refused:
        frame.post(path, FREE | {"ordinal": 21})
    assert "at most 20" in refused.value.message


def test_a_discount_of_too_many_digits_is_refused(frame: Frame) -> None:
    product = frame.post("/v1/products", PRO | {"default_price": 9901})["id"]
    with pytest.raises(FrameError) as refused:
        frame.post(
            f"/v1/products/{product}/phases",
            {"ordinal": 1, "pricing_type": "relative", "discount_percentage": "33.333333333333"},
        )
    assert list(refused.value.body["error_details"]["errors"]) == ["discount_percentage"]


def test_only_what_recurs_at_a_plain_amount_has_phases(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    once = {"name": "Setup", "default_price": 500, "purchase_type": "one_time"}
    bare = stripe_client.v1.products.create({"name": "Bare"}).id
    for product in (frame.post("/v1/products", once)["id"], bare):
        with pytest.raises(FrameError) as refused:
            frame.post(f"/v1/products/{product}/phases", FREE)
        assert list(refused.value.body["error_details"]["errors"]) == ["product"]


def test_phases_are_another_merchants_or_another_products(
    frame: Frame, other_frame: Frame, product: str
) -> None:
    phase = frame.post(f"/v1/products/{product}/phases", FREE)["id"]
    elsewhere = frame.post("/v1/products", PRO)["id"]
    for client, path in [
        (other_frame, f"/v1/products/{product}/phases"),
        (other_frame, f"/v1/products/{product}/phases/{phase}"),
        (frame, f"/v1/products/{elsewhere}/phases/{phase}"),
        (frame, "/v1/products/prod_none/phases"),
    ]:
        with pytest.raises(FrameError) as refused:
            client.get(path)
        assert refused.value.status == 404
    with pytest.raises(FrameError) as refused:
        frame.delete(f"/v1/products/{elsewhere}/phases/{phase}")
    assert refused.value.status == 404
