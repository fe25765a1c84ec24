"""Lines and what comes off and on them → a draft's totals: discounts and taxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from postpaid.billing.perform import Act
from postpaid.core.adjusting import Applied, TaxReason, adjusted, taking_off
from postpaid.core.discounts import Coupon, Discount, Duration, holds
from postpaid.core.invoicing import BillingReason, Invoice
from postpaid.core.values import replace
from postpaid.storage import coupons, discounts, tax_rates
from postpaid.storage.customers import Customer, TaxExempt
from postpaid.storage.database import Connection

REASONS = {
    TaxExempt.NONE: TaxReason.NOT_AVAILABLE,
    TaxExempt.EXEMPT: TaxReason.CUSTOMER_EXEMPT,
    TaxExempt.REVERSE: TaxReason.REVERSE_CHARGE,
}


def compose(
    conn: Connection,
    act: Act,
    drafts: Sequence[Invoice],
    customers: Mapping[str, Customer],
    *,
    unwritten: Sequence[Discount] = (),
) -> list[Invoice]:
    """The drafts with their discounts and taxes as they are by now, and totals that follow.

    Stripe: a draft's own discounts hold, or else its customer's; those of lines come first. The
    draft then says which hold. The same objects where nothing is taken off or put on. ``unwritten``
    are discounts that drafts name and storage does not have yet. Reads a constant number of
    statements, none at all when no draft has a discount or a tax rate; writes nothing, so that a
    preview is composed by the same function.
    """
    concerned = [each for each in drafts if _is_adjusted(each, customers)]
    if not concerned:
        return list(drafts)
    # Read.
    known = {each.id: each for each in unwritten}
    discount_ids = {key for each in concerned for key in _discount_ids(each, customers)}
    if missing := discount_ids - set(known):
        known |= discounts.load(conn, act.account_id, missing)
    coupon_ids = {each.coupon_id for each in known.values()}
    terms = coupons.load(conn, act.account_id, coupon_ids) if coupon_ids else {}
    tax_rate_ids = {key for each in concerned for key in _tax_rate_ids(each)}
    rates = tax_rates.load(conn, act.account_id, tax_rate_ids) if tax_rate_ids else {}

    # Decide.
    spoken_for: dict[str, str] = {}
    composed: dict[str, Invoice] = {}
    for draft in concerned:
        own = _applied(draft.discount_ids or (), draft, known, terms, spoken_for)
        customer = customers[draft.customer_id]
        if not own and draft.discount_ids != []:
            own = _inherited(draft, customer, known, terms, spoken_for)
        of_lines = {
            each.discount_id: each
            for each in _applied(_line_discount_ids(draft), draft, known, terms, spoken_for)
        }
        after = adjusted(
            replace(draft, discount_ids=_said(draft, own, customer)),
            discounts=own,
            line_discounts=of_lines,
            tax_rates=rates,
            reason=REASONS[customer.tax_exempt],
        )
        for discount_id in taking_off(after):
            if known[discount_id].duration == Duration.ONCE:
                spoken_for.setdefault(discount_id, draft.id)
        if after.lines == draft.lines:
            after = replace(after, lines=draft.lines)
        composed[draft.id] = draft if after == draft else after
    return [composed.get(each.id, each) for each in drafts]


def _is_adjusted(draft: Invoice, customers: Mapping[str, Customer]) -> bool:
    """Whether anything is, or was, taken off the draft or put on it."""
    return bool(
        draft.discount_ids
        or draft.tax_rate_ids
        or draft.total_discounts
        or draft.total_taxes
        or customers[draft.customer_id].discount
        or any(line.discount_ids or line.tax_rate_ids or line.discounts for line in draft.lines)
    )


def _discount_ids(draft: Invoice, customers: Mapping[str, Customer]) -> set[str]:
    found = {*(draft.discount_ids or ()), *_line_discount_ids(draft)}
    customers_own = customers[draft.customer_id].discount
    return found | {customers_own["id"]} if customers_own else found


def _line_discount_ids(draft: Invoice) -> list[str]:
    """Those that are of lines, each once, in the order of the lines."""
    return list(dict.fromkeys(key for line in draft.lines for key in line.discount_ids or ()))


def _tax_rate_ids(draft: Invoice) -> set[str]:
    return {
        *(draft.tax_rate_ids or ()),
        *(key for line in draft.lines for key in line.tax_rate_ids or ()),
    }


def _applied(
    ids: Sequence[str],
    draft: Invoice,
    known: Mapping[str, Discount],
    terms: Mapping[str, Coupon],
    spoken_for: Mapping[str, str],
) -> list[Applied]:
    """Those of the discounts that hold for the draft, in their order."""
    cycle = draft.billing_reason == BillingReason.SUBSCRIPTION_CYCLE
    found = []
    for discount_id in ids:
        discount = known.get(discount_id)
        if (
            discount is not None
            and spoken_for.get(discount_id, draft.id) == draft.id
            and terms[discount.coupon_id].takes_off_in(draft.currency)
            and holds(
                discount,
                invoice_ids=(draft.id, draft.from_invoice_id),
                billed_at=draft.period_end if cycle else draft.created_at,
                made_at=draft.created_at,
            )
        ):
            found.append(Applied(discount_id, terms[discount.coupon_id]))
    return found


def _inherited(
    draft: Invoice,
    customer: Customer,
    known: Mapping[str, Discount],
    terms: Mapping[str, Coupon],
    spoken_for: Mapping[str, str],
) -> list[Applied]:
    """The customer's discount, if it had it when the draft was made (Stripe)."""
    if not customer.discount:
        return []
    discount = known.get(customer.discount["id"])
    if discount is None or discount.start_at > draft.created_at:
        return []
    return _applied([discount.id], draft, known, terms, spoken_for)


def _said(draft: Invoice, own: Sequence[Applied], customer: Customer) -> list[str] | None:
    """The discounts that the draft names: none at all is said only where it must stay so."""
    if own:
        return [each.discount_id for each in own]
    return [] if draft.discount_ids == [] or customer.discount else None
