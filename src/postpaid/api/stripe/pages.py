"""Pages of v2: a list says where the next one is, and where the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar
from urllib.parse import urlencode

from postpaid.core.errors import InvalidRequest
from postpaid.storage.paging import Page, Rows

AFTER, BEFORE = "after-", "before-"  # what a page's name begins with; a row's id is the rest


class Identified(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Identified)


def page_of(name: str | None, limit: int) -> Page:
    """The page of that name, or the first one. Raises ``InvalidRequest``."""
    if name is None:
        return Page(limit=limit)
    if name.startswith(AFTER):
        return Page(limit=limit, after=name.removeprefix(AFTER))
    if name.startswith(BEFORE):
        return Page(limit=limit, before=name.removeprefix(BEFORE))
    raise invalid_page(name)


def invalid_page(name: str | None) -> InvalidRequest:
    """What to tell the one who made up a page's name."""
    shown = (name or "")[:40]
    return InvalidRequest(f"Invalid page: {shown}; follow next_page_url.", param="page")


def neighbours(
    url: str, query: Sequence[tuple[str, str]], page: Page, found: Rows[T]
) -> dict[str, str | None]:
    """The paths of the next, older page and of the one before; null where there is none.

    ``query`` is what else the list was asked for. Where we came from there is a page, if only of
    the row that we came from.
    """

    def path(name: str) -> str:
        return f"{url}?{urlencode([*query, ('page', name)])}"

    older = found.has_more if page.before is None else bool(found.rows)
    newer = found.has_more if page.before is not None else page.after is not None
    rows = found.rows
    return {
        "next_page_url": path(AFTER + rows[-1].id) if rows and older else None,
        "previous_page_url": path(BEFORE + rows[0].id) if rows and newer else None,
    }
