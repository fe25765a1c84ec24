"""Setup intents: payment methods seen to before they are charged."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Len

from postpaid.api.calls import Object
from postpaid.api.params import (
    Boolean,
    Id,
    Metadata,
    Params,
    Text,
    TimeRange,
    Timestamp,
    Unsettable,
    merge_metadata,
)
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.api.stripe.setup_intent_shapes import render_attempts, render_many
from postpaid.billing import manage_setup_intents, set_up
from postpaid.billing.set_up import Confirming
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.setup_intents import SetupIntent, SetupUsage
from postpaid.storage import setup_attempts, setup_intents
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows

routes = Routes("Setup intents")

URL = "/v1/setup_intents"

Types = Annotated[list[Literal["card", "us_bank_account", "customer_balance"]], Len(1, 3)]


class AutomaticPaymentMethods(Params):
    allow_redirects: Literal["always", "never"] = "always"
    enabled: Boolean


class OnlineAcceptance(Params):
    ip_address: Annotated[str, Text(45)]
    user_agent: Annotated[str, Text(1000)]


class CustomerAcceptance(Params):
    accepted_at: Timestamp | None = None
    offline: Params | None = None
    online: OnlineAcceptance | None = None
    type: Literal["offline", "online"]


class MandateData(Params):
    """That the customer has agreed to be debited; banks ask merchants to keep it."""

    customer_acceptance: CustomerAcceptance


class Confirmation(Params):
    mandate_data: MandateData | None = None
    payment_method: Id | None = None
    return_url: Annotated[str, Text(2048)] | None = None
    use_stripe_sdk: Boolean = False


class SetupIntentCreate(Confirmation):
    automatic_payment_methods: AutomaticPaymentMethods | None = None
    confirm: Boolean = False
    customer: Id | None = None
    description: Annotated[str, Text(1000)] | None = None
    metadata: Metadata = None
    payment_method_types: Types | None = None
    usage: SetupUsage = SetupUsage.OFF_SESSION


class SetupIntentUpdate(Params):
    customer: Id | None = None
    description: Unsettable[Annotated[str, Text(1000)]] = None
    metadata: Metadata = None
    payment_method: Unsettable[Id] = None
    payment_method_types: Types | None = None


class SetupIntentCancel(Params):
    cancellation_reason: Literal["abandoned", "duplicate", "requested_by_customer"] | None = None


class SetupIntentList(ListParams):
    created: TimeRange | None = None
    customer: Id | None = None
    payment_method: Id | None = None


class SetupAttemptList(ListParams):
    created: TimeRange | None = None
    setup_intent: Id


class Authenticate(Params):
    outcome: Literal["fail", "succeed"] = "succeed"


@routes.post(URL, returns="setup_intent")
def create(call: Call, params: SetupIntentCreate) -> Object:
    """Create a setup intent, and confirm it if told to."""
    automatic = params.automatic_payment_methods
    if automatic and automatic.enabled and params.payment_method_types:
        raise InvalidRequest(
            "You may only specify one of these parameters: automatic_payment_methods, "
            "payment_method_types.",
            param="payment_method_types",
            code="parameters_exclusive",
        )
    if not params.confirm:
        for name in ("mandate_data", "return_url"):
            if getattr(params, name) is not None:
                raise InvalidRequest(
                    f"You may only specify {name} when you confirm the SetupIntent.", param=name
                )

    def add(conn: Connection) -> SetupIntent:
        return manage_setup_intents.create_setup_intent(
            conn,
            call.act,
            customer_id=params.customer,
            payment_method_id=params.payment_method,
            payment_method_types=params.payment_method_types,
            usage=params.usage,
            description=params.description,
            metadata=merge_metadata({}, params.metadata),
        )

    if not params.confirm:
        return call.write(lambda conn: _shown(conn, call, add(conn)))
    return _confirmed(call, lambda conn: set_up.confirm(conn, call.act, add(conn).id))


@routes.get(URL + "/{setup_intent}", returns="setup_intent")
def retrieve(call: Call, setup_intent: str) -> Object:
    """Retrieve a setup intent."""
    return call.read(lambda conn: _one(conn, call, setup_intent))


@routes.post(URL + "/{setup_intent}", returns="setup_intent")
def update(call: Call, params: SetupIntentUpdate, setup_intent: str) -> Object:
    """Update a setup intent: whose it is, what is set up, and what you note about it."""
    given = params.given()
    changed = {
        {"customer": "customer_id", "payment_method": "payment_method_id"}.get(name, name): value
        for name, value in given.items()
        if name != "metadata"
    }

    def write(conn: Connection) -> Object:
        fields = dict(changed)
        if "metadata" in given:
            before = setup_intents.load(conn, call.act.account_id, [setup_intent])
            had = before[setup_intent].metadata if setup_intent in before else {}
            fields["metadata"] = merge_metadata(had, given["metadata"])
        return _shown(
            conn,
            call,
            manage_setup_intents.update_setup_intent(conn, call.act, setup_intent, fields),
        )

    return call.write(write)


@routes.post(URL + "/{setup_intent}/confirm", returns="setup_intent")
def confirm(call: Call, params: Confirmation, setup_intent: str) -> Object:
    """Confirm a setup intent: the gateway is asked whether the payment method can be charged."""
    return _confirmed(
        call,
        lambda conn: set_up.confirm(
            conn, call.act, setup_intent, payment_method_id=params.payment_method
        ),
    )


@routes.post(URL + "/{setup_intent}/cancel", returns="setup_intent")
def cancel(call: Call, params: SetupIntentCancel, setup_intent: str) -> Object:
    """Cancel a setup intent that has not come to an end."""
    return call.write(
        lambda conn: _shown(
            conn,
            call,
            manage_setup_intents.cancel_setup_intent(
                conn, call.act, setup_intent, reason=params.cancellation_reason
            ),
        )
    )


@routes.get(URL, returns="setup_intent", many=True)
def list_(call: Call, params: SetupIntentList) -> Object:
    """List setup intents, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def read(conn: Connection) -> Object:
        found = setup_intents.list_page(
            conn,
            call.act.account_id,
            params.page,
            customer_id=params.customer,
            payment_method_id=params.payment_method,
            created_from=created_from,
            created_before=created_before,
        )
        shown = render_many(conn, call.act, found.rows)
        return listing(URL, Rows(shown, found.has_more), lambda each: each)

    return call.read(read)


@routes.get("/v1/setup_attempts", returns="setup_attempt", many=True)
def list_attempts(call: Call, params: SetupAttemptList) -> Object:
    """List the attempts at a setup intent, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def read(conn: Connection) -> Object:
        if not setup_intents.load(conn, call.act.account_id, [params.setup_intent]):
            raise NotFound.of("setup_intent", params.setup_intent, param="setup_intent")
        found = setup_attempts.list_page(
            conn,
            call.act.account_id,
            params.page,
            setup_intent_id=params.setup_intent,
            created_from=created_from,
            created_before=created_before,
        )
        shown = render_attempts(conn, call.act, found.rows)
        return listing("/v1/setup_attempts", Rows(shown, found.has_more), lambda each: each)

    return call.read(read)


@routes.post("/v1/test_helpers/setup_intents/{setup_intent}/authenticate", returns="setup_intent")
def authenticate(call: Call, params: Authenticate, setup_intent: str) -> Object:
    """Act as the holder of a test card who is asked who they are. Ours, for tests."""

    def write(conn: Connection) -> Object:
        set_up.authenticate(conn, call.act, setup_intent, succeeds=params.outcome == "succeed")
        return _one(conn, call, setup_intent)

    return call.write(write)


def _confirmed(call: Call, begin: Any) -> Object:
    """The setup intent once the gateway was asked; a decline is an error that has it."""

    def write(conn: Connection) -> Object:
        confirming: Confirming = begin(conn)
        return {"setup_intent": confirming.intent_id, "attempt": confirming.attempt_id}

    def finish(begun: Object) -> Object:
        confirming = Confirming(begun["setup_intent"], begun["attempt"])
        set_up.finish_confirming(call.database, call.act, confirming)
        return call.read(lambda conn: _one(conn, call, confirming.intent_id))

    return call.write_then(write, finish)


def _one(conn: Connection, call: Call, intent_id: str) -> Object:
    found = setup_intents.load(conn, call.act.account_id, [intent_id])
    if intent_id not in found:
        raise NotFound.of("setup_intent", intent_id)
    return _shown(conn, call, found[intent_id])


def _shown(conn: Connection, call: Call, intent: SetupIntent) -> Object:
    return render_many(conn, call.act, [intent])[0]
