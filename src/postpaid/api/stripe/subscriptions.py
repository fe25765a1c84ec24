"""Subscriptions as Stripe shows them."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Len

from postpaid.api.stripe import catalog as stripe_catalog
from postpaid.api.stripe import discounts as stripe_discounts
from postpaid.api.stripe.cycles import (
    STOPS,
    CycleFields,
    StopFields,
    cycles_from_stripe,
    cycles_to_stripe,
    stops_from_stripe,
)
from postpaid.api.stripe.discounts import Discounts, TaxRateIds
from postpaid.api.stripe.expand import expandable, includable, loaded, loader, nested
from postpaid.api.stripe.limits import (
    LIMITS,
    ItemLimitFields,
    LimitFields,
    item_limits_from_stripe,
    item_thresholds_to_stripe,
    limits_from_stripe,
    thresholds_to_stripe,
)
from postpaid.api.stripe.lists import listing, seconds
from postpaid.api.stripe.params import (
    Boolean,
    Currency,
    Id,
    Integer,
    ListParams,
    Metadata,
    Params,
    Text,
    TimeRange,
    Unsettable,
    merge_metadata,
)
from postpaid.api.stripe.routes import Call, Routes
from postpaid.api.stripe.subscription_changes import (
    CHANGES,
    ChangeFields,
    CollectionFields,
    change_now,
    is_change,
    made,
)
from postpaid.billing import subscribe
from postpaid.billing.apply_updates import shown_after
from postpaid.billing.change import Changed, cancel_now
from postpaid.billing.change_discounts import rediscount_subscription
from postpaid.billing.manage_tax_rates import check_tax_rates
from postpaid.billing.perform import Act
from postpaid.billing.subscribe import Begun, NewItem, NewSubscription, PaymentBehavior
from postpaid.core.catalog import Price
from postpaid.core.changes import ProrationBehavior
from postpaid.core.errors import InvalidRequest, NotFound, Path
from postpaid.core.subscriptions import (
    ENDED,
    BillingMode,
    CollectionMethod,
    Item,
    ProrationDiscounts,
    Subscription,
    SubscriptionStatus,
)
from postpaid.storage import catalog, subscriptions
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

    price: Id
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
    off_session: Boolean | None = None


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
    asked = from_stripe(params)

    def begin(conn: Connection) -> dict[str, Any]:
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


def from_stripe(params: SubscriptionCreate) -> NewSubscription:
    """What is asked for, in the engine's words. Raises ``InvalidRequest``."""
    if (params.collection_method == CollectionMethod.SEND_INVOICE) != (
        params.days_until_due is not None
    ):
        raise InvalidRequest(
            "days_until_due must be given when, and only when, collection_method is "
            "`send_invoice`.",
            param="days_until_due",
        )
    return NewSubscription(
        customer_id=params.customer,
        items=[
            NewItem(
                item.price,
                item.quantity,
                merge_metadata({}, item.metadata),
                discounts=stripe_discounts.from_stripe(item.discounts),
                tax_rate_ids=item.tax_rates or (),
                **item_limits_from_stripe(item),
            )
            for item in params.items
        ],
        billing_mode=params.billing_mode.type if params.billing_mode else BillingMode.FLEXIBLE,
        proration_discounts=params.billing_mode.flexible.proration_discounts
        if params.billing_mode and params.billing_mode.flexible
        else ProrationDiscounts.INCLUDED,
        collection_method=params.collection_method,
        days_until_due=params.days_until_due,
        payment_behavior=params.payment_behavior,
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
    """Update what bills nothing: metadata, description, payment method, whether it ends."""
    given = params.given()
    given.pop("off_session", None)
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


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def one(conn: Connection, call: Call, subscription_id: str) -> dict[str, Any]:
    """The subscription as it is now. Raises ``NotFound``."""
    found = subscriptions.load(conn, call.act.account_id, [subscription_id])
    if subscription_id not in found:
        raise NotFound.of("subscription", subscription_id)
    return _render(conn, call, found[subscription_id])


def _render(conn: Connection, call: Call, subscription: Subscription) -> dict[str, Any]:
    return render_many(conn, call.act, [subscription])[0]


def prices_of(conn: Connection, act: Act, shown: Sequence[Subscription]) -> dict[str, Price]:
    """The prices of the subscriptions' items, by id."""
    return catalog.load_prices(
        conn,
        act.account_id,
        {
            item.price_id
            for each in shown
            for one in (each, shown_after(each))
            if one
            for item in one.items
        },
    )


def render_many(conn: Connection, act: Act, shown: Sequence[Subscription]) -> list[dict[str, Any]]:
    """Many subscriptions with a few statements for all their prices, discounts and tax rates."""
    prices = prices_of(conn, act, shown)
    every = [one for each in shown for one in (each, shown_after(each)) if one]
    holders: list[Subscription | Item] = [*every, *(item for each in every for item in each.items)]
    over = stripe_discounts.over(
        conn, act, [key for each in holders for key in each.discount_ids or ()]
    )
    rates = loaded(
        conn, act, "tax_rate", [key for each in holders for key in each.tax_rate_ids or ()]
    )
    return [
        to_stripe(each, prices, rates=rates, over=over, livemode=act.livemode) for each in shown
    ]


def to_stripe(
    subscription: Subscription,
    prices: Mapping[str, Price],
    *,
    rates: Mapping[str, dict[str, Any]],
    over: Container[str],
    livemode: bool,
) -> dict[str, Any]:
    """A subscription with its items, their prices, and discounts that are not ``over``."""
    flexible = subscription.billing_mode == BillingMode.FLEXIBLE
    return {
        "id": subscription.id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": seconds(subscription.anchor_at),
        "billing_mode": {
            "flexible": {"proration_discounts": subscription.proration_discounts}
            if flexible
            else None,
            "type": subscription.billing_mode,
            "updated_at": seconds(subscription.billing_mode_at),
        },
        "billing_schedules": [],
        "billing_thresholds": thresholds_to_stripe(subscription),
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "canceled_at": seconds(subscription.canceled_at),
        "cancellation_details": {
            "comment": subscription.cancellation_comment,
            "feedback": subscription.cancellation_feedback,
            "feedback_option": None,
            "reason": subscription.cancellation_reason,
        },
        "collection_method": subscription.collection_method,
        "created": seconds(subscription.created_at),
        "currency": subscription.currency,
        "customer": subscription.customer_id,
        "customer_account": None,
        "days_until_due": subscription.days_until_due,
        "default_payment_method": subscription.default_payment_method_id,
        "default_source": None,
        "default_tax_rates": [rates[key] for key in subscription.tax_rate_ids or ()],
        "description": subscription.description,
        "discounts": [key for key in subscription.discount_ids or () if key not in over],
        "ended_at": seconds(subscription.ended_at),
        "items": {
            "object": "list",
            "data": [
                item_to_stripe(
                    item, prices[item.price_id], rates=rates, over=over, livemode=livemode
                )
                for item in subscription.items
            ],
            "has_more": False,
            "total_count": len(subscription.items),
            "url": f"/v1/subscription_items?subscription={subscription.id}",
        },
        "latest_invoice": subscription.latest_invoice_id,
        "livemode": livemode,
        "managed_payments": None,
        "maximum_amount": subscription.maximum_amount,
        "metadata": subscription.metadata,
        "minimum_amount": subscription.minimum_amount,
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": _pending_update(
            subscription, prices, rates=rates, over=over, livemode=livemode
        ),
        "presentment_details": None,
        "schedule": subscription.schedule_id,
        "start_date": seconds(subscription.start_at),
        "status": subscription.status,
        "test_clock": subscription.clock_id,
        "transfer_data": None,
        **cycles_to_stripe(subscription),
    }


def _pending_update(
    subscription: Subscription,
    prices: Mapping[str, Price],
    *,
    rates: Mapping[str, dict[str, Any]],
    over: Container[str],
    livemode: bool,
) -> dict[str, Any] | None:
    """What the subscription will be once the invoice of its change is paid."""
    after = shown_after(subscription)
    if after is None:
        return None
    resets = after.anchor_at != subscription.anchor_at
    tries = after.trial_end_at != subscription.trial_end_at
    return {
        "billing_cycle_anchor": seconds(after.anchor_at) if resets else None,
        "cancel_at_period_end": None,
        "discount": None,
        "discounts": None,
        "expires_at": seconds(subscription.pending_update_expires_at),
        "metadata": None,
        "subscription_items": [
            item_to_stripe(item, prices[item.price_id], rates=rates, over=over, livemode=livemode)
            for item in after.items
        ],
        "trial_end": seconds(after.trial_end_at) if tries else None,
        "trial_from_plan": None,
    }


def item_to_stripe(
    item: Item,
    price: Price,
    *,
    rates: Mapping[str, dict[str, Any]],
    over: Container[str],
    livemode: bool,
) -> dict[str, Any]:
    return {
        "id": item.id,
        "object": "subscription_item",
        "billed_until": seconds(item.period_start if price.metered else item.period_end),
        "billing_thresholds": item_thresholds_to_stripe(item),
        "created": seconds(item.created_at),
        "current_period_end": seconds(item.period_end),
        "current_period_start": seconds(item.period_start),
        "current_trial": None,
        "discounts": [key for key in item.discount_ids or () if key not in over],
        "metadata": item.metadata,
        "plan": stripe_catalog.plan_to_stripe(price, livemode=livemode),
        "price": stripe_catalog.price_to_stripe(price, livemode=livemode),
        "quantity": item.quantity,
        "subscription": item.subscription_id,
        "tax_rates": [rates[key] for key in item.tax_rate_ids or ()],
    }


@loader("subscription")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = list(subscriptions.load(conn, act.account_id, ids).values())
    return {each["id"]: each for each in render_many(conn, act, found)}


def _of_customers(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Customers' subscriptions that run, newest first, for ``expand[]=subscriptions``."""
    running = subscriptions.running_of_customers(conn, act.account_id, ids)
    shown: dict[str, list[dict[str, Any]]] = {customer_id: [] for customer_id in ids}
    for each in reversed(render_many(conn, act, list(running.values()))):
        shown[each["customer"]].append(each)
    return {
        customer_id: {
            "object": "list",
            "data": data,
            "has_more": False,
            "total_count": len(data),
            "url": f"/v1/customers/{customer_id}/subscriptions",
        }
        for customer_id, data in shown.items()
    }


includable("customer", "subscriptions", _of_customers, of="subscription", many=True)
nested("subscription", "items", "subscription_item", many=True)
nested("subscription_item", "price", "price")


expandable("subscription", "customer", load="customer")
expandable("subscription", "default_payment_method", load="payment_method")
expandable("subscription", "discounts", load="discount")
expandable("subscription_item", "discounts", load="discount")
expandable("subscription", "latest_invoice", load="invoice")
expandable("subscription", "test_clock", load="test_helpers.test_clock")
