"""Payment methods as Stripe shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from postpaid.api.instants import seconds
from postpaid.api.params import Id, Metadata, Params, Text, Unsettable, merge_metadata
from postpaid.api.stripe import addresses
from postpaid.api.stripe.addresses import Address
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.payment_means import (
    ExpMonth,
    ExpYear,
    PaymentMethodMeans,
    means_from_stripe,
)
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_payment_methods
from postpaid.billing.check_methods import check_methods
from postpaid.billing.perform import Act
from postpaid.core.errors import NotFound
from postpaid.core.values import replace
from postpaid.storage import customers, payment_methods
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod

routes = Routes("Payment methods")

# The kinds that Stripe has and we have not: each is a key of a payment method, always null.
OTHER_TYPES = """
    acss_debit affirm afterpay_clearpay alipay alma amazon_pay au_becs_debit bacs_debit
    bancontact billie bizum blik boleto card_present cashapp crypto custom eps fpx giropay
    grabpay ideal interac_present kakao_pay klarna konbini kr_card link mb_way mobilepay
    multibanco naver_pay nz_bank_account oxxo p24 pay_by_bank payco paynow paypal paypay payto
    pix promptpay revolut_pay samsung_pay satispay scalapay sepa_debit sequra sofort sunbit
    swish twint upi wechat_pay zip
"""


class BillingDetails(Params):
    address: Unsettable[Address] = None
    email: Unsettable[Annotated[str, Text(512)]] = None
    name: Unsettable[Annotated[str, Text(500)]] = None
    phone: Unsettable[Annotated[str, Text(500)]] = None
    tax_id: Unsettable[Annotated[str, Text(100)]] = None


class CardUpdate(Params):
    exp_month: ExpMonth | None = None
    exp_year: ExpYear | None = None


class PaymentMethodCreate(PaymentMethodMeans):
    billing_details: BillingDetails = BillingDetails()
    metadata: Metadata = None


class PaymentMethodUpdate(Params):
    billing_details: BillingDetails | None = None
    card: CardUpdate | None = None
    metadata: Metadata = None


class PaymentMethodAttach(Params):
    customer: Id


class PaymentMethodListOfCustomer(ListParams):
    type: Annotated[str, Text(50)] | None = None


class PaymentMethodList(PaymentMethodListOfCustomer):
    customer: Id | None = None


@routes.post("/v1/payment_methods", returns="payment_method")
def create(call: Call, params: PaymentMethodCreate) -> dict[str, Any]:
    """Create a payment method of a number, or of a gateway's token; nobody's until attached."""
    means = means_from_stripe(params)
    billing_details = billing_details_from_stripe(params.billing_details, {})

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_payment_methods.create_payment_method(
            conn,
            call.act,
            means,
            billing_details=billing_details,
            metadata=merge_metadata({}, params.metadata),
        )
        return to_stripe(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/payment_methods/{payment_method}", returns="payment_method")
def retrieve(call: Call, payment_method: str) -> dict[str, Any]:
    """Retrieve a payment method."""

    def read(conn: Connection) -> dict[str, Any]:
        found = payment_methods.find(conn, call.act.account_id, payment_method)
        if found is None:
            raise NotFound.of("PaymentMethod", payment_method)
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.post("/v1/payment_methods/{payment_method}", returns="payment_method")
def update(call: Call, params: PaymentMethodUpdate, payment_method: str) -> dict[str, Any]:
    """Update a payment method that is attached to a customer."""

    def change(before: PaymentMethod) -> PaymentMethod:
        fields: dict[str, Any] = {}
        for name, value in params.given().items():
            match name:
                case "billing_details":
                    billing_details = billing_details_from_stripe(value, before.billing_details)
                    fields["billing_details"] = billing_details
                case "card":
                    fields["card"] = {**(before.card or {}), **value.given()}
                case "metadata":
                    fields["metadata"] = merge_metadata(before.metadata, value)
        return replace(before, **fields)

    def write(conn: Connection) -> dict[str, Any]:
        updated = manage_payment_methods.update_payment_method(
            conn, call.act, payment_method, change
        )
        return to_stripe(updated, livemode=call.act.livemode)

    return call.write(write)


@routes.post("/v1/payment_methods/{payment_method}/attach", returns="payment_method")
def attach(call: Call, params: PaymentMethodAttach, payment_method: str) -> dict[str, Any]:
    """Attach a payment method to a customer; of a test card such as ``pm_card_visa``, a new one."""
    check_methods(call.database, call.act, [payment_method])

    def write(conn: Connection) -> dict[str, Any]:
        attached = manage_payment_methods.attach_payment_method(
            conn, call.act, payment_method, params.customer
        )
        return to_stripe(attached, livemode=call.act.livemode)

    return call.write(write)


@routes.post("/v1/payment_methods/{payment_method}/detach", returns="payment_method")
def detach(call: Call, payment_method: str) -> dict[str, Any]:
    """Detach a payment method from its customer."""
    return call.write(
        lambda conn: to_stripe(
            manage_payment_methods.detach_payment_method(conn, call.act, payment_method),
            livemode=call.act.livemode,
        )
    )


@routes.get("/v1/payment_methods", returns="payment_method", many=True)
def list_(call: Call, params: PaymentMethodList) -> dict[str, Any]:
    """List payment methods, newest first."""
    return _list(call, params, "/v1/payment_methods", customer_id=params.customer)


@routes.get("/v1/customers/{customer}/payment_methods", returns="payment_method", many=True)
def list_of_customer(
    call: Call, params: PaymentMethodListOfCustomer, customer: str
) -> dict[str, Any]:
    """List a customer's payment methods, newest first."""
    url = f"/v1/customers/{customer}/payment_methods"
    return _list(call, params, url, customer_id=customer)


@routes.get("/v1/customers/{customer}/payment_methods/{payment_method}", returns="payment_method")
def retrieve_of_customer(call: Call, customer: str, payment_method: str) -> dict[str, Any]:
    """Retrieve a customer's payment method."""

    def read(conn: Connection) -> dict[str, Any]:
        _check_customer(conn, call.act, customer)
        found = payment_methods.find(conn, call.act.account_id, payment_method)
        if found is None or found.customer_id != customer:
            raise NotFound.of("PaymentMethod", payment_method, param="payment_method")
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


def _list(
    call: Call, params: PaymentMethodListOfCustomer, url: str, *, customer_id: str | None
) -> dict[str, Any]:
    def read(conn: Connection) -> dict[str, Any]:
        if customer_id is not None:
            _check_customer(conn, call.act, customer_id)
        found = payment_methods.list_page(
            conn,
            call.act.account_id,
            params.page,
            customer_id=customer_id,
            type=params.type,
        )
        return listing(url, found, lambda each: to_stripe(each, livemode=call.act.livemode))

    return call.read(read)


def _check_customer(conn: Connection, act: Act, customer_id: str) -> None:
    customer = customers.find(conn, act.account_id, customer_id)
    if customer is None or customer.deleted_at is not None:
        raise NotFound.of("customer", customer_id, param="customer")


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def billing_details_from_stripe(
    params: BillingDetails, before: Mapping[str, Any]
) -> dict[str, Any]:
    """The details ``before`` with those that are given; an address is given whole."""
    given = params.given()
    if "address" in given:
        given["address"] = addresses.from_stripe(given["address"])
    return {**before, **given}


def to_stripe(method: PaymentMethod, *, livemode: bool) -> dict[str, Any]:
    details = method.billing_details
    return {
        "id": method.id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": details.get("address") or addresses.from_stripe(Address()),
            "email": details.get("email"),
            "name": details.get("name"),
            "phone": details.get("phone"),
            "tax_id": details.get("tax_id"),
        },
        "card": None if method.card is None else _card_to_stripe(method.card),
        "created": seconds(method.created_at),
        "customer": method.customer_id,
        "customer_account": None,
        "customer_balance": {} if method.type == "customer_balance" else None,
        "livemode": livemode,
        "metadata": method.metadata,
        "radar_options": None,
        "type": method.type,
        "us_bank_account": None
        if method.us_bank_account is None
        else _bank_account_to_stripe(method.us_bank_account),
        **dict.fromkeys(OTHER_TYPES.split()),
    }


def _bank_account_to_stripe(account: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **account,
        "financial_connections_account": None,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "status_details": None,
    }


def _card_to_stripe(card: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "brand": card["brand"],
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": None,
        },
        "country": card["country"],
        "description": None,
        "display_brand": _DISPLAY_BRANDS.get(card["brand"], card["brand"]),
        "exp_month": card["exp_month"],
        "exp_year": card["exp_year"],
        "fingerprint": card["fingerprint"],
        "funding": card["funding"],
        "generated_from": None,
        "iin": None,
        "issuer": None,
        "last4": card["last4"],
        "networks": {"available": [card["brand"]], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


_DISPLAY_BRANDS = {"amex": "american_express", "diners": "diners_club", "unionpay": "union_pay"}


@loader("payment_method")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = payment_methods.load(conn, act.account_id, ids)
    return {key: to_stripe(each, livemode=act.livemode) for key, each in found.items()}


expandable("payment_method", "customer", load="customer")
