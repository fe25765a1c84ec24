"""The ledger: transactions, entries, balances and revenue by month (ours)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from postpaid.api.instants import seconds
from postpaid.api.params import Currency, Id, Params, TimeRange, Timestamp, TimeZone
from postpaid.api.stripe.expand import expandable
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.core.calendar_windows import months_between
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.ledger import LedgerAccount, LedgerKind
from postpaid.core.periods import zone_called
from postpaid.storage import accounts, ledger, ledger_reports
from postpaid.storage.database import Connection
from postpaid.storage.ledger import PostedEntry, PostedTransaction
from postpaid.storage.ledger_reports import Balance, RevenuePeriod
from postpaid.storage.paging import Rows

routes = Routes("Ledger")

SCHEDULE_MAX = timedelta(days=3_653)  # ten years of months

expandable("ledger.transaction", "customer", load="customer")
expandable("ledger.transaction", "invoice", load="invoice")
expandable("ledger.entry", "customer", load="customer")


class TransactionList(ListParams):
    created: TimeRange | None = None
    customer: Id | None = None
    invoice: Id | None = None
    kind: LedgerKind | None = None


class EntryList(ListParams):
    account: LedgerAccount | None = None
    created: TimeRange | None = None
    currency: Currency | None = None
    customer: Id | None = None


class BalanceList(Params):
    as_of: Timestamp | None = None
    currency: Currency | None = None
    customer: Id | None = None


class RevenueSchedule(Params):
    start: Timestamp
    end: Timestamp
    currency: Currency | None = None
    time_zone: TimeZone | None = None


@routes.get("/v1/ledger/transactions", returns="ledger.transaction", many=True)
def list_transactions(call: Call, params: TransactionList) -> dict[str, Any]:
    """List transactions with their entries, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)
    return call.read(
        lambda conn: listing(
            "/v1/ledger/transactions",
            ledger.list_page(
                conn,
                call.act.account_id,
                params.page,
                kind=params.kind,
                customer_id=params.customer,
                invoice_id=params.invoice,
                created_from=created_from,
                created_before=created_before,
            ),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.get("/v1/ledger/transactions/{transaction}", returns="ledger.transaction")
def retrieve_transaction(call: Call, transaction: str) -> dict[str, Any]:
    """Retrieve a transaction with its entries."""

    def read(conn: Connection) -> dict[str, Any]:
        found = ledger.find(conn, call.act.account_id, transaction)
        if found is None:
            raise NotFound.of("ledger transaction", transaction)
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.get("/v1/ledger/entries", returns="ledger.entry", many=True)
def list_entries(call: Call, params: EntryList) -> dict[str, Any]:
    """List entries, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)
    return call.read(
        lambda conn: listing(
            "/v1/ledger/entries",
            ledger.list_entries(
                conn,
                call.act.account_id,
                params.page,
                ledger_account=params.account,
                currency=params.currency,
                customer_id=params.customer,
                created_from=created_from,
                created_before=created_before,
            ),
            lambda each: entry_to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.get("/v1/ledger/balances", returns="ledger.balance", many=True)
def list_balances(call: Call, params: BalanceList) -> dict[str, Any]:
    """What each account comes to, by currency, at an instant; now unless given.

    Deferred revenue that the passing of time has earned by then is revenue.
    """
    at = params.as_of or call.act.now
    return call.read(
        lambda conn: listing(
            "/v1/ledger/balances",
            Rows(
                ledger_reports.balances(
                    conn,
                    call.act.account_id,
                    at=at,
                    currency=params.currency,
                    customer_id=params.customer,
                ),
                has_more=False,
            ),
            lambda each: balance_to_stripe(each, at, livemode=call.act.livemode),
        )
    )


@routes.get("/v1/ledger/revenue_schedule", returns="ledger.revenue_period", many=True)
def list_revenue(call: Call, params: RevenueSchedule) -> dict[str, Any]:
    """Revenue by month and currency in ``[start, end)``, oldest first, also of months to come.

    Months are those of ``time_zone``, or of the account's; where the range begins or ends within
    one, it is the part. Ten years at most.
    """
    if params.end <= params.start:
        raise InvalidRequest("end must be after start.", param="end")
    if params.end - params.start > SCHEDULE_MAX:
        raise InvalidRequest("A revenue schedule covers ten years at most.", param="end")

    def read(conn: Connection) -> dict[str, Any]:
        months = _months(conn, call.act.account_id, params)
        found = ledger_reports.revenue_periods(
            conn, call.act.account_id, months, currency=params.currency
        )
        return listing(
            "/v1/ledger/revenue_schedule",
            Rows(found, has_more=False),
            lambda each: revenue_to_stripe(each, livemode=call.act.livemode),
        )

    return call.read(read)


def _months(
    conn: Connection, account_id: int, params: RevenueSchedule
) -> Sequence[tuple[datetime, datetime]]:
    name = params.time_zone or accounts.time_zone(conn, account_id)
    return list(months_between(params.start, params.end, zone_called(name)))


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(transaction: PostedTransaction, *, livemode: bool) -> dict[str, Any]:
    return {
        "id": transaction.id,
        "object": "ledger.transaction",
        "created": seconds(transaction.created_at),
        "currency": transaction.currency,
        "customer": transaction.customer_id,
        "entries": [entry_to_stripe(each, livemode=livemode) for each in transaction.entries],
        "invoice": transaction.invoice_id,
        "kind": transaction.kind,
        "livemode": livemode,
        "source": transaction.source_id,
    }


def entry_to_stripe(entry: PostedEntry, *, livemode: bool) -> dict[str, Any]:
    return {
        "id": entry.id,
        "object": "ledger.entry",
        "account": entry.ledger_account,
        "amount": entry.amount,
        "created": seconds(entry.created_at),
        "currency": entry.currency,
        "customer": entry.customer_id,
        "livemode": livemode,
        "service_period": None
        if entry.period_start is None
        else {"end": seconds(entry.period_end), "start": seconds(entry.period_start)},
        "transaction": entry.transaction_id,
    }


def balance_to_stripe(balance: Balance, at: datetime, *, livemode: bool) -> dict[str, Any]:
    return {
        "object": "ledger.balance",
        "account": balance.ledger_account,
        "amount": balance.debits - balance.credits,
        "as_of": seconds(at),
        "credits": balance.credits,
        "currency": balance.currency,
        "debits": balance.debits,
        "livemode": livemode,
    }


def revenue_to_stripe(period: RevenuePeriod, *, livemode: bool) -> dict[str, Any]:
    return {
        "object": "ledger.revenue_period",
        "currency": period.currency,
        "deferred": period.deferred,
        "earned_at_once": period.at_once,
        "end": seconds(period.end_at),
        "livemode": livemode,
        "recognized": period.recognized,
        "revenue": period.at_once + period.recognized,
        "start": seconds(period.start_at),
    }
