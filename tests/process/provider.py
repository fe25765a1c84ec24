"""A payment provider in a process of its own, which speaks as Stripe and keeps a book in a file.

    python provider.py BOOK

A line of the book is a charge that was taken, or a refund that was given back. Keys are honoured as
Stripe does: the first answer is given again, until keys are forgotten. How the payment method is
called says what goes wrong with the first request of a key.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

STALL_S = 1.0
METHOD, OURS = "payment_method", "postpaid_attempt"

Json = dict[str, Any]


class Provider:
    """The intents and refunds, newest first in a list, and the answers by key."""

    def __init__(self, book: Path) -> None:
        self.book = book
        self.intents: list[Json] = []
        self.refunds: list[Json] = []
        self.answers: dict[str, tuple[int, Json]] = {}
        self.heard: set[str] = set()
        self.lock = threading.Lock()

    def is_first(self, key: str) -> bool:
        with self.lock:
            first = key not in self.heard
            self.heard.add(key)
            return first

    def method_of(self, given: dict[str, str]) -> str:
        """Of a charge, and of what a refund gives back."""
        with self.lock:
            of = {each["id"]: each["payment_method"] for each in self.intents}
        return of.get(given["payment_intent"], "") if "payment_intent" in given else given[METHOD]

    def create(self, given: dict[str, str], key: str) -> tuple[int, Json]:
        with self.lock:
            if key not in self.answers:
                make = self._give_back if "payment_intent" in given else self._create
                self.answers[key] = make(given)
            return self.answers[key]

    def _give_back(self, given: dict[str, str]) -> tuple[int, Json]:
        refund: Json = {
            "id": f"re_{len(self.refunds) + 1}",
            "object": "refund",
            "amount": int(given["amount"]),
            "metadata": {OURS: given[f"metadata[{OURS}]"]},
            "payment_intent": given["payment_intent"],
            "status": "succeeded",
        }
        self.refunds.insert(0, refund)
        self._write(given["payment_intent"], -refund["amount"], refund["id"])
        return 200, refund

    def _write(self, whose: str, amount: int, name: str) -> None:
        with self.book.open("a") as book:
            book.write(json.dumps([whose, amount, name]) + "\n")
            book.flush()
            os.fsync(book.fileno())

    def _create(self, given: dict[str, str]) -> tuple[int, Json]:
        intent: Json = {
            "id": f"pi_{len(self.intents) + 1}",
            "object": "payment_intent",
            "amount": int(given["amount"]),
            "client_secret": "secret",
            "customer": given["customer"],
            "last_payment_error": None,
            "metadata": {OURS: given[f"metadata[{OURS}]"]},
            "next_action": None,
            "payment_method": given[METHOD],
            "status": "succeeded",
        }
        self.intents.insert(0, intent)
        if given[METHOD] == "pm_declines":
            error = {"type": "card_error", "code": "card_declined", "message": "No."}
            intent |= {"status": "requires_payment_method", "last_payment_error": error}
            return 402, {"error": error | {"decline_code": "do_not_honor"}}
        self._write(intent["customer"], intent["amount"], intent["id"])
        return 200, intent

    def cancel(self, path: str) -> tuple[int, Json]:
        """Nobody can pay it any more; what was paid stays so."""
        with self.lock:
            [intent] = [each for each in self.intents if each["id"] == path.split("/")[3]]
            if intent["status"] != "requires_payment_method":
                error = {"type": "invalid_request_error", "message": "It is over."}
                return 400, {"error": error}
            intent["status"] = "canceled"
            return 200, intent

    def get(self, path: str, query: dict[str, str]) -> tuple[int, Json]:
        with self.lock:
            _, _, kind, *rest = path.split("/")
            books, by = (
                (self.refunds, "payment_intent")
                if kind == "refunds"
                else (self.intents, "customer")
            )
            if rest:
                return 200, next(each for each in books if each["id"] == rest[0])
            mine = [each for each in books if each[by] == query[by]]
            return 200, {"object": "list", "data": mine, "has_more": False, "url": path}


def main() -> None:
    provider = Provider(Path(sys.argv[1]))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self.answer(*provider.get(parts.path, dict(parse_qsl(parts.query))))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path == "/forget":
                provider.answers.clear()
                self.answer(200, {})
                return
            if self.path.endswith("/cancel"):
                self.answer(*provider.cancel(self.path))
                return
            given, key = dict(parse_qsl(body.decode())), self.headers["Idempotency-Key"]
            fault = provider.method_of(given) if provider.is_first(key) else ""
            if fault == "pm_losesRequest":
                self.close_connection = True
                return
            answer = provider.create(given, key)
            match fault:
                case "pm_losesAnswer":
                    self.close_connection = True
                    return
                case "pm_stalls":
                    time.sleep(STALL_S)
                case "pm_breaks":
                    answer = 500, {"error": {"type": "api_error", "message": "Sorry."}}
            self.answer(*answer)

        def answer(self, status: int, body: Json) -> None:
            text = json.dumps(body).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
