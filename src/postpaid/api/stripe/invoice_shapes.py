"""Invoices, their lines and their payments in Stripe's shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from postpaid.api.instants import seconds
from postpaid.api.stripe import invoice_payments
from postpaid.api.stripe.expand import expandable, includable, loaded, loader, nested
from postpaid.billing.address import addressed, recipient
from postpaid.billing.perform import Act
from postpaid.core.invoicing import BillingReason, Invoice, InvoiceStatus
from postpaid.core.lines import Line
from postpaid.core.money import plain
from postpaid.core.tax_totals import subtotal_excluding_tax, total_excluding_tax
from postpaid.core.values import replace
from postpaid.storage import customers, invoices, payment_intents
from postpaid.storage.database import Connection
from postpaid.storage.invoice_payments import of_invoices as payments_of_invoices

EMBEDDED_LINES_MAX = 10  # Stripe: the rest are at /v1/invoices/{id}/lines

TaxRates = Mapping[str, dict[str, Any]]
"""Tax rates as Stripe shows them, by id."""


def render_many(conn: Connection, act: Act, shown: Sequence[Invoice]) -> list[dict[str, Any]]:
    """Many invoices; a draft goes by the customer and its balance as they are now (Stripe)."""
    drafts = {each.customer_id for each in shown if each.status == InvoiceStatus.DRAFT}
    customer_by_id = customers.load(conn, act.account_id, drafts) if drafts else {}
    whole = [
        addressed(each, customer_by_id[each.customer_id])
        if each.status == InvoiceStatus.DRAFT
        else each
        for each in shown
    ]
    rates = tax_rates_of(conn, act, (each.tax_rate_ids for each in shown))
    return [to_stripe(each, rates, livemode=act.livemode) for each in whole]


def tax_rates_of(conn: Connection, act: Act, ids: Iterable[Sequence[str] | None]) -> TaxRates:
    """The tax rates that are named, with one statement, or none when none is."""
    return loaded(conn, act, "tax_rate", {key for some in ids for key in some or ()})


def preview_to_stripe(conn: Connection, act: Act, invoice: Invoice) -> dict[str, Any]:
    """An invoice that does not exist: its ids say so, and lead nowhere. It says what is due."""
    [customer] = customers.load(conn, act.account_id, [invoice.customer_id]).values()
    whole = replace(invoice, customer_snapshot=recipient(customer))
    shown = to_stripe(whole, tax_rates_of(conn, act, [invoice.tax_rate_ids]), livemode=act.livemode)
    shown["id"] = invoice.id.replace("in_", "upcoming_in_", 1)
    shown["billing_reason"] = BillingReason.UPCOMING
    shown["lines"]["url"] = f"/v1/invoices/{shown['id']}/lines"
    shown["lines"]["data"] = [
        line_to_stripe(line, invoice, livemode=act.livemode)
        | {"id": line.id.replace("il_", "il_tmp_", 1), "invoice": shown["id"]}
        for line in invoice.lines
    ]
    shown["lines"]["has_more"] = False
    return shown


def render_upcoming(conn: Connection, act: Act, shown: Sequence[Invoice]) -> list[dict[str, Any]]:
    """Invoices that were announced before there were any: they have no ids (Stripe)."""
    rates = tax_rates_of(conn, act, (each.tax_rate_ids for each in shown))
    return [_upcoming_to_stripe(each, rates, livemode=act.livemode) for each in shown]


def _upcoming_to_stripe(invoice: Invoice, rates: TaxRates, *, livemode: bool) -> dict[str, Any]:
    shown = to_stripe(invoice, rates, livemode=livemode)
    lines = [
        each | {"id": each["id"].replace("il_", "il_tmp_", 1), "invoice": None}
        for each in shown["lines"]["data"]
    ]
    url = f"/v1/invoices/upcoming/lines?subscription={invoice.subscription_id}"
    return shown | {"id": None, "lines": shown["lines"] | {"data": lines, "url": url}}


def to_stripe(invoice: Invoice, rates: TaxRates | None = None, *, livemode: bool) -> dict[str, Any]:
    """An invoice with its first lines; ``rates`` has the tax rates that are its own."""
    recipient = invoice.customer_snapshot or {}
    appearance = invoice.appearance or {}
    lines = invoice.lines[:EMBEDDED_LINES_MAX]
    return {
        "id": invoice.id,
        "object": "invoice",
        "account_country": None,
        "account_name": None,
        "account_tax_ids": None,
        "amount_due": invoice.amount_due,
        "amount_overpaid": invoice.amount_overpaid,
        "amount_paid": invoice.amount_paid,
        "amount_paid_off_stripe": invoice.amount_paid_out_of_band,
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
        "custom_fields": appearance.get("custom_fields"),
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
        "default_tax_rates": _known(rates, invoice.tax_rate_ids),
        "description": invoice.description,
        "discounts": list(invoice.discount_ids or ()),
        "due_date": seconds(invoice.due_at),
        "effective_at": seconds(invoice.effective_at or invoice.finalized_at),
        "ending_balance": invoice.ending_balance,
        "footer": invoice.footer,
        "from_invoice": invoice.from_invoice_id
        and {"action": "revision", "invoice": invoice.from_invoice_id},
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"account": None, "type": "self"},
        "last_finalization_error": _finalization_error(invoice),
        "latest_revision": invoice.latest_revision_id,
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
        "number": invoice.number or invoice.given_number,
        "on_behalf_of": None,
        "parent": _parent(invoice),
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": seconds(invoice.period_end),
        "period_start": seconds(invoice.period_start),
        "post_payment_credit_notes_amount": invoice.post_payment_credits,
        "pre_payment_credit_notes_amount": invoice.pre_payment_credits,
        "receipt_number": None,
        "rendering": _rendering(appearance),
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": invoice.starting_balance,
        "statement_descriptor": appearance.get("statement_descriptor"),
        "status": invoice.status,
        "status_details": _status_details(invoice),
        "status_transitions": {
            "finalized_at": seconds(invoice.finalized_at),
            "marked_uncollectible_at": seconds(invoice.marked_uncollectible_at),
            "paid_at": seconds(invoice.paid_at),
            "voided_at": seconds(invoice.voided_at),
        },
        "subtotal": invoice.subtotal,
        "subtotal_excluding_tax": subtotal_excluding_tax(invoice),
        "test_clock": invoice.clock_id,
        "threshold_reason": invoice.threshold_reason,
        "total": invoice.total,
        "total_discount_amounts": discounts_to_stripe(invoice.total_discounts),
        "total_excluding_tax": total_excluding_tax(invoice),
        "total_pretax_credit_amounts": pretax_to_stripe(
            invoice.total_discounts, invoice.total_credits
        ),
        "total_taxes": taxes_to_stripe(invoice.total_taxes),
        "webhooks_delivered_at": seconds(invoice.created_at),
    }


def _finalization_error(invoice: Invoice) -> dict[str, Any] | None:
    """Why the draft was not finalized by itself, when it should have been."""
    if invoice.parked is None:
        return None
    unknown = (
        "advice_code",
        "charge",
        "code",
        "decline_code",
        "doc_url",
        "network_advice_code",
        "network_decline_code",
        "param",
        "payment_intent",
        "payment_method",
        "payment_method_type",
        "request_log_url",
        "setup_intent",
        "source",
    )
    return {
        **dict.fromkeys(unknown),
        "message": invoice.parked,
        "type": "invalid_request_error",
    }


def _parent(invoice: Invoice) -> dict[str, Any] | None:
    if invoice.subscription_id is None:
        return None
    return {
        "quote_details": None,
        "subscription_details": {
            "metadata": invoice.subscription_metadata,
            "subscription": invoice.subscription_id,
            "subscription_proration_date": seconds(invoice.proration_at),
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
        "discount_amounts": discounts_to_stripe(line.discounts),
        "discountable": line.discountable,
        "discounts": list(line.discount_ids or ()),
        "invoice": invoice.id,
        "livemode": livemode,
        "metadata": line.metadata,
        "parent": _line_parent(line),
        "period": {"end": seconds(line.period_end), "start": seconds(line.period_start)},
        "pretax_credit_amounts": pretax_to_stripe(line.discounts, line.credits),
        "pricing": pricing_to_stripe(line.price_id, line.product_id, line.unit_amount),
        "quantity": int(line.quantity),
        "quantity_decimal": plain(line.quantity),
        "subscription": line.subscription_id,
        "subtotal": line.amount,
        "taxes": taxes_to_stripe(line.taxes),
    }


def _line_parent(line: Line) -> dict[str, Any] | None:
    """What made the line: an item of a subscription, or an invoice item of nobody's."""
    details: dict[str, Any] = {
        "invoice_item": line.invoice_item_id,
        "proration": line.proration,
        "proration_details": {"credited_items": _credited_lines(line.credited)},
        "subscription": line.subscription_id,
    }
    if line.subscription_item_id:
        details["subscription_item"] = line.subscription_item_id
        kind = "subscription_item_details"
    elif line.invoice_item_id:
        kind = "invoice_item_details"
    else:
        return None
    parent = {"invoice_item_details": None, "subscription_item_details": None, "type": kind}
    return parent | {kind: details}


def _credited_lines(credited: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if credited is None or "invoice" not in credited:
        return None
    return {"invoice": credited["invoice"], "invoice_line_items": list(credited["lines"])}


def pricing_to_stripe(
    price_id: str | None, product_id: str | None, unit_amount: Decimal | None
) -> dict[str, Any] | None:
    """What a line or an invoice item costs per unit, and by which price if by any."""
    if price_id is None and unit_amount is None:
        return None
    return {
        "price_details": price_id and {"price": price_id, "product": product_id},
        "type": "price_details",
        "unit_amount_decimal": None if unit_amount is None else plain(unit_amount),
    }


def discounts_to_stripe(discounts: Mapping[str, int] | None) -> list[dict[str, Any]]:
    """What each discount takes off."""
    return [{"amount": amount, "discount": key} for key, amount in (discounts or {}).items()]


def pretax_to_stripe(
    discounts: Mapping[str, int] | None, credits: Mapping[str, int] | None
) -> list[dict[str, Any]]:
    """All that is taken off before tax: by discounts, then by credit grants (Stripe)."""
    kinds = (("discount", discounts), ("credit_balance_transaction", credits))
    return [
        {"amount": amount, "credit_balance_transaction": None, "discount": None, "type": kind}
        | {kind: key}
        for kind, amounts in kinds
        for key, amount in (amounts or {}).items()
    ]


def taxes_to_stripe(taxes: Mapping[str, Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """What each tax rate comes to, and on how much."""
    return [
        {
            "amount": tax["amount"],
            "tax_behavior": "inclusive" if tax["inclusive"] else "exclusive",
            "tax_rate_details": {"tax_rate": key},
            "taxability_reason": tax.get("reason", "not_available"),
            "taxable_amount": tax["taxable"],
            "type": "tax_rate_details",
        }
        for key, tax in (taxes or {}).items()
    ]


def _known(rates: TaxRates | None, ids: Sequence[str] | None) -> list[dict[str, Any]]:
    return [rates[key] for key in ids or () if rates and key in rates]


def _rendering(appearance: Mapping[str, Any]) -> dict[str, Any] | None:
    if not (chosen := appearance.get("rendering")):
        return None
    size = (chosen.get("pdf") or {}).get("page_size")
    return {
        "amount_tax_display": chosen.get("amount_tax_display"),
        "pdf": {"page_size": size} if size else None,
        "template": None,
        "template_version": None,
    }


def _status_details(invoice: Invoice) -> dict[str, Any] | None:
    if invoice.status != InvoiceStatus.UNCOLLECTIBLE:
        return None
    return {"uncollectible": {"reason": invoice.uncollectible_reason}}


@loader("invoice")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = invoices.load(conn, act.account_id, ids)
    return {each["id"]: each for each in render_many(conn, act, list(found.values()))}


def _payments(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, Any]:
    """What is to settle each final invoice: Stripe's invoice payments."""
    found = payments_of_invoices(conn, act.account_id, ids)
    shown = {
        key: [invoice_payments.to_stripe(each, livemode=act.livemode) for each in found[key]]
        for key in ids
    }
    return {
        key: {
            "object": "list",
            "data": data,
            "has_more": False,
            "total_count": len(data),
            "url": "/v1/invoice_payments",
        }
        for key, data in shown.items()
    }


def _confirmation_secrets(
    conn: Connection, act: Act, ids: Sequence[str]
) -> dict[str, dict[str, str]]:
    """What lets an invoice's customer confirm its payment; none where nothing is left to confirm.

    It is the gateway's own secret once the gateway waits for the customer with one.
    """
    return {
        intent.invoice_id: {
            "client_secret": (intent.next_action or {}).get("client_secret")
            or intent.client_secret,
            "type": "payment_intent",
        }
        for intent in payment_intents.open_of_invoices(conn, act.account_id, ids)
        if intent.invoice_id is not None
    }


includable("invoice", "confirmation_secret", _confirmation_secrets)
includable("invoice", "payments", _payments, of="invoice_payment", many=True)
nested("invoice", "lines", "line_item", many=True)
expandable("invoice", "customer", load="customer")
expandable("invoice", "default_payment_method", load="payment_method")
expandable("invoice", "parent.subscription_details.subscription", load="subscription")
expandable("invoice", "test_clock", load="test_helpers.test_clock")
expandable("line_item", "pricing.price_details.price", load="price")
expandable("line_item", "subscription", load="subscription")
expandable("invoice_payment", "invoice", load="invoice")
expandable("invoice", "latest_revision", load="invoice")
expandable("invoice", "discounts", load="discount")
expandable("line_item", "discounts", load="discount")
expandable("invoice", "from_invoice.invoice", load="invoice")
for _kind, _path in (
    ("invoice", "total_discount_amounts"),
    ("invoice", "total_pretax_credit_amounts"),
    ("line_item", "discount_amounts"),
    ("line_item", "pretax_credit_amounts"),
):
    expandable(_kind, f"{_path}.discount", load="discount")
for _kind, _path in (
    ("invoice", "total_pretax_credit_amounts"),
    ("line_item", "pretax_credit_amounts"),
):
    expandable(
        _kind, f"{_path}.credit_balance_transaction", load="billing.credit_balance_transaction"
    )
