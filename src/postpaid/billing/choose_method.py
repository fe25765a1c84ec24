"""Which payment method is charged, and whether one may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from postpaid.billing.check_blocked import check_method_not_blocked
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest, NotFound, Path
from postpaid.core.invoicing import Invoice
from postpaid.storage import payment_methods, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod


def check_payment_method(
    conn: Connection,
    act: Act,
    customer_id: str,
    payment_method_id: str,
    *,
    param: Path | str = "default_payment_method",
) -> PaymentMethod:
    """The payment method. Raises when it is absent, blocked or not attached to the customer."""
    return check_payment_methods(conn, act, [(customer_id, payment_method_id)], param=param)[0]


def check_payment_methods(
    conn: Connection,
    act: Act,
    asked: Sequence[tuple[str, str]],
    *,
    param: Path | str = "default_payment_method",
) -> list[PaymentMethod]:
    """The payment methods of customers, pairs of their ids; one statement, and none for none.

    Raises ``NotFound``, ``InvalidRequest`` for one that is not attached to the customer, and
    ``ActionNotAllowed`` for one that is blocked.
    """
    if not asked:
        return []
    found = payment_methods.load(conn, act.account_id, {method_id for _, method_id in asked})
    for customer_id, method_id in asked:
        if method_id not in found:
            raise NotFound.of("PaymentMethod", method_id, param=param)
        if found[method_id].customer_id != customer_id:
            raise InvalidRequest(
                f"The customer does not have a payment method with the ID {method_id}. "
                "The payment method must be attached to the customer.",
                param=param,
            )
        check_method_not_blocked(found[method_id], param=param)
    return [found[method_id] for _, method_id in asked]


def payment_methods_for(
    conn: Connection, act: Act, due: Sequence[Invoice], locked: Mapping[str, Customer]
) -> dict[str, PaymentMethod]:
    """What each invoice is to be paid with, where there is something.

    Its own, its subscription's or its customer's payment method: the first that is still the
    customer's and not blocked, for such a one is never charged.
    """
    subscription_ids = [invoice.subscription_id for invoice in due if invoice.subscription_id]
    of_subscription = subscriptions.default_payment_methods(conn, act.account_id, subscription_ids)
    named = {
        invoice.id: (
            invoice.default_payment_method_id,
            of_subscription.get(invoice.subscription_id or ""),
            locked[invoice.customer_id].default_payment_method_id,
        )
        for invoice in due
    }
    ids = {key for keys in named.values() for key in keys if key}
    method_by_id = payment_methods.load(conn, act.account_id, ids)
    chosen = {}
    for invoice in due:
        for key in named[invoice.id]:
            method = method_by_id.get(key or "")
            if method is not None and is_usable(method, invoice.customer_id):
                chosen[invoice.id] = method
                break
    return chosen


def is_usable(method: PaymentMethod, customer_id: str) -> bool:
    """Whether the customer may be charged with it."""
    return method.customer_id == customer_id and method.blocked_at is None
