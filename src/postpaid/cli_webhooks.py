"""``postpaid webhooks``: what endpoints were sent, and to send it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from postpaid.cli_options import DatabaseUrl, DataDir, Mode, chosen_settings, span

if TYPE_CHECKING:
    from pathlib import Path

    from postpaid.billing.perform import Act
    from postpaid.storage.database import Database

webhooks = typer.Typer(help="See what webhooks were sent; send them again.", no_args_is_help=True)

Account = Annotated[
    str | None, typer.Option(help="The account's name; the first one's unless given.")
]
ModeOption = Annotated[Mode, typer.Option(help="Whose webhooks they are: play, or money.")]


@webhooks.command("list")
def list_(
    mode: ModeOption,
    account: Account = None,
    endpoint: Annotated[
        str | None, typer.Option(help="An endpoint, to see what it was sent last.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """List the endpoints, or the last hundred deliveries of one."""
    from postpaid.core.errors import NotFound
    from postpaid.storage import deliveries, delivery_attempts, webhook_endpoints
    from postpaid.storage.paging import Page

    with _account(mode, account, data_dir, database_url) as (database, act):
        with database.connection() as conn:
            if endpoint is None:
                found = webhook_endpoints.list_page(conn, act.account_id, Page(limit=100))
                for each in found.rows:
                    failing = f"  failing since {each.failing_since}" if each.failing_since else ""
                    typer.echo(f"{each.id}  {each.status}  {each.url}{failing}")
                if not found.rows:
                    typer.echo(f"There are no webhook endpoints in {mode} mode.")
                return
            if not webhook_endpoints.load(conn, act.account_id, [endpoint]):
                raise NotFound.of("webhook endpoint", endpoint)
            sent = deliveries.list_page(
                conn, act.account_id, Page(limit=100), endpoint_id=endpoint
            ).rows
            attempts = delivery_attempts.list_many(conn, act.account_id, [each.id for each in sent])
        for one in sent:
            last = attempts[one.id][0].error if attempts[one.id] else None
            typer.echo(
                f"{one.id}  {one.event_id}  {one.status}  {one.attempts} attempts"
                + (f"  {last}" if last else "")
            )


@webhooks.command("redeliver")
def redeliver(
    endpoint: Annotated[str, typer.Argument(help="The endpoint to send to.")],
    mode: ModeOption,
    account: Account = None,
    event: Annotated[str | None, typer.Option(help="Only this event.")] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", help="Of events from this day, or instant, on: 2026-01-01."),
    ] = None,
    to: Annotated[str | None, typer.Option(help="Of events before this day, or instant.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="What was delivered too, not only what failed.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Send an endpoint again what it failed to take; a running worker does it."""
    from postpaid.billing import redeliver as again

    created_from, created_before = span(from_, to)
    with (
        _account(mode, account, data_dir, database_url) as (database, act),
        database.transaction() as conn,
    ):
        if event is not None:
            again.resend_event(conn, act, event, endpoint_id=endpoint)
            count, has_more = 1, False
        else:
            done = again.redeliver(
                conn,
                act,
                endpoint,
                created_from=created_from,
                created_before=created_before,
                only_failed=not everything,
            )
            count, has_more = done.count, done.has_more
    typer.echo(f"Deliveries that begin again: {count:,}.")
    if has_more:
        typer.echo("That is as many as go at once; there may be more, in a shorter time.")


@contextmanager
def _account(
    mode: Mode, name: str | None, data_dir: Path | None, database_url: str | None
) -> Iterator[tuple[Database, Act]]:
    """The database, and acts of the account. Raises ``CannotRun`` when there is none."""
    from postpaid import clock, ids, serving
    from postpaid.billing import manage_keys
    from postpaid.billing.perform import Act
    from postpaid.storage import accounts

    with serving.opened(chosen_settings(data_dir, database_url), makes=False) as database:
        with database.connection() as conn:
            known = name or manage_keys.FIRST_ACCOUNT
            found = accounts.find_by_name(conn, known, livemode=mode == Mode.LIVE)
        if found is None:
            raise serving.CannotRun(f"There is no account '{known}' in {mode} mode.")
        yield database, Act(found.account_id, found.livemode, "cli", clock.now(), ids.new_id)
