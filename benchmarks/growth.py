"""The same work on a database that holds nothing, and on one that holds millions of events."""

from __future__ import annotations

from benchmarks import load
from benchmarks.figures import Figure
from benchmarks.read_usage import read
from benchmarks.server import serving
from benchmarks.single_events import CONNECTIONS, singles
from benchmarks.store_a_batch import over_http
from benchmarks.world import World, metering_world
from postpaid import clock
from postpaid.storage import usage, usage_segments
from postpaid.storage.database import Connection, Database

CUSTOMERS = 1_000
SEGMENT = 5_000_000  # events in a sealed segment
PROCESSES = 2

# Random identifiers, the hardest kind: each lands on another page of an index.
FILL = """
INSERT INTO usage_events (segment, account_id, reference, series_id, occurred_at, received_at,
                          value)
SELECT %(segment)s, %(account_id)s, md5(n::text), s.series_id,
       %(now)s - (n %% 2000000) * interval '1 second', %(now)s, 1
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
  JOIN (SELECT series_id, row_number() OVER (ORDER BY series_id) - 1 AS place
          FROM usage_series) AS s
    ON s.place = n %% %(customers)s
"""

ROLL_UP = """
INSERT INTO usage_hours AS h (series_id, hour, sum, count)
SELECT series_id, date_trunc('hour', occurred_at, 'UTC'), sum(value), count(*)
  FROM usage_events
 WHERE segment = %(segment)s
 GROUP BY 1, 2
    ON CONFLICT (series_id, hour) DO UPDATE
   SET sum = h.sum + excluded.sum, count = h.count + excluded.count
"""


def run(url: str, scale: float, stored: tuple[int, ...] = (1_000_000, 10_000_000)) -> list[Figure]:
    """Each figure beside that of an empty database; ``stored`` says how many events there are."""
    database = Database(url)
    world = metering_world(database, customers=CUSTOMERS)
    figures: list[Figure] = []
    empty = _measure(url, database, world, scale)
    held = 0
    for target in stored:
        _fill(database, world, held, target)
        held = target
        found = _measure(url, database, world, scale)
        for name, (value, unit, detail) in found.items():
            figures.append(
                Figure(
                    f"{name}, {target:,} events stored",
                    value,
                    unit,
                    empty[name][0],
                    "the same with none",
                    "0.8 of it",
                    f"{detail} (none: {empty[name][2]})" if detail else "",
                )
            )
    database.close()
    return figures


def _measure(
    url: str, database: Database, world: World, scale: float
) -> dict[str, tuple[float, str, str]]:
    with serving(url, workers=PROCESSES) as (host, port):
        over_http(host, port, world, 8)
        batches = over_http(host, port, world, max(8, int(60 * scale)))
        load.run(host, port, singles(world, 1_000), connections=CONNECTIONS)
        requests = singles(world, max(1_000, int(15_000 * scale)))
        single = load.run(host, port, requests, connections=CONNECTIONS)
        reads = read(host, port, database, world, max(500, int(3_000 * scale)))
    return {
        "batches of 5,000": (batches, "events/s", ""),
        "single events": (single.per_s, "requests/s", single.percentiles),
        **{each.work: (each.value, each.unit, each.detail) for each in reads},
    }


def _fill(database: Database, world: World, held: int, target: int) -> None:
    """Store events until there are ``target``, in sealed and indexed segments."""
    while held < target:
        last = min(target, held + SEGMENT)
        with database.transaction() as conn:
            _fill_one(conn, world, held, last)
        held = last
    with database.connection() as conn:
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")


def _fill_one(conn: Connection, world: World, first: int, last: int) -> None:
    now = clock.now()
    segment = usage_segments.find_open(conn).segment
    parameters = {
        "segment": segment,
        "account_id": world.act.account_id,
        "now": now,
        "first": first + 1,
        "last": last,
        "customers": CUSTOMERS,
    }
    conn.execute(FILL, parameters)
    conn.execute(ROLL_UP, parameters)
    usage.hold_segments(conn)
    usage_segments.rotate(conn, segment, now=now)
    usage_segments.index(conn, segment)
