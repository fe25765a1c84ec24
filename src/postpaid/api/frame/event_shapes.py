"""Business events as Frame shows them: told by a code, with the resource itself as their data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from postpaid.api.frame import (
    accounts,
    billing_credits,
    charge_intents,
    charges,
    customers,
    invoice_shapes,
    payment_methods,
    products,
    refunds,
    subscription_shapes,
    threshold_shapes,
    transfers,
)
from postpaid.api.instants import seconds
from postpaid.billing.deliver import Told
from postpaid.billing.perform import Act
from postpaid.core.alerts import TriggeredAlert
from postpaid.core.catalog import Product
from postpaid.core.deliveries import message_id
from postpaid.core.frame_events import Shown, shown
from postpaid.core.invoicing import Invoice
from postpaid.core.payment_intents import PaymentIntent
from postpaid.core.refunds import Refund
from postpaid.core.subscriptions import Subscription
from postpaid.core.unit_credits import UnitCredit
from postpaid.core.usage_quotas import ReachedQuota
from postpaid.storage import payment_intents, payments, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod
from postpaid.storage.payments import AttemptStatus, PaymentAttempt

Object = dict[str, Any]
Render = Callable[[Connection, Act, Sequence[Any]], Sequence[Object]]

ACCOUNT = "account."  # the codes that show a customer as an account


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the snapshots of one kind of object are read and shown, by the batch."""

    cls: type[Any]
    render: Render


KINDS: Mapping[str, _Kind] = {
    "charge": _Kind(PaymentAttempt, charges.render_many),
    "customer": _Kind(Customer, customers.render_many),
    "invoice": _Kind(Invoice, invoice_shapes.render_snapshots),
    "payment_intent": _Kind(PaymentIntent, charge_intents.render_many),
    "payment_method": _Kind(PaymentMethod, payment_methods.render_many),
    "product": _Kind(Product, products.render_many),
    "reached_quota": _Kind(ReachedQuota, threshold_shapes.render_reached),
    "refund": _Kind(Refund, refunds.render_many),
    "subscription": _Kind(Subscription, subscription_shapes.render_many),
    "triggered_alert": _Kind(TriggeredAlert, threshold_shapes.render_triggered),
    "unit_credit": _Kind(UnitCredit, billing_credits.render_many),
}


def to_frame(conn: Connection, act: Act, told: Sequence[Told]) -> list[Object]:
    """Events in Frame's envelope, rendered with a few statements for all of one kind."""
    data: dict[tuple[str, str | None], Object] = {}
    by_kind: defaultdict[tuple[Shown, str, bool], list[Told]] = defaultdict(list)
    for each in told:
        code, object_type = each.told_as or "", each.event.object_type
        kind = shown(code, object_type), object_type, code.startswith(ACCOUNT)
        by_kind[kind].append(each)
    for (what, object_type, as_account), of_kind in by_kind.items():
        rendered = _data(conn, act, what, object_type, of_kind, as_account=as_account)
        data |= {
            (each.event.id, each.told_as): one for each, one in zip(of_kind, rendered, strict=True)
        }
    return [
        {
            "id": message_id(each.event.id, each.told_as),
            "type": each.told_as,
            "object": "event",
            "created": seconds(each.event.created_at),
            "livemode": act.livemode,
            "data": data[each.event.id, each.told_as],
        }
        for each in told
    ]


def _data(
    conn: Connection,
    act: Act,
    what: Shown,
    object_type: str,
    told: Sequence[Told],
    *,
    as_account: bool,
) -> Sequence[Object]:
    """What the events show, in their order; they are of one type of object."""
    kind = KINDS[object_type]
    values = [msgspec.json.decode(each.event.snapshot, type=kind.cls) for each in told]
    match what:
        case Shown.SUBSCRIPTION:
            return _subscriptions(conn, act, [each.subscription_id for each in values])
        case Shown.CHARGE:
            return _charges(conn, act, told)
        case Shown.TRANSFER if object_type == "payment_intent":
            return transfers.render_many(conn, act, values)
        case Shown.TRANSFER:
            return _transfers(conn, act, [each.payment_intent_id for each in values])
    return (accounts.render_many if as_account else kind.render)(conn, act, values)


def _subscriptions(conn: Connection, act: Act, ids: Sequence[str]) -> list[Object]:
    """The subscriptions as they are."""
    found = subscriptions.load(conn, act.account_id, set(ids))
    rendered = subscription_shapes.render_many(conn, act, list(found.values()))
    by_id = dict(zip(found, rendered, strict=True))
    return [by_id[each] for each in ids]


def _transfers(conn: Connection, act: Act, intent_ids: Sequence[str]) -> list[Object]:
    """The payment intents as they are, as transfers."""
    found = payment_intents.load(conn, act.account_id, set(intent_ids))
    rendered = transfers.render_many(conn, act, list(found.values()))
    by_id = dict(zip(found, rendered, strict=True))
    return [by_id[each] for each in intent_ids]


def _charges(conn: Connection, act: Act, told: Sequence[Told]) -> list[Object]:
    """The charge of its invoice that each event is of, as it is."""
    tried = payments.concluded_of(conn, act.account_id, {each.event.object_id for each in told})
    last = [_charge_of(each, tried) for each in told]
    found = {each.id: each for each in last}
    rendered = charges.render_many(conn, act, list(found.values()))
    by_id = dict(zip(found, rendered, strict=True))
    return [by_id[each.id] for each in last]


def _charge_of(telling: Told, tried: Sequence[PaymentAttempt]) -> PaymentAttempt:
    """The last one that came to this by the time it was said."""
    event = telling.event
    succeeded = telling.told_as == "billing.charge.succeeded"
    status = AttemptStatus.SUCCEEDED if succeeded else AttemptStatus.FAILED
    found = [it for it in tried if it.invoice_id == event.object_id and it.status == status]
    by_then = [each for each in found if each.settled_at and each.settled_at <= event.created_at]
    return (by_then or found)[-1]
