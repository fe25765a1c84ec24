"""What the official SDK raises when a request is refused."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import stripe


@contextmanager
def refused(
    param: str | None, *, code: str | None = None, status: int = 400, saying: str = ""
) -> Iterator[None]:
    """The block's request is refused, for this parameter, with this code and these words."""
    with pytest.raises(stripe.StripeError) as raised:
        yield
    error = raised.value
    said = (error.http_status, error.code, getattr(error, "param", None))
    assert said == (status, code, param), error.user_message
    assert saying in str(error.user_message)


@contextmanager
def missing(what: str, key: str, param: str = "id") -> Iterator[None]:
    """The block's request is for something that is not there, or is another account's."""
    with refused(param, code="resource_missing", status=404, saying=f"No such {what}: '{key}'"):
        yield
