"""Who is blocked is sold nothing more, and what is blocked is never charged.

What runs already goes on: a blocked customer's subscriptions renew, its schedules begin and its
invoices are collected, until somebody ends them. What was asked of a gateway before is recorded.
"""

from __future__ import annotations

from postpaid.core.errors import ActionNotAllowed, Path
from postpaid.storage.customers import Customer
from postpaid.storage.payment_methods import PaymentMethod


def check_customer_not_blocked(customer: Customer, *, param: Path | str = "customer") -> None:
    """Raises ``ActionNotAllowed`` where the customer, who is locked, is to be sold something."""
    if customer.blocked_at is not None:
        raise ActionNotAllowed(
            f"The customer {customer.id} is blocked, and is sold nothing more. Unblock it first.",
            param=param,
            code="customer_blocked",
        )


def check_method_not_blocked(method: PaymentMethod, *, param: Path | str) -> None:
    """Raises ``ActionNotAllowed`` where the payment method is to be charged, or chosen for it."""
    if method.blocked_at is not None:
        raise ActionNotAllowed(
            f"The payment method {method.id} is blocked, and cannot be charged. Unblock it first.",
            param=param,
            code="payment_method_blocked",
        )
