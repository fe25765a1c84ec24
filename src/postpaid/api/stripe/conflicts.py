"""Usage that came under the identifier of other usage: ours, in the manner of Stripe's lists."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from postpaid.api.instants import seconds
from postpaid.api.params import Text
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.storage import usage_conflicts
from postpaid.storage.usage_conflicts import UsageConflict

routes = Routes("Usage conflicts")


class ConflictList(ListParams):
    identifier: Annotated[str, Text(100)] | None = None


@routes.get("/v1/usage/conflicts", returns="usage.conflict", many=True)
def list_(call: Call, params: ConflictList) -> dict[str, Any]:
    """List events not counted as others have their identifiers, newest first."""
    return call.read(
        lambda conn: listing(
            "/v1/usage/conflicts",
            usage_conflicts.list_page(
                conn, call.act.account_id, params.page, reference=params.identifier
            ),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(conflict: UsageConflict, *, livemode: bool) -> dict[str, Any]:
    return {
        "id": conflict.id,
        "object": "usage.conflict",
        "actor": conflict.actor,
        "created": seconds(conflict.received_at),
        "customer": conflict.customer_id,
        "event_name": conflict.event_name,
        "identifier": conflict.reference,
        "livemode": livemode,
        "payload": msgspec.json.decode(conflict.payload),
        "timestamp": seconds(conflict.occurred_at),
        "value": conflict.value,
    }
