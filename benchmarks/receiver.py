"""``python -m benchmarks.receiver``: takes webhooks as fast as Python can, and counts them.

It reads a request, answers 200 and keeps the connection. ``GET /`` says how many different
``webhook-id``s came, how many requests those were, and when the first and the last new one did;
``DELETE /`` begins anew.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from benchmarks import cores

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
TOLD = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"


@dataclass(frozen=True, slots=True)
class Counted:
    """What has come until now; the moments are seconds of the machine's monotonic clock."""

    different: int
    requests: int
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class Receiver:
    """A receiver that runs in a process of its own."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def counted(self) -> Counted:
        return Counted(**json.loads(self._ask("GET")))

    def forget(self) -> None:
        self._ask("DELETE")

    def _ask(self, method: str) -> bytes:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, "/")
            return connection.getresponse().read()


@contextmanager
def running() -> Iterator[Receiver]:
    """A receiver in a process of its own, away from the first core."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.receiver"], stdout=subprocess.PIPE, text=True
    )
    cores.keep_off_the_first(process.pid)
    assert process.stdout is not None
    try:
        yield Receiver(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(30)


class _Tally:
    """What came over all connections."""

    def __init__(self) -> None:
        self._ids: set[bytes] = set()
        self._requests = 0
        self._first_at = self._last_at = 0.0

    def count(self, webhook_id: bytes) -> None:
        self._requests += 1
        if webhook_id not in self._ids:
            self._ids.add(webhook_id)
            self._last_at = time.monotonic()
            self._first_at = self._first_at or self._last_at

    def told(self) -> bytes:
        counted = Counted(len(self._ids), self._requests, self._first_at, self._last_at)
        return json.dumps(asdict(counted)).encode()


class _Connection(asyncio.Protocol):
    """One sender: its requests come one after the other."""

    tally = _Tally()

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        head = head.lower()
        length = int(_header(head, b"content-length") or b"0")
        if len(body) < length:
            return
        self._received = body[length:]
        self._transport.write(self._answer(head))

    def _answer(self, head: bytes) -> bytes:
        match head.partition(b" ")[0]:
            case b"get":
                told = _Connection.tally.told()
                return TOLD % (len(told), told)
            case b"delete":
                _Connection.tally = _Tally()
            case _:
                _Connection.tally.count(_header(head, b"webhook-id"))
        return OK


def _header(head: bytes, name: bytes) -> bytes:
    """The value of a header in a request's lower-cased head; empty when it is not there."""
    _, found, rest = head.partition(b"\r\n%s:" % name)
    return rest.partition(b"\r\n")[0].strip() if found else b""


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
