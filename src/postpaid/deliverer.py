"""The deliverer: webhooks, sent by many at once, in one thread of the worker.

Every endpoint has a line of its own: so many sockets, so many deliveries in hand. A line that waits
for a slow receiver keeps no other one waiting, and of those that fail only so many have a line at
once. Any number of deliverers share a database.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from postpaid import clock, ids
from postpaid.api.frame import event_shapes
from postpaid.api.stripe import events, thin_events
from postpaid.billing import deliver
from postpaid.billing.deliver import Message, Render, Taken, Tried
from postpaid.billing.perform import Act
from postpaid.core.deliveries import DELAYS, LEASE, EndpointStatus, Facade, Outcome, Payload
from postpaid.core.values import replace
from postpaid.outside.webhooks.addresses import networks
from postpaid.outside.webhooks.send import TIMEOUT_S, LookUp, Sender, look_up
from postpaid.storage import webhook_endpoints
from postpaid.storage.database import Database
from postpaid.storage.vault import VaultError
from postpaid.storage.webhook_endpoints import DueEndpoint, WebhookEndpoint

log = logging.getLogger(__name__)

T = TypeVar("T")
Key = tuple[int, str]  # an account, and an endpoint of its

POLL_S = 0.25  # how often we look which endpoints have something due
GATHER_S = 0.01  # for how long outcomes are gathered, to be written down together
GRACE_S = 5.0  # for what is being sent when we are told to stop
SAFE_S = LEASE.total_seconds() - TIMEOUT_S - 5  # what is not sent by then is given back
THREADS = 4  # that talk to the database

IN_HAND = 256  # deliveries of one endpoint
IN_HAND_FAILING = 4  # of one that did not take the last one
LINES_MAX = 96  # at once; the others have their turn
LINES_FAILING_MAX = 48  # of those: dead receivers leave room for the living
TURN_S = 5.0  # after which a line ends that others wait for
HELD_S = 5.0  # an endpoint that could not be served
UNSIGNED_S = 60.0  # one whose secret cannot be opened here
SOCKETS_MAX = 400  # of all, as far as each gets its least
SOCKETS = 32  # of one endpoint
SOCKETS_MIN = 4

RENDERS: dict[tuple[Facade, Payload], Render] = {
    (Facade.STRIPE, Payload.SNAPSHOT): lambda conn, act, shown: events.to_stripe(
        conn, act, [each.event for each in shown]
    ),
    (Facade.STRIPE, Payload.THIN): lambda conn, act, shown: [
        thin_events.to_stripe(each.event, livemode=act.livemode) for each in shown
    ],
    (Facade.FRAME, Payload.SNAPSHOT): event_shapes.to_frame,
}


def run(
    database: Database,
    stop: threading.Event,
    allowed_networks: Sequence[str] = (),
    *,
    look_up: LookUp = look_up,
    timeout_s: float = TIMEOUT_S,
    delays: Sequence[timedelta] = DELAYS,
) -> None:
    """Deliver until ``stop`` is set. Raises ``ValueError`` for what is no network."""
    allowed = networks(allowed_networks)
    while not stop.is_set():
        try:
            sender = Sender(allowed, look_up=look_up, timeout_s=timeout_s)
            asyncio.run(_Deliverer(database, stop, sender, delays).run())
        except Exception:
            log.exception("The deliverer failed; what is due stays due.")
            stop.wait(POLL_S)


@dataclass(slots=True)
class _Line:
    """One endpoint's way out: what is in hand, and what came of it and is yet to be written."""

    act: Act
    endpoint_id: str
    sockets: int
    free: asyncio.Semaphore
    failing: bool
    since: float
    endpoint: WebhookEndpoint | None = None  # as it was seen last; None: it is gone
    in_hand: int = 0
    trains: set[asyncio.Task[None]] = field(default_factory=set)
    outcomes: list[tuple[datetime, Tried]] = field(default_factory=list)
    writing: asyncio.Task[None] | None = None

    def note(self, endpoint: WebhookEndpoint | None) -> None:
        """Remember how the endpoint was seen last."""
        self.endpoint = endpoint
        if endpoint is not None:
            self.failing = endpoint.failing_since is not None

    def is_still(self, taken: WebhookEndpoint) -> bool:
        """Whether what was taken for it may go: nobody removed, disabled or moved it since."""
        now = self.endpoint
        return now is not None and now.status == EndpointStatus.ENABLED and now.url == taken.url


class _Deliverer:
    def __init__(
        self,
        database: Database,
        stop: threading.Event,
        sender: Sender,
        delays: Sequence[timedelta],
    ) -> None:
        self._delays = delays
        self._database = database
        self._stop = stop
        self._sender = sender
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhooks")
        self._lines: dict[Key, _Line] = {}
        self._queue: dict[Key, DueEndpoint] = {}  # without a line, whoever waits longest first
        self._held: dict[Key, float] = {}  # and until when
        self._silent_until = 0.0  # about secrets that cannot be opened
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        with self._threads:
            async with self._sender:
                try:
                    while not self._stop.is_set():
                        await self._look()
                        await asyncio.to_thread(self._stop.wait, POLL_S)
                finally:
                    await self._finish()

    async def _look(self) -> None:
        """Open lines for endpoints that have something due, as many as may be open at once."""
        now, moment = clock.now(), time.monotonic()
        self._held = {key: until for key, until in self._held.items() if until > moment}
        due = {(each.account_id, each.id): each for each in await self._in_thread(self._due, now)}
        waiting = [key for key in self._queue if key in due]
        waiting += [key for key in due if key not in self._queue]
        self._queue = {
            key: due[key] for key in waiting if key not in self._lines and key not in self._held
        }
        failing = sum(each.failing for each in self._lines.values())
        for key, endpoint in list(self._queue.items()):
            if len(self._lines) >= LINES_MAX:
                break
            if endpoint.failing and failing >= LINES_FAILING_MAX:
                continue
            failing += endpoint.failing
            del self._queue[key]
            self._open(key, endpoint, now)

    def _open(self, key: Key, endpoint: DueEndpoint, now: datetime) -> None:
        act = Act(endpoint.account_id, endpoint.livemode, "deliverer", now, ids.new_id)
        left = SOCKETS_MAX - sum(each.sockets for each in self._lines.values())
        most = SOCKETS_MIN if endpoint.failing else SOCKETS
        sockets = max(SOCKETS_MIN, min(most, left // 4))  # there is always some left
        free = asyncio.Semaphore(sockets)
        line = _Line(act, endpoint.id, sockets, free, endpoint.failing, time.monotonic())
        self._lines[key] = line
        task = asyncio.create_task(self._serve(line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_over(self, line: _Line) -> bool:
        """Whether the line takes nothing more: it has had its turn, and others wait for it."""
        if self._stop.is_set():
            return True
        if time.monotonic() - line.since < TURN_S:
            return False
        return any(line.failing or not each.failing for each in self._queue.values())

    def _due(self, now: datetime) -> list[DueEndpoint]:
        with self._database.connection() as conn:
            return webhook_endpoints.due(conn, now=now)

    async def _finish(self) -> None:
        """Let what is being sent end, for a while; give the rest back."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE_S)
        for line in list(self._lines.values()):
            for train in line.trains:
                train.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE_S)

    # ─── One line ────────────────────────────────────────────────────────────────────────────

    async def _serve(self, line: _Line) -> None:
        """Take and send until nothing is due, and everything in hand is written down."""
        key = (line.act.account_id, line.endpoint_id)
        try:
            while True:
                taken = None
                room = (IN_HAND_FAILING if line.failing else IN_HAND) - line.in_hand
                if room > 0 and not self._is_over(line):
                    taken = await self._take(line, room)
                if taken is not None:
                    self._send_all(line, taken)
                elif not line.trains and line.writing is None:
                    return
                await self._some_progress(line)
        except VaultError as error:
            self._held[key] = time.monotonic() + UNSIGNED_S
            if time.monotonic() >= self._silent_until:
                self._silent_until = time.monotonic() + UNSIGNED_S
                log.error(
                    "Webhook endpoint %s, and perhaps others, are told nothing from here. %s",
                    line.endpoint_id,
                    error,
                )
        except Exception:
            self._held[key] = time.monotonic() + HELD_S
            log.exception(
                "Webhook endpoint %s: delivering failed; it is tried again.", line.endpoint_id
            )
        finally:
            del self._lines[key]

    async def _take(self, line: _Line, limit: int) -> Taken | None:
        act = replace(line.act, now=clock.now())
        taken = await self._in_thread(
            deliver.take, self._database, act, line.endpoint_id, RENDERS, limit=limit
        )
        if taken is not None:
            line.note(taken.endpoint)
        return taken

    async def _some_progress(self, line: _Line) -> None:
        """Wait until there is room for more, nothing left to wait for, or a moment has passed."""
        waiting: set[asyncio.Task[None]] = set(line.trains)
        if line.writing is not None:
            waiting.add(line.writing)
        if waiting:
            await asyncio.wait(waiting, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)

    def _send_all(self, line: _Line, taken: Taken) -> None:
        deadline = time.monotonic() + SAFE_S
        for train in taken.trains:
            line.in_hand += len(train)
            task = asyncio.create_task(self._send_train(line, taken, train, deadline))
            line.trains.add(task)
            task.add_done_callback(line.trains.discard)

    async def _send_train(
        self, line: _Line, taken: Taken, train: Sequence[Message], deadline: float
    ) -> None:
        """One subject's messages, one after the other, until one is not taken."""
        going = True
        for message in train:
            outcome = None
            if going:
                try:
                    async with line.free:
                        late = time.monotonic() > deadline or self._stop.is_set()
                        if not late and line.is_still(taken.endpoint):
                            outcome = await self._send(taken, message)
                except asyncio.CancelledError:
                    outcome = None  # we are told to stop, and give it back
                except Exception:  # the others must not be lost with it
                    log.exception("Event %s could not be sent.", message.delivery.event_id)
                    problem = "It could not be sent."
                    outcome = Outcome(clock.now(), 0, None, problem, None, sent=False)
                going = outcome is not None and outcome.delivered
            self._note(line, taken, Tried(message.delivery, outcome))

    async def _send(self, taken: Taken, message: Message) -> Outcome:
        now = clock.now()
        if message.body is None:
            again = not message.gone
            return Outcome(now, 0, None, message.problem, None, sent=False, again=again)
        headers = taken.headers(message, now=now)
        answer = await self._sender.send(taken.endpoint.url, message.body, headers)
        return Outcome(now, answer.duration_ms, answer.status_code, answer.error, answer.excerpt)

    def _note(self, line: _Line, taken: Taken, tried: Tried) -> None:
        line.outcomes.append((taken.leased_until, tried))
        if line.writing is None:
            line.writing = asyncio.create_task(self._write(line))

    async def _write(self, line: _Line) -> None:
        """Write down the outcomes, in the order in which they came."""
        try:
            while line.outcomes:
                await asyncio.sleep(GATHER_S)
                outcomes, line.outcomes = line.outcomes, []
                try:
                    line.note(await self._in_thread(self._record, line, outcomes))
                except Exception:
                    log.exception(
                        "What came of webhooks could not be written; they are sent again."
                    )
                line.in_hand -= len(outcomes)
        finally:
            line.writing = None

    def _record(
        self, line: _Line, outcomes: Sequence[tuple[datetime, Tried]]
    ) -> WebhookEndpoint | None:
        """Write down outcomes; returns the endpoint as it is now."""
        endpoint = None
        by_lease: defaultdict[datetime, list[Tried]] = defaultdict(list)
        for leased_until, tried in outcomes:
            by_lease[leased_until].append(tried)
        act = replace(line.act, now=clock.now())
        with self._database.transaction() as conn:
            for leased_until, of_one in by_lease.items():
                endpoint = deliver.record(
                    conn, act, line.endpoint_id, leased_until, of_one, delays=self._delays
                )
        return endpoint

    async def _in_thread(self, fn: Callable[..., T], *arguments: object, **more: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: fn(*arguments, **more))
