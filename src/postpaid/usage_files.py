"""Files of usage events: their formats, and their reading in batches, however long they are.

An event without an identifier is named after the file, its place in it and its content, so that to
read a file again gives the same events.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from postpaid.api import decompression, usage_events, usage_formats
from postpaid.api.decompression import Damaged
from postpaid.api.usage_events import Event
from postpaid.api.usage_formats import Header
from postpaid.billing.check_usage import Reported
from postpaid.core.errors import InvalidRequest
from postpaid.core.money import plain
from postpaid.serving import CannotRun

T = TypeVar("T")

EVENTS_AT_ONCE = 5_000  # in a transaction
CHUNK_BYTES = 1 << 20
COMPRESSED_CHUNK_BYTES = 1 << 15
LINE_BYTES_MAX = 1 << 20
WINDOW_BYTES_MAX = 1 << 27  # what `zstd --long` needs

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
    ".gz": decompression.gunzip,
    ".zst": lambda: decompression.unzstd(WINDOW_BYTES_MAX),
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
            yield Batch(usage_events.one_by_one(found, header.event_of), places, found)

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
            return decompression.decompressed(raw, COMPRESSIONS[self.layout.compression])
        return raw

    def _raw(self, file: IO[bytes], step: int) -> Iterator[bytes]:
        while chunk := file.read(step):
            self.bytes_read += len(chunk)
            yield chunk

    def _parquet(self) -> Iterator[Batch]:
        parquet = pyarrow_module("pyarrow.parquet")
        arrow = pyarrow_module("pyarrow")
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
                yield Batch(usage_events.one_by_one(rows, _event_of_row), places, rows)
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


def pyarrow_module(module: str) -> Any:
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
    ours = (*usage_events.FIELDS, "timestamp_ms")
    flat = {key: value for key, value in row.items() if key not in ours}
    event = usage_events.event_of(
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
    return event._replace(timestamp=usage_events.within_reach(ms, ms, "timestamp"))


def _exact(value: Any) -> Any:
    """A number as text: of a double the shortest that names it, which is what was meant."""
    if isinstance(value, Decimal):
        return plain(value)
    return repr(value) if type(value) is float else value
