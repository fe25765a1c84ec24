"""Setup intents, and each try at one, as Stripe shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from postpaid.api.instants import seconds
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.intent_parts import (
    error_to_stripe,
    failed_methods,
    next_action_to_stripe,
)
from postpaid.billing.perform import Act
from postpaid.core.setup_intents import SetupIntent
from postpaid.storage import payment_methods, setup_attempts, setup_intents
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod
from postpaid.storage.payments import AttemptStatus
from postpaid.storage.setup_attempts import SetupAttempt

TYPES = ("card", "us_bank_account")  # what can be set up, where nobody says less

STATUSES = {  # Stripe's words for where an attempt is
    AttemptStatus.PENDING: "requires_confirmation",
    AttemptStatus.ACTION_REQUIRED: "requires_action",
    AttemptStatus.CANCELED: "abandoned",
}


def render_many(conn: Connection, act: Act, shown: Sequence[SetupIntent]) -> list[dict[str, Any]]:
    """Setup intents, with the payment methods that their last errors are about."""
    failed = failed_methods(conn, act, shown)
    return [to_stripe(each, failed, livemode=act.livemode) for each in shown]


def to_stripe(
    intent: SetupIntent, failed: Mapping[str, PaymentMethod], *, livemode: bool
) -> dict[str, Any]:
    """The setup intent; ``failed`` has the payment methods that were declined, by id."""
    types = intent.payment_method_types
    return {
        "id": intent.id,
        "object": "setup_intent",
        "allowed_payment_method_types": None,
        "application": None,
        "attach_to_self": False,
        "automatic_payment_methods": None
        if types
        else {"allow_redirects": "always", "enabled": True},
        "cancellation_reason": intent.cancellation_reason,
        "client_secret": intent.client_secret,
        "created": seconds(intent.created_at),
        "customer": intent.customer_id,
        "customer_account": None,
        "description": intent.description,
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None
        if intent.last_error is None
        else error_to_stripe(intent.last_error, failed, livemode=livemode),
        "latest_attempt": intent.latest_attempt_id,
        "livemode": livemode,
        "managed_payments": None,
        "mandate": None,
        "metadata": dict(intent.metadata),
        "next_action": next_action_to_stripe(intent.next_action, OTHER_ACTIONS),
        "on_behalf_of": None,
        "payment_method": intent.payment_method_id,
        "payment_method_configuration_details": None,
        "payment_method_options": None,
        "payment_method_types": list(types or TYPES),
        "single_use_mandate": None,
        "status": intent.status,
        "usage": intent.usage,
    }


# What Stripe's customers may have to do elsewhere, and ours have not.
OTHER_ACTIONS = """
    blik_authorize cashapp_handle_redirect_or_display_qr_code pix_display_qr_code
    upi_handle_redirect_or_display_qr_code verify_with_microdeposits
"""


# ─── Attempts ────────────────────────────────────────────────────────────────────────────────


def render_attempts(
    conn: Connection, act: Act, shown: Sequence[SetupAttempt]
) -> list[dict[str, Any]]:
    """Setup attempts, with what was to be set up as it is by now."""
    account_id = act.account_id
    methods = payment_methods.load(conn, account_id, {each.payment_method_id for each in shown})
    intents = setup_intents.load(conn, account_id, {each.setup_intent_id for each in shown})
    return [
        _attempt_to_stripe(
            each,
            intents[each.setup_intent_id],
            methods[each.payment_method_id],
            livemode=act.livemode,
        )
        for each in shown
    ]


_DETAILS = """
    acss_debit amazon_pay au_becs_debit bacs_debit bancontact blik boleto card card_present
    cashapp ideal kakao_pay klarna kr_card link naver_pay nz_bank_account paypal payto pix
    revolut_pay satispay sepa_debit sofort twint upi us_bank_account
"""


def _attempt_to_stripe(
    attempt: SetupAttempt, intent: SetupIntent, method: PaymentMethod, *, livemode: bool
) -> dict[str, Any]:
    error = {
        "code": attempt.failure_code,
        "decline_code": attempt.decline_code,
        "message": attempt.failure_message,
        "payment_method_id": attempt.payment_method_id,
    }
    return {
        "id": attempt.id,
        "object": "setup_attempt",
        "application": None,
        "attach_to_self": False,
        "created": seconds(attempt.attempted_at),
        "customer": attempt.customer_id,
        "customer_account": None,
        "flow_directions": None,
        "livemode": livemode,
        "on_behalf_of": None,
        "payment_method": attempt.payment_method_id,
        "payment_method_details": {
            **dict.fromkeys(_DETAILS.split()),
            "type": method.type,
            method.type: _card_details(method) if method.card else {},
        },
        "setup_error": error_to_stripe(error, {method.id: method}, livemode=livemode)
        if attempt.status == AttemptStatus.FAILED
        else None,
        "setup_intent": attempt.setup_intent_id,
        "status": STATUSES.get(attempt.status, attempt.status),
        "usage": intent.usage,
    }


def _card_details(method: PaymentMethod) -> dict[str, Any]:
    card = method.card or {}
    shown = ("brand", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")
    return {
        **{key: card.get(key) for key in shown},
        "checks": None,
        "description": None,
        "iin": None,
        "issuer": None,
        "moto": None,
        "network": card.get("brand"),
        "three_d_secure": None,
        "wallet": None,
    }


@loader("setup_intent")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = setup_intents.load(conn, act.account_id, ids)
    return {each["id"]: each for each in render_many(conn, act, list(found.values()))}


@loader("setup_attempt")
def _load_attempts(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = setup_attempts.load(conn, act.account_id, ids)
    return {each["id"]: each for each in render_attempts(conn, act, list(found.values()))}


expandable("setup_intent", "customer", load="customer")
expandable("setup_intent", "payment_method", load="payment_method")
expandable("setup_intent", "latest_attempt", load="setup_attempt")
expandable("setup_attempt", "customer", load="customer")
expandable("setup_attempt", "payment_method", load="payment_method")
expandable("setup_attempt", "setup_intent", load="setup_intent")
