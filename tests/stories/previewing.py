"""Previews held to their word: what a preview says, and the invoice that follows says too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import stripe
from town import HOUR, Town

OWN = {  # what a preview and the invoice that follows it do not have in common
    "amount_paid",
    "amount_remaining",
    "attempt_count",
    "attempted",
    "automatically_finalizes_at",
    "auto_advance",
    "billing_reason",
    "due_date",
    "effective_at",
    "ending_balance",
    "id",
    "lines",
    "next_payment_attempt",
    "number",
    "payments",
    "status",
    "status_details",
    "status_transitions",
}


def essence(invoice: stripe.Invoice, *, begins: bool = False) -> dict[str, Any]:
    """What a preview and the invoice that follows it have in common: all but the passing of it.

    Of a subscription that ``begins`` with it the ids are not known before.
    """
    kept = invoice.to_dict()
    kept["parent"]["subscription_details"]["subscription_proration_date"] = None
    if begins:
        kept["parent"]["subscription_details"]["subscription"] = None
    shown = {key: value for key, value in kept.items() if key not in OWN}
    shown["total_pretax_credit_amounts"] = amounts(kept["total_pretax_credit_amounts"])
    lines = [
        {
            **{key: value for key, value in line.items() if key not in ("id", "invoice")},
            "parent": parent_of(line["parent"], begins),
            "subscription": None if begins else line["subscription"],
            "pretax_credit_amounts": amounts(line["pretax_credit_amounts"]),
        }
        for line in kept["lines"]["data"]
    ]
    return shown | {"lines": lines}


def assert_as_previewed(
    invoice: stripe.Invoice, expected: stripe.Invoice, *, begins: bool = False
) -> None:
    """Fails with what is not as the preview said: what was said, and what is."""
    said, is_now = essence(expected, begins=begins), essence(invoice, begins=begins)
    told, shown = said.pop("lines"), is_now.pop("lines")
    assert len(shown) == len(told), (shown, told)
    for place, pair in enumerate(zip(told, shown, strict=True)):
        for key, value in pair[0].items():
            assert pair[1][key] == value, (place, key, value, pair[1][key])
    for key, value in said.items():
        assert is_now[key] == value, (key, value, is_now[key])


def whole(town: Town, invoice: stripe.Invoice) -> stripe.Invoice:
    """The invoice with all its lines; a preview has them all, because there is no more to ask."""
    if invoice.lines.has_more:
        invoice.lines.data = list(
            town.client.v1.invoices.line_items.list(invoice.id, {"limit": 100}).auto_paging_iter()
        )
    return invoice


def amounts(credits: list[dict[str, Any]] | None) -> list[tuple[str, int]]:
    """Credits by what they are and come to: those of grants have ids of their own."""
    return [(each["type"], each["amount"]) for each in credits or ()]


def parent_of(parent: dict[str, Any], begins: bool) -> dict[str, Any]:
    """Where a line comes from, without the ids of what may not be there yet."""
    kind = parent["type"]
    unknown = {"invoice_item"} | ({"subscription", "subscription_item"} if begins else set())
    details = {key: value for key, value in parent[kind].items() if key not in unknown}
    return {"type": kind, **details}


def upcoming(town: Town, subscription_id: str) -> stripe.Invoice | None:
    """The next invoice as it is previewed; None when none is to come."""
    try:
        return town.client.v1.invoices.create_preview({"subscription": subscription_id})
    except stripe.InvalidRequestError as none:
        if none.code != "invoice_upcoming_none":
            raise
        return None


def previews_hold(
    town: Town,
    clock: str,
    subscription_id: str,
    until: int,
    before: Callable[[stripe.Invoice | None], None] = lambda invoice: None,
) -> list[stripe.Invoice]:
    """Go on from renewal to renewal; each is what was previewed. Returns the invoices billed.

    ``before`` each preview something may happen; it is given the invoice billed last. An hour after
    ``until`` everything due by then has been done.
    """
    billed: list[stripe.Invoice] = []
    while True:
        before(billed[-1] if billed else None)
        expected = upcoming(town, subscription_id)
        if expected is None or expected.created > until:
            break
        town.advance(clock, expected.created + HOUR)
        latest = whole(town, town.invoices(subscription_id)[-1])
        assert latest.created == expected.created
        assert_as_previewed(latest, expected)
        billed.append(latest)
    town.advance(clock, until + HOUR + 1)
    if expected is None:
        assert not billed or town.invoices(subscription_id)[-1].id == billed[-1].id
    return billed
