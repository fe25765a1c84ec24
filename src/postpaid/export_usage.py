"""The stored usage events → a file that can be imported again, however many they are."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import msgspec
import zstandard

from postpaid.core.money import plain
from postpaid.serving import CannotRun
from postpaid.storage import usage_exports
from postpaid.storage.database import Connection
from postpaid.storage.usage_exports import ExportedEvent
from postpaid.usage_files import COUNTED, FileFormat, Layout, pyarrow_module

ROWS_AT_ONCE = 50_000  # in a row group of Parquet
COLUMNS_MAX = 1_000

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are exported: all that count, unless it says less or more."""

    meter_id: str | None = None
    customer_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    uncounted: bool = False


def export_events(
    conn: Connection,
    account_id: int,
    target: Path | None,
    layout: Layout,
    wanted: Wanted,
) -> int:
    """Write the stored events to a file, or to standard output; return how many they were.

    At the beginning of a transaction. The file gets its name when it is whole. Raises
    ``CannotRun``.
    """
    usage_exports.hold_still(conn)
    filters: dict[str, Any] = {
        "meter_id": wanted.meter_id,
        "customer_id": wanted.customer_id,
        "start": wanted.start,
        "end": wanted.end,
        "uncounted": wanted.uncounted,
    }
    events = usage_exports.export(conn, account_id, **filters)
    if layout.format == FileFormat.PARQUET:
        if target is None:
            raise CannotRun("Parquet is written to a file: give its name.")
        with _finished(target) as path:
            return _write_parquet(path, events, uncounted=wanted.uncounted)
    keys: list[str] = []
    if layout.format == FileFormat.CSV:
        keys = usage_exports.list_payload_keys(conn, account_id, **filters, limit=COLUMNS_MAX + 1)
        _check_keys(keys)
    with _opened(target, layout.compression) as file:
        if layout.format == FileFormat.CSV:
            return _write_csv(file, events, keys, uncounted=wanted.uncounted)
        return _write_ndjson(file, events, uncounted=wanted.uncounted)


def _check_keys(keys: Sequence[str]) -> None:
    """Raises ``CannotRun`` when no header row can name them."""
    if len(keys) > COLUMNS_MAX:
        raise CannotRun(
            f"The payloads have more than {COLUMNS_MAX:,} keys, too many for columns: "
            "export NDJSON, or less at once."
        )
    for key in keys:
        if key in ("event_name", "identifier", "timestamp", COUNTED):
            raise CannotRun(
                f"A payload has the key '{key}', which is a column's name: export NDJSON."
            )


@contextmanager
def _finished(target: Path) -> Iterator[Path]:
    """A path to write to, whose file gets its name at the end. Raises ``CannotRun``."""
    part = target.with_name(f"{target.name}.part")
    try:
        yield part
        os.replace(part, target)
    except OSError as error:
        raise CannotRun(f"Cannot write {target}: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _opened(target: Path | None, compression: str) -> Iterator[IO[bytes]]:
    if target is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with _finished(target) as path, path.open("wb") as raw:
        if compression == ".gz":
            import gzip

            with gzip.GzipFile("", "wb", fileobj=raw) as packed:
                yield cast(IO[bytes], packed)
        elif compression == ".zst":
            with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as packed:
                yield packed
        else:
            yield raw


def _payload(event: ExportedEvent) -> dict[str, str]:
    """The payload as it was reported, its value in plain digits."""
    return {
        event.customer_key: event.customer_id,
        event.value_key: plain(event.value),
        **(event.payload or {}),
    }


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _write_ndjson(file: IO[bytes], events: Iterable[ExportedEvent], *, uncounted: bool) -> int:
    count = 0
    for event in events:
        line: dict[str, Any] = {
            "event_name": event.event_name,
            "identifier": event.reference,
            "timestamp": _time(event.occurred_at),
            "payload": _payload(event),
        }
        if uncounted:
            line[COUNTED] = event.counted
        file.write(_encode(line) + b"\n")
        count += 1
    return count


def _write_csv(
    file: IO[bytes], events: Iterable[ExportedEvent], keys: Sequence[str], *, uncounted: bool
) -> int:
    count = 0
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    header = ["event_name", "identifier", "timestamp", *keys]
    writer.writerow([*header, COUNTED] if uncounted else header)
    for event in events:
        payload = _payload(event)
        row = [event.event_name, event.reference, _time(event.occurred_at)]
        row += [payload.get(key, "") for key in keys]
        writer.writerow([*row, "true" if event.counted else "false"] if uncounted else row)
        count += 1
    text.flush()
    text.detach()
    return count


def _write_parquet(path: Path, events: Iterable[ExportedEvent], *, uncounted: bool) -> int:
    arrow = pyarrow_module("pyarrow")
    parquet = pyarrow_module("pyarrow.parquet")
    fields = [
        ("event_name", arrow.string()),
        ("identifier", arrow.string()),
        ("timestamp", arrow.timestamp("ms", "UTC")),
        ("payload", arrow.map_(arrow.string(), arrow.string())),
    ]
    if uncounted:
        fields.append((COUNTED, arrow.bool_()))
    schema = arrow.schema(fields)
    count = 0
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            writer.write_table(arrow.Table.from_pylist(rows, schema))
            rows.clear()

        for event in events:
            rows.append(
                {
                    "event_name": event.event_name,
                    "identifier": event.reference,
                    "timestamp": event.occurred_at,
                    "payload": list(_payload(event).items()),
                    COUNTED: event.counted,
                }
            )
            count += 1
            if len(rows) == ROWS_AT_ONCE:
                flush()
        flush()
    return count
