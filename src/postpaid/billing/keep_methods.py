"""What paid for a subscription becomes what is charged for it."""

from __future__ import annotations

from collections.abc import Mapping

from postpaid.billing.announce import announce, subscription_updated
from postpaid.billing.perform import Act
from postpaid.core.values import replace
from postpaid.storage import subscriptions
from postpaid.storage.database import Connection


def keep_methods(conn: Connection, act: Act, paid_with: Mapping[str, str]) -> None:
    """Give subscriptions what paid for them; ``paid_with`` has payment methods by subscription.

    Stripe: only where ``payment_settings[save_default_payment_method]`` is ``on_subscription``.
    The customers are locked. Of subscriptions that save nothing one statement hears.
    """
    if not paid_with:
        return
    saving = subscriptions.saving_payment_methods(conn, act.account_id, list(paid_with))
    moved = [
        (before, replace(before, default_payment_method_id=paid_with[before.id]))
        for before in saving
        if before.default_payment_method_id != paid_with[before.id]
    ]
    subscriptions.update_many(conn, act.account_id, [after for _, after in moved])
    announce(conn, act, [subscription_updated(before, after) for before, after in moved])
