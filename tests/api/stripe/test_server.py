"""The application around the API: headers, health, the description, and the SDK's own ways."""

import re
from typing import Any

import httpx
import pytest
from stripe import StripeClient

from postpaid.api.routing import Router
from postpaid.api.server import RESOURCES, create_app
from postpaid.api.stripe import expand
from postpaid.api.stripe.facade import API_VERSION
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing.manage_keys import IssuedKey
from postpaid.config import Settings
from postpaid.storage.database import Database
from serving import serve


def test_every_answer_has_its_headers(gadget_http: httpx.Client) -> None:
    for path in ("/v1/gadgets", "/v1/gadgets/none", "/v1/nothing"):
        headers = gadget_http.get(path).headers
        assert re.fullmatch(r"req_[0-9A-Za-z]{24}", headers["Request-Id"])
        assert headers["Stripe-Version"] == API_VERSION
        assert headers["Content-Type"] == "application/json"
        assert headers["Cache-Control"] == "no-store"
        assert "Stripe-Notice" not in headers


def test_the_version_that_was_asked_for_is_echoed(gadget_http: httpx.Client) -> None:
    answer = gadget_http.get("/v1/gadgets", headers={"Stripe-Version": "2025-03-31.basil"})
    assert answer.headers["Stripe-Version"] == "2025-03-31.basil"


def test_the_sdk_sees_the_headers(gadget_server: str, key: IssuedKey) -> None:
    client = StripeClient(key.secret, base_addresses={"api": gadget_server})
    answer = client.raw_request("post", "/v1/gadgets", name="x", idempotency_key="k")
    assert answer.idempotency_key == "k"
    assert str(answer.request_id).startswith("req_")


def test_the_sdk_turns_pages(gadget_server: str, key: IssuedKey) -> None:
    client = StripeClient(key.secret, base_addresses={"api": gadget_server})
    made = [client.raw_request("post", "/v1/gadgets", name=f"{n}").data["id"] for n in range(7)]
    for limit in (1, 3, 7):
        raw = client.raw_request("get", f"/v1/gadgets?limit={limit}")
        page: Any = client.deserialize(raw, api_mode="V1")
        assert [gadget["id"] for gadget in page.auto_paging_iter()] == made[::-1]


# ─── Health ──────────────────────────────────────────────────────────────────────────────────


def test_a_healthy_server_says_so(server: str) -> None:
    answer = httpx.get(f"{server}/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_server_without_its_database_says_so(fresh_database_url: str) -> None:
    database = Database(fresh_database_url)
    database.close()
    with serve(create_app(database, Settings())) as url:
        answer = httpx.get(f"{url}/health")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


def test_the_address_alone_leads_to_the_description(server: str) -> None:
    answer = httpx.get(server)
    assert answer.is_redirect
    assert answer.headers["location"] == "/docs"


# ─── Routes ──────────────────────────────────────────────────────────────────────────────────


def test_a_route_is_declared_once() -> None:
    routes = Routes("Things")

    @routes.get("/v1/things", returns="thing", many=True)
    @routes.get("/v1/things", returns="thing")
    def one(call: Call) -> dict[str, Any]:
        return {}

    with pytest.raises(ValueError, match="GET /v1/things is declared twice"):
        Router(routes.routes)


# ─── The description ─────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def description(gadget_server: str) -> Any:
    return httpx.get(f"{gadget_server}/openapi.json").json()


def test_the_description_has_every_route(description: Any) -> None:
    assert description["openapi"] == "3.1.0"
    assert {
        f"{method.upper()} {path}"
        for path, methods in description["paths"].items()
        for method in methods
    } == {
        "DELETE /v1/gadgets/{gadget}",
        "DELETE /v2/gadgets/{gadget}",
        "GET /v1/gadgets",
        "GET /v1/gadgets/newest",
        "GET /v1/gadgets/{gadget}",
        "POST /v1/gadgets",
        "POST /v1/gadgets/{gadget}",
        "POST /v1/gadgets/{gadget}/pay",
        "POST /v2/gadgets",
    }


def test_a_get_is_described(description: Any) -> None:
    listing = description["paths"]["/v1/gadgets"]["get"]
    assert listing["summary"] == "List gadgets."
    parameters = {parameter["name"]: parameter for parameter in listing["parameters"]}
    assert list(parameters) == [
        "limit",
        "starting_after",
        "ending_before",
        "created",
        "colors",
        "expand",
    ]
    assert parameters["limit"] == {
        "name": "limit",
        "in": "query",
        "required": False,
        "style": "deepObject",
        "explode": True,
        "schema": {"default": 10, "maximum": 100, "minimum": 1, "type": "integer"},
    }
    page = listing["responses"]["200"]["content"]["application/json"]["schema"]
    assert page["properties"]["data"]["items"] == {"$ref": "#/components/schemas/test.gadget"}


def test_a_post_is_described(description: Any) -> None:
    create = description["paths"]["/v1/gadgets"]["post"]
    assert create["operationId"] == "PostGadgets"
    assert create["summary"] == "Create a gadget."
    assert create["description"] == "What it is good for is left to the caller."
    assert [parameter["name"] for parameter in create["parameters"]] == ["Idempotency-Key"]
    form = create["requestBody"]["content"]["application/x-www-form-urlencoded"]
    assert form["encoding"]["parts"] == {"style": "deepObject", "explode": True}
    assert form["schema"]["required"] == ["name"]
    assert form["schema"]["properties"]["due_at"] == {"format": "unix-time", "type": "integer"}
    assert form["schema"]["properties"]["unit_cost"] == {"format": "decimal", "type": "string"}
    assert form["schema"]["properties"]["description"] == {
        "anyOf": [{"maxLength": 100, "minLength": 1, "type": "string"}, {"const": ""}]
    }
    assert form["schema"]["properties"]["expand"]["type"] == "array"


def test_a_v2_post_is_json(description: Any) -> None:
    content = description["paths"]["/v2/gadgets"]["post"]["requestBody"]["content"]
    assert list(content) == ["application/json"]


def test_a_path_parameter_is_described(description: Any) -> None:
    retrieve = description["paths"]["/v1/gadgets/{gadget}"]["get"]
    assert retrieve["parameters"][0] == {
        "name": "gadget",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
    }


@pytest.mark.parametrize("resources", ["gadgets", "the product"])
def test_every_reference_leads_somewhere(gadget_server: str, server: str, resources: str) -> None:
    url = gadget_server if resources == "gadgets" else server
    described = httpx.get(f"{url}/openapi.json").json()
    references = re.findall(r'"\$ref": ?"#/([^"]+)"', httpx.get(f"{url}/openapi.json").text)
    for reference in references:
        node = described
        for part in reference.split("/"):
            assert part in node, reference
            node = node[part]


def test_every_operation_has_an_id_of_its_own(server: str) -> None:
    described = httpx.get(f"{server}/openapi.json").json()
    found = [
        operation["operationId"]
        for methods in described["paths"].values()
        for operation in methods.values()
    ]
    assert len(found) == len(set(found)) == sum(len(group.routes) for group in RESOURCES)


def test_every_route_says_what_it_does() -> None:
    for group in RESOURCES:
        for route in group.routes:
            assert route.handler.__doc__, route.operation


def test_everything_expandable_can_be_loaded() -> None:
    for (object_type, path), field in expand._fields.items():
        if field.load is not None:
            assert field.load in expand._loaders, f"{object_type}.{path}"


def test_the_pages_need_no_other_host(gadget_server: str) -> None:
    page = httpx.get(f"{gadget_server}/docs").text
    for link in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert link.startswith("/")
        assert httpx.get(f"{gadget_server}{link}").status_code == 200
    assert "https://" not in page
