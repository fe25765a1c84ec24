"""Billing meters, as Frame shows them: what is counted, and what one of it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import AfterValidator

from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import FrameParams, ListParams, Metadata, merge_metadata
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import currency as shown_currency
from postpaid.api.frame.shapes import decimal_string
from postpaid.api.instants import seconds
from postpaid.api.params import Boolean, Currency, Dec, Id, Integer, Text, Unsettable, refuse
from postpaid.billing import manage_meters
from postpaid.billing.perform import Act
from postpaid.billing.price_meters import (
    AskedPrice,
    create_priced_meter,
    rename_product,
    set_price,
)
from postpaid.core.catalog import Price
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.metering import Aggregation
from postpaid.core.money import plain
from postpaid.core.pricing import MAX_QUANTITY, Model, Tier, TiersMode
from postpaid.core.unit_values import to_major, to_minor
from postpaid.core.values import replace
from postpaid.storage import catalog, meters
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter, MeterStatus
from postpaid.storage.paging import Rows

routes = Routes("Billing meters")

URL = "/v1/billing/metering"

MARKUP = "markup_percentage"  # a sum to Frame too, of which a percentage is charged
AGGREGATIONS: Mapping[str, Aggregation] = {
    "sum": Aggregation.SUM,
    "count": Aggregation.COUNT,
    "count_unique": Aggregation.UNIQUE,
    "average": Aggregation.AVERAGE,
    "time_duration": Aggregation.DURATION,
    MARKUP: Aggregation.SUM,
}
SHOWN = {inside: said for said, inside in AGGREGATIONS.items() if said != MARKUP}


def _not_negative(number: Decimal) -> Decimal:
    if number < 0:
        raise refuse(f"Invalid decimal: {plain(number)}; must not be negative")
    return number


Value = Annotated[Dec, AfterValidator(_not_negative)]  # major units


class TierParams(FrameParams):
    """What each unit up to ``up_to`` costs, and the tier as a whole."""

    up_to: Annotated[int, Integer(1, int(MAX_QUANTITY))] | None = None
    value: Value | None = None
    flat_value: Value | None = None


class MeterUpdate(FrameParams):
    active: Boolean | None = None
    currency: Currency | None = None
    description: Unsettable[Annotated[str, Text(255)]] = None
    display_name: Annotated[str, Text(255)] | None = None
    markup_percentage: Value | None = None
    metadata: Metadata = None
    tiers: Annotated[list[TierParams], Len(1, 100)] | None = None
    tiers_mode: TiersMode | None = None
    value: Value | None = None


class MeterCreate(MeterUpdate):
    aggregation: Literal[
        "sum", "count", "count_unique", "average", "time_duration", "markup_percentage"
    ]
    event_name: Annotated[str, Text(255)]
    product: Id | None = None


class MeterList(ListParams):
    customer: Id | None = None
    status: Literal["active", "inactive", "pending"] | None = None


@routes.post(URL, status=201)
def create(call: Call, params: MeterCreate) -> dict[str, Any]:
    """Create a meter, with what one unit of it costs.

    Ours are ``tiers`` with ``tiers_mode``, ``currency`` (usd), and ``product``, whose price the
    meter's then is.
    """
    aggregation = params.aggregation
    asked = _asked_price(params, None, None, marked_up=aggregation == MARKUP)
    if asked is None and aggregation == MARKUP:
        raise InvalidRequest(
            "The aggregation markup_percentage needs a value, a markup_percentage or both.",
            param="markup_percentage",
        )
    if asked is None and params.product is not None:
        raise InvalidRequest("A product needs a value or tiers to be its price.", param="product")
    fields = {
        "display_name": params.display_name or params.event_name,
        "event_name": params.event_name,
        "aggregation": AGGREGATIONS[aggregation],
        "customer_key": "customer",
        "value_key": "value",
    }

    def write(conn: Connection) -> dict[str, Any]:
        made = create_priced_meter(
            conn,
            call.act,
            fields,
            asked and replace(asked, product_id=params.product),
            active=params.active is not False,
            description=params.description,
            metadata=merge_metadata({}, params.metadata or {}),
        )
        return render_many(conn, call.act, [made])[0]

    return call.write(write)


@routes.get(URL + "/{meter}")
def retrieve(call: Call, meter: str) -> dict[str, Any]:
    """Retrieve a meter."""

    def read(conn: Connection) -> dict[str, Any]:
        found = meters.find(conn, call.act.account_id, meter)
        if found is None:
            raise NotFound.of("meter", meter)
        return render_many(conn, call.act, [found])[0]

    return call.read(read)


@routes.patch(URL + "/{meter}")
def update(call: Call, params: MeterUpdate, meter: str) -> dict[str, Any]:
    """Update a meter; what it costs from now on is for all usage that is not billed yet."""
    act = call.act

    def write(conn: Connection) -> dict[str, Any]:
        def change(before: Meter) -> Meter:
            after = replace(before, **_told(params, before))
            rename_product(conn, act, before, after)
            price = before.price_id and catalog.find_price(conn, act.account_id, before.price_id)
            asked = _asked_price(
                params, before, price or None, marked_up=before.markup_percentage is not None
            )
            return after if asked is None else set_price(conn, act, after, asked)

        after = manage_meters.update_meter(conn, act, meter, change)
        if params.active is False and after.status == MeterStatus.ACTIVE:
            after = manage_meters.deactivate_meter(conn, act, meter)
        elif params.active and after.status == MeterStatus.INACTIVE:
            after = manage_meters.reactivate_meter(conn, act, meter)
        return render_many(conn, act, [after])[0]

    return call.write(write)


@routes.delete(URL + "/{meter}")
def delete(call: Call, meter: str) -> dict[str, Any]:
    """Take no more events: what was counted can still be billed, and its event name stays taken."""

    def write(conn: Connection) -> dict[str, Any]:
        found = meters.lock(conn, call.act.account_id, meter)
        if found is None or found.status == MeterStatus.ACTIVE:
            manage_meters.deactivate_meter(conn, call.act, meter)
        return {"id": meter, "object": "billing_meter", "deleted": True}

    return call.write(write)


@routes.get(URL)
def list_(call: Call, params: MeterList) -> dict[str, Any]:
    """List meters, newest first; of a customer those that it has used."""

    def read(conn: Connection) -> dict[str, Any]:
        rows: Rows[Meter] = Rows([], has_more=False)
        if params.status != "pending":  # none of ours ever waits for its activation
            rows = meters.list_page(
                conn,
                call.act.account_id,
                params.rows,
                status=params.status and MeterStatus(params.status),
                customer_id=params.customer,
            )
        return listing(
            URL, params, rows, lambda page: render_many(conn, call.act, page), named="meters"
        )

    return call.read(read)


# ─── In ──────────────────────────────────────────────────────────────────────────────────────


def _told(params: MeterUpdate, before: Meter) -> dict[str, Any]:
    """The given fields that are no price's, by a ``Meter``'s names."""
    given = params.given()
    told = {name: given[name] for name in ("description",) if name in given}
    if params.display_name is not None:
        told["display_name"] = params.display_name
    if "metadata" in given:
        told["metadata"] = merge_metadata(before.metadata, params.metadata)
    return told


def _asked_price(
    params: MeterUpdate, meter: Meter | None, price: Price | None, *, marked_up: bool
) -> AskedPrice | None:
    """What the meter shall cost, where ``price`` is what it does; None if nothing is said of it."""
    if params.tiers is not None and params.value is not None:
        raise InvalidRequest("Only one of value and tiers may be given.", param="tiers")
    if params.markup_percentage is not None and not marked_up:
        raise InvalidRequest(
            "Only a meter with the aggregation markup_percentage has a markup_percentage.",
            param="markup_percentage",
        )
    currency = params.currency or (price.currency if price else "usd")
    if params.tiers is not None:
        if marked_up:
            raise InvalidRequest(
                "A meter with the aggregation markup_percentage has no tiers.", param="tiers"
            )
        return AskedPrice(currency, _tiered(params.tiers, params.tiers_mode, currency))
    if params.tiers_mode is not None:
        raise InvalidRequest("tiers_mode needs tiers.", param="tiers_mode")
    if params.value is None and params.markup_percentage is None:
        if price is not None and params.currency not in (None, price.currency):
            raise InvalidRequest("A currency needs a value or tiers in it.", param="currency")
        return None
    value, markup = params.value, params.markup_percentage
    if marked_up and markup is None:
        markup = (meter and meter.markup_percentage) or Decimal(0)
    if value is None:
        value = Decimal(0) if meter is None or price is None else _value(meter, price)
    amount = to_minor(value or Decimal(0), currency, markup_percentage=markup)
    try:
        return AskedPrice(currency, Model(unit_amount=amount), markup)
    except ValueError:
        raise InvalidRequest(
            f"Invalid value: {plain(value or Decimal(0))}; it is too great, or has too many "
            "decimal places.",
            param="value" if params.value is not None else "markup_percentage",
        ) from None


def _tiered(asked: Sequence[TierParams], mode: TiersMode | None, currency: str) -> Model:
    def minor(value: Decimal | None) -> Decimal | None:
        return None if value is None else to_minor(value, currency)

    tiers = tuple(
        Tier(
            None if each.up_to is None else Decimal(each.up_to),
            minor(each.value),
            minor(each.flat_value),
        )
        for each in asked
    )
    try:
        return Model(tiers=tiers, tiers_mode=mode or TiersMode.GRADUATED)
    except ValueError as error:
        words = str(error).replace("unit_amount", "value").replace("flat_amount", "flat_value")
        raise InvalidRequest(words, param="tiers") from None


# ─── Out ─────────────────────────────────────────────────────────────────────────────────────


def render_many(conn: Connection, act: Act, shown: Sequence[Meter]) -> list[dict[str, Any]]:
    price_ids = {each.price_id for each in shown if each.price_id is not None}
    prices = catalog.load_prices(conn, act.account_id, price_ids) if price_ids else {}
    return [
        to_frame(each, prices.get(each.price_id or ""), livemode=act.livemode) for each in shown
    ]


def to_frame(meter: Meter, price: Price | None, *, livemode: bool) -> dict[str, Any]:
    """A meter; ours are ``currency``, ``price``, ``product`` and the tiers."""
    value = None if price is None else _value(meter, price)
    markup = meter.markup_percentage
    return {
        "id": meter.id,
        "object": "billing_meter",
        "status": meter.status,
        "active": meter.status == MeterStatus.ACTIVE,
        "aggregation": shown_aggregation(meter),
        "event_name": meter.event_name,
        "display_name": meter.display_name,
        "description": meter.description,
        "value": None if value is None else decimal_string(value),
        "markup_percentage": None if markup is None else decimal_string(markup),
        "currency": shown_currency(price.currency if price else None),
        "tiers": _tiers_to_frame(price),
        "tiers_mode": price and price.model.tiers_mode,
        "price": meter.price_id,
        "product": price and price.product_id,
        "metadata": meter.metadata,
        "livemode": livemode,
        "created": seconds(meter.created_at),
        "updated": seconds(meter.updated_at),
    }


def shown_aggregation(meter: Meter) -> str:
    """Frame's name of how the meter adds up, ours where Frame has none."""
    if meter.markup_percentage is not None:
        return MARKUP
    return SHOWN.get(meter.aggregation, meter.aggregation.value)


def _value(meter: Meter, price: Price) -> Decimal | None:
    """What a unit costs in major units, without the markup; None of tiers."""
    amount = price.model.unit_amount
    if amount is None:
        return None
    return to_major(amount, price.currency, markup_percentage=meter.markup_percentage)


def _tiers_to_frame(price: Price | None) -> list[dict[str, Any]] | None:
    if price is None or not price.model.tiers:
        return None

    def major(amount: Decimal | None) -> str | None:
        return None if amount is None else decimal_string(to_major(amount, price.currency))

    return [
        {
            "up_to": None if each.up_to is None else decimal_string(each.up_to),
            "value": major(each.unit_amount),
            "flat_value": major(each.flat_amount),
        }
        for each in price.model.tiers
    ]
