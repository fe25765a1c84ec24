"""A keyed request happens once, and its repeats are told what happened."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest

from postpaid import clock
from postpaid.billing import perform
from postpaid.billing.manage_keys import IssuedKey
from postpaid.storage import idempotency
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def names(http: httpx.Client) -> list[str]:
    return [gadget["name"] for gadget in http.get("/v1/gadgets").json()["data"]]


def test_a_repeat_gets_the_first_answer(gadget_http: httpx.Client) -> None:
    first = gadget_http.post("/v1/gadgets", data={"name": "x"}, headers=keyed("k"))
    again = gadget_http.post("/v1/gadgets", data={"name": "x"}, headers=keyed("k"))
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["Idempotency-Key"] == "k"
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert again.headers["Request-Id"] != first.headers["Request-Id"]
    assert "Idempotent-Replayed" not in first.headers
    assert "Original-Request" not in first.headers
    assert names(gadget_http) == ["x"]


def test_without_a_key_each_request_is_its_own(gadget_http: httpx.Client) -> None:
    for _ in range(2):
        answer = gadget_http.post("/v1/gadgets", data={"name": "x"})
        assert "Idempotency-Key" not in answer.headers
    assert names(gadget_http) == ["x", "x"]


def test_the_order_of_parameters_does_not_matter(gadget_http: httpx.Client) -> None:
    first = gadget_http.post(
        "/v1/gadgets", content="name=x&price=1&tags[0]=a", headers=keyed("k") | FORM
    )
    again = gadget_http.post(
        "/v1/gadgets", content="tags%5B0%5D=a&price=1&name=x", headers=keyed("k") | FORM
    )
    assert again.content == first.content


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_a_key_is_for_one_set_of_parameters(gadget_http: httpx.Client) -> None:
    gadget = gadget_http.post("/v1/gadgets", data={"name": "x"}, headers=keyed("k")).json()["id"]
    others = [
        gadget_http.post("/v1/gadgets", data={"name": "y"}, headers=keyed("k")),
        gadget_http.post("/v1/gadgets", data={"name": "x", "price": "1"}, headers=keyed("k")),
        gadget_http.post(
            "/v1/gadgets", data={"name": "x", "expand[]": "owner"}, headers=keyed("k")
        ),
        gadget_http.post(f"/v1/gadgets/{gadget}", data={"name": "x"}, headers=keyed("k")),
    ]
    for other in others:
        assert other.status_code == 400
        assert other.json()["error"]["type"] == "idempotency_error"
        assert "can only be used with the same parameters" in other.json()["error"]["message"]
    assert names(gadget_http) == ["x"]


def test_a_key_is_for_one_path(gadget_http: httpx.Client) -> None:
    one, two = (
        gadget_http.post("/v1/gadgets", data={"name": name}).json()["id"] for name in ("1", "2")
    )
    assert gadget_http.post(f"/v1/gadgets/{one}/pay", headers=keyed("k")).status_code == 200
    other = gadget_http.post(f"/v1/gadgets/{two}/pay", headers=keyed("k"))
    assert other.json()["error"]["type"] == "idempotency_error"


def test_accounts_have_keys_of_their_own(
    gadget_http: httpx.Client, gadget_server: str, other_key: IssuedKey
) -> None:
    mine = gadget_http.post("/v1/gadgets", data={"name": "x"}, headers=keyed("k"))
    theirs = httpx.post(
        f"{gadget_server}/v1/gadgets",
        data={"name": "y"},
        headers=keyed("k"),
        auth=(other_key.secret, ""),
    )
    assert (mine.status_code, theirs.status_code) == (200, 200)


def test_at_the_same_moment_one_happens(gadget_http: httpx.Client) -> None:
    def post(_: int) -> httpx.Response:
        return gadget_http.post("/v1/gadgets", data={"name": "x"}, headers=keyed("k"))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert names(gadget_http) == ["x"]


# ─── What is remembered ──────────────────────────────────────────────────────────────────────


def test_a_request_that_was_refused_is_not_remembered(gadget_http: httpx.Client) -> None:
    assert gadget_http.post("/v1/gadgets", data={}, headers=keyed("k")).status_code == 400
    assert gadget_http.post("/v1/gadgets/none/pay", headers=keyed("k")).status_code == 404
    answer = gadget_http.post("/v1/gadgets", data={"name": "x"}, headers=keyed("k"))
    assert answer.status_code == 200
    assert "Idempotent-Replayed" not in answer.headers


def test_a_declined_payment_is_remembered(gadget_http: httpx.Client) -> None:
    gadget = gadget_http.post("/v1/gadgets", data={"name": "x"}).json()["id"]
    first, again = (
        gadget_http.post(f"/v1/gadgets/{gadget}/pay", data={"card": "declined"}, headers=keyed("k"))
        for _ in range(2)
    )
    assert (first.status_code, again.status_code) == (402, 402)
    assert again.content == first.content
    assert again.headers["Original-Request"] == first.headers["Request-Id"]


def test_a_key_that_is_under_way_is_in_use(
    gadget_http: httpx.Client,
    database: Database,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gadget = gadget_http.post("/v1/gadgets", data={"name": "x"}).json()["id"]
    # What fails on our side in its second step stays unfinished, until its lease is over.
    broken = {"card": "broken"}
    assert (
        gadget_http.post(f"/v1/gadgets/{gadget}/pay", data=broken, headers=keyed("k")).status_code
        == 500
    )
    monkeypatch.setattr(perform, "PATIENCE_S", 0.01)
    answer = gadget_http.post(f"/v1/gadgets/{gadget}/pay", data=broken, headers=keyed("k"))
    assert answer.status_code == 409
    assert answer.headers["Stripe-Should-Retry"] == "true"
    assert answer.json()["error"]["type"] == "idempotency_error"
    assert answer.json()["error"]["code"] == "idempotency_key_in_use"
    with database.transaction() as conn:
        left = idempotency.find(conn, account.account_id, "v1", "k")
        assert left is not None
        assert left.unfinished == {"id": gadget}
        assert idempotency.take_over(
            conn,
            account.account_id,
            "v1",
            "k",
            now=clock.now() + timedelta(minutes=5),
            leased_until=clock.now(),
        )


# ─── Where keys count ────────────────────────────────────────────────────────────────────────


def test_a_key_does_not_matter_where_v1_is_idempotent_anyway(gadget_http: httpx.Client) -> None:
    gadget = gadget_http.post("/v1/gadgets", data={"name": "x"}).json()["id"]
    path = f"/v1/gadgets/{gadget}"
    for _ in range(2):
        answer = gadget_http.get(path, headers=keyed("k"))
        assert "Idempotent-Replayed" not in answer.headers
    assert gadget_http.delete(path, headers=keyed("k")).status_code == 200
    assert gadget_http.delete(path, headers=keyed("k")).status_code == 404


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_key_counts_in_v2(gadget_http: httpx.Client, method: str) -> None:
    path = "/v2/gadgets" if method == "POST" else "/v2/gadgets/x"
    body = {"name": "x"} if method == "POST" else None
    first, again = (
        gadget_http.request(method, path, json=body, headers=keyed("k")) for _ in range(2)
    )
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("chosen", ["", "x" * 256])
def test_a_key_has_1_to_255_characters(gadget_http: httpx.Client, chosen: str) -> None:
    answer = gadget_http.post("/v1/gadgets", data={"name": "x"}, headers=keyed(chosen))
    assert answer.status_code == 400
    assert "1 to 255 characters" in answer.json()["error"]["message"]


def test_a_key_may_have_255_strange_characters(gadget_http: httpx.Client) -> None:
    key = b"\xe9" * 254 + b"'"
    first, again = (
        gadget_http.post("/v1/gadgets", data={"name": "x"}, headers={b"Idempotency-Key": key})
        for _ in range(2)
    )
    assert first.status_code == 200
    assert again.headers["Idempotent-Replayed"] == "true"
