"""Create meters with a price of their own, and let another price take its place.

The price is what an invoice for a stretch of time bills the meter's usage by. It is a price like
any other, metered and monthly, of a product that is named after the meter unless another is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from postpaid.billing import manage_catalog
from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.manage_meters import new_meter
from postpaid.billing.perform import Act
from postpaid.core.catalog import Price, Product, UsageType
from postpaid.core.errors import NotFound
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model
from postpaid.core.values import replace
from postpaid.storage import catalog, meters
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter, MeterStatus


@dataclass(frozen=True, slots=True)
class AskedPrice:
    """What a meter's usage shall cost: a price's model, in minor units of the currency.

    ``markup_percentage`` is what part of the unit amount is a percentage of what is counted.
    ``product_id`` is whose price it is; without one a product is made, or stays as it was.
    """

    currency: str
    model: Model
    markup_percentage: Decimal | None = None
    product_id: str | None = None


def create_priced_meter(
    conn: Connection,
    act: Act,
    fields: Mapping[str, Any],
    asked: AskedPrice | None,
    *,
    active: bool = True,
    description: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Meter:
    """Add a meter with its price, if it has one; ``fields`` are those of ``create_meter``.

    Raises what ``create_meter`` does, and ``NotFound`` for a product that is not there.
    """
    meter = replace(
        new_meter(act, **fields),
        status=MeterStatus.ACTIVE if active else MeterStatus.INACTIVE,
        deactivated_at=None if active else act.now,
        description=description,
        metadata=metadata or {},
    )
    meters.insert(conn, act.account_id, meter)
    if asked is not None:
        meter = _priced(conn, act, meter, asked)
        meters.update(conn, act.account_id, meter)
    announce(conn, act, [Announcement("billing.meter.created", "meter", meter.id, meter)])
    return meter


def set_price(conn: Connection, act: Act, before: Meter, asked: AskedPrice) -> Meter:
    """The meter, locked by the caller, with another price for what is not billed yet.

    The former price is archived, unless its product offers it. The meter itself is the caller's to
    write. Raises ``NotFound`` for a product that is not there.
    """
    former = None
    if before.price_id is not None:
        former = catalog.lock_price(conn, act.account_id, before.price_id)
        assert former is not None, "a meter's price is never deleted"
        same = former.model, former.currency, before.markup_percentage
        if same == (asked.model, asked.currency, asked.markup_percentage) and (
            asked.product_id in (None, former.product_id)
        ):
            return before
        if asked.product_id is None:
            asked = replace(asked, product_id=former.product_id)
    after = _priced(conn, act, before, asked)
    if former is not None and former.active:
        product = catalog.find_product(conn, act.account_id, former.product_id)
        if product is None or product.default_price_id != former.id:
            archived = replace(former, active=False)
            catalog.update_price(conn, act.account_id, archived)
            said = changes(former, archived)
            announce(conn, act, [Announcement("price.updated", "price", former.id, archived, said)])
    return after


def rename_product(conn: Connection, act: Act, before: Meter, after: Meter) -> None:
    """Let the product of the meter's price be named after it still, if it was: invoices say so."""
    if after.price_id is None or after.display_name == before.display_name:
        return
    price = catalog.find_price(conn, act.account_id, after.price_id)
    assert price is not None, "a meter's price is never deleted"

    def change(product: Product) -> Product:
        named_after_it = product.name == before.display_name
        return replace(product, name=after.display_name) if named_after_it else product

    manage_catalog.update_product(conn, act, price.product_id, change)


def _priced(conn: Connection, act: Act, meter: Meter, asked: AskedPrice) -> Meter:
    """The meter with a new price of its own, which is stored, and its product where it had none."""
    product_id = asked.product_id
    if product_id is None:
        named = {"name": meter.display_name, "description": meter.description}
        product_id = manage_catalog.create_product(conn, act, named).id
    elif catalog.find_product(conn, act.account_id, product_id) is None:
        raise NotFound.of("product", product_id, param="product")
    price = Price(
        id=act.new_id("price"),
        product_id=product_id,
        currency=asked.currency,
        model=asked.model,
        created_at=act.now,
        recurrence=Recurrence(Interval.MONTH, 1),
        usage_type=UsageType.METERED,
        meter_id=meter.id,
    )
    catalog.insert_price(conn, act.account_id, price)
    announce(conn, act, [Announcement("price.created", "price", price.id, price)])
    return replace(meter, price_id=price.id, markup_percentage=asked.markup_percentage)
