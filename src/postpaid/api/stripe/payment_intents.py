"""Payment intents: made, confirmed, given up, found, as Stripe has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from postpaid.api.params import (
    Boolean,
    ChargedAmount,
    Currency,
    Id,
    ListOf,
    Metadata,
    Params,
    Text,
    TimeRange,
    Unsettable,
    merge_metadata,
    refuse,
)
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.payment_intent_shapes import render_many
from postpaid.api.stripe.routes import Call, Routes
from postpaid.api.stripe.search import Kind, SearchParams, found_to_stripe, search_from_stripe
from postpaid.billing import confirm as confirming
from postpaid.billing.confirm import Confirming
from postpaid.billing.manage_payment_intents import (
    UNEXPECTED,
    Canceling,
    NewPaymentIntent,
    cancel_payment_intent,
    create_payment_intent,
    finish_canceling,
    update_payment_intent,
)
from postpaid.billing.perform import Act
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.payment_intents import PaymentIntent
from postpaid.core.values import replace
from postpaid.storage import payment_intents
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows

routes = Routes("Payment intents")

SEARCHED: Mapping[str, Kind] = {
    "amount": "number",
    "created": "number",
    "currency": "token",
    "customer": "token",
    "status": "token",
}


def _off_session(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "one_off", "recurring"):
        return True
    if value == "false":
        return False
    raise refuse("Invalid off_session: must be one of true, false, one_off, or recurring")


OffSession = Annotated[bool, BeforeValidator(_off_session)]
Types = ListOf[Annotated[str, Text(50)]]
FutureUsage = Literal["off_session", "on_session"]
Description = Annotated[str, Text(1000)]
Url = Annotated[str, Text(2048)]


class AutomaticPaymentMethods(Params):
    allow_redirects: Literal["always", "never"] | None = None
    enabled: Boolean


class OfferFields(Params):
    """What a client's script may offer: of no effect here, as nothing is chosen for anybody."""

    allowed_payment_method_types: Types | None = None
    payment_method_types: Types | None = None
    use_stripe_sdk: Boolean | None = None


class PaymentIntentCreate(OfferFields):
    amount: ChargedAmount
    currency: Currency
    automatic_payment_methods: AutomaticPaymentMethods | None = None
    capture_method: Literal["automatic", "automatic_async", "manual"] = "automatic"
    confirm: Boolean = False
    confirmation_method: Literal["automatic", "manual"] = "automatic"
    customer: Id | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    off_session: OffSession | None = None
    payment_method: Id | None = None
    return_url: Url | None = None
    setup_future_usage: FutureUsage | None = None


class PaymentIntentUpdate(OfferFields):
    amount: ChargedAmount | None = None
    currency: Currency | None = None
    customer: Id | None = None
    description: Unsettable[Description] = None
    metadata: Metadata | None = None
    payment_method: Id | None = None
    setup_future_usage: Unsettable[FutureUsage] = None


class PaymentIntentConfirm(OfferFields):
    capture_method: Literal["automatic", "automatic_async", "manual"] = "automatic"
    off_session: OffSession = False
    payment_method: Id | None = None
    return_url: Url | None = None
    setup_future_usage: FutureUsage | None = None


class PaymentIntentCancel(Params):
    cancellation_reason: (
        Literal["abandoned", "duplicate", "fraudulent", "requested_by_customer"] | None
    ) = None


class PaymentIntentList(ListParams):
    created: TimeRange | None = None
    customer: Id | None = None


class PaymentIntentRetrieve(Params):
    client_secret: Id | None = None


class PaymentIntentAuthenticate(Params):
    outcome: Literal["succeed", "fail"] = "succeed"


@routes.post("/v1/payment_intents", returns="payment_intent")
def create(call: Call, params: PaymentIntentCreate) -> dict[str, Any]:
    """Create a payment intent of no invoice, and with ``confirm`` pay it at once."""
    _check_methods(params.capture_method, params.confirmation_method)
    for name in ("off_session", "return_url"):
        if getattr(params, name) is not None and not params.confirm:
            raise InvalidRequest(
                f"The parameter {name} is only for when confirm is true.", param=name
            )
    asked = NewPaymentIntent(
        amount=params.amount,
        currency=params.currency,
        customer_id=params.customer,
        payment_method_id=params.payment_method,
        setup_future_usage=params.setup_future_usage,
        description=params.description,
        metadata=merge_metadata({}, params.metadata),
    )
    if not params.confirm:
        return call.write(
            lambda conn: _shown(conn, call.act, create_payment_intent(conn, call.act, asked))
        )

    def begin(conn: Connection) -> Confirming:
        made = create_payment_intent(conn, call.act, asked)
        return confirming.confirm(conn, call.act, made.id, off_session=params.off_session or False)

    return _confirmed(call, begin)


@routes.get("/v1/payment_intents", returns="payment_intent", many=True)
def list_(call: Call, params: PaymentIntentList) -> dict[str, Any]:
    """List payment intents, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def read(conn: Connection) -> dict[str, Any]:
        found = payment_intents.list_page(
            conn,
            call.act.account_id,
            params.page,
            customer_id=params.customer,
            created_from=created_from,
            created_before=created_before,
        )
        shown = render_many(conn, call.act, found.rows)
        return listing("/v1/payment_intents", Rows(shown, found.has_more), lambda each: each)

    return call.read(read)


@routes.get("/v1/payment_intents/search", returns="payment_intent", many=True)
def search(call: Call, params: SearchParams) -> dict[str, Any]:
    """Search payment intents by their fields and metadata, newest first."""
    wanted = search_from_stripe(params.query, SEARCHED)

    def read(conn: Connection) -> dict[str, Any]:
        found, page = found_to_stripe(
            "/v1/payment_intents/search",
            params,
            lambda page: payment_intents.search_page(conn, call.act.account_id, page, wanted),
            lambda each: each.id,
        )
        return page | {"data": render_many(conn, call.act, found)}

    return call.read(read)


@routes.get("/v1/payment_intents/{intent}", returns="payment_intent")
def retrieve(call: Call, params: PaymentIntentRetrieve, intent: str) -> dict[str, Any]:
    """Retrieve a payment intent."""

    def read(conn: Connection) -> dict[str, Any]:
        found = _find(conn, call.act, intent)
        if params.client_secret not in (None, found.client_secret):
            raise InvalidRequest(
                "The client_secret provided does not match the client_secret associated with the "
                "PaymentIntent.",
                param="client_secret",
            )
        return _shown(conn, call.act, found)

    return call.read(read)


@routes.post("/v1/payment_intents/{intent}", returns="payment_intent")
def update(call: Call, params: PaymentIntentUpdate, intent: str) -> dict[str, Any]:
    """Update a payment intent; an invoice's intent takes its amount and its customer from there."""
    renamed = {"customer": "customer_id", "payment_method": "payment_method_id"}
    offered = OfferFields.model_fields
    given = {
        renamed.get(name, name): value
        for name, value in params.given().items()
        if name not in offered
    }

    def change(before: PaymentIntent) -> PaymentIntent:
        fields = dict(given)
        if "metadata" in fields:
            fields["metadata"] = merge_metadata(before.metadata, fields["metadata"])
        return replace(before, **fields)

    return call.write(
        lambda conn: _shown(
            conn,
            call.act,
            update_payment_intent(conn, call.act, intent, change, frozenset(given)),
        )
    )


@routes.post("/v1/payment_intents/{intent}/confirm", returns="payment_intent")
def confirm(call: Call, params: PaymentIntentConfirm, intent: str) -> dict[str, Any]:
    """Pay a payment intent now, its customer being there; a decline is an error."""
    _check_methods(params.capture_method)
    return _confirmed(
        call,
        lambda conn: confirming.confirm(
            conn,
            call.act,
            intent,
            payment_method_id=params.payment_method,
            off_session=params.off_session,
            setup_future_usage=params.setup_future_usage,
        ),
    )


@routes.post("/v1/payment_intents/{intent}/cancel", returns="payment_intent")
def cancel(call: Call, params: PaymentIntentCancel, intent: str) -> dict[str, Any]:
    """Give up a payment intent of no invoice."""

    def begin(conn: Connection) -> dict[str, Any]:
        canceling = cancel_payment_intent(conn, call.act, intent, reason=params.cancellation_reason)
        return {"intent": canceling.intent_id, "attempts": canceling.attempt_ids}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        canceling = Canceling(begun["intent"], begun["attempts"])
        finish_canceling(call.database, call.act, canceling)
        return call.read(lambda conn: _shown(conn, call.act, _find(conn, call.act, intent)))

    return call.write_then(begin, finish)


@routes.post("/v1/payment_intents/{intent}/capture", returns="payment_intent")
def capture(call: Call, intent: str) -> dict[str, Any]:
    """Refused: whatever is confirmed is captured with it."""

    def refused(conn: Connection) -> dict[str, Any]:
        found = _find(conn, call.act, intent)
        raise ActionNotAllowed(
            f"This PaymentIntent could not be captured because it has a status of {found.status}. "
            "Only a PaymentIntent with one of the following statuses may be captured: "
            "requires_capture.",
            code=UNEXPECTED,
        )

    return call.write(refused)


@routes.post("/v1/test_helpers/payment_intents/{intent}/authenticate", returns="payment_intent")
def authenticate(call: Call, params: PaymentIntentAuthenticate, intent: str) -> dict[str, Any]:
    """Do for a test card's customer what the payment intent waits for."""

    def write(conn: Connection) -> dict[str, Any]:
        after = confirming.authenticate(
            conn, call.act, intent, succeeds=params.outcome == "succeed"
        )
        return _shown(conn, call.act, after)

    return call.write(write)


def _check_methods(capture_method: str, confirmation_method: str = "automatic") -> None:
    if capture_method == "manual":
        raise InvalidRequest(
            "A payment is captured when it is confirmed: capture_method must be automatic.",
            param="capture_method",
        )
    if confirmation_method == "manual":
        raise InvalidRequest(
            "Whoever confirms a payment is done with it: confirmation_method must be automatic.",
            param="confirmation_method",
        )


def _confirmed(call: Call, begin: Callable[[Connection], Confirming]) -> dict[str, Any]:
    """Begin in one transaction, ask the gateway after it, and show the intent as it is then."""

    def write(conn: Connection) -> dict[str, Any]:
        begun = begin(conn)
        return {"intent": begun.intent_id, "attempts": begun.attempt_ids}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        begun_by = Confirming(begun["intent"], begun["attempts"])
        confirming.finish_confirming(call.database, call.act, begun_by)
        return call.read(
            lambda conn: _shown(conn, call.act, _find(conn, call.act, begun_by.intent_id))
        )

    return call.write_then(write, finish)


def _find(conn: Connection, act: Act, intent_id: str) -> PaymentIntent:
    found = payment_intents.load(conn, act.account_id, [intent_id])
    if intent_id not in found:
        raise NotFound.of("payment_intent", intent_id, param="intent")
    return found[intent_id]


def _shown(conn: Connection, act: Act, intent: PaymentIntent) -> dict[str, Any]:
    return render_many(conn, act, [intent])[0]
