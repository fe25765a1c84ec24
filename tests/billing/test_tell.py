"""Events in Frame's words: how many statements it takes to say who is told, and what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from postpaid import ids
from postpaid.api.frame.event_shapes import to_frame
from postpaid.billing import manage_webhook_endpoints
from postpaid.billing.announce import Announcement, announce, customer_updated
from postpaid.billing.deliver import Told
from postpaid.billing.tell import Recorded, in_codes
from postpaid.core.deliveries import EndpointStatus, Facade, Payload
from postpaid.core.invoicing import BillingReason
from postpaid.core.values import replace
from postpaid.storage import customers, events
from postpaid.storage.database import Connection, Database
from postpaid.storage.paging import Page
from postpaid.storage.webhook_endpoints import WebhookEndpoint
from statements import counted
from world import END, HOUR, World, make_world

MANY = 30


def listen(world: World, facade: Facade, *codes: str) -> str:
    endpoint = WebhookEndpoint(
        id=ids.new_id("we"),
        url="https://example.com/",
        enabled_events=codes,
        facade=facade,
        payload=Payload.SNAPSHOT,
        status=EndpointStatus.ENABLED,
        created_at=world.act.now,
    )
    with world.database.transaction() as conn:
        manage_webhook_endpoints.create_endpoint(conn, world.act, endpoint, world.database.vault)
    return endpoint.id


def telling_all(world: World, conn: Connection) -> list[Told]:
    """Everything that happened, by all its codes."""
    found = events.list_page(conn, world.act.account_id, Page(limit=10_000)).rows
    codes = in_codes(conn, world.act, [Recorded.of(each) for each in found])
    return [Told(each, one.code) for each in found for one in codes[each.id]]


def rename(conn: Connection, world: World, customer_ids: Sequence[str]) -> None:
    found = customers.load(conn, world.act.account_id, customer_ids)
    said = [customer_updated(each, replace(each, name="Eve")) for each in found.values()]
    announce(conn, world.act, said)


def told(world: World, endpoint_id: str) -> list[tuple[str, str]]:
    """What an endpoint is to be told, and of which subject, oldest first."""
    with world.database.connection() as conn:
        return conn.execute(
            "SELECT coalesce(told_as, '-'), subject_id FROM webhook_deliveries"
            " WHERE endpoint_id = %s ORDER BY sequence",
            (endpoint_id,),
        ).fetchall()


def test_a_month_of_many_is_told_with_the_statements_of_one(database: Database) -> None:
    taken = []
    for many in (1, MANY):
        world = make_world(database, many)
        world.use(world.customer_ids, 1100)
        world.pass_time(END)
        world.pass_time(END + 2 * HOUR)
        with database.connection() as conn, counted(conn) as statements:
            telling = telling_all(world, conn)
            shown = to_frame(conn, world.act, telling)
        assert len({each["id"] for each in shown}) == len(telling)
        codes = Counter(each["type"] for each in shown)
        taken.append((len(statements), codes))
    (few, of_one), (same, of_many) = taken
    assert same == few
    assert of_many == {
        code: count if code.startswith("product.") else MANY * count
        for code, count in of_one.items()
    }
    assert set(of_one) >= {
        "customer.subscription.renewed",
        "customer.subscription.renewal.processing",
        "invoice.paid",
        "charge.succeeded",
        "transfer.succeeded",
    }


def test_who_pays_is_read_once_and_only_for_frames_endpoints(database: Database) -> None:
    world = make_world(database, MANY)
    counts = []
    stripes = listen(world, Facade.STRIPE, "*")
    frames = None
    for _ in range(2):
        for chosen in (world.customer_ids[:1], world.customer_ids):
            with database.transaction() as conn:
                customers.load(conn, world.act.account_id, chosen)
                with counted(conn) as statements:
                    rename(conn, world, chosen)
            counts.append(len(statements))
        frames = frames or listen(world, Facade.FRAME, "customer.updated")
    assert counts[0] == counts[1]
    assert counts[2] == counts[3] == counts[0] + 1
    assert frames is not None
    assert len(told(world, stripes)) == 2 * (MANY + 1)
    assert told(world, frames) == [
        ("customer.updated", each) for each in (world.customer_ids[0], *sorted(world.customer_ids))
    ]


def test_what_came_of_invoices_costs_one_statement_more_where_frame_listens(
    database: Database,
) -> None:
    """Be it renewals, beginnings or billing invoices; and none where nobody of Frame's listens."""
    world = make_world(database, 4)
    world.pass_time(END)
    world.pass_time(END + 2 * HOUR)
    renewal, *others = (replace(each, lines=()) for each in world.invoices())
    billing = replace(others[0], bills_usage=True, billing_reason=BillingReason.MANUAL)
    said = [
        Announcement(kind, "invoice", each.id, each)
        for each in (renewal, billing, others[1])
        for kind in ("invoice.finalized", "invoice.paid", "invoice.payment_failed")
    ]

    def statements() -> list[str]:
        with database.transaction() as conn, counted(conn) as found:
            announce(conn, world.act, said)
        return [each.split(maxsplit=1)[0] + each.split()[1] for each in found]

    assert statements() == ["COPYevents", "SELECTid,"]
    listen(world, Facade.STRIPE, "*")
    assert statements() == ["COPYevents", "SELECTid,", "COPYwebhook_deliveries"]
    listen(world, Facade.FRAME, "*")
    assert len(statements()) == 4


def test_each_code_waits_for_what_it_shows(database: Database) -> None:
    """What happens to a subscription arrives in its order, though its invoices say it."""
    world = make_world(database, 1)
    endpoint = listen(world, Facade.FRAME, "customer.subscription.*", "invoice.*")
    world.pass_time(END)
    world.pass_time(END + 2 * HOUR)
    [subscription] = world.subscription_ids
    [invoice] = [each.id for each in world.invoices()]
    by_code = dict(told(world, endpoint))
    assert by_code["customer.subscription.renewal.processing"] == subscription
    assert by_code["customer.subscription.renewed"] == subscription
    assert by_code["invoice.issued"] == by_code["invoice.paid"] == invoice
