"""Backfills (ours): usage of any age, sent aside, compared, then counted or taken out."""

from __future__ import annotations

from typing import Annotated, Any

from postpaid.api.instants import seconds
from postpaid.api.params import Params, Text
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import backfill_usage
from postpaid.billing.backfill_usage import Effect, WindowEffect
from postpaid.core.backfills import BackfillStatus
from postpaid.core.errors import NotFound
from postpaid.core.money import plain
from postpaid.storage import usage_backfills
from postpaid.storage.database import Connection
from postpaid.storage.usage_backfills import UsageBackfill

routes = Routes("Backfills")

EFFECT = "bkfe_"
SERIES_DIGITS_MAX = 18


class BackfillCreate(Params):
    description: Annotated[str, Text(500)] | None = None
    event_name: Annotated[str, Text(100)] | None = None


class BackfillList(ListParams):
    status: BackfillStatus | None = None


@routes.post("/v1/usage/backfills", returns="usage.backfill")
def create(call: Call, params: BackfillCreate) -> dict[str, Any]:
    """Open a backfill: what is sent to it does not count until it is closed."""

    def write(conn: Connection) -> dict[str, Any]:
        created = backfill_usage.open_backfill(
            conn, call.act, event_name=params.event_name, description=params.description
        )
        return to_stripe(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/usage/backfills/{backfill}", returns="usage.backfill")
def retrieve(call: Call, backfill: str) -> dict[str, Any]:
    """Retrieve a backfill."""

    def read(conn: Connection) -> dict[str, Any]:
        found = usage_backfills.find(conn, call.act.account_id, backfill)
        if found is None:
            raise NotFound.of("backfill", backfill)
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.get("/v1/usage/backfills", returns="usage.backfill", many=True)
def list_(call: Call, params: BackfillList) -> dict[str, Any]:
    """List backfills, newest first."""
    return call.read(
        lambda conn: listing(
            "/v1/usage/backfills",
            usage_backfills.list_page(conn, call.act.account_id, params.page, status=params.status),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.get("/v1/usage/backfills/{backfill}/effect", returns="usage.backfill_effect", many=True)
def effect(call: Call, params: ListParams, backfill: str) -> dict[str, Any]:
    """What closing it would change, or has changed: by customer and meter, and by billed window."""
    after = _series_of(params.starting_after, "starting_after")
    before = _series_of(params.ending_before, "ending_before")
    return call.read(
        lambda conn: listing(
            f"/v1/usage/backfills/{backfill}/effect",
            backfill_usage.effect_of(
                conn, call.act, backfill, limit=params.limit, after=after, before=before
            ),
            lambda each: effect_to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.post("/v1/usage/backfills/{backfill}/close", returns="usage.backfill")
def close(call: Call, backfill: str) -> dict[str, Any]:
    """Close a backfill: all its events count from now on."""
    return call.write(
        lambda conn: to_stripe(
            backfill_usage.close_backfill(conn, call.act, backfill), livemode=call.act.livemode
        )
    )


@routes.post("/v1/usage/backfills/{backfill}/revert", returns="usage.backfill")
def revert(call: Call, backfill: str) -> dict[str, Any]:
    """Revert a backfill: its events are taken out, and their identifiers are free again."""
    return call.write(
        lambda conn: to_stripe(
            backfill_usage.revert_backfill(conn, call.act, backfill), livemode=call.act.livemode
        )
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(backfill: UsageBackfill, *, livemode: bool) -> dict[str, Any]:
    """A backfill; ``events`` is null while it is open."""
    return {
        "id": backfill.id,
        "object": "usage.backfill",
        "created": seconds(backfill.created_at),
        "description": backfill.description,
        "event_name": backfill.event_name,
        "events": backfill.event_count,
        "livemode": livemode,
        "status": backfill.status,
        "status_transitions": {
            "closed_at": seconds(backfill.closed_at),
            "reverted_at": seconds(backfill.reverted_at),
        },
    }


def effect_to_stripe(effect: Effect, *, livemode: bool) -> dict[str, Any]:
    """What it does to a customer's usage of a meter: of all time, and by billed window."""
    return {
        "id": f"{EFFECT}{effect.series_id}",
        "object": "usage.backfill_effect",
        **_change(effect.total),
        "customer": effect.customer_id,
        "event_name": effect.event_name,
        "livemode": livemode,
        "meter": effect.meter_id,
        "windows": [
            {"start": seconds(window.start), "end": seconds(window.end), **_change(window)}
            for window in effect.windows
        ],
    }


def _change(effect: WindowEffect) -> dict[str, Any]:
    return {
        "after": plain(effect.after),
        "before": plain(effect.before),
        "events": effect.count,
    }


def _series_of(effect_id: str | None, name: str) -> int | None:
    """The series that a cursor names. Raises ``NotFound``."""
    if effect_id is None:
        return None
    digits = effect_id.removeprefix(EFFECT)
    known = effect_id.startswith(EFFECT) and digits.isascii() and digits.isdecimal()
    if not known or len(digits) > SERIES_DIGITS_MAX:
        raise NotFound.of("backfill effect", effect_id, param=name)
    return int(digits)
