"""What each type of parameter takes, and what it says to the rest."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from annotated_types import MaxLen
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from postpaid.api.complaints import invalid_request, spell
from postpaid.api.forms import parse_form
from postpaid.api.params import (
    Amount,
    Boolean,
    Currency,
    Dec,
    Id,
    Instant,
    Integer,
    ListOf,
    Metadata,
    Params,
    Text,
    TextMap,
    TimeRange,
    Timestamp,
    Unsettable,
    merge_metadata,
)
from postpaid.api.stripe.lists import ListParams
from postpaid.core.errors import InvalidRequest
from postpaid.storage.paging import Page


class Inner(Params):
    price: Id
    quantity: Annotated[int, Integer(0, 9)] = 1


class Everything(Params):
    amount: Amount | None = None
    boolean: Boolean | None = None
    currency: Currency | None = None
    decimal: Dec | None = None
    enum: Literal["day", "week", "month"] | None = None
    id: Id | None = None
    inner: Inner | None = None
    inners: ListOf[Inner] | None = None
    instant: Instant | None = None
    integer: Annotated[int, Integer(1, 100)] | None = None
    map: Annotated[dict[str, str], TextMap(2, 5, 5)] | None = None
    metadata: Metadata = None
    names: Annotated[list[Annotated[str, Text(5)]], MaxLen(2)] | None = None
    one: Literal["only"] | None = None
    text: Annotated[str, Text(5)] | None = None
    timestamp: Timestamp | None = None
    two: Literal["this", "that"] | None = None
    unsettable: Unsettable[Annotated[str, Text(5)]] = None
    unsettable_inner: Unsettable[Inner] = None
    unsettable_names: Unsettable[ListOf[Id]] = None
    up_to: Annotated[int, Integer(1, 100)] | Literal["inf"] | None = None


def parsed(form: str) -> Everything:
    return Everything.model_validate(parse_form(form.encode()))


def refusal(raw: dict[str, Any], model: type[Params] = Everything) -> tuple[str, str, str | None]:
    """The message, param and code for what is refused."""
    with pytest.raises(ValidationError) as found:
        model.model_validate(raw)
    error = invalid_request(found.value, raw)
    return error.message, spell(error.param, raw), error.code


TAKEN: list[tuple[str, Any]] = [
    ("amount=-100", -100),
    ("amount=999999999999", 999_999_999_999),
    ("boolean=true", True),
    ("boolean=false", False),
    ("currency=USD", "usd"),
    ("decimal=0.1", Decimal("0.1")),
    ("decimal=1E%2B3", Decimal(1000)),
    ("decimal=1e-05", Decimal("0.00001")),
    ("decimal=-.5", Decimal("-0.5")),
    ("decimal=5.", Decimal(5)),
    ("decimal=0e999", Decimal(0)),
    ("decimal=1000000000000000", Decimal(10) ** 15),
    ("decimal=1.000000000000000", Decimal(1)),
    ("enum=week", "week"),
    ("id=cus_1", "cus_1"),
    ("inner[price]=p", Inner(price="p")),
    (
        "inners[0][price]=p&inners[1][price]=q&inners[1][quantity]=2",
        [Inner(price="p"), Inner(price="q", quantity=2)],
    ),
    ("instant=2026-01-01T00:00:00.000Z", datetime(2026, 1, 1, tzinfo=UTC)),
    ("instant=2026-01-01T02:00:00.5%2B02:00", datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC)),
    ("integer=1", 1),
    ("integer=100", 100),
    ("map[a]=b&map[c]=", {"a": "b", "c": ""}),
    ("map[0]=b", {"0": "b"}),
    ("metadata[1]=a&metadata[0]=b", {"0": "b", "1": "a"}),
    ("metadata=", None),
    ("names[]=a&names[]=b", ["a", "b"]),
    ("text=%E2%82%AC%E2%82%AC%E2%82%AC%E2%82%AC%E2%82%AC", "€€€€€"),
    ("timestamp=0", datetime(1970, 1, 1, tzinfo=UTC)),
    ("timestamp=1893456000", datetime(2030, 1, 1, tzinfo=UTC)),
    ("unsettable=x", "x"),
    ("unsettable=", None),
    ("unsettable_inner[price]=p", Inner(price="p")),
    ("unsettable_inner=", None),
    ("unsettable_names=", None),
    ("up_to=5", 5),
    ("up_to=inf", "inf"),
]


@pytest.mark.parametrize(("form", "value"), TAKEN)
def test_is_taken(form: str, value: Any) -> None:
    [[_, taken]] = parsed(form).given().items()
    assert taken == value


EMPTY = (
    "You passed an empty string for '{0}'. We assume empty values are an attempt to unset a "
    "parameter; however '{0}' cannot be unset. You should remove '{0}' from your request or "
    "supply a non-empty value."
)
BIG = "9" * 30

REFUSED: list[tuple[str, str, str, str | None]] = [
    # form, message, param, code
    ("foo=1", "Received unknown parameter: foo", "foo", "parameter_unknown"),
    ("foo=1&bar=2", "Received unknown parameters: foo, bar", "foo", "parameter_unknown"),
    ("foo=1&integer=x", "Received unknown parameter: foo", "foo", "parameter_unknown"),
    (
        "inners[0][price]=p&inners[0][foo]=1",
        "Received unknown parameter: inners[0][foo]",
        "inners[0][foo]",
        "parameter_unknown",
    ),
    (
        "inners[3][price]=p&inners[7][foo]=1&inners[7][price]=p",
        "Received unknown parameter: inners[7][foo]",
        "inners[7][foo]",
        "parameter_unknown",
    ),
    (
        "inner[quantity]=1",
        "Missing required param: inner[price].",
        "inner[price]",
        "parameter_missing",
    ),
    ("integer=abc", "Invalid integer: abc", "integer", "parameter_invalid_integer"),
    ("integer=1.0", "Invalid integer: 1.0", "integer", "parameter_invalid_integer"),
    ("integer=1_0", "Invalid integer: 1_0", "integer", "parameter_invalid_integer"),
    ("integer=+1", "Invalid integer:  1", "integer", "parameter_invalid_integer"),
    ("integer=%D9%A1", "Invalid integer: ١", "integer", "parameter_invalid_integer"),
    ("integer[a]=1", "Invalid integer: {'a': '1'}", "integer", "parameter_invalid_integer"),
    ("integer=" + BIG, f"Invalid integer: {BIG}", "integer", "parameter_invalid_integer"),
    (
        "integer=0",
        "This value must be greater than or equal to 1.",
        "integer",
        "parameter_invalid_integer",
    ),
    (
        "integer=101",
        "This value must be less than or equal to 100.",
        "integer",
        "parameter_invalid_integer",
    ),
    (
        "amount=1000000000000",
        "This value must be less than or equal to 999999999999.",
        "amount",
        "parameter_invalid_integer",
    ),
    ("text=", EMPTY.format("text"), "text", "parameter_invalid_empty"),
    ("integer=", EMPTY.format("integer"), "integer", "parameter_invalid_empty"),
    ("enum=", EMPTY.format("enum"), "enum", "parameter_invalid_empty"),
    ("inner=", EMPTY.format("inner"), "inner", "parameter_invalid_empty"),
    ("inners=", EMPTY.format("inners"), "inners", "parameter_invalid_empty"),
    ("names[0]=", EMPTY.format("names[0]"), "names[0]", "parameter_invalid_empty"),
    ("inner[price]=", EMPTY.format("inner[price]"), "inner[price]", "parameter_invalid_empty"),
    ("enum=year", "Invalid enum: must be one of day, week, or month", "enum", None),
    ("two=x", "Invalid two: must be one of this or that", "two", None),
    ("one=x", "Invalid one: must be one of only", "one", None),
    ("enum[a]=day", "Invalid enum: must be one of day, week, or month", "enum", None),
    ("up_to=x", "Invalid integer: x", "up_to", "parameter_invalid_integer"),
    ("boolean=yes", "Invalid boolean: yes", "boolean", None),
    ("boolean=True", "Invalid boolean: True", "boolean", None),
    ("decimal=abc", "Invalid decimal: abc", "decimal", None),
    ("decimal=NaN", "Invalid decimal: NaN", "decimal", None),
    ("decimal=-Infinity", "Invalid decimal: -Infinity", "decimal", None),
    ("decimal=1_0", "Invalid decimal: 1_0", "decimal", None),
    ("decimal=1e9999", "Invalid decimal: 1e9999", "decimal", None),
    ("decimal=1e999", "Invalid decimal: 1e999; must be within ±1000000000000000", "decimal", None),
    (
        "decimal=0.0000000000001",
        "Invalid decimal: 0.0000000000001; must have at most 12 decimal places",
        "decimal",
        None,
    ),
    ("text=abcdef", "Invalid string: abcdef; must be at most 5 characters", "text", None),
    ("text[a]=b", "Invalid string", "text", None),
    ("text[]=b", "Invalid string", "text", None),
    (
        "text=" + "x" * 50,
        f"Invalid string: {'x' * 40}…; must be at most 5 characters",
        "text",
        None,
    ),
    ("inner=x", "Invalid object", "inner", None),
    ("inner[0]=x", "Invalid object", "inner", None),
    ("inners[0]=x", "Invalid object", "inners[0]", None),
    ("metadata=x", "Invalid object", "metadata", None),
    ("metadata[]=x", "Invalid object", "metadata", None),
    ("names=x", "Invalid array", "names", None),
    ("names[a]=x", "Invalid array", "names", None),
    (
        "names[]=1&names[]=2&names[]=3",
        "Invalid array: at most 2 elements are allowed",
        "names",
        None,
    ),
    ("map[a][b]=c", "Invalid value for key a: must be a string", "map", None),
    ("map[a]=1&map[b]=2&map[c]=3", "Invalid object: at most 2 keys are allowed", "map", None),
    ("map[abcdef]=1", "Invalid key: abcdef; must be 1 to 5 characters", "map", None),
    ("map[a]=abcdef", "Invalid value for key a: must be at most 5 characters", "map", None),
    ("timestamp=soon", "Invalid integer: soon", "timestamp", "parameter_invalid_integer"),
    (
        "timestamp=-1",
        "Invalid timestamp: -1; must be between 0 and 7258118400",
        "timestamp",
        None,
    ),
    (
        "instant=2026-01-01T00:00:00",
        "Invalid timestamp: 2026-01-01T00:00:00; must be like 2026-01-01T00:00:00.000Z",
        "instant",
        None,
    ),
    (
        "instant=1",
        "Invalid timestamp: 1; must be like 2026-01-01T00:00:00.000Z",
        "instant",
        None,
    ),
]


@pytest.mark.parametrize(("form", "message", "param", "code"), REFUSED)
def test_is_refused(form: str, message: str, param: str, code: str | None) -> None:
    assert refusal(parse_form(form.encode())) == (message, param, code)


def test_an_unknown_currency_is_refused_with_the_known_ones() -> None:
    message, param, _ = refusal({"currency": "xyz"})
    assert message.startswith("Invalid currency: xyz. These currencies are supported: aed, afn")
    assert param == "currency"


def test_json_numbers_are_taken_unless_they_are_floats() -> None:
    assert Everything.model_validate({"decimal": 5, "amount": 5, "boolean": True}).given() == {
        "amount": 5,
        "boolean": True,
        "decimal": Decimal(5),
    }
    assert refusal({"decimal": 0.1})[0] == "Invalid decimal: 0.1"
    assert refusal({"amount": 5.0})[0] == "Invalid integer: 5.0"
    assert refusal({"amount": True})[0] == "Invalid integer: True"
    assert refusal({"decimal": True})[0] == "Invalid decimal: True"
    assert refusal({"map": {"a": 1}})[0] == "Invalid value for key a: must be a string"
    assert refusal({"text": 1})[0] == "Invalid string"


def test_given_tells_unset_from_not_sent() -> None:
    assert parsed("unsettable=&text=x").given() == {"text": "x", "unsettable": None}
    assert parsed("").given() == {}


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_exact_or_refused(value: Decimal) -> None:
    try:
        taken = Everything.model_validate({"decimal": str(value)}).decimal
    except ValidationError:
        return
    assert taken == value


@pytest.mark.parametrize(
    "kind",
    [
        int,
        str | None,
        list[Id],
        Unsettable[str],
        ListOf[str],
        Annotated[list[int], MaxLen(3)],
        dict[str, str],
        Decimal,
        Any,
    ],
)
def test_a_type_without_bounds_is_no_parameter(kind: Any) -> None:
    with pytest.raises(TypeError, match="needs its bounds"):
        type("Careless", (Params,), {"__annotations__": {"field": kind}})


# ─── Metadata ────────────────────────────────────────────────────────────────────────────────

OLD = {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("change", "merged"),
    [
        ({}, OLD),
        ({"c": "3"}, {"a": "1", "b": "2", "c": "3"}),
        ({"a": "9"}, {"a": "9", "b": "2"}),
        ({"a": ""}, {"b": "2"}),
        ({"x": ""}, OLD),
        (None, {}),
    ],
)
def test_metadata_merges(change: dict[str, str] | None, merged: dict[str, str]) -> None:
    assert merge_metadata(OLD, change) == merged


def test_merged_metadata_has_at_most_fifty_keys() -> None:
    fifty = {str(n): "x" for n in range(50)}
    assert len(merge_metadata(fifty, {"0": "y"})) == 50
    assert len(merge_metadata(fifty, {"0": "", "50": "x"})) == 50
    with pytest.raises(InvalidRequest):
        merge_metadata(fifty, {"50": "x"})


# ─── Lists ───────────────────────────────────────────────────────────────────────────────────


class ThingList(ListParams):
    created: TimeRange | None = None


@pytest.mark.parametrize(
    ("form", "page"),
    [
        ("", Page(limit=10)),
        ("limit=1", Page(limit=1)),
        ("limit=100&starting_after=x", Page(limit=100, after="x")),
        ("ending_before=x", Page(limit=10, before="x")),
    ],
)
def test_a_page_is(form: str, page: Page) -> None:
    assert ThingList.model_validate(parse_form(form.encode())).page == page


@pytest.mark.parametrize("limit", ["0", "101", "-1", "ten"])
def test_a_limit_is_refused(limit: str) -> None:
    assert refusal({"limit": limit}, ThingList)[1:] == ("limit", "parameter_invalid_integer")


def test_two_cursors_are_refused() -> None:
    assert refusal({"starting_after": "a", "ending_before": "b"}, ThingList) == (
        "You may only specify one of these parameters: starting_after, ending_before.",
        "",
        "parameters_exclusive",
    )


@pytest.mark.parametrize(
    ("form", "at_least", "before"),
    [
        ("created=5", 5, 6),
        ("created[gt]=5", 6, None),
        ("created[gte]=5", 5, None),
        ("created[lt]=5", None, 5),
        ("created[lte]=5", None, 6),
        ("created[gte]=5&created[lt]=9", 5, 9),
        ("created[gt]=5&created[gte]=3&created[lte]=7&created[lt]=9", 6, 8),
        ("created[gte]=0", 0, None),
    ],
)
def test_a_range_is_half_open(form: str, at_least: int | None, before: int | None) -> None:
    created = ThingList.model_validate(parse_form(form.encode())).created
    assert created is not None
    assert [t and t.timestamp() for t in created.bounds] == [at_least, before]


@pytest.mark.parametrize(
    ("raw", "param"),
    [({"created": "x"}, "created"), ({"created": {"gte": "x"}}, "created[gte]")],
)
def test_a_wrong_range_is_refused_by_name(raw: dict[str, Any], param: str) -> None:
    message, named, code = refusal(raw, ThingList)
    assert (message, named, code) == ("Invalid integer: x", param, "parameter_invalid_integer")
