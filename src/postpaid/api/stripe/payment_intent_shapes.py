"""Payment intents in Stripe's shape."""

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
from postpaid.core.payment_intents import PaymentIntent, PaymentIntentStatus, charge_id_of
from postpaid.storage import payment_intents
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod


def render_many(conn: Connection, act: Act, shown: Sequence[PaymentIntent]) -> list[dict[str, Any]]:
    """Payment intents, with the payment methods that their last errors are about."""
    failed = failed_methods(conn, act, shown)
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
        else charge_id_of(attempt_id),
        "livemode": livemode,
        "managed_payments": None,
        "metadata": dict(intent.metadata),
        "next_action": next_action_to_stripe(intent.next_action, OTHER_ACTIONS),
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


# What Stripe's customers may have to do elsewhere, and ours have not.
OTHER_ACTIONS = """
    alipay_handle_redirect blik_authorize boleto_display_details card_await_notification
    cashapp_handle_redirect_or_display_qr_code display_bank_transfer_instructions
    klarna_display_qr_code konbini_display_details multibanco_display_details oxxo_display_details
    paynow_display_qr_code pix_display_qr_code promptpay_display_qr_code
    swish_handle_redirect_or_display_qr_code upi_handle_redirect_or_display_qr_code
    verify_with_microdeposits wechat_pay_display_qr_code wechat_pay_redirect_to_android_app
    wechat_pay_redirect_to_ios_app
"""


def _error(
    intent: PaymentIntent, failed: Mapping[str, PaymentMethod], *, livemode: bool
) -> dict[str, Any] | None:
    if intent.last_error is None:
        return None
    shown = error_to_stripe(intent.last_error, failed, livemode=livemode)
    return shown | {"charge": charge_id_of(intent.last_error["attempt_id"])}


@loader("payment_intent")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = payment_intents.load(conn, act.account_id, ids)
    return {each["id"]: each for each in render_many(conn, act, list(found.values()))}


expandable("payment_intent", "customer", load="customer")
expandable("payment_intent", "payment_method", load="payment_method")
expandable("payment_intent", "latest_charge", load="charge")
expandable("payment_intent", "payment_record", load="payment_record")
