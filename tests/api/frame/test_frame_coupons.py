"""Coupons of Frame's API: the engine's, with what Frame says of them."""

from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError

TEN = {"name": "Ten", "discount_type": "percentage", "discount_value": "10", "duration": "once"}
FIVE = {"name": "Five", "discount_type": "fixed_amount", "discount_value": 500}
FAR = 4_000_000_000


def test_a_percentage_is_the_same_coupon_at_both_facades(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    made = frame.post(
        "/v1/coupons",
        TEN
        | {
            "discount_value": 12.5,
            "duration": "repeating",
            "duration_in_months": 3,
            "max_redemptions": 7,
            "valid_until": "2090-01-01T00:00:00Z",
            "description": "For friends",
            "metadata": {"from": "here"},
        },
    )
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert made["discount_value"] == "12.5"
    assert (made["status"], made["description"]) == ("active", "For friends")
    assert (made["is_expired"], made["is_maxed_out"], made["livemode"]) == (False, False, False)
    assert made["applicable_to"] == "all_products"
    seen = stripe_client.v1.coupons.retrieve(made["id"])
    assert (seen.percent_off, seen.duration, seen.duration_in_months) == (12.5, "repeating", 3)
    assert (seen.max_redemptions, seen.valid) == (7, True)
    assert seen.redeem_by == made["valid_until"] == 3786912000
    assert frame.get(f"/v1/coupons/{made['id']}") == made


def test_a_fixed_amount_is_whole_minor_units(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    made = frame.post("/v1/coupons", FIVE | {"discount_value_currency": "EUR"})
    assert (made["discount_value"], made["discount_value_currency"]) == ("500.0", "eur")
    assert stripe_client.v1.coupons.retrieve(made["id"]).amount_off == 500
    assert frame.post("/v1/coupons", FIVE)["discount_value_currency"] == "usd"
    as_node_has_it = {"name": "N", "discount_type": "fixed_amount", "amount_off": 250}
    assert frame.post("/v1/coupons", as_node_has_it)["discount_value"] == "250.0"


def test_a_coupon_of_stripes_is_seen(frame: Frame, stripe_client: stripe.StripeClient) -> None:
    product = stripe_client.v1.products.create({"name": "Tea"})
    made = stripe_client.v1.coupons.create(
        {"percent_off": 25, "applies_to": {"products": [product.id]}, "duration": "forever"}
    )
    seen = frame.get(f"/v1/coupons/{made.id}")
    assert (seen["discount_type"], seen["discount_value"]) == ("percentage", "25.0")
    assert (seen["applicable_to"], seen["product_id"]) == ("specific_products", product.id)
    assert [each["id"] for each in frame.get("/v1/coupons")["data"]] == [made.id]


def test_a_status_moves_by_its_table(frame: Frame, stripe_client: stripe.StripeClient) -> None:
    key = frame.post("/v1/coupons", TEN)["id"]
    path = f"/v1/coupons/{key}"
    off = frame.patch(path, {"status": "inactive", "name": "Tenth", "metadata": {"a": "b"}})
    assert (off["status"], off["name"], off["metadata"]) == ("inactive", "Tenth", {"a": "b"})
    assert not stripe_client.v1.coupons.retrieve(key).valid
    assert frame.patch(path, {"status": "active"})["status"] == "active"
    assert frame.patch(path, {"status": "archived"})["status"] == "archived"
    with pytest.raises(FrameError) as refused:
        frame.patch(path, {"status": "active"})
    assert refused.value.code == "invalid_transition"
    assert [each["id"] for each in frame.get("/v1/coupons", status="archived")["data"]] == [key]
    assert frame.get("/v1/coupons", status="active")["data"] == []
    assert frame.patch(path, {"status": "deleted"})["status"] == "deleted"
    with pytest.raises(FrameError) as gone:
        frame.get(path)
    assert gone.value.status == 404


def test_a_coupon_that_is_deleted_answers_so(frame: Frame) -> None:
    key = frame.post("/v1/coupons", TEN)["id"]
    assert frame.delete(f"/v1/coupons/{key}") == {"id": key, "object": "coupon", "deleted": True}


def test_an_inactive_coupon_is_given_to_nobody(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    key = frame.post("/v1/coupons", TEN | {"status": "inactive"})["id"]
    customer = stripe_client.v1.customers.create({"name": "Ada"})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_client.v1.invoices.create({"customer": customer.id, "discounts": [{"coupon": key}]})
    assert "expired" in str(refused.value).lower()


def test_the_cap_and_the_smallest_order_hold_on_every_invoice(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    key = frame.post(
        "/v1/coupons",
        TEN
        | {
            "discount_value": 50,
            "duration": "forever",
            "discount_cap_cents": 700,
            "minimum_order_amount_cents": 1000,
        },
    )["id"]
    customer = stripe_client.v1.customers.create({"name": "Ada"})
    european = stripe_client.v1.customers.create({"name": "Eve"})

    def total_of(*amounts: int, customer: str = customer.id, currency: str = "usd") -> int:
        invoice = stripe_client.v1.invoices.create(
            {
                "customer": customer,
                "currency": currency,
                "discounts": [{"coupon": key}],
                "pending_invoice_items_behavior": "exclude",
            }
        )
        assert invoice.id
        for amount in amounts:
            stripe_client.v1.invoice_items.create(
                {
                    "customer": customer,
                    "invoice": invoice.id,
                    "amount": amount,
                    "currency": currency,
                }
            )
        return stripe_client.v1.invoices.retrieve(invoice.id).total

    assert total_of(999) == 999
    assert total_of(1000) == 500
    assert total_of(1000, 3000) == 3300  # half would be 2000
    with pytest.raises(stripe.InvalidRequestError, match="takes an amount of usd off"):
        total_of(2000, customer=european.id, currency="eur")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"discount_value": 0}, "discount_value"),
        ({"discount_value": "100.5"}, "discount_value"),
        ({"discount_value": "0.00001"}, "discount_value"),
        ({"discount_value": "ten"}, "discount_value"),
        ({"discount_value": None}, "discount_value"),
        ({"discount_type": "fixed_amount", "discount_value": "5.5"}, "discount_value"),
        ({"discount_type": "fixed_amount", "discount_value": "1e14"}, "discount_value"),
        ({"discount_type": "fixed_amount", "discount_cap_cents": 5}, "discount_cap_cents"),
        ({"discount_type": "free"}, "discount_type"),
        ({"discount_type": None}, "discount_type"),
        ({"duration": "repeating"}, "duration_in_months"),
        ({"duration": "twice"}, "duration"),
        ({"duration_in_months": 3}, "duration_in_months"),
        ({"duration_in_months": 0}, "duration_in_months"),
        ({"name": None}, "name"),
        ({"name": ["x"]}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"status": "archived"}, "status"),
        ({"applicable_to": "specific_products"}, "product_id"),
        ({"applicable_to": "all_products", "product_id": "prod_1"}, "product_id"),
        ({"applicable_to": "some"}, "applicable_to"),
        ({"product_id": "prod_none"}, "product_id"),
        ({"max_redemptions": 0}, "max_redemptions"),
        ({"max_redemptions": 1.5}, "max_redemptions"),
        ({"minimum_order_amount_cents": -1}, "minimum_order_amount_cents"),
        ({"valid_until": "2001-01-01"}, "valid_until"),
        ({"valid_until": "soon"}, "valid_until"),
        ({"valid_until": FAR, "valid_from": FAR}, "valid_until"),
        ({"discount_value_currency": "xyz"}, "discount_value_currency"),
        ({"metadata": {"k": "v" * 101}}, "metadata"),
    ],
    ids=str,
)
def test_terms_that_cannot_be_are_refused(frame: Frame, change: dict[str, Any], param: str) -> None:
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/coupons", TEN | change)
    assert refused.value.status in (404, 422)
    [named] = refused.value.body["error_details"]["errors"]
    assert named.startswith(param)


def test_terms_are_never_changed(frame: Frame) -> None:
    key = frame.post("/v1/coupons", TEN)["id"]
    with pytest.raises(FrameError) as refused:
        frame.patch(f"/v1/coupons/{key}", {"discount_value": 20})
    assert list(refused.value.body["error_details"]["errors"]) == ["discount_value"]


def test_no_error_says_the_engines_names(frame: Frame) -> None:
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/coupons", TEN | {"valid_until": "2001-01-01"})
    assert refused.value.message == "valid_until must be in the future."
