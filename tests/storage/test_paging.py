"""A list, walked in both directions, page by page, is the list."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postpaid.core.catalog import Product
from postpaid.core.errors import NotFound
from postpaid.storage import catalog, customers
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.paging import Page, Rows

OURS, THEIRS = -11, -12  # nobody else's, who may have committed here
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def seven(conn: Connection) -> list[str]:
    """The ids of seven customers, newest first, among others of another account."""
    for n in range(7):
        for account_id in (OURS, THEIRS):
            customer = Customer(id=f"cus_{account_id}_{n}", invoice_prefix=f"P{n}", created_at=NOON)
            customers.insert(conn, account_id, customer)
    return [f"cus_{OURS}_{n}" for n in reversed(range(7))]


def ids(rows: Rows[Customer] | Rows[Product]) -> list[str]:
    return [row.id for row in rows.rows]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_forward_is_the_list(conn: Connection, seven: list[str], limit: int) -> None:
    found = customers.list_page(conn, OURS, Page(limit))
    walked = ids(found)
    while found.has_more:
        found = customers.list_page(conn, OURS, Page(limit, after=walked[-1]))
        walked += ids(found)
    assert walked == seven


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_backward_is_the_list(conn: Connection, seven: list[str], limit: int) -> None:
    walked = seven[-1:]
    has_more = True
    while has_more:
        found = customers.list_page(conn, OURS, Page(limit, before=walked[0]))
        walked = ids(found) + walked
        has_more = found.has_more
    assert walked == seven


@given(st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_page_is_a_slice_of_the_list(
    conn: Connection, seven: list[str], data: st.DataObject
) -> None:
    """Whatever is deleted, wherever it starts; and it says truly whether the list goes on."""
    gone = data.draw(st.sets(st.sampled_from(seven)))
    cursor = data.draw(st.sampled_from(seven))
    limit = data.draw(st.integers(1, 8))
    older = [each for each in seven if each < cursor and each not in gone]
    newer = [each for each in seven if each > cursor and each not in gone]
    with conn.transaction(force_rollback=True):
        customers.mark_deleted(conn, OURS, list(gone), now=NOON)
        after = customers.list_page(conn, OURS, Page(limit, after=cursor))
        before = customers.list_page(conn, OURS, Page(limit, before=cursor))
    assert (ids(after), after.has_more) == (older[:limit], len(older) > limit)
    assert (ids(before), before.has_more) == (newer[-limit:], len(newer) > limit)


def test_a_page_next_to_the_end_is_empty(conn: Connection, seven: list[str]) -> None:
    for page in (Page(before=seven[0]), Page(after=seven[-1])):
        assert customers.list_page(conn, OURS, page) == Rows([], has_more=False)


def test_a_page_starts_where_the_account_has_something(conn: Connection, seven: list[str]) -> None:
    with pytest.raises(NotFound) as raised:
        customers.list_page(conn, OURS, Page(after=f"cus_{THEIRS}_3"))
    assert (raised.value.message, raised.value.param) == (
        f"No such customer: 'cus_{THEIRS}_3'",
        ("starting_after",),
    )
    with pytest.raises(NotFound) as raised:
        customers.list_page(conn, OURS, Page(before="cus_x"))
    assert raised.value.param == ("ending_before",)


def test_a_page_may_start_at_what_was_deleted(conn: Connection, seven: list[str]) -> None:
    customers.mark_deleted(conn, OURS, [seven[2]], now=NOON)
    assert ids(customers.list_page(conn, OURS, Page(after=seven[2]))) == seven[3:]
    assert ids(customers.list_page(conn, OURS, Page(before=seven[2]))) == seven[:2]
    assert ids(customers.list_page(conn, OURS, Page())) == seven[:2] + seven[3:]


def test_chosen_ids_are_listed_by_when_they_were_made(conn: psycopg.Connection) -> None:
    chosen = ["m", "z", "a", "b", "y"]  # "b" and "y" in the same second
    for n, product_id in enumerate(chosen):
        made_at = NOON + timedelta(seconds=min(n, 3))
        product = Product(id=product_id, name="P", created_at=made_at, updated_at=made_at)
        catalog.insert_product(conn, OURS, product)
    newest = ids(catalog.list_products(conn, OURS, Page()))
    assert newest == ["y", "b", "a", "z", "m"]
    for i, product_id in enumerate(newest):
        after = catalog.list_products(conn, OURS, Page(2, after=product_id))
        assert ids(after) == newest[i + 1 : i + 3]
        before = catalog.list_products(conn, OURS, Page(2, before=product_id))
        assert ids(before) == newest[max(0, i - 2) : i]
