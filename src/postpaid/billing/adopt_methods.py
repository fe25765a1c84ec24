"""What paid once and is to pay again becomes its customer's."""

from __future__ import annotations

from collections.abc import Mapping

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.perform import Act
from postpaid.storage import payment_methods
from postpaid.storage.database import Connection


def adopt_methods(conn: Connection, act: Act, owners: Mapping[str, str]) -> None:
    """Attach the payment methods that are nobody's to their customers, who are locked.

    Stripe: so does a payment with ``setup_future_usage``, and one for a subscription. No statement
    for none.
    """
    if not owners:
        return
    adopted = payment_methods.adopt_many(conn, act.account_id, owners)
    announce(
        conn,
        act,
        [
            Announcement("payment_method.attached", "payment_method", each.id, each)
            for each in adopted
        ],
    )
