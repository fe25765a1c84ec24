"""What would be: drafts as they would be due, with invoice items that are only asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from postpaid.billing.apply_credits import apply_credits
from postpaid.billing.compose import compose
from postpaid.billing.decide_items import (
    ItemChange,
    NewInvoiceItem,
    decide_item_changes,
    decide_items,
)
from postpaid.billing.perform import Act
from postpaid.core.discounts import Discount
from postpaid.core.errors import InvalidRequest, NotFound, Path
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.invoicing import BillingReason, Invoice
from postpaid.core.values import replace
from postpaid.storage import invoice_items
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


@dataclass(frozen=True, slots=True)
class Imagined:
    """Invoice items as they would be, added or changed, and discounts that are not written."""

    items: Sequence[InvoiceItem] = ()
    discounts: Sequence[Discount] = ()

    def among(self, waiting: Sequence[InvoiceItem], currency: str) -> list[InvoiceItem]:
        """Those that wait for an invoice in the currency, and these, which go before their like.

        Raises ``InvalidRequest`` for one in another currency.
        """
        for each in self.items:
            if each.currency != currency:
                raise InvalidRequest(
                    f"You cannot combine currencies: this invoice item would be in "
                    f"{each.currency}, and the invoice is in {currency}.",
                    param="invoice_items",
                )
        return list({each.id: each for each in (*waiting, *self.items)}.values())


NOTHING = Imagined()


def imagine_items(
    conn: Connection,
    act: Act,
    customer: Customer,
    added: Sequence[NewInvoiceItem],
    changed: Sequence[tuple[str, ItemChange]] = (),
) -> Imagined:
    """The customer's items that are asked for, and pending ones by id as they would be changed.

    ``act`` is at the customer's time. Raises what adding and changing them would raise.
    """
    found = invoice_items.load(conn, act.account_id, [item_id for item_id, _ in changed])
    pairs = []
    for item_id, change in changed:
        at: Path = (*change.param, "invoiceitem")
        item = found.get(item_id)
        if item is None or item.customer_id != customer.id:
            raise NotFound.of("invoiceitem", item_id, param=at)
        if item.invoice_id is not None:
            raise InvalidRequest(f"The invoice item {item.id} is on an invoice already.", param=at)
        pairs.append((item, change))
    items, chosen = decide_items(conn, act, added, customer, None) if added else ([], None)
    after, again = decide_item_changes(conn, act, pairs, customer) if pairs else ([], None)
    discounts = [each for one in (chosen, again) if one for each in one.new]
    return Imagined([*items, *after], discounts)


def imagine(
    conn: Connection,
    act: Act,
    drafts: Sequence[Invoice],
    owners: Mapping[str, Customer],
    *,
    unwritten: Sequence[Discount] = (),
) -> Invoice:
    """The last of the drafts, as it would be due once all of them were final; none is written.

    What one of them uses of discounts, credit and balance, another cannot.
    """
    return imagine_each(conn, act, {"": drafts}, owners, unwritten=unwritten)[""]


def imagine_each(
    conn: Connection,
    act: Act,
    drafts: Mapping[str, Sequence[Invoice]],
    owners: Mapping[str, Customer],
    *,
    unwritten: Sequence[Discount] = (),
) -> dict[str, Invoice]:
    """``imagine`` for each of many, by their keys; those before use what a customer has first."""
    every = [each for group in drafts.values() for each in group]
    composed = compose(conn, act, every, owners, unwritten=unwritten)
    settled = apply_credits(conn, act, composed, owners, unwritten=unwritten).drafts
    by_id = {each.id: each for each in settled}
    return {
        key: replace(by_id[group[-1].id], billing_reason=BillingReason.UPCOMING, finalizes_at=None)
        for key, group in drafts.items()
    }
