"""What the official SDK says can be expanded, can be: wherever we have the object to put there."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest
from paying_names import make_names
from shops import a_shop
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import StripeObject

from postpaid.api.server import RESOURCES
from postpaid.api.stripe.expand import loadable, plan
from postpaid.core.errors import InvalidRequest
from postpaid.storage.database import Database
from shapes import annotations as annotations_of
from shapes import assert_shape

OURS = sorted(
    {route.returns for each in RESOURCES for route in each.routes} & OBJECT_CLASSES.keys()
    | {"line_item", "invoice_payment", "credit_note_line_item"}
)

# Objects within ours that never have the id that the SDK speaks of.
NEVER = {
    ("payment_method", "sepa_debit.generated_from.charge"),
    ("payment_method", "sepa_debit.generated_from.setup_attempt"),
    ("payment_record", "payment_method_details.bancontact.generated_sepa_debit"),
    ("payment_record", "payment_method_details.ideal.generated_sepa_debit"),
    ("payment_record", "payment_method_details.sofort.generated_sepa_debit"),
    ("setup_attempt", "payment_method_details.bancontact.generated_sepa_debit"),
    ("setup_attempt", "payment_method_details.card_present.generated_card"),
    ("setup_attempt", "payment_method_details.ideal.generated_sepa_debit"),
    ("setup_attempt", "payment_method_details.sofort.generated_sepa_debit"),
    ("charge", "payment_method_details.bancontact.generated_sepa_debit"),
    ("charge", "payment_method_details.ideal.generated_sepa_debit"),
    ("charge", "payment_method_details.sofort.generated_sepa_debit"),
    ("payment_method", "card.generated_from.setup_attempt"),
    ("subscription", "billing_schedules.applies_to.price"),
}


def expandables(cls: type[StripeObject], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Dotted paths to what is an id or an object, with the object's types."""
    for key, annotation in annotations_of(cls).items():
        yield from _in(annotation, (*path, key), cls)


def _in(annotation: Any, path: tuple[str, ...], holder: Any) -> Iterator[tuple[str, Any]]:
    arguments = get_args(annotation)
    kinds = {each.OBJECT_NAME for each in arguments if hasattr(each, "OBJECT_NAME")}
    if kinds and str in arguments:
        yield ".".join(path), kinds
    elif arguments:
        for each in arguments:
            yield from _in(each, path, holder)
    elif inspect.isclass(annotation) and issubclass(annotation, StripeObject):
        # A whole object of another kind in it is asked about by itself.
        if hasattr(annotation, "OBJECT_NAME") or annotation is holder:
            return
        yield from expandables(annotation, path)


def class_of(kind: str) -> type[StripeObject]:
    module, name = OBJECT_CLASSES[kind]
    found: type[StripeObject] = getattr(importlib.import_module(module), name)
    return found


@pytest.mark.parametrize("kind", OURS)
def test_what_the_sdk_can_expand_can_be(kind: str) -> None:
    refused = []
    for path, kinds in expandables(class_of(kind)):
        if not any(map(loadable, kinds)) or (kind, path) in NEVER:
            continue
        try:
            plan(kind, [path])
        except InvalidRequest as error:
            if "more than 4 levels" not in error.message:
                refused.append(path)
    assert refused == []


PAID = {
    "charge": "/v1/charges/{charge}",
    "customer": "/v1/customers/{customer}",
    "invoice": "/v1/invoices/{settled}",
    "invoice_payment": "/v1/invoice_payments/{payment}",
    "payment_intent": "/v1/payment_intents/{paid}",
    "payment_method": "/v1/payment_methods/{card}",
    "payment_record": "/v1/payment_records/{record}",
    "refund": "/v1/refunds/{refund}",
    "setup_attempt": "/v1/setup_attempts?setup_intent={setup_waits}",
    "setup_intent": "/v1/setup_intents/{setup_waits}",
}


def test_what_is_paid_has_the_sdks_shape_with_all_that_expands(
    server: str, database: Database
) -> None:
    expanded: set[tuple[str, str]] = set()
    with a_shop(server, database, make_names) as shop:
        for kind, path in PAID.items():
            url = shop.filled(path)
            plain = only(shop.http.get(url).json())
            assert_shape(plain, class_of(kind))
            for place, kinds in expandables(class_of(kind)):
                if not any(map(loadable, kinds)) or (kind, place) in NEVER:
                    continue
                name = f"data.{place}" if "?" in url else place
                answer = shop.http.get(
                    url, params={**dict(httpx.URL(url).params), "expand[]": name}
                )
                assert answer.status_code == 200, answer.text
                shown = only(answer.json())
                assert_shape(shown, class_of(kind))
                for key, found in zip(at(plain, place), at(shown, place), strict=True):
                    assert key == (found and found["id"]), (kind, place)
                    expanded |= {(kind, place)} if found else set()
    assert len(expanded) > 15, sorted(expanded)


def only(value: dict[str, Any]) -> dict[str, Any]:
    """The object, or the one in its list."""
    found: dict[str, Any] = value["data"][0] if value["object"] == "list" else value
    return found


def at(value: Any, path: str) -> list[Any]:
    """What is at the dotted path: once, never, or as often as the lists on the way have it."""
    key, _, rest = path.partition(".")
    if isinstance(value, list):
        return [found for each in value for found in at(each, path)]
    if value is None or key not in value:
        return []
    if isinstance(value[key], list) and not rest:
        return list(value[key])
    return at(value[key], rest) if rest else [value[key]]
