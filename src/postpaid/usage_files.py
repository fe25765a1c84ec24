"""Files of usage events, read into the database and written from it, however long they are.

A file is read in batches, and each batch is recorded in one transaction: what was recorded stays,
whatever happens to the rest. Reading a file again is safe, because an event without an identifier
is named after the file, its place in it and its content.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import msgspec
import zstandard

from postpaid import clock, ids
from postpaid.api import usage_formats
from postpaid.api.usage_formats import Damaged, Event, Header
from postpaid.billing import backfill_usage
from postpaid.billing.check_usage import Reported
from postpaid.billing.perform import Act, perform
from postpaid.billing.record_usage import OutcomeKind, Recorded, record_usage
from postpaid.core.errors import BillingError, Conflict, InvalidRequest
from postpaid.core.money import plain
from postpaid.serving import CannotRun
from postpaid.storage import usage_exports
from postpaid.storage.accounts import Account
from postpaid.storage.database import Connection, Database
from postpaid.storage.usage_exports import ExportedEvent

T = TypeVar("T")

EVENTS_AT_ONCE = 5_000  # in a transaction
ROWS_AT_ONCE = 50_000  # in a row group of Parquet
CHUNK_BYTES = 1 << 20
COMPRESSED_CHUNK_BYTES = 1 << 15
LINE_BYTES_MAX = 1 << 20
WINDOW_BYTES_MAX = 1 << 27  # what `zstd --long` needs
COLUMNS_MAX = 1_000
ATTEMPTS_MAX = 3  # for a batch that another transaction is in the way of
REFUSED_SHOWN = 5

COUNTED = "counted"  # the column that an export of everything has, and no import takes

_encode = msgspec.json.encode


class FileFormat(StrEnum):
    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


class BreaksOff(Exception):
    """Why a file cannot be read any further; what came before was good."""


SUFFIXES = {
    ".csv": FileFormat.CSV,
    ".ndjson": FileFormat.NDJSON,
    ".jsonl": FileFormat.NDJSON,
    ".parquet": FileFormat.PARQUET,
}
COMPRESSIONS = {
    ".gz": usage_formats.gunzip,
    ".zst": lambda: usage_formats.unzstd(WINDOW_BYTES_MAX),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file is by its name: its format, and the suffix of its compression or nothing."""

    format: FileFormat
    compression: str

    @classmethod
    def of(cls, path: Path, chosen: FileFormat | None = None) -> Layout:
        """Raises ``CannotRun`` when the name does not say and nobody else does."""
        compression = path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""
        inner = path.with_suffix("") if compression else path
        file_format = chosen or SUFFIXES.get(inner.suffix.lower())
        if file_format is None:
            raise CannotRun(
                f"Cannot tell the format of {path.name} by its name: give --format, or a name that "
                f"ends in {', '.join(SUFFIXES)}, and then maybe in {' or '.join(COMPRESSIONS)}."
            )
        if file_format == FileFormat.PARQUET and compression:
            raise CannotRun(f"Parquet is compressed inside: unpack {path.name} first.")
        return cls(file_format, compression)


# ─── Reading ─────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Batch:
    """Some of a file's events, with their places, from 1, and what stands there."""

    reported: Reported
    places: Sequence[int]
    found: Sequence[Any]


@dataclass
class Source:
    """A file to import. ``bytes_read`` of its ``size`` goes up as ``batches`` are taken."""

    path: Path
    layout: Layout
    size: int
    bytes_read: int = 0

    @classmethod
    def at(cls, path: Path, chosen: FileFormat | None = None) -> Source:
        """Raises ``CannotRun``."""
        layout = Layout.of(path, chosen)
        try:
            with path.open("rb"):
                return cls(path, layout, path.stat().st_size)
        except OSError as error:
            raise CannotRun(f"Cannot read {path}: {error.strerror}.") from error

    @property
    def name(self) -> str:
        """What its events are named after: the same when it is compressed, or somewhere else."""
        return self.path.name.removesuffix(self.layout.compression)

    def batches(self) -> Iterator[Batch]:
        """Raises ``BreaksOff`` after all that can be read, and ``InvalidRequest`` before any."""
        read = {
            FileFormat.CSV: self._csv,
            FileFormat.NDJSON: self._ndjson,
            FileFormat.PARQUET: self._parquet,
        }[self.layout.format]
        for batch in read():
            self._name_events(batch)
            yield batch

    def _name_events(self, batch: Batch) -> None:
        """Give each event that has none an identifier that it gets again the next time."""
        reported = batch.reported
        for i, identifier in enumerate(reported.identifiers):
            if identifier is None and i not in reported.errors:
                place = batch.places[i]
                content = (self.name, place, reported.event_names[i], reported.timestamps[i])
                digest = hashlib.sha256(
                    _encode([*content, reported.payloads[i]], order="sorted")
                ).hexdigest()
                reported.identifiers[i] = f"import-{place}-{digest[:32]}"

    def _ndjson(self) -> Iterator[Batch]:
        numbered = ((n, line) for n, line in enumerate(self._lines(), 1) if not line.isspace())
        read_before = False
        for batch in _batched(numbered):
            places, lines = zip(*batch, strict=True)
            reported = usage_formats.events_on(lines)
            if not read_before and all(
                i in reported.errors and reported.errors[i].code == "body_invalid"
                for i in range(len(lines))
            ):
                raise InvalidRequest(f"{self.path.name} is not NDJSON: {reported.errors[0]}.")
            read_before = True
            yield Batch(reported, places, lines)

    def _csv(self) -> Iterator[Batch]:
        rows = usage_formats.csv_reader(_text_of(self._lines()))
        header = Header.of(next(_whole(rows), []))
        if COUNTED in header.columns:
            raise _not_to_import(self.path)
        for batch in _batched(_numbered(rows)):
            places, found = zip(*batch, strict=True)
            yield Batch(usage_formats.one_by_one(found, header.event_of), places, found)

    def _lines(self) -> Iterator[bytes]:
        """Lines with their ends. Raises ``BreaksOff``.

        Compressed data that breaks off loses its last line, which may look whole: a number that was
        cut is a number too.
        """
        rest = b""
        with self.path.open("rb") as file:
            try:
                for chunk in self._chunks(file):
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield line + b"\n"
                    if len(rest) > LINE_BYTES_MAX:
                        raise BreaksOff(f"A line has more than {LINE_BYTES_MAX:,} bytes.")
            except Damaged as damage:
                raise BreaksOff(f"The compressed data cannot be read: {damage}.") from None
        if rest:
            yield rest

    def _chunks(self, file: IO[bytes]) -> Iterator[bytes]:
        step = COMPRESSED_CHUNK_BYTES if self.layout.compression else CHUNK_BYTES
        raw = self._raw(file, step)
        if self.layout.compression:
            return usage_formats.decompressed(raw, COMPRESSIONS[self.layout.compression])
        return raw

    def _raw(self, file: IO[bytes], step: int) -> Iterator[bytes]:
        while chunk := file.read(step):
            self.bytes_read += len(chunk)
            yield chunk

    def _parquet(self) -> Iterator[Batch]:
        parquet = _pyarrow("pyarrow.parquet")
        arrow = _pyarrow("pyarrow")
        try:
            file = parquet.ParquetFile(self.path)
        except (arrow.ArrowInvalid, OSError) as error:
            raise CannotRun(f"Cannot read {self.path.name} as Parquet: {error}") from error
        with file:
            schema = file.schema_arrow
            _check_columns(self.path, schema, arrow)
            first = 1
            row_batches = file.iter_batches(batch_size=EVENTS_AT_ONCE)
            while (columns := _next(row_batches, arrow)) is not None:
                places = range(first, first + columns.num_rows)
                rows = _rows(columns, arrow)
                yield Batch(usage_formats.one_by_one(rows, _event_of_row), places, rows)
                first = places.stop
                self.bytes_read = self.size * (first - 1) // max(1, file.metadata.num_rows)


def _batched(rows: Iterable[T]) -> Iterator[list[T]]:
    """Raises what the rows raise, after the last batch of what came before."""
    batch: list[T] = []
    try:
        for row in rows:
            batch.append(row)
            if len(batch) == EVENTS_AT_ONCE:
                yield batch
                batch = []
    except BreaksOff:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


# ─── Lines and rows ──────────────────────────────────────────────────────────────────────────


def _text_of(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise BreaksOff(f"Line {number} is not UTF-8: {error}.") from None


def _whole(rows: Any) -> Iterator[list[str]]:
    """The rows, until one is not CSV: then nobody knows where the next one begins."""
    try:
        yield from rows
    except csv.Error as error:
        raise BreaksOff(f"Line {rows.line_num} is not CSV: {error}.") from None


def _numbered(rows: Any) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, with the numbers of the lines in which they begin."""
    number = rows.line_num + 1
    for row in _whole(rows):
        if row:
            yield number, row
        number = rows.line_num + 1


def _not_to_import(path: Path) -> InvalidRequest:
    return InvalidRequest(
        f"{path.name} has a column '{COUNTED}': it was exported with --all, to be looked at, and "
        "holds events that do not count. Export it without --all."
    )


# ─── Parquet ─────────────────────────────────────────────────────────────────────────────────


def _pyarrow(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise CannotRun("Parquet needs pyarrow: pip install 'postpaid[parquet]'.") from None


def _check_columns(path: Path, schema: Any, arrow: Any) -> None:
    """Raises ``InvalidRequest``."""
    if "event_name" not in schema.names:
        raise InvalidRequest(f"{path.name} has no column 'event_name'.")
    if COUNTED in schema.names:
        raise _not_to_import(path)
    for column in schema:
        kind = column.type
        if column.name == "timestamp" and arrow.types.is_timestamp(kind):
            if kind.tz is None:
                raise InvalidRequest(f"The column 'timestamp' of {path.name} has no time zone.")
            continue
        kinds = [kind]
        if column.name == "payload":
            if arrow.types.is_map(kind):
                kinds = [kind.key_type, kind.item_type]
            elif arrow.types.is_struct(kind):
                kinds = [member.type for member in kind]
            else:
                raise InvalidRequest(
                    f"The column 'payload' of {path.name} is {kind}; must be a map or a struct, or "
                    "its keys be columns."
                )
        for each in kinds:
            if not _is_text_or_number(each, arrow.types):
                raise InvalidRequest(
                    f"The column '{column.name}' of {path.name} is {kind}; must be text or numbers."
                )


def _is_text_or_number(kind: Any, types: Any) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        test(kind)
        for test in (
            types.is_string,
            types.is_large_string,
            types.is_integer,
            types.is_decimal,
            types.is_floating,
            types.is_null,
        )
    )


def _next(batches: Iterator[Any], arrow: Any) -> Any:
    try:
        return next(batches, None)
    except (arrow.ArrowInvalid, OSError) as error:
        raise BreaksOff(f"The Parquet cannot be read further: {error}.") from None


def _rows(columns: Any, arrow: Any) -> list[dict[str, Any]]:
    """The rows, their timestamps cut to milliseconds since the epoch where they are instants."""
    if "timestamp" in columns.schema.names:
        place = columns.schema.get_field_index("timestamp")
        instants = columns.column(place)
        if arrow.types.is_timestamp(instants.type):
            cut = instants.cast(arrow.timestamp("ms", instants.type.tz), safe=False)
            columns = columns.set_column(place, "timestamp_ms", cut.cast(arrow.int64()))
    rows: list[dict[str, Any]] = columns.to_pylist()
    return rows


def _event_of_row(row: Mapping[str, Any]) -> Event:
    """A row's ``payload`` is a map or a struct; its other columns are payload keys as well."""
    nested = dict(row.get("payload") or {})  # Arrow's maps are lists of pairs
    ours = (*usage_formats.FIELDS, "timestamp_ms")
    flat = {key: value for key, value in row.items() if key not in ours}
    event = usage_formats.event_of(
        {
            "event_name": row.get("event_name"),
            "identifier": row.get("identifier"),
            "timestamp": row.get("timestamp"),
            "payload": {
                key: _exact(value) for key, value in (flat | nested).items() if value is not None
            },
        }
    )
    ms = row.get("timestamp_ms")
    if ms is None:
        return event
    return event._replace(timestamp=usage_formats.within_reach(ms, ms, "timestamp"))


def _exact(value: Any) -> Any:
    """A number as text: of a double the shortest that names it, which is what was meant."""
    if isinstance(value, Decimal):
        return plain(value)
    return repr(value) if type(value) is float else value


# ─── Importing ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that was not recorded, where it stands, and why."""

    place: int
    kind: OutcomeKind
    error: BillingError


@dataclass(slots=True)
class Tally:
    """What became of a file's events so far, and why it could not be read to its end."""

    counts: dict[OutcomeKind, int] = field(default_factory=lambda: dict.fromkeys(OutcomeKind, 0))
    refused: list[Refused] = field(default_factory=list)  # the first few
    broken: str | None = None

    @property
    def refused_count(self) -> int:
        return self.counts[OutcomeKind.REJECTED] + self.counts[OutcomeKind.CONFLICT]

    @property
    def all_well(self) -> bool:
        return not self.refused_count and self.broken is None


def import_events(
    database: Database,
    account: Account,
    source: Source,
    tally: Tally,
    *,
    backfill_id: str | None = None,
    errors: IO[bytes] | None = None,
    after_batch: Callable[[], None] = lambda: None,
) -> None:
    """Record a file's events, thousands in a transaction; keep the ``tally`` up to date.

    What is refused is written to ``errors``, a line of JSON each. An interrupt leaves whole batches
    recorded. Raises ``InvalidRequest`` when the file is not what it should be from the start,
    ``NotFound`` or ``ActionNotAllowed`` when the backfill takes no events, and ``Conflict`` when
    others are in the way for long.
    """
    try:
        for batch in source.batches():
            recorded = _record(database, account, batch.reported, backfill_id)
            for kind in OutcomeKind:
                tally.counts[kind] += recorded.kinds.count(kind)
            _note_refused(tally, batch, recorded, errors)
            after_batch()
    except BreaksOff as reason:
        tally.broken = str(reason)


def _record(
    database: Database, account: Account, reported: Reported, backfill_id: str | None
) -> Recorded:
    """One transaction, tried again if another is in its way."""
    outcome: list[Recorded] = []

    for attempt in range(1, ATTEMPTS_MAX + 1):
        act = Act(
            account.account_id,
            account.livemode,
            actor="import",
            now=clock.now(),
            new_id=ids.new_id,
            request_id=ids.new_id("req"),
        )

        def begin(conn: Connection, act: Act = act) -> dict[str, int]:
            if backfill_id is not None:
                backfill_usage.check_open(conn, act, backfill_id)
            outcome[:] = [record_usage(conn, act, reported, backfill_id=backfill_id)]
            return {}

        try:
            perform(database, act, "usage import", {}, begin)
            break
        except Conflict:
            if attempt == ATTEMPTS_MAX:
                raise
    return outcome[0]


def _note_refused(tally: Tally, batch: Batch, recorded: Recorded, errors: IO[bytes] | None) -> None:
    for i, error in sorted(recorded.errors.items()):
        kind = recorded.kinds[i]
        if kind == OutcomeKind.DUPLICATE:
            continue
        if len(tally.refused) < REFUSED_SHOWN:
            tally.refused.append(Refused(batch.places[i], kind, error))
        if errors is not None:
            errors.write(
                _encode(
                    {
                        "place": batch.places[i],
                        "outcome": kind,
                        "code": error.code,
                        "message": error.message,
                        "param": error.param,
                        "event": _shown(batch.found[i]),
                    },
                    enc_hook=str,
                )
                + b"\n"
            )


def _shown(found: Any) -> Any:
    """What stands in the file, as JSON: a line's own if it has any."""
    if not isinstance(found, bytes):
        return found
    try:
        msgspec.json.decode(found)
    except (ValueError, RecursionError):
        return found.decode(errors="replace").rstrip("\r\n")
    return msgspec.Raw(found.strip())


# ─── Exporting ───────────────────────────────────────────────────────────────────────────────


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
    arrow = _pyarrow("pyarrow")
    parquet = _pyarrow("pyarrow.parquet")
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
