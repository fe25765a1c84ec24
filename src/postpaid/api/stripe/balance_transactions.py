"""Movements of customers' balances as Stripe shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from postpaid.api.instants import seconds
from postpaid.api.params import (
    Amount,
    Currency,
    Id,
    Metadata,
    Params,
    Text,
    TimeRange,
    Unsettable,
    merge_metadata,
)
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import move_balance
from postpaid.billing.perform import Act
from postpaid.core.credits import BalanceTransaction
from postpaid.core.errors import NotFound
from postpaid.core.values import replace
from postpaid.storage import balance_transactions, customers
from postpaid.storage.database import Connection

routes = Routes("Customer balance")


class TransactionUpdate(Params):
    description: Unsettable[Annotated[str, Text(350)]] = None
    metadata: Metadata = None


class TransactionCreate(TransactionUpdate):
    amount: Amount
    currency: Currency


class TransactionList(ListParams):
    created: TimeRange | None = None
    invoice: Id | None = None


@routes.post(
    "/v1/customers/{customer}/balance_transactions", returns="customer_balance_transaction"
)
def create(call: Call, params: TransactionCreate, customer: str) -> dict[str, Any]:
    """Adjust a customer's balance: a negative amount is credit, a positive one a debt."""

    def write(conn: Connection) -> dict[str, Any]:
        transaction = move_balance.adjust_balance(
            conn,
            call.act,
            customer,
            amount=params.amount,
            currency=params.currency,
            description=params.description,
            metadata=merge_metadata({}, params.metadata),
        )
        return to_stripe(transaction, livemode=call.act.livemode)

    return call.write(write)


@routes.get(
    "/v1/customers/{customer}/balance_transactions",
    returns="customer_balance_transaction",
    many=True,
)
def list_(call: Call, params: TransactionList, customer: str) -> dict[str, Any]:
    """List the movements of a customer's balance, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def read(conn: Connection) -> dict[str, Any]:
        if customers.find(conn, call.act.account_id, customer) is None:
            raise NotFound.of("customer", customer, param="customer")
        return listing(
            f"/v1/customers/{customer}/balance_transactions",
            balance_transactions.list_page(
                conn,
                call.act.account_id,
                params.page,
                customer_id=customer,
                invoice_id=params.invoice,
                created_from=created_from,
                created_before=created_before,
            ),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )

    return call.read(read)


@routes.get(
    "/v1/customers/{customer}/balance_transactions/{transaction}",
    returns="customer_balance_transaction",
)
def retrieve(call: Call, customer: str, transaction: str) -> dict[str, Any]:
    """Retrieve a movement of a customer's balance."""
    return call.read(
        lambda conn: to_stripe(
            move_balance.find_transaction(conn, call.act, customer, transaction),
            livemode=call.act.livemode,
        )
    )


@routes.post(
    "/v1/customers/{customer}/balance_transactions/{transaction}",
    returns="customer_balance_transaction",
)
def update(
    call: Call, params: TransactionUpdate, customer: str, transaction: str
) -> dict[str, Any]:
    """Update what is said of a movement; the movement itself never changes."""
    given = params.given()

    def change(before: BalanceTransaction) -> BalanceTransaction:
        after = before
        if "description" in given:
            after = replace(after, description=params.description)
        if "metadata" in given:
            after = replace(after, metadata=merge_metadata(before.metadata, params.metadata))
        return after

    return call.write(
        lambda conn: to_stripe(
            move_balance.describe_transaction(conn, call.act, customer, transaction, change),
            livemode=call.act.livemode,
        )
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(transaction: BalanceTransaction, *, livemode: bool) -> dict[str, Any]:
    """A movement of a customer's balance."""
    return {
        "id": transaction.id,
        "object": "customer_balance_transaction",
        "amount": transaction.amount,
        "checkout_session": None,
        "created": seconds(transaction.created_at),
        "credit_note": transaction.credit_note_id,
        "currency": transaction.currency,
        "customer": transaction.customer_id,
        "customer_account": None,
        "description": transaction.description,
        "ending_balance": transaction.ending_balance,
        "invoice": transaction.invoice_id,
        "livemode": livemode,
        "metadata": transaction.metadata,
        "type": transaction.reason,
    }


@loader("customer_balance_transaction")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = balance_transactions.load(conn, act.account_id, ids)
    return {key: to_stripe(each, livemode=act.livemode) for key, each in found.items()}


expandable("customer_balance_transaction", "customer", load="customer")
expandable("customer_balance_transaction", "credit_note", load="credit_note")
expandable("customer_balance_transaction", "invoice", load="invoice")
