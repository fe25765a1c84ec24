"""Lists, as Stripe writes them and asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import model_validator

from postpaid.api.params import Id, Integer, Params, refuse
from postpaid.storage.paging import Page, Rows

T = TypeVar("T")


class ListParams(Params):
    """Which page of a list; resources add their filters."""

    limit: Annotated[int, Integer(1, 100)] = 10
    starting_after: Id | None = None
    ending_before: Id | None = None

    @model_validator(mode="after")
    def _one_cursor(self) -> ListParams:
        if self.starting_after is not None and self.ending_before is not None:
            raise refuse(
                "You may only specify one of these parameters: starting_after, ending_before.",
                "parameters_exclusive",
            )
        return self

    @property
    def page(self) -> Page:
        return Page(limit=self.limit, after=self.starting_after, before=self.ending_before)


def listing(url: str, rows: Rows[T], render: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """A page; ``url`` is the path that serves the next ones."""
    return {
        "object": "list",
        "data": [render(row) for row in rows.rows],
        "has_more": rows.has_more,
        "url": url,
    }
