"""Gateways that an account chooses, and payment methods that they know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
import stripe
from stripe import StripeClient

from postpaid import clock
from postpaid.api.server import create_app
from postpaid.billing import gateways, manage_keys
from postpaid.billing.manage_keys import IssuedKey
from postpaid.billing.perform import Act
from postpaid.config import Settings
from postpaid.ids import new_id
from postpaid.outside.gateways.protocol import ChargeRequest, RefundRequest, SetupRequest, Unknown
from postpaid.storage import payment_gateways
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from postpaid.storage.vault import Vault
from serving import serve
from shapes import assert_shape
from statements import counted

SECRET = "sk_test_51Hsecret9876"
CARD = {"last4": "4242", "exp_month": "8", "exp_year": "2099", "brand": "visa"}


def created(http: httpx.Client, **given: str) -> dict[str, Any]:
    asked = {"name": "main", "type": "stripe", "api_key": SECRET} | given
    answer = http.post("/v1/payment_gateways", data=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refusal(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error.get("code"), error.get("param")


# ─── The gateways ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("api_key", "shown"), [("k", "…"), ("abcd", "…"), ("x" * 11, "…"), ("x" * 8 + "abcd", "…abcd")]
)
def test_a_short_key_is_not_its_own_hint(http: httpx.Client, api_key: str, shown: str) -> None:
    made = created(http, api_key=api_key)
    assert made["api_key"] == shown
    changed = http.post(f"/v1/payment_gateways/{made['id']}", data={"api_key": api_key})
    assert changed.json()["api_key"] == shown


def test_a_key_goes_in_and_never_out(
    http: httpx.Client, database: Database, account: Account
) -> None:
    made = created(http, **{"metadata[desk]": "7"})
    assert made == {
        "id": made["id"],
        "object": "payment_gateway",
        "api_key": "…9876",
        "base_url": None,
        "created": made["created"],
        "default": False,
        "livemode": False,
        "metadata": {"desk": "7"},
        "name": "main",
        "type": "stripe",
    }
    url = f"/v1/payment_gateways/{made['id']}"
    assert http.get(url).json() == made
    assert http.get("/v1/payment_gateways").json()["data"] == [made]
    with database.connection() as conn:
        row = payment_gateways.find(conn, account.account_id, made["id"])
    assert row is not None
    assert SECRET not in repr(row)
    assert SECRET.encode() not in row.credentials
    assert database.vault.open(row.credentials) == SECRET


def test_it_is_given_another_key(http: httpx.Client, database: Database, account: Account) -> None:
    made = created(http, **{"metadata[desk]": "7"})
    url = f"/v1/payment_gateways/{made['id']}"
    changed = http.post(
        url, data={"api_key": "sk_test_other", "default": "true", "metadata[desk]": ""}
    ).json()
    assert changed == made | {"api_key": "…ther", "default": True, "metadata": {}}
    with database.connection() as conn:
        row = payment_gateways.find(conn, account.account_id, made["id"])
    assert row is not None
    assert database.vault.open(row.credentials) == "sk_test_other"


def test_one_is_the_default(http: httpx.Client) -> None:
    first = created(http, default="true")
    second = created(http, name="other", default="true")
    found = {each["id"]: each["default"] for each in _list(http)}
    assert found == {first["id"]: False, second["id"]: True}
    http.post(f"/v1/payment_gateways/{first['id']}", data={"default": "true"})
    found = {each["id"]: each["default"] for each in _list(http)}
    assert found == {first["id"]: True, second["id"]: False}


def _list(http: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get("/v1/payment_gateways").json()["data"]
    return found


def test_a_name_is_one_gateways(http: httpx.Client) -> None:
    created(http)
    again = http.post(
        "/v1/payment_gateways", data={"name": "main", "type": "frame", "api_key": "k"}
    )
    assert refusal(again) == (400, "resource_already_exists", "name")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"name": "test"}, "name"),
        ({"name": "manual"}, "name"),
        ({"name": "Main"}, "name"),
        ({"name": ""}, "name"),
        ({"type": "bank"}, "type"),
        ({"api_key": "two words"}, "api_key"),
        ({"api_key": "x" * 501}, "api_key"),
        ({"base_url": "ftp://example.com"}, "base_url"),
        ({"base_url": "http://127.0.0.1:9"}, "base_url"),
        ({"base_url": "http://169.254.169.254/latest"}, "base_url"),
        ({"base_url": "https://user:word@example.com"}, "base_url"),
        ({"base_url": "https://example.com?x=1"}, "base_url"),
        ({"currency": "usd"}, "currency"),
    ],
)
def test_bad_input_is_refused(http: httpx.Client, given: dict[str, str], param: str) -> None:
    asked = {"name": "main", "type": "stripe", "api_key": SECRET} | given
    answer = http.post("/v1/payment_gateways", data=asked)
    assert (refusal(answer)[0], refusal(answer)[2]) == (400, param), answer.text
    assert SECRET not in answer.text


def test_what_is_not_there(http: httpx.Client) -> None:
    for answer in (
        http.get("/v1/payment_gateways/gw_x"),
        http.post("/v1/payment_gateways/gw_x", data={"default": "true"}),
        http.delete("/v1/payment_gateways/gw_x"),
    ):
        assert refusal(answer) == (404, "resource_missing", "id")


def test_another_accounts_gateway_is_not_there(
    http: httpx.Client, server: str, other_key: IssuedKey
) -> None:
    made = created(http)
    headers = {"Authorization": f"Bearer {other_key.secret}"}
    url = f"{server}/v1/payment_gateways/{made['id']}"
    assert httpx.get(url, headers=headers, trust_env=False).status_code == 404


def test_one_that_nothing_needs_is_deleted(http: httpx.Client, stripe_client: StripeClient) -> None:
    made = created(http)
    customer = stripe_client.v1.customers.create().id
    method = known_card(http, "main")["id"]
    stripe_client.v1.payment_methods.attach(method, {"customer": customer})
    url = f"/v1/payment_gateways/{made['id']}"
    assert refusal(http.delete(url)) == (409, "payment_gateway_in_use", None)
    stripe_client.v1.payment_methods.detach(method)
    assert http.delete(url).json() == {
        "id": made["id"],
        "object": "payment_gateway",
        "deleted": True,
    }
    assert _list(http) == []


# ─── Payment methods that they know ──────────────────────────────────────────────────────────


def known_card(http: httpx.Client, gateway: str | None, **more: str) -> dict[str, Any]:
    given = {"type": "card", "gateway_token": "cus_1/pm_1"}
    given |= {f"card[{name}]": value for name, value in CARD.items()}
    if gateway:
        given["gateway"] = gateway
    answer = http.post("/v1/payment_methods", data=given | more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_card_that_a_gateway_knows_is_a_payment_method(http: httpx.Client) -> None:
    created(http)
    made = known_card(http, "main")
    assert_shape(made, stripe.PaymentMethod)
    shown = {name: str(made["card"][name]) for name in CARD}
    assert shown == CARD
    assert made["card"]["fingerprint"] is None
    assert "cus_1/pm_1" not in str(made)


def test_the_sdk_reaches_it_with_raw_parameters(
    http: httpx.Client, stripe_client: StripeClient
) -> None:
    created(http, default="true")
    given: Any = {"type": "card", "card": CARD, "gateway": "main", "gateway_token": "cus_1/pm_1"}
    made = stripe_client.v1.payment_methods.create(given)
    assert made.card is not None
    assert made.card.last4 == "4242"


def test_without_a_name_it_is_the_default_gateways(
    http: httpx.Client, database: Database, account: Account
) -> None:
    given = {"type": "card", "gateway_token": "cus_1/pm_1"}
    given |= {f"card[{name}]": value for name, value in CARD.items()}
    answer = http.post("/v1/payment_methods", data=given)
    assert refusal(answer) == (400, "parameter_missing", "gateway")
    created(http, default="true")
    method = known_card(http, None)["id"]
    with database.connection() as conn:
        row = conn.execute(
            "SELECT gateway, gateway_token FROM payment_methods WHERE account_id = %s AND id = %s",
            (account.account_id, method),
        ).fetchone()
    assert row == ("main", "cus_1/pm_1")


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ({"gateway": "nobody"}, "resource_missing", "gateway"),
        ({"gateway": "test"}, "resource_missing", "gateway"),
        ({"gateway": "manual"}, None, "gateway"),
        ({"gateway_token": "pm_1"}, None, "gateway_token"),
        ({"gateway_token": ""}, None, "gateway_token"),
        ({"card[number]": "4242424242424242"}, "parameters_exclusive", "card[number]"),
        ({"card[last4]": "42"}, None, "card[last4]"),
        ({"card[brand]": "no"}, None, "card[brand]"),
        ({"us_bank_account[last4]": "6789"}, None, "us_bank_account"),
    ],
)
def test_what_no_gateway_knows_is_refused(
    http: httpx.Client, given: dict[str, str], code: str | None, param: str
) -> None:
    created(http)
    asked = {"type": "card", "gateway_token": "cus_1/pm_1", "gateway": "main"}
    asked |= {f"card[{name}]": value for name, value in CARD.items()}
    answer = http.post("/v1/payment_methods", data=asked | given)
    status, said_code, said_param = refusal(answer)
    assert status in (400, 404)
    assert said_param == param
    assert code in (None, said_code)


def test_people_know_a_card_by_its_last_digits(http: httpx.Client) -> None:
    created(http)
    answer = http.post(
        "/v1/payment_methods",
        data={"type": "card", "gateway_token": "cus_1/pm_1", "gateway": "main"},
    )
    assert refusal(answer) == (400, "parameter_missing", "card[last4]")


def test_a_bank_transfer_is_a_payment_method_of_nobodys(http: httpx.Client) -> None:
    made = http.post("/v1/payment_methods", data={"type": "customer_balance"}).json()
    assert_shape(made, stripe.PaymentMethod)
    assert (made["type"], made["customer_balance"]) == ("customer_balance", {})


def test_a_bank_account_of_the_test_gateway(
    http: httpx.Client, stripe_client: StripeClient
) -> None:
    customer = stripe_client.v1.customers.create().id
    attached = stripe_client.v1.payment_methods.attach(
        "pm_usBankAccount_success", {"customer": customer}
    )
    assert_shape(attached.last_response.data, stripe.PaymentMethod)
    typed = stripe_client.v1.payment_methods.create(
        {
            "type": "us_bank_account",
            "us_bank_account": {
                "account_holder_type": "company",
                "account_number": "000123456789",
                "routing_number": "110000000",
            },
        }
    )
    assert typed.us_bank_account is not None
    assert attached.us_bank_account is not None
    assert (typed.us_bank_account.last4, typed.us_bank_account.routing_number) == (
        "6789",
        "110000000",
    )
    assert typed.us_bank_account.account_holder_type == "company"
    assert typed.us_bank_account.fingerprint == attached.us_bank_account.fingerprint
    assert "000123456789" not in str(typed)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_client.v1.payment_methods.create(
            {
                "type": "us_bank_account",
                "us_bank_account": {"account_number": "1", "routing_number": "110000000"},
            }
        )
    assert refused.value.param == "us_bank_account[account_number]"


# ─── Opened ──────────────────────────────────────────────────────────────────────────────────


def act_of(account: Account, *, livemode: bool = False) -> Act:
    return Act(account.account_id, livemode, "test", clock.now(), new_id)


def test_gateways_are_loaded_in_one_statement_and_the_built_in_ones_in_none(
    http: httpx.Client, database: Database, account: Account
) -> None:
    act = act_of(account)
    created(http)
    created(http, name="other", type="frame")
    with closing(Database(database.url, pool_size=1, vault=database.vault)) as narrow:
        with narrow.connection() as only:
            pass

        def statements(*names: str) -> int:
            with counted(only) as seen:
                assert set(gateways.load(narrow, act, names)) == set(names)
            return len(seen)

        assert statements("test", "manual") == 0
        assert statements("test", "main") == statements("test", "main", "other") == 1
    found = gateways.load(database, act, ["main"])
    assert gateways.load(database, act, ["main", "other"])["main"] is found["main"]  # still open


def test_a_gateway_that_is_not_there_has_no_answers(
    http: httpx.Client, database: Database, account: Account
) -> None:
    created(http)
    act = act_of(account)
    with closing(Database(database.url, pool_size=1, vault=Vault.of_new_key())) as elsewhere:
        sealed = gateways.load(elsewhere, act, {"main"})["main"]
    nobody = gateways.load(database, act, {"nobody"})["nobody"]
    live = gateways.load(database, act_of(account, livemode=True), {"test"})["test"]
    charge = ChargeRequest("pa_1", "cus_1/pm_1", 1, "usd", True, "")
    refund = RefundRequest("re_1", "pi_1", 1, "usd")
    for gateway in (sealed, nobody, live):
        assert isinstance(gateway.charge(charge), Unknown)
        assert isinstance(gateway.ask(charge, None), Unknown)
        assert isinstance(gateway.cancel(charge, None), Unknown)
        assert isinstance(gateway.refund(refund), Unknown)
        assert isinstance(gateway.ask_refund(refund, None), Unknown)
        assert isinstance(gateway.set_up(SetupRequest("s", "cus_1/pm_1", True)), Unknown)


# ─── Live mode ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def live(database: Database) -> Iterator[httpx.Client]:
    """Plain HTTP with the key of a live account."""
    with database.transaction() as conn:
        name, now = new_id("name"), clock.now()
        key = manage_keys.create_key(
            conn, manage_keys.open_account(conn, name, livemode=True, now=now), now=now
        )
    with (
        serve(create_app(database, Settings())) as url,
        httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key.secret}"}, trust_env=False
        ) as client,
    ):
        yield client


def test_in_live_mode_nothing_is_of_the_test_gateway(live: httpx.Client) -> None:
    customer = live.post("/v1/customers").json()["id"]
    for token in ("pm_card_visa", "pm_usBankAccount_success"):
        answer = live.post(f"/v1/payment_methods/{token}/attach", data={"customer": customer})
        assert answer.status_code == 404
    typed = {"type": "us_bank_account", "us_bank_account[account_number]": "000123456789"}
    typed["us_bank_account[routing_number]"] = "110000000"
    assert live.post("/v1/payment_methods", data=typed).status_code == 400


def test_in_live_mode_a_key_goes_over_https(live: httpx.Client) -> None:
    given = {"name": "main", "type": "stripe", "api_key": "sk_live_12345"}
    answer = live.post("/v1/payment_gateways", data=given | {"base_url": "http://example.com"})
    assert refusal(answer) == (400, "url_invalid", "base_url")
    made = live.post("/v1/payment_gateways", data=given | {"base_url": "https://example.com/"})
    assert (made.json()["base_url"], made.json()["livemode"]) == ("https://example.com", True)
    assert live.post(
        "/v1/payment_methods",
        data={
            "type": "card",
            "gateway": "main",
            "gateway_token": "cus_1/pm_1",
            "card[last4]": "4242",
            "card[exp_month]": "1",
            "card[exp_year]": "2099",
        },
    ).json()["livemode"]
