"""Whether coupons and promotion codes can be redeemed, and how often still."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from postpaid.core.discounts import Coupon, Duration, PromotionCode

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


def coupon(**fields: Any) -> Coupon:
    return Coupon("co", Duration.ONCE, NOW, **fields)


def code(**fields: Any) -> PromotionCode:
    return PromotionCode("promo", "WORD", "co", NOW, **fields)


def test_the_last_moment_to_redeem_is_before_the_end() -> None:
    for each in (coupon(redeem_by=NOW), code(expires_at=NOW)):
        assert each.is_expired(NOW)
        assert not each.is_expired(NOW - MOMENT)
    assert not coupon(redeem_by=NOW).is_valid(NOW)
    assert coupon(redeem_by=NOW).is_valid(NOW - MOMENT)
    assert not code(expires_at=NOW).is_active(coupon(), NOW)


def test_what_was_redeemed_as_often_as_it_can_be_is_used_up() -> None:
    for each in (coupon, code):
        assert each(max_redemptions=2, times_redeemed=2).is_used_up
        assert not each(max_redemptions=2, times_redeemed=1).is_used_up
        assert not each(times_redeemed=1000).is_used_up
    assert not code(max_redemptions=1, times_redeemed=1).is_active(coupon(), NOW)
    assert not code().is_active(coupon(max_redemptions=1, times_redeemed=1), NOW)


@pytest.mark.parametrize(
    ("of_code", "of_coupon", "left"),
    [(None, None, None), (5, None, 4), (None, 3, 1), (5, 3, 1), (2, 9, 1)],
    ids=["endless", "the code's", "the coupon's", "the coupon's, less", "the code's, less"],
)
def test_a_code_is_redeemed_as_often_as_it_and_its_coupon_can_be(
    of_code: int | None, of_coupon: int | None, left: int | None
) -> None:
    it = code(max_redemptions=of_code, times_redeemed=1)
    assert it.redemptions_left(coupon(max_redemptions=of_coupon, times_redeemed=2)) == left
