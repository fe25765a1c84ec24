"""Prefixed random ids, the only randomness; they sort by the moment they were made.

An id is its prefix, eight characters of wall-clock milliseconds and sixteen random ones, all in
base 62. So a table's primary key is also its order of creation: a list page is a range of it, and
new rows land on the newest page of the index.
"""

from __future__ import annotations

import secrets
import threading
import time

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # in ASCII order
_TAIL_SPACE = 62**16
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


class _Last:
    """The last id's parts, so that ids made within one millisecond still ascend."""

    lock = threading.Lock()
    millisecond = 0
    tail = 0


def new_id(prefix: str) -> str:
    """A new id such as ``cus_0VpWmT3kQ1…``: unguessable, and greater than all made before here."""
    millisecond = time.time_ns() // 1_000_000
    with _Last.lock:
        if millisecond > _Last.millisecond:
            _Last.millisecond = millisecond
            _Last.tail = secrets.randbelow(_TAIL_SPACE // 2)
        else:
            # A random step keeps neighbours unguessable; half the space is left to step into.
            _Last.tail += 1 + secrets.randbits(64)
        millisecond, tail = _Last.millisecond, _Last.tail
    return f"{prefix}_{_base62(millisecond, 4)}{_base62(tail, 8)}"


def new_secret(prefix: str) -> str:
    """A secret with 190 random bits: an API key, a client secret."""
    return f"{prefix}{_base62(secrets.randbelow(62**32), 16)}"


def _base62(number: int, pairs: int) -> str:
    digits = []
    for _ in range(pairs):
        number, pair = divmod(number, 3844)
        digits.append(_PAIRS[pair])
    return "".join(reversed(digits))
