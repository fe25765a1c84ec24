"""Promotion codes of Frame's API, and what trying and redeeming them comes to."""

from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError

TEN = {"name": "Ten", "discount_type": "percentage", "discount_value": "10", "duration": "once"}


@pytest.fixture
def coupon(frame: Frame) -> str:
    return str(frame.post("/v1/coupons", TEN)["id"])


@pytest.fixture
def customer(frame: Frame) -> str:
    return str(frame.post("/v1/customers", {"name": "Ada", "email": "a@example.com"})["id"])


def test_a_code_is_the_same_at_both_facades(
    frame: Frame, stripe_client: stripe.StripeClient, coupon: str, customer: str
) -> None:
    made = frame.post(
        "/v1/promotion_codes",
        {
            "code": "spring-26",
            "coupon_id": coupon,
            "customer_id": customer,
            "max_redemptions": 5,
            "minimum_amount_cents": 2000,
            "expires_at": "2090-01-01T00:00:00Z",
            "metadata": {"a": "b"},
        },
    )
    assert (made["code"], made["coupon"], made["customer"]) == ("SPRING-26", coupon, customer)
    assert (made["is_customer_specific"], made["is_redeemable"]) == (True, True)
    assert (made["remaining_redemptions"], made["times_redeemed"]) == (5, 0)
    seen = stripe_client.v1.promotion_codes.retrieve(made["id"])
    assert (seen.code, seen.customer, seen.active) == ("SPRING-26", customer, True)
    assert (seen.restrictions.minimum_amount, seen.restrictions.minimum_amount_currency) == (
        2000,
        "usd",
    )
    theirs = stripe_client.v1.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon}, "code": "Lower"}
    )
    assert frame.get(f"/v1/promotion_codes/{theirs.id}")["code"] == "LOWER"


def test_a_word_is_taken_whatever_its_case(frame: Frame, coupon: str) -> None:
    frame.post("/v1/promotion_codes", {"code": "once", "coupon_id": coupon})
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/promotion_codes", {"code": "ONCE", "coupon_id": coupon})
    assert (refused.value.status, refused.value.code) == (422, "validation_errors")
    assert list(refused.value.body["error_details"]["errors"]) == ["code"]


def test_a_list_is_filtered(frame: Frame, coupon: str, customer: str) -> None:
    other = frame.post("/v1/coupons", TEN)["id"]
    first = frame.post(
        "/v1/promotion_codes",
        {"code": "A", "coupon_id": coupon, "first_time_transaction": True},
    )["id"]
    mine = frame.post(
        "/v1/promotion_codes", {"code": "B", "coupon_id": other, "customer_id": customer}
    )["id"]
    frame.patch(f"/v1/promotion_codes/{first}", {"active": False})

    def ids(**query: Any) -> list[str]:
        return [each["id"] for each in frame.get("/v1/promotion_codes", **query)["data"]]

    assert ids() == [mine, first]
    assert ids(active="true") == ids(coupon_id=other) == ids(customer_id=customer) == [mine]
    assert ids(active="false") == ids(first_time_transaction="true") == ids(code="a") == [first]


def test_its_terms_stay_and_it_can_be_switched_off(frame: Frame, coupon: str) -> None:
    key = frame.post("/v1/promotion_codes", {"code": "A", "coupon_id": coupon})["id"]
    path = f"/v1/promotion_codes/{key}"
    off = frame.patch(path, {"active": False, "metadata": {"x": "y"}})
    assert (off["active"], off["is_redeemable"], off["metadata"]) == (False, False, {"x": "y"})
    with pytest.raises(FrameError) as refused:
        frame.patch(path, {"max_redemptions": 3})
    assert list(refused.value.body["error_details"]["errors"]) == ["max_redemptions"]


def test_a_code_of_a_coupon_that_waits_for_its_day_cannot_be_redeemed_yet(frame: Frame) -> None:
    later = frame.post("/v1/coupons", TEN | {"valid_from": "2090-01-01"})
    made = frame.post("/v1/promotion_codes", {"code": "LATER", "coupon_id": later["id"]})
    assert (made["active"], made["is_redeemable"]) == (True, False)
    tried = frame.post("/v1/discounts/validate", {"amount": 100, "promotion_codes": ["LATER"]})
    assert tried["total_discount_amount_cents"] == 0


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"coupon_id": None}, "coupon_id"),
        ({"coupon_id": "none"}, "coupon_id"),
        ({"code": "no spaces"}, "code"),
        ({"code": 5}, "code"),
        ({"customer_id": "cus_none"}, "customer"),
        ({"customer_id": "cus_1", "account_id": "cus_2"}, "customer"),
        ({"expires_at": "2001-01-01"}, "expires_at"),
        ({"max_redemptions": 0}, "max_redemptions"),
        ({"max_customer_redemptions": "x"}, "max_customer_redemptions"),
        ({"minimum_amount_cents": 0}, "minimum_amount_cents"),
        ({"minimum_amount_currency": "usd"}, "minimum_amount_cents"),
        ({"first_time_transaction": "perhaps"}, "first_time_transaction"),
        ({"active": 3}, "active"),
    ],
    ids=str,
)
def test_a_code_that_cannot_be_is_refused(
    frame: Frame, coupon: str, change: dict[str, Any], param: str
) -> None:
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/promotion_codes", {"code": "A", "coupon_id": coupon} | change)
    assert refused.value.status in (404, 422)
    assert list(refused.value.body["error_details"]["errors"]) == [param]


# ─── Redeemed, and tried ─────────────────────────────────────────────────────────────────────


def buy(frame: Frame, customer: str, word: str, *, price: int = 10_000) -> dict[str, Any]:
    """A final invoice of the customer's for which the word was given."""
    product = frame.post(
        "/v1/products",
        {"name": "Tea", "description": "", "default_price": price, "purchase_type": "one_time"},
    )
    draft = frame.post(
        "/v1/invoices",
        {
            "customer": customer,
            "collection_method": "request_payment",
            "promotion_codes": [word],
            "line_items": [{"product": product["id"], "quantity": 1}],
        },
    )
    return frame.post(f"/v1/invoices/{draft['id']}/issue")


def test_each_customer_redeems_a_code_so_often(frame: Frame, coupon: str, customer: str) -> None:
    made = frame.post(
        "/v1/promotion_codes",
        {"code": "TWICE", "coupon_id": coupon, "max_customer_redemptions": 2},
    )
    for _ in range(2):
        assert buy(frame, customer, "twice")["total"] == 9000
    with pytest.raises(FrameError) as refused:
        buy(frame, customer, "twice")
    assert "by this customer as often as it can be" in refused.value.message
    other = frame.post("/v1/customers", {"name": "Eve", "email": "e@example.com"})["id"]
    assert buy(frame, other, "twice")["total"] == 9000
    seen = frame.get(f"/v1/promotion_codes/{made['id']}")
    assert (seen["times_redeemed"], seen["is_redeemable"]) == (3, True)
    asked = {"amount": 100, "promotion_codes": ["TWICE"]}
    mine = frame.post("/v1/discounts/validate", asked | {"customer_id": customer})
    assert not mine["valid"]
    nobodys = frame.post("/v1/discounts/validate", asked)
    assert nobodys["validation_result"][0]["message"].endswith("depends on the customer.")


def test_a_discount_says_where_its_code_was_used_and_what_came_off(
    frame: Frame, coupon: str, customer: str
) -> None:
    code = frame.post("/v1/promotion_codes", {"code": "TEN", "coupon_id": coupon})
    invoice = buy(frame, customer, "TEN")
    [listed] = frame.get("/v1/discounts", customer_id=customer)["data"]
    assert listed == frame.get(f"/v1/discounts/{listed['id']}")
    assert (listed["promotion_code"], listed["coupon"]) == (code["id"], coupon)
    assert (listed["discountable_type"], listed["invoice"]) == ("invoice", invoice["id"])
    assert (listed["discount_amount_cents"], listed["discount_amount_currency"]) == (1000, "usd")
    assert (listed["application_order"], listed["customer_id"]) == (1, customer)
    assert frame.get("/v1/discounts", promotion_code_id=code["id"])["data"] == [listed]
    assert frame.get("/v1/discounts", coupon_id="other")["data"] == []


def test_codes_are_tried_one_after_the_other(frame: Frame, customer: str) -> None:
    def code(word: str, more: dict[str, Any], **restricted: Any) -> None:
        made = frame.post("/v1/coupons", TEN | more)
        frame.post("/v1/promotion_codes", {"code": word, "coupon_id": made["id"]} | restricted)

    code("HALF", {"discount_value": 50})
    code("FIVE", {"discount_type": "fixed_amount", "discount_value": 500})
    code("RICH", {}, minimum_amount_cents=5000)
    code("EUROS", {"discount_type": "fixed_amount", "discount_value": 500} | EURO)
    code("BIGORDER", {"minimum_order_amount_cents": 1002})
    code("MINE", {}, customer_id=customer)
    words = ["half", "FIVE", "HALF", "RICH", "EUROS", "BIGORDER", "MINE", "nothing"]
    tried = frame.post("/v1/discounts/validate", {"amount": 1001, "promotion_codes": words})
    result = tried["validation_result"]
    assert [each["promotion_code"] for each in result] == [word.upper() for word in words]
    assert [each["valid"] for each in result] == [True, True] + [False] * 6
    assert [each["discount_amount_cents"] for each in result][:2] == [501, 500]
    assert [each["application_order"] for each in result][:3] == [1, 2, None]
    assert [each["reason"] for each in result][2:] == ["not_applicable"] * 5 + ["not_found"]
    assert (tried["total_discount_amount_cents"], tried["final_amount"]) == (1001, 0)
    mine = frame.post(
        "/v1/discounts/validate",
        {"amount": 1000, "promotion_codes": ["MINE", "FIVE"], "customer_id": customer},
    )
    assert (mine["valid"], mine["total_discount_amount_cents"]) == (True, 600)


EURO = {"discount_value_currency": "eur"}


def test_what_is_tried_is_what_an_invoice_takes_off(frame: Frame, customer: str) -> None:
    made = frame.post("/v1/coupons", TEN | {"discount_value": "33.3333", "discount_cap_cents": 300})
    frame.post("/v1/promotion_codes", {"code": "THIRD", "coupon_id": made["id"]})
    for price in (101, 899, 901, 10_000):
        tried = frame.post(
            "/v1/discounts/validate",
            {"amount": price, "promotion_codes": ["THIRD"], "customer_id": customer},
        )
        assert tried["final_amount"] == buy(frame, customer, "THIRD", price=price)["total"]


def test_a_coupon_of_one_product_is_tried_on_it(frame: Frame) -> None:
    product = frame.post(
        "/v1/products",
        {"name": "Tea", "description": "", "default_price": 100, "purchase_type": "one_time"},
    )["id"]
    made = frame.post(
        "/v1/coupons", TEN | {"applicable_to": "specific_products", "product_id": product}
    )
    frame.post("/v1/promotion_codes", {"code": "TEA", "coupon_id": made["id"]})
    asked = {"amount": 1000, "promotion_codes": ["TEA"]}
    assert frame.post("/v1/discounts/validate", asked)["total_discount_amount_cents"] == 0
    tried = frame.post("/v1/discounts/validate", asked | {"product_id": product})
    assert tried["total_discount_amount_cents"] == 100


def test_only_first_purchases_take_a_code_for_them(
    frame: Frame, coupon: str, customer: str
) -> None:
    frame.post(
        "/v1/promotion_codes",
        {"code": "FIRST", "coupon_id": coupon, "first_time_transaction": True},
    )
    asked = {"amount": 100, "promotion_codes": ["FIRST"], "customer_id": customer}
    assert frame.post("/v1/discounts/validate", asked)["valid"]
    buy(frame, customer, "FIRST")
    assert not frame.post("/v1/discounts/validate", asked)["valid"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"promotion_codes": ["A"]}, "amount"),
        ({"amount": -1, "promotion_codes": ["A"]}, "amount"),
        ({"amount": 10**15, "promotion_codes": ["A"]}, "amount"),
        ({"amount": 1}, "promotion_codes"),
        ({"amount": 1, "promotion_codes": []}, "promotion_codes"),
        ({"amount": 1, "promotion_codes": "A"}, "promotion_codes"),
        ({"amount": 1, "promotion_codes": ["A"] * 21}, "promotion_codes"),
        ({"amount": 1, "promotion_codes": [5]}, "promotion_codes[0]"),
        ({"amount": 1, "promotion_codes": ["A"], "customer_id": "cus_none"}, "customer"),
        ({"amount": 1, "promotion_codes": ["A"], "currency": "zzz"}, "currency"),
    ],
    ids=str,
)
def test_what_cannot_be_tried_is_refused(frame: Frame, body: dict[str, Any], param: str) -> None:
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/discounts/validate", body)
    assert refused.value.status in (404, 422)
    assert list(refused.value.body["error_details"]["errors"]) == [param]


def test_another_merchants_discounts_are_not_there(
    frame: Frame, other_frame: Frame, coupon: str, customer: str
) -> None:
    frame.post("/v1/promotion_codes", {"code": "TEN", "coupon_id": coupon})
    buy(frame, customer, "TEN")
    [discount] = frame.get("/v1/discounts")["data"]
    for path in (f"/v1/discounts/{discount['id']}", f"/v1/coupons/{coupon}"):
        with pytest.raises(FrameError) as refused:
            other_frame.get(path)
        assert refused.value.status == 404
    tried = other_frame.post("/v1/discounts/validate", {"amount": 9, "promotion_codes": ["TEN"]})
    assert tried["validation_result"][0]["reason"] == "not_found"
