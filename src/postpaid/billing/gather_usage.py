"""Requests that wait together → one transaction, and an answer for each.

A commit costs the same for one event as for a hundred. So requests that report usage are not
performed one by one: whatever waits is recorded at once, and answered after the commit. Each has
its own outcome, its own errors and its own idempotency key, as if it had been alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from postpaid.billing import report_rejections
from postpaid.billing.check_usage import Reported
from postpaid.billing.perform import Act, Answer, fingerprint, replay_of
from postpaid.billing.record_usage import Recorded, record_usage
from postpaid.core.errors import BillingError
from postpaid.core.values import replace
from postpaid.storage import idempotency
from postpaid.storage.database import Connection, Database, is_unknown

_encode = msgspec.json.encode


@dataclass(slots=True)
class Waiting:
    """A request that reports usage, and what became of it: ``answer`` or ``error``.

    ``respond`` makes the answer's body from what became of its events, or raises what is wrong with
    them; it also gets the act, at the time when they were recorded. What is rejected of one that is
    ``silent`` is noted, to be told in a report.
    """

    act: Act
    operation: str
    parameters: Mapping[str, Any]
    reported: Reported
    respond: Callable[[Connection, Act, Recorded], Mapping[str, Any]]
    silent: bool = False
    answer: Answer | None = None
    error: BaseException | None = None
    said: bytes = field(default=b"", repr=False)

    @property
    def done(self) -> bool:
        return self.answer is not None or self.error is not None


class _Raced(Exception):
    """Somebody else has used one of the keys in the meantime: what they did is visible now."""


def gather_usage(database: Database, waiting: Sequence[Waiting]) -> None:
    """Record the usage of all requests, and set the answer or the error of each.

    Nothing is raised. When it is not known which request is at fault, each is tried alone, so that
    one cannot take others down with it; unless it may all have been stored, which trying again
    would not tell.
    """
    for each in waiting:
        _name(each.reported, each.act)
    while pending := [each for each in waiting if not each.done]:
        try:
            with database.transaction() as conn:
                _record(conn, pending)
        except _Raced:
            _undo(pending)
        except Exception as error:
            _undo(pending)
            if len(pending) == 1 or is_unknown(error):
                for each in pending:
                    each.error = error
            else:
                for each in pending:
                    gather_usage(database, [each])


def _name(reported: Reported, act: Act) -> None:
    """Give every event its identifier now, so that to try again is not to count again."""
    if None in reported.identifiers:
        reported.identifiers = [each or act.new_id("mtev") for each in reported.identifiers]


def _undo(pending: Sequence[Waiting]) -> None:
    for each in pending:
        each.answer = each.error = None


def _record(conn: Connection, pending: Sequence[Waiting]) -> None:
    by_account: dict[int, list[Waiting]] = {}
    for each in pending:
        by_account.setdefault(each.act.account_id, []).append(each)
    for _, group in sorted(by_account.items()):  # lest two gathers wait for one another
        _record_of_one(conn, group)


def _record_of_one(conn: Connection, group: Sequence[Waiting]) -> None:
    """Record what is reported to an account; a request whose key is used here waits on."""
    # Read.
    act = replace(
        max((each.act for each in group), key=lambda act: act.now),
        request_id=None,
        idempotency_key=None,
    )
    fresh = _unanswered(conn, act, group)
    if not fresh:
        return

    # Decide and write.
    reported = _together(fresh)
    actors = [each.act.actor for each in fresh for _ in each.reported.event_names]
    recorded = record_usage(conn, act, reported, actors=actors)
    start = 0
    answered = []
    untold: dict[int, BillingError] = {}
    for each in fresh:
        end = start + len(each.reported.event_names)
        if each.silent and recorded.errors:
            untold |= {
                place: recorded.errors[place]
                for place in range(start, end)
                if place in recorded.errors
            }
        try:
            body = each.respond(conn, act, _part(recorded, start, end))
        except BillingError as error:
            each.error = error
        else:
            each.answer = Answer(200, body)
            if each.act.idempotency_key is not None and each.act.request_id is not None:
                answered.append(
                    idempotency.Answered(
                        each.act.api,
                        each.act.idempotency_key,
                        each.said,
                        each.act.request_id,
                        _encode(body).decode(),
                    )
                )
        start = end
    if untold:
        # At once, in the order that all keep who note something: lest they wait for one another.
        report_rejections.note(conn, act, reported.event_names, recorded.references, untold)
    if answered:
        kept = idempotency.insert_answered(conn, act.account_id, answered, now=act.now)
        if kept < len(answered):
            raise _Raced


def _unanswered(conn: Connection, act: Act, group: Sequence[Waiting]) -> list[Waiting]:
    """The requests to perform now; one whose key was used before is answered as it was then."""
    keys = {
        (each.act.api, each.act.idempotency_key)
        for each in group
        if each.act.idempotency_key is not None
    }
    if not keys:
        return list(group)
    known = idempotency.load(conn, act.account_id, sorted(keys))
    fresh = []
    for each in group:
        key = each.act.idempotency_key
        if key is None:
            fresh.append(each)
            continue
        each.said = each.said or fingerprint(each.operation, each.parameters)
        keyed = each.act.api, key
        first = known.get(keyed)
        if first is None:
            if keyed in keys:
                keys.discard(keyed)  # the same again, here, waits for the answer of this one
                fresh.append(each)
            continue
        try:
            each.answer = replay_of(first, key, each.said)
            if each.answer is None:
                each.error = idempotency.in_use(key)
        except BillingError as error:
            each.error = error
    return fresh


def _together(group: Sequence[Waiting]) -> Reported:
    if len(group) == 1:
        return group[0].reported
    together = Reported([], [], [], [])
    for each in group:
        start = len(together.event_names)
        together.event_names += each.reported.event_names
        together.payloads += each.reported.payloads
        together.identifiers += each.reported.identifiers
        together.timestamps += each.reported.timestamps
        for place, error in each.reported.errors.items():
            together.errors[start + place] = error
        for place, parts in each.reported.by_part.items():
            together.by_part[start + place] = parts
    return together


def _part(recorded: Recorded, start: int, end: int) -> Recorded:
    if start == 0 and end == len(recorded.kinds):
        return recorded
    return Recorded(
        recorded.kinds[start:end],
        recorded.references[start:end],
        recorded.occurred_ms[start:end],
        {
            place - start: recorded.errors[place]
            for place in range(start, end)
            if place in recorded.errors
        }
        if recorded.errors
        else {},
        recorded.meter_by_name,
        recorded.received_ms[start:end],
    )
