"""Subscriptions as Stripe shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Len, MaxLen

from postpaid.api.paid_changes import made
from postpaid.api.params import (
    Boolean,
    Currency,
    Id,
    Integer,
    Metadata,
    Params,
    Text,
    TimeRange,
    Unsettable,
    merge_metadata,
)
from postpaid.api.stripe import discounts as stripe_discounts
from postpaid.api.stripe.cycles import (
    STOPS,
    CycleFields,
    StopFields,
    cycles_from_stripe,
    stops_from_stripe,
)
from postpaid.api.stripe.discounts import Discounts, TaxRateIds
from postpaid.api.stripe.inline_prices import ItemPriceData, with_prices
from postpaid.api.stripe.limits import (
    LIMITS,
    ItemLimitFields,
    LimitFields,
    item_limits_from_stripe,
    limits_from_stripe,
)
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.api.stripe.subscription_changes import (
    CHANGES,
    EXTRAS,
    ChangeFields,
    CollectionFields,
    ExtraItem,
    change_now,
    extra_from_stripe,
    is_change,
)
from postpaid.api.stripe.subscription_shapes import one, render_many
from postpaid.billing import subscribe
from postpaid.billing.change import Changed, cancel_now
from postpaid.billing.change_discounts import rediscount_subscription
from postpaid.billing.check_sold import NewItem, NewSubscription, PaymentBehavior
from postpaid.billing.manage_tax_rates import check_tax_rates
from postpaid.billing.perform import Act
from postpaid.billing.subscribe import Begun
from postpaid.core.changes import ProrationBehavior
from postpaid.core.errors import Path
from postpaid.core.subscriptions import (
    ENDED,
    BillingMode,
    CollectionMethod,
    ProrationDiscounts,
    SubscriptionStatus,
)
from postpaid.core.values import replace
from postpaid.storage import subscriptions
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows

routes = Routes("Subscriptions")

Feedback = Literal[
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
]


class ItemCreate(ItemLimitFields):
    """One price to subscribe to."""

    price: Id | None = None
    price_data: ItemPriceData | None = None
    discounts: Discounts = None
    quantity: Annotated[int, Integer(0, 10**9)] | None = None
    metadata: Metadata | None = None
    tax_rates: TaxRateIds = None


class FlexibleParam(Params):
    proration_discounts: ProrationDiscounts = ProrationDiscounts.INCLUDED


class BillingModeParam(Params):
    flexible: FlexibleParam | None = None
    type: BillingMode


class CancellationDetails(Params):
    comment: Unsettable[Annotated[str, Text(5000)]] = None
    feedback: Unsettable[Feedback] = None


class SubscriptionCreate(LimitFields, CycleFields):
    customer: Id
    items: Annotated[list[ItemCreate], Len(1, 20)]
    add_invoice_items: Annotated[list[ExtraItem], MaxLen(20)] | None = None
    billing_mode: BillingModeParam | None = None
    cancel_at_period_end: Boolean = False
    collection_method: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY
    currency: Currency | None = None
    days_until_due: Annotated[int, Integer(0, 730)] | None = None
    default_payment_method: Id | None = None
    default_tax_rates: TaxRateIds = None
    description: Annotated[str, Text(500)] | None = None
    discounts: Discounts = None
    metadata: Metadata | None = None
    off_session: Boolean | None = None
    payment_behavior: PaymentBehavior = PaymentBehavior.ALLOW_INCOMPLETE


class SubscriptionUpdate(LimitFields, ChangeFields, CollectionFields, StopFields):
    cancel_at_period_end: Boolean | None = None
    cancellation_details: CancellationDetails | None = None
    default_payment_method: Unsettable[Id] = None
    default_tax_rates: TaxRateIds = None
    description: Unsettable[Annotated[str, Text(500)]] = None
    discounts: Discounts = None
    metadata: Metadata | None = None


class SubscriptionCancel(Params):
    cancellation_details: CancellationDetails | None = None
    invoice_now: Boolean = False
    prorate: Boolean = False


class SubscriptionList(ListParams):
    collection_method: CollectionMethod | None = None
    created: TimeRange | None = None
    customer: Id | None = None
    price: Id | None = None
    status: SubscriptionStatus | Literal["all", "ended"] | None = None
    test_clock: Id | None = None


@routes.post("/v1/subscriptions", returns="subscription")
def create(call: Call, params: SubscriptionCreate) -> dict[str, Any]:
    """Create a subscription, with its first invoice and the first try at its payment."""

    def begin(conn: Connection) -> dict[str, Any]:
        asked = from_stripe(conn, call.act, params)
        begun = subscribe.subscribe(conn, call.act, asked)
        return {
            "subscription": begun.subscription_id,
            "attempts": begun.attempt_ids,
            "payment_behavior": begun.payment_behavior,
        }

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        subscribe.finish(
            call.database,
            call.act,
            Begun(
                begun["subscription"],
                begun["attempts"],
                PaymentBehavior(begun["payment_behavior"]),
            ),
        )
        return call.read(lambda conn: one(conn, call, begun["subscription"]))

    return call.write_then(begin, finish)


def from_stripe(conn: Connection, act: Act, params: SubscriptionCreate) -> NewSubscription:
    """What is asked for, in the engine's words; prices of ``price_data`` are made.

    Raises ``InvalidRequest``, and ``NotFound`` for the product of one.
    """
    items = with_prices(conn, act, params.items, ("items",), required=True)
    extras = with_prices(conn, act, params.add_invoice_items or (), EXTRAS, required=True)
    return NewSubscription(
        customer_id=params.customer,
        items=[
            NewItem(
                item.price or "",
                item.quantity,
                merge_metadata({}, item.metadata),
                discounts=stripe_discounts.from_stripe(item.discounts),
                tax_rate_ids=item.tax_rates or (),
                **item_limits_from_stripe(item),
            )
            for item in items
        ],
        extras=[
            replace(extra_from_stripe(act, each), tax_rate_ids=each.tax_rates or ())
            for each in extras
        ],
        extra_discounts=[stripe_discounts.from_stripe(each.discounts) for each in extras],
        billing_mode=params.billing_mode.type if params.billing_mode else BillingMode.FLEXIBLE,
        proration_discounts=params.billing_mode.flexible.proration_discounts
        if params.billing_mode and params.billing_mode.flexible
        else ProrationDiscounts.INCLUDED,
        collection_method=params.collection_method,
        days_until_due=params.days_until_due,
        payment_behavior=params.payment_behavior,
        on_session=not params.off_session,  # Stripe: on session unless told otherwise
        default_payment_method_id=params.default_payment_method,
        cancel_at_period_end=params.cancel_at_period_end,
        currency=params.currency,
        description=params.description,
        metadata=merge_metadata({}, params.metadata),
        limits=limits_from_stripe(params),
        **cycles_from_stripe(params),
        discounts=stripe_discounts.from_stripe(params.discounts),
        tax_rate_ids=params.default_tax_rates or (),
    )


@routes.get("/v1/subscriptions", returns="subscription", many=True)
def list_(call: Call, params: SubscriptionList) -> dict[str, Any]:
    """List subscriptions, newest first; canceled ones only when asked for by status."""
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def read(conn: Connection) -> dict[str, Any]:
        found = subscriptions.list_page(
            conn,
            call.act.account_id,
            params.page,
            statuses=_statuses(params.status),
            customer_id=params.customer,
            clock_id=params.test_clock,
            collection_method=params.collection_method,
            price_id=params.price,
            created_from=created_from,
            created_before=created_before,
        )
        shown = render_many(conn, call.act, found.rows)
        return listing("/v1/subscriptions", Rows(shown, found.has_more), lambda each: each)

    return call.read(read)


def _statuses(
    asked: SubscriptionStatus | Literal["all", "ended"] | None,
) -> Sequence[SubscriptionStatus] | None:
    """Stripe: by default everything but canceled; ``ended`` is what will never bill again."""
    if asked is None:
        return [each for each in SubscriptionStatus if each != SubscriptionStatus.CANCELED]
    if asked == "all":
        return None
    return sorted(ENDED) if asked == "ended" else [SubscriptionStatus(asked)]


@routes.get("/v1/subscriptions/{subscription}", returns="subscription")
def retrieve(call: Call, subscription: str) -> dict[str, Any]:
    """Retrieve a subscription."""
    return call.read(lambda conn: one(conn, call, subscription))


@routes.post("/v1/subscriptions/{subscription}", returns="subscription")
def update(call: Call, params: SubscriptionUpdate, subscription: str) -> dict[str, Any]:
    """Update a subscription: what it buys, prorated within the period; how it is paid; its end."""
    given = params.given()
    given = {name: value for name, value in given.items() if name not in LIMITS | CHANGES | STOPS}
    given |= limits_from_stripe(params)

    def write(conn: Connection) -> Changed:
        before, customer = subscribe.lock(conn, call.act, subscription)
        prorates = params.proration_behavior != ProrationBehavior.NONE
        changed = given | stops_from_stripe(params, before, prorates)
        if "discounts" in changed:
            asked = stripe_discounts.from_stripe(changed.pop("discounts"))
            changed["discount_ids"] = rediscount_subscription(
                conn, call.act, before, customer, asked
            )
        if "default_tax_rates" in changed:
            at: Path = ("default_tax_rates",)
            asked_rates = {at: changed.pop("default_tax_rates")}
            [changed["tax_rate_ids"]] = check_tax_rates(conn, call.act, asked_rates).values()
        if "metadata" in changed:
            changed["metadata"] = merge_metadata(before.metadata, changed["metadata"])
        if "default_payment_method" in changed:
            changed["default_payment_method_id"] = changed.pop("default_payment_method")
        if details := changed.pop("cancellation_details", None):
            changed |= {f"cancellation_{key}": value for key, value in details.given().items()}
        if changed or not is_change(params):
            subscribe.update_subscription(conn, call.act, subscription, changed)
        if not is_change(params):
            return Changed(subscription)
        return change_now(conn, call.act, before, params)

    return made(call, write, lambda conn: one(conn, call, subscription))


@routes.delete("/v1/subscriptions/{subscription}", returns="subscription")
def cancel(call: Call, params: SubscriptionCancel, subscription: str) -> dict[str, Any]:
    """Cancel a subscription now; without ``invoice_now`` the usage so far is not billed."""
    details = params.cancellation_details or CancellationDetails()
    return made(
        call,
        lambda conn: cancel_now(
            conn,
            call.act,
            subscription,
            invoice_now=params.invoice_now,
            prorate=params.prorate,
            comment=details.comment,
            feedback=details.feedback,
        ),
        lambda conn: one(conn, call, subscription),
    )
