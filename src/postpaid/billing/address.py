"""Whom an invoice is for, and what is due of it from what the customer has with the merchant."""

from __future__ import annotations

from typing import Any

from postpaid.core.credits import with_balance
from postpaid.core.invoicing import Invoice
from postpaid.core.values import replace
from postpaid.storage.customers import Customer


def recipient(customer: Customer) -> dict[str, Any]:
    """Whom an invoice is addressed to: for ever, once it is final."""
    return {
        "name": customer.name,
        "email": customer.email,
        "phone": customer.phone,
        "address": customer.address,
        "shipping": customer.shipping,
        "tax_exempt": customer.tax_exempt,
    }


def addressed(draft: Invoice, customer: Customer) -> Invoice:
    """The draft as it is shown: by the customer and the balance as they are now (Stripe)."""
    balance = customer.balance if customer.currency == draft.currency else 0
    return with_balance(replace(draft, customer_snapshot=recipient(customer)), balance)
