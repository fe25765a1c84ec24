"""A body full of usage events, in whatever format → the columns that are recorded.

A JSON body whose events are all as they should be is decoded in one call and taken apart by column.
Any other is looked at event by event, so that a bad one costs the others nothing: what is wrong
with it goes into ``errors``, by its place. A body that is not in its format at all is refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from postpaid.api.cloud_events import binary_cloud_event, cloud_event, cloud_events, is_binary
from postpaid.api.decompression import decoded_body
from postpaid.api.usage_events import (
    FIELDS,
    IDENTIFIER_MAX,
    KEY_MAX,
    NAME_MAX,
    PAYLOAD_KEYS_MAX,
    TEXT_MAX,
    TIME_MAX,
    TIMESTAMP_MAX,
    Event,
    event_of,
    json_of,
    milliseconds_of,
    one_by_one,
    shown,
    text_of,
)
from postpaid.billing.check_usage import Reported
from postpaid.core.errors import InvalidRequest

EVENTS_MAX = 10_000
BYTES_MAX = 20_000_000  # of a body, once it is decompressed
_DIGITS = re.compile(r"[0-9]{1,18}")
_BOM = b"\xef\xbb\xbf"


def events_in(body: bytes, headers: Mapping[str, str], *, bytes_max: int = BYTES_MAX) -> Reported:
    """The events of a request's body, by its ``content-type`` and ``content-encoding``.

    The headers' names are in lower case, or found in any. Raises ``InvalidRequest`` for a body that
    is not what it says to be, breaks off, or holds more than 10,000 events or ``bytes_max`` bytes.
    """
    body = decoded_body(body, headers.get("content-encoding", ""), bytes_max)
    media_type = _media_type(headers.get("content-type", ""))
    read = FORMATS.get(media_type)
    if read is not cloud_event and read is not cloud_events and is_binary(headers):
        reported = binary_cloud_event(body, headers, media_type)
    elif read is not None:
        reported = read(body.removeprefix(_BOM))
    else:
        raise InvalidRequest(
            f"Invalid Content-Type: {shown(media_type)}; must be one of {', '.join(FORMATS)}",
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
                f"Invalid charset: {shown(charset)}; must be utf-8", code="content_type_invalid"
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


_one = msgspec.json.Decoder(_Event)
_array = msgspec.json.Decoder(list[_Event])
_envelope = msgspec.json.Decoder(_Envelope)


def json_array(body: bytes) -> Reported:
    """``[{"event_name": …, "payload": {…}}, …]``, or the same as ``{"events": […]}``."""
    enclosed = body.lstrip()[:1] == b"{"
    if not _may_hold_nul(body):
        try:
            return _columns(_envelope.decode(body).events if enclosed else _array.decode(body))
        except (ValueError, RecursionError, InvalidRequest):
            pass  # what exactly is wrong is found below
    found = json_of(body)
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
            at * 1000 if type(at := event.timestamp) is int else milliseconds_of(at, "timestamp")
            for event in events
        ],
        {},
    )


def _may_hold_nul(body: bytes) -> bool:
    return b"\\u0000" in body  # unescaped, it is not JSON


def _line(line: bytes) -> Any:
    """What a line holds, or why it holds nothing."""
    try:
        return json_of(line)
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
            text_of(name, KEY_MAX, ("header", name[:KEY_MAX]))
            if cells.count(name) > 1:
                raise InvalidRequest(
                    f"The first row names the column {shown(name)} twice.", code="body_invalid"
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
