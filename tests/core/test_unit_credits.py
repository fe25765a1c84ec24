"""What units bought in advance pay for, one rule at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from postpaid.core.unit_credits import (
    Drawing,
    UnitCredit,
    UnitCreditStatus,
    drawn,
    in_order_of_use,
    spent,
)

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def credit(
    key: str = "uc_1",
    units: str = "100",
    *,
    used: str = "0",
    product_id: str = "prod_calls",
    expires_at: datetime | None = None,
    created_at: datetime = JUNE,
) -> UnitCredit:
    return UnitCredit(
        id=key,
        customer_id="cus_1",
        clock_id=None,
        product_id=product_id,
        granted=Decimal(units),
        used=Decimal(used),
        is_limited=False,
        expires_at=expires_at,
        created_at=created_at,
        updated_at=created_at,
    )


def asked(quantity: str) -> Drawing:
    return Drawing("cus_1", "mtr_calls", JUNE, JULY, Decimal(quantity), "in_1")


SOLD_BY = {"prod_calls": frozenset({"mtr_calls"}), "prod_mail": frozenset({"mtr_mail"})}


@pytest.mark.parametrize(
    ("quantity", "taken"),
    [
        ("30", {"uc_1": Decimal(30)}),
        ("100", {"uc_1": Decimal(100)}),
        ("130.5", {"uc_1": Decimal(100), "uc_2": Decimal("30.5")}),
        ("1000", {"uc_1": Decimal(100), "uc_2": Decimal(50)}),
        ("0", {}),
    ],
)
def test_one_credit_after_the_other_is_used(quantity: str, taken: dict[str, Decimal]) -> None:
    assert drawn(asked(quantity), [credit(), credit("uc_2", "50")], SOLD_BY) == taken


@pytest.mark.parametrize(
    ("given", "pays"),
    [
        (credit(expires_at=JULY), True),
        (credit(expires_at=JULY - SECOND), False),
        (credit(created_at=JULY - SECOND), True),
        (credit(created_at=JULY), False),
        (credit(used="100"), False),
        (credit(product_id="prod_mail"), False),
        (credit(product_id="prod_of_no_meter"), True),
    ],
    ids=[
        "expires with the window",
        "expires within the window",
        "granted within the window",
        "granted after the window",
        "used up",
        "of another meter's product",
        "of no meter's product",
    ],
)
def test_what_a_credit_pays_for(given: UnitCredit, pays: bool) -> None:
    assert drawn(asked("7"), [given], SOLD_BY) == ({"uc_1": Decimal(7)} if pays else {})


def test_what_expires_first_is_first_and_of_those_the_oldest() -> None:
    never = credit("uc_never")
    late = credit("uc_late", expires_at=JULY + SECOND)
    soon = credit("uc_soon", expires_at=JULY)
    older = credit("uc_older", expires_at=JULY, created_at=JUNE - SECOND)
    assert in_order_of_use([never, late, soon, older]) == [older, soon, late, never]


def test_what_is_spent_is_used_for_good() -> None:
    first, other = credit(), credit("uc_2")
    after = spent([first, other], {"uc_1": Decimal("0.06")}, JULY)
    assert after[1] is other
    assert (after[0].used, after[0].available, after[0].updated_at) == (
        Decimal("0.06"),
        Decimal("99.94"),
        JULY,
    )


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (credit(), UnitCreditStatus.ACTIVE),
        (credit(expires_at=JULY + SECOND), UnitCreditStatus.ACTIVE),
        (credit(expires_at=JULY), UnitCreditStatus.EXPIRED),
        (credit(used="100"), UnitCreditStatus.EXHAUSTED),
        (credit(used="100", expires_at=JULY), UnitCreditStatus.EXHAUSTED),
    ],
    ids=["endless", "in time", "at its expiry", "used up", "used up and over"],
)
def test_what_a_credit_is_by_its_customers_time(
    given: UnitCredit, status: UnitCreditStatus
) -> None:
    assert given.status(JULY) == status
