"""The door: every write enters here, once, with who asked and when.

``perform`` opens the transaction, claims the idempotency key, runs the work, writes down who acted,
and remembers the answer. The transaction has committed before the answer exists outside.

Work that must call the outside world does so after its transaction, in a second step: ``begin``
commits what is needed to go on and returns it, ``finish`` calls out, records the outcome and makes
the answer. A process that dies between the two leaves the key *unfinished*; the next request with
that key finishes it instead of beginning again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from postpaid.core.errors import IdempotencyMismatch
from postpaid.core.values import replace
from postpaid.storage import acts, idempotency
from postpaid.storage.database import Connection, Database

LEASE = timedelta(seconds=30)  # how long a request may take to finish before it is thought dead
PATIENCE_S = 10.0  # how long a repeat waits for the first request's answer
PAUSE_S = 0.05

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Act:
    """Who acts, for whom, and when: the ambient facts, frozen at the edge and passed down.

    ``now`` is the wall clock's. A customer on a test clock lives at ``customer.now(act.now)``,
    and what happens to it is an act ``at`` that time.
    """

    account_id: int
    livemode: bool
    actor: str
    now: datetime
    new_id: Callable[[str], str]
    request_id: str | None = None  # None for what happens by itself
    idempotency_key: str | None = None
    clock_id: str | None = None
    api: str = "v1"  # that it came through: the keys of one mean nothing in another

    def at(self, now: datetime, clock_id: str | None) -> Act:
        """The same act at a test clock's time."""
        return replace(self, now=now, clock_id=clock_id)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that can be remembered: an HTTP-like status and a JSON body."""

    status: int
    body: Json
    original_request_id: str | None = field(default=None)  # set when this is a replay


def perform(
    database: Database,
    act: Act,
    operation: str,
    parameters: Json,
    begin: Callable[[Connection], Json],
    finish: Callable[[Json], Answer] | None = None,
) -> Answer:
    """Do ``begin`` in one transaction, then ``finish`` outside it, at most once per key.

    Without ``finish``, what ``begin`` returns is the answer's body. With it, what ``begin`` returns
    is committed with the key, and ``finish`` gets it, now or in a later request that repeats the
    key; so ``finish`` must itself be safe to repeat.

    A repeat with the same parameters gets the first answer. Raises ``IdempotencyMismatch`` when
    they differ and ``IdempotencyInUse`` when the first is still under way after some seconds. Work
    that raises leaves nothing behind, the claim of the key included.
    """
    assert act.request_id is not None, "what is asked for has a request"
    if act.idempotency_key is None:
        with database.transaction() as conn:
            result = begin(conn)
            acts.insert(conn, act.account_id, act.request_id, act.actor, operation, act.now)
        return Answer(200, result) if finish is None else finish(result)

    key = act.idempotency_key
    said = fingerprint(operation, parameters)
    started = time.monotonic()
    while True:
        elapsed_s = time.monotonic() - started
        moment = act.now + timedelta(seconds=elapsed_s)
        with database.transaction() as conn:
            if idempotency.claim(
                conn, act.account_id, act.api, key, said, act.request_id, now=act.now
            ):
                result = begin(conn)
                acts.insert(conn, act.account_id, act.request_id, act.actor, operation, act.now)
                if finish is None:
                    idempotency.remember(conn, act.account_id, act.api, key, 200, result)
                    return Answer(200, result)
                idempotency.remember_unfinished(
                    conn, act.account_id, act.api, key, result, leased_until=moment + LEASE
                )
                break
            first = idempotency.find(conn, act.account_id, act.api, key)
            if first is None:
                continue  # it was deleted between the two statements: the key is fresh
            if replay := replay_of(first, key, said):
                return replay
            if idempotency.take_over(
                conn, act.account_id, act.api, key, now=moment, leased_until=moment + LEASE
            ):
                assert first.unfinished is not None
                result = first.unfinished
                break
        if elapsed_s > PATIENCE_S:
            raise idempotency.in_use(key)
        time.sleep(PAUSE_S)

    assert finish is not None, f"{operation} was left unfinished but has nothing to finish it"
    answer = finish(result)
    with database.transaction() as conn:
        if idempotency.remember(conn, act.account_id, act.api, key, answer.status, answer.body):
            return answer
        # We were thought dead, and another has answered: there is one answer.
        first = idempotency.find(conn, act.account_id, act.api, key)
        return (first and replay_of(first, key, said)) or answer


def fingerprint(operation: str, parameters: Json) -> bytes:
    """What two requests have in common that say the same."""
    return hashlib.sha256(msgspec.json.encode([operation, parameters], order="sorted")).digest()


def replay_of(first: idempotency.KeyedRequest, key: str, said: bytes) -> Answer | None:
    """The answer to a request that repeats ``first``, once it has one.

    Raises ``IdempotencyMismatch`` when what is said is not what was said first.
    """
    if first.fingerprint != said:
        raise IdempotencyMismatch(
            "Keys for idempotent requests can only be used with the same parameters they "
            f"were first used with. Try using a key other than '{key}' if you meant to "
            "execute a different request."
        )
    if first.status is None or first.body is None:
        return None
    return Answer(first.status, first.body, original_request_id=first.request_id)
