"""Whatever is sent, the answer is precise and never our fault."""

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

import gadgets
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postpaid.api.stripe.facade import Facade
from postpaid.billing.manage_keys import IssuedKey
from postpaid.storage.database import Database

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    """What was answered: the status, the message and the parameter at fault."""
    body = answer.json()["error"]
    return answer.status_code, body["message"], body.get("param")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("GET", "/v1/gidgets"),
        ("GET", "/v1/gadgets/"),
        ("GET", "/v1/gadgets/x/y"),
        ("GET", "/v1/gadgets/x/pay"),
        ("GET", "/v2/gidgets"),
        ("PUT", "/v1/gadgets/x"),
        ("PATCH", "/v1/gadgets/x"),
        ("DELETE", "/v1/gadgets"),
        ("OPTIONS", "/v1/gadgets"),
    ],
)
def test_an_unknown_url_is_named(gadget_http: httpx.Client, method: str, path: str) -> None:
    status, message, _ = error(gadget_http.request(method, path, follow_redirects=True))
    assert status == 404
    assert message.startswith(f"Unrecognized request URL ({method}: {path}")


def test_a_word_in_a_path_goes_before_a_parameter(gadget_http: httpx.Client) -> None:
    assert gadget_http.get("/v1/gadgets/newest").json()["id"] == "newest"


def test_an_id_in_a_path_may_be_any_text(gadget_http: httpx.Client) -> None:
    for encoded, gadget in [("a%2Fb", "a/b"), ("%E2%82%AC", "€"), ("a%20b", "a b"), ("%27", "'")]:
        status, message, param = error(gadget_http.get(f"/v1/gadgets/{encoded}"))
        assert (status, message, param) == (404, f"No such gadget: '{gadget}'", "id")


@pytest.mark.parametrize("encoded", ["a%00b", "x" * 256])
def test_an_id_in_a_path_that_cannot_be_is_refused(gadget_http: httpx.Client, encoded: str) -> None:
    status, message, param = error(gadget_http.get(f"/v1/gadgets/{encoded}"))
    assert (status, param) == (400, "gadget")
    assert message.startswith("Invalid string: ")


# ─── Bodies ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "content_type", "content"),
    [
        ("/v1/gadgets", FORM, b"name=x"),
        ("/v1/gadgets", FORM + "; charset=utf-8", b"name=x"),
        ("/v1/gadgets", FORM.upper(), b"name=x"),
        ("/v1/gadgets", None, b"name=x"),
        ("/v1/gadgets?name=x", None, b""),
        ("/v1/gadgets?name=x", JSON, b""),
        ("/v1/gadgets?price=1", FORM, b"name=x"),
        ("/v2/gadgets", JSON, b'{"name": "x"}'),
        ("/v2/gadgets", "application/json; charset=utf-8", b'{"name": "x", "at": null}'),
        ("/v2/gadgets", None, b'{"name": "x"}'),
    ],
)
def test_a_body_is_taken(
    gadget_http: httpx.Client, path: str, content_type: str | None, content: bytes
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = gadget_http.post(path, content=content, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["name"] == "x"


@pytest.mark.parametrize(
    ("path", "content_type", "expected"),
    [
        ("/v1/gadgets", JSON, FORM),
        ("/v1/gadgets", "multipart/form-data; boundary=x", FORM),
        ("/v1/gadgets", "text/plain", FORM),
        ("/v2/gadgets", FORM, JSON),
        ("/v2/gadgets", "text/json", JSON),
    ],
)
def test_another_format_is_refused(
    gadget_http: httpx.Client, path: str, content_type: str, expected: str
) -> None:
    answer = gadget_http.post(path, content=b"name=x", headers={"Content-Type": content_type})
    assert error(answer) == (
        415,
        f"Unsupported content type: {content_type}; this path takes {expected}.",
        None,
    )


def test_a_body_has_a_size(gadget_http: httpx.Client) -> None:
    for content in (b"name=" + b"x" * 20_001, iter([b"name=", b"x" * 10_000, b"x" * 10_001])):
        answer = gadget_http.post("/v1/gadgets", content=content, headers={"Content-Type": FORM})
        assert error(answer) == (413, "The request body is too large; at most 20000 bytes.", None)
    assert gadget_http.get("/v1/gadgets").status_code == 200


def test_who_may_not_ask_need_not_send(gadget_server: str) -> None:
    with httpx.Client(base_url=gadget_server) as client:
        for _ in range(2):
            assert client.post("/v1/gadgets", content=b"x" * 1_000_000).status_code == 401


@pytest.mark.parametrize(
    ("content", "message", "param"),
    [
        (b"name=%ff", "Invalid string: not valid UTF-8.", "name"),
        (b"name=a%00b", "Invalid string: contains a NUL character.", "name"),
        (b"parts[0][kind]=\xff", "Invalid string: not valid UTF-8.", "parts[0][kind]"),
        (b"a" + b"[b]" * 9 + b"=1", "Parameters may be nested at most 8 levels deep.", "a"),
        (b"a=1&" * 1001, "You sent too many parameters; at most 1000 are allowed.", None),
        (
            b"name=x&name[a]=y",
            "Invalid parameter: name[a] is given in two ways that exclude each other.",
            "name[a]",
        ),
    ],
)
def test_a_form_is_refused(
    gadget_http: httpx.Client, content: bytes, message: str, param: str | None
) -> None:
    headers = {"Content-Type": FORM}
    assert error(gadget_http.post("/v1/gadgets", content=content, headers=headers)) == (
        400,
        message,
        param,
    )


@pytest.mark.parametrize(
    ("content", "message", "param"),
    [
        (b"[]", "Invalid JSON: the body must be an object.", None),
        (b'{"name": 1}', "Invalid string", "name"),
        (b'{"name": "x", "unit_cost": 0.1}', "Invalid decimal: 0.1", "unit_cost"),
        (b'{"name": "a\\u0000b"}', "Invalid string: contains a NUL character.", "name"),
        (
            b'{"name": "x", "parts": [{}]}',
            "Missing required param: parts[0][kind].",
            ("parts[0][kind]"),
        ),
        (
            b'{"name": "x", "parts": [{"kind": "nut", "a": 1}]}',
            ("Received unknown parameter: parts[0][a]"),
            "parts[0][a]",
        ),
        (b'{"name": null}', "Missing required param: name.", "name"),
    ],
)
def test_json_is_refused(
    gadget_http: httpx.Client, content: bytes, message: str, param: str | None
) -> None:
    headers = {"Content-Type": JSON}
    assert error(gadget_http.post("/v2/gadgets", content=content, headers=headers)) == (
        400,
        message,
        param,
    )


def test_a_route_without_parameters_takes_none(gadget_http: httpx.Client) -> None:
    assert error(gadget_http.get("/v1/gadgets/newest?limit=1")) == (
        400,
        "Received unknown parameter: limit",
        "limit",
    )


@pytest.mark.parametrize("version", ["yesterday", "2026", "2026-10-28.endive; x", ""])
def test_an_api_version_looks_like_one(gadget_http: httpx.Client, version: str) -> None:
    status, message, _ = error(gadget_http.get("/v1/gadgets", headers={"Stripe-Version": version}))
    assert (status, message) == (400, f"Invalid Stripe API version: {version}")


# ─── Anything at all ─────────────────────────────────────────────────────────────────────────

texts = st.text(st.characters(exclude_categories=["Cs"]))
odd = ["", "0", "-1", "1e999", "inf", "NaN", "true", "null", "nut", "usd", "owner", "\0", "€"]
long = ["9" * 18, "9" * 400, "x" * 300]
instants = ["2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
odd_values = (
    st.sampled_from([*odd, *long, *instants])
    | texts
    | st.integers().map(str)
    | st.floats().map(str)
)
known_names = st.sampled_from(
    [
        "active color colors[] colors[3] created created[gt] created[lte] currency description",
        "due_at ending_before expand[] expand[2] labels[0] labels[a] limit metadata metadata[]",
        "metadata[0] metadata[a] name owner owner[email] owner[name] parts parts[] parts[0][kind]",
        "parts[0][up_to] parts[0][weight] parts[7][quantity] parts[][kind] price starting_after",
        "tags[0] tags[1] tags[] unit_cost",
    ]
).flatmap(lambda line: st.sampled_from(line.split()))
forms = st.lists(st.tuples(known_names | texts, odd_values), max_size=12).map(
    lambda pairs: urlencode(pairs).encode()
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | odd_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
jsons = st.dictionaries(
    st.sampled_from(["name", "at", "parts", "unit_cost"]) | texts, json_values
).map(lambda value: json.dumps(value).encode())
paths = st.sampled_from(
    [b"/v1/gadgets", b"/v1/gadgets/gadget_1", b"/v1/gadgets/gadget_1/pay", b"/v2/gadgets"]
) | st.binary(max_size=20).map(lambda tail: b"/v1/gadgets/" + tail)
header_values = st.text(st.characters(max_codepoint=255)).map(lambda text: text.encode("latin-1"))


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    path=paths,
    query=forms | st.binary(max_size=50),
    body=forms | jsons | st.binary(max_size=50),
    headers=st.dictionaries(
        st.sampled_from([b"idempotency-key", b"stripe-version", b"authorization", b"x-other"]),
        header_values,
    ),
)
def test_nothing_that_is_sent_is_our_fault(
    database: Database,
    gadget_server: str,
    key: IssuedKey,
    method: str,
    path: bytes,
    query: bytes,
    body: bytes,
    headers: dict[bytes, bytes],
) -> None:
    scope = {
        "type": "http",
        "method": method,
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "headers": [
            (b"content-type", (JSON if path.startswith(b"/v2/") else FORM).encode()),
            *({b"authorization": f"Bearer {key.secret}".encode()} | headers).items(),
        ],
    }
    status, answer = asyncio.run(answer_to(database, scope, body))
    assert status < 500, answer
    assert status == 200 or answer["error"]["message"]


async def answer_to(
    database: Database, scope: dict[str, Any], body: bytes
) -> tuple[int, dict[str, Any]]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await Facade(database, [gadgets.routes], body_bytes_max=10_000)(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])
