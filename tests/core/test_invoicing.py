"""Invoices: the status table as a picture, obligations, lines and their words, totals."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpaid.core.catalog import Price, Product, UsageType
from postpaid.core.closings import closing_lines
from postpaid.core.cycles import advanced, started
from postpaid.core.errors import ActionNotAllowed
from postpaid.core.invoicing import (
    BillingReason,
    Invoice,
    InvoiceAction,
    InvoiceStatus,
    draft,
    finalized,
    invoice_number,
    metered_obligations,
    next_status,
    paid,
    voided,
    with_lines,
    with_usage,
)
from postpaid.core.lines import (
    Line,
    lines_of,
    metered_items,
    obligation_of,
    opening_lines,
)
from postpaid.core.money import MAX_MINOR, plain
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import MAX_QUANTITY, Model, Tier, TiersMode, Transform
from postpaid.core.subscriptions import (
    BillingMode,
    CollectionMethod,
    Item,
    Sold,
    Subscription,
    SubscriptionStatus,
)

S, A = InvoiceStatus, InvoiceAction

STATUSES = """
               finalize  pay   mark_uncollectible  void  send  edit   delete
draft          open      ·     ·                   ·     ·     draft  draft
open           ·         paid  uncollectible       void  open  ·      ·
paid           ·         ·     ·                   ·     ·     ·      ·
uncollectible  ·         paid  ·                   void  ·     ·      ·
void           ·         ·     ·                   ·     ·     ·      ·
"""


def test_the_status_table():
    rows = [["", *A], *([before, *(_shown(before, action) for action in A)] for before in S)]
    widths = [15, 10, 6, 20, 6, 6, 7, 0]
    picture = "\n".join(
        "".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    assert picture == STATUSES.strip("\n")


def _shown(before: InvoiceStatus, action: InvoiceAction) -> str:
    try:
        return next_status(before, action)
    except ActionNotAllowed:
        return "·"


@pytest.mark.parametrize(
    ("status", "action", "sentence"),
    [
        (
            S.PAID,
            A.VOID,
            "You can only pass in open or uncollectible invoices. This invoice is paid.",
        ),
        (
            S.DRAFT,
            A.MARK_UNCOLLECTIBLE,
            "You can only pass in open invoices. This invoice isn't open.",
        ),
    ],
)
def test_what_cannot_happen_is_said_in_a_sentence(
    status: InvoiceStatus, action: InvoiceAction, sentence: str
):
    with pytest.raises(ActionNotAllowed) as refused:
        next_status(status, action)
    assert refused.value.message == sentence


# ─── What is sold ────────────────────────────────────────────────────────────────────────────

T0 = datetime(2026, 1, 1, 10, 51, 40, tzinfo=UTC)
T1 = datetime(2026, 2, 1, 10, 51, 40, tzinfo=UTC)
T2 = datetime(2026, 3, 1, 10, 51, 40, tzinfo=UTC)
MONTHLY = Recurrence(Interval.MONTH)


def sold(
    price_id: str,
    model: Model,
    *,
    name: str = "Calls",
    metered: bool = False,
    currency: str = "usd",
    every: Recurrence = MONTHLY,
    unit_label: str | None = None,
) -> Sold:
    product = Product(f"prod_{price_id}", name, T0, T0, unit_label=unit_label)
    price = Price(
        price_id,
        product.id,
        currency,
        model,
        T0,
        recurrence=every,
        usage_type=UsageType.METERED if metered else UsageType.LICENSED,
        meter_id="mtr_1" if metered else None,
    )
    return Sold(price, product)


def per_unit(unit_amount: str) -> Model:
    return Model(unit_amount=Decimal(unit_amount))


def tiered(mode: TiersMode, *tiers: tuple[int | None, str | None, str | None]) -> Model:
    """Tiers as (up_to, unit_amount, flat_amount)."""
    numbers = [[None if each is None else Decimal(each) for each in tier] for tier in tiers]
    return Model(tiers=tuple(Tier(*each) for each in numbers), tiers_mode=mode)


OVERAGE = tiered(TiersMode.GRADUATED, (1000, "0", "0"), (None, "4", "0"))
CATALOG = {
    "fee": sold("fee", per_unit("10000"), name="Fee"),
    "seats": sold("seats", per_unit("1500"), name="Seats"),
    "calls": sold("calls", OVERAGE, name="Calls", metered=True),
    "bytes": sold("bytes", per_unit("0.05"), name="Bytes", metered=True),
}


def subscription(*price_ids: str, mode: BillingMode = BillingMode.FLEXIBLE) -> Subscription:
    """One with an item for each price, in its first month."""
    begun = Subscription(
        id="sub_1",
        customer_id="cus_1",
        clock_id=None,
        status=SubscriptionStatus.ACTIVE,
        currency="usd",
        collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
        days_until_due=None,
        billing_mode=mode,
        billing_mode_at=T0,
        anchor_at=T0,
        closes_at=T1,
        expires_at=None,
        start_at=T0,
        cancel_at_period_end=False,
        canceled_at=None,
        ended_at=None,
        cancellation_reason=None,
        cancellation_comment=None,
        cancellation_feedback=None,
        default_payment_method_id=None,
        latest_invoice_id=None,
        description=None,
        metadata={"plan": "gold"},
        created_at=T0,
        items=tuple(
            Item(
                id=f"si_{price_id}",
                subscription_id="sub_1",
                price_id=price_id,
                quantity=None if CATALOG[price_id].price.metered else 3,
                period_index=0,
                period_start=T0,
                period_end=T1,
                metadata={"of": price_id},
                created_at=T0,
            )
            for price_id in price_ids
        ),
    )
    return replace(begun, items=tuple(started(begun, item, CATALOG) for item in begun.items))


# ─── Obligations ─────────────────────────────────────────────────────────────────────────────


def test_an_obligation_is_named_by_what_is_billed_and_for_which_period():
    current = subscription("fee")
    names = []
    for _ in range(3):
        names.append(obligation_of(current.items[0]).name)
        current = advanced(current, CATALOG)
    assert names == ["sub_1/si_fee/period-0", "sub_1/si_fee/period-1", "sub_1/si_fee/period-2"]


def test_no_two_lines_of_a_subscriptions_life_have_the_same_name_and_part():
    current = subscription("fee", "calls", "seats", "bytes", mode=BillingMode.CLASSIC)
    lines = opening_lines(current, CATALOG)
    for _ in range(12):
        following = advanced(current, CATALOG)
        used = {obligation_of(item).name: Decimal(3000) for item in metered_items(current, CATALOG)}
        lines += closing_lines(current, following, CATALOG, used)
        current = following
    assert len({(line.obligation, line.part) for line in lines}) == len(lines) == 4 + 12 * 7


# ─── Lines ───────────────────────────────────────────────────────────────────────────────────


def shown(lines: list[Line] | tuple[Line, ...]) -> list[str]:
    """Each line as a reader of the invoice sees it."""
    return [
        f"{line.amount}: {line.description}, {line.period_start:%d %b}–{line.period_end:%d %b}"
        for line in lines
    ]


def test_a_first_invoice_bills_licences_in_advance_the_newest_item_first():
    assert shown(opening_lines(subscription("fee", "calls", "seats"), CATALOG)) == [
        "4500: 3 × Seats (at $15.00 / month), 01 Jan–01 Feb",
        "30000: 3 × Fee (at $100.00 / month), 01 Jan–01 Feb",
    ]


def test_a_first_invoice_in_classic_mode_has_a_line_of_zero_for_usage():
    lines = opening_lines(subscription("fee", "calls", mode=BillingMode.CLASSIC), CATALOG)
    assert shown(lines) == [
        "0: 0 × Calls (Tier 1 at $0.00 / month), 01 Jan–01 Feb",
        "30000: 3 × Fee (at $100.00 / month), 01 Jan–01 Feb",
    ]
    assert lines[0].obligation == "sub_1/si_calls/opening"


def test_a_line_of_zero_is_zero_even_where_no_usage_costs_something():
    minimum = sold("bytes", tiered(TiersMode.GRADUATED, (None, None, "500")), metered=True)
    classic = subscription("bytes", mode=BillingMode.CLASSIC)
    assert [line.amount for line in opening_lines(classic, {"bytes": minimum})] == [0]


def test_a_first_invoice_of_usage_alone_has_no_lines():
    assert opening_lines(subscription("calls", "bytes"), CATALOG) == []


def test_a_renewal_bills_usage_in_arrears_and_licences_in_advance():
    before = subscription("fee", "calls")
    used = {"sub_1/si_calls/period-0": Decimal(3000)}
    assert shown(closing_lines(before, advanced(before, CATALOG), CATALOG, used)) == [
        "0: 1000 × Calls (Tier 1 at $0.00 / month), 01 Jan–01 Feb",
        "0: Calls (Tier 1 at $0.00 / month), 01 Jan–01 Feb",
        "8000: 2000 × Calls (Tier 2 at $0.04 / month), 01 Jan–01 Feb",
        "0: Calls (Tier 2 at $0.00 / month), 01 Jan–01 Feb",
        "30000: 3 × Fee (at $100.00 / month), 01 Feb–01 Mar",
    ]


def test_a_renewal_shows_usage_of_zero():
    before = subscription("bytes")
    used = {"sub_1/si_bytes/period-0": Decimal(0)}
    assert shown(closing_lines(before, advanced(before, CATALOG), CATALOG, used)) == [
        "0: 0 × Bytes (at $0.0005 / month), 01 Jan–01 Feb",
    ]


def test_a_last_invoice_bills_usage_and_no_licence():
    before = subscription("fee", "bytes")
    used = {"sub_1/si_bytes/period-0": Decimal(30)}
    assert shown(closing_lines(before, None, CATALOG, used)) == [
        "2: 30 × Bytes (at $0.0005 / month), 01 Jan–01 Feb",
    ]


def test_an_item_whose_period_goes_on_owes_nothing_yet():
    before = subscription("fee", "calls")
    yearly = replace(before.items[1], period_end=T0.replace(year=2027))
    before = replace(before, items=(before.items[0], yearly))
    assert metered_items(before, CATALOG) == []
    lines = closing_lines(before, advanced(before, CATALOG), CATALOG, {})
    assert [line.subscription_item_id for line in lines] == ["si_fee"]


def test_a_line_says_where_it_comes_from():
    before = subscription("calls")
    [item] = before.items
    line = lines_of(obligation_of(item), CATALOG["calls"], Decimal("1000.5"))[2]
    assert (line.subscription_id, line.subscription_item_id) == ("sub_1", "si_calls")
    assert (line.price_id, line.product_id, line.meter_id) == ("calls", "prod_calls", "mtr_1")
    assert (line.part, line.tier, line.kind) == (2, 2, "unit")
    assert (line.quantity, line.unit_amount, line.amount) == (Decimal("0.5"), Decimal(4), 2)
    assert line.metadata == {"of": "calls"}


# What a quantity costs                 | how the lines say it
DESCRIPTIONS = [
    (per_unit("10000"), {}, "1", ["1 × Calls (at $100.00 / month)"]),
    (per_unit("0.5"), {}, "2500.25", ["2500.25 × Calls (at $0.005 / month)"]),
    (per_unit("0"), {}, "7", ["7 × Calls (at $0.00 / month)"]),
    (per_unit("500"), {"currency": "jpy"}, "3", ["3 × Calls (at ¥500 / month)"]),
    (per_unit("1500"), {"currency": "kwd"}, "1", ["1 × Calls (at KWD 1.500 / month)"]),
    (per_unit("100"), {"unit_label": "call"}, "9", ["9 call × Calls (at $1.00 / month)"]),
    (
        per_unit("100"),
        {"every": Recurrence(Interval.MONTH, 3)},
        "1",
        ["1 × Calls (at $1.00 every 3 months)"],
    ),
    (per_unit("100"), {"every": Recurrence(Interval.YEAR)}, "1", ["1 × Calls (at $1.00 / year)"]),
    (per_unit("100"), {"every": Recurrence(Interval.WEEK)}, "1", ["1 × Calls (at $1.00 / week)"]),
    (
        per_unit("100"),
        {"every": Recurrence(Interval.DAY, 10)},
        "1",
        ["1 × Calls (at $1.00 every 10 days)"],
    ),
    (
        Model(unit_amount=Decimal(8), transform=Transform(60, "up")),
        {},
        "9892",
        ["9892 × Calls (at $0.08 per 60 units / month)"],
    ),
    (
        tiered(TiersMode.GRADUATED, (1000, "0", "900"), (None, "3.6", "0")),
        {"unit_label": "credit"},
        "1031",
        [
            "1000 credit × Calls (Tier 1 at $0.00 / month)",
            "Calls (Tier 1 at $9.00 / month)",
            "31 credit × Calls (Tier 2 at $0.036 / month)",
            "Calls (Tier 2 at $0.00 / month)",
        ],
    ),
    (
        tiered(TiersMode.GRADUATED, (1000, "0", None), (None, "3.6", None)),
        {},
        "1000",
        ["1000 × Calls (Tier 1 at $0.00 / month)"],
    ),
    (
        tiered(TiersMode.VOLUME, (10, "500", None), (None, "400", "1000")),
        {},
        "11",
        ["11 × Calls (Tier 2 at $4.00 / month)", "Calls (Tier 2 at $10.00 / month)"],
    ),
    (
        tiered(TiersMode.VOLUME, (10, None, "2500"), (None, "400", None)),
        {"every": Recurrence(Interval.WEEK, 2)},
        "0",
        ["0 × Calls (Tier 1 at $0.00 every 2 weeks)", "Calls (Tier 1 at $25.00 every 2 weeks)"],
    ),
]


@pytest.mark.parametrize(("model", "more", "quantity", "expected"), DESCRIPTIONS)
def test_a_line_is_described_as_stripe_does(
    model: Model, more: dict, quantity: str, expected: list[str]
):
    [item] = subscription("fee").items
    lines = lines_of(obligation_of(item), sold("price", model, **more), Decimal(quantity))
    assert [line.description for line in lines] == expected


# The observed invoice, and what rounds: unit amount, quantity, amount on the line.
ROUNDED = [
    ("3.6", "31", 112),
    ("0.05", "30", 2),
    ("0.05", "29", 1),
    ("0.05", "10", 1),
    ("0.05", "9", 0),
    ("0.000000000001", "1", 0),
    ("8", "165", 1320),
]


@pytest.mark.parametrize(("unit_amount", "quantity", "amount"), ROUNDED)
def test_a_line_is_rounded_once_half_a_cent_up(unit_amount: str, quantity: str, amount: int):
    [item] = subscription("fee").items
    [line] = lines_of(obligation_of(item), sold("price", per_unit(unit_amount)), Decimal(quantity))
    assert line.amount == amount


@pytest.mark.parametrize(
    ("unit_amount", "quantity"),
    [("1", MAX_QUANTITY + 1), ("1", Decimal(-1)), ("1", Decimal("NaN")), ("11", MAX_QUANTITY)],
)
def test_what_cannot_be_billed_is_not(unit_amount: str, quantity: Decimal):
    [item] = subscription("fee").items
    with pytest.raises(ValueError):
        lines_of(obligation_of(item), sold("price", per_unit(unit_amount)), quantity)


def test_the_largest_amount_can_be_billed():
    [item] = subscription("fee").items
    [line] = lines_of(obligation_of(item), sold("price", per_unit("10")), MAX_QUANTITY)
    assert line.amount == MAX_MINOR


# ─── The hour of grace ───────────────────────────────────────────────────────────────────────


def renewal(quantity: str) -> Invoice:
    """The draft at the end of January for a fee and so many calls."""
    before = subscription("fee", "calls")
    after = advanced(before, CATALOG)
    lines = closing_lines(before, after, CATALOG, {"sub_1/si_calls/period-0": Decimal(quantity)})
    return drafted(
        before,
        [replace(line, id=f"il_{place}") for place, line in enumerate(lines)],
        period=(T0, T1),
        now=T1,
    )


def drafted(
    of: Subscription, lines: list[Line], *, period: tuple[datetime, datetime], now: datetime
) -> Invoice:
    return draft(
        "in_1",
        of,
        lines,
        reason=BillingReason.SUBSCRIPTION_CYCLE,
        period=period,
        auto_advance=True,
        finalizes_at=now + timedelta(hours=1),
        now=now,
    )


def recounted(invoice: Invoice, quantity: str) -> Invoice:
    return with_usage(invoice, CATALOG, {"sub_1/si_calls/period-0": Decimal(quantity)})


def test_the_same_usage_leaves_the_draft_as_it_is():
    invoice = renewal("3000")
    assert recounted(invoice, "3000") is invoice
    assert recounted(invoice, "3000.000") is invoice


def test_late_usage_is_rated_with_all_the_rest_in_its_place():
    invoice = recounted(renewal("400"), "1500")
    assert [(line.part, plain(line.quantity), line.amount) for line in invoice.lines] == [
        (0, "1000", 0),
        (1, "0", 0),
        (2, "500", 2000),
        (3, "0", 0),
        (0, "3", 30000),
    ]
    assert (invoice.subtotal, invoice.total, invoice.amount_due) == (32000, 32000, 32000)


def test_less_usage_takes_lines_away():
    invoice = recounted(renewal("1500"), "0")
    assert [line.amount for line in invoice.lines] == [0, 0, 30000]
    assert invoice.total == 30000


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_how_the_usage_arrived_makes_no_difference(first: int, last: int):
    def billed(invoice: Invoice) -> list[tuple[str, int, int]]:
        return [(line.description, line.part, line.amount) for line in invoice.lines]

    assert billed(recounted(renewal(str(first)), str(last))) == billed(renewal(str(last)))


def test_new_lines_have_no_ids_yet_and_old_ones_keep_theirs():
    assert [line.id for line in recounted(renewal("1"), "2").lines] == ["", "", "il_2"]


def test_what_is_measured_again_is_usage_of_the_window_that_ended():
    assert [line.obligation for line in metered_obligations(renewal("3000"))] == [
        "sub_1/si_calls/period-0"
    ]
    classic = subscription("calls", mode=BillingMode.CLASSIC)
    first = drafted(classic, opening_lines(classic, CATALOG), period=(T0, T0), now=T0)
    assert first.lines
    assert metered_obligations(first) == []


# ─── Totals and statuses ─────────────────────────────────────────────────────────────────────


def test_a_draft_has_the_subscriptions_terms_and_the_sum_of_its_lines():
    invoice = renewal("3000")
    assert (invoice.customer_id, invoice.subscription_id) == ("cus_1", "sub_1")
    assert (invoice.status, invoice.number, invoice.currency) == ("draft", None, "usd")
    assert (invoice.total, invoice.amount_due, invoice.amount_remaining) == (38000, 38000, 38000)
    assert (invoice.period_start, invoice.period_end, invoice.created_at) == (T0, T1, T1)
    assert invoice.finalizes_at == invoice.next_attempt_at == T1 + timedelta(hours=1)
    assert invoice.subscription_metadata == {"plan": "gold"}


def test_a_sent_invoice_is_never_attempted():
    sent = replace(
        subscription("fee"),
        collection_method=CollectionMethod.SEND_INVOICE,
        days_until_due=30,
    )
    invoice = drafted(sent, opening_lines(sent, CATALOG), period=(T0, T0), now=T0)
    assert invoice.next_attempt_at is None
    final = made_final(invoice)
    assert (final.due_at, final.next_attempt_at) == (T1 + timedelta(days=30), None)


def test_what_is_due_is_never_negative():
    credit = replace(renewal("0").lines[0], amount=-500)
    invoice = with_lines(renewal("0"), [credit])
    assert (invoice.subtotal, invoice.total, invoice.amount_due) == (-500, -500, 0)


def made_final(invoice: Invoice, now: datetime = T1) -> Invoice:
    return finalized(
        invoice,
        number="ACME-0001",
        customer_snapshot={"name": "Acme"},
        payment_intent_id="pi_1",
        now=now,
    )


def test_a_final_invoice_is_numbered_addressed_and_dated():
    final = made_final(renewal("0"), T2)
    assert (final.status, final.number, final.finalized_at) == ("open", "ACME-0001", T2)
    assert final.customer_snapshot == {"name": "Acme"}
    assert (final.finalizes_at, final.next_attempt_at, final.due_at) == (None, None, None)
    assert (final.payment_intent_id, final.ending_balance) == ("pi_1", 0)


def test_one_with_nothing_due_is_paid_at_once():
    final = made_final(with_lines(renewal("0"), renewal("0").lines[:2]), T2)
    assert (final.status, final.amount_paid, final.paid_at) == ("paid", 0, T2)
    assert (final.payment_intent_id, final.attempt_count, final.attempted) == (None, 0, True)


def test_a_payment_settles_what_remains():
    final = paid(made_final(renewal("0")), now=T2, amount=30000)
    assert (final.status, final.amount_remaining, final.paid_at) == ("paid", 0, T2)
    with pytest.raises(ActionNotAllowed):
        paid(final, now=T2, amount=0)


def test_a_void_invoice_is_not_collected():
    over = voided(made_final(renewal("0")), now=T2)
    assert (over.status, over.voided_at, over.auto_advance) == ("void", T2, False)
    with pytest.raises(ActionNotAllowed):
        voided(renewal("0"), now=T2)


@pytest.mark.parametrize(
    ("sequence", "number"),
    [(1, "ACME-0001"), (42, "ACME-0042"), (9999, "ACME-9999"), (10000, "ACME-10000")],
)
def test_numbers_ascend(sequence: int, number: str):
    assert invoice_number("ACME", sequence) == number
