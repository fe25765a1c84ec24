"""What several commands take: where the data is, and in which mode."""

from __future__ import annotations

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
    if data_dir is not None:
        return replace(settings(), data_dir=data_dir, database_url=None)
    if database_url is not None:
        return replace(settings(), database_url=database_url)
    return settings()
