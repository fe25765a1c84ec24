"""The order in which credit is used, what of a balance is left, and shares of credit notes."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lines import NOW, a_draft, a_line
from postpaid.core.adjusting import totaled
from postpaid.core.credit_notes import (
    AskedLine,
    CreditNoteLine,
    credit_note_number,
    creditable,
    custom_line,
    line_as_asked,
    lines_by_total,
    net,
    remaining_lines,
    split,
)
from postpaid.core.credits import (
    CreditGrant,
    GrantCategory,
    balance_after,
    in_order_of_use,
    uses,
    with_balance,
    with_credits,
)
from postpaid.core.errors import InvalidRequest
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.lines import Line
from postpaid.core.pricing import DetailKind as K
from postpaid.core.values import replace

DAY = timedelta(days=1)


def line(place: int, amount: int, **more: Any) -> Line:
    """Four calls for the amount, of the day that ends now, at a price of their own."""
    usage: dict[str, Any] = {
        "price_id": f"price_{place}",
        "meter_id": "mtr_1",
        "period_start": NOW - DAY,
        "quantity": Decimal(4),
        "unit_amount": Decimal(amount) / 4,
    }
    return a_line(amount, place, **usage | more)


def invoice(*lines: Line, **more: Any) -> Invoice:
    return replace(totaled(a_draft(), lines), **more)


def grant(key: str, balance: int = 100, **more: Any) -> CreditGrant:
    made = CreditGrant(
        id=key,
        customer_id="cus_1",
        clock_id=None,
        amount=balance,
        balance=balance,
        currency="usd",
        category=GrantCategory.PAID,
        name=None,
        priority=50,
        price_ids=None,
        effective_at=NOW - DAY,
        expires_at=None,
        expired_at=None,
        voided_at=None,
        metadata={},
        created_at=NOW - DAY,
        updated_at=NOW - DAY,
    )
    return replace(made, **more) if more else made


def used(draft: Invoice, *grants: CreditGrant) -> list[tuple[str, str, int]]:
    return [(use.grant_id, use.line_id, use.amount) for use in uses(draft, in_order_of_use(grants))]


# ─── The balance ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("total", "balance", "due", "left"),
    [
        (1000, 0, 1000, 0),
        (1000, -300, 700, 0),
        (1000, -1000, 0, 0),
        (1000, -1500, 0, -500),
        (1000, 200, 1200, 0),
        (-400, 0, 0, -400),
        (-400, -100, 0, -500),
        (-400, 1000, 600, 0),
        (0, 250, 250, 0),
        (1, 0, 1, 0),
    ],
    ids=str,
)
def test_a_balance_pays_or_is_added(total: int, balance: int, due: int, left: int) -> None:
    after = with_balance(invoice(line(0, total)), balance)
    assert (after.amount_due, balance_after(after)) == (due, left)


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_nothing_is_lost_between_total_and_balance(total: int, balance: int) -> None:
    after = with_balance(invoice(line(0, total)), balance)
    assert after.total + balance == after.amount_due + balance_after(after)
    assert after.amount_due >= 0
    assert not (after.amount_due and balance_after(after))


# ─── Grants ──────────────────────────────────────────────────────────────────────────────────


def test_the_order_of_use() -> None:
    order = [
        grant("first", priority=0),
        grant("soon", expires_at=NOW + DAY),
        grant("later", expires_at=NOW + 2 * DAY),
        grant("gift", category=GrantCategory.PROMOTIONAL),
        grant("early", effective_at=NOW - 3 * DAY),
        grant("old", created_at=NOW - 2 * DAY),
        grant("young"),
        grant("last", priority=100, expires_at=NOW + DAY),
    ]
    assert [each.id for each in in_order_of_use(order[::-1])] == [each.id for each in order]


def test_a_grant_pays_for_lines_in_their_order() -> None:
    draft = invoice(line(0, 80), line(1, 70))
    assert used(draft, grant("a"), grant("b", priority=60)) == [
        ("a", "il_0", 80),
        ("a", "il_1", 20),
        ("b", "il_1", 50),
    ]


def test_of_usage_a_grant_pays_what_is_not_billed_yet_and_within_the_most() -> None:
    fee = line(9, 5000, meter_id=None)
    billed = line(1, -100, id="il_billed", price_id="price_0", meter_id=None, kind=K.BILLED)
    most = line(1, -60, id="il_most", price_id="price_0", kind=K.MAXIMUM)
    whole = line(1, -30, id="il_whole", price_id=None, meter_id=None, kind=K.MAXIMUM)
    assert used(invoice(line(0, 150), billed, fee), grant("a", 999)) == [("a", "il_0", 50)]
    assert used(invoice(line(0, 150), whole, fee), grant("a", 999)) == [("a", "il_0", 120)]
    # What other prices' usage comes to is not for a grant that is not for them.
    mine = grant("mine", 999, price_ids=["price_0"])
    assert used(invoice(line(0, 100), most, line(2, 500)), mine) == [("mine", "il_0", 40)]


@pytest.mark.parametrize(
    ("draft", "credit"),
    [
        (invoice(line(0, 80, meter_id=None)), grant("licence")),
        (invoice(line(0, 80), subscription_id=None), grant("by hand")),
        (invoice(line(0, 80)), grant("later", effective_at=NOW + DAY)),
        (invoice(line(0, 80)), grant("over", expires_at=NOW)),
        (invoice(line(0, 80)), grant("other money", currency="eur")),
        (invoice(line(0, 80)), grant("other price", price_ids=["price_9"])),
        (invoice(line(0, 80)), grant("nothing left", balance=0)),
        (invoice(line(0, 80), line(1, -80)), grant("nothing owed")),
    ],
    ids=lambda each: each.id if isinstance(each, CreditGrant) else "draft",
)
def test_what_a_grant_does_not_pay_for(draft: Invoice, credit: CreditGrant) -> None:
    assert used(draft, credit) == []


def test_a_grant_pays_until_the_very_moment_that_it_expires() -> None:
    credit = grant("a", effective_at=NOW, expires_at=NOW + timedelta(microseconds=1))
    assert used(invoice(line(0, 80)), credit) == [("a", "il_0", 80)]


def test_credit_comes_after_discounts_and_does_not_turn_into_balance() -> None:
    discounted = invoice(line(0, 80, discounts={"di_1": 30}))
    assert used(discounted, grant("a")) == [("a", "il_0", 50)]
    corrected = invoice(line(0, 80), line(1, -30))
    assert used(corrected, grant("a")) == [("a", "il_0", 50)]
    refunded = invoice(line(0, 80), line(1, -60, meter_id=None))
    assert used(refunded, grant("a")) == [("a", "il_0", 20)]


@given(
    st.lists(st.integers(-300, 300), max_size=5),
    st.lists(st.integers(0, 300), max_size=4),
)
def test_credit_is_at_most_what_is_there_and_what_is_owed(
    amounts: list[int], balances: list[int]
) -> None:
    draft = invoice(*(line(place, amount) for place, amount in enumerate(amounts)))
    found = used(draft, *(grant(f"g{n}", balance) for n, balance in enumerate(balances)))
    assert sum(each[2] for each in found) == max(0, min(sum(amounts), sum(balances)))
    credits: dict[str, dict[str, int]] = {}
    for key, line_id, amount in found:
        assert amount > 0
        credits.setdefault(line_id, {})[key] = amount
    after = with_credits(draft, credits)
    assert after.total == draft.total - sum(each[2] for each in found)
    assert all(sum((each.credits or {}).values()) <= max(0, each.amount) for each in after.lines)


# ─── Credit notes ────────────────────────────────────────────────────────────────────────────


def taxed(place: int, amount: int, discount: int, tax: int) -> Line:
    taxes = {
        "txr_1": {"amount": tax, "taxable": amount - discount, "inclusive": False},
        "txr_2": {"amount": tax // 2, "taxable": amount - discount, "inclusive": True},
    }
    return line(place, amount, discounts={"di_1": discount} if discount else None, taxes=taxes)


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=6), st.data())
def test_notes_by_total_sum_and_in_the_end_take_back_everything(
    amounts: list[int], data: st.DataObject
) -> None:
    bill = invoice(
        *(
            taxed(place, amount, data.draw(st.integers(0, amount // 2)), amount // 5)
            for place, amount in enumerate(amounts)
        ),
        status=InvoiceStatus.OPEN,
    )
    taken: list[CreditNoteLine] = []
    left = bill.total
    while left:
        part = data.draw(st.integers(1, left)) if len(taken) < 20 else left
        rest = remaining_lines(bill, taken)
        lines = lines_by_total(rest, part)
        assert sum(each.total for each in lines) == part
        taken += lines
        left -= part
    for each in remaining_lines(bill, taken):
        assert net(each) == 0
        assert (
            sum(tax["amount"] for tax in (each.taxes or {}).values() if not tax["inclusive"]) == 0
        )


@given(st.integers(1, 10_000), st.integers(0, 50), st.data())
def test_notes_by_lines_take_back_shares_that_end_in_nothing(
    amount: int, percent: int, data: st.DataObject
) -> None:
    billed = taxed(0, amount, amount * percent // 100, amount // 5)
    bill = invoice(billed, status=InvoiceStatus.OPEN)
    taken: list[CreditNoteLine] = []
    left = amount
    while left:
        part = data.draw(st.integers(1, left)) if len(taken) < 10 else left
        [rest] = remaining_lines(bill, taken)
        taken.append(line_as_asked(rest, billed, AskedLine("il_0", amount=part), at=0))
        left -= part
    assert sum(each.total for each in taken) == bill.total
    [rest] = remaining_lines(bill, taken)
    assert (rest.amount, net(rest)) == (0, 0)


def test_a_share_by_quantity() -> None:
    billed = taxed(0, 1000, 100, 90)
    part = line_as_asked(billed, billed, AskedLine("il_0", quantity=1), at=0)
    assert (part.amount, part.discounts, part.quantity) == (250, {"di_1": 25}, 1)
    assert part.taxes is not None
    assert part.taxes["txr_1"] == {"amount": 23, "taxable": 225, "inclusive": False}
    assert part.total == 250 - 25 + 23
    with pytest.raises(InvalidRequest, match="has a quantity of 4"):
        line_as_asked(billed, billed, AskedLine("il_0", quantity=5), at=0)


def test_no_more_than_what_is_left_of_a_line() -> None:
    billed = line(0, 1000)
    with pytest.raises(InvalidRequest, match="at most 1000 can be credited") as refused:
        line_as_asked(billed, billed, AskedLine("il_0", amount=1001), at=2)
    assert refused.value.param == ("lines", 2, "amount")


def test_a_line_of_its_own_is_quantity_times_price() -> None:
    asked = AskedLine(None, quantity=3, unit_amount=Decimal("33.5"), description="Sorry")
    assert (custom_line(asked).amount, custom_line(asked).total) == (101, 101)


@pytest.mark.parametrize(
    ("status", "paid", "total", "credit", "out_of_band", "pre"),
    [
        (InvoiceStatus.OPEN, 0, 400, 0, 0, 400),
        (InvoiceStatus.PAID, 1000, 400, 400, 0, 0),
        (InvoiceStatus.PAID, 1000, 400, 100, 300, 0),
        (InvoiceStatus.OPEN, 700, 400, 100, 0, 300),
    ],
    ids=["open", "paid", "both ways", "paid in part"],
)
def test_where_what_is_taken_back_goes(
    status: InvoiceStatus, paid: int, total: int, credit: int, out_of_band: int, pre: int
) -> None:
    bill = invoice(line(0, 1000), status=status, amount_paid=paid)
    parts = split(bill, total, credit=credit, out_of_band=out_of_band)
    assert (parts.pre_payment, parts.credit, parts.out_of_band) == (pre, credit, out_of_band)
    with pytest.raises(InvalidRequest, match="must equal"):
        split(bill, total, credit=credit + 1, out_of_band=out_of_band)


def test_no_more_than_what_is_left_of_the_invoice() -> None:
    bill = invoice(line(0, 1000), status=InvoiceStatus.OPEN, pre_payment_credits=400)
    assert creditable(bill) == 600
    with pytest.raises(InvalidRequest, match=r"\$7\.00, is more than .* \$6\.00"):
        split(bill, 700, credit=0, out_of_band=0)


def test_the_number_of_a_note() -> None:
    assert credit_note_number("ACME-0001", 1) == "ACME-0001-CN-01"
    assert credit_note_number("ACME-0001", 123) == "ACME-0001-CN-123"
