"""Move a subscription from classic to flexible billing mode, which is one way."""

from __future__ import annotations

from postpaid.billing.announce import announce, subscription_updated
from postpaid.billing.perform import Act
from postpaid.billing.subscribe import lock
from postpaid.core.errors import ActionNotAllowed
from postpaid.core.subscriptions import ENDED, BillingMode, ProrationDiscounts, Subscription
from postpaid.core.values import replace
from postpaid.storage import subscriptions
from postpaid.storage.database import Connection


def migrate(
    conn: Connection, act: Act, subscription_id: str, discounts: ProrationDiscounts | None
) -> Subscription:
    """The subscription in flexible mode from now on; nothing is billed for that.

    Raises ``NotFound``, and ``ActionNotAllowed`` for one that has ended or is flexible already.
    """
    before, customer = lock(conn, act, subscription_id)
    act = act.at(customer.now(act.now), customer.clock_id)
    if before.status in ENDED:
        raise ActionNotAllowed(
            "A canceled subscription cannot be migrated.", code="subscription_canceled"
        )
    if before.billing_mode == BillingMode.FLEXIBLE:
        raise ActionNotAllowed(
            "This subscription is in flexible billing mode already.", param="billing_mode"
        )
    after = replace(
        before,
        billing_mode=BillingMode.FLEXIBLE,
        billing_mode_at=act.now,
        proration_discounts=discounts or before.proration_discounts,
    )
    subscriptions.update_many(conn, act.account_id, [after])
    announce(conn, act, [subscription_updated(before, after)])
    return after
