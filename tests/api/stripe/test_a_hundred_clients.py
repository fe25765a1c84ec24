"""A hundred clients send one key at the same moment: it happens once, and all hear the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from stripe import StripeClient

from postpaid.billing.manage_keys import IssuedKey

CLIENTS = 100
KEY = {"Idempotency-Key": "one and the same"}


@pytest.fixture
def at_once(server: str, key: IssuedKey) -> Iterator[Callable[..., list[httpx.Response]]]:
    """Sends a request from a hundred connections, all of them open, at the same moment."""
    together = threading.Barrier(CLIENTS)

    def ask(path: str, given: dict[str, Any]) -> httpx.Response:
        with httpx.Client(
            base_url=server, headers={"Authorization": f"Bearer {key.secret}"}, timeout=60
        ) as client:
            client.get("/v1/billing_settings").raise_for_status()
            together.wait(60)
            if path.startswith("/v2"):
                return client.post(path, json=given, headers=KEY)
            return client.post(path, data=given, headers=KEY)

    with ThreadPoolExecutor(CLIENTS) as threads:
        yield lambda path, **given: list(threads.map(lambda _: ask(path, given), range(CLIENTS)))


def agree(answers: list[httpx.Response]) -> dict[str, Any]:
    """What all have heard: one of them as the first, the others as its replay."""
    assert [each.status_code for each in answers] == [answers[0].status_code] * CLIENTS
    assert {each.content for each in answers} == {answers[0].content}
    [first] = [each for each in answers if "Idempotent-Replayed" not in each.headers]
    replays = [each for each in answers if each is not first]
    assert {each.headers["Idempotent-Replayed"] for each in replays} == {"true"}
    assert {each.headers["Original-Request"] for each in replays} == {first.headers["Request-Id"]}
    assert len({each.headers["Request-Id"] for each in answers}) == CLIENTS
    heard: dict[str, Any] = first.json()
    return heard


def test_one_customer_is_made(
    at_once: Callable[..., list[httpx.Response]], stripe_client: StripeClient
) -> None:
    heard = agree(at_once("/v1/customers", name="Ada"))
    assert [each.id for each in stripe_client.v1.customers.list()] == [heard["id"]]
    assert len(stripe_client.v1.events.list({"type": "customer.created"}).data) == 1


@pytest.mark.parametrize(
    ("card", "status"), [("pm_card_visa", 200), ("pm_card_chargeCustomerFail", 402)]
)
def test_one_payment_is_made(
    at_once: Callable[..., list[httpx.Response]],
    stripe_client: StripeClient,
    card: str,
    status: int,
) -> None:
    """Though the gateway is asked between two transactions."""
    v1 = stripe_client.v1
    ada = v1.customers.create({"name": "Ada"}).id
    method = v1.payment_methods.attach(card, {"customer": ada}).id
    v1.customers.update(ada, {"invoice_settings": {"default_payment_method": method}})
    invoice = v1.invoices.create({"customer": ada, "auto_advance": False}).id
    v1.invoice_items.create({"customer": ada, "invoice": invoice, "amount": 500, "currency": "usd"})
    v1.invoices.finalize_invoice(invoice)
    answers = at_once(f"/v1/invoices/{invoice}/pay")
    heard = agree(answers)
    assert answers[0].status_code == status
    types = [each.type for each in v1.events.list({"type": "invoice.*", "limit": 100})]
    if status == 200:
        assert (heard["id"], heard["status"], heard["amount_paid"]) == (invoice, "paid", 500)
        assert types.count("invoice.paid") == types.count("invoice.payment_succeeded") == 1
    else:
        assert heard["error"]["code"] == "card_declined"
        assert types.count("invoice.payment_failed") == 1
        assert v1.invoices.retrieve(invoice).attempt_count == 1


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_one_event_is_counted(
    at_once: Callable[..., list[httpx.Response]], stripe_client: StripeClient, version: str
) -> None:
    """Though requests that report usage are gathered, and the event has no identifier."""
    v1 = stripe_client.v1
    ada = v1.customers.create({"name": "Ada"}).id
    meter = v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": "call",
            "default_aggregation": {"formula": "sum"},
        }
    )
    given: dict[str, Any] = {"event_name": "call"}
    if version == "v1":
        given |= {"payload[stripe_customer_id]": ada, "payload[value]": "7"}
    else:
        given |= {"payload": {"stripe_customer_id": ada, "value": "7"}}
    heard = agree(at_once(f"/{version}/billing/meter_events", **given))
    assert heard["event_name"] == "call"
    start = meter.created // 60 * 60
    summaries = v1.billing.meters.event_summaries.list(
        meter.id, {"customer": ada, "start_time": start, "end_time": start + 86400}
    )
    assert [each.aggregated_value for each in summaries] == [7]
