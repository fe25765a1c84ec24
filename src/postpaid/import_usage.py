"""A file of usage events → the database, batch by batch.

Each batch is recorded in one transaction: what was recorded stays, whatever happens to the rest. To
import a file again is safe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec

from postpaid import clock, ids
from postpaid.billing import backfill_usage
from postpaid.billing.check_usage import Reported
from postpaid.billing.perform import Act, perform
from postpaid.billing.record_usage import OutcomeKind, Recorded, record_usage
from postpaid.core.errors import BillingError, Conflict
from postpaid.storage.accounts import Account
from postpaid.storage.database import Connection, Database
from postpaid.usage_files import Batch, BreaksOff, Source

ATTEMPTS_MAX = 3  # for a batch that another transaction is in the way of
REFUSED_SHOWN = 5

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that was not recorded, where it stands, and why."""

    place: int
    kind: OutcomeKind
    error: BillingError


@dataclass(slots=True)
class Tally:
    """What became of a file's events so far, and why it could not be read to its end."""

    counts: dict[OutcomeKind, int] = field(default_factory=lambda: dict.fromkeys(OutcomeKind, 0))
    refused: list[Refused] = field(default_factory=list)  # the first few
    broken: str | None = None

    @property
    def refused_count(self) -> int:
        return self.counts[OutcomeKind.REJECTED] + self.counts[OutcomeKind.CONFLICT]

    @property
    def all_well(self) -> bool:
        return not self.refused_count and self.broken is None


def import_events(
    database: Database,
    account: Account,
    source: Source,
    tally: Tally,
    *,
    backfill_id: str | None = None,
    errors: IO[bytes] | None = None,
    after_batch: Callable[[], None] = lambda: None,
) -> None:
    """Record a file's events, thousands in a transaction; keep the ``tally`` up to date.

    What is refused is written to ``errors``, a line of JSON each. An interrupt leaves whole batches
    recorded. Raises ``InvalidRequest`` when the file is not what it should be from the start,
    ``NotFound`` or ``ActionNotAllowed`` when the backfill takes no events, and ``Conflict`` when
    others are in the way for long.
    """
    try:
        for batch in source.batches():
            recorded = _record(database, account, batch.reported, backfill_id)
            for kind in OutcomeKind:
                tally.counts[kind] += recorded.kinds.count(kind)
            _note_refused(tally, batch, recorded, errors)
            after_batch()
    except BreaksOff as reason:
        tally.broken = str(reason)


def _record(
    database: Database, account: Account, reported: Reported, backfill_id: str | None
) -> Recorded:
    """One transaction, tried again if another is in its way."""
    outcome: list[Recorded] = []

    for attempt in range(1, ATTEMPTS_MAX + 1):
        act = Act(
            account.account_id,
            account.livemode,
            actor="import",
            now=clock.now(),
            new_id=ids.new_id,
            request_id=ids.new_id("req"),
        )

        def begin(conn: Connection, act: Act = act) -> dict[str, int]:
            if backfill_id is not None:
                backfill_usage.check_open(conn, act, backfill_id)
            outcome[:] = [record_usage(conn, act, reported, backfill_id=backfill_id)]
            return {}

        try:
            perform(database, act, "usage import", {}, begin)
            break
        except Conflict:
            if attempt == ATTEMPTS_MAX:
                raise
    return outcome[0]


def _note_refused(tally: Tally, batch: Batch, recorded: Recorded, errors: IO[bytes] | None) -> None:
    for i, error in sorted(recorded.errors.items()):
        kind = recorded.kinds[i]
        if kind == OutcomeKind.DUPLICATE:
            continue
        if len(tally.refused) < REFUSED_SHOWN:
            tally.refused.append(Refused(batch.places[i], kind, error))
        if errors is not None:
            errors.write(
                _encode(
                    {
                        "place": batch.places[i],
                        "outcome": kind,
                        "code": error.code,
                        "message": error.message,
                        "param": error.param,
                        "event": _shown(batch.found[i]),
                    },
                    enc_hook=str,
                )
                + b"\n"
            )


def _shown(found: Any) -> Any:
    """What stands in the file, as JSON: a line's own if it has any."""
    if not isinstance(found, bytes):
        return found
    try:
        msgspec.json.decode(found)
    except (ValueError, RecursionError):
        return found.decode(errors="replace").rstrip("\r\n")
    return msgspec.Raw(found.strip())
