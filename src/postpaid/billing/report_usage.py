"""What customers used of meters between two instants, and what it would cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from postpaid.billing.perform import Act
from postpaid.core.allotments import bill
from postpaid.core.catalog import Price
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.metering import NO_USAGE, Aggregation, UsageTotal, aggregated, billable
from postpaid.core.money import EXACT
from postpaid.core.subscriptions import Subscription
from postpaid.storage import (
    catalog,
    customers,
    meters,
    subscriptions,
    usage,
    usage_readings,
    usage_totals,
)
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter
from postpaid.storage.usage_totals import Window

SERIES_MAX = 100_000  # of one report: a customer's usage of one meter is a series
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Used:
    """What a customer used of a meter, as it was counted: negative too.

    ``amount`` is what it would be billed for by itself, in minor units, and ``currency`` theirs;
    None where there is no price, or the quantity is beyond what can be billed.
    """

    customer_id: str
    meter: Meter
    quantity: Decimal
    total: UsageTotal = NO_USAGE
    amount: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class MeterReport:
    """A meter's usage by customer, of those that used it then, and of all of them together.

    Together it is the average of all events, or the greatest of them, where the meter has these;
    otherwise what the customers' usage adds up to. So do the amounts.
    """

    meter: Meter
    quantity: Decimal
    amount: int | None
    currency: str | None
    by_customer: Sequence[Used]


@dataclass(frozen=True, slots=True)
class SubscriptionReport:
    """A customer's usage of meters, as the subscription bills it or else the meters' prices do."""

    subscription: Subscription
    start: datetime
    end: datetime
    used: Sequence[Used]

    @property
    def amount(self) -> int | None:
        """What it all comes to in minor units, where it is of one currency."""
        if len({each.currency for each in self.used} - {None}) > 1:
            return None
        return sum(each.amount for each in self.used if each.amount is not None)


def added(used: Iterable[Used | MeterReport]) -> Decimal:
    """Their quantities together, whatever they are quantities of."""
    with localcontext(EXACT):
        return sum((each.quantity for each in used), ZERO)


def report_usage(
    conn: Connection,
    act: Act,
    about: Sequence[Meter],
    start: datetime,
    end: datetime,
    *,
    customer_id: str | None = None,
) -> list[MeterReport]:
    """What was used of each of the meters in ``[start, end)``, by all customers or by one.

    A few statements, and one more for each aggregation that totals do not tell. Of a level, what is
    counted ends at the customer's present. Raises ``InvalidRequest`` for an end that is not after
    the start, and for more customers and meters than a report can have.
    """
    if end <= start:
        raise InvalidRequest("The end must be after the start.", param="to")
    # Read.
    meter_by_id = {each.id: each for each in about}
    series = usage.list_series(
        conn, act.account_id, meter_by_id, customer_id=customer_id, limit=SERIES_MAX + 1
    )
    if len(series) > SERIES_MAX:
        raise InvalidRequest(
            f"More than {SERIES_MAX} customers have used what is asked for; ask for one customer, "
            "or for one meter.",
            param="customer",
        )
    windows = [Window(owner_id, meter_id, start, end) for owner_id, meter_id in series]
    prices = catalog.load_prices(
        conn, act.account_id, {each.price_id for each in about if each.price_id is not None}
    )
    used = _count(conn, act, windows, meter_by_id)

    # Decide.
    by_meter: dict[str, list[Used]] = {}
    for each in used:
        priced = _priced(each, prices.get(each.meter.price_id or ""))
        by_meter.setdefault(each.meter.id, []).append(priced)
    return [
        _together(each, by_meter.get(each.id, []), prices.get(each.price_id or ""))
        for each in about
    ]


def report_subscription(
    conn: Connection,
    act: Act,
    subscription_id: str,
    window: tuple[datetime, datetime] | None = None,
) -> SubscriptionReport:
    """What the subscription's customer used in the period that it is in, or in ``window``.

    What a metered item of it bills is rated by that item's price, and all else by its meter's own.
    Raises ``NotFound`` and what ``report_usage`` does.
    """
    # Read.
    found = subscriptions.load(conn, act.account_id, [subscription_id]).get(subscription_id)
    if found is None:
        raise NotFound.of("subscription", subscription_id, param="subscription")
    start, end = window or (
        min(item.period_start for item in found.items),
        max(item.period_end for item in found.items),
    )
    about = meters.list_all(conn, act.account_id)
    reports = report_usage(conn, act, about, start, end, customer_id=found.customer_id)
    prices = catalog.load_prices(
        conn, act.account_id, {item.billing_price_id for item in found.items}
    )

    # Decide.
    used: list[Used] = []
    for report in reports:
        one = report.by_customer[0] if report.by_customer else None
        one = one or _priced(Used(found.customer_id, report.meter, ZERO), None)
        agreed = [
            price
            for item in found.items
            if (price := prices[item.billing_price_id]).meter_id == report.meter.id
        ]
        used += [_priced(one, price) for price in agreed] or [one]
    return SubscriptionReport(found, start, end, used)


def _count(
    conn: Connection, act: Act, windows: Sequence[Window], meter_by_id: Mapping[str, Meter]
) -> list[Used]:
    """What was counted in each of the windows in which anything was."""
    combining = [each for each in windows if meter_by_id[each.meter_id].aggregation.combines]
    totals = usage_totals.totals(conn, act.account_id, combining)
    used = [
        Used(each.customer_id, meter, aggregated(meter.aggregation, total), total)
        for each, total in zip(combining, totals, strict=True)
        if total.count
        for meter in [meter_by_id[each.meter_id]]
    ]
    others = [each for each in windows if not meter_by_id[each.meter_id].aggregation.combines]
    return used + _read(conn, act, others, meter_by_id)


def _read(
    conn: Connection, act: Act, windows: Sequence[Window], meter_by_id: Mapping[str, Meter]
) -> list[Used]:
    """The same from the events: a statement for each aggregation, and time, that there is."""
    if not windows:
        return []
    clocks = customers.clocks(conn, act.account_id, sorted({each.customer_id for each in windows}))
    groups: dict[tuple[Aggregation, datetime], list[Window]] = {}
    for each in windows:
        now = clocks.get(each.customer_id) or act.now
        groups.setdefault((meter_by_id[each.meter_id].aggregation, now), []).append(each)
    used = []
    for (aggregation, now), asked in groups.items():
        found = usage_readings.read(conn, act.account_id, aggregation, asked, as_of=now)
        for reading in found.rows:
            window = asked[reading.place - 1]
            meter = meter_by_id[window.meter_id]
            used.append(Used(window.customer_id, meter, reading.quantity))
    return used


def _priced(used: Used, price: Price | None) -> Used:
    if price is None:
        return used
    return Used(
        used.customer_id,
        used.meter,
        used.quantity,
        used.total,
        bill(price.model, billable(used.quantity)),
        price.currency,
    )


def _together(meter: Meter, used: Sequence[Used], price: Price | None) -> MeterReport:
    amounts = [each.amount for each in used if each.amount is not None]
    known = price is not None and len(amounts) == len(used)
    return MeterReport(
        meter,
        _whole(meter.aggregation, used),
        sum(amounts) if known else None,
        price.currency if price is not None else None,
        used,
    )


def _whole(aggregation: Aggregation, used: Iterable[Used]) -> Decimal:
    if aggregation not in (Aggregation.AVERAGE, Aggregation.MAX):
        return added(used)
    with localcontext(EXACT):
        total = NO_USAGE
        for each in used:
            total = total.combine(each.total)
        return aggregated(aggregation, total)
