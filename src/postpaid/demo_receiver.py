"""Whom the demo's webhooks reach: a little HTTP server that keeps what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any

from standardwebhooks import Webhook

BODY_BYTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Receiver:
    """A receiver at ``url``; deliveries wait until somebody reads them."""

    url: str
    deliveries: SimpleQueue[tuple[dict[str, str], bytes]] = field(default_factory=SimpleQueue)

    def read(self, secret: str, *, patience_s: float) -> dict[str, Any]:
        """The next event, once its signature has been verified.

        Raises ``Empty`` when none comes in time, and ``WebhookVerificationError`` for a forgery.
        """
        headers, body = self.deliveries.get(timeout=patience_s)
        Webhook(secret).verify(body, headers)
        event: dict[str, Any] = json.loads(body)
        return event


@contextmanager
def listening() -> Iterator[Receiver]:
    """A receiver on a free port of this machine, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers["Content-Length"]), BODY_BYTES_MAX)
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.deliveries.put((headers, self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the demo says what happened."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever, name="receiver", daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
