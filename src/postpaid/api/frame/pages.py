"""Lists by page, as Frame writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from postpaid.api.frame.params import PER_PAGE, ListParams
from postpaid.storage.paging import Rows

T = TypeVar("T")


def listing(
    url: str,
    params: ListParams,
    rows: Rows[T],
    render: Callable[[Sequence[T]], Sequence[dict[str, Any]]],
    *,
    named: str | None = None,
    about: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A page; ``render`` gets all of its rows.

    The rows are under ``data``, and again under the name that some of Frame's clients look for.
    ``about`` is what the ``meta`` says besides.
    """
    data = list(render(rows.rows))
    return {
        "meta": meta(url, params, has_more=rows.has_more) | (about or {}),
        "data": data,
        **({named: data} if named else {}),
    }


def meta(url: str, params: ListParams, *, has_more: bool) -> dict[str, Any]:
    """Which page it is.

    The URL tells how many a page has, which Frame's Ruby client goes by when it asks for the next
    one.
    """
    return {
        "page": params.page,
        "url": url if params.per_page == PER_PAGE else f"{url}?per_page={params.per_page}",
        "has_more": has_more,
        "prev": params.page - 1 if params.page > 1 else None,
        "next": params.page + 1 if has_more else None,
    }


def page_of(rows: Sequence[T], params: ListParams) -> Rows[T]:
    """The page of a list that is whole, and short."""
    page = params.rows
    end = page.offset + page.limit
    return Rows(list(rows[page.offset : end]), has_more=len(rows) > end)
