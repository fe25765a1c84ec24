"""Money that came and is not owed, any more or at all: the customer has credit for it.

A payment may succeed after its invoice was paid otherwise, voided, or lowered by a credit note.
"""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.announce import announce, customer_updated
from postpaid.billing.move_balance import moved
from postpaid.billing.perform import Act
from postpaid.billing.post import post
from postpaid.core.credits import BalanceReason
from postpaid.core.ledger import Transaction, excess_payment
from postpaid.storage import balance_transactions, customers
from postpaid.storage.database import Connection
from postpaid.storage.payments import PaymentAttempt


def keep_excess(conn: Connection, act: Act, excess: Sequence[tuple[PaymentAttempt, int]]) -> None:
    """Credit these customers, who are locked, with so many minor units of each attempt."""
    if not excess:
        return
    # Read.
    ids = {each.customer_id for each, _ in excess if each.customer_id}
    before = customers.lock(conn, act.account_id, ids)

    # Decide.
    after = dict(before)
    movements = []
    transactions: list[Transaction] = []
    for attempt, amount in excess:
        assert attempt.customer_id is not None, "an invoice has a customer"
        after[attempt.customer_id], movement = moved(
            act,
            after[attempt.customer_id],
            BalanceReason.INVOICE_OVERPAID,
            -amount,
            currency=attempt.currency,
            invoice_id=attempt.invoice_id,
        )
        movements.append(movement)
        transactions.append(excess_payment(movement, source_id=attempt.id))

    # Write.
    customers.update_invoicing(conn, act.account_id, list(after.values()))
    balance_transactions.insert_many(conn, act.account_id, movements)
    post(conn, act, transactions)
    announce(conn, act, [customer_updated(before[key], after[key]) for key in sorted(after)])
