"""Requests of every kind with anything in them: whatever is wrong, it is not our fault."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postpaid.api.params import Params
from postpaid.api.server import RESOURCES
from postpaid.api.stripe.routes import Route
from postpaid.billing.manage_keys import IssuedKey

ROUTES = [
    route
    for resource in RESOURCES
    for route in resource.routes
    if route.path.startswith("/v1") and not route.path.endswith("/advance")  # nobody would work
]
WORDS = """
    0 -1 1 5 1.5 1e999 1e9999999 inf NaN true false null usd jpy € x all send_invoice classic
    default_incomplete error_if_incomplete graduated volume tiered metered month sum count call
    latest_invoice.payments data.customer customer 1767264700 999999999999 pm_card_visa tok_visa
"""
ODD = ["", *WORDS.split(), "9" * 18, "9" * 400, "x" * 300]


def names(model: type[Params], within: str = "") -> Iterator[str]:
    """How the model's parameters are spelled, and some that it does not have."""
    for name, field in model.model_fields.items():
        path = f"{within}[{name}]" if within else name
        yield from (path, f"{path}[x]", f"{path}[]")
        for inner in _models(field.annotation):
            yield from names(inner, path)
            yield from names(inner, f"{path}[0]")


def _models(kind: Any) -> list[type[Params]]:
    """The models that a field may hold."""
    if get_origin(kind) is Annotated:
        return _models(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType, list):
        return [model for each in get_args(kind) for model in _models(each)]
    return [kind] if isinstance(kind, type) and issubclass(kind, Params) else []


def required(model: type[Params], within: str = "") -> Iterator[str]:
    """The parameters without which a request goes nowhere."""
    for name, field in model.model_fields.items():
        if field.is_required():
            path = f"{within}[{name}]" if within else name
            inner = _models(field.annotation)
            is_list = get_origin(field.annotation) is list
            yield from required(inner[0], f"{path}[0]" if is_list else path) if inner else [path]


NAMES = {
    route.operation: ["expand[]", "made_up", *(names(route.params) if route.params else [])]
    for route in ROUTES
}


@pytest.fixture
def known(http: httpx.Client) -> list[str]:
    """Ids of things that are there, of every kind that others need."""
    made: list[str] = []

    def make(path: str, **given: str) -> str:
        answer = http.post(path, data=given)
        assert answer.status_code == 200, answer.text
        made.append(answer.json()["id"])
        return made[-1]

    formula = {"default_aggregation[formula]": "sum"}
    meter = make("/v1/billing/meters", display_name="Calls", event_name="call", **formula)
    product = make("/v1/products", name="Calls")
    price = {"product": product, "currency": "usd", "unit_amount": "5"}
    monthly = {"recurring[interval]": "month"}
    fee = make("/v1/prices", **price, **monthly)
    metered = {"recurring[usage_type]": "metered", "recurring[meter]": meter}
    make("/v1/prices", **price, **monthly, **metered)
    clock = make("/v1/test_helpers/test_clocks", frozen_time="1767264700")
    for more in ({}, {"test_clock": clock}):
        customer = make("/v1/customers", **more)
        make("/v1/payment_methods/pm_card_visa/attach", customer=customer)
        make("/v1/subscriptions", customer=customer, **{"items[0][price]": fee})
    made += [each["id"] for each in http.get("/v1/invoices").json()["data"]]
    return made


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_nothing_that_is_asked_is_our_fault(
    http: httpx.Client, known: list[str], key: IssuedKey, data: st.DataObject
) -> None:
    values = st.sampled_from([*ODD, *known])
    route: Route = data.draw(st.sampled_from(ROUTES))
    path = route.path
    for parameter in route.path_parameters:
        path = path.replace(f"{{{parameter}}}", data.draw(st.sampled_from(known)))
    needed = dict.fromkeys(required(route.params) if route.params else [], values)
    others = st.dictionaries(st.sampled_from(NAMES[route.operation]), values, max_size=4)
    form = data.draw(st.fixed_dictionaries(needed)) | data.draw(others)

    if route.method == "POST":
        answer = http.post(path, data=form)
    else:
        answer = http.request(route.method, path, params=form)

    assert answer.status_code < 500, answer.text
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert error["message"]
        assert error["type"] in ("invalid_request_error", "card_error", "idempotency_error")
