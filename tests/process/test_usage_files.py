"""`postpaid usage import` and `export`: files of events in and out, and each event counted once."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import zstandard
from command import PATIENCE_S, POSTPAID, environment, run
from pyarrow import parquet

import database as databases
from postpaid import clock, export_usage, ids, import_usage, usage_files
from postpaid.billing import manage_customers, manage_keys, manage_meters
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import OutcomeKind
from postpaid.core.errors import InvalidRequest
from postpaid.core.metering import Aggregation
from postpaid.export_usage import Wanted
from postpaid.import_usage import Tally
from postpaid.serving import CannotRun
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from postpaid.usage_files import FileFormat, Layout, Source

NOW = clock.now()
TODAY = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
Totals = list[tuple[Any, ...]]


@dataclass
class Shop:
    """An account with two customers, a meter that adds up and one that counts texts."""

    database: Database
    account: Account
    customer_ids: list[str]
    folder: Path

    def call(self, i: int, **changes: Any) -> dict[str, Any]:
        """The i-th API call; no two are the same."""
        return {
            "event_name": "api_call",
            "identifier": f"evt_{i}",
            "timestamp": int((NOW - timedelta(minutes=i)).timestamp()),
            "payload": {"stripe_customer_id": self.customer_ids[i % 2], "value": f"{i}.5"},
        } | changes

    def calls(self, count: int, **changes: Any) -> list[dict[str, Any]]:
        return [self.call(i, **changes) for i in range(count)]

    def file(self, name: str, data: bytes | Sequence[dict[str, Any]]) -> Path:
        """A file with these bytes, or with a line for each of these events."""
        path = self.folder / name
        if not isinstance(data, bytes):
            data = b"".join(json.dumps(each).encode() + b"\n" for each in data)
        path.write_bytes(data)
        return path

    def load(self, path: Path, **options: Any) -> Tally:
        tally = Tally()
        import_usage.import_events(self.database, self.account, Source.at(path), tally, **options)
        return tally

    def dump(self, name: str, **wanted: Any) -> Path:
        path = self.folder / name
        with self.database.transaction() as conn:
            export_usage.export_events(
                conn, self.account.account_id, path, Layout.of(path), Wanted(**wanted)
            )
        return path

    def dumped(self, **wanted: Any) -> list[dict[str, Any]]:
        """The exported events, by identifier."""
        lines = self.dump("dumped.ndjson", **wanted).read_bytes().splitlines()
        return sorted(map(json.loads, lines), key=lambda event: event["identifier"])

    def totals(self) -> Totals:
        """What every series adds up to, in the engine's own roll-up."""
        with self.database.connection() as conn:
            return conn.execute(
                "SELECT s.customer_id, m.event_name, sum(h.sum), sum(h.count), max(h.last_at)"
                "  FROM usage_hours h JOIN usage_series s USING (series_id)"
                "  JOIN meters m ON m.id = s.meter_id AND m.account_id = s.account_id"
                " GROUP BY 1, 2 ORDER BY 1, 2"
            ).fetchall()


def counts(tally: Tally) -> tuple[int, ...]:
    """Accepted, duplicate, conflict, rejected."""
    return tuple(tally.counts[kind] for kind in OutcomeKind)


@pytest.fixture
def new_shop(server_url: str, tmp_path: Path) -> Iterator[Callable[[], Shop]]:
    """Make shops in databases of their own, whose customers and meters are the same."""
    ends: list[Any] = []
    customer_ids = [ids.new_id("cus"), ids.new_id("cus")]

    def make() -> Shop:
        clone = databases.clone(server_url)
        database = Database(clone.__enter__(), pool_size=2)
        ends.extend([lambda: clone.__exit__(None, None, None), database.close])
        folder = tmp_path / f"shop-{len(ends)}"
        folder.mkdir()
        with database.transaction() as conn:
            account = manage_keys.open_account(
                conn, manage_keys.FIRST_ACCOUNT, livemode=False, now=NOW
            )
            act = Act(account.account_id, False, "test", NOW, ids.new_id)
            for customer_id in customer_ids:
                given = Act(
                    account.account_id,
                    False,
                    "test",
                    NOW,
                    lambda prefix, own=customer_id: (  # type: ignore[misc]
                        own if prefix == "cus" else ids.new_id(prefix)
                    ),
                )
                manage_customers.create_customer(conn, given, {"name": "Ada"})
            for event_name, aggregation, value_key in (
                ("api_call", Aggregation.SUM, "value"),
                ("login", Aggregation.UNIQUE, "user"),
            ):
                manage_meters.create_meter(
                    conn,
                    act,
                    display_name=event_name,
                    event_name=event_name,
                    aggregation=aggregation,
                    customer_key="stripe_customer_id",
                    value_key=value_key,
                )
        return Shop(database, account, customer_ids, folder)

    yield make
    for end in reversed(ends):
        end()


@pytest.fixture
def shop(new_shop: Callable[[], Shop]) -> Shop:
    return new_shop()


# ─── Reading ─────────────────────────────────────────────────────────────────────────────────


def written(shop: Shop, kind: str, events: Sequence[dict[str, Any]]) -> Path:
    """The events in a file of this kind."""
    if kind.startswith("csv"):
        rows = ["event_name,identifier,timestamp,stripe_customer_id,value\r\n"]
        for each in events:
            payload = each["payload"]
            rows.append(
                f"{each['event_name']},{each['identifier']},{each['timestamp']},"
                f'"{payload["stripe_customer_id"]}",{payload["value"]}\r\n'
            )
        plain = "".join(rows).encode()
    else:
        plain = b"".join(json.dumps(each).encode() + b"\n" for each in events)
    if kind == "parquet":
        table = pyarrow.table(
            {
                "event_name": [each["event_name"] for each in events],
                "identifier": [each["identifier"] for each in events],
                "timestamp": pyarrow.array(
                    [1_000_000_000 * each["timestamp"] for each in events],
                    pyarrow.timestamp("ns", "UTC"),
                ),
                "stripe_customer_id": [e["payload"]["stripe_customer_id"] for e in events],
                "value": [Decimal(each["payload"]["value"]) for each in events],
            }
        )
        parquet.write_table(table, shop.folder / "events.parquet", row_group_size=3000)
        return shop.folder / "events.parquet"
    if kind.endswith(".gz"):
        plain = gzip.compress(plain)
    if kind.endswith(".zst"):
        plain = zstandard.ZstdCompressor().compress(plain)
    return shop.file(f"events.{kind}", plain)


@pytest.mark.parametrize(
    "kind", ["ndjson", "jsonl", "csv", "ndjson.gz", "csv.gz", "ndjson.zst", "csv.zst", "parquet"]
)
def test_a_file_is_read_and_read_again(shop: Shop, kind: str) -> None:
    events = shop.calls(7001)  # more than a batch
    path = written(shop, kind, events)
    first = shop.load(path)
    assert (counts(first), first.all_well) == ((7001, 0, 0, 0), True)
    totals = shop.totals()
    assert [(row[2], row[3]) for row in totals] == [
        (sum(Decimal(e["payload"]["value"]) for e in events[part::2]), len(events[part::2]))
        for part in (0, 1)
    ]
    again = shop.load(path)
    assert (counts(again), again.all_well) == ((0, 7001, 0, 0), True)
    assert shop.totals() == totals


def test_events_without_identifiers_count_once_for_each_place(shop: Shop) -> None:
    event = {name: value for name, value in shop.call(0).items() if name != "identifier"}
    timeless = {name: value for name, value in event.items() if name != "timestamp"}
    lines = [event, event, timeless]
    assert counts(shop.load(shop.file("a.ndjson", lines))) == (3, 0, 0, 0)
    assert counts(shop.load(shop.file("a.ndjson", lines))) == (0, 3, 0, 0)

    packed = gzip.compress(shop.file("a.ndjson", lines).read_bytes())
    assert counts(shop.load(shop.file("a.ndjson.gz", packed))) == (0, 3, 0, 0)
    # A longer file of that name, and another file: what is new in them is new.
    assert counts(shop.load(shop.file("a.ndjson", [*lines, event]))) == (1, 3, 0, 0)
    assert counts(shop.load(shop.file("b.ndjson", lines))) == (3, 0, 0, 0)


def test_a_line_that_was_corrected_is_all_that_is_new(shop: Shop) -> None:
    nameless = [{n: v for n, v in each.items() if n != "identifier"} for each in shop.calls(4)]
    bad = [nameless[0], {**nameless[1], "event_name": "api_cal"}, *nameless[2:]]
    assert counts(shop.load(shop.file("a.ndjson", bad))) == (3, 0, 0, 1)
    assert counts(shop.load(shop.file("a.ndjson", nameless))) == (1, 3, 0, 0)


def test_what_is_refused_is_written_down_with_its_place(shop: Shop) -> None:
    good = shop.call(1)
    lines = [
        json.dumps(good),
        "",
        json.dumps(shop.call(1, payload=good["payload"] | {"value": "7"})),
        json.dumps(shop.call(2, event_name="nobody's")),
        json.dumps(shop.call(3, n=1)),
        '{"event_name": \xff',
        json.dumps(good),
    ]
    path = shop.file("a.ndjson", "\n".join(lines).encode("latin-1"))
    with (shop.folder / "errors").open("wb") as errors:
        tally = shop.load(path, errors=errors)
    assert (counts(tally), tally.all_well) == ((1, 1, 1, 3), False)
    found = [json.loads(line) for line in (shop.folder / "errors").read_text().splitlines()]
    assert [(each["place"], each["outcome"], each["code"]) for each in found] == [
        (3, "conflict", "resource_already_exists"),
        (4, "rejected", "no_meter"),
        (5, "rejected", "parameter_unknown"),
        (6, "rejected", "body_invalid"),
    ]
    assert found[1]["event"] == shop.call(2, event_name="nobody's")
    assert found[3]["event"] == '{"event_name": \ufffd'
    assert [refused.place for refused in tally.refused] == [3, 4, 5, 6]


def test_csv_places_are_lines(shop: Shop) -> None:
    customer = shop.customer_ids[0]
    path = shop.file(
        "a.csv",
        b"\xef\xbb\xbfevent_name,stripe_customer_id,value,note\r\n"
        + f'api_call,{customer},1,"two\r\nlines"\r\n\r\nnobody,{customer},1,\r\n'.encode(),
    )
    tally = shop.load(path)
    assert counts(tally) == (1, 0, 0, 1)
    assert [refused.place for refused in tally.refused] == [5]
    assert shop.dumped()[0]["payload"]["note"] == "two\r\nlines"


@pytest.mark.parametrize("kind", ["ndjson.gz", "csv.gz", "ndjson.zst", "csv.zst"])
def test_compressed_data_that_is_cut_is_recorded_up_to_there(shop: Shop, kind: str) -> None:
    path = written(shop, kind, shop.calls(9000))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    tally = shop.load(path)
    assert tally.broken == "The compressed data cannot be read: it breaks off before its end."
    assert not tally.all_well
    accepted = tally.counts[OutcomeKind.ACCEPTED]
    assert 0 < accepted < 9000
    assert counts(tally) == (accepted, 0, 0, 0)
    path.write_bytes(whole)
    assert counts(shop.load(path)) == (9000 - accepted, accepted, 0, 0)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        pytest.param("a.csv", b'event_name,v\nx,"1\n', "Line 2 is not CSV: unexpected", id="quote"),
        pytest.param("a.csv", b"event_name,v\nx,\xff\n", "Line 2 is not UTF-8", id="not-utf-8"),
        pytest.param("a.ndjson", b"{}\n" + b" " * 3_000_000, "A line has more", id="long-line"),
        pytest.param("a.ndjson.gz", b"{}\n", "The compressed data cannot be", id="not-gzip"),
    ],
)
def test_a_file_that_cannot_be_read_on(shop: Shop, name: str, data: bytes, why: str) -> None:
    tally = shop.load(shop.file(name, data))
    assert tally.broken is not None
    assert tally.broken.startswith(why)
    assert tally.counts[OutcomeKind.ACCEPTED] == 0


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        pytest.param("a.ndjson", b"event_name\nx\n", "a.ndjson is not NDJSON", id="csv-as-ndjson"),
        pytest.param("a.csv", b'{"event_name":"x"}\n', "The first row must name", id="json-as-csv"),
        pytest.param("a.csv", b"event_name,counted\n", "exported with --all", id="all-of-them"),
    ],
)
def test_a_file_of_another_format_is_refused(shop: Shop, name: str, data: bytes, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        shop.load(shop.file(name, data))


def test_a_name_that_does_not_say_the_format(shop: Shop) -> None:
    path = shop.file("events.gz", gzip.compress(b"event_name\n"))
    with pytest.raises(CannotRun, match=r"^Cannot tell the format of events\.gz"):
        Source.at(path)
    assert Source.at(path, FileFormat.CSV).layout == Layout(FileFormat.CSV, ".gz")
    with pytest.raises(CannotRun, match=r"^Cannot read .*/none\.csv: No such file"):
        Source.at(shop.folder / "none.csv")
    with pytest.raises(CannotRun, match="Parquet is compressed inside"):
        Layout.of(Path("a.parquet.gz"))


@pytest.mark.parametrize("kind", ["ndjson", "ndjson.gz", "csv"])
def test_reading_a_long_file_takes_no_more_memory_than_a_short_one(
    tmp_path: Path, kind: str
) -> None:
    event = {"event_name": "api_call", "identifier": "x" * 90, "payload": {"value": "1"}}
    line = json.dumps(event).encode() + b"\n"
    header = b""
    if kind == "csv":
        header, line = b"event_name,identifier,value\n", b"api_call," + b"x" * 90 + b",1\n"

    def peak_of(count: int) -> int:
        path = tmp_path / f"{count}.{kind}"
        data = header + line * count
        path.write_bytes(gzip.compress(data, 1) if kind.endswith(".gz") else data)
        del data
        source = Source.at(path)
        tracemalloc.start()
        assert sum(len(batch.places) for batch in source.batches()) == count
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert source.bytes_read == source.size
        return peak

    assert peak_of(90_000) < 1.3 * peak_of(30_000)


# ─── Parquet ─────────────────────────────────────────────────────────────────────────────────


def table_of(shop: Shop, **columns: Any) -> Path:
    path = shop.folder / "a.parquet"
    given = {
        "event_name": pyarrow.array(["api_call"]),
        "stripe_customer_id": pyarrow.array([shop.customer_ids[0]]).dictionary_encode(),
        "value": pyarrow.array([1]),
    }
    parquet.write_table(pyarrow.table(given | columns), path)
    return path


def test_parquet_numbers_stay_exact(shop: Shop) -> None:
    for value in (
        pyarrow.array([Decimal("1.250000000000")]),
        pyarrow.array([0.1], pyarrow.float64()),
        pyarrow.array([3], pyarrow.int8()),
        pyarrow.array(["-2.05"]),
    ):
        assert counts(shop.load(table_of(shop, identifier=[str(value)], value=value))) == (
            1,
            0,
            0,
            0,
        )
    values = sorted(Decimal(event["payload"]["value"]) for event in shop.dumped())
    assert values == [Decimal("-2.05"), Decimal("0.1"), Decimal("1.25"), Decimal(3)]


def test_parquet_instants_are_cut_to_milliseconds(shop: Shop) -> None:
    ns = int(NOW.timestamp()) * 1_000_000_000 - 1
    at = pyarrow.array([ns], pyarrow.timestamp("ns", "Europe/Berlin"))
    assert shop.load(table_of(shop, timestamp=at)).all_well
    before = NOW - timedelta(milliseconds=1)
    assert shop.dumped()[0]["timestamp"] == f"{before:%Y-%m-%dT%H:%M:%S}.999Z"


def test_parquet_payloads_may_be_structs(shop: Shop) -> None:
    payload = pyarrow.array([{"value": 4, "region": "eu"}])
    assert shop.load(table_of(shop, payload=payload)).all_well
    assert shop.dumped()[0]["payload"] == {
        "stripe_customer_id": shop.customer_ids[0],
        "value": "4",
        "region": "eu",
    }


@pytest.mark.parametrize(
    ("name", "column", "why"),
    [
        pytest.param(
            "timestamp",
            pyarrow.array([datetime(2026, 1, 1)], pyarrow.timestamp("ms")),  # noqa: DTZ001
            "'timestamp' of a.parquet has no time zone",
            id="no-zone",
        ),
        pytest.param("paid", pyarrow.array([True]), "'paid' of a.parquet is bool", id="boolean"),
        pytest.param("when", pyarrow.array([NOW]), "'when' of a.parquet is timestamp", id="time"),
        pytest.param("payload", pyarrow.array(["{}"]), "'payload' of a.parquet is s", id="text"),
        pytest.param("counted", pyarrow.array(["x"]), "exported with --all", id="counted"),
    ],
)
def test_parquet_columns_that_are_neither_text_nor_numbers(
    shop: Shop, name: str, column: Any, why: str
) -> None:
    with pytest.raises(InvalidRequest, match=why):
        shop.load(table_of(shop, **{name: column}))


def test_parquet_that_is_cut(shop: Shop) -> None:
    path = table_of(shop)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CannotRun, match=r"^Cannot read a\.parquet as Parquet: "):
        shop.load(path)


def test_parquet_without_its_library(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table_of(shop)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(CannotRun, match=r"pip install 'postpaid\[parquet\]'"):
        shop.load(path)


# ─── Writing ─────────────────────────────────────────────────────────────────────────────────


def with_all_kinds(shop: Shop) -> list[dict[str, Any]]:
    """Events with odd texts, milliseconds, negative values, and texts that are counted."""
    customer = {"stripe_customer_id": shop.customer_ids[0]}
    odd = 'a,"b"\r\nc\td\u2028'
    return [
        *shop.calls(20),
        shop.call(30, payload=customer | {"value": "-0.000000000001", "note": odd}),
        shop.call(31, payload=customer | {"value": "1e3", "päyload": "x"}),
        shop.call(32, timestamp=f"{NOW - timedelta(hours=3):%Y-%m-%dT%H:%M:%S}.123Z"),
        shop.call(33, event_name="login", payload=customer | {"user": "ada", "device": "phone"}),
        shop.call(34, event_name="login", payload=customer | {"user": "ada"}),
        shop.call(35, event_name="login", payload=customer | {"user": "bob"}),
    ]


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet", "csv.gz", "ndjson.zst"])
def test_what_is_written_reads_back_to_the_same_totals(
    new_shop: Callable[[], Shop], kind: str
) -> None:
    shop, other = new_shop(), new_shop()
    events = with_all_kinds(shop)
    assert shop.load(shop.file("a.ndjson", events)).all_well
    path = shop.dump(f"out.{kind}")
    assert not list(shop.folder.glob("*.part"))

    assert counts(other.load(path)) == (len(events), 0, 0, 0)
    assert other.totals() == shop.totals()
    assert other.dumped() == shop.dumped()
    assert counts(shop.load(path)) == (0, len(events), 0, 0)


def test_an_export_says_what_was_reported(shop: Shop) -> None:
    [event] = [shop.call(32, timestamp=f"{NOW:%Y-%m-%dT%H:%M:%S}.0129Z")]
    shop.load(shop.file("a.ndjson", [event]))
    assert shop.dumped() == [event | {"timestamp": f"{NOW:%Y-%m-%dT%H:%M:%S}.012Z"}]


def test_an_export_can_be_of_less(shop: Shop) -> None:
    shop.load(shop.file("a.ndjson", with_all_kinds(shop)))
    with shop.database.connection() as conn:
        [(meter_id,)] = conn.execute("SELECT id FROM meters WHERE event_name = 'login'").fetchall()
    assert {each["event_name"] for each in shop.dumped(meter_id=meter_id)} == {"login"}
    ada = shop.dumped(customer_id=shop.customer_ids[0])
    assert {each["payload"]["stripe_customer_id"] for each in ada} == {shop.customer_ids[0]}
    start, end = NOW - timedelta(minutes=9), NOW - timedelta(minutes=5)
    assert [each["identifier"] for each in shop.dumped(start=start, end=end)] == [
        f"evt_{i}" for i in (6, 7, 8, 9)
    ]


def test_what_does_not_count_is_written_on_demand_and_not_read(shop: Shop) -> None:
    shop.load(shop.file("a.ndjson", shop.calls(3)))
    with shop.database.transaction() as conn:
        conn.execute(
            "UPDATE usage_events SET counted = false, canceled_at = now() WHERE reference = 'evt_1'"
        )
    assert [each["identifier"] for each in shop.dumped()] == ["evt_0", "evt_2"]
    assert [each["counted"] for each in shop.dumped(uncounted=True)] == [True, False, True]
    assert counts(shop.load(shop.dump("all.ndjson", uncounted=True))) == (0, 0, 0, 3)
    for kind in ("csv", "parquet"):
        with pytest.raises(InvalidRequest, match="exported with --all"):
            shop.load(shop.dump(f"all.{kind}", uncounted=True))


def test_a_payload_key_that_is_a_columns_name_needs_ndjson(shop: Shop) -> None:
    payload = shop.call(0)["payload"] | {"identifier": "x"}
    shop.load(shop.file("a.ndjson", [shop.call(0, payload=payload)]))
    with pytest.raises(CannotRun, match="the key 'identifier', which is a column's name"):
        shop.dump("a.csv")
    assert shop.dumped()[0]["payload"] == payload


# ─── The commands ────────────────────────────────────────────────────────────────────────────


def test_the_commands(shop: Shop) -> None:
    url = ("--database-url", shop.database.url, "--mode", "test")
    path = shop.file("a.ndjson", [*shop.calls(3), {"event_name": "nobody", "payload": {}}])
    errors = shop.folder / "errors.ndjson"
    done = run("usage", "import", path, *url, "--errors", errors)
    assert (done.returncode, done.stderr) == (1, "")
    rows = [line.strip("│ ").split() for line in done.stdout.splitlines() if "│" in line]
    assert [row for row in rows if row[0] in list(OutcomeKind)] == [
        ["accepted", "│", "3"],
        ["duplicate", "│", "0"],
        ["conflict", "│", "0"],
        ["rejected", "│", "1"],
    ]
    assert "Line 4, rejected: No active meter" in done.stdout
    assert str(errors) in done.stdout.replace("\n", "")
    assert json.loads(errors.read_text())["place"] == 4

    shown = run("usage", "export", *url)
    assert (shown.returncode, shown.stderr) == (0, "Wrote 3 events.\n")
    assert len(shown.stdout.splitlines()) == 3
    out = shop.folder / "out.csv"
    less = run(
        "usage", "export", out, *url, "--meter=api_call", f"--customer={shop.customer_ids[1]}",
        "--from=2026-01-01", f"--to={TODAY}",
    )  # fmt: skip
    assert (less.returncode, less.stdout) == (0, "Wrote 1 events.\n")
    with out.open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["identifier"], row["value"]) == ("evt_1", "1.5")

    again = run("usage", "import", out, *url)
    assert (again.returncode, again.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        pytest.param(["import", "none.csv"], 1, "Cannot read none.csv: No such file", id="no-file"),
        pytest.param(["import", "a"], 1, "Cannot tell the format of a", id="no-format"),
        pytest.param(["import", "a.csv", "--format=xml"], 2, "--format is one of", id="xml"),
        pytest.param(["export", "--meter=none"], 1, "No such meter: 'none'", id="no-meter"),
        pytest.param(["export", "--customer=none"], 1, "No such customer: 'none'", id="nobody"),
        pytest.param(["export", "--from=today"], 2, "--from is like 2026-01-01", id="no-day"),
        pytest.param(["export", "--to=2026-01-01T00:00:00"], 2, "--to is like", id="no-zone"),
        pytest.param(
            ["export", "--from=2026-02-01", "--to=2026-02-01"], 2, "--from must be", id="span"
        ),
        pytest.param(["export", "--format=parquet"], 1, "Parquet is written to a file", id="pipe"),
        pytest.param(["export", "/none/a.csv"], 1, "Cannot write /none/a.csv: No", id="no-folder"),
    ],
)
def test_commands_that_cannot_be_done(
    shop: Shop, arguments: list[str], code: int, why: str
) -> None:
    done = run("usage", *arguments, "--mode=test", "--database-url", shop.database.url)
    assert done.returncode == code
    assert why in done.stderr.replace("\n", " ").replace(" │", "").replace("│ ", "")


def test_there_is_nothing_to_export_from_an_account_that_is_not_there(shop: Shop) -> None:
    done = run("usage", "export", "--mode=live", "--database-url", shop.database.url)
    assert (done.returncode, done.stderr) == (1, "There is no account in live mode.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="has no terminals of this kind")
def test_whoever_looks_on_sees_a_bar(shop: Shop) -> None:
    ours, theirs = os.openpty()
    path = written(shop, "ndjson.gz", shop.calls(30))
    command = ["usage", "import", str(path), "--mode=test", "--database-url", shop.database.url]
    started = subprocess.Popen(
        [POSTPAID, *command],
        env=environment(TERM="xterm", COLUMNS="100"),
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # which is how a terminal ends
        while part := os.read(ours, 4096):
            seen += part
    os.close(ours)
    said, _ = started.communicate(timeout=PATIENCE_S)
    assert started.returncode == 0
    assert b"events.ndjson.gz" in seen
    size = path.stat().st_size
    assert size < 1000, "what the bar would show in kB"
    assert f"{size}/{size} bytes".encode() in seen
    assert b"accepted" in said


def test_an_import_that_is_interrupted_goes_on_where_it_was(shop: Shop) -> None:
    count = 120_000
    path = shop.file("a.ndjson", b"")
    with path.open("w") as file:
        for i in range(count):
            file.write(json.dumps(shop.call(i % 40_000, identifier=f"evt_{i}")) + "\n")
    command = ["usage", "import", str(path), "--mode=test", "--database-url", shop.database.url]
    started = subprocess.Popen(
        [POSTPAID, *command],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not stored(shop):
        assert started.poll() is None
    started.send_signal(signal.SIGINT)
    said, errors = started.communicate(timeout=PATIENCE_S)
    assert (started.returncode, errors) == (130, "")
    assert "Run it again to go on." in said
    before = stored(shop)
    assert before % usage_files.EVENTS_AT_ONCE == 0
    assert 0 < before < count

    tally = shop.load(path)
    assert counts(tally) == (count - before, before, 0, 0)
    assert sum(row[3] for row in shop.totals()) == count


def stored(shop: Shop) -> int:
    with shop.database.connection() as conn:
        [(count,)] = conn.execute("SELECT count(*) FROM usage_events").fetchall()
    return int(count)
