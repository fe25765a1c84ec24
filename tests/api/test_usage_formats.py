"""Bodies of usage events: whatever the format, the same columns; whatever is wrong, said of it."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import zstandard
from cloudevents.core.bindings.http import (
    HTTPMessage,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from postpaid.api.usage_events import TIMESTAMP_MAX
from postpaid.api.usage_formats import BYTES_MAX, EVENTS_MAX, FORMATS, events_in
from postpaid.billing.check_usage import Reported
from postpaid.core.errors import InvalidRequest

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"

AT = 1_767_225_600
CALL = {
    "event_name": "api_call",
    "identifier": "evt_1",
    "timestamp": AT,
    "payload": {"stripe_customer_id": "cus_1", "value": "1"},
}
CLOUD = {
    "specversion": "1.0",
    "id": "evt_1",
    "source": "/shop",
    "type": "api_call",
    "time": "2026-01-01T00:00:00Z",
    "data": {"stripe_customer_id": "cus_1", "value": "1"},
}


def read(body: bytes | str | list[Any] | dict[str, Any], kind: str = JSON, **more: str) -> Reported:
    if isinstance(body, list | dict):
        body = json.dumps(body)
    headers = {"content-type": kind} | {name.replace("_", "-"): text for name, text in more.items()}
    return events_in(body.encode() if isinstance(body, str) else body, headers)


def refusal(body: Any, kind: str = JSON, **more: str) -> InvalidRequest:
    """Why the body is refused as a whole."""
    with pytest.raises(InvalidRequest) as refused:
        read(body, kind, **more)
    return refused.value


def error_of(event: Any, kind: str = JSON) -> InvalidRequest:
    """What is wrong with the one event, which its good neighbours do not suffer from."""
    good: dict[str, Any] = CALL if kind in (JSON, NDJSON) else CLOUD
    body: Any = [good, event, good]
    if kind == NDJSON:
        body = "\n".join(map(json.dumps, body))
    reported = read(body, kind)
    assert list(reported.errors) == [1]
    assert [reported.event_names[0], reported.event_names[2]] == ["api_call"] * 2
    error = reported.errors[1]
    assert isinstance(error, InvalidRequest)
    return error


def with_payload(**payload: Any) -> dict[str, Any]:
    return CALL | {"payload": payload}


# ─── Every format says the same ──────────────────────────────────────────────────────────────

words = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)
keys = words.filter(lambda key: key not in ("event_name", "identifier", "timestamp"))
events = st.lists(
    st.tuples(
        words,
        st.dictionaries(keys, words, max_size=4),
        st.none() | words,
        st.none() | st.integers(0, 1000 * TIMESTAMP_MAX),
    ),
    min_size=1,
    max_size=5,
)
Rows = list[tuple[str, dict[str, str], str | None, int | None]]


def iso(ms: int) -> str:
    at = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def as_objects(rows: Rows) -> list[dict[str, Any]]:
    """Seconds where they are whole, and what is not there left out."""
    return [
        {"event_name": name, "payload": payload}
        | ({} if identifier is None else {"identifier": identifier})
        | ({} if ms is None else {"timestamp": iso(ms) if ms % 1000 else ms // 1000})
        for name, payload, identifier, ms in rows
    ]


def as_csv(rows: Rows) -> bytes:
    columns = sorted({key for _, payload, _, _ in rows for key in payload})
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["event_name", *columns, "timestamp", "identifier"])
    for name, payload, identifier, ms in rows:
        cells = [payload.get(column, "") for column in columns]
        writer.writerow([name, *cells, "" if ms is None else iso(ms), identifier or ""])
    return text.getvalue().encode()


def columns_of(reported: Reported) -> Rows:
    assert reported.errors == {}
    return list(
        zip(
            reported.event_names,
            map(dict, reported.payloads),
            reported.identifiers,
            reported.timestamps,
            strict=True,
        )
    )


@settings(deadline=None)
@given(events)
def test_a_body_says_the_same_in_every_format(rows: Rows) -> None:
    objects = as_objects(rows)
    array = json.dumps(objects).encode()
    lines = "\n".join(json.dumps(each, ensure_ascii=False) for each in objects).encode()
    assert columns_of(read(array)) == rows
    assert columns_of(read(json.dumps({"events": objects}))) == rows
    assert columns_of(read(lines, NDJSON)) == rows
    assert columns_of(read(lines + b"\n\r\n", NDJSON)) == rows
    assert columns_of(read(as_csv(rows), CSV)) == rows
    assert columns_of(read(gzip.compress(array), content_encoding="gzip")) == rows
    packed = zstandard.ZstdCompressor().compress(lines)
    assert columns_of(read(packed, NDJSON, content_encoding="zstd")) == rows


@settings(deadline=None)
@given(events)
def test_a_bad_neighbour_changes_nothing(rows: Rows) -> None:
    reported = read([*as_objects(rows), 7])
    assert list(reported.errors) == [len(rows)]
    reported.errors.clear()
    assert columns_of(reported)[:-1] == rows


@settings(deadline=None)
@given(events)
def test_cloud_events_of_their_own_library_say_the_same(rows: Rows) -> None:
    named = [(n, p, i or "id", (ms or 0) // 1000 * 1000) for n, p, i, ms in rows]
    made = []
    for name, payload, identifier, ms in named:
        attributes = {
            "id": identifier,
            "source": "/shop",
            "type": name,
            "time": datetime.fromtimestamp(ms // 1000, UTC),
            "datacontenttype": JSON,
        }
        made.append(CloudEvent(attributes, {"stripe_customer_id": "cus_1"} | payload))
    structured = [to_structured_event(event) for event in made]
    batch = b"[" + b",".join(message.body for message in structured) + b"]"
    expected = [(n, {"stripe_customer_id": "cus_1"} | p, i, ms) for n, p, i, ms in named]
    assert columns_of(read(batch, BATCHED)) == expected
    assert columns_of(events_in(structured[0].body, lowered(structured[0]))) == expected[:1]
    binary = to_binary_event(made[0])
    assert columns_of(events_in(binary.body, lowered(binary))) == expected[:1]


def lowered(message: HTTPMessage) -> Mapping[str, str]:
    return {name.lower(): text for name, text in message.headers.items()}


# ─── JSON and NDJSON ─────────────────────────────────────────────────────────────────────────


def test_numbers_are_kept_as_they_are_written() -> None:
    body = (
        '[{"event_name": "x", "payload": {"a": 1, "b": 1.50, "c": -0.0, "d": 1e5, '
        '"e": 123456789012345678901234567890, "f": 0.1000000000000000055511151231257827}}]'
    )
    assert read(body).payloads == [
        {
            "a": "1",
            "b": "1.50",
            "c": "-0.0",
            "d": "1e5",
            "e": "123456789012345678901234567890",
            "f": "0.1000000000000000055511151231257827",
        }
    ]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        pytest.param("2026-01-01T00:00:00Z", 1000 * AT, id="seconds"),
        pytest.param("2026-01-01T00:00:00.5Z", 1000 * AT + 500, id="tenths"),
        pytest.param("2026-01-01T00:00:00.1239999Z", 1000 * AT + 123, id="cut-not-rounded"),
        pytest.param("2026-01-01T00:00:00.9999999999Z", 1000 * AT + 999, id="cut-at-the-second"),
        pytest.param("2026-01-01T05:30:00+05:30", 1000 * AT, id="east"),
        pytest.param("2025-12-31 19:00:00-0500", 1000 * AT, id="west"),
        pytest.param("2026-01-01t00:00:00z", 1000 * AT, id="lower-case"),
        pytest.param(AT, 1000 * AT, id="unix"),
        pytest.param(0, 0, id="the-epoch"),
        pytest.param(TIMESTAMP_MAX, 1000 * TIMESTAMP_MAX, id="the-end"),
        pytest.param(None, None, id="null"),
    ],
)
def test_timestamps(text: Any, ms: int | None) -> None:
    event = CALL | {"timestamp": text}
    assert read([event]).timestamps == [ms]
    assert read([event, 7]).timestamps == [ms, None]
    assert read(json.dumps(event), NDJSON).timestamps == [ms]


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("-1", id="negative"),
        pytest.param("1767225600000", id="milliseconds"),
        pytest.param("9" * 30, id="absurd"),
        pytest.param("1767225600.5", id="fraction"),
        pytest.param("1767225600.0", id="float"),
        pytest.param("1.7672256e9", id="exponent"),
        pytest.param("true", id="boolean"),
        pytest.param("[1]", id="array"),
        pytest.param('"1767225600"', id="digits-in-text"),
        pytest.param('"2026-01-01T00:00:00"', id="no-zone"),
        pytest.param('"2026-01-01"', id="a-day"),
        pytest.param('"2026-02-30T00:00:00Z"', id="no-such-day"),
        pytest.param('"2026-01-01T24:00:00Z"', id="no-such-hour"),
        pytest.param('"2026-01-01T00:00:60Z"', id="leap-second"),
        pytest.param('"2026-W01-1T00:00:00Z"', id="week"),
        pytest.param('"2026-01-01T00:00:00+25:00"', id="no-such-zone"),
        pytest.param('"1969-12-31T23:59:59Z"', id="before-the-epoch"),
        pytest.param('"9999-12-31T23:59:59-12:00"', id="the-end-of-years"),
        pytest.param('"0001-01-01T00:00:00+14:00"', id="the-first-year"),
        pytest.param('"\u0662\u0660\u0662\u0666-01-01T00:00:00Z"', id="other-digits"),
        pytest.param('"yesterday"', id="words"),
        pytest.param('""', id="empty"),
    ],
)
def test_timestamps_that_are_none(written: str) -> None:
    body = f'[{{"event_name": "x", "payload": {{}}, "timestamp": {written}}}]'
    [error] = read(body).errors.values()
    assert (error.param, error.code) == (("timestamp",), "timestamp_invalid")
    assert error.message.startswith("Invalid timestamp: ")


@pytest.mark.parametrize(
    ("event", "param", "code"),
    [
        pytest.param(7, (), "event_invalid", id="a-number"),
        pytest.param([CALL], (), "event_invalid", id="an-array"),
        pytest.param({}, ("event_name",), "parameter_missing", id="nothing"),
        pytest.param({"event_name": "x"}, ("payload",), "parameter_missing", id="no-payload"),
        pytest.param(CALL | {"n": 1}, ("n",), "parameter_unknown", id="unknown"),
        pytest.param(
            CALL | {"event_name": ""}, ("event_name",), "parameter_invalid_empty", id="empty-name"
        ),
        pytest.param(
            CALL | {"event_name": "x" * 101}, ("event_name",), "parameter_invalid", id="long-name"
        ),
        pytest.param(
            CALL | {"event_name": 1}, ("event_name",), "parameter_invalid", id="number-as-name"
        ),
        pytest.param(
            CALL | {"event_name": 1.5}, ("event_name",), "parameter_invalid", id="float-as-name"
        ),
        pytest.param(
            CALL | {"identifier": ""},
            ("identifier",),
            "parameter_invalid_empty",
            id="empty-identifier",
        ),
        pytest.param(
            CALL | {"identifier": "x" * 101},
            ("identifier",),
            "parameter_invalid",
            id="long-identifier",
        ),
        pytest.param(
            CALL | {"identifier": "a\0"}, ("identifier",), "parameter_invalid", id="nul-identifier"
        ),
        pytest.param(CALL | {"payload": "x"}, ("payload",), "parameter_invalid", id="payload-text"),
        pytest.param(
            with_payload(**{f"k{i}": "v" for i in range(61)}),
            ("payload",),
            "meter_event_dimension_count_too_high",
            id="many-keys",
        ),
        pytest.param(
            with_payload(**{"": "x"}), ("payload", ""), "parameter_invalid_empty", id="empty-key"
        ),
        pytest.param(
            with_payload(**{"k\0": "x"}), ("payload", "k\0"), "parameter_invalid", id="nul-key"
        ),
        pytest.param(
            with_payload(**{"k" * 101: "x"}),
            ("payload", "k" * 100 + "…"),
            "parameter_invalid",
            id="long-key",
        ),
        pytest.param(
            with_payload(k="v" * 501), ("payload", "k"), "parameter_invalid", id="long-text"
        ),
        pytest.param(with_payload(k="v\0"), ("payload", "k"), "parameter_invalid", id="nul-text"),
        pytest.param(
            with_payload(k=10**600), ("payload", "k"), "parameter_invalid", id="long-number"
        ),
        pytest.param(with_payload(k=True), ("payload", "k"), "parameter_invalid", id="boolean"),
        pytest.param(with_payload(k=None), ("payload", "k"), "parameter_invalid", id="null"),
        pytest.param(
            with_payload(k={"a": 1.5}), ("payload", "k"), "parameter_invalid", id="object"
        ),
        pytest.param(with_payload(k=["x"]), ("payload", "k"), "parameter_invalid", id="list"),
    ],
)
def test_a_bad_event_is_refused_alone(event: Any, param: tuple[str, ...], code: str) -> None:
    for kind in (JSON, NDJSON):
        error = error_of(event, kind)
        assert (error.param, error.code) == (param, code)
        assert len(error.message) < 300


def test_a_line_that_is_no_json_is_refused_alone() -> None:
    good = json.dumps(CALL)
    reported = read(f'{good}\n{{"event_name": \n{good}\n\n{good} {good}\n{good[:-9]}', NDJSON)
    assert [error.code for error in reported.errors.values()] == ["body_invalid"] * 3
    assert list(reported.errors) == [1, 3, 4]
    assert [name == "api_call" for name in reported.event_names] == [
        True,
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        pytest.param(b"", JSON, "Invalid JSON: Input data was truncated", id="empty"),
        pytest.param(b'[{"event_name"', JSON, "Invalid JSON: Input data was truncated", id="cut"),
        pytest.param(b"[1,]", JSON, "Invalid JSON: ", id="comma"),
        pytest.param(b"a=1", JSON, "Invalid JSON: ", id="form"),
        pytest.param(b"[" * 100_000, JSON, "Invalid JSON: ", id="deep"),
        pytest.param(b'{"events":' + b"[" * 100_000, JSON, "Invalid JSON: ", id="deeper"),
        pytest.param(b'["\xff"]', JSON, "Invalid JSON: ", id="not-utf-8"),
        pytest.param(b'["\\ud800"]', JSON, "Invalid JSON: ", id="half-a-character"),
        pytest.param(b"7", JSON, "The body must be a JSON array", id="number"),
        pytest.param(b"{}", JSON, "The body must be a JSON array", id="object"),
        pytest.param(json.dumps(CALL).encode(), JSON, "The body must be a JSON", id="one-event"),
        pytest.param(
            b'{"events":[],"a":1}', JSON, "The body must be a JSON", id="more-than-events"
        ),
        pytest.param(b"", NDJSON, "The body must be NDJSON", id="no-lines"),
        pytest.param(b"a,b\nc,d\n", NDJSON, "The body must be NDJSON", id="csv-as-ndjson"),
        pytest.param(json.dumps([CALL]).encode(), NDJSON, "The body must be NDJSON", id="array"),
        pytest.param(b"", CSV, "The first row must name the columns", id="no-header"),
        pytest.param(b"api_call,1\n", CSV, "The first row must name the columns", id="no-names"),
        pytest.param(
            b"event_name,a,a\n", CSV, "The first row names the column a twice", id="twice"
        ),
        pytest.param(
            b"event_name,\nx,1", CSV, "The key must not be empty", id="column-without-name"
        ),
        pytest.param(
            b'event_name,v\nx,"1',
            CSV,
            "Invalid CSV, line 2: unexpected end of data",
            id="open-quote",
        ),
        pytest.param(b'event_name,v\nx,"1"2', CSV, "Invalid CSV, line 2: ", id="after-the-quote"),
        pytest.param(
            b"event_name,v\nx," + b"1" * 200_000, CSV, "Invalid CSV, line", id="long-cell"
        ),
        pytest.param(b"event_name\n\xff", CSV, "Invalid CSV: ", id="csv-not-utf-8"),
        pytest.param(b"{}", BATCHED, "The body must be a JSON array of Cloud", id="no-batch"),
        pytest.param(b"{", STRUCTURED, "Invalid JSON: ", id="cut-cloud-event"),
        pytest.param(b"[]", "text/plain", "Invalid Content-Type: text/plain; must", id="text"),
        pytest.param(b"[]", "", "Invalid Content-Type: ; must be", id="no-type"),
        pytest.param(b"[]", JSON + "; charset=utf-16", "Invalid charset: utf-16", id="charset"),
    ],
)
def test_a_body_that_is_not_its_format_is_refused(body: bytes, kind: str, message: str) -> None:
    assert message in refusal(body, kind).message


@pytest.mark.parametrize("kind", [JSON, NDJSON, CSV, BATCHED])
def test_a_request_has_at_most_so_many_events(kind: str) -> None:
    def body(count: int) -> bytes:
        if kind == CSV:
            return b"event_name\n" + b"x\n" * count
        if kind == NDJSON:
            return b'{"event_name":"x","payload":{}}\n' * count
        return json.dumps([CLOUD if kind == BATCHED else CALL] * count).encode()

    assert len(read(body(EVENTS_MAX), kind).event_names) == EVENTS_MAX
    error = refusal(body(EVENTS_MAX + 1), kind)
    assert error.message == "At most 10,000 events are allowed in a request; this one has 10,001."


def test_types_have_parameters_bodies_marks_and_lists_may_be_empty() -> None:
    assert read(b"\xef\xbb\xbf[]", "Application/JSON; charset=UTF-8").event_names == []
    assert read(b"\xef\xbb\xbfevent_name\r\n\r\n", 'text/csv; charset="utf-8"').event_names == []


@settings(deadline=None)
@given(st.sampled_from([*FORMATS, "x/y"]), st.binary(max_size=60), st.sampled_from(["", "gzip"]))
def test_no_bytes_are_worse_than_refused(kind: str, body: bytes, encoding: str) -> None:
    with suppress(InvalidRequest):
        reported = read(body, kind, content_encoding=encoding)
        assert len(reported.event_names) == len(reported.timestamps)


# ─── CSV ─────────────────────────────────────────────────────────────────────────────────────


def test_csv_rows_have_the_headers_cells() -> None:
    body = (
        "timestamp,event_name,stripe_customer_id,value,region\r\n"
        '1767225600,api_call,cus_1,1.50,"Europe, ""west"""\r\n'
        "\r\n"
        ",api_call,cus_2,,\r\n"
        "soon,api_call,cus_3,1,\r\n"
        "1767225600,api_call,cus_4\r\n"
        "99999999999999999999,api_call,cus_5,1,\r\n"
        "1767225600,,cus_6,1,\r\n"
    )
    reported = read(body, CSV)
    assert reported.payloads[:2] == [
        {"stripe_customer_id": "cus_1", "value": "1.50", "region": 'Europe, "west"'},
        {"stripe_customer_id": "cus_2"},
    ]
    assert reported.timestamps[:2] == [1000 * AT, None]
    assert reported.identifiers == [None] * 6
    assert [str(error) for error in reported.errors.values()] == [
        "Invalid timestamp: soon; must be whole seconds since 1970, or like "
        "2026-01-01T00:00:00.000Z",
        "The row has 3 cells, and the header 5.",
        "Invalid timestamp: 99999999999999999999; must be whole seconds since 1970, or like "
        "2026-01-01T00:00:00.000Z",
        "Missing required param: event_name.",
    ]


# ─── CloudEvents ─────────────────────────────────────────────────────────────────────────────


def test_a_batch_of_the_cloudevents_library_is_read() -> None:
    made = [
        CloudEvent(
            {
                "id": f"evt_{i}",
                "source": "https://shop.example/billing",
                "type": "api_call",
                "subject": f"cus_{i}",
                "time": datetime(2026, 1, 1, 0, 0, i, 123_999, tzinfo=UTC),
                "datacontenttype": JSON,
                "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            },
            {"value": str(i), "region": "eu"},
        )
        for i in range(3)
    ]
    written = b"[" + b",".join(JSONFormat().write(event) for event in made) + b"]"
    reported = read(written, BATCHED)
    assert columns_of(reported) == [
        (
            "api_call",
            {"value": str(i), "region": "eu", "stripe_customer_id": f"cus_{i}"},
            f"evt_{i}",
            1000 * (AT + i) + 123,
        )
        for i in range(3)
    ]


def test_the_data_goes_before_the_subject() -> None:
    assert read([CLOUD | {"subject": "cus_9"}], BATCHED).payloads == [CLOUD["data"]]


def test_an_event_without_a_time_is_of_now() -> None:
    event = {name: value for name, value in CLOUD.items() if name != "time"}
    assert read(event, STRUCTURED).timestamps == [None]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        pytest.param({"specversion": "0.3"}, ("specversion",), id="old"),
        pytest.param({"specversion": None}, ("specversion",), id="no-version"),
        pytest.param({"specversion": 1.0}, ("specversion",), id="number-as-version"),
        pytest.param({"id": None}, ("id",), id="no-id"),
        pytest.param({"id": ""}, ("id",), id="empty-id"),
        pytest.param({"id": "x" * 101}, ("id",), id="long-id"),
        pytest.param({"source": None}, ("source",), id="no-source"),
        pytest.param({"source": ""}, ("source",), id="empty-source"),
        pytest.param({"type": None}, ("type",), id="no-type"),
        pytest.param({"type": 7}, ("type",), id="number-as-type"),
        pytest.param({"time": AT}, ("time",), id="seconds"),
        pytest.param({"time": "2026-01-01"}, ("time",), id="a-day"),
        pytest.param({"subject": ""}, ("subject",), id="empty-subject"),
        pytest.param({"data": None}, ("data",), id="no-data"),
        pytest.param({"data": "text"}, ("data",), id="text-as-data"),
        pytest.param({"data": {"value": True}}, ("data", "value"), id="bad-value"),
        pytest.param({"datacontenttype": "text/xml"}, ("datacontenttype",), id="xml"),
        pytest.param(
            {"data": None, "data_base64": base64.b64encode(b"{}").decode()},
            ("data_base64",),
            id="base64",
        ),
    ],
)
def test_a_bad_cloud_event_is_refused_alone(change: dict[str, Any], param: tuple[str, ...]) -> None:
    event = {name: value for name, value in (CLOUD | change).items() if value is not None}
    assert error_of(event, BATCHED).param == param
    [error] = read(event, STRUCTURED).errors.values()
    assert error.param == param


BINARY = {"ce_specversion": "1.0", "ce_id": "evt%201", "ce_source": "/x", "ce_type": "api_call"}


def test_a_binary_cloud_event_has_its_attributes_in_headers() -> None:
    reported = read(
        {"value": 1.50}, JSON, **BINARY, ce_time="2026-01-01T00:00:00Z", ce_subject="caf%C3%A9"
    )
    assert columns_of(reported) == [
        ("api_call", {"value": "1.5", "stripe_customer_id": "café"}, "evt 1", 1000 * AT)
    ]


@pytest.mark.parametrize("name", BINARY)
def test_a_binary_cloud_event_needs_its_attributes(name: str) -> None:
    headers = {each: text for each, text in BINARY.items() if each != name}
    [error] = read({"value": "1"}, JSON, **headers).errors.values()
    assert error.param == (name.removeprefix("ce_"),)


def test_bad_binary_cloud_events() -> None:
    assert refusal({}, JSON, **(BINARY | {"ce_id": "%FF"})).param == ("ce-id",)
    assert "Invalid JSON" in refusal(b"{", JSON, **BINARY).message
    [error] = read(b"<a/>", "text/xml", **BINARY).errors.values()
    assert error.param == ("datacontenttype",)
    [error] = read(b"", JSON, **BINARY).errors.values()
    assert error.param == ("data",)


# ─── Compression ─────────────────────────────────────────────────────────────────────────────


def zstd(plain: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(plain)


BODY = json.dumps([CALL] * 2000).encode()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        pytest.param("gzip", gzip.compress(BODY), id="gzip"),
        pytest.param(" GZIP ", gzip.compress(BODY), id="capitals"),
        pytest.param("x-gzip", gzip.compress(BODY[:99]) + gzip.compress(BODY[99:]), id="members"),
        pytest.param("zstd", zstd(BODY), id="zstd"),
        pytest.param("zstd", zstd(BODY[:99]) + zstd(BODY[99:]), id="frames"),
        pytest.param("identity", BODY, id="identity"),
    ],
)
def test_bodies_may_be_compressed(encoding: str, packed: bytes) -> None:
    assert columns_of(read(packed, content_encoding=encoding)) == columns_of(read(BODY))


@pytest.mark.parametrize(
    ("encoding", "packed", "message"),
    [
        pytest.param("br", BODY, "Invalid Content-Encoding: br; must be gzip", id="brotli"),
        pytest.param("gzip, zstd", BODY, "Invalid Content-Encoding: gzip, zstd", id="twice"),
        pytest.param("gzip", BODY, "Invalid gzip: incorrect header check", id="not-gzip"),
        pytest.param("zstd", BODY, "Invalid zstd: ", id="not-zstd"),
        pytest.param("gzip", b"", "Invalid gzip: it breaks off before its end", id="no-gzip"),
        pytest.param(
            "gzip", gzip.compress(BODY)[:-1], "Invalid gzip: it breaks off before", id="cut-gzip"
        ),
        pytest.param("zstd", zstd(BODY)[:-1], "Invalid zstd: it breaks off before", id="cut-zstd"),
        pytest.param(
            "gzip",
            gzip.compress(BODY)[:-8] + b"\0" * 8,
            "Invalid gzip: incorrect data",
            id="checksum",
        ),
        pytest.param("gzip", gzip.compress(BODY) + b"x", "Invalid gzip: ", id="more-after-gzip"),
        pytest.param("zstd", zstd(BODY) + b"x", "Invalid zstd: ", id="more-after-zstd"),
    ],
)
def test_damaged_bodies_are_refused(encoding: str, packed: bytes, message: str) -> None:
    assert refusal(packed, content_encoding=encoding).message.startswith(message)


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        pytest.param("gzip", gzip.compress(b" " * 3 * BYTES_MAX), id="gzip"),
        pytest.param("zstd", zstd(b" " * 3 * BYTES_MAX), id="zstd"),
    ],
)
def test_a_bomb_is_refused(encoding: str, bomb: bytes) -> None:
    assert refusal(bomb, content_encoding=encoding).code == "body_too_large"
    with pytest.raises(InvalidRequest, match="more than 1,000 bytes"):
        events_in(
            gzip.compress(BODY),
            {"content-type": JSON, "content-encoding": "gzip"},
            bytes_max=1000,
        )
