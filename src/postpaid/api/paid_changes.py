"""A change of a subscription and the payment that it may need, as one request does them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postpaid.api.calls import Call
from postpaid.billing import change as changing
from postpaid.billing.change import Changed
from postpaid.core.changes import ChangePayment
from postpaid.storage.database import Connection


def made(
    call: Call,
    begin: Callable[[Connection], Changed],
    show: Callable[[Connection], dict[str, Any]],
) -> dict[str, Any]:
    """Begin the change in one transaction, pay for it after that, and show what there is then."""

    def write(conn: Connection) -> dict[str, Any]:
        changed = begin(conn)
        return {
            "subscription": changed.subscription_id,
            "invoice": changed.invoice_id,
            "attempts": changed.attempt_ids,
            "payment": changed.payment,
        }

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        changing.finish(
            call.database,
            call.act,
            Changed(
                begun["subscription"],
                begun["invoice"],
                begun["attempts"],
                ChangePayment(begun["payment"]),
            ),
        )
        return call.read(show)

    return call.write_then(write, finish)
