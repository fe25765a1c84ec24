"""Frame's endpoints are told everything, by every code and in order, though the deliverer dies."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from datetime import datetime
from pathlib import Path

from test_webhooks_arrive import KEY, Merchant, database, delivering, merchant, moody, wait_until

from postpaid import ids
from postpaid.billing import manage_webhook_endpoints
from postpaid.billing.announce import Announcement, announce
from postpaid.core.deliveries import DeliveryStatus, EndpointStatus, Facade, Payload
from postpaid.storage import customers, deliveries
from postpaid.storage.customers import Customer
from postpaid.storage.paging import Page
from postpaid.storage.webhook_endpoints import WebhookEndpoint
from receiver import receiving

__all__ = ["database", "merchant"]  # fixtures

CUSTOMERS = [f"cus_{number}" for number in range(5)]
CODES = ("account.restricted", "account.updated")  # of one event, in this order


def listen(merchant: Merchant, url: str) -> str:
    endpoint = WebhookEndpoint(
        id=ids.new_id("we"),
        url=url,
        enabled_events=("account.*",),
        facade=Facade.FRAME,
        payload=Payload.SNAPSHOT,
        status=EndpointStatus.ENABLED,
        created_at=merchant.act.now,
    )
    with merchant.database.transaction() as conn:
        manage_webhook_endpoints.create_endpoint(
            conn, merchant.act, endpoint, merchant.database.vault
        )
    return endpoint.id


def account(merchant: Merchant, customer_id: str, blocked_at: datetime | None = None) -> Customer:
    profile = {"type": "individual"}
    now = merchant.act.now
    return Customer(
        customer_id, f"ACME{customer_id[-1]}", now, profile=profile, blocked_at=blocked_at
    )


def restrict_all(merchant: Merchant) -> None:
    """Each account is restricted, which is one event that is told by two codes."""
    now = merchant.act.now
    said = [
        Announcement(
            "customer.updated",
            "customer",
            each,
            account(merchant, each, now),
            {"blocked_at": None},
        )
        for each in CUSTOMERS
    ]
    with merchant.database.transaction() as conn:
        announce(conn, merchant.act, said)


def told(merchant: Merchant, endpoint: str) -> dict[str, list[str]]:
    """The names under which each account's deliveries go out, in the order they were written."""
    with merchant.database.connection() as conn:
        rows = deliveries.list_page(
            conn, merchant.act.account_id, Page(limit=1000), endpoint_id=endpoint
        ).rows
    names: defaultdict[str, list[str]] = defaultdict(list)
    for each in reversed(rows):
        assert each.told_as is not None
        names[each.subject_id].append(f"{each.event_id}-{each.told_as.replace('.', '-')}")
    return names


def test_every_code_arrives_in_order_though_the_deliverer_is_killed(merchant: Merchant) -> None:
    """Killed thrice, with SIGKILL, while it is sending; others go on where it was."""
    with merchant.database.transaction() as conn:
        for each in CUSTOMERS:
            customers.insert(conn, merchant.act.account_id, account(merchant, each))
    with receiving(moody(60)) as receiver:
        endpoint = listen(merchant, receiver.url)
        for _ in range(5):
            restrict_all(merchant)
        for _ in range(3):
            script = str(Path(__file__).with_name("delivering.py"))
            process = subprocess.Popen(
                [sys.executable, "-P", script, merchant.database.url, KEY],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            try:
                came = len(receiver.received)
                receiver.wait_until(lambda came=came: len(receiver.received) >= came + 7)  # type: ignore[misc]
            finally:
                process.kill()
                process.wait()
            with merchant.database.transaction() as conn:  # as if a minute had gone by
                conn.execute(
                    "UPDATE webhook_deliveries SET due_at = 'epoch' WHERE due_at > 'epoch'"
                )
            restrict_all(merchant)
        expected = told(merchant, endpoint)
        with delivering(merchant.database, timeout_s=0.5):
            receiver.wait_for(len(CUSTOMERS) * len(CODES) * 8)
            wait_until(lambda: merchant.statuses(endpoint) == {DeliveryStatus.DELIVERED})
        taken = receiver.first_taken()
        headers = {each.headers["x-frame-webhook-id"] for each in receiver.received}
    assert headers == {each["id"] for each in taken}
    for account_id, names in expected.items():
        of_account = [each for each in taken if each["data"]["id"] == account_id]
        assert [each["id"] for each in of_account] == names
        assert [each["type"] for each in of_account] == list(CODES) * 8
