"""Expanding: where paths may lead, and how many loads it takes to follow them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest

from postpaid.api.stripe.expand import expand, expandable, includable, loader, nested, plan
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest
from postpaid.storage.database import Connection

# A shelf has books in a list, each with an author, a publisher deeper inside, and pages on request.
# An author has a favourite book.

LOADED: list[tuple[str, Sequence[str]]] = []


@loader("test.author")
def load_authors(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    LOADED.append(("author", ids))
    return {each: author(each) for each in ids if each != "author_gone"}


@loader("test.book")
def load_books(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    LOADED.append(("book", ids))
    return {each: book(each, "author_3") for each in ids}


def pages(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, Any]:
    LOADED.append(("pages", ids))
    return {each: {"object": "list", "data": [{"id": f"{each}_1", "note": None}]} for each in ids}


nested("test.shelf", "books", "test.book", many=True)
expandable("test.book", "author", load="test.author")
expandable("test.book", "made.by.publisher", load="test.author")
includable("test.book", "pages", pages, of="test.page", many=True)
expandable("test.author", "favourite", load="test.book")
nested("test.book", "cover", "test.cover")
expandable("test.cover", "painter", load="test.author")
expandable("test.book", "parts.made.by", load="test.author")


def author(author_id: str) -> dict[str, Any]:
    return {"id": author_id, "object": "test.author", "favourite": "book_9"}


def book(book_id: str, author_id: str | None) -> dict[str, Any]:
    return {
        "id": book_id,
        "object": "test.book",
        "author": author_id,
        "cover": {"object": "test.cover", "painter": "author_7"},
        "made": {"by": {"publisher": "author_8"}},
    }


def shelf(*books: dict[str, Any]) -> dict[str, Any]:
    return {"id": "shelf_1", "object": "test.shelf", "books": page(*books)}


def page(*data: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": list(data), "has_more": False, "url": "/v1/things"}


@pytest.fixture
def expanded(conn: psycopg.Connection) -> Any:
    """A function that expands an object, and the loads that it took."""
    act = Act(1, False, "key", datetime(2026, 1, 1, tzinfo=UTC), lambda prefix: prefix, "req")
    LOADED.clear()

    def run(shown: dict[str, Any], kind: str, *paths: str, many: bool = False) -> dict[str, Any]:
        expand(conn, act, plan(kind, paths, many=many), [shown])
        return shown

    return run


def test_an_id_becomes_its_object(expanded: Any) -> None:
    shown = expanded(book("book_1", "author_1"), "test.book", "author")
    assert shown["author"] == author("author_1")


def test_null_stays_null(expanded: Any) -> None:
    assert expanded(book("book_1", None), "test.book", "author")["author"] is None
    assert LOADED == []


def test_what_cannot_be_loaded_stays_an_id(expanded: Any) -> None:
    assert expanded(book("book_1", "author_gone"), "test.book", "author")["author"] == "author_gone"


def test_a_field_may_be_deep(expanded: Any) -> None:
    shown = expanded(book("book_1", None), "test.book", "made.by.publisher")
    assert shown["made"]["by"]["publisher"] == author("author_8")


def test_a_deep_field_may_be_absent(expanded: Any) -> None:
    shown = book("book_1", None) | {"made": {"by": None}}
    assert expanded(shown, "test.book", "made.by.publisher")["made"] == {"by": None}


def test_a_deep_field_may_be_in_each_of_a_list(expanded: Any) -> None:
    parts = [{"made": {"by": "author_1"}}, {"made": None}, {"made": {"by": "author_2"}}]
    shown = expanded(book("book_1", None) | {"parts": parts}, "test.book", "parts.made.by")
    assert [each["made"] for each in shown["parts"]] == [
        {"by": author("author_1")},
        None,
        {"by": author("author_2")},
    ]
    assert LOADED == [("author", ["author_1", "author_2"])]


def test_a_field_is_included_when_asked_for(expanded: Any) -> None:
    shown = expanded(book("book_1", None), "test.book", "pages")
    assert shown["pages"]["data"] == [{"id": "book_1_1", "note": None}]


def test_an_object_inside_is_expanded(expanded: Any) -> None:
    shown = expanded(book("book_1", None), "test.book", "cover.painter")
    assert shown["cover"]["painter"] == author("author_7")


def test_a_path_goes_on_in_what_was_loaded(expanded: Any) -> None:
    shown = expanded(book("book_1", "author_1"), "test.book", "author.favourite.author")
    assert shown["author"]["favourite"]["author"] == author("author_3")


def test_a_path_and_its_beginning_are_one_load(expanded: Any) -> None:
    expanded(book("book_1", "author_1"), "test.book", "author", "author.favourite", "author")
    assert LOADED == [("author", ["author_1"]), ("book", ["book_9"])]


def test_a_deleted_object_has_nothing_to_expand(expanded: Any) -> None:
    stub = {"id": "book_1", "object": "test.book", "deleted": True}
    assert expanded(dict(stub), "test.book", "author", "pages") == stub


def test_a_level_is_one_load_for_a_whole_list(expanded: Any) -> None:
    shelves = page(
        shelf(book("book_1", "author_2"), book("book_2", "author_1")),
        shelf(book("book_3", "author_2"), book("book_4", None)),
        shelf(),
    )
    expanded(
        shelves,
        "test.shelf",
        "data.books.data.author.favourite",
        "data.books.data.pages",
        many=True,
    )
    assert LOADED == [
        ("author", ["author_1", "author_2"]),
        ("book", ["book_9"]),
        ("pages", ["book_1", "book_2", "book_3", "book_4"]),
    ]
    authors = [b["author"] for s in shelves["data"] for b in s["books"]["data"]]
    assert [a and a["favourite"]["id"] for a in authors] == ["book_9", "book_9", "book_9", None]


def test_an_empty_list_takes_no_load(expanded: Any) -> None:
    expanded(page(), "test.book", "data.author", "data.pages", many=True)
    assert LOADED == []


NOWHERE = [
    ("test.book", False, "title"),
    ("test.book", False, "made"),
    ("test.book", False, "made.by"),
    ("test.book", False, "author.name"),
    ("test.book", False, "author."),
    ("test.book", False, ".author"),
    ("test.book", False, "data.author"),
    ("test.book", False, ""),
    ("test.book", True, "author"),
    ("test.book", True, "data"),
    ("test.shelf", False, "books.author"),
    ("test.shelf", False, "books.data"),
    ("test.shelf", False, "books.data.title"),
    ("test.unheard", False, "author"),
]


@pytest.mark.parametrize(("kind", "many", "path"), NOWHERE)
def test_a_path_that_leads_nowhere_is_refused(kind: str, many: bool, path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        plan(kind, [path], many=many)
    assert refused.value.message == f"This property cannot be expanded ({path})."
    assert refused.value.param == ("expand", 0)


def test_four_levels_are_the_most() -> None:
    four = "author.favourite.author.favourite"
    plan("test.book", [four])
    plan("test.book", [f"data.{four}"], many=True)
    with pytest.raises(InvalidRequest, match="more than 4 levels"):
        plan("test.book", [f"{four}.author"])


# ─── Through the server ──────────────────────────────────────────────────────────────────────

OWNER = {"id": "owner_1", "object": "test.owner", "name": "The owner_1"}


def test_what_is_created_is_expanded_and_so_is_its_replay(gadget_http: httpx.Client) -> None:
    form = {"name": "x", "expand[0]": "owner", "expand[1]": "history"}
    for _ in range(2):
        headers = {"Idempotency-Key": "again"}
        shown = gadget_http.post("/v1/gadgets", data=form, headers=headers).json()
        assert shown["owner"] == OWNER
        assert shown["history"] == ["made", "sold"]


def test_what_is_read_is_expanded(gadget_http: httpx.Client) -> None:
    gadget = gadget_http.post("/v1/gadgets", data={"name": "x"}).json()
    assert gadget["owner"] == "owner_1"
    one = gadget_http.get(f"/v1/gadgets/{gadget['id']}?expand[]=owner").json()
    assert one["owner"] == OWNER
    [each] = gadget_http.get("/v1/gadgets?expand[]=data.owner").json()["data"]
    assert each["owner"] == OWNER


def test_what_two_steps_did_is_expanded(gadget_http: httpx.Client) -> None:
    gadget = gadget_http.post("/v1/gadgets", data={"name": "x"}).json()["id"]
    paid = gadget_http.post(f"/v1/gadgets/{gadget}/pay", data={"expand[]": "owner"}).json()
    assert (paid["paid"], paid["owner"]) == (True, OWNER)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("expand[]=nothing", "expand[0]"),
        ("expand[0]=data.owner&expand[4]=data.nothing", "expand[4]"),
        ("expand[]=", "expand[0]"),
        ("expand=data.owner", "expand"),
        ("expand[a]=data.owner", "expand"),
        ("expand[0][a]=data.owner", "expand[0]"),
        ("&".join(["expand[]=data.owner"] * 21), "expand"),
    ],
)
def test_a_wrong_expansion_is_refused_by_name(
    gadget_http: httpx.Client, query: str, param: str
) -> None:
    answer = gadget_http.get(f"/v1/gadgets?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_wrong_expansion_does_nothing(gadget_http: httpx.Client) -> None:
    form = {"name": "x", "expand[]": "nothing"}
    assert gadget_http.post("/v1/gadgets", data=form).status_code == 400
    assert gadget_http.get("/v1/gadgets").json()["data"] == []
