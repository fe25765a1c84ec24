"""Payment intents in Stripe's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from postpaid.api.stripe import payment_methods as payment_method_shapes
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.lists import seconds
from postpaid.billing.perform import Act
from postpaid.core.payment_intents import PaymentIntent, PaymentIntentStatus
from postpaid.storage import payment_intents, payment_methods
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod


def render_many(conn: Connection, act: Act, shown: Sequence[PaymentIntent]) -> list[dict[str, Any]]:
    """Payment intents, with the payment methods that their last errors are about."""
    ids = {str(each.last_error["payment_method_id"]) for each in shown if each.last_error}
    failed = payment_methods.load(conn, act.account_id, ids) if ids else {}
    return [to_stripe(each, failed, livemode=act.livemode) for each in shown]


def to_stripe(
    intent: PaymentIntent, failed: Mapping[str, PaymentMethod], *, livemode: bool
) -> dict[str, Any]:
    """The payment intent; ``failed`` has the payment methods that were declined, by id."""
    attempt_id = intent.latest_attempt_id
    return {
        "id": intent.id,
        "object": "payment_intent",
        "allowed_payment_method_types": None,
        "amount": intent.amount,
        "amount_capturable": 0,
        "amount_details": None,
        "amount_received": intent.amount_received,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": seconds(intent.canceled_at),
        "cancellation_reason": intent.cancellation_reason,
        "capture_method": "automatic",
        "client_secret": intent.client_secret,
        "confirmation_method": "automatic",
        "created": seconds(intent.created_at),
        "currency": intent.currency,
        "customer": intent.customer_id,
        "customer_account": None,
        "description": intent.description,
        "excluded_payment_method_types": None,
        "hooks": None,
        "last_payment_error": _error(intent, failed, livemode=livemode),
        "latest_charge": None
        if attempt_id is None or intent.status == PaymentIntentStatus.REQUIRES_ACTION
        else attempt_id.replace("pa_", "ch_", 1),
        "livemode": livemode,
        "managed_payments": None,
        "metadata": dict(intent.metadata),
        "next_action": _next_action(intent.next_action),
        "on_behalf_of": None,
        "payment_details": None,
        "payment_method": intent.payment_method_id,
        "payment_method_configuration_details": None,
        "payment_method_options": None,
        "payment_method_types": ["card"],
        "payment_record": None,
        "presentment_details": None,
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": intent.setup_future_usage,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": intent.status,
        "transfer_data": None,
        "transfer_group": None,
    }


def _next_action(action: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Where the customer goes, or that the gateway's own script takes it from here."""
    if action is None:
        return None
    if url := action.get("url"):
        return _action("redirect_to_url", {"url": url, "return_url": None})
    return _action("use_stripe_sdk", {})


_OTHER_ACTIONS = """
    alipay_handle_redirect blik_authorize boleto_display_details card_await_notification
    cashapp_handle_redirect_or_display_qr_code display_bank_transfer_instructions
    klarna_display_qr_code konbini_display_details multibanco_display_details oxxo_display_details
    paynow_display_qr_code pix_display_qr_code promptpay_display_qr_code redirect_to_url
    swish_handle_redirect_or_display_qr_code upi_handle_redirect_or_display_qr_code use_stripe_sdk
    verify_with_microdeposits wechat_pay_display_qr_code wechat_pay_redirect_to_android_app
    wechat_pay_redirect_to_ios_app
"""


def _action(kind: str, details: dict[str, Any]) -> dict[str, Any]:
    return {**dict.fromkeys(_OTHER_ACTIONS.split()), "type": kind, kind: details}


_UNKNOWN = [
    "advice_code",
    "doc_url",
    "network_advice_code",
    "network_decline_code",
    "param",
    "payment_intent",
    "request_log_url",
    "setup_intent",
    "source",
]


def _error(
    intent: PaymentIntent, failed: Mapping[str, PaymentMethod], *, livemode: bool
) -> dict[str, Any] | None:
    if intent.last_error is None:
        return None
    method = failed.get(str(intent.last_error["payment_method_id"]))
    return {
        **dict.fromkeys(_UNKNOWN),
        "type": "card_error",
        "code": intent.last_error["code"],
        "decline_code": intent.last_error["decline_code"],
        "message": intent.last_error["message"],
        "charge": str(intent.last_error["attempt_id"]).replace("pa_", "ch_", 1),
        "payment_method": method and payment_method_shapes.to_stripe(method, livemode=livemode),
        "payment_method_type": method and method.type,
    }


@loader("payment_intent")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = payment_intents.load(conn, act.account_id, ids)
    return {each["id"]: each for each in render_many(conn, act, list(found.values()))}


expandable("payment_intent", "customer", load="customer")
expandable("payment_intent", "payment_method", load="payment_method")
expandable("payment_intent", "latest_charge", load="charge")
expandable("payment_intent", "payment_record", load="payment_record")
