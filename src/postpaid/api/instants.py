"""Instants, as answers write them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(instant: datetime) -> str:
    """ISO 8601 in UTC, cut to milliseconds: ``2026-01-01T00:00:00.000Z``, as v2 has it."""
    text = instant.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def seconds(instant: datetime | None) -> int | None:
    """Unix seconds."""
    return None if instant is None else int(instant.timestamp())
