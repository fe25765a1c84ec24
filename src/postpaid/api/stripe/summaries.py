"""What a meter has counted for a customer, by the whole, by the window and by dimension."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import islice
from typing import Annotated, Any, Literal

import msgspec
from annotated_types import MaxLen

from postpaid.api.instants import seconds
from postpaid.api.params import Id, Text, TextMap, Timestamp, zone_names
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.core.calendar_windows import Step, is_boundary, windows_between
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.metering import aggregated
from postpaid.core.money import plain
from postpaid.core.periods import zone_called
from postpaid.storage import customers, meters, usage_readings, usage_totals
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter
from postpaid.storage.paging import Rows
from postpaid.storage.usage_readings import GROUP_KEYS_MAX, Cut, Selection
from postpaid.storage.usage_totals import Window

routes = Routes("Usage")

MINUTE = timedelta(minutes=1)
WINDOWS_MAX = 10_000  # more than a year of hours
SHORTEST = {
    Step.HOUR: timedelta(minutes=30),
    Step.DAY: timedelta(hours=20),
    Step.MONTH: timedelta(days=27),
}

Dimension = Annotated[str, Text(100)]


class SummaryList(ListParams):
    customer: Id
    end_time: Timestamp
    start_time: Timestamp
    dimension_filters: Annotated[dict[str, str], TextMap(20, 100, 500)] | None = None
    group_by: Annotated[list[Dimension], MaxLen(GROUP_KEYS_MAX)] | None = None
    time_zone: Annotated[str, Text(100)] | None = None
    value_grouping_window: Literal["hour", "day", "month"] | None = None

    @property
    def selection(self) -> Selection:
        return Selection(self.dimension_filters or {}, tuple(self.group_by or ()))


@routes.get(
    "/v1/billing/meters/{meter}/event_summaries", returns="billing.meter_event_summary", many=True
)
def list_summaries(call: Call, params: SummaryList, meter: str) -> dict[str, Any]:
    """What the meter counted for a customer in ``[start_time, end_time)``.

    One summary for the whole range, or with ``value_grouping_window`` one for every hour, day or
    month in which there was usage, newest first. Ours are the month, ``time_zone``,
    ``dimension_filters`` and ``group_by``, which makes a summary of each combination of dimensions.
    """
    ranges = _range(params)
    cursor = _cursor(params)

    def read(conn: Connection) -> dict[str, Any]:
        found = meters.find(conn, call.act.account_id, meter)
        if found is None:
            raise NotFound.of("meter", meter)
        customer = customers.load(conn, call.act.account_id, [params.customer]).get(params.customer)
        if customer is None:
            raise NotFound.of("customer", params.customer, param="customer")
        _check_dimensions(params, found)
        summaries = _summaries(
            conn,
            call.act.account_id,
            params,
            found,
            ranges,
            cursor,
            now=customer.now(call.act.now),
        )
        return listing(
            f"/v1/billing/meters/{meter}/event_summaries",
            summaries,
            lambda each: to_stripe(each, params, found, livemode=call.act.livemode),
        )

    return call.read(read)


# ─── What is asked for ───────────────────────────────────────────────────────────────────────


def _range(params: SummaryList) -> Sequence[tuple[datetime, datetime]]:
    """The windows asked for, oldest first. Raises ``InvalidRequest``."""
    zone = _zone(params)
    step = Step(params.value_grouping_window) if params.value_grouping_window else None
    for name in ("start_time", "end_time"):
        at = getattr(params, name)
        aligned = is_boundary(at, step, zone) if step else not at.timestamp() % 60
        if not aligned:
            raise InvalidRequest(
                f"{name} must be aligned with {step or 'minute'} boundaries in "
                f"{params.time_zone or 'UTC'}.",
                param=name,
            )
    if params.end_time <= params.start_time:
        raise InvalidRequest("end_time must be after start_time.", param="end_time")
    if step is None:
        return [(params.start_time, params.end_time)]
    if (params.end_time - params.start_time) < WINDOWS_MAX * 2 * SHORTEST[step]:
        windows = windows_between(params.start_time, params.end_time, step, zone)
        some = list(islice(windows, WINDOWS_MAX + 1))
        if len(some) <= WINDOWS_MAX:
            return some
    raise InvalidRequest(
        f"The range has more than {WINDOWS_MAX} windows; ask for a shorter one or for longer "
        "windows.",
        param="value_grouping_window",
    )


def _zone(params: SummaryList) -> tzinfo:
    if params.time_zone is None:
        return UTC
    if params.value_grouping_window is None:
        raise InvalidRequest(
            "time_zone says where windows begin, so value_grouping_window is needed with it.",
            param="time_zone",
        )
    if params.time_zone not in zone_names():
        raise InvalidRequest(
            f"Invalid time zone: {params.time_zone}; must be a name of the IANA time zone "
            "database, like Europe/Berlin.",
            param="time_zone",
        )
    return zone_called(params.time_zone)


def _check_dimensions(params: SummaryList, meter: Meter) -> None:
    """Raises ``InvalidRequest`` for keys that are no dimensions, or named twice."""
    group_by = params.group_by or []
    for place, key in enumerate(group_by):
        if key in group_by[:place]:
            raise InvalidRequest(f"The key '{key}' is there twice.", param=("group_by", place))
        _check_dimension(key, meter, ("group_by", place))
    for key in params.dimension_filters or {}:
        _check_dimension(key, meter, ("dimension_filters", key))


def _check_dimension(key: str, meter: Meter, param: tuple[str | int, ...]) -> None:
    if key in (meter.customer_key, meter.value_key):
        raise InvalidRequest(
            f"The key '{key}' holds the customer or the value of this meter, so it is no "
            "dimension.",
            param=param,
        )


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a list goes on: at the window that starts there, after its group."""

    start: datetime
    group: int | None


_SUMMARY_ID = re.compile(r"mtrusg_[0-9a-f]{14}([0-9a-f]{15})?([0-9]{10})")


def _cursor(params: SummaryList) -> _Cursor | None:
    """What the cursor's id says. Raises ``NotFound`` for one that is no summary of such a list."""
    name = "starting_after" if params.starting_after is not None else "ending_before"
    summary_id = params.starting_after or params.ending_before
    if summary_id is None:
        return None
    parts = _SUMMARY_ID.fullmatch(summary_id)
    if parts is None or bool(parts[1]) != bool(params.group_by):
        raise NotFound.of("meter event summary", summary_id, param=name)
    start = datetime.fromtimestamp(int(parts[2]), UTC)
    return _Cursor(start, int(parts[1], 16) if parts[1] else None)


# ─── Reading ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Summary:
    """What was counted in a window, or of one combination of dimensions in it; negative too."""

    start: datetime
    end: datetime
    quantity: Decimal
    group: int = 0
    dimensions: tuple[str | None, ...] = ()


def _summaries(
    conn: Connection,
    account_id: int,
    params: SummaryList,
    meter: Meter,
    ranges: Sequence[tuple[datetime, datetime]],
    cursor: _Cursor | None,
    *,
    now: datetime,
) -> Rows[Summary]:
    """The page, newest first. Totals tell it where they can, and the events otherwise."""
    if meter.aggregation.combines and not params.selection:
        if params.value_grouping_window in usage_totals.STEPS and params.time_zone in (None, "UTC"):
            return _of_utc_steps(conn, account_id, params, meter, cursor)
        read = _of_totals
    else:
        read = _of_events
    windows = [
        Window(params.customer, meter.id, start, end)
        for start, end in _in_order(ranges, params, cursor)
    ]
    page = read(conn, account_id, params, meter, windows, cursor, now)
    rows = page.rows
    if not rows and len(ranges) == 1 and cursor is None and not params.value_grouping_window:
        # Stripe: without a grouping window there is one summary, whether or not there was usage.
        rows = [] if params.group_by else [Summary(*ranges[0], Decimal(0))]
    return Rows(rows[::-1] if params.ending_before else rows, page.has_more)


def _in_order(
    ranges: Sequence[tuple[datetime, datetime]], params: SummaryList, cursor: _Cursor | None
) -> Iterable[tuple[datetime, datetime]]:
    """The windows that may be on the page, from the cursor on: backwards in time, or forwards."""
    backwards = params.ending_before is None
    ordered = reversed(ranges) if backwards else iter(ranges)
    for window in ordered:
        if cursor is not None:
            beyond = window[0] < cursor.start if backwards else window[0] > cursor.start
            if not beyond and (cursor.group is None or window[0] != cursor.start):
                continue
        yield window


def _of_utc_steps(
    conn: Connection,
    account_id: int,
    params: SummaryList,
    meter: Meter,
    cursor: _Cursor | None,
) -> Rows[Summary]:
    assert params.value_grouping_window in ("hour", "day")
    step = usage_totals.STEPS[params.value_grouping_window]
    start = cursor.start if cursor else None
    grouped = usage_totals.totals_by_step(
        conn,
        account_id,
        Window(params.customer, meter.id, params.start_time, params.end_time),
        step=params.value_grouping_window,
        limit=params.limit,
        before=start if params.starting_after else None,
        after=start if params.ending_before else None,
    )
    found = [
        Summary(at, at + step, aggregated(meter.aggregation, total)) for at, total in grouped.rows
    ]
    return Rows(found, grouped.has_more)


def _of_totals(
    conn: Connection,
    account_id: int,
    params: SummaryList,
    meter: Meter,
    windows: Sequence[Window],
    cursor: _Cursor | None,
    now: datetime,
) -> Rows[Summary]:
    if len(windows) == 1:  # it may be one that is billed, which is a single row
        totals = usage_totals.totals(conn, account_id, windows)
        page = Rows([(1, total) for total in totals if total.count], has_more=False)
    else:
        page = usage_readings.page_of_totals(conn, account_id, windows, limit=params.limit)
    found = [
        Summary(
            windows[place - 1].start,
            windows[place - 1].end,
            aggregated(meter.aggregation, total),
        )
        for place, total in page.rows
    ]
    return Rows(found, page.has_more)


def _of_events(
    conn: Connection,
    account_id: int,
    params: SummaryList,
    meter: Meter,
    windows: Sequence[Window],
    cursor: _Cursor | None,
    now: datetime,
) -> Rows[Summary]:
    within = bool(cursor and windows and windows[0].start == cursor.start)
    page = usage_readings.read(
        conn,
        account_id,
        meter.aggregation,
        windows,
        as_of=now,
        selection=params.selection,
        cut=Cut(
            params.limit,
            cursor.group if cursor and within else None,
            backwards=params.ending_before is not None,
        ),
    )
    found = [
        Summary(
            windows[each.place - 1].start,
            windows[each.place - 1].end,
            each.quantity,
            each.group,
            each.dimensions,
        )
        for each in page.rows
    ]
    return Rows(found, page.has_more)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(
    summary: Summary, params: SummaryList, meter: Meter, *, livemode: bool
) -> dict[str, Any]:
    """A summary. Ours are the exact ``aggregated_value_decimal`` and the ``dimensions``."""
    return {
        "id": _summary_id(summary, params, meter),
        "object": "billing.meter_event_summary",
        "aggregated_value": _number(summary.quantity),
        "aggregated_value_decimal": plain(summary.quantity),
        "dimensions": dict(zip(params.group_by or (), summary.dimensions, strict=True)),
        "end_time": seconds(summary.end),
        "livemode": livemode,
        "meter": meter.id,
        "start_time": seconds(summary.start),
    }


def _number(value: Decimal) -> msgspec.Raw:
    """An exact JSON number; with a point, as Stripe writes it, so that clients read a float."""
    text = plain(value)
    return msgspec.Raw((text if "." in text else f"{text}.0").encode())


def _summary_id(summary: Summary, params: SummaryList, meter: Meter) -> str:
    """An id that says which window and group it is, so that it can be a cursor."""
    what = [meter.id, params.customer, summary.end.isoformat()]
    what += [text for pair in sorted(params.selection.filters.items()) for text in pair]
    what += params.selection.group_by
    digest = hashlib.sha256("/".join(what).encode()).hexdigest()[:14]
    group = f"{summary.group:015x}" if params.group_by else ""
    return f"mtrusg_{digest}{group}{int(summary.start.timestamp()):010d}"
