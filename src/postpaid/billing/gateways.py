"""Open the gateways that payments name: those built in, and those that the account has chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from postpaid.billing.perform import Act
from postpaid.outside.gateways import manual, test
from postpaid.outside.gateways.frame import FrameGateway
from postpaid.outside.gateways.manual import ManualGateway
from postpaid.outside.gateways.protocol import Gateway
from postpaid.outside.gateways.stripe import StripeGateway
from postpaid.outside.gateways.test import TestGateway
from postpaid.storage import payment_gateways
from postpaid.storage.database import Database
from postpaid.storage.payment_gateways import GatewayKind
from postpaid.storage.vault import Vault

BUILT_IN: dict[str, Gateway] = {test.NAME: TestGateway(), manual.NAME: ManualGateway()}
KEPT_OPEN_MAX = 256  # gateways, with their connections

_KINDS = {GatewayKind.STRIPE: StripeGateway, GatewayKind.FRAME: FrameGateway}


def load(database: Database, act: Act, names: Iterable[str]) -> Mapping[str, Gateway]:
    """The gateways of these names; one statement, and none for those that are built in.

    One that is not there is left out: who asks it has no answer, and asks again later. In live
    mode there is no test gateway. Raises ``VaultError`` when no key opens its credentials.
    """
    asked = set(names)
    found = {name: each for name, each in BUILT_IN.items() if name in asked}
    if act.livemode:
        found.pop(test.NAME, None)
    chosen = asked - BUILT_IN.keys()
    if chosen:
        with database.connection() as conn:
            rows = payment_gateways.named(conn, act.account_id, chosen)
        for row in rows.values():
            found[row.name] = _open(
                row.kind, row.name, row.credentials, row.base_url, database.vault
            )
    return found


@lru_cache(maxsize=KEPT_OPEN_MAX)
def _open(
    kind: GatewayKind, name: str, credentials: bytes, base_url: str | None, vault: Vault
) -> Gateway:
    """Opened once: whoever asks again finds its connections open."""
    return _KINDS[kind](name, vault.open(credentials), base_url=base_url)
