"""A batch of due work that fails is done in halves: what cannot be costs the others nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from postpaid.core.errors import BillingError, Conflict
from postpaid.storage.database import Connection, is_out_of_range, is_unknown

T = TypeVar("T")
R = TypeVar("R")


def do_each(
    conn: Connection,
    due: Sequence[T],
    work: Callable[[Sequence[T]], Sequence[R]],
    park: Callable[[T, str], None] | None = None,
) -> tuple[list[R], list[tuple[T, Exception]]]:
    """Do ``work`` for all at once, or where that fails for halves, until the one at fault is alone.

    Returns what the work returned, and what failed otherwise than by itself: that is not parked,
    since trying again may do it, and stays due. One whose own amounts or state do not allow the
    work is given to ``park`` with the reason; without ``park`` it has failed like any other. A lost
    connection or a lock that was not to be had is nobody's fault, and raised.
    """
    if not due:
        return [], []
    try:
        with conn.transaction():
            return list(work(due)), []
    except Exception as failure:
        if is_unknown(failure):
            raise
        if len(due) == 1:
            if park is None or not _is_its_own(failure):
                return [], [(due[0], failure)]
            park(due[0], str(failure).partition("\n")[0])
            return [], []
    middle = len(due) // 2
    done, failed = do_each(conn, due[:middle], work, park)
    more, also_failed = do_each(conn, due[middle:], work, park)
    return done + more, failed + also_failed


def raise_failed(failed: Sequence[tuple[object, Exception]]) -> None:
    """Raises ``ExceptionGroup`` of what failed, once the others are done and committed."""
    if failed:
        raise ExceptionGroup("Some of a batch failed; it stays due.", [each for _, each in failed])


def _is_its_own(failure: Exception) -> bool:
    """Whether the same would come of it at any time: it is of the business, or a number too large.

    Anything else is a fault of ours or of the moment, and must not set aside all that is due.
    """
    if isinstance(failure, Conflict):
        return False
    return isinstance(failure, (BillingError, ValueError, ArithmeticError)) or is_out_of_range(
        failure
    )
