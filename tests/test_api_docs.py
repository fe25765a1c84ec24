"""What the documents show happens: every request, every answer, the first invoice, every query.

In ``docs/api`` a request is a ``sh`` block with a curl command, and the ``json`` block after it is
its answer. ``cus_…`` is an id, the same one wherever it is written; ``…`` is any value, and at the
end of an object or a list what is left out. The pages are one story, told in the order in which
``docs/api/README.md`` links them.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

import database as databases
from postpaid import clock, worker
from postpaid.api.server import create_app
from postpaid.billing import manage_keys
from postpaid.billing.audit import audit
from postpaid.config import Settings
from postpaid.storage.database import Database
from postpaid.storage.vault import Vault
from serving import serve

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api"
EXAMPLE = re.compile(r"^```sh\n(curl .*?)^```\n\n```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
CURL = re.compile(r"^```sh\ncurl ", re.MULTILINE)
JSON = re.compile(r"^```json$", re.MULTILINE)
PAGE = re.compile(r"\]\(([a-z0-9-]+\.md)\)")
SESSION = re.compile(r"^```python\n(.*?)^```.*?^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)
SQL = re.compile(r"^```sql\n(.*?)^```", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"([a-z_]+_)?…(\w*)")


@dataclass
class Server:
    """A merchant's server, and the ids that the documents have spoken of."""

    url: str
    secret: str
    ids: dict[str, str] = field(default_factory=dict)

    def ask(self, command: str) -> httpx.Response:
        """What curl would get."""
        words = iter(shlex.split(command.replace("\\\n", " ")))
        method, address, data, headers = "", "", [], {}
        for word in words:
            match word:
                case "curl" | "-s":
                    pass
                case "-u":
                    assert next(words) == "$POSTPAID_API_KEY:"
                case "-X":
                    method = next(words)
                case "-G":
                    method = "GET"
                case "-H":
                    name, _, value = next(words).partition(": ")
                    headers[name] = self.filled_in(value)
                case "-d":
                    data.append(self.filled_in(next(words)))
                case _:
                    address = self.filled_in(word.replace("$POSTPAID_URL", self.url))
        body = "&".join(data)
        if method == "GET" and body:
            address, body = f"{address}?{body}", ""
        if body:
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        response = httpx.request(
            method or ("POST" if body else "GET"),
            address,
            content=body.encode(),
            headers=headers,
            auth=None if "Authorization" in headers else (self.secret, ""),
            timeout=30,
            trust_env=False,
        )
        if address.endswith("/advance"):
            self.wait_for_clock(address.removesuffix("/advance"))
        return response

    def wait_for_clock(self, address: str) -> None:
        deadline = time.monotonic() + 60
        status = "advancing"
        while status == "advancing" and time.monotonic() < deadline:
            time.sleep(0.02)
            status = httpx.get(address, auth=(self.secret, ""), trust_env=False).json()["status"]
        assert status == "ready"

    def filled_in(self, text: str) -> str:
        return PLACEHOLDER.sub(lambda found: self.ids[found[0]], text)

    def compare(self, shown: Any, actual: Any, at: str = "answer") -> None:
        """Assert that what a document shows is what there is."""
        if shown == "…":
            return
        if isinstance(shown, dict):
            assert isinstance(actual, dict), at
            if shown.pop("…", None) is None:
                assert shown.keys() == actual.keys(), at
            assert shown.keys() <= actual.keys(), at
            for key, value in shown.items():
                self.compare(value, actual[key], f"{at}.{key}")
        elif isinstance(shown, list):
            if shown[-1:] == ["…"]:
                actual = actual[: len(shown) - 1]
                shown = shown[:-1]
            assert len(shown) == len(actual), at
            for place, (one, other) in enumerate(zip(shown, actual, strict=True)):
                self.compare(one, other, f"{at}[{place}]")
        elif isinstance(shown, str) and "…" in shown:
            self.learn(shown, actual, at)
        else:
            assert (shown, type(shown)) == (actual, type(actual)), at

    def learn(self, shown: str, actual: Any, at: str) -> None:
        """Compare a text with placeholders, and remember what those stand for that are new."""
        assert isinstance(actual, str), at
        found = list(PLACEHOLDER.finditer(shown))
        pattern, end = "", 0
        for each in found:
            known = re.escape(self.ids[each[0]]) if each[0] in self.ids else f"{each[1] or ''}\\w+"
            pattern += re.escape(shown[end : each.start()]) + f"({known})"
            end = each.end()
        matched = re.fullmatch(pattern + re.escape(shown[end:]), actual)
        assert matched, f"{at}: {actual} is not {shown}"
        for each, text in zip(found, matched.groups(), strict=True):
            if each[1]:
                self.ids[each[0]] = text


def read_json(text: str) -> Any:
    """JSON in which ``…`` may stand for a value, or for the rest of an object or a list."""
    text = re.sub(r"(?<=: )…", '"…"', text)
    text = re.sub(r"(?<!\")…(?=\s*\})", '"…": "…"', text)
    return json.loads(re.sub(r"(?<!\")…(?=\s*\])", '"…"', text))


@pytest.fixture(scope="module")
def engine(server_url: str) -> Iterator[tuple[str, Database]]:
    """The API's base URL and its database, with a worker that does what is due."""
    with databases.clone(server_url) as url:
        database = Database(url, vault=Vault.of_new_key())
        stop = threading.Event()
        thread = threading.Thread(target=worker.run, args=(database, stop))
        thread.start()
        try:
            with serve(create_app(database, Settings())) as base:
                yield base, database
        finally:
            stop.set()
            thread.join()
            database.close()


@pytest.fixture
def server(engine: tuple[str, Database]) -> Iterator[Server]:
    """The server, for a merchant of one's own; afterwards the audit must be silent."""
    base, database = engine
    now = clock.now()
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=now)
        key = manage_keys.create_key(conn, account, now=now)
    yield Server(base, key.secret)
    assert audit(database) == []


def test_every_request_in_the_api_documents_is_answered_as_shown(server: Server) -> None:
    pages = list(dict.fromkeys(["README.md", *PAGE.findall((API / "README.md").read_text())]))
    assert sorted(pages) == sorted(path.name for path in API.glob("*.md"))
    for page in pages:
        text = (API / page).read_text()
        examples = EXAMPLE.findall(text)
        assert len(examples) == len(CURL.findall(text)) == len(JSON.findall(text)), page
        for command, shown in examples:
            answer = server.ask(command)
            expected = read_json(shown)
            where = f"{page}: {command}{answer.text}\n"
            assert answer.is_success == ("error" not in expected), where
            server.compare(expected, answer.json(), where)


def test_the_first_invoice_in_the_readme_is_what_it_says(server: Server) -> None:
    [(session, printed)] = SESSION.findall((ROOT / "README.md").read_text())
    session = session.replace("http://127.0.0.1:8420", server.url)
    session = session.replace("sk_test_first_invoice", server.secret)
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(session, "README.md", "exec"), {})
    assert output.getvalue() == printed


@pytest.mark.parametrize("query", SQL.findall((ROOT / "docs" / "operating.md").read_text()))
def test_every_query_for_operators_runs(conn: psycopg.Connection, query: str) -> None:
    conn.execute(query.encode())
