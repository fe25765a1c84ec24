"""What several commands take: where the data is, and in which mode."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from postpaid.config import DEFAULT_DATA_DIR, Settings, settings
from postpaid.core.values import replace

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Where the PostgreSQL that comes with us keeps its data.",
        show_default=str(DEFAULT_DATA_DIR),
    ),
]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="A PostgreSQL of your own, 15 or newer, instead.")
]


class Mode(StrEnum):
    TEST = "test"
    LIVE = "live"


def chosen_settings(data_dir: Path | None, database_url: str | None) -> Settings:
    """The environment's settings, overridden by a command's flags."""
    if data_dir is not None and database_url is not None:
        raise typer.BadParameter("Give --data-dir or --database-url, not both.")
    try:
        chosen = settings()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if data_dir is not None:
        return replace(chosen, data_dir=data_dir, database_url=None)
    if database_url is not None:
        return replace(chosen, database_url=database_url)
    return chosen


def span(
    from_: str | None, to: str | None, zone: tzinfo = UTC
) -> tuple[datetime | None, datetime | None]:
    """What ``--from`` and ``--to`` say, in this order. Raises ``typer.BadParameter``."""
    start, end = instant(from_, "--from", zone), instant(to, "--to", zone)
    if start is not None and end is not None and start >= end:
        raise typer.BadParameter("--from must be before --to.")
    return start, end


def instant(text: str | None, option: str, zone: tzinfo = UTC) -> datetime | None:
    """A day's beginning in the zone, or an instant with its own; None where nothing is given.

    ``option`` is the flag that says it. Raises ``typer.BadParameter``.
    """
    if text is None:
        return None
    at: datetime | None = None
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
    if at is not None and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        at = at.replace(tzinfo=zone)
    if at is None or at.tzinfo is None:
        raise typer.BadParameter(f"{option} is like 2026-01-01, or 2026-01-01T10:51:40Z.")
    return at.astimezone(UTC)
