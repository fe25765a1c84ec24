"""Accounts of Frame's: customers that say of themselves who they are."""

from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError
from postpaid import ids
from postpaid.api.frame import accounts as frame_accounts
from postpaid.api.frame.params import ListParams
from postpaid.billing.perform import Act
from postpaid.storage import customer_search
from postpaid.storage.accounts import Account
from postpaid.storage.customer_search import CustomerSearch
from postpaid.storage.database import Database
from statements import counted

PERSON: dict[str, Any] = {
    "type": "individual",
    "external_id": "user-1",
    "profile": {
        "individual": {
            "name": {"first_name": "Ada", "middle_name": "King", "last_name": "Lovelace"},
            "email": "ada@example.com",
            "phone": {"number": "2025550143", "country_code": "1"},
            "address": {"line1": "12 St James's Square", "city": "London", "country": "GB"},
            "dob": "1990-12-10",
            "ssn": "078051120",
        }
    },
    "capabilities": ["card_send", "kyc"],
    "terms_of_service": {"accepted_at": "2026-01-02T03:04:05Z", "ip_address": "192.0.2.1"},
    "metadata": {"tier": "gold"},
}
BUSINESS: dict[str, Any] = {
    "type": "business",
    "profile": {
        "business": {
            "legal_business_name": "Analytical Engines Ltd",
            "doing_business_as": "Engines",
            "business_type": "llc",
            "email": "hello@engines.example",
            "website": "https://engines.example",
            "description": "Engines that count.",
            "phone": "+442012345",
            "ein": "12-3456789",
            "mcc": "5734",
        }
    },
}
CARD = {
    "type": "card",
    "card_number": "4242424242424242",
    "exp_month": "12",
    "exp_year": "2031",
    "cvc": "123",
}


def test_a_person_is_shown_as_it_was_given(frame: Frame) -> None:
    made = frame.post("/v1/accounts", PERSON)
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert "078051120" not in frame.last.text
    address = {
        "line1": "12 St James's Square",
        "line_1": "12 St James's Square",
        "line2": None,
        "line_2": None,
        "city": "London",
        "state": None,
        "country": "GB",
        "postal_code": None,
    }
    capabilities = made.pop("capabilities")
    assert made == {
        "id": made["id"],
        "object": "account",
        "type": "individual",
        "status": "active",
        "external_id": "user-1",
        "profile": {
            "individual": {
                "name": {
                    "first_name": "Ada",
                    "middle_name": "King",
                    "last_name": "Lovelace",
                    "suffix": None,
                },
                "email": "ada@example.com",
                "phone": {"number": "2025550143", "country_code": "1"},
                "address": address,
                "dob": "1990-12-10",
            },
            "business": None,
        },
        "terms_of_service": {
            "accepted_at": "2026-01-02T03:04:05.000Z",
            "ip_address": "192.0.2.1",
            "user_agent": None,
        },
        "test_clock": None,
        "metadata": {"tier": "gold"},
        "livemode": False,
        "created": made["created"],
        "updated": made["created"],
    }
    assert [(each["name"], each["status"]) for each in capabilities] == [
        ("card_send", "active"),
        ("kyc", "active"),
    ]
    assert frame.get(f"/v1/accounts/{made['id']}") == made | {"capabilities": capabilities}


def test_a_social_security_number_is_kept_nowhere(frame: Frame, database: Database) -> None:
    account_id = frame.post("/v1/accounts", PERSON)["id"]
    customer_id = frame.post(
        "/v1/customers", {"name": "Ada", "email": "a@x.example", "ssn": "078051120"}
    )["id"]
    with database.connection() as conn:
        kept = conn.execute(
            "SELECT c::text FROM customers c WHERE id = ANY(%(ids)s)"
            " UNION ALL SELECT e.snapshot::text FROM events e WHERE object_id = ANY(%(ids)s)",
            {"ids": [account_id, customer_id]},
        ).fetchall()
    assert len(kept) == 4
    assert [row for row in kept if "078051120" in row[0]] == []


def test_a_business_is_shown_as_it_was_given(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    made = frame.post("/v1/accounts", BUSINESS)
    said = dict(BUSINESS["profile"]["business"])
    assert "ein" in said
    shown = made["profile"]["business"]
    assert {name: shown[name] for name in said if name not in ("ein", "phone")} == {
        name: value for name, value in said.items() if name not in ("ein", "phone")
    }
    assert shown["phone"] == {"number": "+442012345", "country_code": None}
    seen = stripe_client.v1.customers.retrieve(made["id"])
    assert (seen.name, seen.business_name, seen.email) == (
        "Engines",
        "Analytical Engines Ltd",
        "hello@engines.example",
    )
    path = f"/v1/accounts/{made['id']}"
    frame.patch(path, {"profile": {"business": {"doing_business_as": ""}}})
    after = frame.get(path)["profile"]["business"]
    assert (after["legal_business_name"], after["doing_business_as"]) == (
        "Analytical Engines Ltd",
        None,
    )
    assert stripe_client.v1.customers.retrieve(made["id"]).name == "Analytical Engines Ltd"


def test_an_account_and_a_customer_are_one_thing(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    account_id = frame.post("/v1/accounts", PERSON)["id"]
    seen = frame.get(f"/v1/customers/{account_id}")
    assert (seen["object"], seen["name"], seen["phone"], seen["date_of_birth"]) == (
        "customer",
        "Ada King Lovelace",
        "+12025550143",
        "1990-12-10",
    )
    stripe_client.v1.customers.update(account_id, {"name": "Ada Byron", "phone": "555"})
    shown = frame.get(f"/v1/accounts/{account_id}")["profile"]["individual"]
    assert shown["name"] == {
        "first_name": "Ada",
        "middle_name": None,
        "last_name": "Byron",
        "suffix": None,
    }
    assert shown["phone"] == {"number": "555", "country_code": None}

    customer_id = stripe_client.v1.customers.create({"name": "Eve", "email": "e@x.example"}).id
    as_account = frame.get(f"/v1/accounts/{customer_id}")
    assert (as_account["object"], as_account["type"]) == ("account", "individual")
    assert as_account["profile"]["individual"]["name"]["first_name"] == "Eve"


def test_each_list_has_its_own_kind(frame: Frame) -> None:
    account_id = frame.post("/v1/accounts", PERSON)["id"]
    customer_id = frame.post("/v1/customers", {"name": "Eve", "email": "eve@x.example"})["id"]

    def listed(path: str) -> list[str]:
        return [each["id"] for each in frame.get(path)["data"]]

    assert listed("/v1/accounts") == [account_id] == listed("/v1/accounts/search")
    assert listed("/v1/customers") == [customer_id] == listed("/v1/customers/search")
    frame.patch(f"/v1/accounts/{customer_id}", {"metadata": {"a": "b"}})
    assert listed("/v1/customers") == [customer_id]
    frame.patch(f"/v1/accounts/{customer_id}", {"external_id": "user-2"})
    assert listed("/v1/accounts") == [customer_id, account_id]
    assert listed("/v1/customers") == []


def test_accounts_are_found_by_what_is_known_of_them(frame: Frame) -> None:
    person = frame.post("/v1/accounts", PERSON)["id"]
    business = frame.post("/v1/accounts", BUSINESS)["id"]
    unknown = frame.post("/v1/accounts", {"type": "individual"})
    assert unknown["status"] == "pending"
    gone = frame.post("/v1/accounts", {"type": "business"})["id"]
    assert frame.post(f"/v1/accounts/{business}/restrict")["status"] == "restricted"
    disabled = frame.delete(f"/v1/accounts/{gone}")
    assert (disabled["status"], disabled["deleted"]) == ("disabled", True)
    assert frame.get(f"/v1/accounts/{gone}")["status"] == "disabled"

    def listed(where: str = "", **query: Any) -> list[str]:
        return [each["id"] for each in frame.get(f"/v1/accounts{where}", **query)["data"]]

    assert listed() == [unknown["id"], business, person]
    assert listed(include_disabled="true") == [gone, unknown["id"], business, person]
    assert listed(status="active") == [person]
    assert listed(status="restricted") == [business]
    assert listed(status="disabled") == [gone]
    assert listed(status="pending") == [unknown["id"]]
    assert listed(type="business") == [business]
    assert listed(external_id="user-1") == [person]
    assert listed(external_id="user-9") == []
    assert listed("/search", name="analytical") == [business]
    assert listed("/search", email="ADA@") == [person]
    assert listed("/search", phone="2025550143", type="individual") == [person]
    with pytest.raises(FrameError) as refused:
        frame.patch(f"/v1/accounts/{gone}", {"metadata": {}})
    assert refused.value.status == 404


def test_a_restricted_account_is_sold_nothing_more(frame: Frame) -> None:
    account_id = frame.post("/v1/accounts", PERSON)["id"]
    frame.post(f"/v1/accounts/{account_id}/restrict")
    assert frame.get(f"/v1/customers/{account_id}")["status"] == "blocked"
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/payment_methods", CARD | {"account": account_id})
    assert refused.value.code == "customer_blocked"
    assert frame.post(f"/v1/accounts/{account_id}/unrestrict")["status"] == "active"
    method = frame.post("/v1/payment_methods", CARD | {"account": account_id})
    assert (method["account"], method["account_id"]) == (account_id, account_id)
    assert (method["customer"], method["customer_id"]) == (None, None)
    found = frame.get(f"/v1/accounts/{account_id}/payment_methods")
    assert found["data"] == found["payment_methods"] == [method]


def test_a_profile_is_changed_by_what_is_given(frame: Frame) -> None:
    account_id = frame.post("/v1/accounts", PERSON)["id"]
    path = f"/v1/accounts/{account_id}"
    before = frame.get(path)
    said = {"individual": {"name": {"last_name": "Byron", "middle_name": ""}}}
    after = frame.patch(path, {"profile": said, "metadata": {"tier": "", "a": "b"}})
    assert after["profile"]["individual"] == before["profile"]["individual"] | {
        "name": {"first_name": "Ada", "middle_name": None, "last_name": "Byron", "suffix": None}
    }
    assert (after["external_id"], after["metadata"]) == ("user-1", {"a": "b"})
    assert after["capabilities"] == before["capabilities"]
    with pytest.raises(FrameError) as refused:
        frame.patch(path, {"profile": {"business": {"legal_business_name": "No"}}})
    assert refused.value.body["error_details"]["errors"].keys() == {"profile[business]"}


def test_capabilities_are_requested_and_disabled(frame: Frame) -> None:
    account_id = frame.post("/v1/accounts", PERSON)["id"]
    path = f"/v1/accounts/{account_id}/capabilities"
    asked = {"capabilities": ["kyc", "bank_account_send"]}
    after: Any = frame.request("POST", path, asked, key="once")
    assert [each["name"] for each in after] == ["card_send", "kyc", "bank_account_send"]
    assert frame.request("POST", path, asked, key="once") == after
    assert frame.get(path) == after
    off = frame.delete(f"{path}/kyc")
    assert (off["id"], off["status"]) == (after[1]["id"], "disabled")
    assert frame.get(f"{path}/kyc") == off
    again: Any = frame.post(path, {"capabilities": ["kyc"]})
    assert [(each["id"], each["status"]) for each in again] == [
        (each["id"], "active") for each in after
    ]
    with pytest.raises(FrameError) as refused:
        frame.get(f"{path}/flight")
    assert refused.value.status == 404


@pytest.mark.parametrize("path", ["", "/restrict", "/capabilities/kyc"])
def test_an_account_that_is_not_there(frame: Frame, path: str) -> None:
    for method in ["POST"] if path == "/restrict" else ["GET", "DELETE"]:
        with pytest.raises(FrameError) as refused:
            frame.request(method, f"/v1/accounts/cus_none{path}")
        assert refused.value.status == 404


WRONG: list[tuple[str, Any]] = [
    ("type", "robot"),
    ("type", 1),
    ("external_id", "x" * 256),
    ("external_id", {}),
    ("capabilities", "kyc"),
    ("capabilities", ["kyc"] * 21),
    ("capabilities", ["two words"]),
    ("capabilities", [1]),
    ("terms_of_service", "yes"),
    ("terms_of_service", {"accepted_at": "soon"}),
    ("profile", "me"),
    ("profile", {"individual": 1}),
    ("profile", {"individual": {"name": "Ada"}}),
    ("profile", {"individual": {"name": {}}}),
    ("profile", {"individual": {"name": {"first_name": "x" * 201}}}),
    ("profile", {"individual": {"email": "no-at"}}),
    ("profile", {"individual": {"phone": {}}}),
    ("profile", {"individual": {"phone": 5}}),
    ("profile", {"individual": {"address": "here"}}),
    ("profile", {"individual": {"address": {"line1": 1}}}),
    ("profile", {"individual": {"dob": "yesterday"}}),
    ("profile", {"individual": {"ssn": 5}}),
    ("profile", {"business": {"legal_business_name": "wrong type"}}),
    ("metadata", {"k" * 41: "v"}),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=map(str, range(len(WRONG))))
def test_what_is_wrong_with_an_account_is_said_by_name(frame: Frame, name: str, value: Any) -> None:
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/accounts", PERSON | {name: value})
    assert refused.value.status == 422
    assert next(iter(refused.value.body["error_details"]["errors"])).startswith(name)


@pytest.mark.parametrize("name", ["status", "type", "include_disabled"])
def test_what_is_wrong_with_a_list_of_accounts_is_said_by_name(frame: Frame, name: str) -> None:
    with pytest.raises(FrameError) as refused:
        frame.get("/v1/accounts", **{name: "odd"})
    assert list(refused.value.body["error_details"]["errors"]) == [name]


def test_a_list_of_accounts_costs_as_much_as_one(
    frame: Frame, database: Database, account: Account
) -> None:
    key = account.account_id
    costs = []
    for more in (1, 3):
        for _ in range(more):
            frame.post("/v1/accounts", PERSON)
        act = Act(key, False, "test", datetime.now(UTC), ids.new_id)
        with database.connection() as conn, counted(conn) as statements:
            rows = customer_search.find_with_profile(conn, key, ListParams().rows, CustomerSearch())
            shown = frame_accounts.render_many(conn, act, rows.rows)
        costs.append((len(shown), len(statements)))
    assert costs == [(1, 1), (4, 1)]
