"""Credit grants, their movements and what they come to, as Stripe shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Len

from postpaid.api.instants import seconds
from postpaid.api.params import (
    AMOUNT_MAX,
    Currency,
    Id,
    Integer,
    Metadata,
    Params,
    Text,
    Timestamp,
    Unsettable,
    merge_metadata,
)
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_credit_grants
from postpaid.billing.manage_credit_grants import SCOPE, NewGrant
from postpaid.billing.perform import Act
from postpaid.core.credits import (
    GIVES,
    PRIORITY_DEFAULT,
    CreditGrant,
    GrantCategory,
    GrantMovement,
    GrantTransaction,
)
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.storage import catalog, credit_grants, customers
from postpaid.storage.database import Connection

routes = Routes("Credit grants")

PRICES_MAX = 20  # Stripe: in the scope of a grant


class Monetary(Params):
    currency: Currency
    value: Annotated[int, Integer(1, AMOUNT_MAX)]


class GrantAmount(Params):
    monetary: Monetary
    type: Literal["monetary"]


class ScopePrice(Params):
    id: Id


class Scope(Params):
    price_type: Literal["metered"] | None = None
    prices: Annotated[list[ScopePrice], Len(1, PRICES_MAX)] | None = None


class Applicability(Params):
    scope: Scope


class GrantCreate(Params):
    amount: GrantAmount
    applicability_config: Applicability
    category: GrantCategory = GrantCategory.PAID
    customer: Id
    effective_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    metadata: Metadata = None
    name: Annotated[str, Text(100)] | None = None
    priority: Annotated[int, Integer(0, 100)] = PRIORITY_DEFAULT


class GrantUpdate(Params):
    expires_at: Unsettable[Timestamp] = None
    metadata: Metadata = None


class GrantList(ListParams):
    customer: Id | None = None


class TransactionList(ListParams):
    credit_grant: Id | None = None
    customer: Id | None = None


class SummaryFilter(Params):
    applicability_scope: Scope | None = None
    credit_grant: Id | None = None
    type: Literal["applicability_scope", "credit_grant"]


class SummaryRetrieve(Params):
    customer: Id
    filter: SummaryFilter


@routes.post("/v1/billing/credit_grants", returns="billing.credit_grant")
def create(call: Call, params: GrantCreate) -> dict[str, Any]:
    """Grant a customer credit for metered usage."""
    asked = NewGrant(
        customer_id=params.customer,
        amount=params.amount.monetary.value,
        currency=params.amount.monetary.currency,
        category=params.category,
        metadata=merge_metadata({}, params.metadata),
        price_ids=_price_ids(params.applicability_config.scope, SCOPE),
        name=params.name,
        priority=params.priority,
        effective_at=params.effective_at,
        expires_at=params.expires_at,
    )
    return call.write(
        lambda conn: to_stripe(
            manage_credit_grants.grant_credit(conn, call.act, asked), livemode=call.act.livemode
        )
    )


@routes.get("/v1/billing/credit_grants/{credit_grant}", returns="billing.credit_grant")
def retrieve(call: Call, credit_grant: str) -> dict[str, Any]:
    """Retrieve a credit grant."""
    return call.read(
        lambda conn: to_stripe(_find(conn, call.act, credit_grant), livemode=call.act.livemode)
    )


@routes.post("/v1/billing/credit_grants/{credit_grant}", returns="billing.credit_grant")
def update(call: Call, params: GrantUpdate, credit_grant: str) -> dict[str, Any]:
    """Update when a credit grant expires, or its metadata."""
    given = params.given()

    def write(conn: Connection) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        if "expires_at" in given:
            changed["expires_at"] = params.expires_at
        if "metadata" in given:
            before, _ = manage_credit_grants.lock_grant(conn, call.act, credit_grant)
            changed["metadata"] = merge_metadata(before.metadata, params.metadata)
        grant = manage_credit_grants.update_grant(conn, call.act, credit_grant, changed)
        return to_stripe(grant, livemode=call.act.livemode)

    return call.write(write)


@routes.post("/v1/billing/credit_grants/{credit_grant}/expire", returns="billing.credit_grant")
def expire(call: Call, credit_grant: str) -> dict[str, Any]:
    """Let a credit grant expire now."""
    return call.write(
        lambda conn: to_stripe(
            manage_credit_grants.expire_grant(conn, call.act, credit_grant),
            livemode=call.act.livemode,
        )
    )


@routes.post("/v1/billing/credit_grants/{credit_grant}/void", returns="billing.credit_grant")
def void(call: Call, credit_grant: str) -> dict[str, Any]:
    """Void a credit grant: what is left of it is gone."""
    return call.write(
        lambda conn: to_stripe(
            manage_credit_grants.void_grant(conn, call.act, credit_grant),
            livemode=call.act.livemode,
        )
    )


@routes.get("/v1/billing/credit_grants", returns="billing.credit_grant", many=True)
def list_(call: Call, params: GrantList) -> dict[str, Any]:
    """List credit grants, newest first."""
    return call.read(
        lambda conn: listing(
            "/v1/billing/credit_grants",
            credit_grants.list_page(
                conn, call.act.account_id, params.page, customer_id=params.customer
            ),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.get(
    "/v1/billing/credit_balance_transactions",
    returns="billing.credit_balance_transaction",
    many=True,
)
def list_transactions(call: Call, params: TransactionList) -> dict[str, Any]:
    """List the movements of a customer's or a grant's credit, newest first."""
    if params.customer is None and params.credit_grant is None:
        raise InvalidRequest(
            "You must give `customer` or `credit_grant`.",
            param="customer",
            code="parameter_missing",
        )

    def read(conn: Connection) -> dict[str, Any]:
        if params.credit_grant is not None:
            _find(conn, call.act, params.credit_grant, param="credit_grant")
        return listing(
            "/v1/billing/credit_balance_transactions",
            credit_grants.list_transactions(
                conn,
                call.act.account_id,
                params.page,
                customer_id=params.customer,
                grant_id=params.credit_grant,
            ),
            lambda each: transaction_to_stripe(each, livemode=call.act.livemode),
        )

    return call.read(read)


@routes.get(
    "/v1/billing/credit_balance_transactions/{transaction}",
    returns="billing.credit_balance_transaction",
)
def retrieve_transaction(call: Call, transaction: str) -> dict[str, Any]:
    """Retrieve a movement of credit."""

    def read(conn: Connection) -> dict[str, Any]:
        found = credit_grants.load_transactions(conn, call.act.account_id, [transaction])
        if transaction not in found:
            raise NotFound.of("billing credit balance transaction", transaction)
        return transaction_to_stripe(found[transaction], livemode=call.act.livemode)

    return call.read(read)


@routes.get("/v1/billing/credit_balance_summary", returns="billing.credit_balance_summary")
def summarize(call: Call, params: SummaryRetrieve) -> dict[str, Any]:
    """What credit a customer has, of one grant or for usage of some prices."""

    def read(conn: Connection) -> dict[str, Any]:
        customer = customers.find(conn, call.act.account_id, params.customer)
        if customer is None or customer.deleted_at:
            raise NotFound.of("customer", params.customer, param="customer")
        own = credit_grants.unused(conn, call.act.account_id, [customer.id])[customer.id]
        match params.filter.type:
            case "credit_grant":
                own = _only(conn, call.act, params, own)
            case "applicability_scope":
                own = _for_prices(conn, call.act, params.filter, own)
        now = customer.now(call.act.now)
        balances: dict[str, tuple[int, int]] = {}
        for grant in own:
            available, ledger = balances.get(grant.currency, (0, 0))
            usable = grant.balance if grant.is_available(now) else 0
            balances[grant.currency] = (available + usable, ledger + grant.balance)
        return {
            "object": "billing.credit_balance_summary",
            "balances": [
                {
                    "available_balance": _monetary(available, currency),
                    "ledger_balance": _monetary(ledger, currency),
                }
                for currency, (available, ledger) in sorted(balances.items())
            ],
            "customer": customer.id,
            "customer_account": None,
            "livemode": call.act.livemode,
        }

    return call.read(read)


def _only(
    conn: Connection, act: Act, params: SummaryRetrieve, own: Sequence[CreditGrant]
) -> list[CreditGrant]:
    grant_id = params.filter.credit_grant
    at = ("filter", "credit_grant")
    if grant_id is None:
        raise InvalidRequest(
            "Missing required param: filter[credit_grant].", param=at, code="parameter_missing"
        )
    grant = _find(conn, act, grant_id, param=at)
    if grant.customer_id != params.customer:
        raise NotFound.of("billing credit grant", grant_id, param=at)
    # One that is used up has a balance too: of nothing.
    return [each for each in own if each.id == grant_id] or [grant]


def _for_prices(
    conn: Connection, act: Act, asked: SummaryFilter, own: Sequence[CreditGrant]
) -> list[CreditGrant]:
    at = ("filter", "applicability_scope")
    if asked.applicability_scope is None:
        raise InvalidRequest(
            "Missing required param: filter[applicability_scope].",
            param=at,
            code="parameter_missing",
        )
    price_ids = _price_ids(asked.applicability_scope, at)
    if price_ids is None:
        return [each for each in own if each.price_ids is None]
    known = catalog.load_prices(conn, act.account_id, price_ids)
    for i, price_id in enumerate(price_ids):
        if price_id not in known:
            raise NotFound.of("price", price_id, param=(*at, "prices", i, "id"))
    return [each for each in own if any(each.pays_for(price_id) for price_id in price_ids)]


def _price_ids(scope: Scope, at: tuple[str, ...]) -> list[str] | None:
    """The prices named, or None for all that are metered. Raises unless it is one of both."""
    if (scope.price_type is None) == (scope.prices is None):
        raise InvalidRequest("You must give one of `price_type` and `prices`.", param=at)
    return None if scope.prices is None else [each.id for each in scope.prices]


def _find(
    conn: Connection, act: Act, grant_id: str, *, param: str | tuple[str, ...] = "id"
) -> CreditGrant:
    found = credit_grants.load(conn, act.account_id, [grant_id]).get(grant_id)
    if found is None:
        raise NotFound.of("billing credit grant", grant_id, param=param)
    return found


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(grant: CreditGrant, *, livemode: bool) -> dict[str, Any]:
    """A credit grant."""
    scope: dict[str, Any] = (
        {"price_type": "metered", "prices": None}
        if grant.price_ids is None
        else {"price_type": None, "prices": [{"id": each} for each in grant.price_ids]}
    )
    return {
        "id": grant.id,
        "object": "billing.credit_grant",
        "amount": _monetary(grant.amount, grant.currency),
        "applicability_config": {"scope": scope},
        "category": grant.category,
        "created": seconds(grant.created_at),
        "customer": grant.customer_id,
        "customer_account": None,
        "effective_at": seconds(grant.effective_at),
        "expires_at": seconds(grant.expires_at),
        "livemode": livemode,
        "metadata": grant.metadata,
        "name": grant.name,
        "priority": grant.priority,
        "test_clock": grant.clock_id,
        "updated": seconds(grant.updated_at),
        "voided_at": seconds(grant.voided_at),
    }


def transaction_to_stripe(transaction: GrantTransaction, *, livemode: bool) -> dict[str, Any]:
    """A movement of credit: a credit when it gives, a debit when it takes."""
    gives = transaction.movement in GIVES
    line = (
        {"invoice": transaction.invoice_id, "invoice_line_item": transaction.line_id}
        if transaction.invoice_id
        else None
    )
    movement: dict[str, Any] = {
        "amount": _monetary(transaction.amount, transaction.currency),
        "type": transaction.movement,
    }
    if gives:
        reinstated = transaction.movement == GrantMovement.REINSTATED
        movement["credits_application_invoice_voided"] = line if reinstated else None
    else:
        movement["credits_applied"] = line
    return {
        "id": transaction.id,
        "object": "billing.credit_balance_transaction",
        "created": seconds(transaction.created_at),
        "credit": movement if gives else None,
        "credit_grant": transaction.grant_id,
        "debit": None if gives else movement,
        "effective_at": seconds(transaction.effective_at),
        "livemode": livemode,
        "test_clock": transaction.clock_id,
        "type": "credit" if gives else "debit",
    }


def _monetary(value: int, currency: str) -> dict[str, Any]:
    return {"monetary": {"currency": currency, "value": value}, "type": "monetary"}


@loader("billing.credit_grant")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = credit_grants.load(conn, act.account_id, ids)
    return {key: to_stripe(each, livemode=act.livemode) for key, each in found.items()}


@loader("billing.credit_balance_transaction")
def _load_transactions(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = credit_grants.load_transactions(conn, act.account_id, ids)
    return {key: transaction_to_stripe(each, livemode=act.livemode) for key, each in found.items()}


expandable("billing.credit_grant", "customer", load="customer")
expandable("billing.credit_grant", "test_clock", load="test_helpers.test_clock")
expandable("billing.credit_balance_transaction", "credit_grant", load="billing.credit_grant")
expandable("billing.credit_balance_transaction", "debit.credits_applied.invoice", load="invoice")
expandable(
    "billing.credit_balance_transaction",
    "credit.credits_application_invoice_voided.invoice",
    load="invoice",
)
expandable("billing.credit_balance_transaction", "test_clock", load="test_helpers.test_clock")
expandable("billing.credit_balance_summary", "customer", load="customer")
