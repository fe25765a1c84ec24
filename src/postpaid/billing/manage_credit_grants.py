"""Grant credit for usage; change, expire and void what was granted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.apply_credits import grant_movement, movement_said, taken
from postpaid.billing.lock_customer import lock_customer
from postpaid.billing.perform import Act
from postpaid.billing.post import post_credits
from postpaid.core.credits import (
    PRIORITY_DEFAULT,
    UNUSED_GRANTS_MAX,
    CreditGrant,
    GrantCategory,
    GrantMovement,
    GrantTransaction,
)
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.storage import catalog, credit_grants, customers
from postpaid.storage.database import Connection

SCOPE = ("applicability_config", "scope")


@dataclass(frozen=True, slots=True)
class NewGrant:
    """A grant asked for; ``price_ids`` None means usage of any price."""

    customer_id: str
    amount: int
    currency: str
    category: GrantCategory
    metadata: Mapping[str, str]
    price_ids: Sequence[str] | None = None
    name: str | None = None
    priority: int = PRIORITY_DEFAULT
    effective_at: datetime | None = None
    expires_at: datetime | None = None


def grant_credit(conn: Connection, act: Act, asked: NewGrant) -> CreditGrant:
    """Give a customer credit; from now on unless it says when.

    Raises ``NotFound`` for a customer or price that is not there, and ``InvalidRequest`` for a
    price that is not metered or in another currency, for times in the past or out of order, and for
    a customer with a hundred grants that are not used up (Stripe).
    """
    # Read.
    customer = lock_customer(conn, act, asked.customer_id)
    act = act.at(customer.now(act.now), customer.clock_id)
    unused = credit_grants.unused(conn, act.account_id, [customer.id])[customer.id]
    if asked.price_ids is not None:
        _check_prices(conn, act, asked.price_ids, asked.currency)

    # Decide.
    if len(unused) >= UNUSED_GRANTS_MAX:
        raise InvalidRequest(
            f"A customer can have at most {UNUSED_GRANTS_MAX} unused credit grants.",
            param="customer",
        )
    effective_at = asked.effective_at or act.now
    if effective_at < act.now.replace(microsecond=0):
        raise InvalidRequest("`effective_at` must not be in the past.", param="effective_at")
    if asked.expires_at is not None and asked.expires_at <= effective_at:
        raise InvalidRequest("`expires_at` must be after `effective_at`.", param="expires_at")
    grant = CreditGrant(
        id=act.new_id("credgr"),
        customer_id=customer.id,
        clock_id=customer.clock_id,
        amount=asked.amount,
        balance=asked.amount,
        currency=asked.currency,
        category=asked.category,
        name=asked.name,
        priority=asked.priority,
        price_ids=asked.price_ids,
        effective_at=effective_at,
        expires_at=asked.expires_at,
        expired_at=None,
        voided_at=None,
        metadata=asked.metadata,
        created_at=act.now,
        updated_at=act.now,
    )
    granted = grant_movement(
        act, grant, GrantMovement.GRANTED, grant.amount, effective_at=effective_at
    )

    # Write.
    credit_grants.insert_many(conn, act.account_id, [grant])
    credit_grants.insert_transactions(conn, act.account_id, [granted])
    post_credits(conn, act, [granted], [grant])
    announce(
        conn,
        act,
        [
            Announcement("billing.credit_grant.created", "credit_grant", grant.id, grant),
            movement_said(granted),
        ],
    )
    return grant


def update_grant(
    conn: Connection, act: Act, grant_id: str, changed: Mapping[str, Any]
) -> CreditGrant:
    """Change when the grant expires, or its metadata; ``changed`` has a grant's field names.

    Raises ``NotFound``; ``ActionNotAllowed`` for one that is over; ``InvalidRequest`` for an expiry
    that has passed.
    """
    before, act = lock_grant(conn, act, grant_id)
    if "expires_at" in changed:
        _check_running(before, "update the expiry of")
        expires_at = changed["expires_at"]
        if expires_at is not None and expires_at <= max(act.now, before.effective_at):
            raise InvalidRequest(
                "`expires_at` must be in the future and after `effective_at`.", param="expires_at"
            )
    after = replace(before, **changed)
    if after == before:
        return before
    after = replace(after, updated_at=act.now)
    _write(conn, act, [before], [after], [])
    return after


def expire_grant(conn: Connection, act: Act, grant_id: str) -> CreditGrant:
    """Let the grant expire now: what is left of it is gone. Raises ``ActionNotAllowed``."""
    before, act = lock_grant(conn, act, grant_id)
    _check_running(before, "expire")
    # One that has no effect yet never has one: it expires as it would have begun (Stripe).
    over = replace(before, expires_at=max(act.now, before.effective_at), expired_at=act.now)
    after, movements = _emptied(act, over, GrantMovement.EXPIRED)
    _write(conn, act, [before], [after], movements)
    return after


def void_grant(conn: Connection, act: Act, grant_id: str) -> CreditGrant:
    """Take the grant back: what is left of it is gone. Raises ``ActionNotAllowed``."""
    before, act = lock_grant(conn, act, grant_id)
    _check_running(before, "void")
    over = replace(before, voided_at=act.now)
    after, movements = _emptied(act, over, GrantMovement.VOIDED)
    _write(conn, act, [before], [after], movements)
    return after


def expire_grants(conn: Connection, act: Act, due: Sequence[CreditGrant]) -> list[CreditGrant]:
    """Take what is left of grants whose time has passed. The customers are locked."""
    if not due:
        return []
    emptied = [taken(act, replace(each, expired_at=act.now), GrantMovement.EXPIRED) for each in due]
    after = [grant for grant, _ in emptied]
    _write(conn, act, due, after, [movement for _, movement in emptied])
    return after


def lock_grant(conn: Connection, act: Act, grant_id: str) -> tuple[CreditGrant, Act]:
    """The grant as it is once its customer is locked, and the act at the customer's time.

    Raises ``NotFound``.
    """
    found = credit_grants.load(conn, act.account_id, [grant_id]).get(grant_id)
    if found is None:
        raise NotFound.of("billing credit grant", grant_id)
    customer = customers.lock(conn, act.account_id, [found.customer_id])[found.customer_id]
    current = credit_grants.load(conn, act.account_id, [grant_id])[grant_id]
    return current, act.at(customer.now(act.now), customer.clock_id)


def _check_running(grant: CreditGrant, verb: str) -> None:
    if grant.voided_at is not None:
        raise ActionNotAllowed(f"You cannot {verb} a credit grant that is voided.")
    if grant.expired_at is not None:
        raise ActionNotAllowed(f"You cannot {verb} a credit grant that has expired.")


def _check_prices(conn: Connection, act: Act, price_ids: Sequence[str], currency: str) -> None:
    sold = catalog.load_sold(conn, act.account_id, set(price_ids))
    for i, price_id in enumerate(price_ids):
        at = (*SCOPE, "prices", i, "id")
        if price_id not in sold:
            raise NotFound.of("price", price_id, param=at)
        price = sold[price_id].price
        if not price.metered:
            raise InvalidRequest(
                f"Credit pays for metered prices only, and {price_id} is none.", param=at
            )
        if price.currency != currency:
            raise InvalidRequest(
                f"The price {price_id} is in {price.currency}, and the credit in {currency}.",
                param=at,
            )


def _emptied(
    act: Act, grant: CreditGrant, movement: GrantMovement
) -> tuple[CreditGrant, list[GrantTransaction]]:
    if grant.balance == 0:
        return replace(grant, updated_at=act.now), []
    after, transaction = taken(act, grant, movement)
    return after, [transaction]


def _write(
    conn: Connection,
    act: Act,
    before: Sequence[CreditGrant],
    after: Sequence[CreditGrant],
    movements: Sequence[GrantTransaction],
) -> None:
    """Write grants that changed and what moved, post it and announce it."""
    credit_grants.update_many(conn, act.account_id, after)
    credit_grants.insert_transactions(conn, act.account_id, movements)
    post_credits(conn, act, movements, after)
    updated = "billing.credit_grant.updated"
    announce(
        conn,
        act,
        [
            *(
                Announcement(updated, "credit_grant", new.id, new, changes(old, new))
                for old, new in zip(before, after, strict=True)
            ),
            *(movement_said(each) for each in movements),
        ],
    )
