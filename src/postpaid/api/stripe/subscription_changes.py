"""What Stripe's parameters ask of a running subscription, in the engine's words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from annotated_types import Len, MaxLen
from pydantic import BeforeValidator

from postpaid.api.params import Boolean, Id, Integer, Metadata, Params, Timestamp, merge_metadata
from postpaid.api.stripe import discounts as stripe_discounts
from postpaid.api.stripe.discounts import Discounts, TaxRateIds
from postpaid.api.stripe.inline_prices import ExtraPriceData, ItemPriceData, with_prices
from postpaid.api.stripe.limits import ItemLimitFields, item_limits_from_stripe
from postpaid.billing import change as changing
from postpaid.billing.change import Changed
from postpaid.billing.change_discounts import rediscount_items
from postpaid.billing.manage_discounts import Wanted, choose, redeem
from postpaid.billing.manage_tax_rates import check_tax_rates
from postpaid.billing.perform import Act
from postpaid.core.changes import (
    Change,
    ChangePayment,
    Extra,
    ExtraBound,
    ItemChange,
    ProrationBehavior,
    UsagePricing,
)
from postpaid.core.errors import InvalidRequest, Path
from postpaid.core.subscriptions import CollectionMethod, Subscription
from postpaid.core.values import replace
from postpaid.storage import customers
from postpaid.storage.database import Connection

Quantity = Annotated[int, Integer(0, 10**9)]
TrialEnd: TypeAlias = Timestamp | Literal["now"]


def as_object(value: Any) -> Any:
    """Before 2026-09-30 an anchor was a word; now it is an object. Both are understood."""
    return {"type": value} if isinstance(value, str) else value


class AnchorChange(Params):
    """Whether every period ends now and the next begins."""

    type: Literal["now", "unchanged"]


class ItemUpdate(ItemLimitFields):
    """An item to add, or with ``id`` to change or remove."""

    clear_usage: Boolean | None = None  # Stripe: of no effect with meters
    deleted: Boolean = False
    discounts: Discounts = None
    id: Id | None = None
    metadata: Metadata | None = None
    price: Id | None = None
    price_data: ItemPriceData | None = None
    quantity: Quantity | None = None
    tax_rates: TaxRateIds = None
    usage_pricing: UsagePricing | None = None


class ExtraPeriodStart(Params):
    type: Literal["max_item_period_start", "now", "timestamp"]
    timestamp: Timestamp | None = None


class ExtraPeriodEnd(Params):
    type: Literal["min_item_period_end", "timestamp"]
    timestamp: Timestamp | None = None


class ExtraPeriod(Params):
    end: ExtraPeriodEnd
    start: ExtraPeriodStart


class ExtraItem(Params):
    """A one-time price on the next invoice."""

    discountable: Boolean = True
    discounts: Discounts = None
    metadata: Metadata | None = None
    period: ExtraPeriod | None = None
    price: Id | None = None
    price_data: ExtraPriceData | None = None
    quantity: Annotated[int, Integer(1, 10**9)] = 1
    tax_rates: TaxRateIds = None


class ProrationFields(Params):
    """How a change is billed."""

    proration_behavior: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS
    proration_date: Timestamp | None = None


class PaymentFields(ProrationFields):
    """And what becomes of it when that is not paid at once."""

    payment_behavior: ChangePayment = ChangePayment.ALLOW_INCOMPLETE


class TurnFields(ProrationFields):
    """What changes what is billed: the same for an update and its preview."""

    items: Annotated[list[ItemUpdate], Len(1, 40)] | None = None
    trial_end: TrialEnd | None = None
    usage_pricing: UsagePricing = UsagePricing.SPLIT


class ChangeFields(TurnFields, PaymentFields):
    """What of an update changes what is billed."""

    add_invoice_items: Annotated[list[ExtraItem], MaxLen(20)] | None = None
    billing_cycle_anchor: Annotated[AnchorChange, BeforeValidator(as_object)] | None = None
    off_session: Boolean | None = None  # Stripe: on session unless told otherwise


class CollectionFields(Params):
    """Who moves first from the next invoice on."""

    collection_method: CollectionMethod | None = None
    days_until_due: Annotated[int, Integer(0, 730)] | None = None


CHANGES = frozenset(ChangeFields.model_fields)


def is_change(params: ChangeFields) -> bool:
    """Whether anything is asked that may be billed."""
    given = (params.items, params.add_invoice_items, params.trial_end)
    return any(each is not None for each in given) or _resets(params)


def change_from_stripe(
    before: Subscription, params: TurnFields, *, now: datetime, resets_anchor: bool
) -> Change:
    """What is asked of the subscription at ``now``."""
    metadata_of = {item.id: item.metadata for item in before.items}
    return Change(
        before.id,
        items=[
            item_from_stripe(each, metadata_of.get(each.id or "")) for each in params.items or ()
        ],
        proration=params.proration_behavior,
        prorated_at=params.proration_date,
        resets_anchor=resets_anchor,
        trial_end_at=now if params.trial_end == "now" else params.trial_end,
        usage_pricing=params.usage_pricing,
    )


def _resets(params: ChangeFields) -> bool:
    anchor = params.billing_cycle_anchor
    return anchor is not None and anchor.type == "now"


def item_from_stripe(asked: ItemUpdate, metadata: Any = None) -> ItemChange:
    """One item; ``metadata`` is what it has, into which what is given is merged."""
    fields: dict[str, Any] = dict(item_limits_from_stripe(asked))
    if "metadata" in asked.model_fields_set:
        fields["metadata"] = merge_metadata(metadata or {}, asked.metadata)
    return ItemChange(
        id=asked.id,
        price_id=asked.price,
        quantity=asked.quantity,
        deleted=asked.deleted,
        usage_pricing=asked.usage_pricing,
        fields=fields,
    )


def extra_from_stripe(act: Act, asked: ExtraItem) -> Extra:
    """One that has its price by now; its discounts and tax rates are looked up apart."""
    assert asked.price is not None, "with_prices has seen to it"
    period = None
    if asked.period is not None:
        period = (_bound(asked.period.start), _bound(asked.period.end))
    return Extra(
        price_id=asked.price,
        quantity=asked.quantity,
        id=act.new_id("ii") if asked.discounts else None,
        period=period,
        discountable=asked.discountable,
        metadata=merge_metadata({}, asked.metadata),
    )


def _bound(asked: ExtraPeriodStart | ExtraPeriodEnd) -> datetime | ExtraBound:
    if asked.type != "timestamp":
        return ExtraBound(asked.type)
    if asked.timestamp is None:
        raise InvalidRequest(
            "A period's `timestamp` is required when its type is `timestamp`.",
            param="add_invoice_items",
            code="parameter_missing",
        )
    return asked.timestamp


def change_now(conn: Connection, act: Act, before: Subscription, params: ChangeFields) -> Changed:
    """Make the change at the customer's time; see ``change``."""
    [customer] = customers.load(conn, act.account_id, [before.customer_id]).values()
    now = customer.now(act.now)
    items = with_prices(conn, act, params.items or (), ("items",))
    asked = replace(
        change_from_stripe(before, params, now=now, resets_anchor=_resets(params)),
        items=items_from_stripe(conn, act, before, items),
        extras=_extras(conn, act, before, params.add_invoice_items or ()),
        payment=params.payment_behavior,
    )
    return changing.change(conn, act, [asked], on_session=not params.off_session)[0]


EXTRAS: Path = ("add_invoice_items",)


def _extras(
    conn: Connection, act: Act, before: Subscription, asked_of: Sequence[ExtraItem]
) -> list[Extra]:
    """What is added with its discounts and tax rates, of which the former are written.

    Raises ``NotFound`` and ``InvalidRequest`` with the parameter at fault.
    """
    priced = with_prices(conn, act, asked_of, EXTRAS, required=True)
    extras = [extra_from_stripe(act, each) for each in priced]
    if not any(each.discounts or each.tax_rates for each in priced):
        return extras
    [customer] = customers.lock(conn, act.account_id, [before.customer_id]).values()
    at_customer = act.at(customer.now(act.now), customer.clock_id)
    wanted = [
        Wanted(
            stripe_discounts.from_stripe(each.discounts),
            invoice_item_id=extra.id,
            param=(*EXTRAS, i, "discounts"),
        )
        for i, (each, extra) in enumerate(zip(priced, extras, strict=True))
    ]
    chosen = choose(conn, at_customer, wanted, customer=customer, currency=before.currency)
    redeem(conn, at_customer, chosen)
    rates = check_tax_rates(
        conn, act, {(*EXTRAS, i, "tax_rates"): each.tax_rates for i, each in enumerate(priced)}
    )
    return [
        replace(extra, discount_ids=chosen.ids(i), tax_rate_ids=rates[(*EXTRAS, i, "tax_rates")])
        for i, extra in enumerate(extras)
    ]


def items_from_stripe(
    conn: Connection, act: Act, before: Subscription, asked_of: Sequence[ItemUpdate]
) -> list[ItemChange]:
    """The items with the discounts and tax rates asked for them, of which the former are written.

    Raises ``NotFound`` and ``InvalidRequest`` with the parameter at fault.
    """
    items = {item.id: item for item in before.items}
    changes = []
    wanted = []
    rates: dict[Path, list[str] | None] = {}
    for i, each in enumerate(asked_of):
        item = items.get(each.id or "")
        changes.append(item_from_stripe(each, item and item.metadata))
        if "discounts" in each.model_fields_set:
            asked = stripe_discounts.from_stripe(each.discounts)
            at: Path = ("items", i, "discounts")
            wanted.append(Wanted(asked, before.id, each.id, param=at))
        if "tax_rates" in each.model_fields_set:
            rates["items", i, "tax_rates"] = each.tax_rates
    fields: dict[Path, dict[str, Any]] = {}
    if wanted:
        [customer] = customers.lock(conn, act.account_id, [before.customer_id]).values()
        at_customer = act.at(customer.now(act.now), customer.clock_id)
        discount_ids = rediscount_items(conn, at_customer, before, customer, wanted)
        fields = {path: {"discount_ids": ids} for path, ids in discount_ids.items()}
    for path, ids in check_tax_rates(conn, act, rates).items():
        fields[path] = {"tax_rate_ids": ids}
    return [
        replace(
            change,
            fields={
                **change.fields,
                **fields.get(("items", i, "discounts"), {}),
                **fields.get(("items", i, "tax_rates"), {}),
            },
        )
        for i, change in enumerate(changes)
    ]
