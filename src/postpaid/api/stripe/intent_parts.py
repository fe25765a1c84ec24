"""What payment intents and setup intents say alike: why the last try failed, and what is next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from postpaid.api.stripe import payment_methods as payment_method_shapes
from postpaid.billing.perform import Act
from postpaid.storage import payment_methods
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod

# Keys of an error that there always are, and which are null unless something is said of them.
_OF_ERRORS = """
    advice_code charge doc_url network_advice_code network_decline_code param payment_intent
    request_log_url setup_intent source
"""


class _Intent(Protocol):
    @property
    def last_error(self) -> Mapping[str, Any] | None: ...


def failed_methods(
    conn: Connection, act: Act, shown: Iterable[_Intent]
) -> Mapping[str, PaymentMethod]:
    """The payment methods that the intents' last errors are about, by id."""
    ids = {str(each.last_error["payment_method_id"]) for each in shown if each.last_error}
    return payment_methods.load(conn, act.account_id, ids) if ids else {}


def error_to_stripe(
    error: Mapping[str, Any], failed: Mapping[str, PaymentMethod], *, livemode: bool
) -> dict[str, Any]:
    """Why a try failed, with the payment method that it was made with."""
    method = failed.get(str(error["payment_method_id"]))
    return {
        **dict.fromkeys(_OF_ERRORS.split()),
        "type": "card_error",
        "code": error["code"],
        "decline_code": error["decline_code"],
        "message": error["message"],
        "payment_method": method and payment_method_shapes.to_stripe(method, livemode=livemode),
        "payment_method_type": method and method.type,
    }


def next_action_to_stripe(action: Mapping[str, Any] | None, others: str) -> dict[str, Any] | None:
    """Where the customer goes, or that the gateway's own script takes it from here.

    ``others`` are the names of what else Stripe has there: each is a key, always null.
    """
    if action is None:
        return None
    url = action.get("url")
    return {
        **dict.fromkeys(others.split()),
        "type": "redirect_to_url" if url else "use_stripe_sdk",
        "redirect_to_url": {"url": url, "return_url": None} if url else None,
        "use_stripe_sdk": None if url else {},
    }
