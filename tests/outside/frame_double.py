"""A small Frame, made from what is known of its API: transfers, refunds and payment methods.

It acts once per ``Idempotency-Key`` only if told to, because Frame promises that in its newer
clients alone. The line to it loses what it is told to lose.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

KEY = "sk_sandbox_12345"
DECLINES = {
    "pm_insufficient": ("insufficient_funds", "The card has insufficient funds."),
    "pm_expired": ("expired_card", "The card has expired."),
}


@dataclass
class FrameDouble:
    """Their books, newest last, and what happens to the next requests that act."""

    url: str = ""
    honours_keys: bool = False
    transfers: list[dict[str, Any]] = field(default_factory=list)
    refunds: list[dict[str, Any]] = field(default_factory=list)
    faults: deque[str] = field(default_factory=deque)
    keys: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    stall_s: float = 1.5
    lock: threading.Lock = field(default_factory=threading.Lock)

    def post(self, path: str, body: dict[str, Any], key: str | None) -> tuple[int, dict[str, Any]]:
        with self.lock:
            if key and self.honours_keys and key in self.keys:
                return self.keys[key]
            answer = self._transfer(body) if path == "/v1/transfers" else self._refund(body)
            if key:
                self.keys[key] = answer
            return answer

    def _transfer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if not isinstance(body.get("amount"), int) or not body.get("account_id"):
            return _refusal(422, "validation_errors", {"message": "amount must be an integer"})
        made = {
            "id": str(uuid.uuid4()),
            "object": "transfer",
            "status": "succeeded" if body["currency"] == "USD" else "pending",
            "created": int(time.time()),
            **body,
        }
        if body["source_payment_method_id"] in DECLINES:
            code, message = DECLINES[body["source_payment_method_id"]]
            self.transfers.append({**made, "status": "failed", "failure_reason": code})
            data = {"failure_code": code, "failure_message": message}
            return _refusal(422, "charge_declined", {"message": "Declined", "data": data})
        self.transfers.append(made)
        return 201, made

    def _refund(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if not any(each["id"] == body["transfer"] for each in self.transfers):
            return _refusal(404, "not_found", {"message": "No such transfer"})
        made = {"id": str(uuid.uuid4()), "object": "refund", "status": "succeeded", **body}
        self.refunds.append(made)
        return 201, made

    def get(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        _, _, kind, *rest = path.split("/")
        if kind == "payment_methods":
            status = {"pm_blocked": "blocked"}.get(rest[0], "active")
            return 200, {"id": rest[0], "object": "payment_method", "status": status}
        rows = self.transfers if kind == "transfers" else self.refunds
        if rest:
            found = [each for each in rows if each["id"] == rest[0]]
            missing = _refusal(404, "not_found", {"message": "No such thing"})
            return (200, found[0]) if found else missing
        newest = [
            each for each in rows[::-1] if query.get("transfer") in (None, each.get("transfer"))
        ]
        page, size = int(query.get("page", 1)), min(int(query.get("per_page", 10)), 100)
        has_more = len(newest) > page * size
        meta = {"page": page, "url": path, "has_more": has_more, "prev": None, "next": None}
        return 200, {"meta": meta, "data": newest[(page - 1) * size : page * size]}


def _refusal(status: int, code: str, details: Any) -> tuple[int, dict[str, Any]]:
    return status, {"status": status, "error": "No", "code": code, "error_details": details}


@contextmanager
def frame_double() -> Iterator[FrameDouble]:
    """It answers until the block ends."""
    double = FrameDouble()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._answer(*double.get(parts.path, dict(parse_qsl(parts.query))))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault = double.faults.popleft() if double.faults else ""
            if fault == "lose request":
                self._hang_up()
                return
            if not self._is_allowed():
                self._answer(401, {})
                return
            answer = double.post(self.path, body, self.headers.get("Idempotency-Key"))
            match fault.split():
                case ["lose", _]:
                    self._hang_up()
                case ["stall"]:
                    time.sleep(double.stall_s)
                    self._hang_up()
                case ["answer", code]:
                    self._answer(int(code), {"error": "Something went wrong"})
                case _:
                    self._answer(*answer)

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            if not self._is_allowed():
                status, body = 401, {"error": "Unauthorized", "status": 401}
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _is_allowed(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {KEY}"

        def _hang_up(self) -> None:
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    double.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield double
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
