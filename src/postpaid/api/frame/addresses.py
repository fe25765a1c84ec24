"""Postal addresses, as Frame writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from postpaid.api.frame.params import FrameParams
from postpaid.api.params import Text, Unsettable

Part = Unsettable[Annotated[str, Text(500)]]


class Address(FrameParams):
    """An address; it is given whole."""

    line_1: Part = None
    line_2: Part = None
    city: Part = None
    state: Part = None
    country: Part = None
    postal_code: Part = None


def from_frame(address: Address | None) -> dict[str, Any] | None:
    """The address as it is kept, every part null where it has none."""
    if address is None:
        return None
    return {
        "city": address.city,
        "country": address.country,
        "line1": address.line_1,
        "line2": address.line_2,
        "postal_code": address.postal_code,
        "state": address.state,
    }


def to_frame(address: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if address is None:
        return None
    return {
        "line_1": address.get("line1"),
        "line_2": address.get("line2"),
        "city": address.get("city"),
        "state": address.get("state"),
        "country": address.get("country"),
        "postal_code": address.get("postal_code"),
    }
