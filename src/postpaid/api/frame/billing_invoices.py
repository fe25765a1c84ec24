"""Billing invoices: a customer's usage of some time, billed and charged in one request, as Frame's.

What is made is an invoice like any other: it is read, and paid again, where invoices are.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from annotated_types import MaxLen

from postpaid.api.frame import invoice_shapes
from postpaid.api.frame.invoices import Collection, LineItem
from postpaid.api.frame.params import Metadata, Payer, When, merge_metadata, through
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.params import Id, Integer, Text, Unsettable
from postpaid.billing import bill_usage
from postpaid.billing.bill_usage import Bought, NewBillingInvoice
from postpaid.billing.pay import Paying, finish_paying
from postpaid.core.errors import InvalidRequest
from postpaid.storage import invoices
from postpaid.storage.database import Connection

routes = Routes("Billing invoices")

LINE_ITEMS_MAX = 100


class BillingInvoiceCreate(Payer):
    start_date: When
    end_date: When
    collection_method: Collection | None = None
    payment_method: Unsettable[Id] = None
    net_terms: Annotated[int, Integer(0, 730)] | None = None
    description: Unsettable[Annotated[str, Text(1500)]] = None
    line_items: Annotated[list[LineItem], MaxLen(LINE_ITEMS_MAX)] | None = None
    metadata: Metadata = None


@routes.post("/v1/billing/billing_invoice", status=201)
def create(call: Call, params: BillingInvoiceCreate) -> dict[str, Any]:
    """Bill what a customer has used from start_date to end_date, and charge it or ask for it.

    Nothing is billed twice: of the time that is asked for, what is billed already is left out.
    """
    asked = from_frame(params)

    def begin(conn: Connection) -> dict[str, Any]:
        [paying] = bill_usage.bill_usage(conn, call.act, [asked])
        return {"invoice": paying.invoice_id, "attempts": paying.attempt_ids}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        paying = Paying(begun["invoice"], begun["attempts"])
        finish_paying(call.database, call.act, paying, declines_raise=False)
        return call.read(lambda conn: _one(conn, call, paying.invoice_id))

    return call.write_then(begin, finish)


@routes.post("/v1/billing/invoices", status=201)
def create_as_before(call: Call, params: BillingInvoiceCreate) -> dict[str, Any]:
    """The same, where Frame had it before."""
    return create(call, params)


def from_frame(params: BillingInvoiceCreate) -> NewBillingInvoice:
    """What is asked for, in the engine's words. Raises ``InvalidRequest``.

    Without a collection method it is charged where there is a payment method to charge.
    """
    charged = params.collection_method == Collection.AUTO_CHARGE or (
        params.collection_method is None and params.payment_method is not None
    )
    if charged and params.payment_method is None:
        raise InvalidRequest(
            "Missing required param: payment_method; auto_charge needs it.", param="payment_method"
        )
    if charged and params.net_terms:
        raise InvalidRequest(
            "net_terms can only be given with the collection_method request_payment: auto_charge "
            "charges at once.",
            param="net_terms",
        )
    return NewBillingInvoice(
        customer_id=params.required_payer_id,
        start=params.start_date,
        end=through(params.end_date),
        payment_method_id=params.payment_method,
        days_until_due=None if charged else params.net_terms or 0,
        description=params.description,
        metadata=merge_metadata({}, params.metadata or {}),
        bought=[
            Bought(
                each.product,
                Decimal(each.quantity),
                merge_metadata({}, each.metadata or {}),
                ("line_items", place),
            )
            for place, each in enumerate(params.line_items or ())
        ],
    )


def _one(conn: Connection, call: Call, invoice_id: str) -> dict[str, Any]:
    found = invoices.load(conn, call.act.account_id, [invoice_id])
    return invoice_shapes.render_flat(conn, call.act, list(found.values()))[0]
