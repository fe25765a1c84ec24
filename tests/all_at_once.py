"""Works that begin at the same moment, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from postpaid.core.errors import BillingError


def all_at_once(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each of the works returned, or was refused with."""
    together = threading.Barrier(len(works))
    done: list[Any] = [None] * len(works)

    def run(at: int, work: Callable[[], Any]) -> None:
        together.wait(timeout=30)
        try:
            done[at] = work()
        except BillingError as error:
            done[at] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return done
