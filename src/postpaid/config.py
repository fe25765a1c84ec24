"""Settings from the environment, read once into one frozen value."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_DATA_DIR = Path(".postpaid")


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator can choose; command-line flags override it field by field."""

    data_dir: Path = DEFAULT_DATA_DIR
    database_url: str | None = None  # None: the PostgreSQL that comes with the wheel, in data_dir
    api_key: str | None = None  # the first account's test key, chosen by the operator
    body_bytes_max: int = 2_000_000
    secret_keys: tuple[str, ...] = ()  # none: the one in a file of data_dir, made when missing
    webhook_allowed_networks: tuple[str, ...] = ()  # beside all public ones, such as 127.0.0.0/8


def program() -> str:
    """How to call us from here: by name where that is found, by path where it is not."""
    return "postpaid" if shutil.which("postpaid") else os.path.relpath(sys.argv[0])


def settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of ``POSTPAID_*`` variables, with defaults for the rest."""
    env = os.environ if environment is None else environment
    return Settings(
        data_dir=Path(env.get("POSTPAID_DATA_DIR") or DEFAULT_DATA_DIR),
        database_url=env.get("POSTPAID_DATABASE_URL") or None,
        api_key=env.get("POSTPAID_API_KEY") or None,
        body_bytes_max=int(env.get("POSTPAID_BODY_BYTES_MAX") or 2_000_000),
        secret_keys=_list(env.get("POSTPAID_SECRET_KEY")),
        webhook_allowed_networks=_list(env.get("POSTPAID_WEBHOOK_ALLOWED_NETWORKS")),
    )


def _list(value: str | None) -> tuple[str, ...]:
    """What is between the commas."""
    return tuple(each.strip() for each in (value or "").split(",") if each.strip())
