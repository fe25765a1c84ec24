"""What every call of Frame's API has in common."""

import httpx
import pytest
import stripe

from frame_client import Frame, FrameError
from postpaid.api.server import create_app
from postpaid.billing.manage_keys import IssuedKey
from postpaid.config import Settings
from postpaid.storage.database import Database
from serving import serve

ADA = {"name": "Ada", "email": "ada@example.com"}


def test_an_answer_repeats_for_its_key(frame: Frame) -> None:
    first = frame.post("/v1/customers", ADA, key="one")
    assert frame.last is not None
    assert frame.last.status_code == 201
    again = frame.post("/v1/customers", ADA, key="one")
    assert again == first
    assert frame.last.status_code == 201
    assert frame.last.headers["idempotent-replay"] == "true"
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/customers", ADA | {"name": "Eve"}, key="one")
    assert (refused.value.status, refused.value.code) == (422, "idempotency_mismatch")


def test_an_error_has_every_key_that_a_client_reads(frame: Frame) -> None:
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/customers", {"name": "Ada"})
    assert refused.value.body == {
        "status": 422,
        "error": "Unprocessable Entity",
        "code": "validation_errors",
        "message": "Missing required param: email.",
        "error_details": {
            "message": "Missing required param: email.",
            "errors": {"email": ["Missing required param: email."]},
        },
    }


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("GET", "/v1/nothing", b"", 404, "not_found"),
        ("GET", "/v1/customers/cus_none", b"", 404, "not_found"),
        ("PUT", "/v1/customers/cus_none", b"", 404, "not_found"),
        ("POST", "/v1/customers", b"{", 422, "validation_errors"),
        ("POST", "/v1/customers", b"[]", 422, "validation_errors"),
        ("GET", "/v1/customers?page=0", b"", 422, "validation_errors"),
        ("GET", "/v1/customers?page=x", b"", 422, "validation_errors"),
    ],
)
def test_a_wrong_request_is_refused(
    frame: Frame, method: str, path: str, content: bytes, status: int, code: str
) -> None:
    headers = {"Content-Type": "application/json"}
    response = frame.http.request(method, path, content=content, headers=headers)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_a_path_that_is_none_is_told_where_frames_are(frame: Frame) -> None:
    with pytest.raises(FrameError) as refused:
        frame.get("/v1/nothing")
    assert "See /frame/docs for" in refused.value.message


def test_a_form_is_no_json(frame: Frame) -> None:
    response = frame.http.post("/v1/customers", data={"name": "Ada"})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


def test_without_a_key_nothing_is_answered(frame: Frame) -> None:
    response = frame.http.get("/v1/me", headers={"Authorization": ""})
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")


def test_a_list_is_read_page_by_page(frame: Frame) -> None:
    made = [frame.post("/v1/customers", ADA)["id"] for _ in range(3)]
    first = frame.get("/v1/customers", per_page=2)
    assert first["meta"] == {
        "page": 1,
        "url": "/v1/customers?per_page=2",
        "has_more": True,
        "prev": None,
        "next": 2,
    }
    assert [each["id"] for each in first["data"]] == made[:0:-1]
    assert first["customers"] == first["data"]
    second = frame.get("/v1/customers", per_page=2, page=2)
    assert [each["id"] for each in second["data"]] == made[:1]
    assert (second["meta"]["prev"], second["meta"]["next"]) == (1, None)
    assert frame.get("/v1/customers", per_page=2, page=9)["data"] == []
    assert len(frame.get("/v1/customers", per_page=1000)["data"]) == 3  # more is taken as 100


def test_what_is_one_customer_here_is_the_same_there(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    customer_id = frame.post("/v1/customers", ADA | {"metadata": {"plan": "pro"}})["id"]
    seen = stripe_client.v1.customers.retrieve(customer_id)
    assert (seen.name, seen.email, seen.metadata and seen.metadata.to_dict()) == (
        ADA["name"],
        ADA["email"],
        {"plan": "pro"},
    )
    frame.patch(f"/v1/customers/{customer_id}", {"metadata": {"plan": "", "seats": 4}})
    made = stripe_client.v1.customers.create({"name": "Eve", "email": "eve@example.com"})
    assert frame.get(f"/v1/customers/{made.id}")["name"] == "Eve"
    assert frame.get(f"/v1/customers/{customer_id}")["metadata"] == {"seats": "4"}


def test_another_merchant_sees_nothing(frame: Frame, other_frame: Frame) -> None:
    customer_id = frame.post("/v1/customers", ADA)["id"]
    with pytest.raises(FrameError) as refused:
        other_frame.get(f"/v1/customers/{customer_id}")
    assert refused.value.status == 404
    me, other = frame.get("/v1/me"), other_frame.get("/v1/me")
    assert me["merchant_id"] != other["merchant_id"]
    assert (me["dev_mode"], me["api_version"]) == (True, "v1")


def test_under_a_name_of_its_own_it_is_at_v1(database: Database, key: IssuedKey) -> None:
    """Frame's Ruby client drops a base path; so do those whose address cannot be changed."""
    settings = Settings(frame_hosts=("frame.example",))
    with serve(create_app(database, settings)) as url:
        client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key.secret}"})
        for host in ("frame.example", "FRAME.example:8420"):
            assert client.get("/v1/me", headers={"Host": host}).json()["dev_mode"] is True
        listed = client.get("/v1/customers").json()
        assert listed["object"] == "list", "under any other name it is Stripe's"
        assert client.get("/frame/v1/me").status_code == 200
        assert client.get("/health", headers={"Host": "frame.example"}).status_code == 200
