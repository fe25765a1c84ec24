"""Subscriptions, as Frame sells them: one product each, for a customer or an account."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from postpaid.api.frame.naming import in_frames_words
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import (
    FrameParams,
    ListParams,
    Metadata,
    Payer,
    When,
    merge_metadata,
)
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.subscription_shapes import one, render_changes, render_many
from postpaid.api.paid_changes import made
from postpaid.api.params import Currency, Id, Text, Unsettable
from postpaid.billing import pause as pausing
from postpaid.billing import subscribe
from postpaid.billing.change import Changed, cancel_now
from postpaid.billing.change_plan import PlanChange, change_plan, drop_scheduled_change
from postpaid.billing.check_sold import NewItem, NewSubscription, PaymentBehavior
from postpaid.billing.copy_phases import copy_phases, offer_product
from postpaid.billing.decide_pause import Pause, Resumption
from postpaid.billing.subscribe import Begun
from postpaid.core.changes import ProrationBehavior
from postpaid.core.errors import AlreadyCanceled, NotFound
from postpaid.core.plans import ChangeTiming, check_plan
from postpaid.core.subscriptions import ENDED, SubscriptionStatus
from postpaid.storage import subscription_changes, subscriptions
from postpaid.storage.database import Connection

routes = Routes("Subscriptions")

# What the engine calls otherwise.
NAMES = {"items": "product"}

SECOND = timedelta(seconds=1)


class Status(StrEnum):
    """A subscription's, in Frame's words."""

    PENDING = "pending"  # nothing was paid yet, and nothing declined
    INCOMPLETE = "incomplete"  # its first charge was declined
    TERMINATED = "terminated"  # and was not made up for in time
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    UNPAID = "unpaid"
    PAUSED = "paused"
    CANCELED = "canceled"

    @property
    def of_the_engine(self) -> SubscriptionStatus:
        return _ENGINES.get(self) or SubscriptionStatus(self)

    @property
    def declined(self) -> bool | None:
        """Whether the first charge was, of those of which that decides; else None."""
        return {Status.PENDING: False, Status.INCOMPLETE: True}.get(self)


_ENGINES = {
    Status.PENDING: SubscriptionStatus.INCOMPLETE,
    Status.INCOMPLETE: SubscriptionStatus.INCOMPLETE,
    Status.TERMINATED: SubscriptionStatus.INCOMPLETE_EXPIRED,
}


class UpdateInterval(StrEnum):
    """When another product takes the place of the one that is sold (the words are ours)."""

    IMMEDIATELY = "immediately"
    PERIOD_END = "period_end"


TIMINGS = {
    None: None,
    UpdateInterval.IMMEDIATELY: ChangeTiming.AT_ONCE,
    UpdateInterval.PERIOD_END: ChangeTiming.PERIOD_END,
}

Description = Annotated[str, Text(500)]


class SubscriptionCreate(Payer):
    product: Id
    currency: Currency
    default_payment_method: Id | None = None
    description: Description | None = None
    metadata: Metadata = None
    proration_behavior: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS


class SubscriptionUpdate(FrameParams):
    product: Id | None = None
    proration_behavior: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS
    update_interval: UpdateInterval | None = None
    default_payment_method: Unsettable[Id] = None
    description: Unsettable[Description] = None
    metadata: Metadata = None


class SubscriptionList(ListParams, Payer):
    status: Status | None = None
    test_clock: Id | None = None


class SubscriptionSearch(SubscriptionList):
    created_before: When | None = None
    created_after: When | None = None


class SubscriptionPause(FrameParams):
    resume_at: When | None = None


class ChangeLogList(ListParams):
    pass


# ─── What is agreed ──────────────────────────────────────────────────────────────────────────


@routes.post("/v1/subscriptions", status=201)
def create(call: Call, params: SubscriptionCreate) -> dict[str, Any]:
    """Create a subscription, and charge its first period; a declined one is incomplete."""

    def begin(conn: Connection) -> dict[str, Any]:
        with in_frames_words(NAMES):
            offer = offer_product(conn, call.act, params.product, currency=params.currency)
            check_plan(offer.base)
            asked = NewSubscription(
                customer_id=params.required_payer_id,
                items=[NewItem(offer.first_price.id)],
                on_session=True,
                default_payment_method_id=params.default_payment_method,
                currency=params.currency,
                description=params.description,
                metadata=merge_metadata({}, params.metadata),
                proration=params.proration_behavior,
            )
            begun = subscribe.subscribe(conn, call.act, asked)
            copy_phases(conn, call.act, begun.subscription_id, offer)
        return {"subscription": begun.subscription_id, "attempts": begun.attempt_ids}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        written = Begun(begun["subscription"], begun["attempts"], PaymentBehavior.ALLOW_INCOMPLETE)
        subscribe.finish(call.database, call.act, written)
        return call.read(lambda conn: one(conn, call.act, written.subscription_id))

    return call.write_then(begin, finish)


@routes.get("/v1/subscriptions")
def list_(call: Call, params: SubscriptionList) -> dict[str, Any]:
    """List subscriptions, newest first; those on a test clock only when asked for by whose."""
    return _page(call, "/v1/subscriptions", params)


@routes.get("/v1/subscriptions/search")
def search(call: Call, params: SubscriptionSearch) -> dict[str, Any]:
    """Search subscriptions by status, by when they were created, and by whose they are."""
    return _page(
        call,
        "/v1/subscriptions/search",
        params,
        created_from=params.created_after and params.created_after + SECOND,
        created_before=params.created_before,
    )


def _page(call: Call, url: str, params: SubscriptionList, **created: Any) -> dict[str, Any]:
    status = params.status

    def read(conn: Connection) -> dict[str, Any]:
        rows = subscriptions.list_page(
            conn,
            call.act.account_id,
            params.rows,
            statuses=None if status is None else [status.of_the_engine],
            declined=None if status is None else status.declined,
            customer_id=params.payer_id,
            clock_id=params.test_clock,
            **created,
        )
        return listing(
            url,
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="subscriptions",
        )

    return call.read(read)


@routes.get("/v1/subscriptions/{subscription}")
def retrieve(call: Call, subscription: str) -> dict[str, Any]:
    """Retrieve a subscription."""
    return call.read(lambda conn: one(conn, call.act, subscription))


@routes.patch("/v1/subscriptions/{subscription}")
def update(call: Call, params: SubscriptionUpdate, subscription: str) -> dict[str, Any]:
    """Update a subscription; another product is prorated, or waits for the end of the period."""
    given = params.given()

    def write(conn: Connection) -> Changed:
        fields: dict[str, Any] = {}
        if "metadata" in given:
            before, _ = subscribe.lock(conn, call.act, subscription)
            fields["metadata"] = merge_metadata(before.metadata, params.metadata)
        if "default_payment_method" in given:
            fields["default_payment_method_id"] = params.default_payment_method
        if "description" in given:
            fields["description"] = params.description
        with in_frames_words(NAMES):
            if fields or params.product is None:
                subscribe.update_subscription(conn, call.act, subscription, fields)
            if params.product is None:
                return Changed(subscription)
            asked = PlanChange(
                params.product, params.proration_behavior, TIMINGS[params.update_interval]
            )
            return change_plan(conn, call.act, subscription, asked)

    return made(call, write, lambda conn: one(conn, call.act, subscription))


@routes.delete("/v1/subscriptions/{subscription}/scheduled_change")
def delete_scheduled_change(call: Call, subscription: str) -> dict[str, Any]:
    """Cancel the change that waits for the end of the period."""

    def write(conn: Connection) -> dict[str, Any]:
        drop_scheduled_change(conn, call.act, subscription)
        return one(conn, call.act, subscription)

    return call.write(write)


# ─── What happens to it ──────────────────────────────────────────────────────────────────────


@routes.post("/v1/subscriptions/{subscription}/cancel")
def cancel(call: Call, subscription: str) -> dict[str, Any]:
    """Cancel a subscription now; nothing is given back, and no invoice made."""

    def write(conn: Connection) -> Changed:
        before, _ = subscribe.lock(conn, call.act, subscription)
        if before.status in ENDED:
            raise AlreadyCanceled("This subscription has ended already.")
        return cancel_now(conn, call.act, subscription)

    return made(call, write, lambda conn: one(conn, call.act, subscription))


@routes.post("/v1/subscriptions/{subscription}/pause")
def pause(call: Call, params: SubscriptionPause, subscription: str) -> dict[str, Any]:
    """Pause a subscription: nothing is billed until it is resumed, perhaps by itself."""
    asked = Pause(resumes_at=params.resume_at)
    return made(
        call,
        lambda conn: pausing.pause(conn, call.act, subscription, asked),
        lambda conn: one(conn, call.act, subscription),
    )


@routes.post("/v1/subscriptions/{subscription}/resume")
def resume(call: Call, subscription: str) -> dict[str, Any]:
    """Resume a paused subscription: a new period begins now, and is charged."""
    return made(
        call,
        lambda conn: pausing.resume(conn, call.act, subscription, Resumption()),
        lambda conn: one(conn, call.act, subscription),
    )


@routes.get("/v1/subscriptions/{subscription}/change_logs")
def change_logs(call: Call, params: ChangeLogList, subscription: str) -> dict[str, Any]:
    """List what a subscription's changes of product were, newest first."""

    def read(conn: Connection) -> dict[str, Any]:
        if not subscriptions.load(conn, call.act.account_id, [subscription]):
            raise NotFound.of("subscription", subscription)
        rows = subscription_changes.list_page(
            conn, call.act.account_id, params.rows, subscription_id=subscription
        )
        return listing(
            f"/v1/subscriptions/{subscription}/change_logs",
            params,
            rows,
            lambda page: render_changes(conn, call.act, page),
            named="subscription_change_logs",
            about={"subscription_id": subscription},
        )

    return call.read(read)
