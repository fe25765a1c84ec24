"""A receiver of webhooks on this machine, which takes them, or misbehaves as it is told."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE_S = 60
LOOPBACK = ("127.0.0.0/8",)

Mood = Callable[["Received"], str]
"""How a request is answered: ok, error, redirect, slow, hang, reset, or long."""


@dataclass(frozen=True)
class Received:
    """One request, as it arrived; ``number`` counts from 1."""

    number: int
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Receiver:
    """What came, and what of it was taken; ``mood`` may be changed at any time."""

    url: str = ""
    mood: Mood = lambda received: "ok"
    received: list[Received] = field(default_factory=list)
    taken: list[Received] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Event = field(default_factory=threading.Event)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{len(self.received)} came"
            time.sleep(0.01)

    def wait_for(self, count: int) -> None:
        """Wait until so many events were taken, each counted once."""
        self.wait_until(lambda: len(self.first_taken()) >= count)

    def first_taken(self) -> list[dict[str, Any]]:
        """The events in the order in which each was taken first."""
        found: dict[str, dict[str, Any]] = {}
        with self.lock:
            for each in self.taken:
                found.setdefault(each.event["id"], each.event)
        return list(found.values())


def in_order(events: list[dict[str, Any]], ids: list[str]) -> bool:
    """Whether those of the events that have these ids come in this order, all of them."""
    return [each["id"] for each in events if each["id"] in ids] == ids


@contextmanager
def receiving(mood: Mood = lambda received: "ok") -> Iterator[Receiver]:
    """A receiver on a port of its own, until the block ends."""
    receiver = Receiver(mood=mood)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with receiver.lock:
                received = Received(len(receiver.received) + 1, self.path, headers, body)
                receiver.received.append(received)
            getattr(self, receiver.mood(received))(received)

        def do_GET(self) -> None:  # where somebody follows a redirect
            self.do_POST()

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def ok(self, received: Received) -> None:
            with receiver.lock:
                receiver.taken.append(received)
            self.answer(200, b"thanks")

        def error(self, received: Received) -> None:
            self.answer(500, b"oh no " * 1000)

        def redirect(self, received: Received) -> None:
            self.answer(307, Location=f"{receiver.url}/elsewhere")

        def slow(self, received: Received) -> None:
            receiver.ended.wait(0.5)
            self.ok(received)

        def hang(self, received: Received) -> None:
            receiver.ended.wait(PATIENCE_S)
            self.close_connection = True

        def reset(self, received: Received) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def long(self, received: Received) -> None:
            """An answer without an end."""
            with receiver.lock:
                receiver.taken.append(received)
            self.send_response(200)
            self.end_headers()
            try:
                while not receiver.ended.is_set():
                    self.wfile.write(b"x" * 65_536)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # whoever called has gone

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
