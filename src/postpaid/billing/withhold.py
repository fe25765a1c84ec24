"""What becomes of invoices while the collection of their subscription is paused."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing import correct
from postpaid.billing.follow import follow
from postpaid.billing.perform import Act
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.subscriptions import PauseBehavior, SubscriptionAction
from postpaid.core.values import replace
from postpaid.storage import subscriptions
from postpaid.storage.database import Connection


def still_withheld(
    conn: Connection, act: Act, drafts: Sequence[Invoice]
) -> tuple[list[Invoice], dict[str, PauseBehavior]]:
    """The drafts that are due to be final, and what becomes of those that are not collected.

    What holds is the pause as it is now: a draft of one that has been lifted is collected again.
    No statement while nothing is withheld.
    """
    of_pauses = [each for each in drafts if not each.auto_advance and each.subscription_id]
    if not of_pauses:
        return list(drafts), {}
    ids = {each.subscription_id for each in of_pauses if each.subscription_id}
    found = subscriptions.load(conn, act.account_id, ids)
    fates: dict[str, PauseBehavior] = {}
    lifted: set[str] = set()
    for each in of_pauses:
        behavior = found[each.subscription_id or ""].pause_behavior
        if behavior is None:
            lifted.add(each.id)
        else:
            fates[each.id] = behavior
    ready = [replace(each, auto_advance=True) if each.id in lifted else each for each in drafts]
    return ready, fates


def withhold(
    conn: Connection, act: Act, final: Sequence[Invoice], fates: dict[str, PauseBehavior]
) -> None:
    """Void the final invoices, or write them off, as their subscription's pause says.

    The customers are locked. What owes nothing is paid, and stays so. Stripe: a debt from before
    the pause decides nothing any more, once the latest invoice is written off.
    """
    owing = [each for each in final if each.id in fates and each.status == InvoiceStatus.OPEN]
    correct.void(conn, act, [each for each in owing if fates[each.id] == PauseBehavior.VOID])
    written_off = correct.mark_uncollectible(
        conn,
        act,
        [each for each in owing if fates[each.id] == PauseBehavior.MARK_UNCOLLECTIBLE],
        reason=correct.FORGIVEN,
    )
    follow(conn, act, written_off, SubscriptionAction.FORGIVE)
