"""Rejected events, counted by meter and reason in windows of a few seconds, until reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from postpaid.storage.database import Connection

SAMPLES_MAX = 5
_TAKING = 8420_0004  # class of advisory locks


@dataclass(frozen=True, slots=True)
class Sample:
    """One rejected event: why, and its identifier."""

    error_message: str
    identifier: str


@dataclass(frozen=True, slots=True)
class Rejections:
    """How many events of a meter were rejected for one reason, and the first few of them.

    ``meter_id`` is empty where no meter has the events' name.
    """

    meter_id: str
    code: str
    count: int
    samples: tuple[Sample, ...]


# In order, so that two batches wait for one another and never deadlock.
ADD = """
INSERT INTO usage_rejections AS r (account_id, window_start, meter_id, code, count, samples)
SELECT %(account_id)s, %(window_start)s, meter_id, code, count, samples
  FROM unnest(%(meter_ids)s::text[], %(codes)s::text[], %(counts)s::bigint[], %(samples)s::json[])
       AS u (meter_id, code, count, samples)
 ORDER BY meter_id COLLATE "C", code COLLATE "C"
    ON CONFLICT (account_id, window_start, meter_id, code) DO UPDATE
   SET count = r.count + excluded.count,
       samples = CASE WHEN json_array_length(r.samples) >= %(samples_max)s THEN r.samples
                      ELSE (SELECT json_agg(s.sample ORDER BY s.place)
                              FROM (SELECT e.sample, e.place
                                      FROM json_array_elements(r.samples)
                                           WITH ORDINALITY AS e (sample, place)
                                     UNION ALL
                                    SELECT e.sample, %(samples_max)s + e.place
                                      FROM json_array_elements(excluded.samples)
                                           WITH ORDINALITY AS e (sample, place)
                                     ORDER BY place
                                     LIMIT %(samples_max)s) AS s) END
"""


def add(
    conn: Connection, account_id: int, rejections: Sequence[Rejections], *, window_start: datetime
) -> None:
    """Add to what the window has; each meter and code comes once, with at most a few samples."""
    if not rejections:
        return
    conn.execute(
        ADD,
        {
            "account_id": account_id,
            "window_start": window_start,
            "meter_ids": [each.meter_id for each in rejections],
            "codes": [each.code for each in rejections],
            "counts": [each.count for each in rejections],
            "samples": [msgspec.json.encode(each.samples).decode() for each in rejections],
            "samples_max": SAMPLES_MAX,
        },
    )


OLDEST = """
SELECT min(window_start)
  FROM usage_rejections
 WHERE account_id = %(account_id)s
"""


def oldest(conn: Connection, account_id: int) -> datetime | None:
    """The start of the oldest window that has not been reported."""
    row = conn.execute(OLDEST, {"account_id": account_id}).fetchone()
    return row[0] if row else None


# One worker at a time, so that a window is not divided between two; the other finds nothing.
TAKE = """
WITH claim AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(%(lock)s, %(account_id)s) AS ours
)
DELETE FROM usage_rejections
 WHERE account_id = %(account_id)s
   AND window_start = %(window_start)s
   AND (SELECT ours FROM claim)
RETURNING meter_id, code, count, samples::text
"""


def take(conn: Connection, account_id: int, window_start: datetime) -> list[Rejections]:
    """Remove what the window has and return it, by meter and then most frequent first.

    Nothing while another transaction is taking some of the account's. What is added later begins
    the window anew.
    """
    parameters = {"account_id": account_id, "window_start": window_start, "lock": _TAKING}
    taken = [
        Rejections(meter_id, code, count, msgspec.json.decode(samples, type=tuple[Sample, ...]))
        for meter_id, code, count, samples in conn.execute(TAKE, parameters)
    ]
    return sorted(taken, key=lambda each: (each.meter_id, -each.count, each.code))
