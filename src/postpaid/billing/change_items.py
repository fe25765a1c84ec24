"""What a change bills, as invoice items: prorations, usage settled early, and what is added."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from decimal import Decimal

from postpaid.billing.perform import Act
from postpaid.core.changes import Extra, ExtraBound
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.lines import Line
from postpaid.core.money import round_minor
from postpaid.core.pricing import DetailKind, rate, total
from postpaid.core.prorations import Proration
from postpaid.core.subscriptions import Item, Sold, Subscription
from postpaid.core.values import replace

_LINE_FIELDS = {each.name for each in fields(Line)}
_SHARED = [each.name for each in fields(InvoiceItem) if each.name in _LINE_FIELDS]


def item_of_proration(
    act: Act, subscription: Subscription, item: Item, sold: Sold, proration: Proration
) -> InvoiceItem:
    """A credit or a charge for the rest of a period (Stripe: no discount comes off it again)."""
    made = _item(act, subscription, sold, proration.quantity, proration.amount)
    return replace(
        made,
        subscription_item_id=item.id,
        period_start=proration.period.start,
        period_end=proration.period.end,
        unit_amount=Decimal(proration.amount) if proration.quantity == 1 else None,
        description=proration.description,
        discountable=False,
        proration=True,
        credited=proration.credited,
        discounts=proration.discounts,
        tax_rate_ids=item.tax_rate_ids,
        metadata=item.metadata,
    )


def item_of_usage(act: Act, subscription: Subscription, line: Line) -> InvoiceItem:
    """Usage that is settled before its period ends, under the name of what it settles."""
    shared = {name: getattr(line, name) for name in _SHARED}
    return InvoiceItem(
        **shared | {"id": act.new_id("ii")},
        customer_id=subscription.customer_id,
        clock_id=subscription.clock_id,
        invoice_id=None,
        currency=subscription.currency,
        created_at=act.now,
    )


def item_of_extra(
    act: Act, subscription: Subscription, extra: Extra, sold: Sold | None, *, place: int
) -> InvoiceItem:
    """A one-time price. Raises ``NotFound``, and ``InvalidRequest`` for a price that recurs."""
    path = ("add_invoice_items", place, "price")
    if sold is None:
        raise NotFound.of("price", extra.price_id, param=path)
    if sold.price.recurrence is not None:
        raise InvalidRequest(
            "The price specified is set to `type=recurring` but this field only accepts prices "
            "with `type=one_time`.",
            param=path,
        )
    if sold.price.currency != subscription.currency:
        raise InvalidRequest(
            f"The price specified only supports `{sold.price.currency}`. This doesn't match the "
            f"expected currency: `{subscription.currency}`.",
            param=path,
        )
    quantity = Decimal(extra.quantity)
    amount = round_minor(total(rate(sold.price.model, quantity)))
    start, end = _period_of(act, subscription, extra, place)
    made = _item(act, subscription, sold, quantity, amount)
    made = replace(made, id=extra.id, obligation=extra.id) if extra.id else made
    return replace(
        made,
        period_start=start,
        period_end=end,
        unit_amount=sold.price.model.unit_amount,
        discountable=extra.discountable,
        discount_ids=extra.discount_ids,
        tax_rate_ids=extra.tax_rate_ids,
        metadata=extra.metadata,
    )


def _period_of(
    act: Act, subscription: Subscription, extra: Extra, place: int
) -> tuple[datetime, datetime]:
    if extra.period is None:
        return act.now, act.now
    bounds = {
        ExtraBound.NOW: act.now,
        ExtraBound.MAX_ITEM_PERIOD_START: max(each.period_start for each in subscription.items),
        ExtraBound.MIN_ITEM_PERIOD_END: min(each.period_end for each in subscription.items),
    }
    start, end = (bounds[each] if isinstance(each, ExtraBound) else each for each in extra.period)
    if end < start:
        raise InvalidRequest(
            "The period must end after it starts.", param=("add_invoice_items", place, "period")
        )
    return start, end


def _item(
    act: Act, subscription: Subscription, sold: Sold, quantity: Decimal, amount: int
) -> InvoiceItem:
    item_id = act.new_id("ii")
    return InvoiceItem(
        id=item_id,
        customer_id=subscription.customer_id,
        clock_id=subscription.clock_id,
        invoice_id=None,
        subscription_id=subscription.id,
        subscription_item_id=None,
        price_id=sold.price.id,
        product_id=sold.price.product_id,
        meter_id=None,
        obligation=item_id,
        part=0,
        period_start=act.now,
        period_end=act.now,
        quantity=quantity,
        unit_amount=None,
        tier=None,
        kind=DetailKind.UNIT,
        amount=amount,
        currency=subscription.currency,
        description=sold.product.name,
        discountable=True,
        proration=False,
        credited=None,
        discount_ids=None,
        tax_rate_ids=None,
        metadata={},
        created_at=act.now,
    )
