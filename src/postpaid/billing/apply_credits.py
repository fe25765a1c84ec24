"""Credit grants and the customer's balance → what of a draft is due; and back, when it is void."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from postpaid.billing.announce import Announcement, announce, customer_updated
from postpaid.billing.compose import compose
from postpaid.billing.move_balance import moved
from postpaid.billing.perform import Act
from postpaid.billing.post import post_credits
from postpaid.core.credits import (
    BalanceReason,
    BalanceTransaction,
    CreditGrant,
    GrantMovement,
    GrantTransaction,
    Use,
    balance_after,
    balance_moved,
    in_order_of_use,
    uses,
    with_balance,
    with_credits,
)
from postpaid.core.discounts import Discount
from postpaid.core.invoicing import Invoice
from postpaid.core.values import replace
from postpaid.storage import balance_transactions, credit_grants, customers
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


@dataclass(frozen=True, slots=True)
class Applied:
    """Drafts with what pays for them, and the movements that this takes; nothing is written.

    ``customers`` are those given, with the balances that they have then.
    """

    drafts: list[Invoice]
    customers: dict[str, Customer]
    grants: list[CreditGrant] = field(default_factory=list)
    grant_transactions: list[GrantTransaction] = field(default_factory=list)
    balance_transactions: list[BalanceTransaction] = field(default_factory=list)


def apply_credits(
    conn: Connection,
    act: Act,
    drafts: Sequence[Invoice],
    locked: Mapping[str, Customer],
    *,
    unwritten: Sequence[Discount] = (),
) -> Applied:
    """Let grants and then balances pay for the drafts, which are composed, in the order given.

    Reads one statement; ``write_applied`` does the rest for those that are finalized, and a preview
    does without. A draft keeps its object where nothing pays for it. ``unwritten`` is as for
    ``compose``.
    """
    # Read.
    billing_usage = {
        each.customer_id
        for each in drafts
        if (each.subscription_id or each.bills_usage) and any(line.meter_id for line in each.lines)
    }
    grants = credit_grants.unused(conn, act.account_id, billing_usage) if billing_usage else {}

    # Decide.
    left = {key: in_order_of_use(own) for key, own in grants.items()}
    paid: list[Invoice] = []
    used: dict[str, CreditGrant] = {}
    grant_transactions: list[GrantTransaction] = []
    for draft in drafts:
        own = left.get(draft.customer_id, [])
        found = uses(draft, own)
        if not found and not draft.total_credits:
            paid.append(draft)
            continue
        written = [_use(act, draft, use) for use in found]
        credits: dict[str, dict[str, int]] = {}
        for each in written:
            assert each.line_id is not None
            credits.setdefault(each.line_id, {})[each.id] = each.amount
        grant_transactions += written
        paid.append(with_credits(draft, credits))
        after = _spent(act, own, found)
        used |= {grant.id: grant for grant in after if grant.id in {use.grant_id for use in found}}
        left[draft.customer_id] = after
    taxed = [each for each in paid if each.total_taxes and each.total_credits]
    if taxed:  # credit comes before tax, which is less now
        again = {each.id: each for each in compose(conn, act, taxed, locked, unwritten=unwritten)}
        paid = [again.get(each.id, each) for each in paid]

    settled: list[Invoice] = []
    balances: list[BalanceTransaction] = []
    customer_by_id = dict(locked)
    for invoice in paid:
        customer = customer_by_id[invoice.customer_id]
        due = with_balance(
            invoice, customer.balance if invoice.currency == customer.currency else 0
        )
        settled.append(due)
        if amount := balance_after(due) - due.starting_balance:
            customer_by_id[customer.id], transaction = moved(
                act,
                customer,
                BalanceReason.APPLIED_TO_INVOICE,
                amount,
                currency=due.currency,
                invoice_id=due.id,
            )
            balances.append(transaction)
    return Applied(settled, customer_by_id, list(used.values()), grant_transactions, balances)


def write_applied(conn: Connection, act: Act, applied: Applied) -> list[Announcement]:
    """Write the movements and the grants; return what is to be said of it.

    The customers are the caller's to write, and what is said the caller's to announce.
    """
    credit_grants.update_many(conn, act.account_id, applied.grants)
    credit_grants.insert_transactions(conn, act.account_id, applied.grant_transactions)
    balance_transactions.insert_many(conn, act.account_id, applied.balance_transactions)
    return [movement_said(each) for each in applied.grant_transactions]


def give_back(conn: Connection, act: Act, voided: Sequence[Invoice]) -> None:
    """Undo what balances and grants did for invoices that are void now. The customers are locked.

    Credit that has expired in the meantime comes back only to expire (Stripe).
    """
    moving = [each for each in voided if balance_moved(each)]
    crediting = [each for each in voided if each.total_credits]
    if moving:
        _unapply_balances(conn, act, moving)
    if crediting:
        _reinstate(conn, act, crediting)


def _unapply_balances(conn: Connection, act: Act, voided: Sequence[Invoice]) -> None:
    # Read.
    before = customers.load(conn, act.account_id, {each.customer_id for each in voided})
    customer_by_id = dict(before)

    # Decide.
    transactions: list[BalanceTransaction] = []
    for each in voided:
        customer_by_id[each.customer_id], transaction = moved(
            act,
            customer_by_id[each.customer_id],
            BalanceReason.UNAPPLIED_FROM_INVOICE,
            -balance_moved(each),
            currency=each.currency,
            invoice_id=each.id,
        )
        transactions.append(transaction)

    # Write.
    customers.update_invoicing(conn, act.account_id, list(customer_by_id.values()))
    balance_transactions.insert_many(conn, act.account_id, transactions)
    announce(conn, act, [customer_updated(before[key], customer_by_id[key]) for key in before])


def _reinstate(conn: Connection, act: Act, voided: Sequence[Invoice]) -> None:
    # Read.
    ids = [key for each in voided for key in each.total_credits or ()]
    applied = credit_grants.load_transactions(conn, act.account_id, ids)
    grants = credit_grants.load(conn, act.account_id, {each.grant_id for each in applied.values()})

    # Decide.
    transactions: list[GrantTransaction] = []
    for each in applied.values():
        grant = grants[each.grant_id]
        back = replace(
            each,
            id=act.new_id("cbtxn"),
            movement=GrantMovement.REINSTATED,
            effective_at=act.now,
            created_at=act.now,
        )
        transactions.append(back)
        grants[grant.id] = replace(grant, balance=grant.balance + each.amount, updated_at=act.now)
    for grant in grants.values():
        gone = GrantMovement.VOIDED if grant.voided_at else GrantMovement.EXPIRED
        if grant.voided_at or grant.expired_at:
            emptied, movement = taken(act, grant, gone)
            grants[grant.id] = emptied
            transactions.append(movement)

    # Write.
    credit_grants.update_many(conn, act.account_id, list(grants.values()))
    credit_grants.insert_transactions(conn, act.account_id, transactions)
    post_credits(conn, act, transactions, grants.values())
    announce(conn, act, [movement_said(each) for each in transactions])


def taken(
    act: Act, grant: CreditGrant, movement: GrantMovement
) -> tuple[CreditGrant, GrantTransaction]:
    """The grant with nothing left, and the movement that took it. Nothing is written."""
    transaction = grant_movement(act, grant, movement, grant.balance, effective_at=act.now)
    return replace(grant, balance=0, updated_at=act.now), transaction


def grant_movement(
    act: Act, grant: CreditGrant, movement: GrantMovement, amount: int, *, effective_at: datetime
) -> GrantTransaction:
    """A movement of the grant's credit by no invoice. Nothing is written."""
    return GrantTransaction(
        id=act.new_id("cbtxn"),
        grant_id=grant.id,
        customer_id=grant.customer_id,
        clock_id=grant.clock_id,
        movement=movement,
        amount=amount,
        currency=grant.currency,
        invoice_id=None,
        line_id=None,
        effective_at=effective_at,
        created_at=act.now,
    )


def movement_said(transaction: GrantTransaction) -> Announcement:
    """What the world is told of a movement."""
    return Announcement(
        "billing.credit_balance_transaction.created",
        "credit_transaction",
        transaction.id,
        transaction,
    )


def _use(act: Act, draft: Invoice, use: Use) -> GrantTransaction:
    return GrantTransaction(
        id=act.new_id("cbtxn"),
        grant_id=use.grant_id,
        customer_id=draft.customer_id,
        clock_id=draft.clock_id,
        movement=GrantMovement.APPLIED,
        amount=use.amount,
        currency=draft.currency,
        invoice_id=draft.id,
        line_id=use.line_id,
        effective_at=act.now,
        created_at=act.now,
    )


def _spent(act: Act, grants: Sequence[CreditGrant], found: Sequence[Use]) -> list[CreditGrant]:
    amounts: dict[str, int] = {}
    for use in found:
        amounts[use.grant_id] = amounts.get(use.grant_id, 0) + use.amount
    return [
        replace(grant, balance=grant.balance - amounts[grant.id], updated_at=act.now)
        if grant.id in amounts
        else grant
        for grant in grants
    ]
