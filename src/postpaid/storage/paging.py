"""Pages of a list, by key: ids sort by creation, so a page is a range of them, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from postpaid.core.errors import NotFound
from postpaid.storage.database import Connection, fetch

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list: at most ``limit`` rows ``after`` (older) or ``before`` (newer) an id.

    Or those after the first ``offset``, for whoever counts pages.
    """

    limit: int = 10
    after: str | None = None
    before: str | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """A page's rows, newest first, and whether there are more in its direction."""

    rows: list[T]
    has_more: bool


def fetch_page(
    conn: Connection,
    cls: type[T],
    query: str,
    parameters: dict[str, Any],
    page: Page,
    *,
    table: str,
    what: str,
    order: Sequence[str] = ("id",),
) -> Rows[T]:
    """The page of ``query``, which selects from ``table`` and ends in its WHERE clause.

    ``parameters`` has ``account_id``. The rows are in descending ``order``, which ends in the id;
    it needs more than that where a caller chooses ids. Raises ``NotFound`` when the page starts at
    an id that is not a ``what`` of this account. ``table`` and ``order`` are ours.
    """
    cursor_id = page.after or page.before
    if cursor_id is not None:
        name = "starting_after" if page.after else "ending_before"
        _check_cursor(conn, table, what, parameters["account_id"], cursor_id, name)
    place = ", ".join(f"{table}.{column}" for column in order)
    start = (
        f"(SELECT {', '.join(order)} FROM {table} c"
        " WHERE c.account_id = %(account_id)s AND c.id = %(cursor)s)"
    )
    newest_first = ", ".join(f"{table}.{column} DESC" for column in order)
    if page.before is not None and page.after is None:
        tail = f"AND ({place}) > {start} ORDER BY {place} LIMIT %(limit)s"
    elif page.after is not None:
        tail = f"AND ({place}) < {start} ORDER BY {newest_first} LIMIT %(limit)s"
    else:
        tail = f"ORDER BY {newest_first} LIMIT %(limit)s OFFSET %(offset)s"
    found = fetch(
        conn,
        cls,
        query + tail,
        parameters | {"cursor": cursor_id, "limit": page.limit + 1, "offset": page.offset},
    )
    rows = found[: page.limit]
    if page.before is not None and page.after is None:
        rows.reverse()
    return Rows(rows, has_more=len(found) > page.limit)


def _check_cursor(
    conn: Connection, table: str, what: str, account_id: int, cursor_id: str, name: str
) -> None:
    known = conn.execute(
        f"SELECT FROM {table} WHERE account_id = %s AND id = %s".encode(), (account_id, cursor_id)
    ).rowcount
    if not known:
        raise NotFound.of(what, cursor_id, param=name)
