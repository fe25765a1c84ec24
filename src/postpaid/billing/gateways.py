"""Open the gateways that payments name: those built in, and those that the account has chosen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest, Path
from postpaid.outside.gateways import manual, test
from postpaid.outside.gateways.manual import ManualGateway
from postpaid.outside.gateways.protocol import (
    Absent,
    ChargeRequest,
    Gateway,
    Outcome,
    RefundRequest,
    SetupRequest,
    Unknown,
)
from postpaid.outside.gateways.test import TestGateway
from postpaid.storage import payment_gateways
from postpaid.storage.database import Connection, Database
from postpaid.storage.payment_gateways import GatewayKind
from postpaid.storage.vault import Vault, VaultError

log = logging.getLogger(__name__)

# Those that need no credentials.
GATEWAYS: dict[str, Gateway] = {test.NAME: TestGateway(), manual.NAME: ManualGateway()}
KEPT_OPEN_MAX = 256  # gateways, with their connections


# Their libraries are only imported where somebody has chosen them.


def _stripe(name: str, secret_key: str, *, base_url: str | None) -> Gateway:
    from postpaid.outside.gateways.stripe import StripeGateway

    return StripeGateway(name, secret_key, base_url=base_url)


def _frame(name: str, secret_key: str, *, base_url: str | None) -> Gateway:
    from postpaid.outside.gateways.frame import FrameGateway

    return FrameGateway(name, secret_key, base_url=base_url)


_KINDS: dict[GatewayKind, Callable[..., Gateway]] = {
    GatewayKind.STRIPE: _stripe,
    GatewayKind.FRAME: _frame,
}


def load(database: Database, act: Act, names: Iterable[str]) -> Mapping[str, Gateway]:
    """The gateways of these names; one statement, and none for those that are built in.

    One that is not there, or whose credentials no key opens, has no answers: who asks it asks
    again later. In live mode there is no test gateway.
    """
    asked = set(names)
    found = {name: each for name, each in GATEWAYS.items() if name in asked}
    if act.livemode:
        found.pop(test.NAME, None)
    chosen = asked - GATEWAYS.keys()
    if chosen:
        with database.connection() as conn:
            rows = payment_gateways.named(conn, act.account_id, chosen)
        for name in sorted(chosen - rows.keys()):
            log.error("Account %d has no gateway %s, which it waits for.", act.account_id, name)
        for row in rows.values():
            try:
                found[row.name] = _open(
                    row.kind, row.name, row.credentials, row.base_url, database.vault
                )
            except VaultError as error:
                log.error("The gateway %s of account %d: %s", row.name, act.account_id, error)
            except Exception as error:  # whatever its library raises, and its text may tell a key
                what = type(error).__name__
                log.error("The gateway %s of account %d: %s", row.name, act.account_id, what)
    return {name: found.get(name) or MissingGateway(name) for name in asked}


def hold(conn: Connection, act: Act, names: Iterable[str], *, param: Path | str = ()) -> None:
    """See that the gateways of these names are there, and stay until the transaction ends.

    One statement, and none for those that are built in. Raises ``InvalidRequest`` for one that was
    deleted: it would never be asked, and what is to be done there would be in doubt for ever.
    """
    chosen = sorted(set(names) - GATEWAYS.keys())
    if not chosen:
        return
    there = payment_gateways.hold(conn, act.account_id, chosen)
    for name in chosen:
        if name not in there:
            raise InvalidRequest(
                f"There is no payment gateway named '{name}' any more. Add it again, under that "
                "name, or do without it.",
                param=param,
                code="payment_gateway_missing",
            )


class MissingGateway:
    """A `Gateway` that nobody can ask."""

    def __init__(self, name: str) -> None:
        self.name = name

    def charge(self, request: ChargeRequest) -> Outcome:
        return self._unknown()

    def ask(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        return self._unknown()

    def cancel(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        return self._unknown()

    def refund(self, request: RefundRequest) -> Outcome:
        return self._unknown()

    def ask_refund(self, request: RefundRequest, reference: str | None) -> Outcome | Absent:
        return self._unknown()

    def set_up(self, request: SetupRequest) -> Outcome:
        return self._unknown()

    def ask_set_up(self, request: SetupRequest, reference: str) -> Outcome:
        return self._unknown()

    def _unknown(self) -> Unknown:
        return Unknown(f"There is no payment gateway named '{self.name}'.")


@lru_cache(maxsize=KEPT_OPEN_MAX)
def _open(
    kind: GatewayKind, name: str, credentials: bytes, base_url: str | None, vault: Vault
) -> Gateway:
    """Opened once: whoever asks again finds its connections open."""
    return _KINDS[kind](name, vault.open(credentials), base_url=base_url)
