"""Keep storing as quick as on the first day: seal what is full, and index what is sealed."""

from __future__ import annotations

from datetime import datetime, timedelta

from postpaid.core.errors import Conflict, InvalidRequest
from postpaid.storage import usage, usage_segments
from postpaid.storage.database import Database

SEGMENT_BYTES = 1 << 30  # about ten million events
SEGMENT_AGE = timedelta(days=31)  # so that what is old can be dropped
KEPT_AT_LEAST = timedelta(days=60)  # longer than events arrive late, or are cancelled


def keep_segments(
    database: Database,
    *,
    now: datetime,
    bytes_max: int = SEGMENT_BYTES,
    age_max: timedelta = SEGMENT_AGE,
) -> int:
    """Seal the open segment if it is full or old, and index the sealed; return how much was done.

    Many processes may try: one of them does it.
    """
    done = 0
    with database.connection() as conn:
        before = usage_segments.list_all(conn)
    full = [
        each
        for each in before
        if each.status == "open"
        and (each.size >= bytes_max or (each.size and each.opened_at <= now - age_max))
    ]
    sealed = [each.segment for each in before if each.status == "sealed"]
    if not full and not sealed:
        return 0
    with database.exclusively("usage segments") as ours:
        if not ours:
            return 0
        for each in full:
            with database.transaction() as conn:
                usage.hold_segments(conn)
                done += usage_segments.rotate(conn, each.segment, now=now)
            sealed.append(each.segment)
        for segment in sealed:
            with database.transaction() as conn:
                usage.hold_references(conn)
                usage_segments.index(conn, segment)
            done += 1
    return done


def drop_segments(database: Database, *, before: datetime, now: datetime) -> list[int]:
    """Drop the raw events received before ``before``, as far as whole segments are that old.

    Totals, windows and invoices stay as they are; the identifiers may be used again. Events of
    meters whose totals cannot be corrected without them are kept, and those of open backfills.
    Nothing is stored while a segment is being dropped. Raises ``InvalidRequest`` for a time so
    recent that events may still arrive late or be cancelled, and ``Conflict`` when segments are
    being indexed.
    """
    if before > now - KEPT_AT_LEAST:
        raise InvalidRequest(
            f"Raw events are kept for at least {KEPT_AT_LEAST.days} days.", param="before"
        )
    with database.exclusively("usage segments") as ours:
        if not ours:
            raise Conflict("The segments of usage are being kept by another process; try again.")
        with database.connection() as conn:
            segments = usage_segments.list_all(conn)
        old = [
            each.segment
            for each in segments
            if each.status == "indexed" and each.sealed_at and each.sealed_at < before
        ]
        younger = [each.segment for each in segments if each.segment not in old]
        for segment in old:  # one at a time, because nobody stores meanwhile
            with database.transaction() as conn:
                usage.hold_segments(conn)
                usage_segments.drop(conn, segment, into=younger[0])
        with database.transaction() as conn:  # of one who died before this, too
            usage_segments.free_references(conn)
        return old
