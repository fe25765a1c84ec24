"""Usage between two instants, asked for by a person → an invoice, final and about to be paid.

It bills the meters that have a price of their own, from when and until when no subscription of the
customer's bills them, and what else is asked for with them. No usage is billed twice: what is
billed of the time that is asked for is left out, and when nothing is left the request is refused.
What came late is billed by asking again (see ``core.billed_usage``). All is decided and written in
one transaction, under the customers' locks; they are charged after it, by ``pay.finish_paying``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from postpaid.billing import collect
from postpaid.billing.announce import Announcement, announce, customer_updated
from postpaid.billing.check_blocked import check_customer_not_blocked
from postpaid.billing.choose_method import check_payment_methods
from postpaid.billing.compose import compose
from postpaid.billing.decide_items import CURRENCY
from postpaid.billing.draw_units import draw
from postpaid.billing.edit_draft import LINES_MAX
from postpaid.billing.finalize import finalize
from postpaid.billing.measure import measure
from postpaid.billing.offer import offered_prices
from postpaid.billing.pay import Paying
from postpaid.billing.perform import Act
from postpaid.core.billed_usage import (
    WINDOW_MAX,
    Due,
    due_quantity,
    item_of,
    lines_due,
    name_of,
    prepaid_lines,
    windows_due,
)
from postpaid.core.catalog import Price, Product
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound, Path
from postpaid.core.invoice_items import InvoiceItem, line_of
from postpaid.core.invoicing import BillingReason, Invoice, empty_draft, with_lines
from postpaid.core.lines import Line
from postpaid.core.money import round_minor
from postpaid.core.pricing import rate
from postpaid.core.subscriptions import Catalog, CollectionMethod
from postpaid.core.unit_credits import Drawing
from postpaid.core.values import replace
from postpaid.storage import billed_usage, catalog, customers, invoice_items, invoices
from postpaid.storage.billed_usage import Asked, PricedUsage
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.usage_totals import Window

ALREADY_BILLED = "usage_already_billed"
NOTHING_TO_BILL = "nothing_to_bill"
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Bought:
    """So many of a product, at the price that it is offered at, beside the usage."""

    product_id: str
    quantity: Decimal
    metadata: Mapping[str, str] = field(default_factory=dict)
    param: Path = ()


@dataclass(frozen=True, slots=True)
class NewBillingInvoice:
    """An invoice asked for, of a customer's usage in ``[start, end)``.

    With ``days_until_due`` it is sent, and without it charged to the payment method.
    """

    customer_id: str
    start: datetime
    end: datetime
    payment_method_id: str | None = None
    days_until_due: int | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    bought: Sequence[Bought] = ()
    asked_end: datetime | None = None  # where the end that was asked for had not quite come

    @property
    def said_end(self) -> datetime:
        """Until when it was asked for: by that a repeat is known, which may come after it."""
        return self.asked_end or self.end


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read: of each customer what is due, how much it is, and what it is sold at."""

    due: Mapping[str, Sequence[Due]]
    used: Mapping[str, Decimal]  # by the name of what is due
    sold: Catalog
    billed_names: Mapping[str, str]  # of what is bought, and the invoice that bills it
    invoice_ids: Mapping[str, Sequence[str]]  # that bill some of the customer's usage
    subscription_ids: Mapping[str, Sequence[str]]  # that do by themselves


def bill_usage(conn: Connection, act: Act, asked: Sequence[NewBillingInvoice]) -> list[Paying]:
    """Write the invoices, final, in the order asked for; ``finish_paying`` each after the commit.

    Each is another customer's. The number of statements does not depend on how many they are, but
    for those whose customers live on different test clocks. Raises ``NotFound``, ``InvalidRequest``
    with the parameter at fault, and ``ActionNotAllowed`` where nothing is left to be billed, with a
    code that says why.
    """
    named = [each.customer_id for each in asked]
    if len(set(named)) < len(named):
        raise InvalidRequest("Each invoice must be another customer's.", param="customer")
    locked = customers.lock(conn, act.account_id, named)
    by_clock: dict[str | None, list[NewBillingInvoice]] = {}
    for each in asked:
        customer = locked.get(each.customer_id)
        if customer is None or customer.deleted_at:
            raise NotFound.of("customer", each.customer_id, param="customer")
        check_customer_not_blocked(customer)
        ended = _until_now(each, customer.now(act.now))
        by_clock.setdefault(customer.clock_id, []).append(ended)
    begun: dict[str, Paying] = {}
    for clock_id, some in by_clock.items():
        at = act.at(locked[some[0].customer_id].now(act.now), clock_id)
        begun |= _bill(conn, at, some, locked, wall=act.now)
    return [begun[each.customer_id] for each in asked]


def _bill(
    conn: Connection,
    act: Act,
    asked: Sequence[NewBillingInvoice],
    locked: Mapping[str, Customer],
    *,
    wall: datetime,
) -> dict[str, Paying]:
    # Read.
    methods = [(each.customer_id, each.payment_method_id) for each in asked]
    paid_with = [(key, method) for key, method in methods if method is not None]
    check_payment_methods(conn, act, paid_with, param="payment_method")
    known = _read(conn, act, asked)

    # Decide.
    rated = {each.customer_id: _rated(each, known) for each in asked}
    left = {each.customer_id: _not_billed(each, known) for each in asked}
    for each in asked:
        if not rated[each.customer_id] and not left[each.customer_id]:
            raise _nothing(each, known)
    wanted = [
        (each.customer_id, one, _currency(locked[each.customer_id], rated[each.customer_id], known))
        for each in asked
        for _, one in left[each.customer_id]
    ]
    found = offered_prices(
        conn, act, [(one.product_id, said, (*one.param, "product")) for _, one, said in wanted]
    )
    offered = {
        (key, one.product_id): each for (key, one, _), each in zip(wanted, found, strict=True)
    }
    customer_by_id = dict(locked)
    for each in asked:
        customer = locked[each.customer_id]
        currency = _currency(customer, rated[customer.id], known)
        prices = [offered[customer.id, one.product_id][1] for _, one in left[customer.id]]
        currency = _agreed(customer, currency, prices) or CURRENCY
        customer_by_id[customer.id] = replace(customer, currency=currency)
    blank = {
        each.customer_id: _blank(act, each, customer_by_id[each.customer_id]) for each in asked
    }
    prepaid = _draw(conn, act, rated, known, blank)
    drafts: list[Invoice] = []
    items: list[InvoiceItem] = []
    for each in asked:
        key = each.customer_id
        lines = [
            _bought_line(each, name, one, *offered[key, one.product_id]) for name, one in left[key]
        ]
        for due, own in rated[key]:
            lines += own
            quantity = known.used[due.name]
            lines += prepaid_lines(due, known.sold[due.price_id], quantity, prepaid[due.name])
        if len(lines) > LINES_MAX:
            raise InvalidRequest(
                f"That would be {len(lines)} lines, and an invoice has at most {LINES_MAX}: ask "
                "for a shorter time.",
                param="end_date",
            )
        made = [item_of(line, act.new_id("ii"), blank[key]) for line in lines]
        items += made
        drafts.append(with_lines(blank[key], [line_of(item, act.new_id("il")) for item in made]))
    drafts = compose(conn, act, drafts, customer_by_id)

    # Write.
    invoices.insert_many(conn, act.account_id, drafts)
    invoice_items.insert_many(conn, act.account_id, items)
    moved = [each for key, each in customer_by_id.items() if each != locked[key]]
    if moved:
        customers.update_invoicing(conn, act.account_id, moved)
    said = [customer_updated(locked[each.id], each) for each in moved]
    said += [Announcement("invoiceitem.created", "invoiceitem", each.id, each) for each in items]
    said += [Announcement("invoice.created", "invoice", each.id, each) for each in drafts]
    announce(conn, act, said)
    final = finalize(conn, act, drafts, customer_by_id, parks=False)
    charged = [each for each in final if collect.is_collected_automatically(each)]
    attempts = collect.attempt(conn, act, charged, customer_by_id, wall=wall, automatic=True)
    tries: dict[str | None, list[str]] = {}
    for attempt in attempts:
        tries.setdefault(attempt.invoice_id, []).append(attempt.id)
    return {invoice.customer_id: Paying(invoice.id, tries.get(invoice.id, [])) for invoice in final}


# ─── What is due ─────────────────────────────────────────────────────────────────────────────


def _read(conn: Connection, act: Act, asked: Sequence[NewBillingInvoice]) -> _Known:
    account_id = act.account_id
    spans = [Asked(each.customer_id, each.start, each.end) for each in asked]
    by_customer: dict[str, list[PricedUsage]] = {}
    for usage in billed_usage.priced(conn, account_id, [each.customer_id for each in asked]):
        by_customer.setdefault(usage.customer_id, []).append(usage)
    billed = billed_usage.overlapping(conn, account_id, spans)
    elsewhere = billed_usage.billed_elsewhere(conn, account_id, spans)
    running = billed_usage.billed_by_subscriptions(conn, account_id, list(by_customer))
    names = [name for each in asked for name, _ in _named(each)]
    billed_names = billed_usage.named(conn, account_id, names) if names else {}

    due: dict[str, list[Due]] = {}
    invoice_ids: dict[str, list[str]] = {}
    subscription_ids: dict[str, list[str]] = {}
    for each in asked:
        for usage in by_customer.get(each.customer_id, ()):
            key = (usage.customer_id, usage.meter_id)
            settled = list(elsewhere.get(key, ()))
            if key in running and running[key][1] < each.end:
                subscription_id, since = running[key]
                subscription_ids.setdefault(each.customer_id, []).append(subscription_id)
                if since <= each.start:
                    continue
                settled.append((since, each.end))
            due.setdefault(each.customer_id, []).extend(
                windows_due(
                    *key, usage.price_id, (each.start, each.end), billed.get(key, ()), settled
                )
            )
            for window in billed.get(key, ()):
                invoice_ids.setdefault(each.customer_id, []).extend(window.invoice_ids)
            if key in elsewhere:
                invoice_ids.setdefault(each.customer_id, [])
    every = [one for own in due.values() for one in own]
    windows = {one.name: Window(one.customer_id, one.meter_id, one.start, one.end) for one in every}
    return _Known(
        due=due,
        used=measure(conn, account_id, windows, now=act.now),
        sold=catalog.load_sold(conn, account_id, {one.price_id for one in every}),
        billed_names=billed_names,
        invoice_ids=invoice_ids,
        subscription_ids=subscription_ids,
    )


def _rated(asked: NewBillingInvoice, known: _Known) -> list[tuple[Due, list[Line]]]:
    """What is due of the customer's usage, with its lines, before units that it has in advance."""
    found = []
    for due in known.due.get(asked.customer_id, ()):
        try:
            lines = lines_due(due, known.sold[due.price_id], known.used[due.name])
        except ValueError as unbillable:
            raise InvalidRequest(str(unbillable), param="customer") from None
        if lines:
            found.append((due, lines))
    return found


def _draw(
    conn: Connection,
    act: Act,
    rated: Mapping[str, Sequence[tuple[Due, list[Line]]]],
    known: _Known,
    drafts: Mapping[str, Invoice],
) -> dict[str, Decimal]:
    """How many units of what is due the customers have in advance, which are used up by that."""
    drawings = {
        due.name: Drawing(
            due.customer_id,
            due.meter_id,
            due.start,
            due.end,
            due_quantity(due, known.used[due.name]),
            drafts[key].id,
        )
        for key, own in rated.items()
        for due, _ in own
    }
    remaining = draw(conn, act, list(drawings.values()))
    return {
        name: drawing.quantity - left
        for (name, drawing), left in zip(drawings.items(), remaining, strict=True)
    }


def _named(asked: NewBillingInvoice) -> list[tuple[str, Bought]]:
    """What is bought beside the usage, by what it is owed for: a product, once for the window."""
    found: dict[str, Bought] = {}
    for each in asked.bought:
        name = name_of(asked.customer_id, each.product_id, asked.start, asked.said_end)
        before = found.get(name)
        more = replace(before, quantity=before.quantity + each.quantity) if before else each
        found[name] = more
    return list(found.items())


def _not_billed(asked: NewBillingInvoice, known: _Known) -> list[tuple[str, Bought]]:
    return [(name, each) for name, each in _named(asked) if name not in known.billed_names]


def _nothing(asked: NewBillingInvoice, known: _Known) -> ActionNotAllowed:
    """Why nothing is left to be billed."""
    key = asked.customer_id
    when = f"from {asked.start.isoformat()} to {asked.end.isoformat()}"
    bills = {*known.invoice_ids.get(key, ()), *known.billed_names.values()}
    if key in known.invoice_ids or bills:
        by = f", by {', '.join(sorted(bills)[:3])}" if bills else ""
        return ActionNotAllowed(
            f"The usage of {key} {when} is billed already{by}.",
            param="start_date",
            code=ALREADY_BILLED,
        )
    message = f"The customer {key} has used nothing {when} that has a price of its own."
    if running := known.subscription_ids.get(key):
        message += f" The subscription {running[0]} bills what it has used."
    return ActionNotAllowed(message, param="start_date", code=NOTHING_TO_BILL)


# ─── What it says ────────────────────────────────────────────────────────────────────────────


def _blank(act: Act, asked: NewBillingInvoice, customer: Customer) -> Invoice:
    """The invoice that is asked for, without its lines."""
    charged = asked.days_until_due is None
    custom_fields = customer.invoice_custom_fields
    return replace(
        empty_draft(
            act.new_id("in"),
            customer.id,
            subscription_id=None,
            clock_id=customer.clock_id,
            reason=BillingReason.MANUAL,
            collection_method=CollectionMethod.CHARGE_AUTOMATICALLY
            if charged
            else CollectionMethod.SEND_INVOICE,
            days_until_due=asked.days_until_due,
            currency=customer.currency or CURRENCY,
            period=(asked.start, asked.end),
            now=act.now,
        ),
        auto_advance=True,
        bills_usage=True,
        default_payment_method_id=asked.payment_method_id,
        description=asked.description,
        footer=customer.invoice_footer,
        metadata=asked.metadata,
        appearance={"custom_fields": list(custom_fields)} if custom_fields else None,
    )


def _bought_line(
    asked: NewBillingInvoice, name: str, bought: Bought, product: Product, price: Price
) -> Line:
    """The line of so many of a product. Raises ``InvalidRequest``."""
    try:
        [detail] = rate(price.model, bought.quantity)
        amount = round_minor(detail.amount)
    except ValueError as unbillable:
        raise InvalidRequest(str(unbillable), param=(*bought.param, "quantity")) from None
    return Line(
        id="",
        obligation=name,
        part=0,
        subscription_id=None,
        subscription_item_id=None,
        price_id=price.id,
        product_id=price.product_id,
        meter_id=None,
        period_start=asked.start,
        period_end=asked.end,
        quantity=detail.quantity,
        unit_amount=detail.unit_amount,
        tier=None,
        kind=detail.kind,
        amount=amount,
        description=product.description or product.name,
        metadata=bought.metadata,
    )


def _currency(
    customer: Customer, rated: Sequence[tuple[Due, list[Line]]], known: _Known
) -> str | None:
    """What the customer, or else its usage, is billed in."""
    return _agreed(
        customer, customer.currency, [known.sold[due.price_id].price for due, _ in rated]
    )


def _agreed(customer: Customer, currency: str | None, prices: Sequence[Price]) -> str | None:
    """The currency of all of the prices. Raises ``InvalidRequest`` where two do not agree."""
    for price in prices:
        if currency not in (None, price.currency):
            raise InvalidRequest(
                f"You cannot combine currencies: the price {price.id} is in {price.currency}, and "
                f"the customer {customer.id} is billed in {currency}.",
                param="customer",
            )
        currency = price.currency
    return currency


def _until_now(asked: NewBillingInvoice, now: datetime) -> NewBillingInvoice:
    """What is asked for, until now at the latest.

    Raises ``InvalidRequest`` for a window that is none, has not ended, or is too long. The second
    that runs has ended: a caller's "now" may be its last second.
    """
    if asked.end > now + SECOND:
        raise InvalidRequest(
            f"end_date must not be in the future: it is {now.isoformat()}, and more may be used "
            f"until {asked.end.isoformat()}.",
            param="end_date",
        )
    if asked.end > now:
        asked = replace(asked, end=now, asked_end=asked.end)
    if asked.start >= asked.end:
        raise InvalidRequest("start_date must be before end_date.", param="start_date")
    if asked.end - asked.start > WINDOW_MAX:
        raise InvalidRequest("At most ten years can be billed at once.", param="start_date")
    return asked
