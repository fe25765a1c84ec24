"""Phases, as Frame has them: a product's, and a subscription's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from annotated_types import Len
from pydantic import AfterValidator

from postpaid.api.frame.pages import listing, page_of
from postpaid.api.frame.params import FrameParams, ListParams
from postpaid.api.frame.phase_shapes import DurationType, render_many
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.params import AMOUNT_MAX, Currency, Dec, Id, Integer, Text, Unsettable, refuse
from postpaid.billing import manage_phases
from postpaid.billing.perform import Act
from postpaid.core.catalog import Price
from postpaid.core.errors import InvalidRequest, NotFound, Path
from postpaid.core.money import plain
from postpaid.core.periods import Interval
from postpaid.core.price_phases import PRICE_PHASES_MAX, Edit, PricePhase, PricingType, sold_item
from postpaid.storage import catalog, price_phases, subscriptions
from postpaid.storage.database import Connection

routes = Routes("Phases")


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


# ─── Whose ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Kind:
    """What has phases: where its phases are, and how they are read and edited, by its id.

    ``base`` is the price that they come before, None where there is none to ask of.
    """

    url: str
    key: str
    read: Callable[[Connection, Act, str], Sequence[PricePhase]]
    base: Callable[[Connection, Act, str], Price | None]
    edit: Callable[[Connection, Act, str, Edit], Sequence[PricePhase]]

    def list(self, call: Call, params: ListParams, parent: str) -> dict[str, Any]:
        return call.read(
            lambda conn: self._page(conn, call, params, parent, self.read(conn, call.act, parent))
        )

    def create(self, call: Call, params: PhaseCreate, parent: str) -> dict[str, Any]:
        def write(conn: Connection) -> dict[str, Any]:
            _check_terms(params, self.base(conn, call.act, parent))
            after = self.edit(conn, call.act, parent, Edit(added=[_from_frame(params)]))
            # No other has its ordinal.
            [added] = [each for each in after if each.ordinal == params.ordinal]
            return render_many(conn, call.act, [added])[0]

        return call.write(write)

    def retrieve(self, call: Call, parent: str, phase: str) -> dict[str, Any]:
        return call.read(
            lambda conn: _named(conn, call.act, self.read(conn, call.act, parent), phase)
        )

    def update(self, call: Call, params: PhaseUpdate, parent: str, phase: str) -> dict[str, Any]:
        def write(conn: Connection) -> dict[str, Any]:
            _check_terms(params, self.base(conn, call.act, parent))
            edit = Edit(changed={phase: _from_frame(params)})
            return _named(conn, call.act, self.edit(conn, call.act, parent, edit), phase)

        return call.write(write)

    def update_all(self, call: Call, params: BulkUpdate, parent: str) -> dict[str, Any]:
        def write(conn: Connection) -> dict[str, Any]:
            edit = _edit_of_all(params, self.base(conn, call.act, parent))
            after = self.edit(conn, call.act, parent, edit)
            return self._page(conn, call, ListParams(per_page=100), parent, after)

        return call.write(write)

    def delete(self, call: Call, parent: str, phase: str) -> dict[str, Any]:
        def write(conn: Connection) -> dict[str, Any]:
            self.edit(conn, call.act, parent, Edit(removed=[phase]))
            return {"id": phase, "object": "subscription_phase", "deleted": True}

        return call.write(write)

    def _page(
        self,
        conn: Connection,
        call: Call,
        params: ListParams,
        parent: str,
        found: Sequence[PricePhase],
    ) -> dict[str, Any]:
        return listing(
            f"{self.url}/{parent}/phases",
            params,
            page_of(found, params),
            lambda rows: render_many(conn, call.act, rows),
            named="phases",
            about={self.key: parent},
        )


def _named(
    conn: Connection, act: Act, found: Sequence[PricePhase], phase_id: str
) -> dict[str, Any]:
    """Raises ``NotFound``."""
    for each in found:
        if each.id == phase_id:
            return render_many(conn, act, [each])[0]
    raise NotFound.of("phase", phase_id)


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
    return catalog.find_price(conn, act.account_id, sold_item(found).price_id)


PRODUCT = _Kind(
    url="/v1/products",
    key="product_id",
    read=_of_product,
    base=_price_of_product,
    edit=manage_phases.edit_product_phases,
)
SUBSCRIPTION = _Kind(
    url="/v1/subscriptions",
    key="subscription_id",
    read=_of_subscription,
    base=_price_of_subscription,
    edit=manage_phases.edit_subscription_phases,
)


# ─── Products ────────────────────────────────────────────────────────────────────────────────


@routes.get("/v1/products/{product}/phases")
def list_of_product(call: Call, params: ListParams, product: str) -> dict[str, Any]:
    """List a product's phases, in the order in which they come."""
    return PRODUCT.list(call, params, product)


@routes.post("/v1/products/{product}/phases", status=201)
def create_of_product(call: Call, params: PhaseCreate, product: str) -> dict[str, Any]:
    """Add a phase to a product, for those who subscribe to it from then on."""
    return PRODUCT.create(call, params, product)


@routes.get("/v1/products/{product}/phases/{phase}")
def retrieve_of_product(call: Call, product: str, phase: str) -> dict[str, Any]:
    """Retrieve a product's phase."""
    return PRODUCT.retrieve(call, product, phase)


@routes.patch("/v1/products/{product}/phases/{phase}")
def update_of_product(call: Call, params: PhaseUpdate, product: str, phase: str) -> dict[str, Any]:
    """Update a product's phase; running subscriptions keep theirs."""
    return PRODUCT.update(call, params, product, phase)


@routes.delete("/v1/products/{product}/phases/{phase}")
def delete_of_product(call: Call, product: str, phase: str) -> dict[str, Any]:
    """Remove a product's phase; running subscriptions keep theirs."""
    return PRODUCT.delete(call, product, phase)


@routes.patch("/v1/products/{product}/phases/bulk_update")
def update_all_of_product(call: Call, params: BulkUpdate, product: str) -> dict[str, Any]:
    """Update several of a product's phases, all or none of them."""
    return PRODUCT.update_all(call, params, product)


# ─── Subscriptions ───────────────────────────────────────────────────────────────────────────


@routes.get("/v1/subscriptions/{subscription}/phases")
def list_of_subscription(call: Call, params: ListParams, subscription: str) -> dict[str, Any]:
    """List a subscription's phases: those that ended, the one that runs, and those to come."""
    return SUBSCRIPTION.list(call, params, subscription)


@routes.post("/v1/subscriptions/{subscription}/phases", status=201)
def create_of_subscription(call: Call, params: PhaseCreate, subscription: str) -> dict[str, Any]:
    """Add a phase that is to come."""
    return SUBSCRIPTION.create(call, params, subscription)


@routes.get("/v1/subscriptions/{subscription}/phases/{phase}")
def retrieve_of_subscription(call: Call, subscription: str, phase: str) -> dict[str, Any]:
    """Retrieve a subscription's phase."""
    return SUBSCRIPTION.retrieve(call, subscription, phase)


@routes.patch("/v1/subscriptions/{subscription}/phases/{phase}")
def update_of_subscription(
    call: Call, params: PhaseUpdate, subscription: str, phase: str
) -> dict[str, Any]:
    """Update a phase that is to come."""
    return SUBSCRIPTION.update(call, params, subscription, phase)


@routes.delete("/v1/subscriptions/{subscription}/phases/{phase}")
def delete_of_subscription(call: Call, subscription: str, phase: str) -> dict[str, Any]:
    """Remove a phase that is to come."""
    return SUBSCRIPTION.delete(call, subscription, phase)


@routes.patch("/v1/subscriptions/{subscription}/phases/bulk_update")
def update_all_of_subscription(call: Call, params: BulkUpdate, subscription: str) -> dict[str, Any]:
    """Update several of the phases that are to come, all or none of them."""
    return SUBSCRIPTION.update_all(call, params, subscription)


# ─── What is asked for ───────────────────────────────────────────────────────────────────────


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
