"""What was or will be charged, as charges and their intents show it."""

from __future__ import annotations

from typing import Any

from postpaid.storage.payment_methods import PaymentMethod

TYPES = {"us_bank_account": "ach"}


def details(method: PaymentMethod | None) -> dict[str, Any] | None:
    """A card's or a bank account's looks; None of a payment method that is not known."""
    if method is None:
        return None
    card, bank = method.card, method.us_bank_account
    return {
        "id": method.id,
        "object": "payment_method",
        "type": TYPES.get(method.type, method.type),
        "card": card
        and {
            "brand": card.get("brand"),
            "last_four": card.get("last4"),
            "exp_month": _text(card.get("exp_month")),
            "exp_year": _text(card.get("exp_year")),
            "issuer": None,
            "currency": None,
            "segment": None,
            "type": card.get("funding"),
        },
        "ach": bank
        and {
            "bank_name": bank.get("bank_name"),
            "last_four": bank.get("last4"),
            "account_type": bank.get("account_type"),
        },
    }


def _text(number: Any) -> str | None:
    return None if number is None else str(number)
