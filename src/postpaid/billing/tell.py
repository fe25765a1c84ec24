"""Who is to be told of events, and by which codes: each façade's endpoints in its own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from postpaid.billing.perform import Act
from postpaid.core.deliveries import Facade, is_known, listens
from postpaid.core.frame_events import OUTCOMES, Happening, Telling, payer_id, renews, tellings
from postpaid.storage import tellings as circumstances
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

    Who pays is read only where one of Frame's endpoints is among them, with one statement.
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
    """What each of the events is told as in Frame's words, by the event's id; one statement."""
    payers = {
        each.event.id: payer_id(each.event.type, each.event.object_id, each.snapshot)
        for each in recorded
    }
    about = circumstances.load(
        conn,
        act.account_id,
        customer_ids={payer for payer in payers.values() if payer is not None},
        renewal_ids={each.event.object_id for each in recorded if renews(_happening(each))},
        invoice_ids={each.event.object_id for each in recorded if _may_be_first(each)},
    )
    return {
        each.event.id: tellings(
            _happening(
                each,
                is_account=payers[each.event.id] in about.accounts,
                first_outcome=about.first_outcomes.get(each.event.object_id, each.event.id)
                == each.event.id,
                last_bill=each.event.object_id in about.last_bills,
            )
        )
        for each in recorded
    }


def _may_be_first(each: Recorded) -> bool:
    """Whether it depends on what came before of collecting the invoice by what it is told."""
    if each.event.type not in OUTCOMES:
        return False
    return each.event.type == "invoice.payment_failed" or bool(_happening(each).has("bills_usage"))


def _happening(
    each: Recorded,
    *,
    is_account: bool = False,
    first_outcome: bool = True,
    last_bill: bool = False,
) -> Happening:
    event = each.event
    return Happening(
        event.type,
        event.object_id,
        each.snapshot,
        each.previous,
        is_account=is_account,
        first_outcome=first_outcome,
        last_bill=last_bill,
    )
