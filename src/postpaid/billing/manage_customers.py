"""Create, change and delete customers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from postpaid.billing.announce import Announcement, announce, changes, subscription_updated
from postpaid.billing.cancel import cancel_all
from postpaid.billing.choose_method import check_payment_method
from postpaid.billing.lock_customer import lock_customer
from postpaid.billing.manage_payment_methods import attach, detach_all, take
from postpaid.billing.move_balance import moved
from postpaid.billing.perform import Act
from postpaid.billing.post import post_balances
from postpaid.billing.stop_billing import stop_billing
from postpaid.core.credits import BalanceReason, BalanceTransaction
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.storage import accounts, balance_transactions, customers, subscriptions, test_clocks
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

CURRENCY = "usd"  # of a balance that is set before anything was sold
PREFIX_LENGTH = 10  # of a prefix we choose; long, because each customer's is unlike any other


def create_customer(
    conn: Connection,
    act: Act,
    fields: Mapping[str, Any],
    *,
    payment_method_id: str | None = None,
) -> Customer:
    """Add a customer with the given ``fields``, by the names that a ``Customer`` has for them.

    The payment method, and the default one, become the customer's; either may be the id of a test
    card, and both the same. Raises ``NotFound`` for a test clock or payment method that is not
    there, and ``AlreadyExists`` when the invoice prefix is taken.
    """
    # Read.
    clock = None
    if clock_id := fields.get("clock_id"):
        clock = test_clocks.lock(conn, act.account_id, clock_id)
        if clock is None or clock.deleted_at:
            raise NotFound.of("test clock", clock_id, param="test_clock")
        act = act.at(clock.frozen_at, clock.id)
    default_id = fields.get("default_payment_method_id")
    asked = {
        default_id: ("invoice_settings", "default_payment_method"),
        payment_method_id: ("payment_method",),
    }
    methods = {key: take(conn, act, key, param=at) for key, at in asked.items() if key}

    # Decide.
    customer_id = act.new_id("cus")
    customer = Customer(
        **{
            "id": customer_id,
            "invoice_prefix": _prefix(customer_id),
            "first_invoice_sequence": fields.get("next_invoice_sequence", 1),
            "created_at": act.now,
            "clock_at": clock and clock.frozen_at,
            **fields,
            "default_payment_method_id": default_id and methods[default_id].id,
        }
    )
    if "invoice_prefix" in fields:
        _check_prefix(conn, act, customer)
    customer, initial = _with_balance(act, customer, 0, BalanceReason.INITIAL)

    # Write.
    customers.insert(conn, act.account_id, customer)
    if initial:
        balance_transactions.insert_many(conn, act.account_id, [initial])
        post_balances(conn, act, [initial])
    announce(conn, act, [Announcement("customer.created", "customer", customer.id, customer)])
    for method in methods.values():
        attach(conn, act, method, customer)
    return customer


def update_customer(
    conn: Connection, act: Act, customer_id: str, change: Callable[[Customer], Customer]
) -> Customer:
    """Make the customer what ``change`` makes of it, once it is locked.

    Raises ``NotFound`` for a customer or payment method that is not there, and ``InvalidRequest``
    for a payment method of someone else or a number that an invoice has already.
    """
    # Read.
    before = lock_customer(conn, act, customer_id, param="id")
    act = act.at(before.now(act.now), before.clock_id)

    # Decide.
    after = change(before)
    if after == before:
        return before
    method_id = after.default_payment_method_id
    if method_id and method_id != before.default_payment_method_id:
        param = ("invoice_settings", "default_payment_method")
        check_payment_method(conn, act, customer_id, method_id, param=param)
    if after.invoice_prefix != before.invoice_prefix:
        _check_prefix(conn, act, after)
    after = _renumbered(before, after)
    after, adjusted = _with_balance(act, after, before.balance, BalanceReason.ADJUSTMENT)

    # Write.
    customers.update(conn, act.account_id, after)
    if after.time_zone != before.time_zone:
        _move(conn, act, after)
    if adjusted:
        balance_transactions.insert_many(conn, act.account_id, [adjusted])
        post_balances(conn, act, [adjusted])
    said = Announcement("customer.updated", "customer", after.id, after, changes(before, after))
    announce(conn, act, [said])
    return after


def delete_customer(conn: Connection, act: Act, customer_id: str) -> Customer:
    """Delete a customer and end its subscriptions; its invoices stay. Raises ``NotFound``."""
    customer = lock_customer(conn, act, customer_id, param="id")
    act = act.at(customer.now(act.now), customer.clock_id)
    return delete_customers(conn, act, [customer])[0]


def delete_customers(conn: Connection, act: Act, locked: Sequence[Customer]) -> list[Customer]:
    """Delete customers, whom the caller has locked and who share the act's clock.

    Their subscriptions end, and their payment methods become nobody's: no one who is deleted is
    ever charged.
    """
    ids = [customer.id for customer in locked]
    cancel_all(conn, act, ids)
    stop_billing(conn, act, ids)
    detach_all(conn, act, ids)
    customers.mark_deleted(conn, act.account_id, ids, now=act.now)
    deleted = [replace(customer, deleted_at=act.now) for customer in locked]
    announce(
        conn,
        act,
        [Announcement("customer.deleted", "customer", each.id, each) for each in deleted],
    )
    return deleted


def _with_balance(
    act: Act, customer: Customer, before: int, reason: BalanceReason
) -> tuple[Customer, BalanceTransaction | None]:
    """The customer whose balance was set, from ``before``, and the movement that set it."""
    if customer.balance == before:
        return customer, None
    return moved(
        act,
        replace(customer, balance=before),
        reason,
        customer.balance - before,
        currency=customer.currency or CURRENCY,
    )


def _move(conn: Connection, act: Act, customer: Customer) -> None:
    """The customer's subscriptions count by another calendar, from their next period on."""
    zone = customer.time_zone or accounts.time_zone(conn, act.account_id)
    running = subscriptions.running_of_customers(conn, act.account_id, [customer.id])
    moved = [(each, replace(each, zone=zone)) for each in running.values() if each.zone != zone]
    subscriptions.update_many(conn, act.account_id, [after for _, after in moved])
    announce(conn, act, [subscription_updated(before, after) for before, after in moved])


def _prefix(customer_id: str) -> str:
    """An invoice prefix from the random end of the customer's id."""
    letters = [letter for letter in customer_id if letter.isalnum()]
    return "".join(letters[-PREFIX_LENGTH:]).upper()


def _check_prefix(conn: Connection, act: Act, customer: Customer) -> None:
    """No two invoices have one number, so a prefix that another customer had stays its own."""
    if customers.prefix_was_used(
        conn, act.account_id, customer.invoice_prefix, other_than=customer.id
    ):
        raise InvalidRequest(
            f"The invoice prefix '{customer.invoice_prefix}' is on another customer's invoices, or "
            "the account's.",
            param="invoice_prefix",
        )


def _renumbered(before: Customer, after: Customer) -> Customer:
    """The customer with its sequence moved as asked; numbers given out are never given again."""
    skipped = after.next_invoice_sequence - before.next_invoice_sequence
    has_invoices = before.next_invoice_sequence > before.first_invoice_sequence
    if skipped < 0 and has_invoices:
        raise InvalidRequest(
            f"next_invoice_sequence must be at least {before.next_invoice_sequence}: the numbers "
            "before it are on invoices.",
            param="next_invoice_sequence",
        )
    return replace(after, first_invoice_sequence=before.first_invoice_sequence + skipped)
