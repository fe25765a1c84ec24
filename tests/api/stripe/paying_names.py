"""What a shop has that is paid and tells others: payments in several statuses, endpoints, gateways.

Made through the API, and known by the names that requests use.
"""

from __future__ import annotations

from typing import Any

import httpx
from shops import Names
from stripe import StripeClient

THREE_D = "pm_card_authenticationRequired"
URL = "https://example.com/told"


def make_names(client: StripeClient, http: httpx.Client) -> Names:
    v1 = client.v1
    customer = v1.customers.create({"name": "Ada"}).id
    card = v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id

    def intent(**more: Any) -> Any:
        asked: Any = {"amount": 500, "currency": "usd", "customer": customer} | more
        return v1.payment_intents.create(asked)

    def setup(**more: Any) -> Any:
        asked: Any = {"customer": customer} | more
        return v1.setup_intents.create(asked)

    def bill() -> str:
        draft = v1.invoices.create(
            {
                "customer": customer,
                "collection_method": "send_invoice",
                "days_until_due": 9,
                "pending_invoice_items_behavior": "exclude",
                "currency": "usd",
            }
        ).id
        v1.invoice_items.create(
            {"customer": customer, "invoice": draft, "amount": 50_000, "currency": "usd"}
        )
        return v1.invoices.finalize_invoice(draft).id

    def record(**more: Any) -> str:
        asked: Any = {
            "amount_requested": {"value": 100, "currency": "usd"},
            "initiated_at": 1,
            "outcome": "guaranteed",
            "guaranteed": {"guaranteed_at": 1},
            "payment_method_details": {"type": "custom"},
        }
        return v1.payment_records.report_payment(asked | more).id

    def post(path: str, **given: str) -> Any:
        return http.post(path, data=given).raise_for_status().json()

    paid = intent(payment_method=card, confirm=True)
    waits = intent(payment_method=THREE_D, confirm=True)
    assert waits.status == "requires_action"
    open_bill, settled = bill(), bill()
    v1.invoices.pay(settled, {"payment_method": card})
    [payment] = v1.invoice_payments.list({"invoice": settled}).data
    endpoint = v1.webhook_endpoints.create({"url": URL, "enabled_events": ["*"]})
    v1.customers.create({"name": "Told"})
    [event] = v1.events.list({"limit": 1}).data
    sent = http.get(f"/v1/webhook_endpoints/{endpoint.id}/deliveries", params={"limit": 1})
    [delivery] = sent.json()["data"]
    setup_waits = setup(payment_method="pm_card_authenticationRequiredOnSetup", confirm=True)
    assert setup_waits.status == "requires_action"
    gateway = post("/v1/payment_gateways", name="main", type="stripe", api_key="sk_test_123")
    destination = client.v2.core.event_destinations.create(
        {
            "name": "The shop",
            "type": "webhook_endpoint",
            "enabled_events": ["v1.invoice.paid"],
            "event_payload": "thin",
            "webhook_endpoint": {"url": URL},
        }
    )
    return {
        "bill": open_bill,
        "card": card,
        "charge": str(paid.latest_charge),
        "customer": customer,
        "delivery": delivery["id"],
        "destination": destination.id,
        "endpoint": endpoint.id,
        "event": event.id,
        "free_card": v1.payment_methods.create({"type": "card", "card": {"token": "tok_visa"}}).id,
        "gateway": gateway["id"],
        "given_up": intent().id,
        "intent": intent().id,
        "paid": paid.id,
        "payment": payment.id,
        "ready": intent(payment_method=card).id,
        "record": record(),
        "refund": v1.refunds.create({"charge": str(paid.latest_charge), "amount": 5}).id,
        "retries": post("/v1/retry_schedules", kind="daily")["id"],
        "secret": str(paid.client_secret),
        "settled": settled,
        "setup": setup().id,
        "setup_given_up": setup().id,
        "setup_ready": setup(payment_method=card).id,
        "setup_waits": setup_waits.id,
        "spare_gateway": post(
            "/v1/payment_gateways", name="spare", type="frame", api_key="frame_123"
        )["id"],
        "spare_endpoint": v1.webhook_endpoints.create(
            {"url": URL, "enabled_events": ["invoice.paid"]}
        ).id,
        "spare_retries": post("/v1/retry_schedules", kind="daily")["id"],
        "waits": waits.id,
    }
