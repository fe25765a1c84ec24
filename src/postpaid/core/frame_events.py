"""What happens here, in Frame's words: the codes by which each event is told, and what each shows.

One thing that happens may be told as several: the payment of a renewal's invoice is
``invoice.paid`` and, of its subscription, ``customer.subscription.renewed``. Of a customer with a
profile, which is an account in Frame's words, that is ``subscription.renewed``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

OUTCOMES = ("invoice.paid", "invoice.payment_failed")
"""What an invoice's collection comes to; the first of them generates a billing invoice (Frame)."""

HUNDRED = 100


class Shown(StrEnum):
    """What an event's ``data`` is."""

    OBJECT = "object"  # what it happened to, as it was
    SUBSCRIPTION = "subscription"  # the one that the invoice is of, as it is
    CHARGE = "charge"  # that of the invoice which it is of, as it is
    TRANSFER = "transfer"  # the payment that the charge or the intent is of, as it is


def shown(code: str, object_type: str) -> Shown:
    """What is shown of an event of such an object that is told by this code."""
    if code.startswith("transfer."):
        return Shown.TRANSFER
    if code.startswith("billing.charge."):
        return Shown.CHARGE
    if object_type == "invoice" and "subscription." in code:
        return Shown.SUBSCRIPTION
    return Shown.OBJECT


@dataclass(frozen=True, slots=True)
class Happening:
    """A business event, and what of the rest of the world its codes depend on.

    ``snapshot`` is the object, or its fields by name. ``first_outcome``: nothing came of collecting
    this invoice before. ``last_bill``: its subscription had ended when the invoice was made.
    """

    type: str
    object_id: str
    snapshot: object
    previous: Mapping[str, Any] | None = None
    is_account: bool = False
    first_outcome: bool = True
    last_bill: bool = False

    def has(self, name: str) -> Any:
        """The object's field, None where it has none."""
        if isinstance(self.snapshot, Mapping):
            return self.snapshot.get(name)
        return getattr(self.snapshot, name, None)

    def was(self, name: str) -> Any:
        """What the field was before; what it is where that did not change."""
        if self.previous is None or name not in self.previous:
            return self.has(name)
        return self.previous[name]

    def changed(self, name: str) -> bool:
        return self.previous is not None and name in self.previous


@dataclass(frozen=True, slots=True)
class Telling:
    """A code, and the object whose events arrive in one order with it."""

    code: str
    subject_id: str


Rule = Callable[[Happening], Iterator[Telling]]


def tellings(happening: Happening) -> list[Telling]:
    """By which codes the event is told, in order; none where Frame has no word for it."""
    rule = RULES.get(happening.type)
    return [] if rule is None else list(rule(happening))


def payer_id(event_type: str, object_id: str, snapshot: object) -> str | None:
    """Whose kind decides the codes of such an event: a customer's id; None where none does."""
    if event_type not in BY_PAYER:
        return None
    if event_type.startswith("customer.") and not event_type.startswith("customer.subscription."):
        return object_id
    found: str | None = Happening(event_type, object_id, snapshot).has("customer_id")
    return found


# ─── Rules ───────────────────────────────────────────────────────────────────────────────────


def _as(*codes: str) -> Rule:
    """Always told by these codes."""

    def rule(it: Happening) -> Iterator[Telling]:
        for code in codes:
            yield Telling(code, it.object_id)

    return rule


def _subscription(*words: str) -> Rule:
    def rule(it: Happening) -> Iterator[Telling]:
        for word in words:
            yield _of_subscription(it, word)

    return rule


def _of_subscription(it: Happening, word: str) -> Telling:
    prefix = "" if it.is_account else "customer."
    return Telling(f"{prefix}subscription.{word}", it.has("subscription_id") or it.object_id)


def _subscription_created(it: Happening) -> Iterator[Telling]:
    yield _of_subscription(it, "created")
    if it.has("status") in RUNNING:  # nothing has to be paid first
        yield _of_subscription(it, "activated")


def _subscription_updated(it: Happening) -> Iterator[Telling]:
    if it.was("status") == "incomplete" and it.has("status") in RUNNING:
        yield _of_subscription(it, "activated")
    yield _of_subscription(it, "updated")


def _invoice_finalized(it: Happening) -> Iterator[Telling]:
    yield Telling("invoice.issued", it.object_id)
    if renews(it) and it.has("from_invoice_id") is None:  # a revision is of the same renewal
        yield _of_subscription(it, "renewal.processing")
    if it.has("bills_usage") and it.has("collection_method") == "send_invoice":
        yield Telling("billing.invoice.generated", it.object_id)


def _invoice_paid(it: Happening) -> Iterator[Telling]:
    yield Telling("invoice.paid", it.object_id)
    if renews(it):
        yield _of_subscription(it, "renewed")
    yield from _generated(it)


def _invoice_payment_succeeded(it: Happening) -> Iterator[Telling]:
    """By a charge, as nothing else makes a payment of the invoice succeed."""
    if it.has("bills_usage") and it.has("amount_paid"):
        yield Telling("billing.charge.succeeded", it.object_id)


def _invoice_payment_failed(it: Happening) -> Iterator[Telling]:
    """A renewal fails once, and so does a beginning; every charge that is tried is told too."""
    automatic = it.has("collection_method") == "charge_automatically"
    if renews(it) and it.first_outcome:
        yield _of_subscription(it, "renewal.failed")
    if _begins(it) and automatic and it.first_outcome:
        yield _of_subscription(it, "incomplete")
    yield from _generated(it)
    if it.has("bills_usage") and it.has("attempt_count"):  # there was something to charge
        yield Telling("billing.charge.failed", it.object_id)


def _generated(it: Happening) -> Iterator[Telling]:
    """Frame says that a billing invoice was generated after it was collected, or was not."""
    automatic = it.has("collection_method") == "charge_automatically"
    if it.has("bills_usage") and automatic and it.first_outcome:
        yield Telling("billing.invoice.generated", it.object_id)


def renews(it: Happening) -> bool:
    """Whether it is of a renewal's invoice, and not of the last one of a subscription that ends."""
    if it.type not in BY_PAYER or it.last_bill:
        return False
    return it.has("billing_reason") == "subscription_cycle" and bool(it.has("subscription_id"))


def _begins(it: Happening) -> bool:
    return it.has("billing_reason") == "subscription_create" and bool(it.has("subscription_id"))


def _customer(word: str) -> Rule:
    def rule(it: Happening) -> Iterator[Telling]:
        if not it.is_account:
            yield Telling(f"customer.{word}", it.object_id)
            return
        if it.changed("blocked_at"):
            restricted = it.has("blocked_at") is not None
            code = "account.restricted" if restricted else "account.unrestricted"
            yield Telling(code, it.object_id)
        yield Telling(f"account.{word}", it.object_id)

    return rule


def _refund_created(it: Happening) -> Iterator[Telling]:
    yield Telling("refund.created", it.object_id)
    if it.has("status") == "succeeded":
        yield Telling("refund.completed", it.object_id)


def _refund_updated(it: Happening) -> Iterator[Telling]:
    if it.changed("status") and it.has("status") == "succeeded":
        yield Telling("refund.completed", it.object_id)


def _quota_reached(it: Happening) -> Iterator[Telling]:
    yield Telling(_by_percent(it.has("percent")), it.has("customer_id"))


def _alert_triggered(it: Happening) -> Iterator[Telling]:
    """An alert of a billing period: at a percentage of what is included, or of what is beyond.

    One of all that was ever used is of no cycle, and Frame has no word for it.
    """
    if it.has("position") is None:
        return
    alert = it.has("alert")
    percent = alert.get("percent") if isinstance(alert, Mapping) else alert.percent
    yield Telling(_by_percent(percent), it.has("customer_id"))


def _by_percent(percent: int | None) -> str:
    if percent is not None and percent < HUNDRED:
        return "billing.subscriber_usage"
    return "billing.subscriber_overage"


RUNNING = ("active", "trialing")

RULES: Mapping[str, Rule] = {
    "customer.subscription.created": _subscription_created,
    "customer.subscription.updated": _subscription_updated,
    "customer.subscription.deleted": _subscription("canceled"),
    "customer.subscription.paused": _subscription("paused"),
    "customer.subscription.resumed": _subscription("resumed"),
    "invoice.created": _as("invoice.created"),
    "invoice.updated": _as("invoice.updated"),
    "invoice.deleted": _as("invoice.deleted"),
    "invoice.finalized": _invoice_finalized,
    "invoice.paid": _invoice_paid,
    "invoice.payment_succeeded": _invoice_payment_succeeded,
    "invoice.payment_failed": _invoice_payment_failed,
    "invoice.overdue": _as("invoice.overdue"),
    "invoice.voided": _as("invoice.voided"),
    "invoice.marked_uncollectible": _as("invoice.updated"),
    # A charge; and, side by side, the transfer that is the same money (Frame).
    "charge.succeeded": _as(
        "charge.succeeded", "transfer.succeeded", "charge.captured", "transfer.completed"
    ),
    "charge.failed": _as("charge.failed", "transfer.failed"),
    "charge.pending": _as("charge.pending", "transfer.updated"),
    "charge.refunded": _as("charge.refunded", "transfer.refunded"),
    "payment_intent.created": _as("charge_intent.created", "transfer.created"),
    "payment_intent.succeeded": _as("charge_intent.succeeded"),
    "payment_intent.payment_failed": _as("charge_intent.payment_failed"),
    "payment_intent.requires_action": _as(
        "charge_intent.requires_action", "charge_intent.payment_action_required"
    ),
    "payment_intent.canceled": _as("charge_intent.canceled", "transfer.cancelled"),
    "customer.created": _customer("created"),
    "customer.updated": _customer("updated"),
    "customer.deleted": _customer("deleted"),
    "payment_method.attached": _as("payment_method.attached"),
    "payment_method.detached": _as("payment_method.detached"),
    "payment_method.updated": _as("payment_method.updated"),
    "product.created": _as("product.created"),
    "product.updated": _as("product.updated"),
    "product.deleted": _as("product.deleted"),
    "refund.created": _refund_created,
    "refund.updated": _refund_updated,
    "refund.failed": _as("refund.failed"),
    "unit_credit.exhausted": _as("billing_credit.exhausted"),
    "usage_quota.reached": _quota_reached,
    "billing.alert.triggered": _alert_triggered,
}

BY_PAYER = frozenset(
    {name for name in RULES if name.startswith("customer.")}
    | {"invoice.finalized", "invoice.paid", "invoice.payment_failed"}
)
"""The types whose codes depend on whether the payer is an account."""


# ─── Codes ───────────────────────────────────────────────────────────────────────────────────

_SUBSCRIPTION = (
    "created",
    "updated",
    "incomplete",
    "activated",
    "paused",
    "resumed",
    "canceled",
    "renewal.processing",
    "renewal.failed",
    "renewed",
)

CODES = frozenset(
    [f"customer.subscription.{each}" for each in _SUBSCRIPTION]
    + [f"subscription.{each}" for each in _SUBSCRIPTION]
    + [
        "account.created",
        "account.deleted",
        "account.restricted",
        "account.unrestricted",
        "account.updated",
        "billing.charge.failed",
        "billing.charge.succeeded",
        "billing.invoice.generated",
        "billing.subscriber_overage",
        "billing.subscriber_usage",
        "billing_credit.exhausted",
        "charge.captured",
        "charge.failed",
        "charge.pending",
        "charge.refunded",
        "charge.succeeded",
        "charge_intent.canceled",
        "charge_intent.created",
        "charge_intent.payment_action_required",
        "charge_intent.payment_failed",
        "charge_intent.requires_action",
        "charge_intent.succeeded",
        "customer.created",
        "customer.deleted",
        "customer.updated",
        "invoice.created",
        "invoice.deleted",
        "invoice.issued",
        "invoice.overdue",
        "invoice.paid",
        "invoice.updated",
        "invoice.voided",
        "payment_method.attached",
        "payment_method.detached",
        "payment_method.updated",
        "product.created",
        "product.deleted",
        "product.updated",
        "refund.completed",
        "refund.created",
        "refund.failed",
        "transfer.cancelled",
        "transfer.completed",
        "transfer.created",
        "transfer.failed",
        "transfer.refunded",
        "transfer.succeeded",
        "transfer.updated",
    ]
)
"""What is told."""

SILENT = frozenset(
    {
        "capability.approved",
        "capability.denied",
        "capability.disabled",
        "capability.requested",
        "charge.dispute.closed_lost",
        "charge.dispute.closed_won",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.expired",
        "charge_intent.expired",
        "frame.account.prefill.completed",
        "invoice.line_item.created",
        "invoice.line_item.deleted",
        "invoice.line_item.updated",
        "transfer.disputed",
    }
)
"""Codes of Frame's that may be asked for, and that nothing here is told by."""


def is_code(name: str) -> bool:
    """Whether an endpoint may ask for it: a code, all of a kind (``invoice.*``), or all (``*``)."""
    if name == "*" or name in CODES or name in SILENT:
        return True
    return name.endswith(".*") and any(each.startswith(name[:-1]) for each in CODES | SILENT)
