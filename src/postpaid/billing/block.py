"""Block customers and payment methods, and let them go again."""

from __future__ import annotations

from postpaid.billing.announce import announce, customer_updated
from postpaid.billing.lock_customer import lock_customer
from postpaid.billing.manage_payment_methods import lock_with_owner, payment_method_updated
from postpaid.billing.perform import Act
from postpaid.core.values import replace
from postpaid.storage import customers, payment_methods
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod


def block_customer(conn: Connection, act: Act, customer_id: str, *, blocked: bool) -> Customer:
    """Sell the customer nothing more (see ``check_blocked``), or do so again; safe to repeat.

    Raises ``NotFound``.
    """
    before = lock_customer(conn, act, customer_id, param="id")
    if (before.blocked_at is not None) == blocked:
        return before
    act = act.at(before.now(act.now), before.clock_id)
    after = replace(before, blocked_at=act.now if blocked else None)
    customers.update(conn, act.account_id, after)
    announce(conn, act, [customer_updated(before, after)])
    return after


def block_payment_method(
    conn: Connection, act: Act, method_id: str, *, blocked: bool
) -> PaymentMethod:
    """Charge the payment method never more, or let it be charged again; safe to repeat.

    Whoever charges a customer holds its lock and asks then, so nothing is begun once this is
    written. Raises ``NotFound``.
    """
    before, customer = lock_with_owner(conn, act, method_id)
    if (before.blocked_at is not None) == blocked:
        return before
    if customer is not None:
        act = act.at(customer.now(act.now), customer.clock_id)
    after = replace(before, blocked_at=act.now if blocked else None)
    payment_methods.update(conn, act.account_id, after)
    announce(conn, act, [payment_method_updated(before, after)])
    return after
