"""Signatures: Stripe's header, and those of Standard Webhooks, of the same bytes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook


def signatures(
    event_id: str, body: bytes, secrets: Sequence[str], *, now: datetime
) -> dict[str, str]:
    """The headers that prove, with each of the secrets, who sends this and when.

    Stripe's key is the whole secret, and Standard Webhooks' the bytes that it encodes.
    """
    seconds = str(int(now.timestamp()))
    signed = seconds.encode() + b"." + body
    stripe = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    text = body.decode()
    standard = [Webhook(secret).sign(event_id, now, text) for secret in secrets]
    return {
        "Stripe-Signature": ",".join([f"t={seconds}", *(f"v1={each}" for each in stripe)]),
        "webhook-id": event_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(standard),
    }
