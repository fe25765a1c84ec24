"""The command line: run the engine, look after it, and see it at work.

A command imports what it needs by itself, so that ``postpaid --help`` is quick.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from postpaid.cli_ledger import ledger
from postpaid.cli_options import DatabaseUrl, DataDir, Mode, chosen_settings
from postpaid.cli_usage import usage
from postpaid.cli_webhooks import webhooks
from postpaid.config import Settings, program, settings
from postpaid.core.errors import BillingError

app = typer.Typer(
    help="A self-hosted billing engine for a base fee, an included allotment, and overage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="Make API keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.add_typer(usage, name="usage")
app.add_typer(ledger, name="ledger")
app.add_typer(webhooks, name="webhooks")

ROWS_SHOWN = 5  # of each finding


def main() -> None:
    """Run a command. What stands in its way is told in a sentence, and the exit code is 1."""
    try:
        app()
    except Exception as error:
        from postpaid.serving import CannotRun
        from postpaid.storage.embedded import EmbeddedError

        if isinstance(error, BillingError | CannotRun | EmbeddedError):
            raise SystemExit(str(error)) from None
        raise


@app.command()
def serve(
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")] = 8420,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    workers: Annotated[int, typer.Option(min=1, max=16, help="How many processes.")] = 1,
) -> None:
    """Run the API and the worker, and a PostgreSQL unless you have one, until Ctrl-C."""
    from postpaid import processes, serving

    chosen = chosen_settings(data_dir, database_url)
    serving.heed_signals()
    serving.log_to_stderr()
    if workers == 1:
        serving.import_ahead()
    with (
        suppress(KeyboardInterrupt),
        serving.listen(host, port) as listener,
        serving.opened(chosen) as database,
    ):
        secret = serving.first_key(database, chosen)
        engine = (
            serving.engine(database, chosen, listener)
            if workers == 1
            else processes.engines(database.url, chosen, listener, workers)
        )
        with engine as wait:
            _tell_ready(serving.base_url(listener), secret, chosen)
            wait()


def _tell_ready(url: str, secret: str | None, chosen: Settings) -> None:
    """Say how to ask, and last where; a key of our own making is shown this once."""
    if secret is None:
        typer.echo(f"For another key: {program()} keys create --mode test{_flags(chosen)}")
    elif secret == chosen.api_key:
        typer.echo("Your test key is the one in POSTPAID_API_KEY.")
    else:
        typer.echo(f"Your test key, shown only now: {secret}")
        typer.echo(f"Try it: curl {url}/v1/customers -u {secret}:")
    typer.echo(f"Postpaid is ready at {url} and describes its API at {url}/docs")


def _flags(chosen: Settings) -> str:
    """What repeats a choice of data directory in another command."""
    if chosen.database_url is not None or chosen.data_dir == settings().data_dir:
        return ""
    return f" --data-dir {shlex.quote(str(chosen.data_dir))}"


@app.command()
def worker(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Run a worker alone, beside servers of the same database, until Ctrl-C."""
    from postpaid import serving

    serving.heed_signals()
    serving.log_to_stderr()
    chosen = chosen_settings(data_dir, database_url)
    with (
        suppress(KeyboardInterrupt),
        serving.opened(chosen) as database,
        serving.working(database, chosen) as thread,
    ):
        typer.echo("The worker is running.")
        serving.wait_for(thread)
        raise serving.CannotRun("The worker ended by itself; the log above says why.")


@app.command()
def migrate(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Bring the database's schema up to date, as serve does by itself."""
    from postpaid import serving

    with serving.postgres(chosen_settings(data_dir, database_url)) as url:
        for name in serving.bring_up_to_date(url):
            typer.echo(f"Applied {name}.")
    typer.echo("The schema is up to date.")


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the data, to look around.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Where to put the data.")] = Path(".postpaid-demo"),
) -> None:
    """See a month billed: a base fee, an included allotment, and overage."""
    from postpaid import demo as story
    from postpaid import serving

    serving.heed_signals()
    serving.log_to_stderr()
    story.tell(data_dir, keep=keep)


@app.command()
def audit(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Recompute what must hold, from the events up; say what does not, and exit with 1."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from postpaid import serving
    from postpaid.billing import audit as auditing

    chosen = chosen_settings(data_dir, database_url)
    with serving.opened(chosen, makes=False) as database:
        findings = auditing.audit(database)
    if not findings:
        typer.echo("Everything holds.")
        return
    table = Table("Invariant", "What does not hold", "Where")
    for finding in findings:
        rows = [", ".join(map(str, row)) for row in finding.rows[:ROWS_SHOWN]]
        rows += [f"and {more} more"] if (more := len(finding.rows) - ROWS_SHOWN) > 0 else []
        table.add_row(str(finding.invariant), finding.sentence, Text("\n".join(rows)))
    Console().print(table)
    raise typer.Exit(1)


@keys.command()
def create(
    mode: Annotated[Mode, typer.Option(help="What the key opens: play, or money.")],
    name: Annotated[str | None, typer.Option(help="To tell it from others.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a key and print its secret, which is not kept and cannot be shown again."""
    from postpaid import clock, serving
    from postpaid.billing import manage_keys

    now = clock.now()
    with (
        serving.opened(chosen_settings(data_dir, database_url)) as database,
        database.transaction() as conn,
    ):
        account = manage_keys.open_account(
            conn, manage_keys.FIRST_ACCOUNT, livemode=mode == Mode.LIVE, now=now
        )
        key = manage_keys.create_key(conn, account, name, now=now)
    typer.echo(key.secret)
