"""Invoices that do not exist yet: what would be billed if time passed, or something changed."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from annotated_types import MaxLen
from pydantic import BeforeValidator

from postpaid.api.params import Amount, Boolean, Currency, Dec, Id, Params, Timestamp, Unsettable
from postpaid.api.stripe.discounts import Discounts, TaxRateIds
from postpaid.api.stripe.inline_prices import with_prices
from postpaid.api.stripe.invoice_items import ItemParams, item_change, new_item
from postpaid.api.stripe.pauses import SubscriptionPause, pause_from_stripe
from postpaid.api.stripe.routes import Call
from postpaid.api.stripe.subscription_changes import (
    TurnFields,
    change_from_stripe,
)
from postpaid.api.stripe.subscriptions import BillingModeParam, ItemCreate, SubscriptionCreate
from postpaid.api.stripe.subscriptions import from_stripe as subscription_from_stripe
from postpaid.billing import subscribe
from postpaid.billing.decide_pause import Pause, Resumption
from postpaid.billing.imagine import NOTHING, Imagined, imagine_items
from postpaid.billing.preview_change import preview_change, preview_end, preview_pause
from postpaid.billing.preview_renewal import preview_renewal, preview_schedule
from postpaid.core.catalog import TaxBehavior
from postpaid.core.changes import Change, ProrationBehavior
from postpaid.core.errors import BillingError, InvalidRequest, NotFound, Path
from postpaid.core.invoicing import Invoice
from postpaid.core.stops import CancelAt, with_stops
from postpaid.core.subscriptions import Subscription
from postpaid.core.values import replace
from postpaid.storage import customers, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


def _as_object(value: Any) -> Any:
    """Before 2026-09-30 an anchor was a word or an instant; now it is an object."""
    if not isinstance(value, str):
        return value
    return {"type": "timestamp", "timestamp": value} if value.isdigit() else {"type": value}


class PreviewAnchor(Params):
    type: Literal["now", "unchanged", "timestamp"]
    timestamp: Timestamp | None = None


class PreviewItem(ItemParams):
    """An invoice item that would be added or, with ``invoiceitem``, changed."""

    currency: Currency | None = None
    invoiceitem: Id | None = None
    price: Id | None = None
    tax_behavior: TaxBehavior | None = None
    unit_amount: Amount | None = None
    unit_amount_decimal: Dec | None = None


class PreviewDetails(TurnFields):
    """What is asked of the subscription, or of the one that would be created."""

    billing_cycle_anchor: Annotated[PreviewAnchor, BeforeValidator(_as_object)] | None = None
    billing_mode: BillingModeParam | None = None
    cancel_at: Unsettable[Timestamp | CancelAt] = None
    cancel_at_period_end: Boolean | None = None
    cancel_now: Boolean = False
    default_tax_rates: TaxRateIds = None
    pause: SubscriptionPause | None = None
    resume_at: Literal["now"] | None = None
    start_date: Timestamp | None = None


class InvoicePreview(Params):
    currency: Currency | None = None
    customer: Id | None = None
    discounts: Discounts = None
    invoice_items: Annotated[list[PreviewItem], MaxLen(250)] | None = None
    preview_mode: Literal["next", "recurring"] = "next"
    schedule: Id | None = None
    subscription: Id | None = None
    subscription_details: PreviewDetails | None = None


def preview(conn: Connection, call: Call, params: InvoicePreview) -> Invoice:
    """The invoice that is asked for. Raises ``InvalidRequest`` when none is to come."""
    details = params.subscription_details or PreviewDetails()
    if any(each.price_data for each in details.items or ()):
        with conn.transaction(force_rollback=True):  # the prices are made to be looked at
            return _with_prices(conn, call, params, details)
    return _preview(conn, call, params, details)


def _with_prices(
    conn: Connection, call: Call, params: InvoicePreview, details: PreviewDetails
) -> Invoice:
    try:
        items = with_prices(conn, call.act, details.items or (), ("items",))
    except BillingError as error:
        error.param = ("subscription_details", *error.param)
        raise
    return _preview(conn, call, params, details.model_copy(update={"items": items}))


def _preview(
    conn: Connection, call: Call, params: InvoicePreview, details: PreviewDetails
) -> Invoice:
    try:
        if params.schedule is not None:
            return _of_schedule(conn, call, params, params.schedule)
        if params.subscription is None:
            return _without_subscription(conn, call, params, details)
        return _of_subscription(conn, call, params, details)
    except BillingError as error:
        if error.param and error.param[0] in PreviewDetails.model_fields:  # which is within here
            error.param = ("subscription_details", *error.param)
        raise


def _without_subscription(
    conn: Connection, call: Call, params: InvoicePreview, details: PreviewDetails
) -> Invoice:
    if params.customer is None:
        raise InvalidRequest(
            "You must give a `subscription`, or a `customer` with `subscription_details[items]`.",
            param="subscription",
            code="parameter_missing",
        )
    customer = customers.find(conn, call.act.account_id, params.customer)
    if customer is None or customer.deleted_at:
        raise NotFound.of("customer", params.customer, param="customer")
    imagined = _imagined(conn, call, customer, params)
    if details.items is None:
        if params.discounts is not None:
            raise InvalidRequest(
                "Discounts are previewed with a new subscription's items.", param="discounts"
            )
        return _of_customer(conn, call, customer.id, imagined)
    asked = subscription_from_stripe(conn, call.act, _creation(customer.id, params, details))
    return subscribe.preview_new(conn, call.act, asked, imagined=imagined)


def _of_schedule(conn: Connection, call: Call, params: InvoicePreview, schedule_id: str) -> Invoice:
    """Stripe: the schedule says what is previewed, and nothing else does."""
    for name in ("subscription", "subscription_details", "discounts", "invoice_items"):
        if getattr(params, name) is not None:
            raise InvalidRequest(
                f"You may only specify one of these parameters: schedule, {name}.",
                param=name,
                code="parameters_exclusive",
            )
    return preview_schedule(conn, call.act, schedule_id)


def _imagined(conn: Connection, call: Call, customer: Customer, params: InvoicePreview) -> Imagined:
    """The invoice items that are asked for, and the discounts on them; they are not written."""
    if not params.invoice_items:
        return NOTHING
    added, changed = [], []
    for place, each in enumerate(params.invoice_items):
        at: Path = ("invoice_items", place)
        said = _with_unit_amount(each, at)
        if each.invoiceitem is not None:
            changed.append((each.invoiceitem, item_change(said, at=at)))
        else:
            added.append(new_item(said, currency=each.currency, at=at))
    act = call.act.at(customer.now(call.act.now), customer.clock_id)
    return imagine_items(conn, act, customer, added, changed)


def _with_unit_amount(asked: PreviewItem, at: Path) -> PreviewItem:
    """Whole minor units per unit are exact ones too."""
    if asked.unit_amount is None:
        return asked
    ways = ("amount", "price", "price_data", "pricing", "unit_amount_decimal")
    if other := [name for name in ways if getattr(asked, name) is not None]:
        raise InvalidRequest(
            f"You may only specify one of these parameters: {other[0]}, unit_amount.",
            param=(*at, "unit_amount"),
            code="parameters_exclusive",
        )
    return asked.model_copy(update={"unit_amount_decimal": Decimal(asked.unit_amount)})


def _creation(customer: str, params: InvoicePreview, details: PreviewDetails) -> SubscriptionCreate:
    """The creation that the details stand for."""
    items = []
    for place, each in enumerate(details.items or ()):
        if each.price is None:
            raise InvalidRequest(
                "Missing required param: items[price].",
                param=("items", place, "price"),
                code="parameter_missing",
            )
        given = {k: v for k, v in each.given().items() if k in ItemCreate.model_fields}
        items.append(ItemCreate.model_construct(set(given), **given))
    anchor = details.billing_cycle_anchor
    said = {
        "billing_cycle_anchor": anchor.timestamp if anchor else None,
        "billing_mode": details.billing_mode,
        "backdate_start_date": details.start_date,
        "cancel_at": details.cancel_at,
        "cancel_at_period_end": details.cancel_at_period_end,
        "currency": params.currency,
        "default_tax_rates": details.default_tax_rates,
        "discounts": params.discounts,
        "trial_end": details.trial_end,
    }
    if "proration_behavior" in details.model_fields_set:
        said["proration_behavior"] = details.proration_behavior
    given = {
        name: value
        for name, value in said.items()
        if value is not None and name in SubscriptionCreate.model_fields
    }
    return SubscriptionCreate.model_construct(
        {*given, "customer", "items"}, customer=customer, items=items, **given
    )


def _of_subscription(
    conn: Connection, call: Call, params: InvoicePreview, details: PreviewDetails
) -> Invoice:
    assert params.subscription is not None
    found = subscriptions.load(conn, call.act.account_id, [params.subscription])
    if params.subscription not in found:
        raise NotFound.of("subscription", params.subscription, param="subscription")
    subscription = found[params.subscription]
    if params.customer not in (None, subscription.customer_id):
        raise InvalidRequest(
            f"The subscription {subscription.id} does not belong to customer {params.customer}.",
            param="subscription",
        )
    _refuse_adjustments(params, details)
    _refuse_contradictions(details)
    invoice = _of_change(conn, call, subscription, params, details)
    if invoice is None:
        raise InvalidRequest(
            f"No upcoming invoices for subscription: {subscription.id}",
            param="subscription",
            code="invoice_upcoming_none",
        )
    return invoice


def _refuse_adjustments(params: InvoicePreview, details: PreviewDetails) -> None:
    """What a subscription has is previewed as it has it; what it is to have is given to it."""
    given: list[tuple[Path, object]] = [
        (("discounts",), params.discounts),
        (("default_tax_rates",), details.default_tax_rates),
    ]
    for i, each in enumerate(details.items or ()):
        given.append((("items", i, "discounts"), each.discounts))
        given.append((("items", i, "tax_rates"), each.tax_rates))
    for path, value in given:
        if value is not None:
            raise InvalidRequest(
                "Other discounts and tax rates than a subscription has cannot be previewed; update "
                "the subscription, and preview it then.",
                param=path,
            )


def _of_change(
    conn: Connection,
    call: Call,
    subscription: Subscription,
    params: InvoicePreview,
    details: PreviewDetails,
) -> Invoice | None:
    [customer] = customers.load(conn, call.act.account_id, [subscription.customer_id]).values()
    imagined = _imagined(conn, call, customer, params)
    turn = _turn(details)
    if turn is not None:
        return preview_pause(conn, call.act, subscription.id, turn, imagined=imagined)
    asked = _asked(subscription, details, customer.now(call.act.now))
    if details.cancel_now:
        return preview_end(conn, call.act, subscription.id, asked, imagined=imagined)
    recurring = params.preview_mode == "recurring"
    changes = asked.items or asked.fields or asked.resets_anchor or asked.trial_end_at
    if recurring or changes:
        return preview_change(conn, call.act, asked, imagined=imagined, recurring=recurring)
    return preview_renewal(conn, call.act, [subscription], imagined=imagined)


def _turn(details: PreviewDetails) -> Pause | Resumption | None:
    """The pause that is asked for, or the resumption. Stripe: an empty pause is none."""
    if details.pause is not None and details.pause.given():
        return pause_from_stripe(details.pause)
    if details.resume_at is None:
        return None
    anchor = details.billing_cycle_anchor
    return Resumption(
        resets_anchor=anchor is None or anchor.type == "now",
        proration=details.proration_behavior,
        prorated_at=details.proration_date,
    )


def _refuse_contradictions(details: PreviewDetails) -> None:
    """Of an end now, a pause and a resumption one is previewed; a start is of what is new."""
    ways = {
        "cancel_now": details.cancel_now or None,
        "pause": details.pause,
        "resume_at": details.resume_at,
    }
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise InvalidRequest(
            f"You may only specify one of these parameters: {', '.join(given)}.",
            param=given[-1],
            code="parameters_exclusive",
        )
    if details.start_date is not None:
        raise InvalidRequest(
            "A subscription that has begun has its start_date.", param="start_date"
        )
    anchor = details.billing_cycle_anchor
    if anchor is not None and anchor.type == "timestamp":
        raise InvalidRequest(
            "The billing_cycle_anchor of an existing subscription can be `now` or `unchanged`.",
            param="billing_cycle_anchor",
        )


def _asked(subscription: Subscription, details: PreviewDetails, now: datetime) -> Change:
    given = details.given()
    said: dict[str, Any] = {
        name: given[name]
        for name in ("cancel_at", "cancel_at_period_end")
        if name in given and (name == "cancel_at" or given[name] is not None)
    }
    if said:
        prorates = details.proration_behavior != ProrationBehavior.NONE
        said["cancel_prorates"] = prorates
    fields = with_stops(subscription, said, now)
    anchor = details.billing_cycle_anchor
    resets = anchor is not None and anchor.type == "now"
    asked = change_from_stripe(subscription, details, now=now, resets_anchor=resets)
    return replace(asked, fields=fields)


def _of_customer(conn: Connection, call: Call, customer_id: str, imagined: Imagined) -> Invoice:
    """Stripe: with a customer alone, the next invoice of whichever subscription renews first."""
    running = subscriptions.running_of_customers(conn, call.act.account_id, [customer_id])
    renewing = [each for each in running.values() if each.closes_at]
    invoice = preview_renewal(conn, call.act, renewing, imagined=imagined)
    if invoice is not None:
        return invoice
    raise InvalidRequest(
        f"No upcoming invoices for customer: {customer_id}",
        param="customer",
        code="invoice_upcoming_none",
    )
