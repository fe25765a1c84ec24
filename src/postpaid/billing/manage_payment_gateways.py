"""Choose gateways, give them other credentials, and give them up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from postpaid.billing.perform import Act
from postpaid.core.errors import Conflict, InvalidRequest, NotFound
from postpaid.outside.gateways.tokens import is_frame_token, is_stripe_token
from postpaid.outside.webhooks.addresses import Refused, check_url, networks
from postpaid.storage import payment_gateways
from postpaid.storage.database import Connection
from postpaid.storage.payment_gateways import GatewayKind, PaymentGateway
from postpaid.storage.vault import Vault

HINT_LENGTH = 4
HINTED_LENGTH_MIN = 12  # of a shorter key the hint would say too much
RESERVED = ("test", "manual")  # they are built in

_TOKENS = {
    GatewayKind.STRIPE: (is_stripe_token, "like cus_…/pm_…"),
    GatewayKind.FRAME: (is_frame_token, "like {account}/{payment method}"),
}


def create_payment_gateway(
    conn: Connection,
    act: Act,
    *,
    vault: Vault,
    name: str,
    kind: GatewayKind,
    api_key: str,
    base_url: str | None,
    is_default: bool,
    metadata: Mapping[str, str],
) -> PaymentGateway:
    """Add a gateway, and make it the account's default if told to; ``base_url`` is checked.

    Raises ``AlreadyExists``, and ``InvalidRequest`` for a name that is built in.
    """
    if name in RESERVED:
        raise InvalidRequest(f"The gateway '{name}' is built in.", param="name")
    gateway = PaymentGateway(
        id=act.new_id("gw"),
        name=name,
        kind=kind,
        **sealed(vault, api_key),
        base_url=base_url,
        is_default=is_default,
        created_at=act.now,
        metadata=metadata,
    )
    if is_default:
        payment_gateways.unset_default(conn, act.account_id)
    payment_gateways.insert(conn, act.account_id, gateway)
    return gateway


def update_payment_gateway(
    conn: Connection,
    act: Act,
    gateway_id: str,
    change: Callable[[PaymentGateway], PaymentGateway],
) -> PaymentGateway:
    """Make the gateway what ``change`` makes of it, once it is locked. Raises ``NotFound``.

    Payments under way are asked about with the new key, which must be for the same account there.
    """
    before = payment_gateways.lock(conn, act.account_id, gateway_id)
    if before is None:
        raise NotFound.of("payment gateway", gateway_id)
    after = change(before)
    if after.is_default and not before.is_default:
        payment_gateways.unset_default(conn, act.account_id)
    if after != before:
        payment_gateways.update(conn, act.account_id, after)
    return after


def delete_payment_gateway(conn: Connection, act: Act, gateway_id: str) -> None:
    """Give the gateway up. Raises ``NotFound``, and ``Conflict`` while anything still needs it."""
    gateway = payment_gateways.lock(conn, act.account_id, gateway_id)
    if gateway is None:
        raise NotFound.of("payment gateway", gateway_id)
    if payment_gateways.is_needed(conn, act.account_id, gateway.name):
        raise Conflict(
            f"What is under way, or customers' payment methods, need the gateway '{gateway.name}'.",
            code="payment_gateway_in_use",
        )
    payment_gateways.delete(conn, act.account_id, gateway_id)


def sealed(vault: Vault, api_key: str) -> dict[str, Any]:
    """The fields that keep a key. Raises ``VaultError`` when there is nothing to seal it with."""
    hint = api_key[-HINT_LENGTH:] if len(api_key) >= HINTED_LENGTH_MIN else ""
    return {"credentials": vault.seal(api_key), "hint": hint}


def checked_base_url(url: str, *, livemode: bool, allowed_networks: tuple[str, ...]) -> str:
    """The address without a slash at its end. Raises ``InvalidRequest``.

    A key in clear text is for tests; and what only this machine can reach is for its operator.
    """
    try:
        check_url(url, networks(allowed_networks))
    except Refused as refused:
        raise InvalidRequest(str(refused), param="base_url", code="url_invalid") from None
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise InvalidRequest("A base address has no query.", param="base_url", code="url_invalid")
    if livemode and parts.scheme != "https":
        raise InvalidRequest(
            "In live mode a gateway is asked over HTTPS.", param="base_url", code="url_invalid"
        )
    return url.rstrip("/")


def check_token(conn: Connection, act: Act, name: str | None, token: str) -> str:
    """The name of the gateway that knows the token: the one named, or the account's default.

    It is not deleted while the transaction lasts. Raises ``NotFound``, and ``InvalidRequest`` for
    a token that no such gateway has.
    """
    if name is None:
        default = payment_gateways.find_default(conn, act.account_id)
        if default is None:
            raise InvalidRequest(
                "Missing required param: gateway; the account has no default.",
                param="gateway",
                code="parameter_missing",
            )
        name = default.name
    if name == "manual":
        return name
    gateway = payment_gateways.hold(conn, act.account_id, [name]).get(name)
    if gateway is None:
        raise NotFound.of("payment gateway", name, param="gateway")
    is_token, example = _TOKENS[gateway.kind]
    if not is_token(token):
        raise InvalidRequest(
            f"Invalid gateway_token for a gateway of {gateway.kind}; {example}",
            param="gateway_token",
        )
    return name
