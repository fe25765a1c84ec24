"""Phases of products and subscriptions, as Frame shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from annotated_types import Len
from pydantic import AfterValidator

from postpaid.api.frame.pages import listing, page_of
from postpaid.api.frame.params import FrameParams, ListParams
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import currency
from postpaid.api.instants import seconds
from postpaid.api.params import AMOUNT_MAX, Currency, Dec, Id, Integer, Text, Unsettable, refuse
from postpaid.billing import manage_phases
from postpaid.billing.perform import Act
from postpaid.core.catalog import Price
from postpaid.core.errors import InvalidRequest, NotFound, Path
from postpaid.core.money import plain
from postpaid.core.periods import Interval
from postpaid.core.price_phases import PRICE_PHASES_MAX, Edit, PricePhase, PricingType
from postpaid.storage import catalog, price_phases, subscriptions
from postpaid.storage.database import Connection

routes = Routes("Phases")


class DurationType(StrEnum):
    """Whether a phase ends."""

    FINITE = "finite"
    INFINITE = "infinite"


def _percentage(number: Decimal) -> Decimal:
    if not 0 <= number <= 100:
        raise refuse(f"Invalid percentage: {plain(number)}; must be between 0 and 100")
    return number


class PhaseFields(FrameParams):
    name: Unsettable[Annotated[str, Text(250)]] = None
    duration_type: DurationType | None = None
    amount_cents: Annotated[int, Integer(0, AMOUNT_MAX)] | None = None
    discount_percentage: Annotated[Dec, AfterValidator(_percentage)] | None = None
    period_count: Unsettable[Annotated[int, Integer(1, 1000)]] = None
    interval: Interval | None = None
    interval_count: Annotated[int, Integer(1, 10_000)] | None = None
    currency: Currency | None = None


Ordinal = Annotated[int, Integer(0, 1_000_000)]


class PhaseCreate(PhaseFields):
    ordinal: Ordinal
    pricing_type: PricingType


class PhaseUpdate(PhaseFields):
    ordinal: Ordinal | None = None
    pricing_type: PricingType | None = None


class NamedPhaseUpdate(PhaseUpdate):
    id: Id


class BulkUpdate(FrameParams):
    phases: Annotated[list[NamedPhaseUpdate], Len(1, PRICE_PHASES_MAX)]


# ─── Products ────────────────────────────────────────────────────────────────────────────────


@routes.get("/v1/products/{product}/phases")
def list_of_product(call: Call, params: ListParams, product: str) -> dict[str, Any]:
    """List a product's phases, in the order in which they come."""

    def read(conn: Connection) -> dict[str, Any]:
        found = _of_product(conn, call.act, product)
        return _listing(conn, call.act, f"/v1/products/{product}/phases", found, params, product)

    return call.read(read)


@routes.post("/v1/products/{product}/phases", status=201)
def create_of_product(call: Call, params: PhaseCreate, product: str) -> dict[str, Any]:
    """Add a phase to a product, for those who subscribe to it from then on."""

    def write(conn: Connection) -> dict[str, Any]:
        _check_terms(params, _price_of_product(conn, call.act, product))
        edit = Edit(added=[_from_frame(params)])
        after = manage_phases.edit_product_phases(conn, call.act, product, edit)
        return _added(conn, call.act, after, params.ordinal)

    return call.write(write)


@routes.get("/v1/products/{product}/phases/{phase}")
def retrieve_of_product(call: Call, product: str, phase: str) -> dict[str, Any]:
    """Retrieve a product's phase."""
    return call.read(
        lambda conn: _named(conn, call.act, _of_product(conn, call.act, product), phase)
    )


@routes.patch("/v1/products/{product}/phases/{phase}")
def update_of_product(call: Call, params: PhaseUpdate, product: str, phase: str) -> dict[str, Any]:
    """Update a product's phase; running subscriptions keep theirs."""

    def write(conn: Connection) -> dict[str, Any]:
        _check_terms(params, _price_of_product(conn, call.act, product))
        edit = Edit(changed={phase: _from_frame(params)})
        after = manage_phases.edit_product_phases(conn, call.act, product, edit)
        return _named(conn, call.act, after, phase)

    return call.write(write)


@routes.delete("/v1/products/{product}/phases/{phase}")
def delete_of_product(call: Call, product: str, phase: str) -> dict[str, Any]:
    """Remove a product's phase; running subscriptions keep theirs."""

    def write(conn: Connection) -> dict[str, Any]:
        manage_phases.edit_product_phases(conn, call.act, product, Edit(removed=[phase]))
        return _deleted(phase)

    return call.write(write)


@routes.patch("/v1/products/{product}/phases/bulk_update")
def update_all_of_product(call: Call, params: BulkUpdate, product: str) -> dict[str, Any]:
    """Update several of a product's phases, all or none of them."""

    def write(conn: Connection) -> dict[str, Any]:
        edit = _edit_of_all(params, _price_of_product(conn, call.act, product))
        after = manage_phases.edit_product_phases(conn, call.act, product, edit)
        url = f"/v1/products/{product}/phases"
        return _listing(conn, call.act, url, after, ListParams(per_page=100), product)

    return call.write(write)


# ─── Subscriptions ───────────────────────────────────────────────────────────────────────────


@routes.get("/v1/subscriptions/{subscription}/phases")
def list_of_subscription(call: Call, params: ListParams, subscription: str) -> dict[str, Any]:
    """List a subscription's phases: those that ended, the one that runs, and those to come."""

    def read(conn: Connection) -> dict[str, Any]:
        found = _of_subscription(conn, call.act, subscription)
        url = f"/v1/subscriptions/{subscription}/phases"
        return _listing(conn, call.act, url, found, params, subscription)

    return call.read(read)


@routes.post("/v1/subscriptions/{subscription}/phases", status=201)
def create_of_subscription(call: Call, params: PhaseCreate, subscription: str) -> dict[str, Any]:
    """Add a phase that is to come."""

    def write(conn: Connection) -> dict[str, Any]:
        _check_terms(params, _price_of_subscription(conn, call.act, subscription))
        edit = Edit(added=[_from_frame(params)])
        after = manage_phases.edit_subscription_phases(conn, call.act, subscription, edit)
        return _added(conn, call.act, after, params.ordinal)

    return call.write(write)


@routes.get("/v1/subscriptions/{subscription}/phases/{phase}")
def retrieve_of_subscription(call: Call, subscription: str, phase: str) -> dict[str, Any]:
    """Retrieve a subscription's phase."""
    return call.read(
        lambda conn: _named(conn, call.act, _of_subscription(conn, call.act, subscription), phase)
    )


@routes.patch("/v1/subscriptions/{subscription}/phases/{phase}")
def update_of_subscription(
    call: Call, params: PhaseUpdate, subscription: str, phase: str
) -> dict[str, Any]:
    """Update a phase that is to come."""

    def write(conn: Connection) -> dict[str, Any]:
        _check_terms(params, _price_of_subscription(conn, call.act, subscription))
        edit = Edit(changed={phase: _from_frame(params)})
        after = manage_phases.edit_subscription_phases(conn, call.act, subscription, edit)
        return _named(conn, call.act, after, phase)

    return call.write(write)


@routes.delete("/v1/subscriptions/{subscription}/phases/{phase}")
def delete_of_subscription(call: Call, subscription: str, phase: str) -> dict[str, Any]:
    """Remove a phase that is to come."""

    def write(conn: Connection) -> dict[str, Any]:
        edit = Edit(removed=[phase])
        manage_phases.edit_subscription_phases(conn, call.act, subscription, edit)
        return _deleted(phase)

    return call.write(write)


@routes.patch("/v1/subscriptions/{subscription}/phases/bulk_update")
def update_all_of_subscription(call: Call, params: BulkUpdate, subscription: str) -> dict[str, Any]:
    """Update several of the phases that are to come, all or none of them."""

    def write(conn: Connection) -> dict[str, Any]:
        edit = _edit_of_all(params, _price_of_subscription(conn, call.act, subscription))
        after = manage_phases.edit_subscription_phases(conn, call.act, subscription, edit)
        url = f"/v1/subscriptions/{subscription}/phases"
        return _listing(conn, call.act, url, after, ListParams(per_page=100), subscription)

    return call.write(write)


# ─── Read ────────────────────────────────────────────────────────────────────────────────────


def _of_product(conn: Connection, act: Act, product_id: str) -> list[PricePhase]:
    if catalog.find_product(conn, act.account_id, product_id) is None:
        raise NotFound.of("product", product_id, param="product")
    return price_phases.of_products(conn, act.account_id, [product_id])[product_id]


def _of_subscription(conn: Connection, act: Act, subscription_id: str) -> list[PricePhase]:
    if not subscriptions.load(conn, act.account_id, [subscription_id]):
        raise NotFound.of("subscription", subscription_id, param="subscription")
    found = price_phases.of_subscriptions(conn, act.account_id, [subscription_id])
    return found[subscription_id]


def _price_of_product(conn: Connection, act: Act, product_id: str) -> Price | None:
    product = catalog.find_product(conn, act.account_id, product_id)
    return catalog.find_price(conn, act.account_id, (product and product.default_price_id) or "")


def _price_of_subscription(conn: Connection, act: Act, subscription_id: str) -> Price | None:
    found = subscriptions.load(conn, act.account_id, [subscription_id]).get(subscription_id)
    if found is None:
        return None
    licences = [each.price_id for each in found.items if each.quantity is not None]
    return catalog.find_price(conn, act.account_id, licences[0]) if licences else None


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _edit_of_all(params: BulkUpdate, price: Price | None) -> Edit:
    changed: dict[str, Mapping[str, Any]] = {}
    for i, each in enumerate(params.phases):
        at: Path = ("phases", i)
        if each.id in changed:
            raise InvalidRequest(f"The phase '{each.id}' is named twice.", param=(*at, "id"))
        _check_terms(each, price, at)
        changed[each.id] = _from_frame(each, at)
    places: dict[str | int, Path] = {each.id: ("phases", i) for i, each in enumerate(params.phases)}
    return Edit(changed=changed, places=places)


def _check_terms(params: PhaseFields, price: Price | None, at: Path = ()) -> None:
    """Raises ``InvalidRequest`` for a currency or an interval that is not the base price's.

    Frame's clients send them; here a phase has those of what it comes before.
    """
    if price is None or price.recurrence is None:
        return
    own = {
        "currency": price.currency,
        "interval": price.recurrence.interval,
        "interval_count": price.recurrence.count,
    }
    for name, value in own.items():
        said = getattr(params, name)
        if said is not None and said != value:
            raise InvalidRequest(
                f"A phase has the {name} of what it is a phase of, which is {value}.",
                param=(*at, name),
            )


def _from_frame(params: PhaseCreate | PhaseUpdate, at: Path = ()) -> dict[str, Any]:
    """The fields that are given, by a ``PricePhase``'s names. Raises ``InvalidRequest``."""
    given = params.given()
    fields = {
        name: given[name]
        for name in ("ordinal", "pricing_type", "discount_percentage")
        if given.get(name) is not None
    }
    if given.get("amount_cents") is not None:
        fields["amount"] = given["amount_cents"]
    fields |= {name: given[name] for name in ("name", "period_count") if name in given}
    if params.duration_type == DurationType.INFINITE:
        if params.period_count is not None:
            raise InvalidRequest(
                "period_count must not be given for an infinite phase.",
                param=(*at, "period_count"),
            )
        fields["period_count"] = None
    created = isinstance(params, PhaseCreate)
    said = created or "period_count" in given
    if params.duration_type == DurationType.FINITE and said and params.period_count is None:
        raise InvalidRequest(
            "Missing required param: period_count; a finite phase needs it.",
            param=(*at, "period_count"),
        )
    return fields


def of_subscriptions(
    conn: Connection, act: Act, ids: Iterable[str]
) -> dict[str, list[dict[str, Any]]]:
    """The subscriptions' phases as Frame shows them, by subscription; a constant number of
    statements. ``current_phase`` picks the one that runs."""
    found = price_phases.of_subscriptions(conn, act.account_id, ids)
    rows = [each for phases in found.values() for each in phases]
    shown = dict(zip((each.id for each in rows), render_many(conn, act, rows), strict=True))
    return {key: [shown[each.id] for each in phases] for key, phases in found.items()}


def current_phase(shown: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The phase that runs, of a subscription's as they are shown; None before and after them."""
    running = [each for each in shown if each["started_at"] and not each["ended_at"]]
    return running[-1] if running else None


def render_many(conn: Connection, act: Act, shown: Sequence[PricePhase]) -> list[dict[str, Any]]:
    """Many phases, with at most two statements for what they are phases of."""
    product_ids = {each.product_id for each in shown if each.product_id}
    products = catalog.load_products(conn, act.account_id, product_ids) if product_ids else {}
    price_ids = {each.default_price_id for each in products.values() if each.default_price_id}
    price_ids |= {each.base_price_id for each in shown if each.base_price_id}
    prices = catalog.load_prices(conn, act.account_id, price_ids) if price_ids else {}

    def base_of(phase: PricePhase) -> Price | None:
        if phase.product_id is None:
            return prices.get(phase.base_price_id or "")
        return prices.get(products[phase.product_id].default_price_id or "")

    return [to_frame(each, base_of(each), livemode=act.livemode) for each in shown]


def to_frame(phase: PricePhase, base: Price | None, *, livemode: bool) -> dict[str, Any]:
    """A phase, with the currency and the interval of the price that it comes before."""
    recurrence = base.recurrence if base else None
    return {
        "id": phase.id,
        "object": "subscription_phase",
        "ordinal": phase.ordinal,
        "name": phase.name,
        "pricing_type": phase.pricing_type,
        "duration_type": DurationType.INFINITE
        if phase.period_count is None
        else DurationType.FINITE,
        "amount": phase.amount,
        "amount_cents": phase.amount,
        "currency": currency(base.currency) if base else None,
        "discount_percentage": _number(phase.discount_percentage),
        "period_count": phase.period_count,
        "interval": recurrence and recurrence.interval,
        "interval_count": recurrence and recurrence.count,
        "phaseable_type": "Product" if phase.product_id else "Subscription",
        "phaseable_id": phase.product_id or phase.subscription_id,
        "product_id": phase.product_id,
        "subscription_id": phase.subscription_id,
        "started_at": seconds(phase.started_at),
        "ended_at": seconds(phase.ended_at),
        "livemode": livemode,
        "created": seconds(phase.created_at),
        "updated": seconds(phase.updated_at),
    }


def _number(number: Decimal | None) -> int | float | None:
    """A percentage as the number that Frame's clients expect; it is only shown."""
    if number is None:
        return None
    return int(number) if number == int(number) else float(number)


def _listing(
    conn: Connection,
    act: Act,
    url: str,
    found: Sequence[PricePhase],
    params: ListParams,
    parent_id: str,
) -> dict[str, Any]:
    parent = "product_id" if url.startswith("/v1/products") else "subscription_id"
    return listing(
        url,
        params,
        page_of(found, params),
        lambda rows: render_many(conn, act, rows),
        named="phases",
        about={parent: parent_id},
    )


def _named(
    conn: Connection, act: Act, found: Sequence[PricePhase], phase_id: str
) -> dict[str, Any]:
    """Raises ``NotFound``."""
    for each in found:
        if each.id == phase_id:
            return render_many(conn, act, [each])[0]
    raise NotFound.of("phase", phase_id)


def _added(conn: Connection, act: Act, after: Sequence[PricePhase], ordinal: int) -> dict[str, Any]:
    """The one with the ordinal that was asked for, which no other has."""
    [added] = [each for each in after if each.ordinal == ordinal]
    return render_many(conn, act, [added])[0]


def _deleted(phase_id: str) -> dict[str, Any]:
    return {"id": phase_id, "object": "subscription_phase", "deleted": True}
