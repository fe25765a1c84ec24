"""Who is to be told of events, and by which codes: each façade's endpoints in its own words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from postpaid.billing.perform import Act
from postpaid.core.deliveries import Facade, is_known, listens
from postpaid.core.frame_events import OUTCOMES, Happening, Telling, payer_id, tellings
from postpaid.storage import customers, events
from postpaid.storage.database import Connection
from postpaid.storage.deliveries import NewDelivery
from postpaid.storage.events import Event
from postpaid.storage.webhook_endpoints import WebhookEndpoint


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event that is written, with its snapshot before, or after, it was text."""

    event: Event
    snapshot: object
    previous: Mapping[str, object] | None

    @classmethod
    def of(cls, event: Event) -> Recorded:
        previous = None if event.previous is None else msgspec.json.decode(event.previous)
        return cls(event, msgspec.json.decode(event.snapshot), previous)


def to_tell(
    conn: Connection,
    act: Act,
    recorded: Sequence[Recorded],
    endpoints: Sequence[WebhookEndpoint],
) -> list[NewDelivery]:
    """The deliveries of the events to those of the endpoints that want them, in the events' order.

    Who pays is read only where one of Frame's endpoints is among them, with two statements.
    """
    by_codes = any(endpoint.facade == Facade.FRAME for endpoint in endpoints)
    codes = in_codes(conn, act, recorded) if by_codes else {}
    told: list[NewDelivery] = []
    for each in recorded:
        event = each.event
        for endpoint in endpoints:
            if endpoint.facade == Facade.FRAME:
                told += [
                    NewDelivery(
                        id=act.new_id("whd"),
                        endpoint_id=endpoint.id,
                        event_id=event.id,
                        subject_id=telling.subject_id,
                        created_at=event.created_at,
                        told_as=telling.code,
                    )
                    for telling in codes[event.id]
                    if listens(endpoint.enabled_events, telling.code)
                ]
            elif is_known(endpoint.facade, event.type) and listens(
                endpoint.enabled_events, event.type
            ):
                told.append(
                    NewDelivery(
                        id=act.new_id("whd"),
                        endpoint_id=endpoint.id,
                        event_id=event.id,
                        subject_id=event.object_id or event.id,
                        created_at=event.created_at,
                    )
                )
    return told


def in_codes(conn: Connection, act: Act, recorded: Sequence[Recorded]) -> dict[str, list[Telling]]:
    """What each of the events is told as in Frame's words, by the event's id."""
    payers = {
        each.event.id: payer_id(each.event.type, each.event.object_id, each.snapshot)
        for each in recorded
    }
    accounts = _accounts(conn, act, {payer for payer in payers.values() if payer is not None})
    invoices = {
        each.event.object_id
        for each in recorded
        if each.event.type in OUTCOMES and _happening(each).has("bills_usage")
    }
    first = events.first_of(conn, act.account_id, OUTCOMES, invoices) if invoices else {}
    return {
        each.event.id: tellings(
            _happening(
                each,
                is_account=payers[each.event.id] in accounts,
                first_outcome=first.get(each.event.object_id, each.event.id) == each.event.id,
            )
        )
        for each in recorded
    }


def _happening(
    each: Recorded, *, is_account: bool = False, first_outcome: bool = True
) -> Happening:
    event = each.event
    return Happening(
        event.type, event.object_id, each.snapshot, each.previous, is_account, first_outcome
    )


def _accounts(conn: Connection, act: Act, customer_ids: Collection[str]) -> set[str]:
    """Those of the customers that are accounts."""
    if not customer_ids:
        return set()
    found = customers.load(conn, act.account_id, customer_ids)
    return {key for key, customer in found.items() if customer.profile is not None}
