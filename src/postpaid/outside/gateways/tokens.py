"""What gateways elsewhere call a payment method, as they are told of it here."""

from __future__ import annotations


def is_stripe_token(token: str) -> bool:
    """Whether it is ``customer/payment_method``, perhaps with ``/type``."""
    parts = token.split("/")
    return (
        len(parts) in (2, 3)
        and all(parts)
        and parts[0].startswith("cus_")
        and parts[1].startswith(("pm_", "card_", "src_"))
    )


def is_frame_token(token: str) -> bool:
    """Whether it is ``account/payment_method``."""
    parts = token.split("/")
    return len(parts) == 2 and all(parts)
