"""``python -m benchmarks``: run the benchmarks, print a table, and write JSON beside it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import (
    close_a_cycle,
    deliver_webhooks,
    growth,
    read_usage,
    single_events,
    store_a_batch,
)
from benchmarks.figures import Figure
from postpaid.storage import embedded
from postpaid.storage.database import migrate

BENCHMARKS: dict[str, Callable[[str, float], list[Figure]]] = {
    "store": store_a_batch.run,
    "single": single_events.run,
    "read": read_usage.run,
    "close": close_a_cycle.run,
    "deliver": deliver_webhooks.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the work; 1 is a minute")
    parser.add_argument(
        "--stored",
        type=int,
        nargs="*",
        metavar="MILLIONS",
        help="also measure growth, with so many millions of events stored: 1 10 100",
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = parser.parse_args()
    console = Console(width=120)
    figures: list[Figure] = []
    benchmarks = {name: BENCHMARKS[name] for name in asked.names or BENCHMARKS}
    if asked.stored:
        stored = tuple(millions * 1_000_000 for millions in sorted(asked.stored))
        benchmarks["growth"] = lambda url, scale: growth.run(url, scale, stored)
    for name, benchmark in benchmarks.items():
        console.print(f"[dim]measuring: {name} …[/dim]")
        with (
            tempfile.TemporaryDirectory(prefix="postpaid-bench-") as folder,
            embedded.start(Path(folder) / "data") as server,
        ):
            migrate(server.url)
            figures += benchmark(server.url, asked.scale)
    console.print(_table(figures))
    if asked.json:
        machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
        asked.json.write_text(
            json.dumps(
                {"machine": machine, "figures": [asdict(each) for each in figures]}, indent=2
            )
        )


def _table(figures: list[Figure]) -> Table:
    table = Table(title=f"On {os.cpu_count()} cores, embedded PostgreSQL, fsync on")
    table.add_column("work")
    table.add_column("figure", justify="right", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("the limit is")
    table.add_column("aim")
    for each in figures:
        table.add_row(
            f"{each.work}\n[dim]{each.detail}[/dim]" if each.detail else each.work,
            f"{each.value:,.0f} {each.unit}",
            f"{each.limit:,.0f}",
            f"{each.value / each.limit:.2f}",
            each.limit_is,
            each.aim,
        )
    return table


if __name__ == "__main__":
    main()
