"""What the engine complains of, in the names that Frame's callers know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from postpaid.core.errors import BillingError


@contextmanager
def in_frames_words(names: Mapping[str, str]) -> Iterator[None]:
    """Within it, an error names a parameter as Frame does; ``names`` are Frame's by the engine's.

    The engine's are dotted paths without the places in lists. They are exchanged in the sentence
    too, where they are no plain English.
    """
    try:
        yield
    except BillingError as error:
        error.message = _exchanged(error.message, names)
        words = [each for each in error.param if isinstance(each, str)]
        for length in range(len(words), 0, -1):
            if (name := names.get(".".join(words[:length]))) is not None:
                error.param = (name,)
                break
        raise


def _exchanged(message: str, names: Mapping[str, str]) -> str:
    for engines, frames in names.items():
        word = engines.rpartition(".")[2]
        if "_" in word or not word.islower():
            message = re.sub(rf"(?<![\w.]){re.escape(word)}(?!\w)", frames, message)
    return message
