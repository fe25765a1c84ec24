"""A subscription that begins in the past bills no usage that is billed by windows already."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest
from postpaid.core.subscriptions import Catalog, Item, Subscription
from postpaid.core.values import replace
from postpaid.storage import billed_usage
from postpaid.storage.billed_usage import Asked
from postpaid.storage.database import Connection


def check_not_billed(
    conn: Connection,
    act: Act,
    begun: Sequence[Subscription],
    sold: Catalog,
    *,
    agreed: bool = False,
) -> list[Subscription]:
    """Raises ``InvalidRequest`` where usage since a backdated start is on an invoice already.

    One that was ``agreed`` on, and only begins late, bills what is left of its first period: the
    subscriptions are returned so. The customers are locked. No statement where no subscription that
    meters anything is backdated.
    """
    backdated = [
        each
        for each in begun
        if each.start_at < act.now and any(sold[item.price_id].price.metered for item in each.items)
    ]
    if not backdated:
        return list(begun)
    spans = [Asked(each.customer_id, each.start_at, act.now) for each in backdated]
    billed = billed_usage.overlapping(conn, act.account_id, spans)
    after: dict[str, Subscription] = {}
    for each in backdated:
        items: list[Item] = []
        for item in each.items:
            price = sold[item.price_id].price
            windows = billed.get((each.customer_id, price.meter_id or ""), ())
            begins_at = item.usage_start
            for window in windows:
                if window.end <= each.start_at:
                    continue
                if not agreed or begins_at > each.start_at:
                    raise InvalidRequest(
                        f"The usage from {window.start.isoformat()} to {window.end.isoformat()} is "
                        f"billed already, by {window.invoice_ids[0]}: a subscription to the price "
                        f"{price.id} cannot begin before that has ended.",
                        param="backdate_start_date",
                    )
            ends = [window.end for window in windows if window.end > begins_at]
            items.append(replace(item, usage_from=max(ends)) if ends else item)
        after[each.id] = replace(each, items=tuple(items))
    return [after.get(each.id, each) for each in begun]
