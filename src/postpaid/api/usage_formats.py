"""A body full of usage events, in whatever format → the columns that are recorded.

A JSON body whose events are all as they should be is decoded in one call and taken apart by column.
Any other is looked at event by event, so that a bad one costs the others nothing: what is wrong
with it goes into ``errors``, by its place. A body that is not in its format at all is refused.
"""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple, Protocol
from urllib.parse import unquote

import msgspec
import zstandard
from msgspec import Meta

from postpaid.billing.check_usage import Reported
from postpaid.core.errors import BillingError, InvalidRequest, Path

EVENTS_MAX = 10_000
BYTES_MAX = 20_000_000  # of a body, once it is decompressed
WINDOW_BYTES_MAX = 1 << 23  # of zstd: what RFC 8878 asks every decoder to have

NAME_MAX = 100
IDENTIFIER_MAX = 100
PAYLOAD_KEYS_MAX = 60
KEY_MAX = 100
TEXT_MAX = 500
TIME_MAX = 40
TIMESTAMP_MAX = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp())  # far, and no overflow after it

FIELDS = ("event_name", "identifier", "timestamp", "payload")
CUSTOMER_KEY = "stripe_customer_id"  # what the subject of a CloudEvent stands for

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
# Python also takes weeks, commas, and times without seconds or zone.
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
)
_DIGITS = re.compile(r"[0-9]{1,18}")
_BOM = b"\xef\xbb\xbf"


def events_in(body: bytes, headers: Mapping[str, str], *, bytes_max: int = BYTES_MAX) -> Reported:
    """The events of a request's body, by its ``content-type`` and ``content-encoding``.

    The headers' names are in lower case, or found in any. Raises ``InvalidRequest`` for a body that
    is not what it says to be, breaks off, or holds more than 10,000 events or ``bytes_max`` bytes.
    """
    body = _plain_body(body, headers.get("content-encoding", ""), bytes_max)
    media_type = _media_type(headers.get("content-type", ""))
    read = FORMATS.get(media_type)
    if read is not cloud_event and read is not cloud_events and _is_binary(headers):
        reported = binary_cloud_event(body, headers, media_type)
    elif read is not None:
        reported = read(body.removeprefix(_BOM))
    else:
        raise InvalidRequest(
            f"Invalid Content-Type: {_shown(media_type)}; must be one of {', '.join(FORMATS)}",
            code="content_type_invalid",
        )
    if len(reported.event_names) > EVENTS_MAX:
        raise InvalidRequest(
            f"At most {EVENTS_MAX:,} events are allowed in a request; this one has "
            f"{len(reported.event_names):,}.",
            param="events",
            code="too_many_events",
        )
    return reported


def _media_type(content_type: str) -> str:
    media_type, _, parameters = content_type.partition(";")
    if found := re.search(r"charset\s*=\s*\"?([^\s\";]+)", parameters, re.IGNORECASE):
        charset = found[1].lower()
        if charset not in ("utf-8", "utf8", "us-ascii"):
            raise InvalidRequest(
                f"Invalid charset: {_shown(charset)}; must be utf-8", code="content_type_invalid"
            )
    return media_type.strip().lower()


# ─── JSON ────────────────────────────────────────────────────────────────────────────────────


class _Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event whose payload holds nothing but text, as nearly all do."""

    event_name: Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
    payload: Annotated[
        dict[
            Annotated[str, Meta(min_length=1, max_length=KEY_MAX)],
            Annotated[str, Meta(max_length=TEXT_MAX)],
        ],
        Meta(max_length=PAYLOAD_KEYS_MAX),
    ]
    identifier: Annotated[str, Meta(min_length=1, max_length=IDENTIFIER_MAX)] | None = None
    timestamp: (
        Annotated[int, Meta(ge=0, le=TIMESTAMP_MAX)] | Annotated[str, Meta(max_length=TIME_MAX)]
    ) | None = None


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: list[_Event]


class _Number(str):
    """A JSON number with a point or an exponent, as it was written: never a float."""

    __slots__ = ()


_one = msgspec.json.Decoder(_Event)
_array = msgspec.json.Decoder(list[_Event])
_envelope = msgspec.json.Decoder(_Envelope)
_anything = msgspec.json.Decoder(Any, float_hook=_Number)


def json_array(body: bytes) -> Reported:
    """``[{"event_name": …, "payload": {…}}, …]``, or the same as ``{"events": […]}``."""
    enclosed = body.lstrip()[:1] == b"{"
    if not _may_hold_nul(body):
        try:
            return _columns(_envelope.decode(body).events if enclosed else _array.decode(body))
        except (ValueError, RecursionError, InvalidRequest):
            pass  # what exactly is wrong is found below
    found = _json(body)
    if isinstance(found, dict) and found.keys() == {"events"}:
        found = found["events"]
    if not isinstance(found, list):
        raise InvalidRequest(
            "The body must be a JSON array of events, or an object with nothing but such an array "
            "as its 'events'.",
            code="body_invalid",
        )
    return one_by_one(found, event_of)


def json_lines(body: bytes) -> Reported:
    """A JSON object on every line; empty lines are passed over."""
    count = body.count(b"\n") + (not body.endswith(b"\n"))
    reported = _lines_at_once(body, count)
    if reported is None:
        found = [_line(line) for line in body.split(b"\n") if line and not line.isspace()]
        if not any(isinstance(each, dict) for each in found):
            raise InvalidRequest(
                "The body must be NDJSON: a JSON object on every line.", code="body_invalid"
            )
        reported = one_by_one(found, event_of)
    return reported


def events_on(lines: Sequence[bytes]) -> Reported:
    """An event of each line, none of which is empty."""
    reported = _lines_at_once(b"\n".join(lines), len(lines))
    return one_by_one(map(_line, lines), event_of) if reported is None else reported


def _lines_at_once(body: bytes, count: int) -> Reported | None:
    """The events of so many lines; None when not all of them are as they should be."""
    if _may_hold_nul(body):
        return None
    try:
        events = _one.decode_lines(body)
        # It would also take two objects on a line, and one on two.
        return _columns(events) if len(events) == count else None
    except (ValueError, RecursionError, InvalidRequest):
        return None


def _columns(events: list[_Event]) -> Reported:
    """Raises ``InvalidRequest`` when one of the timestamps is text and not a time."""
    return Reported(
        [event.event_name for event in events],
        [event.payload for event in events],
        [event.identifier for event in events],
        [
            at * 1000 if type(at := event.timestamp) is int else _milliseconds(at, "timestamp")
            for event in events
        ],
        {},
    )


def _may_hold_nul(body: bytes) -> bool:
    return b"\\u0000" in body  # unescaped, it is not JSON


def _json(text: bytes) -> Any:
    """Raises ``InvalidRequest``."""
    try:
        return _anything.decode(text)
    except RecursionError:
        reason = "It is nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise InvalidRequest(f"Invalid JSON: {reason}", code="body_invalid")


def _line(line: bytes) -> Any:
    """What a line holds, or why it holds nothing."""
    try:
        return _json(line)
    except InvalidRequest as error:
        return error


# ─── CSV ─────────────────────────────────────────────────────────────────────────────────────


def csv_rows(body: bytes) -> Reported:
    """A header row that names ``event_name``, ``identifier``, ``timestamp``, and payload keys.

    An empty cell is one that is not there. Empty rows are passed over.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"Invalid CSV: {error}", code="body_invalid") from None
    rows = csv_reader(io.StringIO(text, newline=""))
    try:
        header = Header.of(next(rows, []))
        return one_by_one((row for row in rows if row), header.event_of)
    except csv.Error as error:
        raise InvalidRequest(
            f"Invalid CSV, line {rows.line_num}: {error}", code="body_invalid"
        ) from None


def csv_reader(lines: Iterable[str]) -> Any:
    """Rows of cells; raises ``csv.Error`` at what is not quoted as it should be, or breaks off."""
    return csv.reader(lines, strict=True)


@dataclass(frozen=True, slots=True)
class Header:
    """What the cells of a row are."""

    columns: tuple[str, ...]

    @classmethod
    def of(cls, cells: Sequence[str]) -> Header:
        """Raises ``InvalidRequest`` when the row cannot be a header."""
        if "event_name" not in cells:
            raise InvalidRequest(
                "The first row must name the columns, and 'event_name' be one of them.",
                code="body_invalid",
            )
        for name in cells:
            _text(name, KEY_MAX, ("header", name[:KEY_MAX]))
            if cells.count(name) > 1:
                raise InvalidRequest(
                    f"The first row names the column {_shown(name)} twice.", code="body_invalid"
                )
        return cls(tuple(cells))

    def event_of(self, cells: Sequence[str]) -> Event:
        """Raises ``InvalidRequest``."""
        if len(cells) != len(self.columns):
            raise InvalidRequest(
                f"The row has {len(cells)} cells, and the header {len(self.columns)}.",
                code="row_invalid",
            )
        fields: dict[str, Any] = {}
        payload: dict[str, str] = {}
        for name, cell in zip(self.columns, cells, strict=True):
            if cell:
                (fields if name in FIELDS[:3] else payload)[name] = cell
        timestamp = fields.get("timestamp", "")
        if _DIGITS.fullmatch(timestamp):
            fields["timestamp"] = int(timestamp)
        return event_of(fields | {"payload": payload})


# ─── CloudEvents 1.0 ─────────────────────────────────────────────────────────────────────────


def cloud_event(body: bytes) -> Reported:
    """One event with its data inside (structured)."""
    return one_by_one([_json(body)], cloud_event_of)


def cloud_events(body: bytes) -> Reported:
    """An array of such (batched)."""
    found = _json(body)
    if not isinstance(found, list):
        raise InvalidRequest("The body must be a JSON array of CloudEvents.", code="body_invalid")
    return one_by_one(found, cloud_event_of)


def binary_cloud_event(body: bytes, headers: Mapping[str, str], media_type: str) -> Reported:
    """One event whose attributes are headers (``ce-id``), and whose data is the body."""
    attributes: dict[str, Any] = {}
    for name, text in headers.items():
        if name.lower().startswith("ce-"):
            try:
                attributes[name.lower()[3:]] = unquote(text, errors="strict")
            except UnicodeDecodeError:
                raise InvalidRequest(
                    f"Invalid header: {name} is not percent-encoded UTF-8", param=name
                ) from None
    if media_type:
        attributes["datacontenttype"] = media_type
    if body:  # of another type, it is refused by its type
        attributes["data"] = _json(body) if _is_json(media_type or "application/json") else {}
    return one_by_one([attributes], cloud_event_of)


def _is_binary(headers: Mapping[str, str]) -> bool:
    return any(f"ce-{name}" in headers for name in ("specversion", "id", "type", "source"))


def cloud_event_of(found: Any) -> Event:
    """A CloudEvent as ours. Raises ``InvalidRequest``.

    Its ``type`` is the name, its ``id`` the identifier, its ``data`` the payload, and its
    ``subject`` the customer where the payload does not say. Its source, and attributes that
    CloudEvents leaves to others, are not kept.
    """
    if isinstance(found, BillingError):
        raise found
    if not isinstance(found, dict):
        raise InvalidRequest("A CloudEvent must be an object.", code="event_invalid")
    for name in ("specversion", "id", "source", "type", "data"):
        if found.get(name) is None:
            if name == "data" and "data_base64" in found:
                raise InvalidRequest(
                    "The data must be a JSON object: data_base64 is not taken.", param="data_base64"
                )
            raise _missing(name)
    if _text(found["specversion"], TEXT_MAX, ("specversion",)) != "1.0":
        raise InvalidRequest(
            f"Invalid specversion: {_shown(found['specversion'])}; must be 1.0",
            param="specversion",
            code="specversion_invalid",
        )
    _text(found["source"], TEXT_MAX, ("source",))
    content_type = found.get("datacontenttype")
    if content_type is not None and not _is_json(content_type):
        raise InvalidRequest(
            f"Invalid datacontenttype: {_shown(content_type)}; must be application/json",
            param="datacontenttype",
            code="content_type_invalid",
        )
    time = found.get("time")
    if time is not None and type(time) is not str:
        raise _invalid_time(time, "time")
    payload = _payload(found["data"], "data")
    subject = found.get("subject")
    if subject is not None:
        payload.setdefault(CUSTOMER_KEY, _text(subject, TEXT_MAX, ("subject",)))
    return Event(
        _text(found["type"], NAME_MAX, ("type",)),
        payload,
        _text(found["id"], IDENTIFIER_MAX, ("id",)),
        _milliseconds(time, "time"),
    )


def _is_json(media_type: Any) -> bool:
    if not isinstance(media_type, str):
        return False
    plain = media_type.partition(";")[0].strip().lower()
    return plain == "application/json" or plain.endswith("+json")


FORMATS: Mapping[str, Callable[[bytes], Reported]] = {
    "application/json": json_array,
    "application/x-ndjson": json_lines,
    "application/ndjson": json_lines,
    "application/jsonl": json_lines,
    "text/csv": csv_rows,
    "application/cloudevents+json": cloud_event,
    "application/cloudevents-batch+json": cloud_events,
}
"""What reads a body, by its media type."""


# ─── One event ───────────────────────────────────────────────────────────────────────────────


class Event(NamedTuple):
    """An event as columns take it; the timestamp in milliseconds since the epoch."""

    event_name: str
    payload: dict[str, str]
    identifier: str | None
    timestamp: int | None


def one_by_one(found: Iterable[Any], read: Callable[[Any], Event]) -> Reported:
    """The events as columns; those that ``read`` refuses as errors, by their places."""
    reported = Reported([], [], [], [], {})
    for place, each in enumerate(found):
        try:
            event = read(each)
        except InvalidRequest as error:
            reported.errors[place] = error
            event = Event("", {}, None, None)
        reported.event_names.append(event.event_name)
        reported.payloads.append(event.payload)
        reported.identifiers.append(event.identifier)
        reported.timestamps.append(event.timestamp)
    return reported


def event_of(found: Any) -> Event:
    """An event from decoded JSON. Raises ``InvalidRequest``, with the parameter at fault."""
    if isinstance(found, BillingError):
        raise found
    if not isinstance(found, dict):
        raise InvalidRequest("An event must be an object.", code="event_invalid")
    if unknown := [name for name in found if name not in FIELDS]:
        plural = "s" if len(unknown) > 1 else ""
        raise InvalidRequest(
            f"Received unknown parameter{plural}: {', '.join(map(_clipped, unknown[:10]))}",
            param=_clipped(unknown[0]),
            code="parameter_unknown",
        )
    for name in ("event_name", "payload"):
        if found.get(name) is None:
            raise _missing(name)
    identifier = found.get("identifier")
    if identifier is not None:
        identifier = _text(identifier, IDENTIFIER_MAX, ("identifier",))
    return Event(
        _text(found["event_name"], NAME_MAX, ("event_name",)),
        _payload(found["payload"], "payload"),
        identifier,
        _milliseconds(found.get("timestamp"), "timestamp"),
    )


def _payload(found: Any, name: str) -> dict[str, str]:
    if not isinstance(found, dict):
        raise InvalidRequest(
            f"Invalid object: {_shown(found)}", param=name, code="parameter_invalid"
        )
    if len(found) > PAYLOAD_KEYS_MAX:
        raise InvalidRequest(
            f"The {name} has {len(found)} keys; at most {PAYLOAD_KEYS_MAX} are allowed",
            param=name,
            code="meter_event_dimension_count_too_high",
        )
    payload = {}
    for key, value in found.items():
        param = (name, _clipped(key))
        _text(key, KEY_MAX, param)
        if type(value) is int or type(value) is _Number:
            value = str(value)
        elif type(value) is not str:
            raise InvalidRequest(
                f"Invalid value: {_shown(value)}; must be a string or a number",
                param=param,
                code="parameter_invalid",
            )
        payload[key] = _text(value, TEXT_MAX, param, length_min=0)
    return payload


def _text(value: Any, length_max: int, param: Path, *, length_min: int = 1) -> str:
    """Text of that many characters, none of them NUL, which PostgreSQL cannot keep."""
    if type(value) is not str:
        raise InvalidRequest(
            f"Invalid string: {_shown(value)}", param=param, code="parameter_invalid"
        )
    if not length_min <= len(value) <= length_max:
        if value:
            raise InvalidRequest(
                f"Invalid string: {_shown(value)}; must be at most {length_max} characters",
                param=param,
                code="parameter_invalid",
            )
        raise InvalidRequest(
            f"The {param[-1] or 'key'} must not be empty.",
            param=param,
            code="parameter_invalid_empty",
        )
    if "\0" in value:
        raise InvalidRequest(
            f"Invalid string: {_shown(value)}; must not hold a NUL character",
            param=param,
            code="parameter_invalid",
        )
    return value


def _milliseconds(found: Any, param: str) -> int | None:
    """Unix seconds, or ISO 8601 with a zone, in milliseconds since the epoch.

    What is finer is cut off: rounded up, an event could be in the next period.
    """
    if found is None:
        return None
    if type(found) is int:
        milliseconds = 1000 * found
    elif type(found) is str and len(found) <= TIME_MAX and _ISO.fullmatch(found.upper()):
        try:
            milliseconds = (datetime.fromisoformat(found.upper()) - _EPOCH) // _MS
        except ValueError:
            raise _invalid_time(found, param) from None
    else:
        raise _invalid_time(found, param)
    return within_reach(milliseconds, found, param)


def within_reach(milliseconds: int, found: Any, param: str) -> int:
    """The same, if we can count with it. Raises ``InvalidRequest``."""
    if not 0 <= milliseconds <= 1000 * TIMESTAMP_MAX:
        raise InvalidRequest(
            f"Invalid {param}: {_shown(found)}; must be between 1970 and 2200, in seconds",
            param=param,
            code="timestamp_invalid",
        )
    return milliseconds


def _invalid_time(found: Any, param: str) -> InvalidRequest:
    seconds = "whole seconds since 1970, or " if param == "timestamp" else ""
    return InvalidRequest(
        f"Invalid {param}: {_shown(found)}; must be {seconds}like 2026-01-01T00:00:00.000Z",
        param=param,
        code="timestamp_invalid",
    )


def _missing(name: str) -> InvalidRequest:
    return InvalidRequest(f"Missing required param: {name}.", param=name, code="parameter_missing")


def _shown(value: Any) -> str:
    """A value as it came, short enough for a sentence."""
    if isinstance(value, str):
        text = str(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        text = str(value) if -(10**50) < value < 10**50 else "a number of more than 50 digits"
    else:
        text = msgspec.json.encode(value, enc_hook=str).decode()
    return _clipped(text.replace("\0", "\\0"))


def _clipped(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"


# ─── Compression ─────────────────────────────────────────────────────────────────────────────


class Damaged(Exception):
    """Compressed bytes break off, or are none; what came before was good."""


class Decompressor(Protocol):
    """What zlib and zstandard have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def gunzip() -> Decompressor:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


def unzstd(window_bytes_max: int = WINDOW_BYTES_MAX) -> Decompressor:
    decompressor = zstandard.ZstdDecompressor(max_window_size=window_bytes_max)
    return decompressor.decompressobj()


# The bytes that are decompressed at once: few, because few can become many.
ENCODINGS: Mapping[str, tuple[str, Callable[[], Decompressor], int]] = {
    "gzip": ("gzip", gunzip, 4096),
    "x-gzip": ("gzip", gunzip, 4096),
    "zstd": ("zstd", unzstd, 256),
}


def decompressed(chunks: Iterable[bytes], new: Callable[[], Decompressor]) -> Iterator[bytes]:
    """What is in the chunks, one compressed stream after the other. Raises ``Damaged``."""
    current = new()
    for chunk in chunks:
        while chunk:
            if current.eof:
                current = new()
            try:
                yield current.decompress(chunk)
            except (zlib.error, zstandard.ZstdError) as error:
                raise Damaged(str(error).rpartition(": ")[2]) from None
            chunk = current.unused_data if current.eof else b""
    if not current.eof:
        raise Damaged("it breaks off before its end")


def _plain_body(body: bytes, encoding: str, bytes_max: int) -> bytes:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        raise InvalidRequest(
            f"Invalid Content-Encoding: {_shown(encoding)}; must be gzip, zstd or identity",
            code="content_encoding_invalid",
        )
    name, new, step = ENCODINGS[encoding]
    chunks = (body[start : start + step] for start in range(0, len(body), step))
    parts = []
    size = 0
    try:
        for part in decompressed(chunks, new):
            parts.append(part)
            size += len(part)
            if size > bytes_max:
                raise InvalidRequest(
                    f"The body has more than {bytes_max:,} bytes once it is decompressed.",
                    code="body_too_large",
                )
    except Damaged as damage:
        raise InvalidRequest(f"Invalid {name}: {damage}", code="body_invalid") from None
    return b"".join(parts)
