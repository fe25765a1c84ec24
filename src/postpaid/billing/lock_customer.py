"""The customer as it is once it is locked: what most acts on one begin with."""

from __future__ import annotations

from postpaid.billing.perform import Act
from postpaid.core.errors import NotFound
from postpaid.storage import customers
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


def lock_customer(
    conn: Connection, act: Act, customer_id: str, *, param: str = "customer"
) -> Customer:
    """The customer, which is ours until the transaction ends.

    Raises ``NotFound``, with the ``param`` that named it, also for one that is deleted.
    """
    customer = customers.lock(conn, act.account_id, [customer_id]).get(customer_id)
    if customer is None or customer.deleted_at:
        raise NotFound.of("customer", customer_id, param=param)
    return customer
