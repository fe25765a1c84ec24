"""Where an open invoice stands by the calendar: not due yet, due, or overdue."""

from __future__ import annotations

from datetime import datetime, tzinfo
from enum import StrEnum


class Standing(StrEnum):
    """An open invoice's standing: on its due day it is due, and overdue from the day after."""

    NOT_DUE = "not_due"
    DUE = "due"
    OVERDUE = "overdue"


def standing(due_at: datetime | None, now: datetime, zone: tzinfo) -> Standing:
    """Where an invoice stands that is due at ``due_at``; one without is never due by itself.

    Days are the zone's. It stays due until its due day ends, so nobody is late within the day.
    """
    if due_at is None:
        return Standing.NOT_DUE
    due_on, today = due_at.astimezone(zone).date(), now.astimezone(zone).date()
    if due_on > today:
        return Standing.NOT_DUE
    return Standing.DUE if due_on == today else Standing.OVERDUE
