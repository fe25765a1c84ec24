"""Move customers' balances: by hand, and on behalf of what else happens to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.lock_customer import lock_customer
from postpaid.billing.perform import Act
from postpaid.billing.post import post_balances
from postpaid.core.credits import BalanceReason, BalanceTransaction
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.money import MAX_SUM
from postpaid.core.values import replace
from postpaid.storage import balance_transactions, customers
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

BALANCE_MAX = 10**14  # minor units, either way; far, and no overflow after it


def moved(
    act: Act,
    customer: Customer,
    reason: BalanceReason,
    amount: int,
    *,
    currency: str,
    invoice_id: str | None = None,
    credit_note_id: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> tuple[Customer, BalanceTransaction]:
    """The locked customer with ``amount`` minor units added to its balance, and the movement.

    Nothing is written. A customer without a currency gets this one (Stripe). Raises
    ``InvalidRequest`` for a balance above ``MAX_SUM``.
    """
    if abs(customer.balance + amount) > MAX_SUM:
        raise InvalidRequest(f"The balance of the customer {customer.id} would be too large.")
    after = replace(
        customer, balance=customer.balance + amount, currency=customer.currency or currency
    )
    return after, BalanceTransaction(
        id=act.new_id("cbtxn"),
        customer_id=customer.id,
        clock_id=customer.clock_id,
        reason=reason,
        amount=amount,
        ending_balance=after.balance,
        currency=currency,
        invoice_id=invoice_id,
        credit_note_id=credit_note_id,
        description=description,
        metadata=metadata or {},
        created_at=act.now,
    )


def adjust_balance(
    conn: Connection,
    act: Act,
    customer_id: str,
    *,
    amount: int,
    currency: str,
    description: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> BalanceTransaction:
    """Add ``amount`` minor units to what the customer owes us, or with a minus to its credit.

    Raises ``NotFound``, and ``InvalidRequest`` for a currency that is not the customer's.
    """
    before = lock_customer(conn, act, customer_id)
    act = act.at(before.now(act.now), before.clock_id)
    if before.currency not in (None, currency):
        raise InvalidRequest(
            f"The currency of the customer {customer_id} is {before.currency}, and so is that of "
            "its balance.",
            param="currency",
        )
    after, transaction = moved(
        act,
        before,
        BalanceReason.ADJUSTMENT,
        amount,
        currency=currency,
        description=description,
        metadata=metadata,
    )
    if abs(after.balance) > BALANCE_MAX:
        raise InvalidRequest("The balance would be too large.", param="amount")
    customers.update_invoicing(conn, act.account_id, [after])
    balance_transactions.insert_many(conn, act.account_id, [transaction])
    post_balances(conn, act, [transaction])
    said = Announcement("customer.updated", "customer", after.id, after, changes(before, after))
    announce(conn, act, [said])
    return transaction


def describe_transaction(
    conn: Connection,
    act: Act,
    customer_id: str,
    transaction_id: str,
    change: Callable[[BalanceTransaction], BalanceTransaction],
) -> BalanceTransaction:
    """Make what is said of the movement what ``change`` makes of it. Raises ``NotFound``."""
    lock_customer(conn, act, customer_id)
    after = change(find_transaction(conn, act, customer_id, transaction_id))
    balance_transactions.update(conn, act.account_id, after)
    return after


def find_transaction(
    conn: Connection, act: Act, customer_id: str, transaction_id: str
) -> BalanceTransaction:
    """The movement of this customer's balance. Raises ``NotFound``."""
    found = balance_transactions.load(conn, act.account_id, [transaction_id]).get(transaction_id)
    if found is None or found.customer_id != customer_id:
        raise NotFound.of("customer balance transaction", transaction_id, param="transaction")
    return found
