"""Business events as Frame shows them: told by a code, with the resource itself as their data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from postpaid.api.frame import (
    billing_credits,
    customers,
    invoice_shapes,
    payment_methods,
    products,
)
from postpaid.api.instants import seconds
from postpaid.billing.deliver import Telling
from postpaid.billing.perform import Act
from postpaid.core.catalog import Product
from postpaid.core.deliveries import message_id
from postpaid.core.frame_events import Shown, shown
from postpaid.core.invoicing import Invoice
from postpaid.core.unit_credits import UnitCredit
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod

Object = dict[str, Any]
Render = Callable[[Connection, Act, Sequence[Any]], Sequence[Object]]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the snapshots of one kind of object are read and shown, by the batch."""

    cls: type[Any]
    render: Render


KINDS: Mapping[str, _Kind] = {
    "customer": _Kind(Customer, customers.render_many),
    "invoice": _Kind(Invoice, invoice_shapes.render_snapshots),
    "payment_method": _Kind(PaymentMethod, payment_methods.render_many),
    "product": _Kind(Product, products.render_many),
    "unit_credit": _Kind(UnitCredit, billing_credits.render_many),
}


def to_frame(conn: Connection, act: Act, told: Sequence[Telling]) -> list[Object]:
    """Events in Frame's envelope, rendered with a few statements for all of one kind."""
    data: dict[tuple[str, str | None], Object] = {}
    by_kind: defaultdict[tuple[Shown, str, bool], list[Telling]] = defaultdict(list)
    for each in told:
        code, object_type = each.told_as or "", each.event.object_type
        by_kind[shown(code, object_type), object_type, code.startswith("account.")].append(each)
    for (what, object_type, _), of_kind in by_kind.items():
        rendered = _data(conn, act, what, object_type, of_kind)
        data |= {
            (each.event.id, each.told_as): one
            for each, one in zip(of_kind, rendered, strict=True)
        }
    return [
        {
            "id": message_id(each.event.id, each.told_as),
            "type": each.told_as,
            "object": "event",
            "created": seconds(each.event.created_at),
            "livemode": act.livemode,
            "data": data[each.event.id, each.told_as],
        }
        for each in told
    ]


def _data(
    conn: Connection, act: Act, what: Shown, object_type: str, told: Sequence[Telling]
) -> Sequence[Object]:
    """What the events show, in their order; they are of one type of object."""
    kind = KINDS[object_type]
    values = [msgspec.json.decode(each.event.snapshot, type=kind.cls) for each in told]
    return kind.render(conn, act, values)
