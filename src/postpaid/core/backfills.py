"""What a backfill may become: open while events are sent to it, then counted, then taken back."""

from enum import StrEnum


class BackfillStatus(StrEnum):
    """Whether a backfill takes events, and whether they count."""

    OPEN = "open"  # it takes events, which do not count
    CLOSED = "closed"  # they count, and it takes no more
    REVERTED = "reverted"  # they are gone


class BackfillAction(StrEnum):
    """What can be asked of a backfill."""

    CLOSE = "close"
    REVERT = "revert"


_S, _A = BackfillStatus, BackfillAction

_TRANSITIONS = {
    (_S.OPEN, _A.CLOSE): _S.CLOSED,
    (_S.OPEN, _A.REVERT): _S.REVERTED,
    (_S.CLOSED, _A.REVERT): _S.REVERTED,
}


def next_status(status: BackfillStatus, action: BackfillAction) -> BackfillStatus | None:
    """The status after the action, or None where it cannot be done."""
    return _TRANSITIONS.get((status, action))
