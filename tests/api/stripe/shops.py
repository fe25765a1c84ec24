"""Shops to ask wrongly: an account with one of everything, and a stranger who has the same.

A file of bad input says, for each endpoint, which request is right. Each of its parameters is then
made wrong in every way: of another type, too long, too big, with a NUL, of another account, or not
there at all.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx
from stripe import StripeClient

from postpaid import clock
from postpaid.billing import manage_keys
from postpaid.storage.database import Database
from serving import plain_http

Place: TypeAlias = tuple[str | int, ...]
Names: TypeAlias = dict[str, str]

# What is no whole number, no boolean, and no word that anything has.
NO_NUMBERS = ["NaN", "9" * 40, "x" * 30_000, "1e2", "0x10", "1_0", "+5", " 5", "5.", "\u0665", "½"]

# What may be taken where text is.
ODD = ["-1", "999999999999", "😀", " ", "", "null", "'", "../..", "\u202e", "\r\n", "x" * 255]

NOTHING: list[Any] = [("GET", [], []), ("GET", None, [])]


@dataclass(frozen=True)
class Shop:
    """An account with one of everything, as the requests name it; and a stranger's."""

    http: httpx.Client
    names: Names
    others: Names

    def filled(self, given: Any, names: Names | None = None) -> Any:
        """The parameters with ``{customer}`` and the like in place."""
        if isinstance(given, dict):
            return {key: self.filled(value, names) for key, value in given.items()}
        if isinstance(given, list):
            return [self.filled(each, names) for each in given]
        return given.format(**names or self.names) if isinstance(given, str) else given

    def ask(self, method: str, path: str, params: Any, *, key: str = "") -> httpx.Response:
        path = self.filled(path)
        headers = {"Idempotency-Key": key} if key else {}
        if method == "POST" and path.startswith("/v2/"):
            return self.http.post(path, json=params, headers=headers)
        form = dict(flattened(params))
        if method == "POST":
            return self.http.post(path, data=form, headers=headers)
        return self.http.request(method, path, params=form)


@contextmanager
def a_shop(
    server: str, database: Database, make_names: Callable[[StripeClient, httpx.Client], Names]
) -> Iterator[Shop]:
    """A shop and a stranger's, of what ``make_names`` makes with the official SDK or without."""
    secret, client = open_account(server, database)
    other_secret, stranger = open_account(server, database)
    with plain_http(server, secret) as http, plain_http(server, other_secret) as other_http:
        yield Shop(http, make_names(client, http), make_names(stranger, other_http))


def open_account(
    server: str, database: Database, *, livemode: bool = False
) -> tuple[str, StripeClient]:
    """A new account's secret key, and the official SDK with it."""
    with database.transaction() as conn:
        account = manage_keys.open_account(
            conn, uuid.uuid4().hex, livemode=livemode, now=clock.now()
        )
        key = manage_keys.create_key(conn, account, now=clock.now())
    return key.secret, StripeClient(key.secret, base_addresses={"api": server})


# ─── What is asked wrongly ───────────────────────────────────────────────────────────────────


def refuse_other_types(shop: Shop, method: str, path: str, right: dict[str, Any]) -> None:
    """Each parameter, once it is something else, is refused by its name."""
    for place in leaves(right):
        wrongs: list[Any] = ["a\x00b", {"what": {"is": "this"}}]
        if not isinstance(at(right, place), str):
            wrongs += NO_NUMBERS
        for wrong in wrongs:
            answer = shop.ask(method, path, made(shop.filled(right), place, wrong))
            assert answer.status_code in (400, 404), (place, wrong, answer.text)
            param = answer.json()["error"]["param"]
            named = place[:-1] if "metadata" in str(place[-2:-1]) else place  # Stripe: all of it
            assert str(param).startswith(bracketed(named)), (place, wrong, answer.text)
    for place in branches(right):
        for wrong in ("x" * 40, ["x"] * 501, {f"k{i}": "x" for i in range(51)}):
            answer = shop.ask(method, path, made(shop.filled(right), place, wrong))
            assert answer.status_code in (400, 404), (place, wrong, answer.text)
            param = answer.json()["error"]["param"]
            assert str(param).startswith(bracketed(place)), (place, wrong, answer.text)


def refuse_unknown_parameters(shop: Shop, method: str, path: str, right: dict[str, Any]) -> None:
    for place in [(), *objects(right)]:
        asked = made(shop.filled(right), (*place, "colour"), "red")
        answer = shop.ask(method, path, asked)
        assert answer.status_code == 400, (place, answer.text)
        error = answer.json()["error"]
        assert error["code"] == "parameter_unknown", (place, error)
        assert error["param"] == bracketed((*place, "colour"))


def hide_what_others_have(shop: Shop, method: str, path: str, right: dict[str, Any]) -> None:
    """Another account's id in a parameter is not there; a list narrowed by it is empty."""
    for place in leaves(right):
        given = at(right, place)
        if not (isinstance(given, str) and given.startswith("{")) or given == "{secret}":
            continue
        asked = made(shop.filled(right), place, shop.filled(given, shop.others))
        answer = shop.ask(method, path, asked)
        if answer.status_code == 200:
            shown = answer.json()  # a list or a sum, narrowed to nothing
            assert (method, shown.get("data"), shown.get("balances", [])) in NOTHING, place
        elif place != ("customer",) or "invoice" not in right:  # which is not the stranger's
            assert answer.status_code == 404, (place, answer.text)
            error = answer.json()["error"]
            assert error["code"] == "resource_missing"
            assert error["param"].startswith(place[0]), (place, error)


def hide_the_paths_of_others(shop: Shop, method: str, path: str, right: dict[str, Any]) -> None:
    if "{" not in path:
        return
    for strange in (shop.filled(path, shop.others), path_of_nothing(path), path_with_nul(path)):
        answer = shop.ask(method, strange, shop.filled(right))
        assert answer.status_code in (400, 404), (strange, answer.text)
        if answer.status_code == 404:
            assert answer.json()["error"]["code"] == "resource_missing", answer.text


def survive_what_is_odd(shop: Shop, method: str, path: str, right: dict[str, Any]) -> None:
    """Whatever it is taken for, it is never our fault."""
    for place in leaves(right):
        for odd in ODD:
            answer = shop.ask(method, path, made(shop.filled(right), place, odd))
            assert answer.status_code in (200, 400, 402, 404, 409), (place, odd, answer.text)
            if answer.status_code != 200:
                error = answer.json()["error"]
                assert error["type"] in ("invalid_request_error", "card_error"), error
                assert error["message"]


# ─── Parameters as trees ─────────────────────────────────────────────────────────────────────


def leaves(value: Any, place: Place = ()) -> Iterator[Place]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*place, index))
    else:
        yield place


def branches(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where there are objects and lists."""
    if isinstance(value, dict | list):
        if place:
            yield place
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from branches(inner, (*place, key))


def objects(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where there are objects whose keys are not for the caller to choose."""
    if isinstance(value, dict):
        if place:
            yield place
        for key, inner in value.items():
            if key not in ("metadata", "invoice_metadata", "currency_options", "created"):
                yield from objects(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from objects(inner, (*place, index))


def at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


def made(value: Any, place: Place, wrong: Any) -> Any:
    """A copy of the parameters with something else at the place."""
    value = copy.deepcopy(value)
    at(value, place[:-1])[place[-1]] = wrong
    return value


def bracketed(place: Place) -> str:
    return str(place[0]) + "".join(f"[{key}]" for key in place[1:])


def flattened(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flattened(inner, f"{name}[{key}]" if name else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from flattened(inner, f"{name}[{index}]")
    else:
        yield name, str(value).lower() if isinstance(value, bool) else str(value)


def path_of_nothing(path: str) -> str:
    return "/".join("x_none" if part.startswith("{") else part for part in path.split("/"))


def path_with_nul(path: str) -> str:
    return "/".join("x%00" if part.startswith("{") else part for part in path.split("/"))
