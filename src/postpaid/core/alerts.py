"""What an alert is, what it waits for, and whether that has come."""

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from postpaid.core.allotments import HUNDRED, Position
from postpaid.core.errors import ActionNotAllowed
from postpaid.core.money import EXACT

ALL_TIME_KEY = "all-time"
"""What a one-time alert looks at: all that a customer ever used of the meter."""


class AlertStatus(StrEnum):
    """Whether an alert is sent; archived is for good (Stripe)."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    ARCHIVED = "archived"


class AlertAction(StrEnum):
    """What can happen to an alert's status."""

    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    ARCHIVE = "archive"


_S, _A = AlertStatus, AlertAction

TRANSITIONS = {
    (_S.INACTIVE, _A.ACTIVATE): _S.ACTIVE,
    (_S.ACTIVE, _A.DEACTIVATE): _S.INACTIVE,
    (_S.ACTIVE, _A.ARCHIVE): _S.ARCHIVED,
    (_S.INACTIVE, _A.ARCHIVE): _S.ARCHIVED,
}


def next_status(status: AlertStatus, action: AlertAction) -> AlertStatus:
    """The status after ``action``; raises ``ActionNotAllowed`` where the table has none."""
    try:
        return TRANSITIONS[status, action]
    except KeyError:
        raise ActionNotAllowed(f"An alert that is {status} cannot be {_DONE[action]}.") from None


_DONE = {_A.ACTIVATE: "activated", _A.DEACTIVATE: "deactivated", _A.ARCHIVE: "archived"}


class AlertRecurrence(StrEnum):
    """How often an alert is sent."""

    ONE_TIME = "one_time"  # once per customer, when all that was ever used reaches it (Stripe)
    BILLING_PERIOD = "billing_period"  # once in every window of every item that the meter bills


@dataclass(frozen=True, slots=True)
class Alert:
    """What to watch a meter for, of one customer or of each.

    One of three says when to send it: ``gte``, a quantity in the meter's units; ``percent`` of what
    the price includes; or ``amount``, minor units that the item has accrued. The latter two need a
    price, and so recur with the billing period.
    """

    id: str
    title: str
    meter_id: str
    customer_id: str | None
    recurrence: AlertRecurrence
    gte: Decimal | None
    percent: int | None
    amount: int | None
    status: AlertStatus
    created_at: datetime

    def watches(self, meter_id: str, customer_id: str) -> bool:
        return self.meter_id == meter_id and self.customer_id in (None, customer_id)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What alerts look at: all usage of a customer's, or an item's in one of its windows.

    An alert is sent once for each ``key``. ``position`` is None for all usage, which no price
    includes anything of.
    """

    key: str
    quantity: Decimal
    position: Position | None = None

    @property
    def recurrence(self) -> AlertRecurrence:
        if self.position is None:
            return AlertRecurrence.ONE_TIME
        return AlertRecurrence.BILLING_PERIOD


@dataclass(frozen=True, slots=True)
class Decision:
    """The alerts to send now, and from which quantity on to look again.

    ``look_at`` is None when no alert is left to be sent. ``look_always`` says that one is which no
    quantity alone decides.
    """

    due: tuple[Alert, ...]
    look_at: Decimal | None
    look_always: bool


def decide(alerts: Iterable[Alert], outlook: Outlook, sent: Set[tuple[str, str]]) -> Decision:
    """What is to be sent for the outlook, by the alerts that watch its meter and customer.

    ``sent`` has what was sent before, as an alert's id and a key.
    """
    due: list[Alert] = []
    waiting: list[Decimal] = []
    look_always = False
    for alert in alerts:
        if alert.status != AlertStatus.ACTIVE or alert.recurrence != outlook.recurrence:
            continue
        if (alert.id, outlook.key) in sent:
            continue
        if is_reached(alert, outlook):
            due.append(alert)
        elif alert.amount is not None:
            look_always = True
        elif (quantity := threshold(alert, outlook)) is not None:
            waiting.append(quantity)
    return Decision(tuple(due), min(waiting, default=None), look_always)


def is_reached(alert: Alert, outlook: Outlook) -> bool:
    """Whether the alert's moment has come. One too large to bill has reached every amount."""
    if alert.amount is not None:
        position = outlook.position
        return position is not None and (position.amount is None or position.amount >= alert.amount)
    quantity = threshold(alert, outlook)
    return quantity is not None and outlook.quantity >= quantity


def threshold(alert: Alert, outlook: Outlook) -> Decimal | None:
    """The quantity at which the alert is sent; None when no quantity says so.

    There is no percentage of an allotment that is nothing, or has no end.
    """
    if alert.gte is not None:
        return alert.gte
    included = outlook.position.included if outlook.position else None
    if alert.percent is None or not included:
        return None
    return EXACT.divide(EXACT.multiply(included, Decimal(alert.percent)), HUNDRED)


@dataclass(frozen=True, slots=True)
class TriggeredAlert:
    """An alert as it was sent, and where the customer stood.

    ``quantity`` is what reached it. The subscription, the item, its currency and the position are
    None for a one-time alert, which looks at all usage.
    """

    alert: Alert
    customer_id: str
    quantity: Decimal
    created_at: datetime
    subscription_id: str | None = None
    item_id: str | None = None
    currency: str | None = None
    position: Position | None = None
