"""How an account bills: ours, in Stripe's manner (there it is in the dashboard)."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import MaxLen
from pydantic import AfterValidator

from postpaid.api.params import Id, Integer, Params, TimeZone, Unsettable, refuse
from postpaid.api.stripe.customers import InvoicePrefix
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_settings
from postpaid.core.invoicing import Numbering
from postpaid.storage import invoice_numbers
from postpaid.storage.invoice_numbers import BillingSettings

routes = Routes("Billing settings")


DAYS_MAX = 60

Days = Annotated[int, Integer(1, DAYS_MAX)]


def _each_once(days: list[int]) -> list[int]:
    if len(set(days)) < len(days):
        raise refuse("Invalid array: each number of days can be given once")
    return sorted(days, reverse=True)


class BillingSettingsUpdate(Params):
    invoice_reminder_days: Unsettable[
        Annotated[list[Days], MaxLen(10), AfterValidator(_each_once)]
    ] = None
    invoice_upcoming_days: Unsettable[Days] = None
    invoice_numbering: Numbering | None = None
    invoice_prefix: InvoicePrefix | None = None
    retry_schedule: Unsettable[Id] = None
    time_zone: TimeZone | None = None


UNSETTABLE = {
    "invoice_reminder_days": "reminder_days",
    "invoice_upcoming_days": "upcoming_days",
    "retry_schedule": "retry_schedule_id",
}


@routes.get("/v1/billing_settings", returns="billing_settings")
def retrieve(call: Call) -> dict[str, Any]:
    """Retrieve the account's settings."""
    return call.read(
        lambda conn: to_stripe(invoice_numbers.load_settings(conn, call.act.account_id))
    )


@routes.post("/v1/billing_settings", returns="billing_settings")
def update(call: Call, params: BillingSettingsUpdate) -> dict[str, Any]:
    """Update the account's settings: whose sequence numbers invoices, and how they are paid."""
    given = params.given()
    changed = {name: value for name, value in given.items() if name not in UNSETTABLE and value}
    changed |= {UNSETTABLE[name]: given[name] for name in UNSETTABLE.keys() & given.keys()}
    if "reminder_days" in changed:
        changed["reminder_days"] = changed["reminder_days"] or []
    return call.write(
        lambda conn: to_stripe(manage_settings.update_settings(conn, call.act, changed))
    )


def to_stripe(settings: BillingSettings) -> dict[str, Any]:
    """The settings, of which an account has one."""
    return {
        "object": "billing_settings",
        "invoice_numbering": settings.invoice_numbering,
        "invoice_prefix": settings.invoice_prefix,
        "invoice_reminder_days": list(settings.reminder_days),
        "invoice_upcoming_days": settings.upcoming_days,
        "next_invoice_sequence": settings.next_invoice_sequence,
        "retry_schedule": settings.retry_schedule_id,
        "time_zone": settings.time_zone,
    }
