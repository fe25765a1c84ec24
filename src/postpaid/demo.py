"""The demo: a customer's month, billed before your eyes, through the HTTP API and nothing else."""

from __future__ import annotations

import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from postpaid import serving
from postpaid.config import Settings
from postpaid.core.money import allocate, format_amount
from postpaid.serving import CannotRun

START = datetime(2026, 1, 1, tzinfo=UTC)
CALLS = 12_345
EVENTS = 500
TOTAL = 12_245  # cents: 99.00 for the month that begins, and 2,345 calls at 0.01 each
CONNECTIONS = 4
PATIENCE_S = 120  # for the clock to arrive

Object = dict[str, Any]


def tell(parent: Path, *, keep: bool) -> None:
    """Bill a month in a new data directory under ``parent``, and say what happens.

    Raises ``CannotRun`` when the invoice is not what it must be.
    """
    console = Console(highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    with _new_folder(parent, keep=keep) as folder:
        with Progress(*columns, console=console, transient=True) as progress:
            progress.add_task("Starting PostgreSQL and the server", total=None)
            with _server(folder) as (client, secret):
                story = _Story(client, progress)
                story.say(f"PostgreSQL and the server run, for now, in {folder}")
                invoice = story.bill_a_month()
        console.print(_table(invoice))
        if (invoice["status"], invoice["total"]) != ("paid", TOTAL):
            raise CannotRun(f"It should be paid and come to {_usd(TOTAL)}: this is our fault.")
        console.print("\nWhere to look next")
        if keep:
            console.print(f"  postpaid serve --data-dir {shlex.quote(str(folder))}")
            console.print(f"      to see this customer, with the key {secret}")
        console.print("  postpaid serve", "      to have it at http://127.0.0.1:8420, docs at /docs", sep="\n")
