"""Items of subscriptions by themselves, as Stripe shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from postpaid.api.paid_changes import made
from postpaid.api.params import Boolean, Id, Metadata
from postpaid.api.stripe.discounts import Discounts, TaxRateIds
from postpaid.api.stripe.expand import loader
from postpaid.api.stripe.inline_prices import ItemPriceData, with_prices
from postpaid.api.stripe.limits import ItemLimitFields
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.api.stripe.subscription_changes import (
    ItemUpdate,
    PaymentFields,
    Quantity,
    items_from_stripe,
)
from postpaid.api.stripe.subscription_shapes import render_many
from postpaid.billing import change as changing
from postpaid.billing.change import Changed
from postpaid.billing.perform import Act
from postpaid.core.changes import Change, UsagePricing
from postpaid.core.errors import BillingError, NotFound
from postpaid.core.subscriptions import Item, Subscription
from postpaid.storage import subscriptions
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows

routes = Routes("Subscription items")


class SubscriptionItemCreate(PaymentFields, ItemLimitFields):
    subscription: Id
    discounts: Discounts = None
    metadata: Metadata | None = None
    price: Id | None = None
    price_data: ItemPriceData | None = None
    quantity: Quantity | None = None
    tax_rates: TaxRateIds = None


class SubscriptionItemUpdate(PaymentFields, ItemLimitFields):
    discounts: Discounts = None
    metadata: Metadata | None = None
    off_session: Boolean | None = None
    price: Id | None = None
    price_data: ItemPriceData | None = None
    quantity: Quantity | None = None
    tax_rates: TaxRateIds = None
    usage_pricing: UsagePricing = UsagePricing.SPLIT


class SubscriptionItemDelete(PaymentFields):
    clear_usage: Boolean | None = None  # Stripe: of no effect with meters


class SubscriptionItemList(ListParams):
    subscription: Id


@routes.get("/v1/subscription_items", returns="subscription_item", many=True)
def list_(call: Call, params: SubscriptionItemList) -> dict[str, Any]:
    """List a subscription's items, newest first."""

    def read(conn: Connection) -> dict[str, Any]:
        found = subscriptions.load(conn, call.act.account_id, [params.subscription])
        if params.subscription not in found:
            raise NotFound.of("subscription", params.subscription, param="subscription")
        subscription = found[params.subscription]
        shown = _shown(conn, call.act, [subscription])
        return listing(
            "/v1/subscription_items",
            _page(subscription, params),
            lambda item: shown[item.id],
        )

    return call.read(read)


@routes.get("/v1/subscription_items/{item}", returns="subscription_item")
def retrieve(call: Call, item: str) -> dict[str, Any]:
    """Retrieve an item."""
    return call.read(lambda conn: _one(conn, call.act, item))


@routes.post("/v1/subscription_items", returns="subscription_item")
def create(call: Call, params: SubscriptionItemCreate) -> dict[str, Any]:
    """Add an item to a running subscription."""
    asked = _item(params)

    def begin(conn: Connection) -> Changed:
        found = subscriptions.load(conn, call.act.account_id, [params.subscription])
        if params.subscription not in found:
            raise NotFound.of("subscription", params.subscription, param="subscription")
        return _change(conn, call.act, found[params.subscription], asked, params)

    return made(
        call,
        begin,
        lambda conn: _newest(conn, call.act, params.subscription, params.price),
    )


@routes.post("/v1/subscription_items/{item}", returns="subscription_item")
def update(call: Call, params: SubscriptionItemUpdate, item: str) -> dict[str, Any]:
    """Change an item: its price, its quantity, its metadata."""

    def begin(conn: Connection) -> Changed:
        subscription, _ = _find(conn, call.act, item)
        asked = _item(params, id=item)
        return _change(conn, call.act, subscription, asked, params, off_session=params.off_session)

    return made(call, begin, lambda conn: _one(conn, call.act, item))


@routes.delete("/v1/subscription_items/{item}", returns="subscription_item")
def delete(call: Call, params: SubscriptionItemDelete, item: str) -> dict[str, Any]:
    """Take an item off its subscription; the last one stays (cancel the subscription instead)."""

    def begin(conn: Connection) -> Changed:
        subscription, _ = _find(conn, call.act, item)
        gone = ItemUpdate(id=item, deleted=True)
        return _change(conn, call.act, subscription, gone, params)

    gone = {"id": item, "object": "subscription_item", "deleted": True}
    return made(call, begin, lambda conn: gone)


def _item(params: PaymentFields, **more: str) -> ItemUpdate:
    """What is said of the item itself."""
    given = {
        name: value for name, value in params.given().items() if name in ItemUpdate.model_fields
    }
    return ItemUpdate.model_construct(set(given) | set(more), **given, **more)


def _change(
    conn: Connection,
    act: Act,
    subscription: Subscription,
    item: ItemUpdate,
    params: PaymentFields,
    *,
    off_session: bool | None = None,
) -> Changed:
    try:
        required = item.id is None
        priced = with_prices(conn, act, [item], ("items",), required=required)
        asked = Change(
            subscription.id,
            items=items_from_stripe(conn, act, subscription, priced),
            proration=params.proration_behavior,
            prorated_at=params.proration_date,
            payment=params.payment_behavior,
        )
        return changing.change(conn, act, [asked], on_session=not off_session)[0]
    except BillingError as error:
        if error.param[:2] == ("items", 0):  # which is what all of this is about
            error.param = error.param[2:]
        raise


def _find(conn: Connection, act: Act, item_id: str) -> tuple[Subscription, Item]:
    found = subscriptions.of_items(conn, act.account_id, [item_id])
    if item_id not in found:
        raise NotFound.of("subscription_item", item_id)
    subscription = found[item_id]
    return subscription, next(item for item in subscription.items if item.id == item_id)


def _one(conn: Connection, act: Act, item_id: str) -> dict[str, Any]:
    subscription, _ = _find(conn, act, item_id)
    return _shown(conn, act, [subscription])[item_id]


def _newest(
    conn: Connection, act: Act, subscription_id: str, price_id: str | None
) -> dict[str, Any]:
    """The item that sells the price: there is one, or the change that adds it still waits.

    A price that was made with it is the newest item's.
    """
    [subscription] = subscriptions.load(conn, act.account_id, [subscription_id]).values()
    [shown] = render_many(conn, act, [subscription])
    items = [
        *shown["items"]["data"],
        *(shown["pending_update"] or {}).get("subscription_items", ()),
    ]
    sold = [each for each in items if price_id in (None, each["price"]["id"])]
    found: dict[str, Any] = max(sold, key=lambda each: str(each["id"]))
    return found


def _shown(conn: Connection, act: Act, shown: Sequence[Subscription]) -> dict[str, dict[str, Any]]:
    """The items of these subscriptions by id."""
    rendered = render_many(conn, act, shown)
    return {item["id"]: item for each in rendered for item in each["items"]["data"]}


def _page(subscription: Subscription, params: SubscriptionItemList) -> Rows[Item]:
    """A page of the items. There are at most twenty, so they are read whole."""
    items = sorted(subscription.items, key=lambda item: item.id, reverse=True)
    ids = [item.id for item in items]
    cursor = params.starting_after or params.ending_before
    if cursor is not None and cursor not in ids:
        name = "starting_after" if params.starting_after else "ending_before"
        raise NotFound.of("subscription_item", cursor, param=name)
    if params.starting_after:
        items = items[ids.index(params.starting_after) + 1 :]
    elif params.ending_before:
        items = items[: ids.index(params.ending_before)]
        return Rows(items[-params.limit :], has_more=len(items) > params.limit)
    return Rows(items[: params.limit], has_more=len(items) > params.limit)


@loader("subscription_item")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = {each.id: each for each in subscriptions.of_items(conn, act.account_id, ids).values()}
    shown = _shown(conn, act, list(found.values()))
    return {key: shown[key] for key in ids if key in shown}
