"""Credit notes: what of a final invoice is taken back, line by line, in whole minor units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

from postpaid.core.errors import InvalidRequest
from postpaid.core.invoicing import Invoice
from postpaid.core.lines import Line
from postpaid.core.money import EXACT, allocate, format_amount, plain, round_minor, round_part
from postpaid.core.values import replace

LINES_MAX = 250  # of a note given by lines


class CreditNoteStatus(StrEnum):
    """A credit note stands, or was a mistake."""

    ISSUED = "issued"
    VOID = "void"


class CreditNoteReason(StrEnum):
    """Why it was issued, in Stripe's words."""

    DUPLICATE = "duplicate"
    FRAUDULENT = "fraudulent"
    ORDER_CHANGE = "order_change"
    PRODUCT_UNSATISFACTORY = "product_unsatisfactory"


class CreditNoteLineType(StrEnum):
    """Whether a line takes back a part of one of the invoice's, or is its own."""

    INVOICE_LINE = "invoice_line_item"
    CUSTOM = "custom_line_item"


@dataclass(frozen=True, slots=True)
class CreditNoteLine:
    """What is taken back of one line: ``amount`` minor units before discounts, credits and tax.

    ``discounts``, ``credits`` and ``taxes`` are its shares of what the invoice's line has of each,
    in the same form. Credit that a grant paid is not given back (Stripe).
    """

    id: str
    type: CreditNoteLineType
    invoice_line_id: str | None
    description: str
    quantity: int | None
    unit_amount: Decimal | None
    amount: int
    discounts: Mapping[str, int] | None
    credits: Mapping[str, int] | None
    taxes: Mapping[str, Mapping[str, Any]] | None
    metadata: Mapping[str, str]

    @property
    def total(self) -> int:
        """What it gives back, tax included."""
        return net(self)

    @property
    def tax(self) -> int:
        """All tax in what it gives back, whether it is in the amount or on top."""
        return sum(each["amount"] for each in (self.taxes or {}).values())


@dataclass(frozen=True, slots=True)
class CreditNote:
    """A paper that takes back ``total`` minor units of an invoice.

    What lowered the rest to pay is ``pre_payment_amount``; of what was paid already,
    ``credit_amount`` went to the customer's balance, ``refund_amount`` back by refunds and
    ``out_of_band_amount`` some other way.
    """

    id: str
    invoice_id: str
    sequence: int
    customer_id: str
    clock_id: str | None
    number: str
    status: CreditNoteStatus
    currency: str
    subtotal: int
    total: int
    pre_payment_amount: int
    credit_amount: int
    out_of_band_amount: int
    reason: CreditNoteReason | None
    memo: str | None
    metadata: Mapping[str, str]
    balance_transaction_id: str | None
    effective_at: datetime
    created_at: datetime
    voided_at: datetime | None
    refund_amount: int = 0
    lines: tuple[CreditNoteLine, ...] = field(default=())

    @property
    def post_payment_amount(self) -> int:
        """What is given back of what was paid."""
        return self.credit_amount + self.out_of_band_amount + self.refund_amount


@dataclass(frozen=True, slots=True)
class AskedLine:
    """A line asked for: ``amount``, or ``quantity`` units; of ``invoice_line_id``, or its own."""

    invoice_line_id: str | None
    amount: int | None = None
    quantity: int | None = None
    unit_amount: Decimal | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def credit_note_number(invoice_number: str, sequence: int) -> str:
    """The credit notes of an invoice are numbered ``ACME-0001-CN-01``, ``…-CN-02``, …"""
    return f"{invoice_number}-CN-{sequence:02d}"


def creditable(invoice: Invoice) -> int:
    """How much of the final invoice can still be taken back, tax included."""
    left = invoice.total - invoice.pre_payment_credits - invoice.post_payment_credits
    return max(0, left)


def remaining_lines(invoice: Invoice, taken: Iterable[CreditNoteLine]) -> list[Line]:
    """The invoice's lines less what earlier credit notes took of them, in their order."""
    rest = {line.id: line for line in invoice.lines}
    for each in taken:
        if each.invoice_line_id in rest:
            rest[each.invoice_line_id] = less(rest[each.invoice_line_id], each)
    return list(rest.values())


def less(line: Line, taken: CreditNoteLine) -> Line:
    """What is left of an invoice's line after this was taken back of it."""
    return replace(
        line,
        amount=line.amount - taken.amount,
        discounts=_less(line.discounts, taken.discounts),
        credits=_less(line.credits, taken.credits),
        taxes=_less_tax(line.taxes, taken.taxes),
    )


def lines_by_total(rest: Sequence[Line], total: int) -> list[CreditNoteLine]:
    """``total`` minor units, tax included, taken of the lines in proportion to what they have left.

    Lines that give back have no part. The lines sum to the total exactly. Their ids are empty until
    they are written.
    """
    owing = [line for line in rest if net(line) > 0]
    parts = allocate(total, [net(line) for line in owing])
    return [
        _part(line, part, net(line), None) for line, part in zip(owing, parts, strict=True) if part
    ]


def line_as_asked(rest: Line, billed: Line, asked: AskedLine, *, at: int) -> CreditNoteLine:
    """What is asked for, taken of a line of which ``rest`` is left of what was ``billed``.

    An amount is before discounts and tax, which come back in proportion (Stripe). Raises
    ``InvalidRequest`` for more than is left.
    """
    amount = asked.amount
    name = "amount"
    if amount is None:
        name = "quantity"
        assert asked.quantity is not None, "one of them is given"
        if asked.quantity > billed.quantity:
            raise InvalidRequest(
                f"The line {billed.id} has a quantity of {plain(billed.quantity)}.",
                param=("lines", at, "quantity"),
            )
        amount = _share(billed.amount, asked.quantity, billed.quantity)
    if amount <= 0 or amount > rest.amount:
        raise InvalidRequest(
            f"Of the line {billed.id}, at most {max(0, rest.amount)} can be credited.",
            param=("lines", at, name),
        )
    part = replace(_part(rest, amount, rest.amount, amount), metadata=asked.metadata)
    return replace(
        part,
        description=asked.description or part.description,
        quantity=asked.quantity,
    )


def custom_line(asked: AskedLine) -> CreditNoteLine:
    """A line that is none of the invoice's, without discount and tax."""
    assert asked.unit_amount is not None
    quantity = 1 if asked.quantity is None else asked.quantity
    return CreditNoteLine(
        id="",
        type=CreditNoteLineType.CUSTOM,
        invoice_line_id=None,
        description=asked.description or "",
        quantity=quantity,
        unit_amount=asked.unit_amount,
        amount=round_minor(EXACT.multiply(asked.unit_amount, Decimal(quantity))),
        discounts=None,
        credits=None,
        taxes=None,
        metadata=asked.metadata,
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Where what is taken back goes: together the note's total."""

    pre_payment: int
    credit: int
    out_of_band: int
    refund: int


def split(invoice: Invoice, total: int, *, credit: int, out_of_band: int, refund: int = 0) -> Split:
    """What of a note lowers the rest to pay, which goes first, and where what was paid goes.

    Raises ``InvalidRequest`` for more than the invoice comes to, and unless what is named is just
    what was paid already (Stripe).
    """
    left = creditable(invoice)
    if total > left:
        raise InvalidRequest(
            f"The credit note's total, {_money(total, invoice)}, is more than can still be "
            f"credited of the invoice: {_money(left, invoice)}.",
            param="amount",
        )
    pre_payment = min(total, invoice.amount_remaining)
    if credit + out_of_band + refund != total - pre_payment:
        raise InvalidRequest(
            "The sum of `credit_amount`, `refund_amount` and `out_of_band_amount` "
            f"({_money(credit + out_of_band + refund, invoice)}) must equal the part of the credit "
            f"note that was paid already ({_money(total - pre_payment, invoice)}).",
            param="credit_amount"
            if credit
            else "out_of_band_amount"
            if out_of_band
            else "refund_amount"
            if refund
            else (),
        )
    return Split(pre_payment, credit, out_of_band, refund)


def net(line: Line | CreditNoteLine) -> int:
    """What a line comes to: less discounts and credits, with the tax that is on top."""
    off = sum((line.discounts or {}).values()) + sum((line.credits or {}).values())
    on = sum(tax["amount"] for tax in (line.taxes or {}).values() if not tax["inclusive"])
    return int(line.amount - off + on)


def _part(rest: Line, part: int, whole: int, amount: int | None) -> CreditNoteLine:
    """``part`` of ``whole`` of what is left of a line; ``amount`` None: what makes it net ``part``.

    Shares are of what is left, so that the last part takes exactly that.
    """
    discounts = _shares(rest.discounts, part, whole)
    credits = _shares(rest.credits, part, whole)
    taxes = {
        key: {
            **tax,
            "amount": _share(tax["amount"], part, whole),
            "taxable": _share(tax["taxable"], part, whole),
        }
        for key, tax in (rest.taxes or {}).items()
    } or None
    if amount is None:
        off = sum((discounts or {}).values()) + sum((credits or {}).values())
        on = sum(tax["amount"] for tax in (taxes or {}).values() if not tax["inclusive"])
        amount = part + off - on
    return CreditNoteLine(
        id="",
        type=CreditNoteLineType.INVOICE_LINE,
        invoice_line_id=rest.id,
        description=rest.description,
        quantity=None,
        unit_amount=None,
        amount=amount,
        discounts=discounts,
        credits=credits,
        taxes=taxes,
        metadata={},
    )


def _share(amount: int, part: int | Decimal, whole: int | Decimal) -> int:
    """``part`` of ``whole`` of an amount, to the nearest minor unit, half away from zero."""
    return round_part(amount * Fraction(part) / Fraction(whole))


def _shares(amounts: Mapping[str, int] | None, part: int, whole: int) -> dict[str, int] | None:
    return {key: _share(amount, part, whole) for key, amount in (amounts or {}).items()} or None


def _less(amounts: Mapping[str, int] | None, taken: Mapping[str, int] | None) -> dict[str, int]:
    return {key: amount - (taken or {}).get(key, 0) for key, amount in (amounts or {}).items()}


def _less_tax(
    taxes: Mapping[str, Mapping[str, Any]] | None, taken: Mapping[str, Mapping[str, Any]] | None
) -> dict[str, dict[str, Any]]:
    none = {"amount": 0, "taxable": 0}
    return {
        key: {
            **tax,
            "amount": tax["amount"] - (taken or {}).get(key, none)["amount"],
            "taxable": tax["taxable"] - (taken or {}).get(key, none)["taxable"],
        }
        for key, tax in (taxes or {}).items()
    }


def _money(amount: int, invoice: Invoice) -> str:
    return format_amount(Decimal(amount), invoice.currency)
