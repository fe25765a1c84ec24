"""Whatever is sent to Frame's API, the answer is precise, never our fault, and nothing half done.

Each route is asked rightly but for one parameter, which is wrong in every way. What its model
refuses must be refused by that name; what its model takes may be refused by what is known besides.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from frame_shop import JSON, RIGHT, ROUTES, Given, Shop
from pydantic import ValidationError

from postpaid.api.forms import parse_json
from postpaid.api.params import Params
from postpaid.billing.manage_keys import IssuedKey
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from serving import plain_http

NUMBERS: list[Any] = [0, -1, 10**9, 2**63, 10**16, 10**40, 0.5, 1e-13, 1e300]
TEXTS: list[Any] = [
    "", "x", "NaN", "-Infinity", "1e999", "-5", "9" * 18, "9" * 400, "a\0b", "\ud800", "x" * 256,
    "x" * 30_000, "\u202e€😀", "true", "2026-13-45", "0001-01-01T00:00:00+14:00", "USD", "cus_none",
]  # fmt: skip
NESTED: list[Any] = [
    [], {}, [[]], [{}], {"": ""}, {"a": {"b": {}}}, [None], ["x"], ["x"] * 1001, {"a": "x" * 5000},
    {f"k{each}": "v" for each in range(60)}, [{"product": 1, "quantity": "NaN"}], {"a\0": "b"},
]  # fmt: skip
VALUES = [None, True, False, *NUMBERS, *TEXTS, *NESTED]

# All that a request may be written to, and the tables of what nobody has accepted yet.
WRITTEN = ("acts", "events", "usage_events", "customers", "invoices", "subscriptions")

WITH_PARAMETERS = sorted(each for each in RIGHT if ROUTES[each].params is not None)
WITH_IDS = sorted(each for each in RIGHT if ROUTES[each].path_parameters)


def check(answer: httpx.Response) -> Given:
    """The error's body, under every key that Frame's clients read; raises unless it is one."""
    assert 400 <= answer.status_code < 500, answer.text
    body: Given = answer.json()
    assert {*body} == {"status", "error", "code", "message", "error_details"}
    assert body["status"] == answer.status_code
    assert body["error"]
    assert body["code"]
    assert body["message"] == body["error_details"]["message"] != ""
    return body


def refused(model: type[Params], given: Given) -> bool:
    """Whether the model itself refuses it, as it arrives."""
    try:
        model.model_validate(parse_json(json.dumps(given).encode(), decimals=True))
    except ValidationError:
        return True
    return False


def written(database: Database, account_id: int) -> list[tuple[int, ...]]:
    with database.connection() as conn:
        counts = ", ".join(
            f"(SELECT count(*) FROM {each} WHERE account_id = %(a)s)" for each in WRITTEN
        )
        return conn.execute(f"SELECT {counts}", {"a": account_id}).fetchall()


@pytest.mark.parametrize("operation", WITH_PARAMETERS)
def test_each_parameter_is_refused_in_every_wrong_way(
    http: httpx.Client, operation: str, database: Database, account: Account
) -> None:
    shop = Shop(http)
    named, right = shop.right(operation)
    method, path = operation.split(" ")
    path = path.format(**named)
    model = ROUTES[operation].params
    assert model is not None

    wrong = []
    for name, field in model.model_fields.items():
        name = field.alias or name
        for value in VALUES:
            if method == "GET" and (
                isinstance(value, list | dict | type(None)) or value == "\ud800"
            ):
                continue  # which no query can say
            said = right | {name: value}
            if method == "GET":
                said = {key: query(each) for key, each in said.items()}
            by_its_name = not broken(value) and refused(model, said)
            before = [] if by_its_name else written(database, account.account_id)
            answer = shop.send(method, path, said)
            try:
                if answer.is_success:
                    assert not by_its_name, "is taken"
                    assert not broken(value), "is kept"
                    continue
                body = check(answer)
                if by_its_name:
                    errors = body["error_details"]["errors"]
                    assert {each.partition("[")[0] for each in errors} == {name}, "is misnamed"
                else:
                    assert written(database, account.account_id) == before, "is half done"
            except (AssertionError, KeyError) as problem:
                wrong.append(f"{name}={value!r:.60} {problem}: {answer.text[:300]}"[:600])
    assert wrong == []


def sayable(value: Any) -> bool:
    """Whether a query can say it."""
    return value != "\ud800" and not isinstance(value, list | dict | type(None))


def query(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | float) else str(value)


def broken(value: Any) -> bool:
    """What nothing can be: text that no database keeps."""
    text = json.dumps(value, ensure_ascii=False)
    return "\ud800" in text or "\\u0000" in text


# ─── Ids ─────────────────────────────────────────────────────────────────────────────────────

ODD_IDS = ["none", " ", "'", "€", "a/b", "null", "undefined", "x" * 255, "1", "cus_\u202e"]


@pytest.mark.parametrize("operation", WITH_IDS)
def test_an_id_of_nothing_is_not_found(http: httpx.Client, operation: str) -> None:
    shop = Shop(http)
    named, given = shop.right(operation)
    method, path = operation.split(" ")
    for parameter in named:
        for odd in ODD_IDS:
            ids = {name: quote(each, safe="") for name, each in (named | {parameter: odd}).items()}
            body = check(shop.send(method, path.format(**ids), given))
            assert (body["status"], body["code"]) == (404, "not_found"), (parameter, odd, body)
        for absurd in ("a%00b", "x" * 5000):
            body = check(shop.send(method, path.format(**named | {parameter: absurd}), given))
            assert body["status"] in (404, 422), (parameter, absurd[:20], body)
        for encoded in ("%ff", "%ed%a0%80"):
            check(shop.send(method, path.format(**named | {parameter: encoded}), given))


@pytest.mark.parametrize("operation", WITH_IDS)
def test_what_another_merchant_has_is_not_found(
    http: httpx.Client, server: str, other_key: IssuedKey, operation: str
) -> None:
    shop = Shop(http)
    named, given = shop.right(operation)
    method, path = operation.split(" ")
    with plain_http(server, other_key.secret) as stranger:
        body = check(Shop(stranger).send(method, path.format(**named), given))
    assert (body["status"], body["code"]) == (404, "not_found")
    # It is no more than a look: the merchant itself still may.
    assert shop.send(method, path.format(**named), given).is_success


BODY_IDS = sorted(each for each in RIGHT if not each.startswith("GET ") and ROUTES[each].params)


@pytest.mark.parametrize("operation", BODY_IDS)
def test_what_another_merchant_has_is_not_taken(
    http: httpx.Client, server: str, other_key: IssuedKey, operation: str
) -> None:
    """Each id in a body that is another's is refused by its name."""
    named, given = Shop(http).right(operation)
    method, path = operation.split(" ")
    with plain_http(server, other_key.secret) as stranger:
        _, its_given = Shop(stranger).right(operation)
    for name, value in its_given.items():
        if not isinstance(value, str) or "_" not in value or value == given[name]:
            continue
        if name in ("reference", "code", "event_name"):
            continue
        answer = Shop(http).send(method, path.format(**named), given | {name: value})
        body = check(answer)
        assert body["status"] in (404, 422), (name, body)
        assert value in body["message"], (name, body)


# ─── Bodies ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 422),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b'"name"', "application/json", 422),
        (b"NaN", "application/json", 422),
        (b'{"name": "A\xff", "email": "a@b.c"}', "application/json", 422),
        (b'{"name": "A\\ud800", "email": "a@b.c"}', "application/json", 422),
        (b'{"name": NaN, "email": "a@b.c"}', "application/json", 422),
        (b'{"a":' * 100_000, "application/json", 422),
        (b'{"name": ' + b"[" * 50 + b"]" * 50 + b"}", "application/json", 422),
        (b'{"name": 1' + b"0" * 5000 + b"}", "application/json", 422),
        (b"", "application/json", 422),
        (b"name=Ada", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b"{}", "application/json; charset=utf-16", 422),
        (b"{}" + b" " * 20_000_000, "application/json", 413),
    ],
    ids=range(16),
)
def test_a_body_that_is_none_is_refused(
    http: httpx.Client, content: bytes, content_type: str, status: int
) -> None:
    for method, path in (("POST", "/frame/v1/customers"), ("POST", "/frame/v1/products")):
        answer = http.request(method, path, content=content, headers={"Content-Type": content_type})
        assert check(answer)["status"] == status, answer.text


@pytest.mark.parametrize("said", ["", "x" * 256], ids=["empty", "long"])
def test_a_key_that_is_none_is_refused(http: httpx.Client, said: str) -> None:
    shop = Shop(http)
    given = {"name": "Ada", "email": "ada@example.com"}
    assert check(shop.send("POST", "/v1/customers", given, key=said))["status"] == 422
    assert shop.send("GET", "/v1/customers").json()["data"] == []


@pytest.mark.parametrize("operation", sorted(RIGHT))
def test_who_has_no_key_is_not_answered(server: str, operation: str) -> None:
    method, path = operation.split(" ")
    path = path.format(**dict.fromkeys(ROUTES[operation].path_parameters, "x"))
    with plain_http(server, None) as http:
        answer = http.request(method, f"/frame{path}", headers=JSON)
    assert check(answer)["code"] == "unauthorized"
    assert answer.status_code == 401
