"""Charge intents, as Frame shows the engine's payment intents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import MaxLen

from postpaid.api.frame import accounts, charges, customers, intents
from postpaid.api.frame.intents import Shown, find, not_authorized, shown_many
from postpaid.api.frame.naming import in_frames_words
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import (
    FrameParams,
    ListParams,
    Metadata,
    Payer,
    merge_metadata,
)
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.instants import seconds
from postpaid.api.params import Boolean, ChargedAmount, Currency, Id, Text, Unsettable
from postpaid.billing.manage_payment_intents import (
    Canceling,
    NewPaymentIntent,
    cancel_payment_intent,
    finish_canceling,
    update_payment_intent,
)
from postpaid.billing.perform import Act
from postpaid.core.payment_intents import PaymentIntent
from postpaid.core.values import replace
from postpaid.storage import customers as stored_customers
from postpaid.storage import payment_intents
from postpaid.storage.database import Connection
from postpaid.storage.payments import REACHED

routes = Routes("Charge intents")

NAMES = {"PaymentIntent": "charge intent", "payment_intent": "charge intent"}

Description = Annotated[str, Text(1000)]
Anything = Annotated[dict[str, Any], MaxLen(100)]

REFUSED = {
    "promotion_codes": (
        "Promotion codes are redeemed on invoices. Validate them, and give what they leave as the "
        "amount."
    ),
    "customer_data": "Create the customer first, and give its id.",
    "payment_method_data": "Create the payment method first, and give its id.",
    "revenue_split": "Revenue is not split here.",
}


class ChargeIntentCreate(Payer):
    amount: ChargedAmount
    currency: Currency
    authorization_mode: Literal["automatic"] = "automatic"
    confirm: Boolean = False
    customer_data: Anything | None = None
    description: Description | None = None
    metadata: Metadata = None
    payment_method: Id | None = None
    payment_method_data: Anything | None = None
    promotion_codes: Annotated[list[Id], MaxLen(20)] | None = None
    revenue_split: Anything | None = None


class ChargeIntentUpdate(Payer):
    amount: ChargedAmount | None = None
    description: Unsettable[Description] = None
    metadata: Metadata = None
    payment_method: Id | None = None


class ChargeIntentConfirm(FrameParams):
    payment_method: Id | None = None


class ChargeIntentList(ListParams, Payer):
    pass


@routes.post("/v1/charge_intents", status=201)
def create(call: Call, params: ChargeIntentCreate) -> dict[str, Any]:
    """Create a charge intent, and with ``confirm`` charge it at once."""
    intents.refuse_what_is_not_kept(params.given(), REFUSED)
    asked = NewPaymentIntent(
        amount=params.amount,
        currency=params.currency,
        customer_id=params.payer_id,
        payment_method_id=params.payment_method,
        description=params.description,
        metadata=merge_metadata({}, params.metadata),
    )
    return intents.create(call, asked, confirm=params.confirm, render=render_many, names=NAMES)


@routes.get("/v1/charge_intents")
def list_(call: Call, params: ChargeIntentList) -> dict[str, Any]:
    """List charge intents, newest first, those of invoices among them."""
    customer_id = params.payer_id

    def read(conn: Connection) -> dict[str, Any]:
        rows = payment_intents.list_page(
            conn, call.act.account_id, params.rows, customer_id=customer_id
        )
        return listing(
            "/v1/charge_intents",
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="charge_intents",
        )

    return call.read(read)


@routes.get("/v1/charge_intents/{intent}")
def retrieve(call: Call, intent: str) -> dict[str, Any]:
    """Retrieve a charge intent."""
    return call.read(lambda conn: render_many(conn, call.act, [find(conn, call.act, intent)])[0])


@routes.patch("/v1/charge_intents/{intent}")
def update(call: Call, params: ChargeIntentUpdate, intent: str) -> dict[str, Any]:
    """Update a charge intent; an invoice's takes its amount and its customer from there."""
    given: dict[str, Any] = {}
    for name, value in params.given().items():
        if name == "payment_method" and value is not None:
            given["payment_method_id"] = value
        elif name in ("description", "metadata") or (name == "amount" and value is not None):
            given[name] = value
    if (customer_id := params.payer_id) is not None:
        given["customer_id"] = customer_id

    def change(before: PaymentIntent) -> PaymentIntent:
        fields = dict(given)
        if "metadata" in fields:
            fields["metadata"] = merge_metadata(before.metadata, fields["metadata"])
        return replace(before, **fields)

    def write(conn: Connection) -> dict[str, Any]:
        after = update_payment_intent(conn, call.act, intent, change, frozenset(given))
        return render_many(conn, call.act, [after])[0]

    with in_frames_words(NAMES):
        return call.write(write)


@routes.post("/v1/charge_intents/{intent}/confirm")
def confirm(call: Call, params: ChargeIntentConfirm, intent: str) -> dict[str, Any]:
    """Charge it now, its customer being there; a decline is an error."""
    return intents.confirm(
        call, intent, payment_method_id=params.payment_method, render=render_many, names=NAMES
    )


@routes.post("/v1/charge_intents/{intent}/cancel")
def cancel(call: Call, intent: str) -> dict[str, Any]:
    """Give up a charge intent of no invoice."""

    def begin(conn: Connection) -> dict[str, Any]:
        canceling = cancel_payment_intent(conn, call.act, intent, reason=None)
        return {"intent": canceling.intent_id, "attempts": canceling.attempt_ids}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        canceling = Canceling(begun["intent"], begun["attempts"])
        finish_canceling(call.database, call.act, canceling)
        return retrieve(call, intent)

    with in_frames_words(NAMES):
        return call.write_then(begin, finish)


@routes.post("/v1/charge_intents/{intent}/capture")
def capture(call: Call, intent: str) -> dict[str, Any]:
    """Refused: whatever is confirmed is captured with it."""
    return call.read(lambda conn: not_authorized(conn, call.act, intent, "captured"))


@routes.post("/v1/charge_intents/{intent}/void_remaining")
def void_remaining(call: Call, intent: str) -> dict[str, Any]:
    """Refused: nothing is authorized that was not captured."""
    return call.read(lambda conn: not_authorized(conn, call.act, intent, "voided"))


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def render_many(conn: Connection, act: Act, shown: Sequence[PaymentIntent]) -> list[dict[str, Any]]:
    """Charge intents, with their latest charges and customers; a constant number of statements."""
    whole = shown_many(conn, act, shown)
    reached = [each.latest for each in whole if each.latest and each.latest.status in REACHED]
    charge_by_id = {each["id"]: each for each in charges.render_many(conn, act, reached)}
    payer_by_id = _payers(conn, act, shown)
    return [
        to_frame(
            each,
            charge_by_id.get(each.latest.charge_id) if each.latest else None,
            payer_by_id.get(each.intent.customer_id or ""),
            livemode=act.livemode,
        )
        for each in whole
    ]


def _payers(
    conn: Connection, act: Act, shown: Sequence[PaymentIntent]
) -> Mapping[str, dict[str, Any]]:
    """Who pays them, by id: customers and accounts, in two statements."""
    ids = {each.customer_id for each in shown if each.customer_id}
    found = stored_customers.load(conn, act.account_id, ids).values() if ids else []
    as_accounts = [each for each in found if each.profile is not None]
    others = [each for each in found if each.profile is None]
    rendered = [
        *(accounts.render_many(conn, act, as_accounts) if as_accounts else ()),
        *(customers.render_many(conn, act, others) if others else ()),
    ]
    return {each["id"]: each for each in rendered}


def to_frame(
    shown: Shown,
    latest_charge: dict[str, Any] | None,
    payer: dict[str, Any] | None,
    *,
    livemode: bool,
) -> dict[str, Any]:
    """A charge intent; ``payer`` is its customer or account, whole."""
    intent, owner, error = shown.intent, shown.owner, shown.intent.last_error or {}
    return {
        "id": intent.id,
        "object": "charge_intent",
        "amount": intent.amount,
        "amount_captured": intent.amount_received,
        "amount_refunded": shown.latest.amount_refunded if shown.latest else 0,
        "amount_voided": 0,
        "currency": intent.currency,
        "status": shown.status,
        "authorization_mode": "automatic",
        "client_secret": intent.client_secret,
        "description": intent.description,
        "failure_code": error.get("decline_code") or error.get("code"),
        "failure_description": error.get("message"),
        "next_action": intent.next_action and dict(intent.next_action),
        "customer": payer if owner.customer else None,
        "customer_id": owner.customer,
        "account": payer if owner.account else None,
        "account_id": owner.account,
        "payment_method": shown.method,
        "payment_method_id": shown.method["id"] if shown.method else None,
        "latest_charge": latest_charge,
        "invoice": intent.invoice_id,
        "subscription": shown.subscription_id,
        "revenue_split": None,
        "shipping": None,
        "metadata": dict(intent.metadata),
        "livemode": livemode,
        "created": seconds(intent.created_at),
        "updated": seconds(intent.canceled_at or intent.paid_at or intent.created_at),
    }
