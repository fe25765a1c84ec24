"""A Stripe that is not ours (``localstripe``), and an unreliable line to it.

What ``localstripe`` lacks is done on the line, as Stripe does it: the first answer to a key is
kept and given again, another request with the key is refused, and parameters that it does not know
are left out.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

SERVER = """
import socket
from aiohttp import web
from localstripe.resources import Store
Store.dump_to_disk = lambda self: None  # it would be a file that all share
from localstripe.server import app
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
web.run_app(app, sock=listening, print=None)
"""
UNKNOWN_TO_IT = ("description", "reason", "created[gte]", "customer")  # the last, in a list


@contextmanager
def local_stripe() -> Iterator[str]:
    """Run it until the block ends; gives its base URL."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@dataclass
class Line:
    """What happens to the next requests that act, one after the other; then all goes well.

    ``lose request``: it is not passed on. ``lose answer``: it is, and the connection ends without
    an answer. ``reset``: the same, with a reset. ``stall``: it is answered too late. ``answer 500``
    and the like: it is passed on, and something else is answered. ``refuse``: it is not passed on,
    and refused.

    ``meanwhile`` is what somebody else does just before each of the next ones arrives.
    """

    upstream: str
    url: str = ""
    faults: deque[str] = field(default_factory=deque)
    meanwhile: deque[Callable[[], object]] = field(default_factory=deque)
    kept: dict[str, tuple[bytes, int, bytes]] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    stall_s: float = 1.5
    lock: threading.Lock = field(default_factory=threading.Lock)

    def forget_keys(self) -> None:
        """A day has passed."""
        self.kept.clear()

    def pass_on(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """The answer; a repeated key's first one."""
        key = headers.get("idempotency-key") if method == "POST" else None
        with self.lock:
            if key is None:
                return self._send(method, path, headers, body)
            if key in self.kept:
                asked, status, answer = self.kept[key]
                if asked == path.encode() + body:
                    return status, answer
                return 400, _error("idempotency_error", "Keys can only be used with the same.")
            status, answer = self._send(method, path, headers, body)
            self.kept[key] = (path.encode() + body, status, answer)
            return status, answer

    def _send(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        parts = urlsplit(path)
        asked = [pair for pair in parse_qsl(parts.query) if pair[0] not in UNKNOWN_TO_IT]
        given = [
            pair for pair in parse_qsl(body.decode()) if pair[0] not in ("description", "reason")
        ]
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=30)
        try:
            connection.request(
                method,
                parts.path + (f"?{urlencode(asked)}" if asked else ""),
                urlencode(given) if method == "POST" else None,
                {
                    "Authorization": headers.get("authorization", ""),
                    "Content-Type": "application/x-www-form-urlencoded",
                },
            )
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status == 402:  # it calls every error an invalid request
            text = text.replace(b"invalid_request_error", b"card_error")
        return answer.status, text


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"error": {"type": kind, "message": message}}).encode()


@contextmanager
def line_to(upstream: str) -> Iterator[Line]:
    """A line that is open until the block ends."""
    line = Line(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on(b"")

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def _pass_on(self, body: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            line.seen.append((self.command, self.path))
            acts = self.command == "POST"
            fault = line.faults.popleft() if acts and line.faults else ""
            if fault == "lose request":
                self._hang_up()
                return
            if fault == "refuse":
                self._answer(400, _error("invalid_request_error", "This cannot be done now."))
                return
            if acts and line.meanwhile:
                line.meanwhile.popleft()()
            status, answer = line.pass_on(self.command, self.path, headers, body)
            match fault.split():
                case ["lose", _]:
                    self._hang_up()
                    return
                case ["reset"]:
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    self.connection.close()
                    return
                case ["stall"]:
                    time.sleep(line.stall_s)
                case ["answer", code]:
                    status, answer = int(code), _error("api_error", "Something went wrong.")
            self._answer(status, answer)

        def _answer(self, status: int, answer: bytes) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            except OSError:
                self.close_connection = True  # nobody waits for it any more

        def _hang_up(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_: Any) -> None:
            pass

        def finish(self) -> None:
            with suppress(OSError, ValueError):  # it was reset
                super().finish()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    line.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield line
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
