"""Postal addresses, as Stripe writes them."""

from __future__ import annotations

from typing import Annotated, Any

from postpaid.api.params import Params, Text, Unsettable

Part = Unsettable[Annotated[str, Text(500)]]


class Address(Params):
    """An address. It is given whole: a new street in the old city is nobody's address."""

    city: Part = None
    country: Part = None
    line1: Part = None
    line2: Part = None
    postal_code: Part = None
    state: Part = None


def from_stripe(address: Address | None) -> dict[str, Any] | None:
    """The address as it is kept and shown: every part, null where it has none."""
    if address is None:
        return None
    return {
        "city": address.city,
        "country": address.country,
        "line1": address.line1,
        "line2": address.line2,
        "postal_code": address.postal_code,
        "state": address.state,
    }
