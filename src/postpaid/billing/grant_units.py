"""Grant a customer units of usage in advance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.lock_customer import lock_customer
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.unit_credits import UNUSED_CREDITS_MAX, ZERO, UnitCredit
from postpaid.storage import catalog, unit_credits
from postpaid.storage.database import Connection


@dataclass(frozen=True, slots=True)
class NewUnitCredit:
    """A unit credit asked for: ``units`` of the product's usage, until ``expires_at``."""

    customer_id: str
    product_id: str
    units: Decimal
    expires_at: datetime | None
    is_limited: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


def grant_units(conn: Connection, act: Act, asked: NewUnitCredit) -> UnitCredit:
    """Give a customer units, which pay for its usage on the invoices that bill it by the window.

    Raises ``NotFound`` for a customer or product that is not there, and ``InvalidRequest`` for
    nothing, for an expiry that has passed, and for a customer with a hundred credits that it can
    still use.
    """
    # Read.
    customer = lock_customer(conn, act, asked.customer_id)
    act = act.at(customer.now(act.now), customer.clock_id)
    products = catalog.load_products(conn, act.account_id, {asked.product_id})
    usable = unit_credits.unused(conn, act.account_id, [customer.id], expires_after=act.now)

    # Decide.
    if asked.product_id not in products:
        raise NotFound.of("product", asked.product_id, param="product")
    if asked.units <= ZERO:
        raise InvalidRequest("There must be something to grant.", param="units")
    if asked.expires_at is not None and asked.expires_at <= act.now:
        raise InvalidRequest("What is granted must expire in the future.", param="expires_at")
    if len(usable[customer.id]) >= UNUSED_CREDITS_MAX:
        raise InvalidRequest(
            f"A customer can have at most {UNUSED_CREDITS_MAX} credits that are not used up.",
            param="customer",
        )
    credit = UnitCredit(
        id=act.new_id("uc"),
        customer_id=customer.id,
        clock_id=customer.clock_id,
        product_id=asked.product_id,
        granted=asked.units,
        used=ZERO,
        is_limited=asked.is_limited,
        expires_at=asked.expires_at,
        created_at=act.now,
        updated_at=act.now,
        metadata=asked.metadata,
    )

    # Write.
    unit_credits.insert(conn, act.account_id, credit)
    if credit.is_limited:
        unit_credits.limit_usage(conn, act.account_id, customer.id)
    announce(conn, act, [Announcement("unit_credit.created", "unit_credit", credit.id, credit)])
    return credit
