"""Usage by the batch (ours): up to 10,000 events in a request, in one of many formats."""

from __future__ import annotations

from typing import Any

from postpaid.api.params import Id, Params
from postpaid.api.stripe.errors import render
from postpaid.api.stripe.routes import Call, Routes
from postpaid.api.usage_formats import events_in
from postpaid.billing import backfill_usage, report_rejections
from postpaid.billing.check_usage import identifier_from
from postpaid.billing.record_usage import OutcomeKind, Recorded, record_usage
from postpaid.storage.database import Connection

routes = Routes("Usage by the batch")

_KINDS = tuple(OutcomeKind)


class BatchCreate(Params):
    backfill: Id | None = None


@routes.post("/v1/usage/batch", returns="usage_batch", body="raw")
def create(call: Call, params: BatchCreate) -> dict[str, Any]:
    """Record up to 10,000 events: a JSON array, NDJSON, CSV, or CloudEvents; gzip or zstd.

    What is right is stored, and every event gets its own outcome: accepted, duplicate, conflict or
    rejected with the reason. With ``backfill`` they count once the backfill is closed.
    """
    reported = events_in(call.body, call.headers)
    if key := call.act.idempotency_key:
        reported.identifiers = [
            identifier or identifier_from(key, place)
            for place, identifier in enumerate(reported.identifiers)
        ]

    def write(conn: Connection) -> dict[str, Any]:
        if params.backfill is not None:
            backfill_usage.check_open(conn, call.act, params.backfill)
        recorded = record_usage(conn, call.act, reported, backfill_id=params.backfill)
        if recorded.errors:
            report_rejections.note(
                conn, call.act, reported.event_names, recorded.references, recorded.errors
            )
        return to_stripe(recorded, livemode=call.act.livemode)

    # Events are known by their identifiers: to keep the key too would say the same again.
    return call.write_anew(write)


def to_stripe(recorded: Recorded, *, livemode: bool) -> dict[str, Any]:
    """How many of each outcome there were, and the outcome of each event."""
    results: list[dict[str, Any]] = [
        {"identifier": identifier, "status": kind}
        for identifier, kind in zip(recorded.references, recorded.kinds, strict=True)
    ]
    for place, error in recorded.errors.items():
        results[place]["error"] = render(error).body["error"]
    return {
        "object": "usage_batch",
        "livemode": livemode,
        **{kind: recorded.kinds.count(kind) for kind in _KINDS},
        "results": results,
    }
