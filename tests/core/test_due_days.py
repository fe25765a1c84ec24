"""Where an open invoice stands is a matter of days, and whose days they are."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from postpaid.core.due_days import Standing, standing

NEW_YORK = ZoneInfo("America/New_York")
NOON = datetime(2026, 3, 8, 12, tzinfo=UTC)  # the day on which New York's clocks go forward


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-07T23:59:59.999999+00:00", Standing.NOT_DUE),
        ("2026-03-08T00:00:00+00:00", Standing.DUE),
        ("2026-03-08T23:59:59.999999+00:00", Standing.DUE),
        ("2026-03-09T00:00:00+00:00", Standing.OVERDUE),
    ],
)
def test_it_is_due_on_its_day_and_overdue_after(now: str, expected: Standing) -> None:
    assert standing(NOON, datetime.fromisoformat(now), UTC) == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-08T04:59:59+00:00", Standing.NOT_DUE),
        ("2026-03-08T05:00:00+00:00", Standing.DUE),
        ("2026-03-09T03:59:59+00:00", Standing.DUE),  # that day has 23 hours
        ("2026-03-09T04:00:00+00:00", Standing.OVERDUE),
    ],
)
def test_the_day_is_the_zones(now: str, expected: Standing) -> None:
    assert standing(NOON, datetime.fromisoformat(now), NEW_YORK) == expected


def test_what_has_no_due_day_is_never_due() -> None:
    assert standing(None, datetime.max.replace(tzinfo=UTC), UTC) == Standing.NOT_DUE
