"""What the official SDK says can be expanded, can be: wherever we have the object to put there."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import StripeObject

from postpaid.api.server import RESOURCES
from postpaid.api.stripe.expand import loadable, plan
from postpaid.core.errors import InvalidRequest
from shapes import annotations as annotations_of

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
