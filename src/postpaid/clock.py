"""The only reader of wall time. An edge reads it once and passes it down as ``now``."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The present, UTC, in whole seconds: business time has no finer grain."""
    return datetime.now(UTC).replace(microsecond=0)
