"""``postpaid usage``: read files of usage events, and write them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Annotated

import typer

from postpaid.cli_options import DatabaseUrl, DataDir, Mode, chosen_settings, instant, span
from postpaid.core.errors import NotFound

if TYPE_CHECKING:
    from postpaid.import_usage import Tally
    from postpaid.storage.database import Connection
    from postpaid.usage_files import FileFormat, Source

usage = typer.Typer(help="Read and write files of usage events.", no_args_is_help=True)

INTERRUPTED = 130  # what a shell calls the end by Ctrl-C

Format = Annotated[
    str | None,
    typer.Option("--format", help="csv, ndjson or parquet; by the file's name unless given."),
]


@usage.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, NDJSON (also .gz, .zst) or Parquet.")],
    mode: Annotated[Mode, typer.Option(help="Whose usage it is: play, or money.")],
    format_: Format = None,
    backfill: Annotated[
        str | None, typer.Option(help="The open backfill that the events belong to.")
    ] = None,
    errors: Annotated[
        Path | None, typer.Option(help="Where to write what is refused, and why: NDJSON.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Record the events of a file. To do it again is safe: each counts once.

    The exit code is 1 when an event was rejected or in conflict, or the file breaks off.
    """
    from postpaid import clock, import_usage, serving, usage_files
    from postpaid.billing import manage_keys

    source = usage_files.Source.at(file, _format(format_))
    settings = chosen_settings(data_dir, database_url)
    tally = import_usage.Tally()
    interrupted = False
    serving.heed_signals()
    with ExitStack() as stack:
        database = stack.enter_context(serving.opened(settings))
        refused = stack.enter_context(_written(errors)) if errors else None
        with database.transaction() as conn:
            account = manage_keys.open_account(
                conn, manage_keys.FIRST_ACCOUNT, livemode=mode == Mode.LIVE, now=clock.now()
            )
        with _bar(source) as move, _between_batches() as heed:

            def after_batch() -> None:
                move()
                heed()

            try:
                import_usage.import_events(
                    database,
                    account,
                    source,
                    tally,
                    backfill_id=backfill,
                    errors=refused,
                    after_batch=after_batch,
                )
            except KeyboardInterrupt:
                interrupted = True
    _show(tally, "row" if source.layout.format == "parquet" else "line", errors)
    if interrupted:
        typer.echo("Interrupted: what is counted above is recorded. Run it again to go on.")
        raise typer.Exit(INTERRUPTED)
    if not tally.all_well:
        raise typer.Exit(1)


@contextmanager
def _between_batches() -> Iterator[Callable[[], None]]:
    """Let a Ctrl-C wait for the batch under way: the function raises it. A second does not wait."""
    asked: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(signum)

    def heed() -> None:
        if asked:
            raise KeyboardInterrupt

    ends = (signal.SIGINT, signal.SIGTERM)
    before = {each: signal.signal(each, note) for each in ends}
    try:
        yield heed
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@usage.command("export")
def export(
    mode: Annotated[Mode, typer.Option(help="Whose usage it is: play, or money.")],
    file: Annotated[
        Path | None, typer.Argument(help="CSV, NDJSON (also .gz, .zst) or Parquet.")
    ] = None,
    format_: Format = None,
    meter: Annotated[str | None, typer.Option(help="A meter's id, or its event name.")] = None,
    customer: Annotated[str | None, typer.Option(help="A customer's id.")] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", help="The first instant: 2026-01-01, or 2026-01-01T10:51:40Z."),
    ] = None,
    to: Annotated[str | None, typer.Option(help="The instant after the last.")] = None,
    uncounted: Annotated[
        bool, typer.Option("--all", help="Also what does not count; not to be imported.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write stored events to a file, or as NDJSON to standard output, to look at or to import."""
    from postpaid import export_usage, serving, usage_files
    from postpaid.billing import manage_keys
    from postpaid.storage import accounts, customers

    chosen = _format(format_)
    layout = (
        usage_files.Layout.of(file, chosen)
        if file is not None
        else usage_files.Layout(chosen or usage_files.FileFormat.NDJSON, "")
    )
    start, end = span(from_, to)
    with serving.opened(chosen_settings(data_dir, database_url), makes=False) as database:
        with database.connection() as conn:
            account = accounts.find_by_name(
                conn, manage_keys.FIRST_ACCOUNT, livemode=mode == Mode.LIVE
            )
            if account is None:
                raise serving.CannotRun(f"There is no account in {mode} mode.")
            meter_id = _meter_id(conn, account.account_id, meter)
            if customer is not None and not customers.find(conn, account.account_id, customer):
                raise NotFound.of("customer", customer)
        wanted = export_usage.Wanted(meter_id, customer, start, end, uncounted)
        try:
            with database.transaction() as conn:
                count = export_usage.export_events(conn, account.account_id, file, layout, wanted)
        except BrokenPipeError:  # whoever reads our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
    typer.echo(f"Wrote {count:,} events.", err=file is None)


@usage.command("drop")
def drop(
    before: Annotated[str, typer.Option(help="Raw events received before it: 2026-01-01, in UTC.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Drop old raw events of every account; all totals and invoices stay as they are.

    Only what is at least 60 days old, and only whole segments. It cannot be undone.
    """
    from postpaid import clock, serving
    from postpaid.billing.keep_segments import drop_segments

    at = instant(before, "--before")
    assert at is not None, "it was given"
    with serving.opened(chosen_settings(data_dir, database_url), makes=False) as database:
        dropped = drop_segments(database, before=at, now=clock.now())
    noun = "segment" if len(dropped) == 1 else "segments"
    typer.echo(f"Dropped {len(dropped)} {noun} of raw events.")


def _meter_id(conn: Connection, account_id: int, meter: str | None) -> str | None:
    """The id of a meter that is named by it or by its events."""
    from postpaid.storage import meters

    if meter is None:
        return None
    found = meters.find(conn, account_id, meter)
    found = found or meters.load_by_event_names(conn, account_id, [meter]).get(meter)
    if found is None:
        raise NotFound.of("meter", meter)
    return found.id


def _format(name: str | None) -> FileFormat | None:
    from postpaid.usage_files import FileFormat

    if name is None:
        return None
    if name not in list(FileFormat):
        raise typer.BadParameter(f"--format is one of {', '.join(FileFormat)}.")
    return FileFormat(name)


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """Raises ``CannotRun`` when the file cannot be written."""
    from postpaid.serving import CannotRun

    try:
        file = path.open("wb")
    except OSError as error:
        raise CannotRun(f"Cannot write {path}: {error.strerror}.") from error
    with file:
        yield file


@contextmanager
def _bar(source: Source) -> Iterator[Callable[[], None]]:
    """A progress bar of the bytes read, where somebody can see it; gives what moves it on."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(source.path.name, total=source.size)
        yield lambda: progress.update(task, completed=source.bytes_read)


def _show(tally: Tally, unit: str, errors: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("Outcome", "Events")
    table.columns[1].justify = "right"
    for kind, count in tally.counts.items():
        table.add_row(kind, f"{count:,}")
    Console().print(table)
    for refused in tally.refused:
        typer.echo(f"{unit.capitalize()} {refused.place}, {refused.kind}: {refused.error}")
    if more := tally.refused_count - len(tally.refused):
        typer.echo(f"and {more:,} more.")
    if tally.refused and errors is not None:
        typer.echo(f"All that was refused is in {errors}.")
    if tally.broken is not None:
        typer.echo(f"The file breaks off; what came before is recorded. {tally.broken}")
