"""A load of HTTP requests on kept connections, as cheap for this machine as Python makes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import uvloop


@dataclass(frozen=True, slots=True)
class Load:
    """What a load came to: answers per second, and how long they took, in milliseconds."""

    per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    statuses: dict[int, int]

    @property
    def percentiles(self) -> str:
        return f"p50 {self.p50_ms:.1f}, p90 {self.p90_ms:.1f}, p99 {self.p99_ms:.1f} ms"


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A request's bytes."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def run(host: str, port: int, requests: Iterable[bytes], *, connections: int) -> Load:
    """Send the requests, one at a time on each connection, and wait for every answer."""
    waiting = iter(requests)
    seconds: list[float] = []
    statuses: dict[int, int] = {}

    async def all_of_them() -> float:
        loop = asyncio.get_running_loop()
        clients = []
        for _ in range(connections):
            _, client = await loop.create_connection(
                lambda: _Client(waiting, seconds, statuses, loop.create_future()), host, port
            )
            clients.append(client)
        started = time.perf_counter()
        for client in clients:
            client.next()
        await asyncio.gather(*(client.finished for client in clients))
        return time.perf_counter() - started

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        elapsed_s = runner.run(all_of_them())
    seconds.sort()

    def percentile(percent: float) -> float:
        return 1000 * seconds[min(len(seconds) - 1, int(len(seconds) * percent / 100))]

    return Load(len(seconds) / elapsed_s, percentile(50), percentile(90), percentile(99), statuses)


class _Client(asyncio.Protocol):
    """One connection: sends a request, waits for its answer, sends the next."""

    def __init__(
        self,
        waiting: Iterator[bytes],
        seconds: list[float],
        statuses: dict[int, int],
        finished: asyncio.Future[None],
    ) -> None:
        self.finished = finished
        self._waiting = waiting
        self._seconds = seconds
        self._statuses = statuses
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def next(self) -> None:
        assert self._transport is not None
        bytes_to_send = next(self._waiting, None)
        if bytes_to_send is None:
            if not self.finished.done():
                self.finished.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(bytes_to_send)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + 15
        end = head.find(b"\r\n", at)
        length = int(head[at : end if end >= 0 else len(head)])
        if len(body) < length:
            return
        self._seconds.append(time.perf_counter() - self._sent_at)
        status = int(head[9:12])
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._received = b""
        self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_exception(exc or ConnectionError("the server hung up"))
