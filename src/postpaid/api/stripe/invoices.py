"""Invoices and their lines as Stripe shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Len

from postpaid.api.stripe.expand import expandable, includable, loader, nested
from postpaid.api.stripe.lists import listing, seconds
from postpaid.api.stripe.params import Boolean, Currency, Id, ListParams, Params, TimeRange
from postpaid.api.stripe.routes import Call, Routes
from postpaid.api.stripe.subscriptions import BillingModeParam, ItemCreate, SubscriptionCreate
from postpaid.api.stripe.subscriptions import from_stripe as subscription_from_stripe
from postpaid.billing import close_periods, correct, subscribe
from postpaid.billing import pay as payment
from postpaid.billing.finalize import recipient
from postpaid.billing.pay import Paying
from postpaid.billing.perform import Act
from postpaid.core.errors import BillingError, InvalidRequest, NotFound
from postpaid.core.invoicing import BillingReason, Invoice, InvoiceStatus, Line
from postpaid.core.money import plain
from postpaid.core.subscriptions import CollectionMethod
from postpaid.core.values import replace
from postpaid.storage import customers, invoices, subscriptions
from postpaid.storage.database import Connection
from postpaid.storage.paging import Page, Rows

routes = Routes("Invoices")

EMBEDDED_LINES_MAX = 10  # Stripe: the rest are at /v1/invoices/{id}/lines


class InvoiceList(ListParams):
    collection_method: CollectionMethod | None = None
    created: TimeRange | None = None
    customer: Id | None = None
    due_date: TimeRange | None = None
    status: InvoiceStatus | None = None
    subscription: Id | None = None


class InvoiceFinalize(Params):
    auto_advance: Boolean | None = None


class InvoicePay(Params):
    off_session: Boolean | None = None
    paid_out_of_band: Boolean = False
    payment_method: Id | None = None


class PreviewDetails(Params):
    billing_mode: BillingModeParam | None = None
    items: Annotated[list[ItemCreate], Len(1, 20)] | None = None


class InvoicePreview(Params):
    currency: Currency | None = None
    customer: Id | None = None
    preview_mode: Literal["next"] | None = None
    subscription: Id | None = None
    subscription_details: PreviewDetails | None = None


@routes.get("/v1/invoices", returns="invoice", many=True)
def list_(call: Call, params: InvoiceList) -> dict[str, Any]:
    """List invoices, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)
    due_from, due_before = params.due_date.bounds if params.due_date else (None, None)

    def read(conn: Connection) -> dict[str, Any]:
        found = invoices.list_page(
            conn,
            call.act.account_id,
            params.page,
            status=params.status,
            customer_id=params.customer,
            subscription_id=params.subscription,
            collection_method=params.collection_method,
            created_from=created_from,
            created_before=created_before,
            due_from=due_from,
            due_before=due_before,
        )
        shown = render_many(conn, call.act, found.rows)
        return listing("/v1/invoices", Rows(shown, found.has_more), lambda each: each)

    return call.read(read)


@routes.post("/v1/invoices/create_preview", returns="invoice")
def create_preview(call: Call, params: InvoicePreview) -> dict[str, Any]:
    """Preview the next invoice of a subscription, or the first one of a new subscription."""
    return call.read(lambda conn: preview_to_stripe(conn, call, _preview(conn, call, params)))


def _preview(conn: Connection, call: Call, params: InvoicePreview) -> Invoice:
    details = params.subscription_details or PreviewDetails()
    if params.subscription is None:
        if params.customer is None:
            raise InvalidRequest(
                "You must give a `subscription`, or a `customer` with "
                "`subscription_details[items]`.",
                param="subscription",
                code="parameter_missing",
            )
        if details.items is None:
            return _preview_of_customer(conn, call, params.customer)
        asked = SubscriptionCreate(
            customer=params.customer,
            items=details.items,
            billing_mode=details.billing_mode,
            currency=params.currency,
        )
        try:
            return subscribe.preview_new(conn, call.act, subscription_from_stripe(asked))
        except BillingError as error:
            if error.param[:1] == ("items",):  # which are further within here
                error.param = ("subscription_details", *error.param)
            raise
    if details.items is not None or details.billing_mode is not None:
        raise InvalidRequest(
            "Changes of an existing subscription cannot be previewed yet.",
            param="subscription_details",
        )
    found = subscriptions.load(conn, call.act.account_id, [params.subscription])
    if params.subscription not in found:
        raise NotFound.of("subscription", params.subscription, param="subscription")
    subscription = found[params.subscription]
    if params.customer not in (None, subscription.customer_id):
        raise InvalidRequest(
            f"The subscription {subscription.id} does not belong to customer {params.customer}.",
            param="subscription",
        )
    if (invoice := close_periods.preview(conn, call.act, [subscription])) is not None:
        return invoice
    raise InvalidRequest(
        f"No upcoming invoices for subscription: {subscription.id}",
        param="subscription",
        code="invoice_upcoming_none",
    )


def _preview_of_customer(conn: Connection, call: Call, customer_id: str) -> Invoice:
    """Stripe: with a customer alone, the next invoice of whichever subscription renews first."""
    customer = customers.find(conn, call.act.account_id, customer_id)
    if customer is None or customer.deleted_at:
        raise NotFound.of("customer", customer_id, param="customer")
    running = subscriptions.running_of_customers(conn, call.act.account_id, [customer_id])
    renewing = [each for each in running.values() if each.closes_at]
    if (invoice := close_periods.preview(conn, call.act, renewing)) is not None:
        return invoice
    raise InvalidRequest(
        f"No upcoming invoices for customer: {customer_id}",
        param="customer",
        code="invoice_upcoming_none",
    )


@routes.get("/v1/invoices/{invoice}", returns="invoice")
def retrieve(call: Call, invoice: str) -> dict[str, Any]:
    """Retrieve an invoice."""
    return call.read(lambda conn: _one(conn, call, invoice))


class LineList(ListParams):
    pass


@routes.get("/v1/invoices/{invoice}/lines", returns="line_item", many=True)
def list_lines(call: Call, params: LineList, invoice: str) -> dict[str, Any]:
    """List an invoice's lines, in the invoice's order."""

    def read(conn: Connection) -> dict[str, Any]:
        found = invoices.load(conn, call.act.account_id, [invoice])
        if invoice not in found:
            raise NotFound.of("invoice", invoice, param="invoice")
        return _line_list(found[invoice], call, params.page)

    return call.read(read)


@routes.post("/v1/invoices/{invoice}/finalize", returns="invoice")
def finalize(call: Call, params: InvoiceFinalize, invoice: str) -> dict[str, Any]:
    """Finalize a draft, and begin to collect it when that is automatic."""
    return _collected(
        call,
        lambda conn: payment.finalize_now(
            conn, call.act, invoice, auto_advance=params.auto_advance
        ),
        declines_raise=False,
    )


@routes.post("/v1/invoices/{invoice}/pay", returns="invoice")
def pay(call: Call, params: InvoicePay, invoice: str) -> dict[str, Any]:
    """Pay an invoice now; a decline is an error."""
    return _collected(
        call,
        lambda conn: payment.pay(
            conn,
            call.act,
            invoice,
            payment_method_id=params.payment_method,
            out_of_band=params.paid_out_of_band,
        ),
        declines_raise=True,
    )


@routes.post("/v1/invoices/{invoice}/void", returns="invoice")
def void(call: Call, invoice: str) -> dict[str, Any]:
    """Void a finalized invoice: as if it had never been owed."""
    return call.write(
        lambda conn: to_stripe(
            correct.void_now(conn, call.act, invoice), livemode=call.act.livemode
        )
    )


def _collected(call: Call, begin: Any, *, declines_raise: bool) -> dict[str, Any]:
    """Begin in one transaction, ask the gateway after it, and show the invoice as it is then."""

    def write(conn: Connection) -> dict[str, Any]:
        paying: Paying = begin(conn)
        return {"invoice": paying.invoice_id, "attempts": paying.attempt_ids}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        paying = Paying(begun["invoice"], begun["attempts"])
        payment.finish_paying(call.database, call.act, paying, declines_raise=declines_raise)
        return call.read(lambda conn: _one(conn, call, paying.invoice_id))

    return call.write_then(write, finish)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _one(conn: Connection, call: Call, invoice_id: str) -> dict[str, Any]:
    found = invoices.load(conn, call.act.account_id, [invoice_id])
    if invoice_id not in found:
        raise NotFound.of("invoice", invoice_id)
    return render_many(conn, call.act, [found[invoice_id]])[0]


def render_many(conn: Connection, act: Act, shown: Sequence[Invoice]) -> list[dict[str, Any]]:
    """Many invoices; a draft is addressed to the customer as it is now (Stripe)."""
    drafts = {each.customer_id for each in shown if each.status == InvoiceStatus.DRAFT}
    customer_by_id = customers.load(conn, act.account_id, drafts) if drafts else {}
    addressed = [
        replace(each, customer_snapshot=recipient(customer_by_id[each.customer_id]))
        if each.status == InvoiceStatus.DRAFT
        else each
        for each in shown
    ]
    return [to_stripe(each, livemode=act.livemode) for each in addressed]


def preview_to_stripe(conn: Connection, call: Call, invoice: Invoice) -> dict[str, Any]:
    """An invoice that does not exist: its ids say so, and lead nowhere."""
    [shown] = render_many(conn, call.act, [invoice])
    shown["id"] = invoice.id.replace("in_", "upcoming_in_", 1)
    shown["billing_reason"] = BillingReason.UPCOMING
    shown["lines"]["url"] = f"/v1/invoices/{shown['id']}/lines"
    shown["lines"]["data"] = [
        line_to_stripe(line, invoice, livemode=call.act.livemode)
        | {"id": line.id.replace("il_", "il_tmp_", 1), "invoice": shown["id"]}
        for line in invoice.lines
    ]
    shown["lines"]["has_more"] = False
    return shown


def to_stripe(invoice: Invoice, *, livemode: bool) -> dict[str, Any]:
    """An invoice with its first lines."""
    recipient = invoice.customer_snapshot or {}
    lines = invoice.lines[:EMBEDDED_LINES_MAX]
    return {
        "id": invoice.id,
        "object": "invoice",
        "account_country": None,
        "account_name": None,
        "account_tax_ids": None,
        "amount_due": invoice.amount_due,
        "amount_overpaid": 0,
        "amount_paid": invoice.amount_paid,
        "amount_paid_off_stripe": invoice.amount_paid if invoice.paid_out_of_band else 0,
        "amount_remaining": invoice.amount_remaining,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": invoice.attempt_count,
        "attempted": invoice.attempted,
        "auto_advance": invoice.auto_advance,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": seconds(invoice.finalizes_at),
        "billing_reason": invoice.billing_reason,
        "collection_method": invoice.collection_method,
        "created": seconds(invoice.created_at),
        "currency": invoice.currency,
        "custom_fields": None,
        "customer": invoice.customer_id,
        "customer_account": None,
        "customer_address": recipient.get("address"),
        "customer_email": recipient.get("email"),
        "customer_name": recipient.get("name"),
        "customer_phone": recipient.get("phone"),
        "customer_shipping": recipient.get("shipping"),
        "customer_tax_exempt": recipient.get("tax_exempt"),
        "customer_tax_ids": [],
        "default_payment_method": invoice.default_payment_method_id,
        "default_source": None,
        "default_tax_rates": [],
        "description": invoice.description,
        "discounts": [],
        "due_date": seconds(invoice.due_at),
        "effective_at": seconds(invoice.finalized_at),
        "ending_balance": invoice.ending_balance,
        "footer": invoice.footer,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"account": None, "type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": {
            "object": "list",
            "data": [line_to_stripe(line, invoice, livemode=livemode) for line in lines],
            "has_more": len(invoice.lines) > len(lines),
            "total_count": len(invoice.lines),
            "url": f"/v1/invoices/{invoice.id}/lines",
        },
        "livemode": livemode,
        "metadata": invoice.metadata,
        "next_payment_attempt": seconds(invoice.next_attempt_at),
        "number": invoice.number,
        "on_behalf_of": None,
        "parent": _parent(invoice),
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": seconds(invoice.period_end),
        "period_start": seconds(invoice.period_start),
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": invoice.starting_balance,
        "statement_descriptor": None,
        "status": invoice.status,
        "status_details": None,
        "status_transitions": {
            "finalized_at": seconds(invoice.finalized_at),
            "marked_uncollectible_at": seconds(invoice.marked_uncollectible_at),
            "paid_at": seconds(invoice.paid_at),
            "voided_at": seconds(invoice.voided_at),
        },
        "subtotal": invoice.subtotal,
        "subtotal_excluding_tax": invoice.subtotal,
        "test_clock": invoice.clock_id,
        "threshold_reason": None,
        "total": invoice.total,
        "total_discount_amounts": [],
        "total_excluding_tax": invoice.total,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": seconds(invoice.created_at),
    }


def _parent(invoice: Invoice) -> dict[str, Any] | None:
    if invoice.subscription_id is None:
        return None
    return {
        "quote_details": None,
        "subscription_details": {
            "metadata": invoice.subscription_metadata,
            "subscription": invoice.subscription_id,
            "subscription_proration_date": None,
        },
        "type": "subscription_details",
    }


def line_to_stripe(line: Line, invoice: Invoice, *, livemode: bool) -> dict[str, Any]:
    """One line; ``quantity`` is its whole part and ``quantity_decimal`` all of it."""
    return {
        "id": line.id,
        "object": "line_item",
        "amount": line.amount,
        "currency": invoice.currency,
        "description": line.description,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice.id,
        "livemode": livemode,
        "metadata": line.metadata,
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": line.subscription_id,
                "subscription_item": line.subscription_item_id,
            },
            "type": "subscription_item_details",
        },
        "period": {"end": seconds(line.period_end), "start": seconds(line.period_start)},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": line.price_id, "product": line.product_id},
            "type": "price_details",
            "unit_amount_decimal": None if line.unit_amount is None else plain(line.unit_amount),
        },
        "quantity": int(line.quantity),
        "quantity_decimal": plain(line.quantity),
        "subscription": line.subscription_id,
        "subtotal": line.amount,
        "taxes": [],
    }


def _line_list(invoice: Invoice, call: Call, page: Page) -> dict[str, Any]:
    """A page of lines. Their order is the invoice's, so the cursor is a place in it."""
    ids = [line.id for line in invoice.lines]
    cursor = page.after or page.before
    if cursor is not None and cursor not in ids:
        name = "starting_after" if page.after else "ending_before"
        raise NotFound.of("line_item", cursor, param=name)
    if page.after:
        rest = list(invoice.lines[ids.index(page.after) + 1 :])
        shown = rest[: page.limit]
    elif page.before:
        rest = list(invoice.lines[: ids.index(page.before)])
        shown = rest[-page.limit :]
    else:
        rest = list(invoice.lines)
        shown = rest[: page.limit]
    return listing(
        f"/v1/invoices/{invoice.id}/lines",
        Rows(shown, has_more=len(rest) > len(shown)),
        lambda line: line_to_stripe(line, invoice, livemode=call.act.livemode),
    )


@loader("invoice")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = invoices.load(conn, act.account_id, ids)
    return {each["id"]: each for each in render_many(conn, act, list(found.values()))}


def _payments(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, Any]:
    """The one payment that settles each final invoice: Stripe's invoice payment."""
    found = invoices.load(conn, act.account_id, ids, with_lines=False)
    return {
        key: {
            "object": "list",
            "data": [_invoice_payment(each, livemode=act.livemode)]
            if each.payment_intent_id
            else [],
            "has_more": False,
            "total_count": 1 if each.payment_intent_id else 0,
            "url": "/v1/invoice_payments",
        }
        for key, each in found.items()
    }


def _invoice_payment(invoice: Invoice, *, livemode: bool) -> dict[str, Any]:
    assert invoice.payment_intent_id is not None
    status = {InvoiceStatus.PAID: "paid", InvoiceStatus.VOID: "canceled"}
    return {
        "id": invoice.payment_intent_id.replace("pi_", "inpay_", 1),
        "object": "invoice_payment",
        "amount_paid": invoice.amount_paid or None,
        "amount_requested": invoice.amount_due,
        "created": seconds(invoice.finalized_at),
        "currency": invoice.currency,
        "invoice": invoice.id,
        "is_default": True,
        "livemode": livemode,
        "payment": {
            "charge": None,
            "payment_intent": invoice.payment_intent_id,
            "payment_record": None,
            "type": "payment_intent",
        },
        "status": status.get(invoice.status, "open"),
        "status_transitions": {
            "canceled_at": seconds(invoice.voided_at),
            "paid_at": seconds(invoice.paid_at),
        },
    }


includable("invoice", "payments", _payments, of="invoice_payment", many=True)
nested("invoice", "lines", "line_item", many=True)
expandable("invoice", "customer", load="customer")
expandable("invoice", "default_payment_method", load="payment_method")
expandable("invoice", "parent.subscription_details.subscription", load="subscription")
expandable("invoice", "test_clock", load="test_helpers.test_clock")
expandable("line_item", "pricing.price_details.price", load="price")
expandable("line_item", "subscription", load="subscription")
expandable("invoice_payment", "invoice", load="invoice")
