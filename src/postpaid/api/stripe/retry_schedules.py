"""Retry schedules: ours, in Stripe's manner (there they are in the dashboard)."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Len

from postpaid.api.instants import seconds
from postpaid.api.params import (
    METADATA_KEY_LENGTH_MAX,
    METADATA_KEYS_MAX,
    METADATA_VALUE_LENGTH_MAX,
    Integer,
    Metadata,
    Params,
    Text,
    TextMap,
    Unsettable,
    merge_metadata,
)
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_retry_schedules
from postpaid.core.collection import (
    RETRIES_MAX,
    RETRY_DAYS_MAX,
    RetriesEnd,
    RetryKind,
    RetrySchedule,
    RetryWindow,
)
from postpaid.core.errors import NotFound
from postpaid.core.values import replace
from postpaid.storage import retry_schedules
from postpaid.storage.database import Connection

routes = Routes("Retry schedules")

DaysBetween = Annotated[list[Annotated[int, Integer(1, RETRY_DAYS_MAX)]], Len(1, RETRIES_MAX)]


class Segment(Params):
    """Customers whose metadata has all of this."""

    metadata: Annotated[
        dict[str, str],
        TextMap(METADATA_KEYS_MAX, METADATA_KEY_LENGTH_MAX, METADATA_VALUE_LENGTH_MAX),
        Len(1),
    ]


class RetryScheduleUpdate(Params):
    after_retries: RetriesEnd | None = None
    days: DaysBetween | None = None
    kind: RetryKind | None = None
    metadata: Metadata = None
    name: Unsettable[Annotated[str, Text(250)]] = None
    segment: Unsettable[Segment] = None
    window: RetryWindow | None = None


class RetryScheduleCreate(RetryScheduleUpdate):
    kind: RetryKind
    after_retries: RetriesEnd = RetriesEnd.PAST_DUE


@routes.post("/v1/retry_schedules", returns="retry_schedule")
def create(call: Call, params: RetryScheduleCreate) -> dict[str, Any]:
    """Create a retry schedule: when to try again, and what to do in the end."""
    act = call.act
    schedule = RetrySchedule(
        id=act.new_id("rs"),
        kind=params.kind,
        created_at=act.now,
        name=params.name,
        window=params.window,
        days=params.days,
        after_retries=params.after_retries,
        segment=params.segment.metadata if params.segment else None,
        metadata=merge_metadata({}, params.metadata),
    )
    return call.write(
        lambda conn: to_stripe(
            manage_retry_schedules.create_retry_schedule(conn, act, schedule),
            livemode=act.livemode,
        )
    )


@routes.get("/v1/retry_schedules/{retry_schedule}", returns="retry_schedule")
def retrieve(call: Call, retry_schedule: str) -> dict[str, Any]:
    """Retrieve a retry schedule."""

    def read(conn: Connection) -> dict[str, Any]:
        found = retry_schedules.load(conn, call.act.account_id, [retry_schedule])
        if retry_schedule not in found:
            raise NotFound.of("retry schedule", retry_schedule)
        return to_stripe(found[retry_schedule], livemode=call.act.livemode)

    return call.read(read)


@routes.post("/v1/retry_schedules/{retry_schedule}", returns="retry_schedule")
def update(call: Call, params: RetryScheduleUpdate, retry_schedule: str) -> dict[str, Any]:
    """Update a retry schedule; retries that have a time already keep it."""

    def change(before: RetrySchedule) -> RetrySchedule:
        given = params.given()
        if "metadata" in given:
            given["metadata"] = merge_metadata(before.metadata, given["metadata"])
        if "segment" in given:
            given["segment"] = params.segment.metadata if params.segment else None
        if params.kind not in (None, before.kind):  # what was of the other kind goes with it
            given = {"window": None, "days": None} | given
        return replace(before, **given)

    return call.write(
        lambda conn: to_stripe(
            manage_retry_schedules.update_retry_schedule(conn, call.act, retry_schedule, change),
            livemode=call.act.livemode,
        )
    )


@routes.get("/v1/retry_schedules", returns="retry_schedule", many=True)
def list_(call: Call, params: ListParams) -> dict[str, Any]:
    """List retry schedules, newest first."""
    return call.read(
        lambda conn: listing(
            "/v1/retry_schedules",
            retry_schedules.list_page(conn, call.act.account_id, params.page),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.delete("/v1/retry_schedules/{retry_schedule}", returns="retry_schedule")
def delete(call: Call, retry_schedule: str) -> dict[str, Any]:
    """Delete a retry schedule that is nobody's."""

    def write(conn: Connection) -> dict[str, Any]:
        gone = manage_retry_schedules.delete_retry_schedule(conn, call.act, retry_schedule)
        return {"id": gone.id, "object": "retry_schedule", "deleted": True}

    return call.write(write)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(schedule: RetrySchedule, *, livemode: bool) -> dict[str, Any]:
    """A schedule; ``window`` and ``days`` are null but of their kind."""
    return {
        "id": schedule.id,
        "object": "retry_schedule",
        "after_retries": schedule.after_retries,
        "created": seconds(schedule.created_at),
        "days": None if schedule.days is None else list(schedule.days),
        "kind": schedule.kind,
        "livemode": livemode,
        "metadata": schedule.metadata,
        "name": schedule.name,
        "segment": None if schedule.segment is None else {"metadata": schedule.segment},
        "window": schedule.window,
    }
