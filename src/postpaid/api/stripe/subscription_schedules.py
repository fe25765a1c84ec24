"""Subscription schedules as Stripe shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from postpaid.api.instants import seconds
from postpaid.api.params import Boolean, Id, Metadata, Params, TimeRange, Timestamp, merge_metadata
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.invoice_shapes import TaxRates, tax_rates_of
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.api.stripe.schedule_phases import (
    DefaultSettings,
    Phases,
    invoice_settings_to_stripe,
    phase_to_stripe,
    phases_from_stripe,
    settings_from_stripe,
)
from postpaid.billing import change, manage_schedules, subscribe
from postpaid.billing.change import Changed
from postpaid.billing.check_sold import PaymentBehavior
from postpaid.billing.manage_schedules import NewSchedule
from postpaid.billing.perform import Act
from postpaid.billing.subscribe import Begun
from postpaid.core.changes import ChangePayment, ProrationBehavior
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.schedules import EndBehavior, Schedule
from postpaid.core.subscriptions import BillingMode
from postpaid.storage import catalog, subscription_schedules
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows

routes = Routes("Subscription schedules")


class ScheduleBillingMode(Params):
    type: BillingMode


class ScheduleCreate(Params):
    billing_mode: ScheduleBillingMode | None = None
    customer: Id | None = None
    default_settings: DefaultSettings | None = None
    end_behavior: EndBehavior = EndBehavior.RELEASE
    from_subscription: Id | None = None
    metadata: Metadata = None
    phases: Phases | None = None
    start_date: Timestamp | Literal["now"] | None = None


class ScheduleUpdate(Params):
    default_settings: DefaultSettings | None = None
    end_behavior: EndBehavior | None = None
    metadata: Metadata = None
    phases: Phases | None = None
    proration_behavior: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS


class ScheduleCancel(Params):
    invoice_now: Boolean = True
    prorate: Boolean = True


class ScheduleRelease(Params):
    preserve_cancel_date: Boolean = False


class ScheduleList(ListParams):
    created: TimeRange | None = None
    customer: Id | None = None
    scheduled: Boolean | None = None


@routes.post("/v1/subscription_schedules", returns="subscription_schedule")
def create(call: Call, params: ScheduleCreate) -> dict[str, Any]:
    """Create a schedule: of a customer, which starts a subscription; or of one that runs."""
    if params.from_subscription is not None:
        return _create_from_subscription(call, params, params.from_subscription)
    if params.customer is None or params.phases is None:
        missing = "customer" if params.customer is None else "phases"
        raise InvalidRequest(
            f"Missing required param: {missing}.", param=missing, code="parameter_missing"
        )
    asked = NewSchedule(
        customer_id=params.customer,
        phases=phases_from_stripe(params.phases, params.default_settings),
        start_at=None if params.start_date == "now" else params.start_date,
        end_behavior=params.end_behavior,
        billing_mode=params.billing_mode.type if params.billing_mode else BillingMode.FLEXIBLE,
        default_settings=settings_from_stripe(params.default_settings),
        metadata=merge_metadata({}, params.metadata),
    )

    def begin(conn: Connection) -> dict[str, Any]:
        schedule, attempt_ids = manage_schedules.create_schedule(conn, call.act, asked)
        return {
            "schedule": schedule.id,
            "subscription": schedule.subscription_id,
            "attempts": attempt_ids,
        }

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        if begun["subscription"]:
            started = Begun(
                begun["subscription"], begun["attempts"], PaymentBehavior.ALLOW_INCOMPLETE
            )
            subscribe.finish(call.database, call.act, started)
        return call.read(lambda conn: _one(conn, call, begun["schedule"]))

    return call.write_then(begin, finish)


def _create_from_subscription(
    call: Call, params: ScheduleCreate, subscription_id: str
) -> dict[str, Any]:
    beyond = params.model_fields_set - {"from_subscription"}
    if beyond:
        name = sorted(beyond)[0]
        raise InvalidRequest(
            f"You cannot set `{name}` if `from_subscription` is set.",
            param=name,
            code="parameters_exclusive",
        )

    def write(conn: Connection) -> dict[str, Any]:
        made = manage_schedules.create_from_subscription(conn, call.act, subscription_id)
        return _one(conn, call, made.id)

    return call.write(write)


@routes.get("/v1/subscription_schedules", returns="subscription_schedule", many=True)
def list_(call: Call, params: ScheduleList) -> dict[str, Any]:
    """List subscription schedules, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def read(conn: Connection) -> dict[str, Any]:
        found = subscription_schedules.list_page(
            conn,
            call.act.account_id,
            params.page,
            customer_id=params.customer,
            scheduled=params.scheduled,
            created_from=created_from,
            created_before=created_before,
        )
        shown = render_many(conn, call.act, found.rows)
        rows = Rows(shown, found.has_more)
        return listing("/v1/subscription_schedules", rows, lambda each: each)

    return call.read(read)


@routes.get("/v1/subscription_schedules/{schedule}", returns="subscription_schedule")
def retrieve(call: Call, schedule: str) -> dict[str, Any]:
    """Retrieve a subscription schedule."""
    return call.read(lambda conn: _one(conn, call, schedule))


@routes.post("/v1/subscription_schedules/{schedule}", returns="subscription_schedule")
def update(call: Call, params: ScheduleUpdate, schedule: str) -> dict[str, Any]:
    """Update a subscription schedule; new phases take the place of all."""
    phases = None
    if params.phases is not None:
        phases = phases_from_stripe(params.phases, params.default_settings)

    def begin(conn: Connection) -> dict[str, Any]:
        before, _, _ = manage_schedules.lock_schedule(conn, call.act, schedule)
        changed: dict[str, Any] = {}
        if params.end_behavior is not None:
            changed["end_behavior"] = params.end_behavior
        if params.default_settings is not None:
            changed["default_settings"] = settings_from_stripe(params.default_settings)
        if "metadata" in params.model_fields_set:
            changed["metadata"] = merge_metadata(before.metadata, params.metadata)
        _, made = manage_schedules.update_schedule(
            conn, call.act, schedule, changed, phases, proration=params.proration_behavior
        )
        return {"changed": [_begun(each) for each in made]}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        for each in begun["changed"]:
            change.finish(call.database, call.act, _changed(each))
        return call.read(lambda conn: _one(conn, call, schedule))

    return call.write_then(begin, finish)


@routes.post("/v1/subscription_schedules/{schedule}/release", returns="subscription_schedule")
def release(call: Call, params: ScheduleRelease, schedule: str) -> dict[str, Any]:
    """Let the subscription go on as it is, without the schedule."""

    def write(conn: Connection) -> dict[str, Any]:
        manage_schedules.release_schedule(
            conn, call.act, schedule, keeps_end=params.preserve_cancel_date
        )
        return _one(conn, call, schedule)

    return call.write(write)


@routes.post("/v1/subscription_schedules/{schedule}/cancel", returns="subscription_schedule")
def cancel(call: Call, params: ScheduleCancel, schedule: str) -> dict[str, Any]:
    """Cancel a subscription schedule, and its subscription at once."""

    def begin(conn: Connection) -> dict[str, Any]:
        _, ended = manage_schedules.cancel_schedule(
            conn,
            call.act,
            schedule,
            invoice_now=params.invoice_now,
            prorate=params.prorate,
        )
        return {"changed": [_begun(ended)] if ended else []}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        for each in begun["changed"]:
            change.finish(call.database, call.act, _changed(each))
        return call.read(lambda conn: _one(conn, call, schedule))

    return call.write_then(begin, finish)


def _begun(changed: Changed) -> dict[str, Any]:
    return {
        "subscription": changed.subscription_id,
        "invoice": changed.invoice_id,
        "attempts": changed.attempt_ids,
        "payment": changed.payment,
    }


def _changed(begun: dict[str, Any]) -> Changed:
    return Changed(
        begun["subscription"],
        begun["invoice"],
        begun["attempts"],
        ChangePayment(begun["payment"]),
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _one(conn: Connection, call: Call, schedule_id: str) -> dict[str, Any]:
    found = subscription_schedules.load(conn, call.act.account_id, [schedule_id])
    if schedule_id not in found:
        raise NotFound.of("subscription_schedule", schedule_id)
    return render_many(conn, call.act, list(found.values()))[0]


def render_many(conn: Connection, act: Act, shown: Sequence[Schedule]) -> list[dict[str, Any]]:
    """Many schedules with one statement for all their prices."""
    currencies = _currencies(conn, act, shown)
    items = [item for each in shown for phase in each.phases for item in phase.items]
    rates = tax_rates_of(conn, act, (item.tax_rate_ids for item in items))
    return [to_stripe(each, currencies, rates, livemode=act.livemode) for each in shown]


def _currencies(conn: Connection, act: Act, shown: Sequence[Schedule]) -> dict[str, str]:
    """The currency of every phase's first price, by price id."""
    ids = {phase.items[0].price_id for each in shown for phase in each.phases}
    prices = catalog.load_prices(conn, act.account_id, ids)
    return {price.id: price.currency for price in prices.values()}


def to_stripe(
    schedule: Schedule, currencies: dict[str, str], rates: TaxRates, *, livemode: bool
) -> dict[str, Any]:
    """A schedule with its phases; ``currencies`` by their prices, ``rates`` the tax rates."""
    settings = schedule.default_settings or settings_from_stripe(None)
    current = schedule.current_phase
    flexible = schedule.billing_mode == BillingMode.FLEXIBLE
    return {
        "id": schedule.id,
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": {
            "flexible": {"proration_discounts": "included"} if flexible else None,
            "type": schedule.billing_mode,
            "updated_at": seconds(schedule.created_at) if flexible else None,
        },
        "canceled_at": seconds(schedule.canceled_at),
        "completed_at": seconds(schedule.completed_at),
        "created": seconds(schedule.created_at),
        "current_phase": current
        and {"end_date": seconds(current.end_at), "start_date": seconds(current.start_at)},
        "customer": schedule.customer_id,
        "customer_account": None,
        "default_settings": {
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": settings["billing_cycle_anchor"],
            "billing_thresholds": settings["billing_thresholds"],
            "collection_method": settings["collection_method"],
            "default_payment_method": settings["default_payment_method"],
            "description": settings["description"],
            "invoice_settings": invoice_settings_to_stripe(settings["days_until_due"], shown=True),
            "on_behalf_of": None,
            "transfer_data": None,
        },
        "end_behavior": schedule.end_behavior,
        "livemode": livemode,
        "metadata": schedule.metadata,
        "pause_schedules": [],
        "phases": [phase_to_stripe(each, currencies, rates) for each in schedule.phases],
        "released_at": seconds(schedule.released_at),
        "released_subscription": schedule.released_subscription_id,
        "status": schedule.status,
        "subscription": schedule.subscription_id,
        "test_clock": schedule.clock_id,
    }


@loader("subscription_schedule")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = list(subscription_schedules.load(conn, act.account_id, ids).values())
    return {each["id"]: each for each in render_many(conn, act, found)}


expandable("subscription_schedule", "customer", load="customer")
expandable("subscription_schedule", "subscription", load="subscription")
expandable("subscription_schedule", "test_clock", load="test_helpers.test_clock")
expandable("subscription", "schedule", load="subscription_schedule")
expandable(
    "subscription_schedule", "default_settings.default_payment_method", load="payment_method"
)
expandable("subscription_schedule", "phases.default_payment_method", load="payment_method")
expandable("subscription_schedule", "phases.items.price", load="price")
expandable("subscription_schedule", "phases.add_invoice_items.price", load="price")
for _place in ("phases", "phases.items", "phases.add_invoice_items"):
    for _kind in ("coupon", "discount", "promotion_code"):
        expandable("subscription_schedule", f"{_place}.discounts.{_kind}", load=_kind)
