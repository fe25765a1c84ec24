"""Whatever is written with a key can be sent again: it is done once, and said again."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from frame_shop import REFUSED, RIGHT, ROUTES, Shop

from all_at_once import all_at_once
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database

# What a repeat does again, and why.
ANEW = {
    "POST /v1/discounts/validate": "nothing is written",
}

WRITES = sorted(each for each in ROUTES if not each.startswith("GET ") and each not in REFUSED)


def test_every_route_has_a_right_request() -> None:
    assert sorted({*ROUTES} - {*RIGHT} - REFUSED) == []
    assert sorted({*RIGHT} - {*ROUTES}) == []


@pytest.mark.parametrize("operation", [each for each in WRITES if each not in ANEW])
def test_a_repeat_is_a_replay(
    http: httpx.Client, operation: str, database: Database, account: Account
) -> None:
    shop = Shop(http)
    named, given = shop.right(operation)
    method, path = operation.split(" ")

    def send(body: Any = given) -> httpx.Response:
        return shop.send(method, path.format(**named), body, key="once")

    first = send()
    assert first.status_code == ROUTES[operation].status, first.text
    assert "Idempotent-Replay" not in first.headers
    happened = written(database, account.account_id)
    again = send()
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Idempotent-Replay"] == "true"
    assert written(database, account.account_id) == happened

    other = send(given | {"no_such_thing": 1})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


@pytest.mark.parametrize(
    ("operation", "table"),
    [
        ("POST /v1/billing/metering_events", "usage_events"),
        ("POST /v1/charge_intents", "payment_attempts"),
        ("POST /v1/subscriptions", "subscriptions"),
        ("POST /v1/billing/billing_invoice", "invoices"),
    ],
)
def test_of_fifty_with_one_key_one_is_done(
    http: httpx.Client, operation: str, table: str, database: Database, account: Account
) -> None:
    shop = Shop(http)
    _, given = shop.right(operation)

    def rows() -> int:
        with database.connection() as conn:
            counted = f"SELECT count(*) FROM {table} WHERE account_id = %s"
            [(number,)] = conn.execute(counted, (account.account_id,)).fetchall()
            return int(number)

    before = rows()

    def send() -> httpx.Response:
        while True:
            answer = shop.send("POST", operation.removeprefix("POST "), given, key="fifty")
            if answer.status_code != 409:  # another is at it
                return answer
            assert answer.json()["code"] == "idempotency_key_in_use"

    answers = all_at_once([send] * 50)
    assert {each.status_code for each in answers} == {201}
    assert len({each.content for each in answers}) == 1
    assert sum("Idempotent-Replay" not in each.headers for each in answers) == 1
    assert rows() == before + 1


def written(database: Database, account_id: int) -> list[tuple[str, ...]]:
    """Every event of the account and every accepted write."""
    with database.connection() as conn:
        return conn.execute(
            "SELECT 'event', id FROM events WHERE account_id = %(a)s"
            " UNION ALL SELECT 'act', id FROM acts WHERE account_id = %(a)s ORDER BY 1, 2",
            {"a": account_id},
        ).fetchall()
