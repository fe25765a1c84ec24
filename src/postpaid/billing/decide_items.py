"""What an invoice item that is asked for comes to, and one that is changed; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from postpaid.billing.manage_discounts import AskedDiscount, Chosen, Wanted, choose
from postpaid.billing.manage_tax_rates import check_tax_rates
from postpaid.billing.perform import Act
from postpaid.billing.price_items import Asking, check_sold, priced, read_sold
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound, Path
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.invoicing import Invoice, InvoiceAction, next_status
from postpaid.core.pricing import DetailKind
from postpaid.core.subscriptions import Catalog
from postpaid.core.values import replace
from postpaid.storage import catalog, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

CURRENCY = "usd"  # where neither the caller, nor the customer, nor a price says one

Relabel = Callable[[Mapping[str, str]], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class NewInvoiceItem:
    """An invoice item asked for; ``param`` is where in the request. ``period`` None means now."""

    asking: Asking
    currency: str | None = None
    description: str | None = None
    discountable: bool | None = None
    discounts: Sequence[AskedDiscount] = ()
    tax_rate_ids: Sequence[str] | None = None
    period: tuple[datetime, datetime] | None = None
    subscription_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    param: Path = ()


@dataclass(frozen=True, slots=True)
class ItemChange:
    """A change of an invoice item; ``given`` names what of it was asked for.

    ``discounts`` and ``tax_rate_ids`` may be given as None, which takes them off.
    """

    given: frozenset[str]
    asking: Asking = field(default_factory=Asking)
    description: str | None = None
    discountable: bool | None = None
    discounts: Sequence[AskedDiscount] | None = None
    tax_rate_ids: Sequence[str] | None = None
    period: tuple[datetime, datetime] | None = None
    relabel: Relabel = dict
    param: Path = ()


def decide_items(
    conn: Connection,
    act: Act,
    asked: Sequence[NewInvoiceItem],
    customer: Customer,
    draft: Invoice | None,
) -> tuple[list[InvoiceItem], Chosen]:
    """The items that are asked for, and the discounts chosen for them; nothing is written."""
    # Read.
    if draft is not None:
        next_status(draft.status, InvoiceAction.EDIT)
    sold, products = read_sold(conn, act, [each.asking for each in asked])
    for each in asked:
        check_sold(each.asking, sold, products, each.param)
    _check_subscriptions(conn, act, asked, customer)
    currency = _currency(asked, sold, customer, draft)
    check_tax_rates(conn, act, {(*a.param, "tax_rates"): a.tax_rate_ids for a in asked})

    # Decide.
    items = [_item(act, each, sold, customer, draft, currency) for each in asked]
    wanted = [
        Wanted(each.discounts, invoice_item_id=item.id, param=(*each.param, "discounts"))
        for each, item in zip(asked, items, strict=True)
    ]
    chosen = choose(conn, act, wanted, customer=customer, currency=currency)
    items = [replace(item, discount_ids=chosen.ids(place)) for place, item in enumerate(items)]
    return items, chosen


def decide_item_changes(
    conn: Connection,
    act: Act,
    changed: Sequence[tuple[InvoiceItem, ItemChange]],
    customer: Customer,
) -> tuple[list[InvoiceItem], Chosen]:
    """The items after their changes, and the discounts chosen for them; nothing is written."""
    # Read.
    sold, products = read_sold(conn, act, [change.asking for _, change in changed])
    priced_before = catalog.load_sold(
        conn,
        act.account_id,
        {item.price_id for item, each in changed if _requantified(each) and item.price_id},
    )
    for _, change in changed:
        check_sold(change.asking, sold, products, change.param)
    check_tax_rates(conn, act, {(*c.param, "tax_rates"): c.tax_rate_ids for _, c in changed})
    chosen = choose(
        conn,
        act,
        [
            Wanted(each.discounts or (), invoice_item_id=item.id, param=(*each.param, "discounts"))
            for item, each in changed
        ],
        customer=customer,
        currency=changed[0][0].currency if changed else None,
    )

    # Decide.
    after = []
    for place, (item, change) in enumerate(changed):
        _check_change(item, change)
        _check_same_currency(item, change, sold)
        one = _changed(item, change, {**priced_before, **sold})
        if "discounts" in change.given:
            one = replace(one, discount_ids=chosen.ids(place))
        after.append(one)
    return after, chosen


def _item(
    act: Act,
    asked: NewInvoiceItem,
    sold: Catalog,
    customer: Customer,
    draft: Invoice | None,
    currency: str,
) -> InvoiceItem:
    if not asked.asking.names_a_price:
        raise InvalidRequest(
            "You must give an `amount`, `pricing`, `price_data` or a `unit_amount_decimal`.",
            param=(*asked.param, "amount"),
            code="parameter_missing",
        )
    item_id = act.new_id("ii")
    start, end = asked.period or (act.now, act.now)
    named = sold.get(asked.asking.price_id or "")
    item = InvoiceItem(
        id=item_id,
        customer_id=customer.id,
        clock_id=customer.clock_id,
        invoice_id=draft.id if draft else None,
        subscription_id=asked.subscription_id or (draft.subscription_id if draft else None),
        subscription_item_id=None,
        price_id=None,
        product_id=None,
        meter_id=None,
        obligation=item_id,
        part=0,
        period_start=start,
        period_end=end,
        quantity=Decimal(1),
        unit_amount=None,
        tier=None,
        kind=DetailKind.UNIT,
        amount=0,
        currency=currency,
        description=asked.description or (named.product.name if named else ""),
        discountable=True,
        proration=False,
        credited=None,
        discount_ids=None,
        tax_rate_ids=asked.tax_rate_ids,
        metadata=asked.metadata,
        created_at=act.now,
    )
    item = priced(item, asked.asking, sold, asked.param)
    # Stripe: nothing is taken off what is itself taken off, unless that is asked for.
    return replace(
        item, discountable=item.amount >= 0 if asked.discountable is None else asked.discountable
    )


def _changed(item: InvoiceItem, change: ItemChange, sold: Catalog) -> InvoiceItem:
    after = item
    if change.asking.names_a_price:
        after = priced(item, change.asking, sold, change.param)
    elif change.asking.quantity is not None:
        kept = Asking(None, item.price_id, None if item.price_id else item.unit_amount)
        kept = replace(kept, product_id=item.product_id, quantity=change.asking.quantity)
        after = priced(item, kept, sold, change.param)
    if "description" in change.given:
        after = replace(after, description=change.description or "")
    if "period" in change.given and change.period:
        after = replace(after, period_start=change.period[0], period_end=change.period[1])
    if "discountable" in change.given and change.discountable is not None:
        after = replace(after, discountable=change.discountable)
    if "tax_rates" in change.given:
        after = replace(after, tax_rate_ids=change.tax_rate_ids)
    if "metadata" in change.given:
        after = replace(after, metadata=change.relabel(item.metadata))
    return after


def _check_change(item: InvoiceItem, change: ItemChange) -> None:
    """What came from a subscription says what it bills: that does not change (Stripe: frozen).

    Nor does what bills usage, or takes off what was paid of it (ours).
    """
    bills_usage = item.meter_id is not None or item.kind == DetailKind.BILLED
    if item.subscription_item_id is None and not item.proration and not bills_usage:
        return
    if change.asking.names_a_price or change.asking.quantity is not None:
        maker = "of what was used" if bills_usage else "by its subscription"
        raise ActionNotAllowed(
            f"The invoice item {item.id} was made {maker}: its price, quantity and amount cannot "
            "change.",
            code="invoice_not_editable",
        )
    if item.proration and change.discountable:
        raise InvalidRequest(
            "Prorations cannot be discountable.", param=(*change.param, "discountable")
        )


def _check_same_currency(item: InvoiceItem, change: ItemChange, sold: Catalog) -> None:
    named = sold.get(change.asking.price_id or "")
    said = named.price.currency if named else change.asking.currency
    if said not in (None, item.currency):
        raise InvalidRequest(
            f"This invoice item is in {item.currency}, and the price is in {said}.",
            param=(*change.param, "pricing" if named else "price_data"),
        )


def _requantified(change: ItemChange) -> bool:
    return change.asking.quantity is not None and not change.asking.names_a_price


def _check_subscriptions(
    conn: Connection, act: Act, asked: Sequence[NewInvoiceItem], customer: Customer
) -> None:
    ids = {each.subscription_id for each in asked if each.subscription_id}
    found = subscriptions.load(conn, act.account_id, ids) if ids else {}
    for each in asked:
        if each.subscription_id is None:
            continue
        at = (*each.param, "subscription")
        subscription = found.get(each.subscription_id)
        if subscription is None:
            raise NotFound.of("subscription", each.subscription_id, param=at)
        if subscription.customer_id != customer.id:
            raise InvalidRequest(
                f"The subscription {subscription.id} does not belong to customer {customer.id}.",
                param=at,
            )
        if subscription.ended_at is not None:
            raise InvalidRequest(
                f"The subscription {subscription.id} has ended: nothing more is billed with it.",
                param=at,
            )


def _currency(
    asked: Sequence[NewInvoiceItem], sold: Catalog, customer: Customer, draft: Invoice | None
) -> str:
    """What all of them are billed in. Raises ``InvalidRequest`` where two do not agree."""
    currency = draft.currency if draft else customer.currency
    for each in asked:
        named = sold.get(each.asking.price_id or "")
        for said in (each.currency, each.asking.currency, named.price.currency if named else None):
            if said is None:
                continue
            if currency not in (None, said):
                raise InvalidRequest(
                    "You cannot combine currencies: this invoice item would be in "
                    f"{said}, and {'its invoice' if draft else 'its customer'} is billed in "
                    f"{currency}.",
                    param=(*each.param, "currency"),
                )
            currency = said
    return currency or CURRENCY
