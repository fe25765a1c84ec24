"""Lists and instants, as Stripe writes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from postpaid.storage.paging import Rows

T = TypeVar("T")


def listing(url: str, rows: Rows[T], render: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """A page; ``url`` is the path that serves the next ones."""
    return {
        "object": "list",
        "data": [render(row) for row in rows.rows],
        "has_more": rows.has_more,
        "url": url,
    }


def iso(instant: datetime) -> str:
    """ISO 8601 in UTC, cut to milliseconds: ``2026-01-01T00:00:00.000Z``, as v2 has it."""
    text = instant.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def seconds(instant: datetime | None) -> int | None:
    """Unix seconds."""
    return None if instant is None else int(instant.timestamp())
