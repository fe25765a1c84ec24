"""Charges as Stripe shows them: payment attempts that reached their gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from postpaid.api.instants import seconds
from postpaid.api.params import Id, TimeRange
from postpaid.api.stripe import addresses
from postpaid.api.stripe.addresses import Address
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.payment_methods import OTHER_TYPES
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing.perform import Act
from postpaid.core.errors import NotFound
from postpaid.core.payment_intents import attempt_id_of
from postpaid.storage import payment_methods, payments
from postpaid.storage.database import Connection
from postpaid.storage.paging import Page, Rows
from postpaid.storage.payment_methods import PaymentMethod
from postpaid.storage.payments import REACHED, AttemptStatus, PaymentAttempt

routes = Routes("Charges")

STATUSES = {AttemptStatus.SUCCEEDED: "succeeded", AttemptStatus.FAILED: "failed"}


class ChargeList(ListParams):
    created: TimeRange | None = None
    customer: Id | None = None
    payment_intent: Id | None = None


@routes.get("/v1/charges", returns="charge", many=True)
def list_(call: Call, params: ChargeList) -> dict[str, Any]:
    """List charges, newest first: every try at a payment that reached its gateway."""
    created_from, created_before = params.created.bounds if params.created else (None, None)
    page = Page(
        limit=params.limit,
        after=_cursor(params.starting_after, "starting_after"),
        before=_cursor(params.ending_before, "ending_before"),
    )

    def read(conn: Connection) -> dict[str, Any]:
        found = payments.list_charges(
            conn,
            call.act.account_id,
            page,
            customer_id=params.customer,
            intent_id=params.payment_intent,
            created_from=created_from,
            created_before=created_before,
        )
        shown = render_many(conn, call.act, found.rows)
        return listing("/v1/charges", Rows(shown, found.has_more), lambda each: each)

    return call.read(read)


@routes.get("/v1/charges/{charge}", returns="charge")
def retrieve(call: Call, charge: str) -> dict[str, Any]:
    """Retrieve a charge."""

    def read(conn: Connection) -> dict[str, Any]:
        found = _load(conn, call.act, [charge])
        if charge not in found:
            raise NotFound.of("charge", charge)
        return found[charge]

    return call.read(read)


def _cursor(charge_id: str | None, name: str) -> str | None:
    if charge_id is not None and not charge_id.startswith("ch_"):
        raise NotFound.of("charge", charge_id, param=name)
    return charge_id and attempt_id_of(charge_id)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def render_many(
    conn: Connection, act: Act, shown: Sequence[PaymentAttempt]
) -> list[dict[str, Any]]:
    """Charges, with what was charged as it is by now."""
    ids = {each.payment_method_id for each in shown}
    methods = payment_methods.load(conn, act.account_id, ids)
    return [
        to_stripe(each, methods.get(each.payment_method_id), livemode=act.livemode)
        for each in shown
    ]


def to_stripe(
    attempt: PaymentAttempt, method: PaymentMethod | None, *, livemode: bool
) -> dict[str, Any]:
    """The charge that the attempt is, at ``method``."""
    paid = attempt.status == AttemptStatus.SUCCEEDED
    return {
        "id": attempt.charge_id,
        "object": "charge",
        "amount": attempt.amount,
        "amount_captured": attempt.amount if paid else 0,
        "amount_refunded": attempt.amount_refunded,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "authorization_code": None,
        "balance_transaction": None,
        "billing_details": _billing_details(method),
        "calculated_statement_descriptor": None,
        "captured": paid,
        "created": seconds(attempt.attempted_at),
        "currency": attempt.currency,
        "customer": attempt.customer_id,
        "description": None,
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": attempt.failure_code,
        "failure_message": attempt.failure_message,
        "fraud_details": None,
        "level3": None,
        "livemode": livemode,
        "metadata": {},
        "on_behalf_of": None,
        "outcome": _outcome(attempt),
        "paid": paid,
        "payment_intent": attempt.payment_intent_id,
        "payment_method": attempt.payment_method_id,
        "payment_method_details": _details(attempt, method),
        "presentment_details": None,
        "radar_options": None,
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": paid and attempt.amount_refunded == attempt.amount,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": STATUSES.get(attempt.status, "pending"),
        "transfer": None,
        "transfer_data": None,
        "transfer_group": None,
    }


def _billing_details(method: PaymentMethod | None) -> dict[str, Any]:
    said: Mapping[str, Any] = method.billing_details if method else {}
    shown = {key: said.get(key) for key in ("address", "email", "name", "phone", "tax_id")}
    return shown | {"address": shown["address"] or addresses.from_stripe(Address())}


def _details(attempt: PaymentAttempt, method: PaymentMethod | None) -> dict[str, Any] | None:
    """What was charged, by its type; each other type is a key that is null."""
    if method is None:
        return None
    of_type: dict[str, Any] = {}
    if method.card is not None:
        of_type = {
            **dict.fromkeys(_OF_CARDS),
            **method.card,
            "amount_authorized": attempt.amount,
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": None,
            },
            "network": method.card["brand"],
        }
    elif method.us_bank_account is not None:
        of_type = {**dict.fromkeys(_OF_BANK_ACCOUNTS), **method.us_bank_account}
    return {**dict.fromkeys(_TYPES), "type": method.type, method.type: of_type}


# Keys that there always are, and which are null unless something is said of them.
_TYPES = [
    *OTHER_TYPES.split(),
    *["ach_credit_transfer", "ach_debit", "card", "customer_balance", "sepa_credit_transfer"],
    *["stripe_account", "us_bank_account", "wechat"],
]
_OF_CARDS = [
    "amount_authorized",
    "authorization_code",
    "brand",
    "capture_before",
    "checks",
    "country",
    "description",
    "electronic_commerce_indicator",
    "exp_month",
    "exp_year",
    "extended_authorization",
    "fingerprint",
    "funding",
    "iin",
    "incremental_authorization",
    "installments",
    "issuer",
    "last4",
    "mandate",
    "moto",
    "multicapture",
    "network",
    "network_token",
    "network_transaction_id",
    "overcapture",
    "regulated_status",
    "setup_credential_usage",
    "stored_credential_usage",
    "three_d_secure",
    "transaction_link_id",
    "wallet",
]
_OF_BANK_ACCOUNTS = [
    "account_holder_type",
    "account_type",
    "bank_name",
    "expected_debit_date",
    "fingerprint",
    "last4",
    "mandate",
    "payment_reference",
    "routing_number",
]


def _outcome(attempt: PaymentAttempt) -> dict[str, Any] | None:
    if attempt.status not in STATUSES:
        return None
    paid = attempt.status == AttemptStatus.SUCCEEDED
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network" if paid else "declined_by_network",
        "reason": attempt.decline_code,
        "risk_level": None,
        "risk_score": None,
        "rule": None,
        "seller_message": "Payment complete." if paid else attempt.failure_message,
        "type": "authorized" if paid else "issuer_declined",
    }


@loader("charge")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Those that reached their gateway: what else was tried is no charge."""
    found = payments.load(conn, act.account_id, [attempt_id_of(each) for each in ids])
    reached = [each for each in found.values() if each.status in REACHED]
    return {each["id"]: each for each in render_many(conn, act, reached)}


expandable("charge", "customer", load="customer")
expandable("charge", "payment_intent", load="payment_intent")
