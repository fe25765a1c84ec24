"""Does a JSON object look as the official SDK's class says? Its annotations are the judge."""

import ast
import functools
import importlib
import inspect
import sys
import types
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import stripe
from stripe._stripe_object import StripeObject, UntypedStripeObject

from postpaid.core.metering import Aggregation

# Stripe leaves these out unless they are asked for with expand, or happened.
LEFT_OUT: dict[type[StripeObject], set[str]] = {
    stripe.Charge: {"refunds"},
    stripe.Coupon: {"applies_to", "currency_options"},
    stripe.Event.Data: {"previous_attributes"},  # only when something changed
    stripe.Customer: {"cash_balance", "sources", "subscriptions", "tax", "tax_ids"},
    stripe.Invoice: {"amount_paid_off_stripe", "confirmation_secret", "payments"},
    stripe.Plan: {"tiers"},
    stripe.Price: {"currency_options", "tiers"},
    stripe.PromotionCode.Restrictions: {"currency_options"},
    stripe.SubscriptionItem: {"quantity"},  # not there when metered
    stripe.WebhookEndpoint: {"secret"},  # only when created
    stripe.checkout.Session: {"line_items"},
}

# Values that are ours, where Stripe enumerates its own.
OURS: dict[type[StripeObject], dict[str, set[str]]] = {
    stripe.Event: {  # the first of which Stripe had, and says no more
        "type": {"invoiceitem.updated", "webhook_endpoint.disabled"}
    },
    stripe.Invoice: {"id": {"None"}},  # Stripe: that of invoice.upcoming has none
    stripe.billing.Meter.DefaultAggregation: {"formula": set(Aggregation)},
}


def assert_shape(value: dict[str, Any], stripe_class: type[StripeObject]) -> None:
    """Fail, naming every place, unless ``value`` has all that ``stripe_class`` annotates."""
    problems = list(problems_of(value, stripe_class, stripe_class.__name__))
    assert not problems, "\n".join(["", *problems])


def problems_of(value: Any, expected: Any, place: str) -> Iterator[str]:
    """What is wrong with a value that should be an ``expected``."""
    origin, arguments = get_origin(expected), get_args(expected)
    if expected is Any or expected is StripeObject:
        return
    if origin in (Union, types.UnionType):
        yield from _problems_of_union(value, arguments, place)
    elif origin is Literal:
        if value not in arguments:
            yield f"{place}: {value!r} is not one of {', '.join(map(str, arguments))}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{place}: {value!r} is not a list"
            return
        for index, element in enumerate(value):
            yield from problems_of(element, arguments[0], f"{place}[{index}]")
    elif origin in (dict, UntypedStripeObject):
        if not isinstance(value, dict):
            yield f"{place}: {value!r} is not an object"
            return
        for key, element in value.items():
            yield from problems_of(element, arguments[-1], f"{place}.{key}")
    elif origin is stripe.ListObject:
        yield from _problems_of_page(value, arguments[0], place)
    elif inspect.isclass(expected) and issubclass(expected, StripeObject):
        yield from _problems_of_object(value, expected, place)
    elif not _is_a(value, expected):
        yield f"{place}: {value!r} is not a {expected.__name__}"


def _problems_of_union(value: Any, members: tuple[Any, ...], place: str) -> Iterator[str]:
    # An enumeration is Union[Literal[...], str], open for values to come. Ours are all known.
    if any(get_origin(member) is Literal for member in members):
        members = tuple(member for member in members if member is not str)
    if value is None and type(None) in members:
        return
    found = [list(problems_of(value, m, place)) for m in members if m is not type(None)]
    if all(found):
        # The best match says most: an object that lacks a key beats "is not a str".
        yield from max(found, key=lambda problems: isinstance(value, dict) and len(problems))


def _problems_of_page(value: Any, element: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict) or value.get("object") != "list":
        yield f"{place}: {value!r} is not a list object"
        return
    yield from problems_of(value.get("data"), list[element], f"{place}.data")
    if not isinstance(value.get("has_more"), bool):
        yield f"{place}.has_more is not a bool"
    if not str(value.get("url")).startswith("/v1/"):
        yield f"{place}.url is not a path"


def _problems_of_object(value: Any, expected: type[StripeObject], place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: {value!r} is not a {expected.__name__}"
        return
    if value.get("deleted") is True:
        return
    for key, annotation in annotations(expected).items():
        if key in value:
            if str(value[key]) in OURS.get(expected, {}).get(key, ()):
                continue
            yield from problems_of(value[key], annotation, f"{place}.{key}")
        elif key != "deleted" and key not in LEFT_OUT.get(expected, ()):
            yield f"{place}.{key} is missing"


def _is_a(value: Any, expected: Any) -> bool:
    if expected is Decimal:  # on the wire a string, which the SDK turns into a Decimal
        try:
            return isinstance(value, str) and Decimal(value).is_finite()
        except InvalidOperation:
            return False
    if expected is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if expected is int:
        return type(value) is int
    return isinstance(value, expected)


@functools.cache
def annotations(stripe_class: type[StripeObject]) -> dict[str, Any]:
    """What a response of this class has, by key."""
    own = {"__annotations__": dict(stripe_class.__annotations__)}
    own["__annotations__"].pop("OBJECT_NAME", None)
    return get_type_hints(type("Own", (), own), globalns=names_in(stripe_class.__module__))


@functools.cache
def names_in(module_name: str) -> dict[str, Any]:
    """The names that a module's annotations use, with those imported for type checking only."""
    module = sys.modules[module_name]
    names = dict(vars(module))
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                if isinstance(statement, ast.ImportFrom) and "params" not in str(statement.module):
                    imported = importlib.import_module(str(statement.module))
                    for alias in statement.names:
                        names[alias.asname or alias.name] = getattr(imported, alias.name)
    return names
