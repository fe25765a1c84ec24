"""Check what limits a subscription's bills, and let the usage of its windows be looked at anew."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.open_windows import open_windows
from postpaid.billing.perform import Act
from postpaid.billing.watch_thresholds import read_catalog
from postpaid.core import commitments, thresholds
from postpaid.core.subscriptions import Catalog, Subscription
from postpaid.storage.database import Connection


def check_limits(subscription: Subscription, catalog: Catalog) -> None:
    """Raises ``InvalidRequest`` for thresholds or a commitment that cannot be kept."""
    commitments.check(subscription.minimum_amount, subscription.maximum_amount)
    thresholds.check(subscription, catalog)


def agree_limits(
    conn: Connection, act: Act, changed: Sequence[tuple[Subscription, Subscription]]
) -> None:
    """Check the limits of subscriptions, before and after a change, that have other ones now.

    The next usage in the windows of those with other thresholds is looked at, whatever it is.
    Raises ``InvalidRequest``. The caller writes the subscriptions.
    """
    limited = [after for before, after in changed if _limits(before) != _limits(after)]
    if not limited:
        return
    sold = read_catalog(conn, act, limited)
    for each in limited:
        check_limits(each, sold)
    open_windows(conn, act, [each for each in limited if thresholds.has_thresholds(each)], sold)


def _limits(subscription: Subscription) -> object:
    return (
        subscription.minimum_amount,
        subscription.maximum_amount,
        subscription.threshold_amount,
        {item.id: item.threshold_usage for item in subscription.items},
    )
