"""What a payment gateway is asked, and what it can say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """Take ``amount`` minor units from what the gateway knows as ``token``.

    A gateway charges once per ``idempotency_key``, however often it is asked. ``off_session`` means
    that the customer is not there to authenticate.
    """

    idempotency_key: str
    token: str
    amount: int
    currency: str
    off_session: bool
    description: str


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The money is taken; ``reference`` is what the gateway calls it."""

    reference: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The money is not taken, and will not be for this key.

    ``code`` says what kind of failure it was and ``decline_code`` the issuer's reason, in Stripe's
    words; ``message`` is for a person.
    """

    code: str
    decline_code: str | None
    message: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer, or none that decides: the money may be taken. Ask again with the same key."""

    reason: str


Outcome: TypeAlias = Succeeded | Declined | Unknown


class Gateway(Protocol):
    """Somebody who can take money."""

    name: str

    def charge(self, request: ChargeRequest) -> Outcome: ...
