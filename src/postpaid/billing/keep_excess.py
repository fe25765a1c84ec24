"""Money that came and is not owed, any more or at all: the customer has credit for it.

A payment may succeed after its invoice was paid otherwise, voided, or lowered by a credit note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from postpaid.billing.announce import announce, customer_updated
from postpaid.billing.move_balance import moved
from postpaid.billing.perform import Act
from postpaid.billing.post import post
from postpaid.core.credits import BalanceReason
from postpaid.core.invoicing import Invoice
from postpaid.core.ledger import Transaction, excess_payment
from postpaid.storage import balance_transactions, customers
from postpaid.storage.database import Connection


@dataclass(frozen=True, slots=True)
class Excess:
    """``amount`` minor units of a payment that nobody owed.

    ``source_id`` names the payment in the ledger, where it may have been for no invoice before
    (``was_unapplied``); what the void of its invoice posts already is not posted again.
    """

    source_id: str
    customer_id: str
    invoice_id: str
    currency: str
    amount: int
    was_unapplied: bool = False
    is_posted: bool = False

    @classmethod
    def of(
        cls,
        invoice: Invoice,
        amount: int,
        *,
        source_id: str,
        was_unapplied: bool = False,
        is_posted: bool = False,
    ) -> Excess:
        """What came for the invoice and is not owed."""
        customer_id, currency = invoice.customer_id, invoice.currency
        return cls(source_id, customer_id, invoice.id, currency, amount, was_unapplied, is_posted)


def keep_excess(conn: Connection, act: Act, excess: Sequence[Excess]) -> None:
    """Credit the customers, who are locked, with what was paid too much."""
    if not excess:
        return
    # Read.
    before = customers.lock(conn, act.account_id, {each.customer_id for each in excess})

    # Decide.
    after = dict(before)
    movements = []
    transactions: list[Transaction] = []
    for each in excess:
        after[each.customer_id], movement = moved(
            act,
            after[each.customer_id],
            BalanceReason.INVOICE_OVERPAID,
            -each.amount,
            currency=each.currency,
            invoice_id=each.invoice_id,
        )
        movements.append(movement)
        if not each.is_posted:
            transactions.append(
                excess_payment(movement, source_id=each.source_id, was_unapplied=each.was_unapplied)
            )

    # Write.
    customers.update_invoicing(conn, act.account_id, list(after.values()))
    balance_transactions.insert_many(conn, act.account_id, movements)
    post(conn, act, transactions)
    announce(conn, act, [customer_updated(before[key], after[key]) for key in sorted(after)])
