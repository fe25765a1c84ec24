"""Tell the merchant of rejected usage: one report for each meter and ten seconds.

A single event that is wrong is refused to whoever sent it. Those in a batch or in the stream are
counted here instead, by the transaction that stores the others, and the worker makes an event of
them once their ten seconds are over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.perform import Act
from postpaid.core.errors import AlreadyExists, BillingError, NotFound
from postpaid.storage import meters, usage_rejections
from postpaid.storage.database import Connection, Database
from postpaid.storage.usage_rejections import SAMPLES_MAX, Rejections, Sample

WINDOW_S = 10  # Stripe
PATIENCE = timedelta(seconds=1)  # for requests that began in the window and are under way
NO_METER = "no_meter"


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """What was rejected of a meter's events in a window; without a meter, of unknown names."""

    id: str
    meter_id: str | None
    start_at: datetime
    end_at: datetime
    count: int
    reasons: tuple[Rejections, ...]


def note(
    conn: Connection,
    act: Act,
    event_names: Sequence[str],
    references: Sequence[str],
    errors: Mapping[int, BillingError],
) -> None:
    """Count the events that were rejected, to be reported; ``errors`` is by place.

    A repeat is not reported: it was counted before, or it is kept as a conflict.
    """
    rejected = {
        place: error for place, error in errors.items() if not isinstance(error, AlreadyExists)
    }
    if not rejected:
        return
    # Read.
    names = {event_names[place] for place in rejected}
    meter_by_name = meters.load_by_event_names(conn, act.account_id, sorted(names))

    # Decide.
    places: dict[tuple[str, str], list[int]] = {}
    for place, error in sorted(rejected.items()):
        meter = meter_by_name.get(event_names[place])
        code = NO_METER if error.code == NO_METER else _code(error)
        key = (meter.id if meter and code != NO_METER else "", code)
        places.setdefault(key, []).append(place)
    found = [
        Rejections(
            meter_id,
            code,
            len(of_kind),
            tuple(
                Sample(rejected[place].message, references[place])
                for place in of_kind[:SAMPLES_MAX]
            ),
        )
        for (meter_id, code), of_kind in places.items()
    ]

    # Write.
    usage_rejections.add(conn, act.account_id, found, window_start=_window_start(act.now))


def report_rejections(database: Database, act: Act) -> int:
    """Report the oldest window that is over, in an event for each meter; return how many."""
    over = act.now - timedelta(seconds=WINDOW_S) - PATIENCE
    with database.transaction() as conn:
        # Read.
        start = usage_rejections.oldest(conn, act.account_id)
        if start is None or start > over:
            return 0
        taken = usage_rejections.take(conn, act.account_id, start)

        # Decide.
        reports = [
            _report(act, meter_id, start, list(of_meter))
            for meter_id, of_meter in groupby(taken, key=lambda each: each.meter_id)
        ]

        # Write.
        announce(conn, act, [_announcement(report) for report in reports])
    return len(reports)


def _window_start(now: datetime) -> datetime:
    return now.replace(second=now.second - now.second % WINDOW_S, microsecond=0)


def _code(error: BillingError) -> str:
    """The reason as reports have it; where it differs, a single event gets another."""
    if isinstance(error, NotFound):
        return "meter_event_customer_not_found"
    return error.code or "invalid_event"


def _report(act: Act, meter_id: str, start: datetime, reasons: list[Rejections]) -> ErrorReport:
    return ErrorReport(
        id=act.new_id("mter"),
        meter_id=meter_id or None,
        start_at=start,
        end_at=start + timedelta(seconds=WINDOW_S),
        count=sum(each.count for each in reasons),
        reasons=tuple(reasons),
    )


def _announcement(report: ErrorReport) -> Announcement:
    happened = "no_meter_found" if report.meter_id is None else "error_report_triggered"
    return Announcement(
        f"billing.meter.{happened}", "meter_error_report", report.meter_id or "", report
    )
