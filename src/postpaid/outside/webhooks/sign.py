"""Signatures: Stripe's or Frame's header, and those of Standard Webhooks, of the same bytes."""

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
    return {
        "Stripe-Signature": ",".join([f"t={seconds}", *(f"v1={each}" for each in stripe)]),
        **_standard(event_id, body, secrets, now=now),
    }


def frame_signatures(
    message_id: str, code: str, body: bytes, secrets: Sequence[str], *, now: datetime
) -> dict[str, str]:
    """Frame's headers, which say nothing of when, and Standard Webhooks', which do.

    Frame's header has room for one signature: the newest secret's.
    """
    signature = hmac.new(secrets[0].encode(), body, hashlib.sha256).hexdigest()
    return {
        "X-Frame-Event": code,
        "X-Frame-Signature": f"sha256={signature}",
        "X-Frame-Webhook-Id": message_id,
        **_standard(message_id, body, secrets, now=now),
    }


def _standard(
    message_id: str, body: bytes, secrets: Sequence[str], *, now: datetime
) -> dict[str, str]:
    text = body.decode()
    signed = [Webhook(secret).sign(message_id, now, text) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signed),
    }
