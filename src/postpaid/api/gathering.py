"""Requests that report usage, gathered while others are being recorded, and answered together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from postpaid.billing.check_usage import Reported
from postpaid.billing.gather_usage import Waiting, gather_usage
from postpaid.billing.perform import Act, Answer
from postpaid.billing.record_usage import Recorded
from postpaid.storage.database import Connection, Database

AT_ONCE = 1  # transactions under way in a process: a second makes both smaller, and it no faster
EVENTS_MAX = 5_000  # in one transaction


@dataclass(frozen=True, slots=True)
class Usage:
    """What a gathered route's handler returns: events to record, and how to answer then.

    ``silent``: the answer does not tell what was rejected, which is then told in a report.
    """

    reported: Reported
    respond: Callable[[Connection, Act, Recorded], Mapping[str, Any]]
    silent: bool = False


class Gatherer:
    """Lets requests wait for a transaction to have room, and then share it.

    Nobody waits for more to come: a request that is alone is recorded alone.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Waiting, asyncio.Future[Answer]]] = []
        self._under_way = 0
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="usage")

    async def record(self, waiting: Waiting) -> Answer:
        """The request's answer, once its usage is stored. Raises what is wrong with it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((waiting, future))
        self._begin(loop)
        return await future

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._under_way >= AT_ONCE or not self._waiting:
            return
        events = 0
        taken = 0
        for waiting, _ in self._waiting:
            events += len(waiting.reported.event_names)
            if taken and events > EVENTS_MAX:
                break
            taken += 1
        together, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._under_way += 1
        self._threads.submit(self._record, loop, together)

    def _record(
        self,
        loop: asyncio.AbstractEventLoop,
        together: list[tuple[Waiting, asyncio.Future[Answer]]],
    ) -> None:
        gather_usage(self._database, [waiting for waiting, _ in together])
        loop.call_soon_threadsafe(self._end, loop, together)

    def _end(
        self,
        loop: asyncio.AbstractEventLoop,
        together: list[tuple[Waiting, asyncio.Future[Answer]]],
    ) -> None:
        self._under_way -= 1
        self._begin(loop)
        for waiting, future in together:
            if future.done():  # whoever asked is gone
                continue
            if waiting.answer is not None:
                future.set_result(waiting.answer)
            else:
                assert waiting.error is not None
                future.set_exception(waiting.error)
