"""Payment gateways (ours): who moves the account's money. Their keys go in and never out."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator

from postpaid.api.instants import seconds
from postpaid.api.params import Boolean, Metadata, Params, Text, Unsettable, merge_metadata, refuse
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_payment_gateways
from postpaid.core.errors import NotFound
from postpaid.core.values import replace
from postpaid.storage import payment_gateways
from postpaid.storage.database import Connection
from postpaid.storage.payment_gateways import GatewayKind, PaymentGateway

routes = Routes("Payment gateways")

URL = "/v1/payment_gateways"


def _name(value: str) -> str:
    if not re.fullmatch("[a-z][a-z0-9_-]*", value):
        raise refuse("A name has lower-case letters, digits, - and _, and begins with a letter.")
    return value


def _key(value: str) -> str:
    if not re.fullmatch("[!-~]+", value):
        raise refuse("Invalid key: it has printable ASCII characters, without spaces.")
    return value


GatewayName = Annotated[str, Text(40), AfterValidator(_name)]
Key = Annotated[str, Text(500), AfterValidator(_key)]


class GatewayCreate(Params):
    api_key: Key
    name: GatewayName
    type: GatewayKind
    base_url: Annotated[str, Text(500)] | None = None
    default: Boolean = False
    metadata: Metadata = None


class GatewayUpdate(Params):
    api_key: Key | None = None
    base_url: Unsettable[Annotated[str, Text(500)]] = None
    default: Boolean | None = None
    metadata: Metadata = None


@routes.post(URL, returns="payment_gateway")
def create(call: Call, params: GatewayCreate) -> dict[str, Any]:
    """Create a payment gateway. Its key is sealed, and in no answer."""
    base_url = _base_url(call, params.base_url)

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_payment_gateways.create_payment_gateway(
            conn,
            call.act,
            vault=call.database.vault,
            name=params.name,
            kind=params.type,
            api_key=params.api_key,
            base_url=base_url,
            is_default=params.default,
            metadata=merge_metadata({}, params.metadata),
        )
        return to_stripe(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get(URL + "/{payment_gateway}", returns="payment_gateway")
def retrieve(call: Call, payment_gateway: str) -> dict[str, Any]:
    """Retrieve a payment gateway."""

    def read(conn: Connection) -> dict[str, Any]:
        found = payment_gateways.find(conn, call.act.account_id, payment_gateway)
        if found is None:
            raise NotFound.of("payment gateway", payment_gateway)
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.post(URL + "/{payment_gateway}", returns="payment_gateway")
def update(call: Call, params: GatewayUpdate, payment_gateway: str) -> dict[str, Any]:
    """Update a payment gateway: its key, its address, its being the default."""
    given = params.given()
    fields: dict[str, Any] = {}
    if params.api_key is not None:
        fields |= manage_payment_gateways.sealed(call.database.vault, params.api_key)
    if "base_url" in given:
        fields["base_url"] = _base_url(call, params.base_url)
    if params.default is not None:
        fields["is_default"] = params.default

    def change(before: PaymentGateway) -> PaymentGateway:
        if "metadata" in given:
            fields["metadata"] = merge_metadata(before.metadata, given["metadata"])
        return replace(before, **fields)

    return call.write(
        lambda conn: to_stripe(
            manage_payment_gateways.update_payment_gateway(conn, call.act, payment_gateway, change),
            livemode=call.act.livemode,
        )
    )


@routes.delete(URL + "/{payment_gateway}", returns="payment_gateway")
def delete(call: Call, payment_gateway: str) -> dict[str, Any]:
    """Delete a payment gateway that nothing needs any more."""

    def write(conn: Connection) -> dict[str, Any]:
        manage_payment_gateways.delete_payment_gateway(conn, call.act, payment_gateway)
        return {"id": payment_gateway, "object": "payment_gateway", "deleted": True}

    return call.write(write)


@routes.get(URL, returns="payment_gateway", many=True)
def list_(call: Call, params: ListParams) -> dict[str, Any]:
    """List payment gateways, newest first."""
    return call.read(
        lambda conn: listing(
            URL,
            payment_gateways.list_page(conn, call.act.account_id, params.page),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


def _base_url(call: Call, url: str | None) -> str | None:
    if url is None:
        return None
    return manage_payment_gateways.checked_base_url(
        url, livemode=call.act.livemode, allowed_networks=call.allowed_networks
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(gateway: PaymentGateway, *, livemode: bool) -> dict[str, Any]:
    """A gateway; ``api_key`` is what may be shown of its key."""
    return {
        "id": gateway.id,
        "object": "payment_gateway",
        "api_key": f"…{gateway.hint}",
        "base_url": gateway.base_url,
        "created": seconds(gateway.created_at),
        "default": gateway.is_default,
        "livemode": livemode,
        "metadata": gateway.metadata,
        "name": gateway.name,
        "type": gateway.kind,
    }
