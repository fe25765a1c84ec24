"""Create alerts, let them be sent or not, and put them away."""

from __future__ import annotations

from decimal import Decimal

from postpaid.billing.perform import Act
from postpaid.core.alerts import (
    Alert,
    AlertAction,
    AlertRecurrence,
    AlertStatus,
    next_status,
)
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.storage import alerts, customers, meters, usage
from postpaid.storage.database import Connection

ALERTS_MAX = 25  # Stripe: of one meter for one customer


def create_alert(
    conn: Connection,
    act: Act,
    *,
    title: str,
    meter_id: str,
    customer_id: str | None,
    recurrence: AlertRecurrence,
    gte: Decimal | None,
    percent: int | None,
    amount: int | None,
) -> Alert:
    """Watch a meter from now on, for one customer or for each.

    What was used before counts, but only the next event can send the alert (Stripe). ``gte`` is a
    quantity, ``percent`` of the price's allotment, ``amount`` in minor units; exactly one is given.

    Raises ``NotFound`` and ``InvalidRequest`` with the parameter at fault.
    """
    # Read.
    usage.hold_alone(conn, act.account_id)
    meter = meters.find(conn, act.account_id, meter_id)
    if meter is None:
        raise NotFound.of("meter", meter_id, param=("usage_threshold", "meter"))
    if customer_id is not None:
        customer = customers.find(conn, act.account_id, customer_id)
        if customer is None or customer.deleted_at:
            param = ("usage_threshold", "filters", 0, "customer")
            raise NotFound.of("customer", customer_id, param=param)
    watching = alerts.count(conn, act.account_id, meter_id, customer_id)

    # Decide.
    _check_threshold(recurrence, gte, percent, amount)
    if recurrence == AlertRecurrence.ONE_TIME and not meter.aggregation.combines:
        raise InvalidRequest(
            f"All-time usage of a meter that bills '{meter.aggregation}' is not one number that "
            "grows; use the recurrence `billing_period`.",
            param=("usage_threshold", "recurrence"),
        )
    if watching >= ALERTS_MAX:
        raise InvalidRequest(
            f"A meter can have at most {ALERTS_MAX} alerts for one customer; archive one first.",
            param=("usage_threshold", "meter"),
        )
    alert = Alert(
        id=act.new_id("alrt"),
        title=title,
        meter_id=meter_id,
        customer_id=customer_id,
        recurrence=recurrence,
        gte=gte,
        percent=percent,
        amount=amount,
        status=AlertStatus.ACTIVE,
        created_at=act.now,
    )

    # Write.
    alerts.insert(conn, act.account_id, alert)
    _arm(conn, act, alert)
    return alert


def activate_alert(conn: Connection, act: Act, alert_id: str) -> Alert:
    """Let it be sent again, where it was not yet. Raises ``NotFound``, ``ActionNotAllowed``."""
    usage.hold_alone(conn, act.account_id)  # before the alert's lock: no event waits for that
    alert = _move(conn, act, alert_id, AlertAction.ACTIVATE)
    _arm(conn, act, alert)
    return alert


def deactivate_alert(conn: Connection, act: Act, alert_id: str) -> Alert:
    """Do not send it until it is activated. Raises ``NotFound`` and ``ActionNotAllowed``."""
    return _move(conn, act, alert_id, AlertAction.DEACTIVATE)


def archive_alert(conn: Connection, act: Act, alert_id: str) -> Alert:
    """Put it away for good. Raises ``NotFound`` and ``ActionNotAllowed``."""
    return _move(conn, act, alert_id, AlertAction.ARCHIVE)


def _check_threshold(
    recurrence: AlertRecurrence, gte: Decimal | None, percent: int | None, amount: int | None
) -> None:
    given = {"gte": gte, "percent": percent, "amount": amount}
    names = [name for name, value in given.items() if value is not None]
    if not names:
        raise InvalidRequest(
            "Missing required param: usage_threshold[gte].",
            param=("usage_threshold", "gte"),
            code="parameter_missing",
        )
    if len(names) > 1:
        raise InvalidRequest(
            "You may only specify one of these parameters: "
            + ", ".join(f"usage_threshold[{name}]" for name in names)
            + ".",
            param=("usage_threshold", names[1]),
            code="parameters_exclusive",
        )
    if recurrence == AlertRecurrence.ONE_TIME and gte is None:
        raise InvalidRequest(
            f"`{names[0]}` is of a price, which bills by the period; it needs "
            "`usage_threshold[recurrence]=billing_period`.",
            param=("usage_threshold", names[0]),
        )


def _arm(conn: Connection, act: Act, alert: Alert) -> None:
    """Let the next event of whoever the alert watches look at it."""
    arm = {
        AlertRecurrence.ONE_TIME: alerts.open_all_time,
        AlertRecurrence.BILLING_PERIOD: alerts.look_at_once,
    }[alert.recurrence]
    arm(conn, act.account_id, alert.meter_id, alert.customer_id)


def _move(conn: Connection, act: Act, alert_id: str, action: AlertAction) -> Alert:
    alert = alerts.lock(conn, act.account_id, alert_id)
    if alert is None:
        raise NotFound.of("alert", alert_id)
    status = next_status(alert.status, action)
    alerts.update_status(conn, act.account_id, alert_id, status)
    return replace(alert, status=status)
