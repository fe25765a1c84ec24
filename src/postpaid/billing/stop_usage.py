"""Usage beyond the units that are all a customer may use is refused, until there are more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from postpaid.billing.check_usage import Checked, instant
from postpaid.billing.measure import measure
from postpaid.billing.perform import Act
from postpaid.core.billed_usage import Due, due_quantity, windows_due
from postpaid.core.errors import BillingError, InvalidRequest
from postpaid.core.metering import Aggregation
from postpaid.core.unit_credits import ZERO, UnitCredit
from postpaid.storage import billed_usage, unit_credits, usage
from postpaid.storage.billed_usage import Asked
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter
from postpaid.storage.usage_totals import Window

AHEAD = timedelta(days=1)  # beyond what any meter accepts of the future, unless it was told to
ONE = Decimal(1)

Pair = tuple[str, str]
"""A customer and a meter."""


def stop_usage(
    conn: Connection, act: Act, checked: Checked, meter_by_id: Mapping[str, Meter]
) -> dict[int, BillingError]:
    """The events that come when a customer's limited units are used up, by their index; an error.

    Used up is what invoices drew and what they will draw of the usage that is counted and not
    billed. The event that uses up the last unit is taken whole, and so is what arrives at the same
    moment as it. What repeats an event that is stored is no usage, and left. No statement unless
    some customer has limited units, and a constant number of them then.
    """
    limited = {
        (each.customer_id, each.meter_id): each for each in checked.series if each.is_limited
    }
    if not limited:
        return {}
    # Read.
    now_of = {
        series.customer_id: instant(received_ms)
        for series, received_ms in zip(checked.series, checked.received_ms, strict=True)
        if series.is_limited
    }
    paying = _Paying.read(conn, act, now_of)

    # Decide.
    stopped: dict[int, BillingError] = {}
    for i, series in enumerate(checked.series):
        pair = (series.customer_id, series.meter_id)
        credits = paying.credits_of(pair)
        if pair not in limited or not any(credit.is_limited for credit in credits):
            continue
        if paying.room(pair) <= ZERO:
            stopped[i] = InvalidRequest(
                f"The units that {series.customer_id} has in advance are used up, and it may use "
                "no more than them.",
                param="customer",
                code="usage_limit_reached",
            )
        else:
            paying.count(pair, _counts(meter_by_id[series.meter_id], checked.values[i]))
    if stopped:
        known = usage.load(conn, act.account_id, {checked.references[i] for i in stopped})
        stopped = {i: error for i, error in stopped.items() if checked.references[i] not in known}
    return stopped


class _Paying:
    """What pays for the usage of some customers in advance, and how much of it is left."""

    def __init__(
        self,
        credits: Mapping[str, Sequence[UnitCredit]],
        sold_by: Mapping[str, frozenset[str]],
        unbilled: Mapping[Pair, Decimal],
    ) -> None:
        self._credits = credits
        self._sold_by = sold_by
        self._unbilled = dict(unbilled)

    @classmethod
    def read(cls, conn: Connection, act: Act, now_of: Mapping[str, datetime]) -> _Paying:
        """``now_of`` is the customers' time."""
        account_id = act.account_id
        found = unit_credits.unexpired(conn, account_id, now_of, at=min(now_of.values()))
        credits = {
            key: [each for each in own if each.expires_at is None or now_of[key] < each.expires_at]
            for key, own in found.items()
        }
        credits = {key: own for key, own in credits.items() if own}
        if not credits:
            return cls({}, {}, {})
        sold_by = unit_credits.sold_by(
            conn, account_id, {each.product_id for own in credits.values() for each in own}
        )
        spans = [
            Asked(
                key,
                min(each.created_at for each in own).replace(microsecond=0),
                now_of[key].replace(microsecond=0) + AHEAD,
            )
            for key, own in credits.items()
        ]
        priced = billed_usage.priced(conn, account_id, [each.customer_id for each in spans])
        billed = billed_usage.overlapping(conn, account_id, spans)
        elsewhere = billed_usage.billed_elsewhere(conn, account_id, spans)
        span_of = {each.customer_id: (each.start, each.end) for each in spans}
        due: list[Due] = []
        for each in priced:
            pair = (each.customer_id, each.meter_id)
            due += windows_due(
                *pair,
                each.price_id,
                span_of[each.customer_id],
                billed.get(pair, ()),
                elsewhere.get(pair, ()),
            )
        windows = {
            one.name: Window(one.customer_id, one.meter_id, one.start, one.end) for one in due
        }
        used = measure(conn, account_id, windows, now=max(now_of.values()))
        unbilled = {(each.customer_id, each.meter_id): ZERO for each in priced}
        for one in due:
            unbilled[one.customer_id, one.meter_id] += due_quantity(one, used[one.name])
        return cls(credits, sold_by, unbilled)

    def credits_of(self, pair: Pair) -> list[UnitCredit]:
        """What pays for the customer's usage of the meter; nothing where it has no price."""
        if pair not in self._unbilled:
            return []
        return [each for each in self._credits.get(pair[0], ()) if self._pays(each, pair[1])]

    def room(self, pair: Pair) -> Decimal:
        """How many units are left once all usage that they are for is billed."""
        credits = self.credits_of(pair)
        drawing = sum(
            (
                units
                for (customer_id, meter_id), units in self._unbilled.items()
                if customer_id == pair[0] and any(self._pays(each, meter_id) for each in credits)
            ),
            ZERO,
        )
        return sum((each.available for each in credits), ZERO) - drawing

    def count(self, pair: Pair, units: Decimal) -> None:
        self._unbilled[pair] += units

    def _pays(self, credit: UnitCredit, meter_id: str) -> bool:
        return credit.is_for(meter_id, self._sold_by)


def _counts(meter: Meter, value: Decimal) -> Decimal:
    """What an event adds to what is billed, where one event alone tells."""
    if meter.aggregation == Aggregation.SUM:
        return value
    return ONE if meter.aggregation == Aggregation.COUNT else ZERO
