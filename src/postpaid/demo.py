"""The demo: a customer's month, billed before your eyes, through the HTTP API and nothing else."""

from __future__ import annotations

import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from queue import Empty
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text
from standardwebhooks import WebhookVerificationError

from postpaid import serving
from postpaid.config import Settings, program
from postpaid.core.money import allocate, format_amount
from postpaid.demo_receiver import Receiver, listening
from postpaid.serving import CannotRun

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CALLS = 12_345
EVENTS = 500
TOTAL = 12_245  # cents: 99.00 for the month that begins, and 2,345 calls at 0.01
CONNECTIONS = 4
PATIENCE_S = 120  # for a clock to arrive

Object = dict[str, Any]


def tell(parent: Path, *, keep: bool) -> None:
    """Bill a month in a new data directory under ``parent``, and say what happens.

    Raises ``CannotRun`` when the invoice is not what it must be.
    """
    console = Console(highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    with _new_folder(parent, keep=keep) as folder:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("Starting PostgreSQL and the server", total=None)
            with (
                listening() as receiver,
                _server(folder) as (url, secret),
                _client(url, secret) as client,
            ):
                story = _Story(client, progress)
                progress.remove_task(task)
                story.say(f"PostgreSQL and the server run, with their data in {folder}")
                with story.told_by_webhook(receiver) as await_word_of:
                    invoice = story.bill_a_month()
                    await_word_of(invoice)
        console.print(_table(invoice))
        if (invoice["status"], invoice["total"]) != ("paid", TOTAL):
            raise CannotRun(f"It should be paid, and be {_usd(TOTAL)}: something is wrong with us.")
        flags = f" --data-dir {shlex.quote(str(folder))}" if keep else ""
        console.print(_where_next(flags), soft_wrap=True, markup=False)
        if keep:
            console.print(f"The key to what you saw: {secret}")


class _Story:
    """What is done, told as it is done."""

    def __init__(self, client: httpx.Client, progress: Progress) -> None:
        self._client = client
        self._progress = progress

    def say(self, sentence: str) -> None:
        line = Text.assemble(("✓ ", "green"), sentence)
        self._progress.console.print(line, soft_wrap=True)

    @contextmanager
    def told_by_webhook(self, receiver: Receiver) -> Iterator[Callable[[Object], None]]:
        """An endpoint for paid invoices; the block gets a function that waits for word of one."""
        endpoint = self._post(
            "/v1/webhook_endpoints", {"url": receiver.url, "enabled_events[0]": "invoice.paid"}
        )
        self.say("A webhook is to tell us of every invoice that is paid")

        def await_word_of(invoice: Object) -> None:
            told: Object = {"id": None}
            while told["id"] != invoice["id"]:
                try:
                    told = receiver.read(endpoint["secret"], patience_s=PATIENCE_S)["data"][
                        "object"
                    ]
                except (Empty, WebhookVerificationError) as error:
                    raise CannotRun("The webhook did not come as it should have.") from error
            self.say(f"A webhook came, rightly signed: invoice.paid, {_usd(told['amount_paid'])}")

        yield await_word_of
        _accepted(self._client.delete(f"/v1/webhook_endpoints/{endpoint['id']}"))

    def bill_a_month(self) -> Object:
        """The invoice for the fee of February and the usage of January."""
        meter = self._post(
            "/v1/billing/meters",
            {
                "display_name": "API calls",
                "event_name": "api_calls",
                "default_aggregation[formula]": "sum",
            },
        )
        self.say("A meter sums up API calls")

        monthly = {"currency": "usd", "recurring[interval]": "month"}
        access = self._post("/v1/products", {"name": "Weather API"})
        fee = self._post("/v1/prices", {**monthly, "product": access["id"], "unit_amount": 9900})
        calls = self._post("/v1/products", {"name": "API calls"})
        usage = self._post(
            "/v1/prices",
            {
                **monthly,
                "product": calls["id"],
                "recurring[usage_type]": "metered",
                "recurring[meter]": meter["id"],
                "billing_scheme": "tiered",
                "tiers_mode": "graduated",
                "tiers[0][up_to]": 10_000,
                "tiers[0][unit_amount]": 0,
                "tiers[1][up_to]": "inf",
                "tiers[1][unit_amount]": 1,
            },
        )
        self.say("One price is $99.00 a month; another includes 10,000 calls, then $0.01 each")

        clock = self._post(
            "/v1/test_helpers/test_clocks", {"frozen_time": _seconds(START), "name": "The demo"}
        )
        customer = self._post(
            "/v1/customers",
            {
                "name": "Acme",
                "test_clock": clock["id"],
                "payment_method": "pm_card_visa",
                "invoice_settings[default_payment_method]": "pm_card_visa",
            },
        )
        subscription = self._post(
            "/v1/subscriptions",
            {
                "customer": customer["id"],
                "items[0][price]": fee["id"],
                "items[1][price]": usage["id"],
            },
        )
        end = datetime.fromtimestamp(subscription["items"]["data"][0]["current_period_end"], UTC)
        self.say(f"{_on(START)}: Acme subscribes, and its card pays for {START:%B}")

        self._advance(clock, end - HOUR)
        self._send_usage(customer, until=end - HOUR)
        self.say(f"{START:%B}: {CALLS:,} calls are reported, in {EVENTS} events")
        preview = self._post("/v1/invoices/create_preview", {"subscription": subscription["id"]})
        self.say(f"{_on(end - HOUR)}: the next invoice, as a preview, is {_usd(preview['total'])}")

        self._advance(clock, end + HOUR)
        self.say(f"{_on(end + HOUR)}: the month is closed, invoiced and charged")
        subscription = self._get(f"/v1/subscriptions/{subscription['id']}")
        return self._get(f"/v1/invoices/{subscription['latest_invoice']}")

    def _advance(self, clock: Object, to: datetime) -> None:
        """Let the customer's time pass, with all that falls due in it."""
        path = f"/v1/test_helpers/test_clocks/{clock['id']}"
        deadline = time.monotonic() + PATIENCE_S
        task = self._progress.add_task(f"Time passes until {_on(to)}", total=None)
        clock = self._post(f"{path}/advance", {"frozen_time": _seconds(to)})
        while clock["status"] == "advancing" and time.monotonic() < deadline:
            time.sleep(0.05)
            clock = self._get(path)
        if clock["status"] != "ready":
            raise CannotRun(f"The clock did not arrive at {_on(to)}: it is {clock['status']}.")
        self._progress.remove_task(task)

    def _send_usage(self, customer: Object, *, until: datetime) -> None:
        """Report the calls over several connections; there are fewer of them at weekends."""
        moments = [START + (until - START) * n // EVENTS for n in range(EVENTS)]
        calls = allocate(CALLS, [1 if moment.weekday() >= 5 else 4 for moment in moments])
        events = [
            {
                "event_name": "api_calls",
                "identifier": f"calls-{moment:%Y-%m-%dT%H:%M:%S}",
                "timestamp": _seconds(moment),
                "payload[stripe_customer_id]": customer["id"],
                "payload[value]": value,
            }
            for moment, value in zip(moments, calls, strict=True)
        ]
        task = self._progress.add_task("Usage is reported", total=EVENTS)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for _ in pool.map(lambda event: self._post("/v1/billing/meter_events", event), events):
                self._progress.advance(task)
        self._progress.remove_task(task)

    def _get(self, path: str) -> Object:
        return _accepted(self._client.get(path))

    def _post(self, path: str, form: Mapping[str, str | int]) -> Object:
        return _accepted(self._client.post(path, data=dict(form)))


def _accepted(response: httpx.Response) -> Object:
    if response.is_success:
        answer: Object = response.json()
        return answer
    raise CannotRun(f"{response.request.method} {response.url.path} failed: {response.text}")


# ─── Around it ───────────────────────────────────────────────────────────────────────────────


@contextmanager
def _new_folder(parent: Path, *, keep: bool) -> Iterator[Path]:
    """A new folder, which goes when the block ends, and ``parent`` with it if it is new as well."""
    new = not parent.exists()
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=parent))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
            if new:
                with suppress(OSError):
                    parent.rmdir()


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, str]]:
    """A server of our own on a free port: its URL and its key."""
    settings = Settings(data_dir=folder, webhook_allowed_networks=("127.0.0.1",))
    serving.import_ahead()
    with serving.listen("127.0.0.1", 0) as listener, serving.opened(settings) as database:
        secret = serving.first_key(database, settings)
        assert secret is not None, "the data directory is new"
        with serving.engine(database, settings, listener):
            yield serving.base_url(listener), secret


def _client(url: str, secret: str) -> httpx.Client:
    return httpx.Client(base_url=url, auth=(secret, ""), timeout=PATIENCE_S, trust_env=False)


# ─── On the screen ───────────────────────────────────────────────────────────────────────────


def _table(invoice: Object) -> Table:
    table = Table(title=f"Invoice {invoice['number']}, {invoice['status']}", show_footer=True)
    table.add_column("", footer="Total")
    table.add_column("Quantity", justify="right")
    table.add_column("Amount", justify="right", footer=_usd(invoice["total"]))
    for line in invoice["lines"]["data"]:
        table.add_row(line["description"], f"{line['quantity']:,}", _usd(line["amount"]))
    return table


def _where_next(flags: str) -> str:
    return f"""
Where to look next:
  {program()} serve{flags}
      runs this for as long as you like
  http://127.0.0.1:8420/docs
      then describes the API, which Stripe's libraries speak
  README.md
      leads from here to an invoice of your own"""


def _usd(cents: int) -> str:
    return format_amount(Decimal(cents), "usd")


def _on(moment: datetime) -> str:
    """The day, and the time unless the day begins then."""
    return f"{moment.day} {moment:%B}" + (f"{moment:, %H:%M}" if moment.hour else "")


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
