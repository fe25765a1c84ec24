"""Who may ask: keys by Bearer or Basic, found once every few seconds, revoked within them."""

import asyncio
import base64
from datetime import UTC, datetime

import httpx
import psycopg
import pytest

from postpaid.api import authentication
from postpaid.api.authentication import Authenticator, redacted, secret_in
from postpaid.billing import manage_keys
from postpaid.billing.manage_keys import IssuedKey
from postpaid.core.errors import AlreadyExists, AuthenticationFailed, InvalidRequest, NotFound
from postpaid.storage import accounts
from postpaid.storage.accounts import Account, ApiKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHOSEN = "a-key-of-the-operator"


def basic(user: str, password: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "secret"),
    [
        ("Bearer sk_test_1", "sk_test_1"),
        ("bearer  sk_test_1 ", "sk_test_1"),
        (basic("sk_test_1"), "sk_test_1"),
        (basic("sk_test_1", "anything"), "sk_test_1"),
        ("Basic " + base64.b64encode(b"sk_test_1").decode(), "sk_test_1"),
    ],
)
def test_a_secret_is_in(authorization: str, secret: str) -> None:
    assert secret_in(authorization) == secret


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        (None, "You did not provide an API key."),
        ("", "You did not provide an API key."),
        ("Bearer", "You did not provide an API key."),
        ("Bearer ", "You did not provide an API key."),
        ("Digest x", "You did not provide an API key."),
        ("sk_test_1", "You did not provide an API key."),
        (basic(""), "You did not provide an API key."),
        ("Basic !", "Invalid Authorization header: not valid Base64."),
        ("Basic /w==", "Invalid Authorization header: not valid Base64."),
    ],
)
def test_no_secret_is_in(authorization: str | None, message: str) -> None:
    with pytest.raises(AuthenticationFailed, match=message):
        secret_in(authorization)


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("sk_test_0123456789abcd", "sk_test_****abcd"),
        ("sk_live_0123456789abcd", "sk_live_****abcd"),
        ("a-key-of-the-operator", "****ator"),
        ("sk_test_1", "****"),
    ],
)
def test_a_secret_is_shown_as(secret: str, shown: str) -> None:
    assert redacted(secret) == shown


# ─── Through the server ──────────────────────────────────────────────────────────────────────


def test_bearer_and_basic_both_work(gadget_server: str, key: IssuedKey) -> None:
    url = f"{gadget_server}/v1/gadgets"
    assert httpx.get(url, headers={"Authorization": f"Bearer {key.secret}"}).status_code == 200
    assert httpx.get(url, auth=(key.secret, "")).status_code == 200


def test_a_wrong_key_is_refused_and_not_repeated(gadget_server: str) -> None:
    answer = httpx.get(f"{gadget_server}/v1/gadgets", auth=("sk_test_0123456789abcd", ""))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Request-Id"].startswith("req_")
    assert answer.json() == {
        "error": {
            "type": "invalid_request_error",
            "message": "Invalid API Key provided: sk_test_****abcd",
        }
    }


@pytest.mark.parametrize("secret", ["é", "x" * 5000, "sk_test_'; DROP TABLE api_keys; --"])
def test_a_strange_key_is_refused(gadget_server: str, secret: str) -> None:
    headers = {"Authorization": f"Bearer {secret}".encode()}
    assert httpx.get(f"{gadget_server}/v1/gadgets", headers=headers).status_code == 401


def test_accounts_do_not_see_each_other(
    gadget_http: httpx.Client, gadget_server: str, other_key: IssuedKey
) -> None:
    gadget = gadget_http.post("/v1/gadgets", data={"name": "mine"}).json()["id"]
    answer = httpx.get(f"{gadget_server}/v1/gadgets/{gadget}", auth=(other_key.secret, ""))
    assert answer.status_code == 404


# ─── Remembering ─────────────────────────────────────────────────────────────────────────────


class Keys:
    """Where keys are found, and how often somebody looked."""

    def __init__(self) -> None:
        self.looked = 0
        self.known = {"secret": ApiKey("key_1", 1, False, None, "cret", NOW, None)}

    async def find(self, secret: str) -> ApiKey | None:
        self.looked += 1
        return self.known.get(secret)


def test_a_key_is_looked_up_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys()
    authenticator = Authenticator(keys.find)

    async def use(times: int) -> None:
        for _ in range(times):
            assert (await authenticator.authenticate("Bearer secret")).id == "key_1"

    asyncio.run(use(3))
    assert keys.looked == 1
    monkeypatch.setattr(authentication, "REMEMBERED_S", -1.0)
    authenticator = Authenticator(keys.find)
    asyncio.run(use(3))
    assert keys.looked == 4


def test_a_revoked_key_is_refused_once_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys()
    monkeypatch.setattr(authentication, "REMEMBERED_S", -1.0)
    authenticator = Authenticator(keys.find)
    asyncio.run(authenticator.authenticate("Bearer secret"))
    keys.known["secret"] = ApiKey("key_1", 1, False, None, "cret", NOW, NOW)
    with pytest.raises(AuthenticationFailed):
        asyncio.run(authenticator.authenticate("Bearer secret"))


def test_only_so_many_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "REMEMBERED_MAX", 2)
    keys = Keys()
    for secret in "abcd":
        keys.known[secret] = keys.known["secret"]
    authenticator = Authenticator(keys.find)
    for secret in "abcdabcd":
        asyncio.run(authenticator.authenticate(f"Bearer {secret}"))
    assert len(authenticator._remembered) <= 2


# ─── Issuing, adopting, revoking ─────────────────────────────────────────────────────────────


@pytest.fixture
def merchant(conn: psycopg.Connection) -> Account:
    return manage_keys.open_account(conn, "Acme", livemode=False, now=NOW)


def test_a_merchant_has_one_account_in_each_mode(
    conn: psycopg.Connection, merchant: Account
) -> None:
    live = manage_keys.open_account(conn, "Acme", livemode=True, now=NOW)
    assert (merchant.livemode, live.livemode) == (False, True)
    assert live.account_id != merchant.account_id
    assert manage_keys.open_account(conn, "Acme", livemode=False, now=NOW) == merchant


@pytest.mark.parametrize(("livemode", "prefix"), [(False, "sk_test_"), (True, "sk_live_")])
def test_a_key_is_issued_and_only_its_digest_kept(
    conn: psycopg.Connection, livemode: bool, prefix: str
) -> None:
    account = manage_keys.open_account(conn, "Acme", livemode=livemode, now=NOW)
    issued = manage_keys.create_key(conn, account, "laptop", now=NOW)
    assert issued.secret.startswith(prefix)
    found = manage_keys.find_key(conn, issued.secret)
    assert found == ApiKey(
        issued.id, account.account_id, livemode, "laptop", issued.secret[-4:], NOW, None
    )
    kept = conn.execute("SELECT k::text FROM api_keys k WHERE id = %s", (issued.id,)).fetchone()
    assert issued.secret not in str(kept)


def test_a_chosen_key_is_adopted_and_again_is_no_different(
    conn: psycopg.Connection, merchant: Account
) -> None:
    for _ in range(2):
        manage_keys.adopt_key(conn, merchant, CHOSEN, now=NOW)
    assert len(accounts.list_keys(conn, merchant.account_id)) == 1
    found = manage_keys.find_key(conn, CHOSEN)
    assert found is not None
    assert found.account_id == merchant.account_id


@pytest.mark.parametrize(
    ("livemode", "secret"),
    [
        (False, ""),
        (False, "sk_test"),
        (False, "with spaces in it"),
        (False, "with\nlines"),
        (False, "é" * 20),
        (True, "sk_live_123"),
        (True, "x" * 23),
    ],
)
def test_a_chosen_key_must_be_hard_to_guess(
    conn: psycopg.Connection, livemode: bool, secret: str
) -> None:
    account = manage_keys.open_account(conn, "Acme", livemode=livemode, now=NOW)
    with pytest.raises(InvalidRequest):
        manage_keys.adopt_key(conn, account, secret, now=NOW)


def test_a_chosen_test_key_may_be_short(conn: psycopg.Connection, merchant: Account) -> None:
    manage_keys.adopt_key(conn, merchant, "sk_test_123", now=NOW)
    assert manage_keys.find_key(conn, "sk_test_123") is not None


@pytest.mark.parametrize("secret", ["sk_live_51Habcdefgh", "sk_production_abcdefgh"])
def test_a_chosen_key_does_not_look_like_another_modes(
    conn: psycopg.Connection, merchant: Account, secret: str
) -> None:
    with pytest.raises(InvalidRequest, match="test mode"):
        manage_keys.adopt_key(conn, merchant, secret, now=NOW)


def test_a_key_belongs_to_one_account(conn: psycopg.Connection, merchant: Account) -> None:
    manage_keys.adopt_key(conn, merchant, CHOSEN, now=NOW)
    other = manage_keys.open_account(conn, "Hooli", livemode=False, now=NOW)
    with pytest.raises(AlreadyExists):
        manage_keys.adopt_key(conn, other, CHOSEN, now=NOW)


def test_a_revoked_key_stays_revoked(conn: psycopg.Connection, merchant: Account) -> None:
    manage_keys.adopt_key(conn, merchant, CHOSEN, now=NOW)
    [found] = accounts.list_keys(conn, merchant.account_id)
    for _ in range(2):
        manage_keys.revoke_key(conn, merchant, found.id, now=NOW)
    revoked = manage_keys.find_key(conn, CHOSEN)
    assert revoked is not None
    assert revoked.revoked_at == NOW
    with pytest.raises(AlreadyExists):
        manage_keys.adopt_key(conn, merchant, CHOSEN, now=NOW)


def test_only_an_accounts_own_key_can_be_revoked(
    conn: psycopg.Connection, merchant: Account
) -> None:
    other = manage_keys.open_account(conn, "Hooli", livemode=False, now=NOW)
    issued = manage_keys.create_key(conn, other, now=NOW)
    with pytest.raises(NotFound):
        manage_keys.revoke_key(conn, merchant, issued.id, now=NOW)
