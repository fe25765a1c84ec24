"""What happened to money → the ledger, in the transaction in which it happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from postpaid.billing.perform import Act
from postpaid.core import ledger as rules
from postpaid.core.credits import BalanceTransaction, CreditGrant, GrantTransaction
from postpaid.core.invoicing import Invoice
from postpaid.core.ledger import Transaction
from postpaid.storage import ledger
from postpaid.storage.database import Connection


def post(conn: Connection, act: Act, transactions: Iterable[Transaction]) -> None:
    """Write the transactions at the act's time; two statements for a list.

    One that moved nothing (an invoice of nothing) is left out.
    """
    moving = [(act.new_id("lt"), each) for each in transactions if each.entries]
    ledger.insert_many(conn, act.account_id, moving, now=act.now)


def post_finalized(conn: Connection, act: Act, final: Iterable[Invoice]) -> None:
    """That these invoices, with their lines, are final."""
    post(conn, act, [rules.invoice_finalized(each) for each in final])


def post_voided(conn: Connection, act: Act, void: Sequence[Invoice]) -> dict[str, int]:
    """That these invoices are void: what was posted of them is taken back. Four statements.

    Returns by their ids what was paid of them, which is their customers' credit now.
    """
    if not void:
        return {}
    found = ledger.of_invoices(conn, act.account_id, [each.id for each in void])
    posted = {each.id: [was.transaction for was in found[each.id]] for each in void}
    post(conn, act, [rules.invoice_voided(each, posted[each.id]) for each in void])
    return {each.id: rules.kept(posted[each.id]) for each in void}


def post_uncollectible(conn: Connection, act: Act, before: Iterable[Invoice]) -> None:
    """That what remains of these invoices, as they were ``before``, is written off."""
    post(conn, act, [rules.invoice_uncollectible(each) for each in before])


def post_credit_note_voided(conn: Connection, act: Act, invoice: Invoice, note_id: str) -> None:
    """That a credit note of the invoice is void: what it posted is taken back."""
    posted = ledger.of_invoices(conn, act.account_id, [invoice.id])[invoice.id]
    post(
        conn,
        act,
        [
            rules.credit_note_voided(invoice, note_id, found.transaction)
            for found in posted
            if (found.kind, found.source_id) == (rules.LedgerKind.CREDIT_NOTE, note_id)
        ],
    )


def post_balances(conn: Connection, act: Act, moved: Iterable[BalanceTransaction]) -> None:
    """What was done to customers' balances by hand; the rest is posted with what did it."""
    by_hand = [each for each in moved if each.reason in rules.BY_HAND]
    post(conn, act, [rules.balance_adjusted(each) for each in by_hand])


def post_credits(
    conn: Connection,
    act: Act,
    moved: Iterable[GrantTransaction],
    grants: Iterable[CreditGrant],
) -> None:
    """What was granted, expired or was voided of the ``grants``, with what moved of them."""
    category_of = {grant.id: grant.category for grant in grants}
    ours = [each for each in moved if each.movement in rules.GRANTING]
    post(conn, act, [rules.credit_moved(each, category_of[each.grant_id]) for each in ours])
