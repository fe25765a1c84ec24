"""Settings from the environment, read once into one frozen value."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

DEFAULT_DATA_DIR = Path(".postpaid")
RETENTION_MIN = timedelta(hours=1)  # a client's own retries must find the first answer
RETENTION_MAX = timedelta(days=3653)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator can choose; command-line flags override it field by field."""

    data_dir: Path = DEFAULT_DATA_DIR
    database_url: str | None = None  # None: the PostgreSQL that comes with the wheel, in data_dir
    api_key: str | None = None  # the first account's test key, chosen by the operator
    body_bytes_max: int = 2_000_000
    secret_keys: tuple[str, ...] = ()  # none: the one in a file of data_dir, made when missing
    webhook_allowed_networks: tuple[str, ...] = ()  # beside all public ones, such as 127.0.0.0/8
    idempotency_retention: timedelta = timedelta(hours=24)  # of v1's keys; Stripe: at least
    idempotency_retention_v2: timedelta = timedelta(days=30)
    event_retention: timedelta | None = None  # None: for ever
    frame_hosts: tuple[str, ...] = ()  # names under which /v1 is Frame's API, and not Stripe's


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
        body_bytes_max=_count(env, "POSTPAID_BODY_BYTES_MAX") or 2_000_000,
        secret_keys=_list(env.get("POSTPAID_SECRET_KEY")),
        webhook_allowed_networks=_networks(env, "POSTPAID_WEBHOOK_ALLOWED_NETWORKS"),
        idempotency_retention=_duration(env, "POSTPAID_IDEMPOTENCY_RETENTION")
        or timedelta(hours=24),
        idempotency_retention_v2=_duration(env, "POSTPAID_IDEMPOTENCY_RETENTION_V2")
        or timedelta(days=30),
        event_retention=_duration(env, "POSTPAID_EVENT_RETENTION"),
        frame_hosts=_list((env.get("POSTPAID_FRAME_HOSTS") or "").lower()),
    )


def _list(value: str | None) -> tuple[str, ...]:
    """What is between the commas."""
    return tuple(each.strip() for each in (value or "").split(",") if each.strip())


def _count(env: Mapping[str, str], name: str) -> int | None:
    """A whole number above 0; None where it is not set. Raises ``ValueError``."""
    value = (env.get(name) or "").strip()
    if not value:
        return None
    if not re.fullmatch("[0-9]{1,18}", value) or not (count := int(value)):
        raise ValueError(f"{name} is a whole number above 0, not {value!r}.")
    return count


def _networks(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Networks such as ``10.1.0.0/16``. Raises ``ValueError``."""
    names = _list(env.get(name))
    for each in names:
        try:
            ipaddress.ip_network(each)
        except ValueError:
            raise ValueError(
                f"{name} has networks like 10.1.0.0/16, separated by commas, not {each!r}."
            ) from None
    return names


_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
_UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(env: Mapping[str, str], name: str) -> timedelta | None:
    """``36h``, ``30d``, or seconds; None where it is not set. Raises ``ValueError``."""
    value = (env.get(name) or "").strip()
    if not value:
        return None
    found = _DURATION.fullmatch(value)
    try:
        duration = found and timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        duration = None
    if not duration or not RETENTION_MIN <= duration <= RETENTION_MAX:
        raise ValueError(f"{name} is like 36h or 30d, from an hour to ten years, not {value!r}.")
    return duration
