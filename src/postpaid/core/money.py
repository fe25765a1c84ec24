"""Money as whole minor units, the one rounding that makes it, and allocation that sums.

An amount has two forms. Before the invoice line it is an exact `Decimal` of minor units (cents,
yen, fils), calculated in the `EXACT` context. On the line it is rounded, once, to `Money`; from
then on there are only integers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import (
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
)
from fractions import Fraction
from functools import total_ordering
from types import MappingProxyType

EXACT = Context(
    prec=50, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow, FloatOperation]
)
"""The context of all calculations on money: losing a digit raises, and so does meeting a float."""

MAX_MINOR = 10**16
"""No single amount is larger, in minor units, so that hundreds of lines still sum to 64 bits."""

MAX_SUM = 4 * 10**18
"""No sum of amounts is larger, so that a total and a balance together are within 64 bits."""

# The currencies of ISO 4217 in force in 2026. Its funds, metals and units of account are left out,
# and with them all codes of four digits or of none: nobody is billed in them.
#
# ISO decides also where Stripe counts otherwise: ISK and UGX, which have no minor unit, it takes in
# hundredths, for compatibility with its past; MGA, which has hundredths, it takes in whole ariary.
_NO_DIGITS = "bif clp djf gnf isk jpy kmf krw pyg rwf ugx vnd vuv xaf xof xpf"
_TWO_DIGITS = """
    aed afn all amd aoa ars aud awg azn bam bbd bdt bmd bnd bob brl bsd btn bwp byn bzd cad cdf chf
    cny cop crc cup cve czk dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip gmd gtq gyd hkd hnl
    htg huf idr ils inr irr jmd kes kgs khr kpw kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt
    mop mru mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub
    sar sbd scr sdg sek sgd shp sle sos srd ssp stn svc syp szl thb tjs tmt top try ttd twd tzs uah
    usd uyu uzs ved ves wst xcd xcg yer zar zmw zwg
"""
_THREE_DIGITS = "bhd iqd jod kwd lyd omr tnd"

MINOR_UNITS: Mapping[str, int] = MappingProxyType(
    dict.fromkeys(_NO_DIGITS.split(), 0)
    | dict.fromkeys(_TWO_DIGITS.split(), 2)
    | dict.fromkeys(_THREE_DIGITS.split(), 3)
)
"""Digits after the point, by lower-case currency code: ``{"usd": 2, "jpy": 0, "kwd": 3, …}``."""

# Only signs that name one currency: a bare "$" is the US dollar.
_SYMBOLS = {
    "aud": "A$",
    "brl": "R$",
    "cad": "CA$",
    "cny": "CN¥",
    "eur": "€",
    "gbp": "£",
    "hkd": "HK$",
    "ils": "₪",
    "inr": "₹",
    "jpy": "¥",
    "krw": "₩",
    "mxn": "MX$",
    "nzd": "NZ$",
    "php": "₱",
    "twd": "NT$",
    "usd": "$",
    "vnd": "₫",
}


@total_ordering
@dataclass(frozen=True, slots=True)
class Money:
    """A whole number of minor units of one currency: ``Money(9900, "usd")`` is 99 dollars.

    It adds, subtracts, negates and compares within its currency, and nothing else. Amounts of two
    currencies are never equal; ordering or adding them raises ValueError. With anything that is not
    Money it raises TypeError, 0 included, so a sum starts from ``Money(0, currency)``.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise TypeError(f"minor must be an int, not {type(self.minor).__name__}.")
        _digits(self.currency)

    def __add__(self, other: "Money") -> "Money":
        if not isinstance(other, Money):
            return NotImplemented
        self._require_same_currency(other)
        return Money(self.minor + other.minor, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        if not isinstance(other, Money):
            return NotImplemented
        self._require_same_currency(other)
        return Money(self.minor - other.minor, self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.minor, self.currency)

    def __lt__(self, other: "Money") -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._require_same_currency(other)
        return self.minor < other.minor

    def _require_same_currency(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise ValueError(f"Cannot mix {self.currency} and {other.currency}.")


def to_money(amount: Decimal, currency: str) -> Money:
    """``amount``, in minor units, as Money: rounded by `round_minor`, and by nothing else."""
    return Money(round_minor(amount), currency)


def round_minor(amount: Decimal) -> int:
    """The only rounding in the system: to the nearest whole minor unit, half away from zero.

    Stripe rounds each line to the nearest minor unit, half up. For negative amounts we mirror that,
    so that a credit for a line is always exactly the line: 0.5 → 1, -0.5 → -1.

    Raises ValueError for NaN, an infinity, or more than `MAX_MINOR`.
    """
    if not (amount.is_finite() and -MAX_MINOR <= amount <= MAX_MINOR):
        raise ValueError(f"{amount} minor units is not an amount that can be billed.")
    return int(amount.to_integral_value(ROUND_HALF_UP))


def round_part(part: Fraction) -> int:
    """A part of an amount, which may have no end as a decimal, rounded as `round_minor` does.

    On which side of a half it lies is all that the rounding asks. Raises ValueError for more than
    `MAX_MINOR`.
    """
    whole, rest = divmod(abs(part.numerator), part.denominator)
    near = round_minor(Decimal(whole + (2 * rest >= part.denominator)))
    return near if part >= 0 else -near


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Split ``total`` in proportion to ``weights``, in whole minor units that sum to it exactly.

    Each part is its exact share rounded down, and the units left over go one each to the parts that
    lost most (largest remainder); of equals, to the earlier. So every part is within one unit of
    its exact share, and a weight of zero gets nothing. A negative total is split as its opposite.

    When all weights are zero nobody has a better claim, and the first takes all: one odd line is
    easier to explain than many. Raises ValueError for a negative weight, or for no weights at all
    unless there is nothing to split.
    """
    if any(weight < 0 for weight in weights):
        raise ValueError("weights must not be negative.")
    if not weights:
        if total:
            raise ValueError("weights must not be empty.")
        return []
    if total < 0:
        return [-part for part in allocate(-total, weights)]
    whole = sum(weights)
    if whole == 0:
        return [total] + [0] * (len(weights) - 1)

    parts = [total * weight // whole for weight in weights]
    lost = [total * weight % whole for weight in weights]
    by_loss = sorted(range(len(weights)), key=lambda i: -lost[i])  # stable: the earlier of equals
    for i in by_loss[: total - sum(parts)]:
        parts[i] += 1
    return parts


def plain(d: Decimal) -> str:
    """``d`` as JSON carries it: all its digits, never an exponent, no trailing zeros, no "-0".

    Raises ValueError for NaN and the infinities.
    """
    if not d.is_finite():
        raise ValueError(f"{d} is not a number that can be written.")
    text = format(d, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def format_amount(amount: Decimal, currency: str) -> str:
    """``amount``, in minor units, for people: "$1,234.50", "-$1.66", "¥500", "CHF 10.00".

    Nothing is rounded: a unit price of 3.6 cents is "$0.036". After the point there are at least as
    many digits as the currency has. Raises ValueError for NaN and the infinities.
    """
    if not amount.is_finite():
        raise ValueError(f"{amount} is not an amount that can be written.")
    digits = _digits(currency)
    major = EXACT.scaleb(amount.copy_abs(), -digits)
    whole, _, fraction = format(major, ",f").partition(".")
    fraction = fraction.rstrip("0").ljust(digits, "0")
    sign = "-" if amount < 0 else ""
    symbol = _SYMBOLS.get(currency) or currency.upper() + " "
    return f"{sign}{symbol}{whole}.{fraction}" if fraction else f"{sign}{symbol}{whole}"


def _digits(currency: str) -> int:
    try:
        return MINOR_UNITS[currency]
    except KeyError:
        raise ValueError(f"{currency!r} is not the lower-case code of a currency.") from None
