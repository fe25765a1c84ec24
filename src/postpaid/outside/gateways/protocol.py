"""What a payment gateway is asked, and what it can say.

Every question carries a key of ours, and a gateway acts once per key however often it is asked. No
answer, or one that decides nothing, is ``Unknown``: then ``ask`` what became of it before anything
else is tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, TypeAlias, TypeVar


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """Take ``amount`` minor units from what the gateway knows as ``token``.

    ``off_session`` means that the customer is not there to authenticate. ``age_s`` is how many
    seconds ago the same was first asked: a gateway that forgets its keys must know.
    """

    idempotency_key: str
    token: str
    amount: int
    currency: str
    off_session: bool
    description: str
    age_s: float = 0
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """Give back ``amount`` minor units of what the gateway calls ``charge_reference``."""

    idempotency_key: str
    charge_reference: str
    amount: int
    currency: str
    reason: str | None = None
    age_s: float = 0


@dataclass(frozen=True, slots=True)
class SetupRequest:
    """See whether what the gateway knows as ``token`` can be charged later; takes no money."""

    idempotency_key: str
    token: str
    off_session: bool


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It is done; ``reference`` is what the gateway calls it."""

    reference: str


@dataclass(frozen=True, slots=True)
class Declined:
    """It is not done, and will not be for this key.

    ``code`` says what kind of failure it was and ``decline_code`` the issuer's reason, in Stripe's
    words; ``message`` is for a person.
    """

    code: str
    decline_code: str | None
    message: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class RequiresAction:
    """Nothing is done yet: the customer must act first, at ``url`` or with ``client_secret``.

    Later ``ask`` says what came of it.
    """

    reference: str
    url: str | None = None
    client_secret: str | None = None


@dataclass(frozen=True, slots=True)
class Processing:
    """It is under way, as with a bank debit, and may take days: ``ask`` again later."""

    reference: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The gateway knows of no such thing: it never arrived, and may be asked for with its key."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer, or none that decides: it may be done. ``ask`` before anything else."""

    reason: str


Outcome: TypeAlias = Succeeded | Declined | RequiresAction | Processing | Unknown

TEXT_MAX = 5000  # of anything that a gateway says: its addresses are long
A = TypeVar("A", bound=Outcome | Absent)


def storable(answer: A) -> A:
    """The answer in texts that a database keeps: of bounded length, and of characters only.

    What one gateway says must not keep what others said from being written.
    """
    said = ((each.name, getattr(answer, each.name)) for each in fields(answer))
    texts: dict[str, Any] = {name: _text(value) for name, value in said if value is not None}
    return replace(answer, **texts)


def _text(value: object) -> str:
    plain = str(value).replace("\0", "").encode("utf-8", "replace").decode()
    return plain[:TEXT_MAX]


class Gateway(Protocol):
    """Somebody who can take money, and give it back."""

    name: str

    def charge(self, request: ChargeRequest) -> Outcome: ...

    def ask(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        """What became of a charge that was asked for before, by its key or by ``reference``."""
        ...

    def cancel(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        """Give up a charge that waits for the customer.

        ``Declined`` or ``Absent`` once it is certain that it will not be; ``Succeeded`` if it was.
        """
        ...

    def refund(self, request: RefundRequest) -> Outcome: ...

    def ask_refund(self, request: RefundRequest, reference: str | None) -> Outcome | Absent:
        """What became of a refund that was asked for before."""
        ...

    def set_up(self, request: SetupRequest) -> Outcome: ...

    def ask_set_up(self, request: SetupRequest, reference: str) -> Outcome:
        """What became of what was to be set up, which waited for somebody."""
        ...
