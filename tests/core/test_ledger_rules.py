"""Every act balances, whatever the invoice; and what is deferred is earned to the last unit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lines import a_draft, a_line
from postpaid.core import ledger
from postpaid.core.credits import (
    BalanceReason,
    BalanceTransaction,
    GrantCategory,
    GrantMovement,
    GrantTransaction,
)
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.ledger import Entry, LedgerAccount, LedgerKind, Taken, Transaction, earned
from postpaid.core.lines import Line
from postpaid.core.money import allocate
from postpaid.core.pricing import DetailKind
from postpaid.core.refunds import Refund, RefundStatus

NOW = datetime(2026, 1, 1, 10, 51, 40, tzinfo=UTC)
MONTH = timedelta(days=31)
A = LedgerAccount


def line(amount: int, **more: Any) -> Line:
    """A line of a fee for the month that begins now."""
    return a_line(amount, **{"period_start": NOW, "period_end": NOW + MONTH} | more)


def final(*lines: Line, balance: int = 0) -> Invoice:
    """An invoice of the lines, just finalized, with the totals that the house's identities give."""
    total = 0
    for each in lines:
        total += each.amount - sum((each.discounts or {}).values())
        total -= sum((each.credits or {}).values())
        total += sum(t["amount"] for t in (each.taxes or {}).values() if not t["inclusive"])
    return a_draft(
        status=InvoiceStatus.OPEN,
        number="ACME-0001",
        subtotal=sum(each.amount for each in lines),
        total=total,
        starting_balance=balance,
        ending_balance=min(0, total + balance),
        amount_due=max(0, total + balance),
        finalized_at=NOW,
        lines=lines,
    )


def sums(*transactions: Transaction) -> dict[LedgerAccount, int]:
    """What the accounts come to after these, those with nothing left out."""
    found: dict[LedgerAccount, int] = {}
    for transaction in transactions:
        for entry in transaction.entries:
            found[entry.account] = found.get(entry.account, 0) + entry.amount
    return {account: amount for account, amount in found.items() if amount}


def tax(amount: int, *, inclusive: bool) -> dict[str, dict[str, Any]]:
    return {"txr_1": {"amount": amount, "taxable": 0, "inclusive": inclusive}}


# ─── What cannot be ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ((Entry(A.CASH, 5), Entry(A.RECEIVABLE, -4)), "sum to 1, not 0"),
        ((Entry(A.CASH, 0),), "says nothing"),
        ((Entry(A.CASH, 5), Entry(A.DEFERRED_REVENUE, -5)), "service period"),
        ((Entry(A.CASH, 5, NOW, NOW + MONTH), Entry(A.REVENUE, -5)), "service period"),
        ((Entry(A.CASH, 5), Entry(A.DEFERRED_REVENUE, -5, NOW)), "service period"),
    ],
    ids=["unbalanced", "of nothing", "deferred for ever", "cash with a period", "half a period"],
)
def test_a_transaction_that_cannot_be_made(entries: tuple[Entry, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Transaction(LedgerKind.PAYMENT, "pa_1", "cus_1", "in_1", "usd", entries)


# ─── Acts ────────────────────────────────────────────────────────────────────────────────────


def test_a_fee_in_advance_is_deferred_and_usage_is_revenue() -> None:
    usage = line(500, meter_id="mtr_1", period_start=NOW - MONTH, period_end=NOW)
    posted = ledger.invoice_finalized(final(usage, line(9900)))
    assert posted.entries == (
        Entry(A.RECEIVABLE, 10400),
        Entry(A.REVENUE, -500),
        Entry(A.DEFERRED_REVENUE, -9900, NOW, NOW + MONTH),
    )


def test_usage_that_a_threshold_bills_early_is_revenue() -> None:
    posted = ledger.invoice_finalized(final(line(500, meter_id="mtr_1")))
    assert sums(posted) == {A.RECEIVABLE: 500, A.REVENUE: -500}


def test_what_thresholds_have_billed_of_usage_comes_off_revenue_at_once() -> None:
    billed = line(-200, meter_id=None, kind=DetailKind.BILLED)
    posted = ledger.invoice_finalized(final(line(500, meter_id="mtr_1"), billed))
    assert sums(posted) == {A.RECEIVABLE: 300, A.REVENUE: -300}


def test_tax_is_owed_and_no_revenue_in_a_price_or_on_top() -> None:
    on_top = line(10000, taxes=tax(1900, inclusive=False))
    inside = line(11900, taxes=tax(1900, inclusive=True))
    posted = ledger.invoice_finalized(final(on_top, inside))
    assert sums(posted) == {
        A.RECEIVABLE: 23800,
        A.DEFERRED_REVENUE: -20000,
        A.TAX_PAYABLE: -3800,
    }


def test_a_discount_is_less_revenue() -> None:
    posted = ledger.invoice_finalized(final(line(10000, discounts={"di_1": 2500})))
    assert sums(posted) == {A.RECEIVABLE: 7500, A.DEFERRED_REVENUE: -7500}


def test_credit_that_was_granted_pays_revenue_in_full() -> None:
    usage = line(500, meter_id="mtr_1", credits={"cbtxn_1": 300})
    posted = ledger.invoice_finalized(final(usage))
    assert sums(posted) == {A.RECEIVABLE: 200, A.CREDIT_GRANTS: 300, A.REVENUE: -500}


@pytest.mark.parametrize(
    ("amount", "balance", "receivable", "credit"),
    [(1000, -300, 700, 300), (1000, 200, 1200, -200), (-500, 0, 0, -500), (1000, -1500, 0, 1000)],
    ids=["some credit", "a debt", "a negative invoice", "more credit than that"],
)
def test_the_balance_settles_first(amount: int, balance: int, receivable: int, credit: int) -> None:
    invoice = final(line(amount), balance=balance)
    posted = sums(ledger.invoice_finalized(invoice))
    assert posted.get(A.RECEIVABLE, 0) == receivable
    assert posted.get(A.CUSTOMER_CREDIT, 0) == credit
    assert invoice.ending_balance == balance + credit


def test_an_invoice_of_nothing_moves_nothing() -> None:
    assert ledger.invoice_finalized(final(line(0))).entries == ()


def test_what_is_void_is_taken_back_with_its_periods() -> None:
    invoice = final(line(9900, taxes=tax(990, inclusive=False)), balance=-100)
    posted = ledger.invoice_finalized(invoice)
    taken_back = ledger.invoice_voided(invoice, [posted])
    assert sums(posted, taken_back) == {}
    assert {(e.account, -e.amount, e.period_end) for e in taken_back.entries} == {
        (e.account, e.amount, e.period_end) for e in posted.entries
    }


def test_a_write_off_and_its_recovery() -> None:
    invoice = final(line(9900))
    posted = ledger.invoice_finalized(invoice)
    off = ledger.invoice_uncollectible(invoice)
    assert sums(off) == {A.BAD_DEBT: 9900, A.RECEIVABLE: -9900}
    given_up = replace(invoice, status=InvoiceStatus.UNCOLLECTIBLE, marked_uncollectible_at=NOW)
    some = ledger.payment(given_up, 900, source_id="in_1", out_of_band=True)
    rest = ledger.payment(given_up, 9000, source_id="pa_1")
    assert sums(posted, off, some, rest) == {
        A.CASH: 9000,
        A.CASH_OUT_OF_BAND: 900,
        A.DEFERRED_REVENUE: -9900,
    }
    assert sums(posted, off, ledger.invoice_voided(given_up, [posted, off])) == {}


def test_what_was_paid_is_the_customers_credit_once_the_invoice_is_void() -> None:
    invoice = final(line(9900))
    posted = [
        ledger.invoice_finalized(invoice),
        ledger.payment(invoice, 100, source_id="pa_1"),
        ledger.applied_payment(invoice, 50, source_id="pr_1"),
    ]
    assert ledger.kept(posted) == 150
    assert sums(ledger.invoice_voided(invoice, posted)) == {
        A.RECEIVABLE: -9750,
        A.DEFERRED_REVENUE: 9900,
        A.CUSTOMER_CREDIT: -150,
    }


def test_what_went_back_before_an_invoice_was_void_is_nobodys_credit() -> None:
    invoice = final(line(9900))
    back = refund_of(30, invoice.id)
    posted = [
        ledger.invoice_finalized(invoice),
        ledger.payment(invoice, 100, source_id="pa_1"),
        ledger.refund(back),
    ]
    assert ledger.kept(posted) == 70
    void = ledger.invoice_voided(invoice, posted)
    assert sums(*posted, void) == {A.CASH: 70, A.CUSTOMER_CREDIT: -70}


def refund_of(amount: int, invoice_id: str | None, *, credit: int = 0) -> Refund:
    return Refund(
        id="re_1",
        attempt_id="pa_1",
        payment_intent_id="pi_1",
        invoice_id=invoice_id,
        customer_id="cus_1",
        clock_id=None,
        payment_method_id="pm_1",
        gateway="test",
        charge_reference="ch_1",
        amount=amount,
        amount_of_credit=credit,
        currency="usd",
        status=RefundStatus.PENDING,
        reason=None,
        failure_code=None,
        failure_message=None,
        gateway_reference=None,
        asked=0,
        leased_until=NOW,
        created_at=NOW,
        settled_at=None,
    )


def test_a_refund_lowers_what_is_earned_until_a_note_says_what_it_is_for() -> None:
    back = refund_of(100, "in_1", credit=30)
    assert sums(ledger.refund(back)) == {A.REFUNDS: 70, A.CUSTOMER_CREDIT: 30, A.CASH: -100}
    assert sums(ledger.refund(back), ledger.refund_failed(back)) == {}
    assert sums(ledger.refund(refund_of(100, None))) == {A.UNAPPLIED_PAYMENTS: 100, A.CASH: -100}


def test_money_for_no_invoice_waits_for_one() -> None:
    invoice = final(line(9900))
    came = ledger.unapplied_payment("pr_1", "cus_1", 100, "usd", out_of_band=True)
    assert sums(came) == {A.CASH_OUT_OF_BAND: 100, A.UNAPPLIED_PAYMENTS: -100}
    assert sums(came, ledger.applied_payment(invoice, 100, source_id="pr_1")) == {
        A.CASH_OUT_OF_BAND: 100,
        A.RECEIVABLE: -100,
    }


def test_a_credit_note_goes_off_what_is_owed_and_back_to_where_the_rest_should() -> None:
    fee = line(9900, taxes=tax(990, inclusive=False))
    usage = line(500, meter_id="mtr_1")
    invoice = final(fee, usage)
    note = ledger.credit_note(
        invoice,
        "cn_1",
        [Taken(990, 99, fee), Taken(50, 0, usage), Taken(11, 0)],
        off_invoice=1000,
        to_balance=100,
        refunded=30,
        out_of_band=20,
    )
    assert sums(note) == {
        A.DEFERRED_REVENUE: 990,
        A.REVENUE: 61,
        A.TAX_PAYABLE: 99,
        A.RECEIVABLE: -1000,
        A.CUSTOMER_CREDIT: -100,
        A.REFUNDS: -30,
        A.CASH_OUT_OF_BAND: -20,
    }
    assert sums(note, ledger.credit_note_voided(invoice, "cn_1", note)) == {}
    with pytest.raises(ValueError, match="sum to"):
        ledger.credit_note(invoice, "cn_1", [Taken(990, 99, fee)], off_invoice=1000)


@pytest.mark.parametrize(
    ("category", "giver"),
    [(GrantCategory.PAID, A.REVENUE), (GrantCategory.PROMOTIONAL, A.PROMOTIONS)],
)
def test_granted_credit_is_owed_until_it_ends(category: GrantCategory, giver: str) -> None:
    granted = GrantTransaction(
        "cbtxn_1",
        "credgr_1",
        "cus_1",
        None,
        GrantMovement.GRANTED,
        700,
        "usd",
        None,
        None,
        NOW,
        NOW,
    )
    posted = ledger.credit_moved(granted, category)
    assert sums(posted) == {giver: 700, A.CREDIT_GRANTS: -700}
    for movement in (GrantMovement.EXPIRED, GrantMovement.VOIDED):
        over = replace(granted, id="cbtxn_2", movement=movement)
        assert sums(posted, ledger.credit_moved(over, category)) == {}
    with pytest.raises(ValueError, match="with its invoice"):
        ledger.credit_moved(replace(granted, movement=GrantMovement.APPLIED), category)


def test_a_balance_is_moved_by_hand() -> None:
    moved = BalanceTransaction(
        "cbtxn_1",
        "cus_1",
        None,
        BalanceReason.ADJUSTMENT,
        -500,
        -500,
        "usd",
        None,
        None,
        None,
        {},
        NOW,
    )
    assert sums(ledger.balance_adjusted(moved)) == {
        A.CUSTOMER_CREDIT: -500,
        A.BALANCE_ADJUSTMENTS: 500,
    }
    with pytest.raises(ValueError, match="with what moved it"):
        ledger.balance_adjusted(replace(moved, reason=BalanceReason.CREDIT_NOTE))


# ─── Any invoice ─────────────────────────────────────────────────────────────────────────────

small = st.integers(0, 10_000)
periods = st.sampled_from(
    [(NOW - MONTH, NOW), (NOW, NOW + MONTH), (NOW - MONTH, NOW + MONTH), (NOW, NOW)]
)


@st.composite
def any_line(draw: st.DrawFn) -> Line:
    start, end = draw(periods)
    return line(
        draw(st.integers(-50_000, 50_000)),
        period_start=start,
        period_end=end,
        meter_id=draw(st.sampled_from([None, "mtr_1"])),
        discounts=draw(st.one_of(st.none(), st.fixed_dictionaries({"di_1": small}))),
        credits=draw(st.one_of(st.none(), st.fixed_dictionaries({"cbtxn_1": small}))),
        taxes=draw(
            st.one_of(
                st.none(),
                st.builds(lambda a, i: tax(a, inclusive=i), small, st.booleans()),
            )
        ),
    )


def taken_evenly(invoice: Invoice, amount: int) -> list[Taken]:
    """``amount`` without tax, taken from the lines that are owed something, or from none."""
    owed = [each for each in invoice.lines if each.amount > 0]
    if not owed:
        return [Taken(amount, 0)]
    parts = allocate(amount, [each.amount for each in owed])
    return [Taken(part, 0, each) for each, part in zip(owed, parts, strict=True)]


@given(st.lists(any_line(), max_size=6), st.integers(-20_000, 20_000), st.data())
def test_whatever_is_billed_balances_and_can_be_undone(
    lines: list[Line], balance: int, data: st.DataObject
) -> None:
    invoice = final(*lines, balance=balance)
    posted = [ledger.invoice_finalized(invoice)]
    assert sums(*posted).get(A.RECEIVABLE, 0) == invoice.amount_due
    credited = data.draw(st.integers(0, invoice.amount_due))
    posted.append(
        ledger.credit_note(invoice, "cn_1", taken_evenly(invoice, credited), off_invoice=credited)
    )
    noted = replace(invoice, pre_payment_credits=credited)
    paid = data.draw(st.integers(0, noted.amount_remaining))
    paying = ledger.payment(noted, paid, source_id="pa_1")
    rest = replace(noted, amount_paid=paid)
    assert sums(*posted, paying).get(A.RECEIVABLE, 0) == rest.amount_remaining
    assert A.RECEIVABLE not in sums(*posted, paying, ledger.invoice_uncollectible(rest))
    credit = {A.CASH: paid, A.CUSTOMER_CREDIT: -paid} if paid else {}
    assert sums(*posted, paying, ledger.invoice_voided(rest, [*posted, paying])) == credit


# ─── Earning ─────────────────────────────────────────────────────────────────────────────────

instants = st.integers(-100, 200).map(
    lambda hours: NOW + timedelta(hours=hours, microseconds=hours)
)


@given(
    st.integers(-(10**12), 10**12).filter(bool),
    instants,
    st.integers(1, 500),
    instants,
    st.lists(instants, max_size=5),
)
def test_any_months_sum_to_the_amount(
    amount: int, start: datetime, hours: int, posted_at: datetime, cuts: list[datetime]
) -> None:
    entry = Entry(A.DEFERRED_REVENUE, -amount, start, start + timedelta(hours=hours))
    last = max(posted_at, start + timedelta(hours=hours))
    shares = [earned(entry, posted_at, at) for at in sorted(cuts)]
    assert earned(entry, posted_at, last) == amount
    assert shares == sorted(shares, reverse=amount < 0)
    assert all(min(0, amount) <= share <= max(0, amount) for share in shares)
    assert all(share == 0 for share, at in zip(shares, sorted(cuts), strict=True) if at < posted_at)


def test_half_a_unit_is_rounded_away_from_zero() -> None:
    middle = NOW + MONTH / 2
    for amount, share in ((-1, 1), (1, -1), (-3, 2), (3, -2), (-10, 5)):
        entry = Entry(A.DEFERRED_REVENUE, amount, NOW, NOW + MONTH)
        assert earned(entry, NOW, middle) == share


def test_what_is_posted_late_is_earned_at_once_as_far_as_time_has_gone() -> None:
    entry = Entry(A.DEFERRED_REVENUE, -3100, NOW, NOW + MONTH)
    posted_at = NOW + timedelta(days=10)
    assert earned(entry, posted_at, posted_at - timedelta(microseconds=1)) == 0
    assert earned(entry, posted_at, posted_at) == 1000
    assert earned(entry, NOW - MONTH, NOW) == 0
