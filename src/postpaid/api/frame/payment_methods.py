"""Payment methods, as Frame shows them: cards, and bank accounts by ACH."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from postpaid.api.frame import addresses
from postpaid.api.frame.addresses import Address
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import FrameParams, ListParams, Payer
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import Owner, owners
from postpaid.api.instants import seconds
from postpaid.api.params import Id, Integer, Text, Unsettable, refuse
from postpaid.billing import block, manage_payment_methods
from postpaid.billing.check_methods import check_means, check_methods
from postpaid.billing.manage_payment_methods import KnownToGateway, NewBankAccount, NewCard
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest, NotFound, PaymentFailed
from postpaid.core.values import replace
from postpaid.storage import customers, payment_methods
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod

routes = Routes("Payment methods")

# Frame's word for what the engine calls it.
TYPES = {"ach": "us_bank_account"}
WORDS = {word: type for type, word in TYPES.items()}

NO_TEST_CARD = "Card submitted is not a test card"


# ─── Parameters ──────────────────────────────────────────────────────────────────────────────


def _digits(text: str) -> str:
    digits = re.sub("[ -]", "", text)
    if not re.fullmatch("[0-9]{12,19}", digits):
        raise refuse("Invalid card number: it has 12 to 19 digits")
    return digits


def _few_digits(text: str) -> str:
    if not re.fullmatch("[0-9]{3,4}", text):
        raise refuse("Invalid security code: it has three or four digits")
    return text


def _last_four(text: str) -> str:
    if not re.fullmatch("[0-9]{4}", text):
        raise refuse("Invalid last_four: it has four digits")
    return text


def _whole_year(value: Any) -> Any:
    """``"26"`` is 2026, as it is printed on cards."""
    if isinstance(value, str) and re.fullmatch("[0-9]{2}", value):
        return f"20{value}"
    return value


def _or_digits(low: int, high: int) -> WithJsonSchema:
    """Frame writes them as text; a number is taken, too."""
    number = {"type": "integer", "minimum": low, "maximum": high}
    return WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^[0-9]+$"}, number]})


ExpMonth = Annotated[int, Integer(1, 12), _or_digits(1, 12)]
ExpYear = Annotated[int, Integer(1970, 2199), BeforeValidator(_whole_year), _or_digits(1970, 2199)]
LastFour = Annotated[str, Text(4), AfterValidator(_last_four)]


class Card(FrameParams):
    """Ours: what may be shown of a card that a gateway knows."""

    brand: Annotated[str, Text(50)] | None = None
    last_four: LastFour
    exp_month: ExpMonth
    exp_year: ExpYear


class Ach(FrameParams):
    """Ours: what may be shown of a bank account that a gateway knows."""

    bank_name: Annotated[str, Text(100)] | None = None
    last_four: LastFour
    account_type: Literal["checking", "savings"] = "checking"


class PaymentMethodCreate(Payer):
    type: Literal["card", "ach"]
    card_number: Annotated[str, Text(40), AfterValidator(_digits)] | None = None
    exp_month: ExpMonth | None = None
    exp_year: ExpYear | None = None
    cvc: Annotated[str, Text(4), AfterValidator(_few_digits)] | None = None
    account_type: Literal["checking", "savings"] = "checking"
    account_number: Annotated[str, Text(40)] | None = None
    routing_number: Annotated[str, Text(9)] | None = None
    billing: Unsettable[Address] = None
    # Ours: a gateway of the merchant's, and what it calls the payment method.
    gateway: Id | None = None
    gateway_token: Id | None = None
    card: Card | None = None
    ach: Ach | None = None


class PaymentMethodUpdate(FrameParams):
    billing: Unsettable[Address] = None
    exp_month: ExpMonth | None = None
    exp_year: ExpYear | None = None


class PaymentMethodListOfOne(ListParams):
    type: Literal["card", "ach"] | None = None


class PaymentMethodList(PaymentMethodListOfOne, Payer):
    pass


# ─── Routes ──────────────────────────────────────────────────────────────────────────────────


@routes.post("/v1/payment_methods", status=201)
def create(call: Call, params: PaymentMethodCreate) -> dict[str, Any]:
    """Create a payment method, and attach it where a customer or an account is given.

    By its number in the sandbox; anywhere by what a gateway calls it.
    """
    means = means_from_frame(params, livemode=call.act.livemode)
    owner_id = params.payer_id
    billing_details = {"address": addresses.from_frame(params.billing)}

    def write(conn: Connection) -> dict[str, Any]:
        made = manage_payment_methods.create_payment_method(
            conn, call.act, means, billing_details=billing_details, metadata={}
        )
        if owner_id is not None:
            made = manage_payment_methods.attach_payment_method(conn, call.act, made.id, owner_id)
        return _shown(conn, call.act, made)

    try:
        if owner_id is not None and not isinstance(means, KnownToGateway):
            check_means(call.database, call.act, means)
        return call.write(write)
    except PaymentFailed as error:
        raise _refused(error) from error
    except InvalidRequest as error:
        if error.param == ("us_bank_account", "account_number"):
            raise InvalidRequest(error.message, param="account_number") from error
        raise


@routes.post("/v1/payment_methods/connect_plaid")
def connect_plaid(call: Call) -> dict[str, Any]:
    """Refuse to connect a bank account through Plaid, which is not available here."""
    raise InvalidRequest(
        "Plaid is not available here. Create a payment method of type ach with its account_number "
        "and routing_number, or with what a gateway calls it.",
        code="not_available",
    )


@routes.get("/v1/payment_methods")
def list_(call: Call, params: PaymentMethodList) -> dict[str, Any]:
    """List payment methods, newest first: all, a customer's or an account's."""
    return list_of(call, params, "/v1/payment_methods", owner_id=params.payer_id)


@routes.get("/v1/payment_methods/{payment_method}")
def retrieve(call: Call, payment_method: str) -> dict[str, Any]:
    """Retrieve a payment method."""

    def read(conn: Connection) -> dict[str, Any]:
        found = payment_methods.find(conn, call.act.account_id, payment_method)
        if found is None:
            raise NotFound.of("payment method", payment_method)
        return _shown(conn, call.act, found)

    return call.read(read)


@routes.patch("/v1/payment_methods/{payment_method}")
def update(call: Call, params: PaymentMethodUpdate, payment_method: str) -> dict[str, Any]:
    """Update an attached payment method's billing address, or when its card expires."""

    def change(before: PaymentMethod) -> PaymentMethod:
        fields: dict[str, Any] = {}
        card: dict[str, Any] = {}
        for name, value in params.given().items():
            if name == "billing":
                address = addresses.from_frame(value)
                fields["billing_details"] = {**before.billing_details, "address": address}
            elif value is not None:
                card[name] = value
        if card and before.card is None:
            raise InvalidRequest("Only a card expires.", param=next(iter(card)))
        if card:
            fields["card"] = {**(before.card or {}), **card}
        return replace(before, **fields)

    def write(conn: Connection) -> dict[str, Any]:
        updated = manage_payment_methods.update_payment_method(
            conn, call.act, payment_method, change
        )
        return _shown(conn, call.act, updated)

    return call.write(write)


@routes.post("/v1/payment_methods/{payment_method}/attach")
def attach(call: Call, params: Payer, payment_method: str) -> dict[str, Any]:
    """Attach a payment method to a customer or an account."""
    owner_id = params.required_payer_id
    check_methods(call.database, call.act, [payment_method])

    def write(conn: Connection) -> dict[str, Any]:
        attached = manage_payment_methods.attach_payment_method(
            conn, call.act, payment_method, owner_id
        )
        return _shown(conn, call.act, attached)

    return call.write(write)


@routes.post("/v1/payment_methods/{payment_method}/detach")
def detach(call: Call, payment_method: str) -> dict[str, Any]:
    """Detach a payment method from its owner."""

    def write(conn: Connection) -> dict[str, Any]:
        detached = manage_payment_methods.detach_payment_method(conn, call.act, payment_method)
        return _shown(conn, call.act, detached)

    return call.write(write)


@routes.post("/v1/payment_methods/{payment_method}/block")
def block_(call: Call, payment_method: str) -> dict[str, Any]:
    """Block a payment method: it is not charged until it is unblocked."""
    return _block(call, payment_method, blocked=True)


@routes.post("/v1/payment_methods/{payment_method}/unblock")
def unblock(call: Call, payment_method: str) -> dict[str, Any]:
    """Unblock a payment method."""
    return _block(call, payment_method, blocked=False)


def _block(call: Call, method_id: str, *, blocked: bool) -> dict[str, Any]:
    def write(conn: Connection) -> dict[str, Any]:
        after = block.block_payment_method(conn, call.act, method_id, blocked=blocked)
        return _shown(conn, call.act, after)

    return call.write(write)


def list_of(
    call: Call, params: PaymentMethodListOfOne, url: str, *, owner_id: str | None
) -> dict[str, Any]:
    """A page of payment methods: everybody's, or one owner's. Raises ``NotFound`` for nobody."""

    def read(conn: Connection) -> dict[str, Any]:
        if owner_id is not None:
            owner = customers.find(conn, call.act.account_id, owner_id)
            if owner is None or (owner.deleted_at is not None and owner.profile is None):
                raise NotFound.of("customer", owner_id, param="customer")
        rows = payment_methods.list_page(
            conn,
            call.act.account_id,
            params.rows,
            customer_id=owner_id,
            type=TYPES.get(params.type or "", params.type),
        )
        return listing(
            url,
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="payment_methods",
        )

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def means_from_frame(
    params: PaymentMethodCreate, *, livemode: bool
) -> NewCard | NewBankAccount | KnownToGateway:
    """What is to be a payment method. Raises ``InvalidRequest`` where something of it is not."""
    typed = [
        name for name in ("card_number", "account_number") if getattr(params, name) is not None
    ]
    if params.gateway is not None or params.gateway_token is not None:
        if typed:
            raise InvalidRequest(
                f"Only one of gateway_token and {typed[0]} may be given.", param=typed[0]
            )
        return _known_to_gateway(params)
    if livemode:
        raise InvalidRequest(
            "Numbers are taken in the sandbox only. Give the gateway_token by which the gateway "
            "that charges it knows the payment method.",
            param=typed[0] if typed else "gateway_token",
        )
    if params.type == "ach":
        return NewBankAccount(
            routing_number=_given(params, "routing_number"),
            number=_given(params, "account_number"),
            account_type=params.account_type,
        )
    return NewCard(
        number=_given(params, "card_number"),
        exp_month=_given(params, "exp_month"),
        exp_year=_given(params, "exp_year"),
    )


def _known_to_gateway(params: PaymentMethodCreate) -> KnownToGateway:
    token = _given(params, "gateway_token")
    if params.type == "ach":
        account: Ach = _given(params, "ach")
        shown: dict[str, Any] = {
            "last4": account.last_four,
            "routing_number": None,
            "fingerprint": None,
            "bank_name": account.bank_name,
            "account_type": account.account_type,
            "account_holder_type": "individual",
        }
    else:
        card: Card = _given(params, "card")
        shown = {
            "brand": (card.brand or "unknown").lower(),
            "country": None,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "fingerprint": None,
            "funding": "unknown",
            "last4": card.last_four,
        }
    return KnownToGateway(TYPES.get(params.type, params.type), params.gateway, token, shown)


def _given(params: PaymentMethodCreate, name: str) -> Any:
    value = getattr(params, name)
    if value is None:
        raise InvalidRequest(f"Missing required param: {name}.", param=name)
    return value


def _refused(error: PaymentFailed) -> InvalidRequest | PaymentFailed:
    """What is wrong with what was typed, by Frame's parameter; or that the card was declined."""
    if error.decline_code is not None and error.decline_code != "test_mode_live_card":
        return error
    match error.code:
        case "card_declined" | "incorrect_number":
            return InvalidRequest(NO_TEST_CARD, param="card_number")
        case "invalid_expiry_month" | "invalid_expiry_year":
            return InvalidRequest(error.message, param=error.code.replace("invalid_expiry", "exp"))
    return error


def _shown(conn: Connection, act: Act, method: PaymentMethod) -> dict[str, Any]:
    return render_many(conn, act, [method])[0]


def render_many(conn: Connection, act: Act, shown: Sequence[PaymentMethod]) -> list[dict[str, Any]]:
    of = owners(conn, act.account_id, {each.customer_id for each in shown})
    return [to_frame(each, of[each.customer_id], livemode=act.livemode) for each in shown]


def to_frame(method: PaymentMethod, owner: Owner, *, livemode: bool) -> dict[str, Any]:
    """A payment method, and whose it is."""
    return {
        "id": method.id,
        "object": "payment_method",
        "type": WORDS.get(method.type, method.type),
        "status": _status(method),
        **owner.keys,
        "billing": addresses.to_frame(method.billing_details.get("address")),
        "card": None if method.card is None else _card_to_frame(method.card),
        "ach": None if method.us_bank_account is None else _ach_to_frame(method.us_bank_account),
        "livemode": livemode,
        "created": seconds(method.created_at),
        "updated": seconds(method.created_at),
    }


def _status(method: PaymentMethod) -> str:
    if method.blocked_at is not None:
        return "blocked"
    return "active" if method.detached_at is None else "detached"


def _card_to_frame(card: Mapping[str, Any]) -> dict[str, Any]:
    month = card["exp_month"]
    funding = card.get("funding")
    return {
        "brand": card["brand"],
        "last_four": card["last4"],
        "exp_month": None if month is None else f"{month:02d}",
        "exp_year": None if card["exp_year"] is None else str(card["exp_year"]),
        "issuer": None,
        "currency": None,
        "segment": None,
        "type": None if funding == "unknown" else funding,
    }


def _ach_to_frame(account: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bank_name": account.get("bank_name"),
        "last_four": account.get("last4"),
        "account_type": account.get("account_type"),
    }
