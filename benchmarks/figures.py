"""A measured figure, and the machine's own limit beside it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """``value`` of ``unit`` for ``work``; ``limit`` is what the bare machine did of the same.

    ``detail`` says what else was measured on the way, such as percentiles.
    """

    work: str
    value: float
    unit: str
    limit: float
    limit_is: str
    aim: str
    detail: str = ""
