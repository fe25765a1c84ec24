"""Which events their endpoints have been told of, as `/v1/events` shows and filters them."""

from __future__ import annotations

from typing import Any

from refusals import refused
from stripe import StripeClient

from postpaid import clock, ids
from postpaid.api.stripe import events as snapshots
from postpaid.api.stripe import thin_events
from postpaid.billing.manage_event_destinations import with_labels
from postpaid.billing.perform import Act
from postpaid.storage import events, webhook_endpoints
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from postpaid.storage.paging import Page
from statements import counted


def told(database: Database, account: Account, event_id: str, status: str) -> None:
    """What a deliverer makes of the event's deliveries."""
    with database.transaction() as conn:
        done = conn.execute(
            "UPDATE webhook_deliveries SET status = %s, due_at = NULL, settled_at = now()"
            " WHERE account_id = %s AND event_id = %s",
            (status, account.account_id, event_id),
        )
        assert done.rowcount


def test_events_are_found_by_whether_they_were_delivered(
    stripe_client: StripeClient, database: Database, account: Account
) -> None:
    v1 = stripe_client.v1
    v1.customers.create({"name": "to nobody"})
    endpoints = [
        v1.webhook_endpoints.create(
            {"url": f"https://example.com/{n}", "enabled_events": ["customer.*"]}
        ).id
        for n in range(2)
    ]
    for name in ("waits", "told", "given up"):
        v1.customers.create({"name": name})
    by_name: Any = {each.data.object["name"]: each for each in v1.events.list()}
    assert {name: each.pending_webhooks for name, each in by_name.items()} == {
        "to nobody": 0,
        "waits": 2,
        "told": 2,
        "given up": 2,
    }
    told(database, account, by_name["told"].id, "delivered")
    told(database, account, by_name["given up"].id, "failed")

    def names(**filters: Any) -> list[str]:
        found = v1.events.list(filters).auto_paging_iter()  # type: ignore[arg-type]
        return [each.data.object["name"] for each in found]

    assert names(delivery_success=True, limit=1) == ["told", "to nobody"]
    assert names(delivery_success=False, limit=1) == ["given up", "waits"]
    assert names(delivery_success=False, type="product.*") == []
    assert v1.events.retrieve(by_name["told"].id).pending_webhooks == 0
    assert v1.events.retrieve(by_name["waits"].id).pending_webhooks == 2

    # Nobody waits for what a deleted endpoint was to be told.
    for each in endpoints:
        v1.webhook_endpoints.delete(each)
    assert names(delivery_success=False) == []
    assert v1.events.retrieve(by_name["waits"].id).pending_webhooks == 0


def test_a_list_takes_the_same_statements_however_long(
    stripe_client: StripeClient, database: Database, account: Account
) -> None:
    v1 = stripe_client.v1
    url = "https://example.com/"
    made = [v1.webhook_endpoints.create({"url": url, "enabled_events": ["*"]}).id for _ in range(5)]
    for n in range(5):
        ada = v1.customers.create({"name": "Ada"}).id
        v1.customers.update(ada, {"name": f"{n}"})
    act = Act(account.account_id, False, "key_1", clock.now(), ids.new_id)
    with database.connection() as conn:
        page = Page(limit=10)
        updates = events.list_page(conn, account.account_id, page, types=["customer.updated"]).rows
        every = list(webhook_endpoints.load(conn, account.account_id, made).values())
        assert (len(updates), len(every)) == (5, 5)
        for shown, works in (
            (updates, (thin_events.with_changes, snapshots.to_stripe)),
            (every, (with_labels,)),
        ):
            for work in works:
                asked = []
                for some in (shown[:1], shown):
                    with counted(conn) as statements:
                        assert len(work(conn, act, some)) == len(some)
                    asked.append(statements)
                assert asked[0] == asked[1]


def test_whether_is_yes_or_no(stripe_client: StripeClient) -> None:
    with refused("delivery_success"):
        stripe_client.raw_request("get", "/v1/events", delivery_success="perhaps")
