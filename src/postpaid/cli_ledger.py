"""``postpaid ledger``: take the journal to bookkeeping."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from postpaid.cli_options import DatabaseUrl, DataDir, Mode, chosen_settings, instant, span

ledger = typer.Typer(help="Take the ledger to bookkeeping.", no_args_is_help=True)


@ledger.callback()
def _ledger() -> None:
    """Take the ledger to bookkeeping."""


@ledger.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="The CSV file to write.")],
    mode: Annotated[Mode, typer.Option(help="Whose ledger it is: play, or money.")],
    account: Annotated[
        str | None, typer.Option(help="The account's name; the first one's unless given.")
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", help="The first day, or instant: 2026-01-01T10:51:40Z."),
    ] = None,
    to: Annotated[str | None, typer.Option(help="The day, or instant, after the last.")] = None,
    recognized_until: Annotated[
        str | None,
        typer.Option(help="Also what each month earned of deferred revenue, until this day."),
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write the ledger as a journal: a row for each entry, debits and credits that sum to zero.

    Days are those of the account's time zone.
    """
    from postpaid import export_ledger, serving
    from postpaid.billing import manage_keys
    from postpaid.core.periods import zone_called
    from postpaid.storage import accounts

    name = account or manage_keys.FIRST_ACCOUNT
    with serving.opened(chosen_settings(data_dir, database_url), makes=False) as database:
        with database.connection() as conn:
            found = accounts.find_by_name(conn, name, livemode=mode == Mode.LIVE)
            if found is None:
                raise serving.CannotRun(f"There is no account '{name}' in {mode} mode.")
            zone_name = accounts.time_zone(conn, found.account_id)
        zone = zone_called(zone_name)
        wanted = export_ledger.Wanted(
            zone,
            *span(from_, to, zone),
            instant(recognized_until, "--recognized-until", zone),
        )
        with database.transaction() as conn:
            count = export_ledger.export_journal(conn, found.account_id, file, wanted)
    typer.echo(f"Wrote {count:,} rows.")
