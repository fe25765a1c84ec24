"""When something of a schedule is due: phases' ends, and that the last one is near."""

from datetime import UTC, datetime, timedelta

import pytest

from postpaid.core.schedules import (
    EXPIRING,
    EndBehavior,
    Phase,
    PhaseItem,
    Schedule,
    ScheduleStatus,
    due_in,
    moved,
    started,
)
from postpaid.core.subscriptions import BillingMode
from postpaid.core.values import replace

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def phases(*days: int) -> tuple[Phase, ...]:
    """Phases that take so many days each."""
    ends = [START + sum(days[: i + 1]) * DAY for i in range(len(days))]
    starts = [START, *ends]
    items = (PhaseItem("price_1"),)
    return tuple(Phase(start, end, items) for start, end in zip(starts, ends, strict=False))


def schedule(*days: int) -> Schedule:
    return Schedule(
        id="sub_sched_1",
        customer_id="cus_1",
        clock_id=None,
        subscription_id=None,
        released_subscription_id=None,
        status=ScheduleStatus.NOT_STARTED,
        end_behavior=EndBehavior.RELEASE,
        billing_mode=BillingMode.FLEXIBLE,
        default_settings={},
        phases=phases(*days),
        phase_index=None,
        due_at=START,
        metadata={},
        created_at=START,
    )


@pytest.mark.parametrize(
    ("days", "index", "now", "due"),
    [
        ((30, 30), 0, 0, 30),
        ((30, 30), 1, 30, 53),
        ((30, 30), 1, 53, 60),
        ((30, 7), 1, 30, 37),
        ((30, 8), 1, 30, 31),
    ],
    ids=["one of two", "the last", "a week before", "a week", "a day more"],
)
def test_when_it_is_due(days: tuple[int, ...], index: int, now: int, due: int) -> None:
    assert due_in(phases(*days), index, START + now * DAY) == START + due * DAY


def test_only_the_end_of_the_last_phase_is_near() -> None:
    first = started(schedule(3, 30), "sub_1", START)
    assert not first.is_expiring
    last = moved(first, 1, START + 3 * DAY)
    assert (last.due_at, last.is_expiring) == (START + 33 * DAY - EXPIRING, False)
    assert replace(last, due_at=START + 33 * DAY).is_expiring
    assert started(schedule(5), "sub_1", START).is_expiring
