"""What can go wrong in the business, named once.

There is no HTTP in here: each façade has one table from these classes to its own statuses and
words. Constraint violations that no function expects are programmer errors, not these.
"""

from __future__ import annotations

from collections.abc import Mapping

Path = tuple[str | int, ...]


class BillingError(Exception):
    """A request that cannot be done, said in a sentence for a person.

    ``code`` is stable and for programs. ``param`` is the path of the parameter at fault in the
    engine's words, such as ``("items", 0, "price")``, or empty when no single one is.
    """

    default_code: str | None = None

    def __init__(self, message: str, *, param: Path | str = (), code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param: Path = (param,) if isinstance(param, str) else param
        self.code = code or self.default_code


class NotFound(BillingError):
    """The thing is absent, or another account's, which is the same to the one who asks."""

    default_code = "resource_missing"

    @classmethod
    def of(cls, what: str, key: str, *, param: Path | str = "id") -> NotFound:
        return cls(f"No such {what}: '{key}'", param=param)


class InvalidRequest(BillingError):
    """A parameter is wrong by itself or does not fit the others."""


class AlreadyExists(BillingError):
    """A name that must be unique is taken."""

    default_code = "resource_already_exists"


class ActionNotAllowed(BillingError):
    """The thing's status does not allow the action."""

    default_code = "status_transition_invalid"


class AlreadyCanceled(ActionNotAllowed):
    """It was cancelled before, and once is enough."""

    default_code = "already_canceled"


class NotCancelable(ActionNotAllowed):
    """It can no longer be cancelled, or never could."""

    default_code = "not_cancelable"


class Conflict(BillingError):
    """Someone else changed the thing at the same moment; trying again may work."""

    default_code = "lock_timeout"


class IdempotencyMismatch(BillingError):
    """The key was first used for another request."""


class IdempotencyInUse(BillingError):
    """The key's first request is still under way."""

    default_code = "idempotency_key_in_use"


class AuthenticationFailed(BillingError):
    """No key, or one that is unknown or revoked."""


class SessionExpired(AuthenticationFailed):
    """The session was good for a while, which is over; a new one is what to ask for."""

    default_code = "billing_meter_event_session_expired"


class PaymentFailed(BillingError):
    """The gateway declined, and the caller asked to hear of it as an error.

    ``about`` has the ids of what failed, by kind: ``payment_intent``, ``setup_intent``,
    ``payment_method`` and ``charge``.
    """

    default_code = "card_declined"

    def __init__(
        self,
        message: str,
        *,
        code: str | None,
        decline_code: str | None,
        about: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.decline_code = decline_code
        self.about = about or {}
