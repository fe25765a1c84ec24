"""Accept usage, once each: one path for one event and for many, from wherever they come.

Events come as columns and leave as a few statements. Every event gets its own outcome, so that a
bad one costs the others nothing. Storing it, counting it and what follows from the new total are
one transaction: an event that was answered is in every total that is read from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from postpaid.billing.check_usage import (
    Checked,
    Reported,
    check_usage,
    give_keys,
    instant,
    milliseconds,
    pairs_of,
)
from postpaid.billing.perform import Act
from postpaid.billing.roll_up import apply, bucket_of, roll_up
from postpaid.billing.stop_usage import stop_usage
from postpaid.billing.watch_usage import watch_windows
from postpaid.core.errors import AlreadyExists, BillingError
from postpaid.core.metering import Aggregation
from postpaid.core.values import replace
from postpaid.storage import (
    alerts,
    meters,
    usage,
    usage_backfills,
    usage_conflicts,
    usage_corrections,
)
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter
from postpaid.storage.usage_corrections import Bucket
from postpaid.storage.usage_totals import Watched

__all__ = ["OutcomeKind", "Recorded", "Reported", "record_usage"]

_encode = msgspec.json.encode


class OutcomeKind(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"  # stored and counted
    DUPLICATE = "duplicate"  # its identifier is stored, with the same content: counted before
    CONFLICT = "conflict"  # its identifier is stored with other content; not counted, but kept
    REJECTED = "rejected"  # it could not be understood; not counted


@dataclass(slots=True)
class Recorded:
    """What became of each event, as columns in the order in which they were reported.

    ``references`` are the identifiers, ours where none was given. ``occurred_ms`` is when what is
    stored occurred, in milliseconds since the epoch, 0 where nothing is. ``errors`` says by place
    why an event was not accepted. ``meter_by_name`` are the meters of all the events' names, and
    ``received_ms`` is when what is accepted now arrived, by its customer's time.
    """

    kinds: list[OutcomeKind]
    references: list[str]
    occurred_ms: list[int]
    errors: dict[int, BillingError]
    meter_by_name: Mapping[str, Meter] = field(default_factory=dict)
    received_ms: list[int] = field(default_factory=list)


def record_usage(
    conn: Connection,
    act: Act,
    reported: Reported,
    *,
    backfill_id: str | None = None,
    actors: Sequence[str] | None = None,
) -> Recorded:
    """Store the events that are new and right, and say of each what became of it.

    An identifier counts once, for as long as events are kept, whatever its timestamp. What is
    reported to a backfill is stored, and does not count until the backfill is closed; the caller
    has it from ``backfill_usage.check_open``. ``actors`` are who reported each event, where that is
    not the act's alone.
    """
    # Read.
    usage.begin_storing(conn, act.account_id)
    meter_by_name = meters.load_by_event_names(
        conn, act.account_id, list(set(reported.event_names))
    )
    give_keys(reported, meter_by_name)
    series_by_pair = usage.load_series(conn, act.account_id, pairs_of(reported, meter_by_name))
    backfill = (
        None if backfill_id is None else usage_backfills.find(conn, act.account_id, backfill_id)
    )

    # Decide.
    checked, references, errors = check_usage(
        act, reported, meter_by_name, series_by_pair, backfill=backfill
    )
    if backfill_id is None and any(each.is_limited for each in series_by_pair.values()):
        by_id = {meter.id: meter for meter in meter_by_name.values()}
        stopped = stop_usage(conn, act, checked, by_id)
        errors |= {checked.places[i]: error for i, error in stopped.items()}
        checked = _at(checked, [i for i in range(len(checked.places)) if i not in stopped])
    recorded = Recorded(
        kinds=[OutcomeKind.ACCEPTED] * len(references),
        references=references,
        occurred_ms=[0] * len(references),
        errors=errors,
        meter_by_name=meter_by_name,
        received_ms=[0] * len(references),
    )
    for place in errors:
        recorded.kinds[place] = OutcomeKind.REJECTED
    if not checked.places:
        return recorded
    new, repeated = _first_of_each(checked)

    # Write.
    meter_by_id = {meter.id: meter for meter in meter_by_name.values()}
    _make_series(conn, act, new)
    refused = _store(conn, act, new, meter_by_id, backfill_id)
    if refused or repeated.places:
        stored = _without(new, refused)
        _tell_repeats(conn, act, reported, recorded, new, refused, repeated, actors)
    else:
        stored = new
    for place, occurred_ms, received_ms in zip(
        stored.places, stored.occurred_ms, stored.received_ms, strict=True
    ):
        recorded.occurred_ms[place] = occurred_ms
        recorded.received_ms[place] = received_ms
    if backfill_id is None and stored.places:
        watched = _count(conn, act, stored, meter_by_id)
        if watched:
            owners = {each.series_id: (each.customer_id, each.meter_id) for each in stored.series}
            watch_windows(conn, act, watched, owners, _aggregations(stored, meter_by_id))
    return recorded


# ─── Storing ─────────────────────────────────────────────────────────────────────────────────


def _first_of_each(checked: Checked) -> tuple[Checked, Checked]:
    """The events apart from those that repeat the reference of one before them, and these."""
    if len(set(checked.references)) == len(checked.references):
        return checked, Checked()
    seen: set[str] = set()
    again = set()
    for i, reference in enumerate(checked.references):
        if reference in seen:
            again.add(i)
        seen.add(reference)
    count = len(checked.references)
    return (
        _at(checked, [i for i in range(count) if i not in again]),
        _at(checked, sorted(again)),
    )


def _make_series(conn: Connection, act: Act, new: Checked) -> None:
    """Give those series an id that are counted for the first time."""
    missing = {(s.customer_id, s.meter_id): s for s in new.series if not s.series_id}
    if not missing:
        return
    ids, made = usage.make_series(conn, act.account_id, sorted(missing))
    for pair, series in missing.items():
        series.series_id = ids[pair]
    if made:
        alerts.open_all_time_of_new(conn, act.account_id, made)


def _store(
    conn: Connection,
    act: Act,
    new: Checked,
    meter_by_id: Mapping[str, Meter],
    backfill_id: str | None,
) -> set[str]:
    """Insert the events; return the references that are stored already."""
    columns = usage.UsageColumns(
        references=new.references,
        series_ids=[series.series_id for series in new.series],
        occurred_ms=new.occurred_ms,
        received_ms=new.received_ms,
        values=new.values,
        payloads=new.payloads,
    )
    if any(meter.event_time_window for meter in meter_by_id.values()):
        waits = [bool(meter_by_id[s.meter_id].event_time_window) for s in new.series]
        usage.lock_series(
            conn, {s.series_id for s, wait in zip(new.series, waits, strict=True) if wait}
        )
        arrivals = iter(usage.next_arrivals(conn, sum(waits)))
        columns.arrivals = [next(arrivals) if wait else None for wait in waits]
    return usage.insert_many(conn, act.account_id, columns, backfill_id=backfill_id)


def _without(new: Checked, refused: set[str]) -> Checked:
    if not refused:
        return new
    return _at(new, [i for i, reference in enumerate(new.references) if reference not in refused])


def _at(checked: Checked, indices: Sequence[int]) -> Checked:
    return Checked(
        places=[checked.places[i] for i in indices],
        references=[checked.references[i] for i in indices],
        series=[checked.series[i] for i in indices],
        occurred_ms=[checked.occurred_ms[i] for i in indices],
        received_ms=[checked.received_ms[i] for i in indices],
        values=[checked.values[i] for i in indices],
        payloads=[checked.payloads[i] for i in indices],
    )


# ─── Counting ────────────────────────────────────────────────────────────────────────────────


def _count(
    conn: Connection, act: Act, stored: Checked, meter_by_id: Mapping[str, Meter]
) -> list[Watched]:
    """Add the events to the totals; return the windows that alerts wait for."""
    aggregations = _aggregations(stored, meter_by_id)
    if not any(meter.event_time_window for meter in meter_by_id.values()):
        return roll_up(
            conn,
            [series.series_id for series in stored.series],
            stored.occurred_ms,
            stored.values,
            stored.references,
            aggregations,
        )
    at_once = []
    arrived: dict[Bucket, str] = {}
    for i, series in enumerate(stored.series):
        window = meter_by_id[series.meter_id].event_time_window
        if window is None:
            at_once.append(i)
            continue
        bucket = bucket_of(series.series_id, stored.occurred_ms[i], window)
        arrived[bucket] = stored.references[i]
    watched = []
    if at_once:
        columns = _at(stored, at_once)
        watched += roll_up(
            conn,
            [series.series_id for series in columns.series],
            columns.occurred_ms,
            columns.values,
            columns.references,
            {series.series_id: aggregations[series.series_id] for series in columns.series},
        )
    if arrived:
        flipped = usage_corrections.supersede(conn, act.account_id, arrived)
        watched += apply(conn, flipped, aggregations)
    return watched


def _aggregations(stored: Checked, meter_by_id: Mapping[str, Meter]) -> dict[int, Aggregation]:
    by_meter = {meter.id: meter.aggregation for meter in meter_by_id.values()}
    return {series.series_id: by_meter[series.meter_id] for series in stored.series}


# ─── Repeats ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Content:
    """What must be the same in a repeat."""

    customer_id: str
    meter_id: str
    value: object
    payload: object
    occurred_ms: int


def _tell_repeats(
    conn: Connection,
    act: Act,
    reported: Reported,
    recorded: Recorded,
    new: Checked,
    refused: set[str],
    repeated: Checked,
    actors: Sequence[str] | None,
) -> None:
    """Say of every event whose reference is taken if it says the same as the first that had it."""
    first = {
        reference: _Content(
            event.customer_id,
            event.meter_id,
            event.value,
            _decoded(event.payload),
            milliseconds(event.occurred_at),
        )
        for reference, event in usage.load(conn, act.account_id, refused).items()
    }
    for i, reference in enumerate(new.references):
        first.setdefault(reference, _content(new, i))
    conflicts = []
    for columns in (new, repeated):
        for i, (place, reference) in enumerate(
            zip(columns.places, columns.references, strict=True)
        ):
            if columns is new and reference not in refused:
                continue
            before, now = first[reference], _content(columns, i)
            if reported.timestamps[place] is None:
                now = replace(now, occurred_ms=before.occurred_ms)
            same = before == now
            recorded.kinds[place] = OutcomeKind.DUPLICATE if same else OutcomeKind.CONFLICT
            recorded.occurred_ms[place] = before.occurred_ms
            recorded.errors[place] = AlreadyExists(
                f"An event already exists with identifier {reference}.",
                param="identifier",
                code="resource_already_exists",
            )
            if not same:
                conflicts.append(
                    usage_conflicts.UsageConflict(
                        id=act.new_id("mtcon"),
                        reference=reference,
                        event_name=reported.event_names[place],
                        customer_id=now.customer_id,
                        occurred_at=instant(now.occurred_ms),
                        value=f"{now.value:f}",
                        payload=_encode(reported.payloads[place]).decode(),
                        received_at=instant(columns.received_ms[i]),
                        actor=actors[place] if actors else act.actor,
                    )
                )
    if conflicts:
        usage_conflicts.insert_many(conn, act.account_id, conflicts)


def _content(columns: Checked, i: int) -> _Content:
    series = columns.series[i]
    return _Content(
        series.customer_id,
        series.meter_id,
        columns.values[i],
        _decoded(columns.payloads[i]),
        columns.occurred_ms[i],
    )


def _decoded(payload: str | None) -> object:
    return None if payload is None else msgspec.json.decode(payload)
