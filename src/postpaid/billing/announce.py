"""A business event for every change, written in the change's own transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import msgspec

from postpaid.billing.address import addressed
from postpaid.billing.perform import Act
from postpaid.billing.tell import Recorded, to_tell
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.subscriptions import Subscription
from postpaid.core.values import replace
from postpaid.storage import customers, deliveries, events, webhook_endpoints
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.events import Event

_encode = msgspec.json.Encoder(decimal_format="string").encode


@dataclass(frozen=True, slots=True)
class Announcement:
    """That ``type`` happened to an object, which now is ``snapshot`` (a dataclass).

    ``previous`` gives the former values of the fields that changed, by the snapshot's field names;
    ``changes`` makes it from two values of the same class.
    """

    type: str
    object_type: str
    object_id: str
    snapshot: object
    previous: Mapping[str, Any] | None = None


def announce(
    conn: Connection,
    act: Act,
    announcements: Sequence[Announcement],
    *,
    owners: Mapping[str, Customer] | None = None,
) -> None:
    """Write the events, in the order given, at the act's time, and who is to be told of them.

    ``owners`` are customers as they are, by id, whom a caller has; those of drafts are needed.
    """
    if not announcements:
        return
    announcements = _addressed(conn, act, announcements, owners or {})
    written = []
    snapshot: object = None
    text = ""
    for said in announcements:
        if said.snapshot is not snapshot:  # one thing that happened may have several types
            snapshot = said.snapshot
            text = _encode(snapshot).decode()
        written.append(
            Event(
                id=act.new_id("evt"),
                type=said.type,
                object_type=said.object_type,
                object_id=said.object_id,
                snapshot=text,
                previous=None if said.previous is None else _encode(said.previous).decode(),
                request_id=act.request_id,
                idempotency_key=act.idempotency_key,
                clock_id=act.clock_id,
                created_at=act.now,
            )
        )
    events.insert_many(conn, act.account_id, written)
    listening = webhook_endpoints.listening(conn, act.account_id)
    if listening:
        recorded = [
            Recorded(event, said.snapshot, said.previous)
            for event, said in zip(written, announcements, strict=True)
        ]
        told = to_tell(conn, act, recorded, listening)
        deliveries.insert_many(conn, act.account_id, told)


def _addressed(
    conn: Connection,
    act: Act,
    announcements: Sequence[Announcement],
    owners: Mapping[str, Customer],
) -> Sequence[Announcement]:
    """Drafts say whom they are for and what is due: what is kept of that when they are final."""
    drafts = [_draft(said) for said in announcements]
    ids = {draft.customer_id for draft in drafts if draft is not None}
    if not ids:
        return announcements
    if missing := ids - owners.keys():
        owners = {**owners, **customers.load(conn, act.account_id, missing)}
    shown: dict[int, Invoice] = {}  # by identity: one thing that happened may have several types
    told = []
    for said, draft in zip(announcements, drafts, strict=True):
        if draft is not None:
            owner, previous = owners[draft.customer_id], said.previous
            if id(draft) not in shown:
                shown[id(draft)] = addressed(draft, owner)
            after = shown[id(draft)]
            if previous is not None:
                previous = changes(addressed(replace(draft, **previous), owner), after)
            said = replace(said, snapshot=after, previous=previous)
        told.append(said)
    return told


def _draft(said: Announcement) -> Invoice | None:
    found = said.snapshot
    if said.object_type != "invoice" or not isinstance(found, Invoice):
        return None
    return found if found.status == InvoiceStatus.DRAFT else None


def subscription_updated(before: Subscription, after: Subscription) -> Announcement:
    """That the subscription changed, and from what."""
    return Announcement(
        "customer.subscription.updated", "subscription", after.id, after, changes(before, after)
    )


def trial_will_end(subscription: Subscription) -> Announcement:
    """That the subscription's trial ends in three days, or sooner."""
    return Announcement(
        "customer.subscription.trial_will_end", "subscription", subscription.id, subscription
    )


def customer_updated(before: Customer, after: Customer) -> Announcement:
    """That the customer changed, and from what."""
    return Announcement("customer.updated", "customer", after.id, after, changes(before, after))


def invoice_updated(before: Invoice, after: Invoice) -> Announcement:
    """That the invoice changed, and from what. A final one's lines need no copy."""
    if after.status != InvoiceStatus.DRAFT:
        before, after = replace(before, lines=()), replace(after, lines=())
    return Announcement("invoice.updated", "invoice", after.id, after, changes(before, after))


def changes(before: object, after: object) -> dict[str, Any]:
    """The former values of the fields in which two values of one dataclass differ."""
    return {
        field.name: getattr(before, field.name)
        for field in fields(before)  # type: ignore[arg-type]
        if getattr(before, field.name) != getattr(after, field.name)
    }
