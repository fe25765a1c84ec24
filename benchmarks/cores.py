"""Keeping a process on one core, where the system lets us (Linux does)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def keep_on_the_first(pid: int) -> None:
    """Let a process, and the threads it will start, run on one core only."""
    if sys.platform == "linux":
        os.sched_setaffinity(pid, {_all()[0]})


def keep_off_the_first(pid: int) -> None:
    """Leave that core to others, if there are more of them."""
    if sys.platform == "linux" and len(_all()) > 1:
        os.sched_setaffinity(pid, set(_all()[1:]))


@contextmanager
def on_the_first() -> Iterator[None]:
    """This thread on one core, until the block ends."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    keep_on_the_first(0)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _all() -> list[int]:
    """Those of the machine that processes may use, whatever this one is kept to."""
    return sorted(_AVAILABLE)


_AVAILABLE = os.sched_getaffinity(0) if sys.platform == "linux" else set[int]()
