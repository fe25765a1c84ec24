"""Whose key it is, as Frame shows it."""

from __future__ import annotations

from typing import Any

from postpaid.api.frame.routes import Call, Routes
from postpaid.core.errors import NotFound
from postpaid.storage import accounts
from postpaid.storage.database import Connection

routes = Routes("Merchant")


@routes.get("/v1/me")
def retrieve(call: Call) -> dict[str, Any]:
    """Retrieve the merchant whose key this is."""

    def read(conn: Connection) -> dict[str, Any]:
        found = accounts.find(conn, call.act.account_id)
        if found is None:
            raise NotFound.of("merchant", str(call.act.account_id))
        return {
            "merchant_id": found.id,
            "merchant_name": found.name,
            "dev_mode": not found.livemode,
            "api_version": "v1",
        }

    return call.read(read)
