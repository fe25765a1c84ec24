"""Payment records as Stripe shows them: money that came some other way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

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
    merge_metadata,
)
from postpaid.api.stripe import addresses
from postpaid.api.stripe.addresses import Address
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import record_payments
from postpaid.billing.perform import Act
from postpaid.billing.record_payments import BANK_TRANSFER, NewPaymentRecord
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.payment_records import PaymentRecord
from postpaid.storage import payment_records
from postpaid.storage.database import Connection

routes = Routes("Payment records")

# The kinds of payment that Stripe has and we do not tell apart: each is a key, always null.
OTHER_KINDS = """
    ach_credit_transfer ach_debit acss_debit affirm afterpay_clearpay alipay alma amazon_pay
    au_becs_debit bacs_debit bancontact billie bizum blik boleto card card_present cashapp crypto
    customer_balance eps fpx giropay grabpay ideal interac_present kakao_pay klarna konbini kr_card
    link mb_way mobilepay momo multibanco naver_pay nz_bank_account oxxo p24 pay_by_bank payco
    paynow paypal paypay payto pix promptpay revolut_pay samsung_pay satispay scalapay
    sepa_credit_transfer sepa_debit sequra sofort stripe_account sunbit swish twint upi
    us_bank_account wechat wechat_pay zip
"""


class AmountRequested(Params):
    currency: Currency
    value: Annotated[int, Integer(1, AMOUNT_MAX)]


class CustomMethod(Params):
    display_name: Annotated[str, Text(100)] | None = None
    type: Annotated[str, Text(100)] | None = None


class MethodDetails(Params):
    custom: CustomMethod | None = None
    type: Literal["custom"] = "custom"


class CustomerDetails(Params):
    customer: Id | None = None
    email: Annotated[str, Text(512)] | None = None
    name: Annotated[str, Text(256)] | None = None
    phone: Annotated[str, Text(20)] | None = None


class Guaranteed(Params):
    guaranteed_at: Timestamp


class CustomProcessor(Params):
    payment_reference: Annotated[str, Text(200)]


class ProcessorDetails(Params):
    custom: CustomProcessor | None = None
    type: Literal["custom"] = "custom"


class ReportPayment(Params):
    amount_requested: AmountRequested
    customer_details: CustomerDetails | None = None
    customer_presence: Literal["off_session", "on_session"] | None = None
    description: Annotated[str, Text(500)] | None = None
    guaranteed: Guaranteed | None = None
    initiated_at: Timestamp
    metadata: Metadata = None
    outcome: Literal["canceled", "failed", "guaranteed"] | None = None
    payment_method_details: MethodDetails
    processor_details: ProcessorDetails | None = None


@routes.post("/v1/payment_records/report_payment", returns="payment_record")
def report_payment(call: Call, params: ReportPayment) -> dict[str, Any]:
    """Report money that came some other way; attach it to an invoice afterwards."""
    if params.outcome != "guaranteed":
        raise InvalidRequest(
            "Only money that has come can be reported: give the `outcome` guaranteed.",
            param="outcome",
        )
    if params.guaranteed is None:
        raise InvalidRequest(
            "Missing required param: guaranteed.", param="guaranteed", code="parameter_missing"
        )
    who = params.customer_details
    method = params.payment_method_details.custom
    processor = params.processor_details
    came = NewPaymentRecord(
        amount=params.amount_requested.value,
        currency=params.amount_requested.currency,
        paid_at=params.guaranteed.guaranteed_at,
        method=(method and (method.display_name or method.type)) or BANK_TRANSFER,
        reference=processor.custom.payment_reference if processor and processor.custom else None,
        customer_id=who.customer if who else None,
        customer_details={key: value for key, value in who.given().items() if key != "customer"}
        if who
        else None,
        customer_presence=params.customer_presence,
        description=params.description,
        metadata=merge_metadata({}, params.metadata),
    )
    return call.write(
        lambda conn: to_stripe(
            record_payments.report_payment(conn, call.act, came), livemode=call.act.livemode
        )
    )


@routes.get("/v1/payment_records/{payment_record}", returns="payment_record")
def retrieve(call: Call, payment_record: str) -> dict[str, Any]:
    """Retrieve a payment record."""

    def read(conn: Connection) -> dict[str, Any]:
        found = payment_records.load(conn, call.act.account_id, [payment_record])
        if payment_record not in found:
            raise NotFound.of("payment_record", payment_record)
        return to_stripe(found[payment_record], livemode=call.act.livemode)

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(record: PaymentRecord, *, livemode: bool) -> dict[str, Any]:
    """The payment record: all of it came, since else it is not reported."""
    came = {"currency": record.currency, "value": record.amount}
    none = {"currency": record.currency, "value": 0}
    return {
        "id": record.id,
        "object": "payment_record",
        "amount": came,
        "amount_authorized": none,
        "amount_canceled": none,
        "amount_failed": none,
        "amount_guaranteed": came,
        "amount_refunded": none,
        "amount_requested": came,
        "application": None,
        "created": seconds(record.created_at),
        "customer_details": _customer_details(record),
        "customer_presence": record.customer_presence,
        "description": record.description,
        "latest_payment_attempt_record": None,
        "livemode": livemode,
        "metadata": dict(record.metadata),
        "payment_method_details": {
            "billing_details": {
                "address": addresses.from_stripe(Address()),
                "email": None,
                "name": None,
                "phone": None,
            },
            "custom": {"display_name": record.method, "type": None},
            "payment_method": None,
            "type": "custom",
            **dict.fromkeys(OTHER_KINDS.split()),
        },
        "processor_details": {
            "custom": {"payment_reference": record.reference},
            "type": "custom",
        },
        "reported_by": "self",
        "shipping_details": None,
    }


def _customer_details(record: PaymentRecord) -> dict[str, Any] | None:
    said = record.customer_details or {}
    if not said and record.customer_id is None:
        return None
    return {"customer": record.customer_id} | {
        key: said.get(key) for key in ("email", "name", "phone")
    }


@loader("payment_record")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = payment_records.load(conn, act.account_id, ids)
    return {key: to_stripe(each, livemode=act.livemode) for key, each in found.items()}


expandable("invoice_payment", "payment.payment_record", load="payment_record")
