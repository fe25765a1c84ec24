"""How an account bills: ours, in Stripe's manner (there it is in the dashboard)."""

from __future__ import annotations

from typing import Any

from postpaid.api.stripe.customers import InvoicePrefix
from postpaid.api.stripe.params import Params, TimeZone
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_settings
from postpaid.core.invoicing import Numbering
from postpaid.storage import invoice_numbers
from postpaid.storage.invoice_numbers import BillingSettings

routes = Routes("Billing settings")


class BillingSettingsUpdate(Params):
    invoice_numbering: Numbering | None = None
    invoice_prefix: InvoicePrefix | None = None
    time_zone: TimeZone | None = None


@routes.get("/v1/billing_settings", returns="billing_settings")
def retrieve(call: Call) -> dict[str, Any]:
    """Retrieve the account's settings."""
    return call.read(
        lambda conn: to_stripe(invoice_numbers.load_settings(conn, call.act.account_id))
    )


@routes.post("/v1/billing_settings", returns="billing_settings")
def update(call: Call, params: BillingSettingsUpdate) -> dict[str, Any]:
    """Update the account's settings: whose sequence numbers invoices, and its time zone."""
    changed = {name: value for name, value in params.given().items() if value is not None}
    return call.write(
        lambda conn: to_stripe(manage_settings.update_settings(conn, call.act, changed))
    )


def to_stripe(settings: BillingSettings) -> dict[str, Any]:
    """The settings, of which an account has one."""
    return {
        "object": "billing_settings",
        "invoice_numbering": settings.invoice_numbering,
        "invoice_prefix": settings.invoice_prefix,
        "next_invoice_sequence": settings.next_invoice_sequence,
        "time_zone": settings.time_zone,
    }
