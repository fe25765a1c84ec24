"""An invoice was not paid: when it is tried again, or that it is given up.

Stripe's rules: the first invoice of an incomplete subscription is not tried again, it has 23 hours;
without a payment method nothing can be tried, and no time is shown. The moments of a schedule pass
all the same, so that a payment method that comes later is tried at the next of them, and so that
an invoice nobody ever could pay is given up like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from postpaid.billing.perform import Act
from postpaid.core.collection import OF_BILLED_USAGE, RetrySchedule, chosen, next_attempt
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.periods import zone_called
from postpaid.core.subscriptions import CollectionMethod, SubscriptionStatus
from postpaid.core.values import replace
from postpaid.storage import customers, invoice_numbers, retries, retry_schedules
from postpaid.storage.database import Connection
from postpaid.storage.retries import Retry, Standing


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for an invoice: the schedule, in which calendar, and its subscription if any."""

    schedule: RetrySchedule
    zone: tzinfo
    standing: Standing | None


def schedule_retries(
    conn: Connection, act: Act, missed: Sequence[Invoice], *, shown: bool = True
) -> list[Invoice]:
    """Give each invoice that we tried in vain its next moment, or the end; return them with it.

    The customers are locked; the invoices themselves are the caller's to write. One that has a
    moment keeps it. Not ``shown``: for want of a payment method nobody is told of a moment.
    """
    due = [each for each in missed if _is_retried(each)]
    if not due:
        return list(missed)
    # Read.
    known = retries.load(conn, act.account_id, [each.id for each in due])
    terms = terms_of(conn, act, due)

    # Decide.
    after: dict[str, Invoice] = {}
    moved: list[Retry] = []
    for invoice in due:
        before, holding = known[invoice.id], terms[invoice.id]
        if before.retry_at or before.gives_up_at or _has_its_own_time(invoice, holding):
            continue
        retry = tried_once_more(act, before, holding)
        moved.append(retry)
        after[invoice.id] = replace(invoice, next_attempt_at=retry.retry_at if shown else None)

    # Write.
    retries.update_many(conn, act.account_id, moved)
    return [after.get(each.id, each) for each in missed]


def switch_collection(conn: Connection, act: Act, before: Invoice, after: Invoice) -> Invoice:
    """The final invoice whose automatic collection a person may have switched off, or on.

    It is not tried again from then on; or it is, at the next moment of its schedule, counted from
    now. The customer is locked; no statement where nothing is switched.
    """
    if _is_retried(before) == _is_retried(after) or after.status != InvoiceStatus.OPEN:
        return after
    stopped = [
        replace(each, retry_at=None, gives_up_at=None)
        for each in retries.load(conn, act.account_id, [after.id]).values()
    ]
    retries.update_many(conn, act.account_id, stopped)
    [after] = schedule_retries(conn, act, [replace(after, next_attempt_at=None)])
    return after


def tried_once_more(act: Act, before: Retry, terms: Terms) -> Retry:
    """The retry after its moment passed, now, and the invoice was not paid."""
    tries = before.retry_tries + 1
    again_at = next_attempt(terms.schedule, tries, act.now, terms.zone)
    return replace(
        before,
        retry_at=again_at,
        retry_tries=tries,
        tried_at=act.now,
        gives_up_at=act.now if again_at is None else None,
    )


def terms_of(conn: Connection, act: Act, due: Sequence[Invoice]) -> dict[str, Terms]:
    """What holds for the retries of each invoice, by its id. A constant number of statements."""
    account_id = act.account_id
    every = retry_schedules.list_all(conn, account_id)
    settings = invoice_numbers.load_settings(conn, account_id)
    owners = customers.load(conn, account_id, {each.customer_id for each in due})
    subscription_ids = {each.subscription_id for each in due if each.subscription_id}
    found: Mapping[str, Standing] = (
        retries.standings(conn, account_id, subscription_ids) if subscription_ids else {}
    )
    terms = {}
    for each in due:
        owner, standing = owners[each.customer_id], found.get(each.subscription_id or "")
        if each.bills_usage:  # Frame: in the nights of the merchant, not of the customer
            terms[each.id] = Terms(OF_BILLED_USAGE, zone_called(settings.time_zone), standing)
            continue
        own = standing.retry_schedule_id if standing else None
        schedule = chosen(own, owner.metadata, settings.retry_schedule_id, every)
        zone = zone_called(owner.time_zone or settings.time_zone)
        terms[each.id] = Terms(schedule, zone, standing)
    return terms


def _is_retried(invoice: Invoice) -> bool:
    return (
        invoice.status == InvoiceStatus.OPEN
        and invoice.auto_advance
        and invoice.collection_method == CollectionMethod.CHARGE_AUTOMATICALLY
    )


def _has_its_own_time(invoice: Invoice, terms: Terms) -> bool:
    """Whether something waits for its payment that is dropped if it does not come within a day."""
    standing = terms.standing
    return standing is not None and (
        standing.status == SubscriptionStatus.INCOMPLETE or standing.waits_for == invoice.id
    )
