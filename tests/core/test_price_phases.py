"""Price phases by themselves: what they cost, how they fit together, and when they are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.price_phases import Edit, PricePhase, PricingType, current, edited, with_terms
from postpaid.core.values import replace

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=40)


def static(ordinal: int, amount: int = 100, count: int | None = 1, **more: Any) -> PricePhase:
    return PricePhase(
        f"phase_{ordinal}",
        "prod_1",
        None,
        ordinal,
        PricingType.STATIC,
        NOON,
        NOON,
        amount=amount,
        period_count=count,
        **more,
    )


def relative(percentage: str) -> PricePhase:
    return PricePhase(
        "phase_1",
        "prod_1",
        None,
        1,
        PricingType.RELATIVE,
        NOON,
        NOON,
        discount_percentage=Decimal(percentage),
    )


def new(given: Mapping[str, Any]) -> PricePhase:
    return PricePhase(
        "phase_new", "prod_1", None, given["ordinal"], given["pricing_type"], LATER, LATER
    )


@pytest.mark.parametrize(
    ("percentage", "base", "costs"),
    [
        ("50", "9901", "4950.5"),
        ("33.3333", "9900", "6600.0033"),
        ("0", "9900", "9900"),
        ("100", "9900", "0"),
        ("0.0001", "1", "0.999999"),
        ("12.5", "0.000000001", "0.000000000875"),
    ],
)
def test_a_discount_is_exact(percentage: str, base: str, costs: str) -> None:
    assert relative(percentage).unit_amount(Decimal(base)) == Decimal(costs)


def test_a_discount_of_more_digits_than_a_price_has_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        relative("12.5").unit_amount(Decimal("0.000000000001"))
    assert refused.value.param == ("discount_percentage",)


def test_an_amount_does_not_ask_for_the_base() -> None:
    assert static(1, 250).unit_amount(Decimal("9901.5")) == 250


def test_the_running_phase_has_started_and_not_ended() -> None:
    first, second, third = static(1), static(2), static(3)
    assert current([first, second, third]) is None
    first = replace(first, started_at=NOON, ended_at=LATER)
    assert current([first, second, third]) is None
    second = replace(second, started_at=LATER)
    assert current([first, second, third]) == second


def test_another_pricing_type_leaves_the_former_amount_behind() -> None:
    asked = {"pricing_type": PricingType.RELATIVE, "discount_percentage": Decimal(10)}
    after = with_terms(static(1), asked)
    assert (after.amount, after.discount_percentage) == (None, 10)
    back = with_terms(after, {"pricing_type": PricingType.STATIC, "amount": 5})
    assert (back.amount, back.discount_percentage) == (5, None)


def test_an_edit_adds_changes_and_removes() -> None:
    before = [static(1), static(2), static(3)]
    edit = Edit(
        added=[{"ordinal": 0, "pricing_type": PricingType.STATIC, "amount": 7, "period_count": 1}],
        changed={"phase_1": {"ordinal": 9, "amount": 8}},
        removed=["phase_2"],
    )
    after = edited(before, edit, new, LATER)
    assert [(each.id, each.ordinal, each.amount) for each in after] == [
        ("phase_new", 0, 7),
        ("phase_3", 3, 100),
        ("phase_1", 9, 8),
    ]
    assert [each.updated_at for each in after] == [LATER, NOON, LATER]


@pytest.mark.parametrize(
    ("edit", "error", "param"),
    [
        (Edit(changed={"phase_7": {}}), NotFound, ("id",)),
        (Edit(removed=["phase_7"]), NotFound, ("id",)),
        (Edit(removed=["phase_1"]), ActionNotAllowed, ("id",)),
        (Edit(changed={"phase_1": {"amount": 1}}), ActionNotAllowed, ("id",)),
        (Edit(changed={"phase_2": {"ordinal": 3}}), InvalidRequest, ("ordinal",)),
        (Edit(changed={"phase_2": {"ordinal": 0}}), InvalidRequest, ("ordinal",)),
        (Edit(changed={"phase_2": {"period_count": None}}), InvalidRequest, ("period_count",)),
        (
            Edit(changed={"phase_2": {"amount": 1, "discount_percentage": Decimal(1)}}),
            InvalidRequest,
            ("discount_percentage",),
        ),
        (
            Edit(changed={"phase_2": {"ordinal": 3}}, places={"phase_2": ("phases", 4)}),
            InvalidRequest,
            ("phases", 4, "ordinal"),
        ),
    ],
    ids=[
        "changes none",
        "removes none",
        "removes what runs",
        "changes what runs",
        "same place",
        "before what runs",
        "endless in the middle",
        "two amounts",
        "in its place",
    ],
)
def test_an_edit_that_cannot_be_is_refused(
    edit: Edit, error: type[Exception], param: tuple[str | int, ...]
) -> None:
    before = [replace(static(1), started_at=NOON), static(2), static(3, count=None)]
    with pytest.raises(error) as refused:
        edited(before, edit, new, LATER)
    assert refused.value.param == param  # type: ignore[attr-defined]


def test_after_an_endless_phase_that_was_ended_others_can_come() -> None:
    ended = replace(static(1, count=None), started_at=NOON, ended_at=LATER)
    asked = {"ordinal": 2, "pricing_type": PricingType.STATIC, "amount": 7, "period_count": 1}
    after = edited([ended], Edit(added=[asked]), new, LATER)
    assert [each.id for each in after] == ["phase_1", "phase_new"]
