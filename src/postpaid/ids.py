"""Prefixed random ids, the only randomness; they sort by the moment they were made.

An id is its prefix, eight characters of wall-clock milliseconds and sixteen random ones, all in
base 62. So a table's primary key is also its order of creation: a list page is a range of it, and
new rows land on the newest page of the index.
"""

from __future__ import annotations

import base64
import os
import secrets
import threading
import time
from array import array
from collections.abc import Iterator
from datetime import datetime

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # in ASCII order
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_HALF = 62**8  # what eight characters can say


class _Maker:
    """What was made last, so that ids of one millisecond still ascend, and are quick to make.

    Within a millisecond the first half of the random part stays and the second moves on by random
    steps; it begins in the lower half of its space, and there is room for thousands.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.millisecond = 0
        self.beginning = ""  # the millisecond and the first random half, written out
        self.last = 0
        self.steps: Iterator[int] = iter(())

    def next(self) -> tuple[str, int]:
        with self.lock:
            millisecond = time.time_ns() // 1_000_000
            if millisecond > self.millisecond:
                self.millisecond = millisecond
                self.beginning = _base62(millisecond, 4) + _base62(self.below(_HALF), 4)
                self.last = self.below(_HALF // 2)
            self.last += 1 + self.step()
            return self.beginning, self.last

    def below(self, limit: int) -> int:
        return (self.step() << 32 | self.step()) % limit

    def step(self) -> int:
        """32 random bits; the system is asked for many at once, since to ask takes a while."""
        step = next(self.steps, None)
        if step is None:
            self.steps = iter(array("I", os.urandom(4096)))
            step = next(self.steps)
        return step


_maker = _Maker()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_maker.__init__)  # type: ignore[misc]


def new_id(prefix: str) -> str:
    """A new id such as ``cus_0VpWmT3kQ1…``: random, and greater than all made before here."""
    beginning, last = _maker.next()
    return f"{prefix}_{beginning}{_base62(last, 4)}"


def first_id(prefix: str, at: datetime) -> str:
    """What sorts before every id made at ``at`` or later, and after those made earlier."""
    return f"{prefix}_{_base62(int(at.timestamp() * 1000), 4)}"


def new_secret(prefix: str) -> str:
    """A secret with 190 random bits: an API key, a client secret."""
    return f"{prefix}{_base62(secrets.randbelow(62**32), 16)}"


def new_webhook_secret() -> str:
    """A secret to sign webhooks with, 192 random bits, as Stripe and Standard Webhooks write it."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"


def _base62(number: int, pairs: int) -> str:
    digits = []
    for _ in range(pairs):
        number, pair = divmod(number, 3844)
        digits.append(_PAIRS[pair])
    return "".join(reversed(digits))
