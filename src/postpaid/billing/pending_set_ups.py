"""Subscriptions of which nothing is due yet, and which have nothing to be charged when it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from postpaid.billing.announce import Announcement
from postpaid.billing.check_sold import NewSubscription, PaymentBehavior
from postpaid.billing.decide_start import Started
from postpaid.billing.manage_setup_intents import new_setup_intent, of_intent
from postpaid.billing.perform import Act
from postpaid.core.credits import with_balance
from postpaid.core.setup_intents import SetupIntent
from postpaid.core.subscriptions import CollectionMethod
from postpaid.core.values import replace
from postpaid.storage.customers import Customer


def with_set_ups(
    act: Act,
    asked: Sequence[NewSubscription],
    made: Sequence[Started],
    owners: Mapping[str, Customer],
) -> tuple[list[Started], list[SetupIntent]]:
    """The subscriptions as they start, with the setup intents that they wait for; none is written.

    Stripe: where nothing is due now and nothing could be charged later, ``default_incomplete``
    makes ``pending_setup_intent``, which the customer confirms as they would a first payment.
    """
    found: list[Started] = []
    intents: list[SetupIntent] = []
    for each, one in zip(asked, made, strict=True):
        owner = owners[each.customer_id]
        if not _lacks_method(each, one, owner):
            found.append(one)
            continue
        intent = new_setup_intent(
            act,
            customer_id=owner.id,
            clock_id=owner.clock_id,
            subscription_id=one.subscription.id,
        )
        intents.append(intent)
        waiting = replace(one.subscription, pending_setup_intent_id=intent.id)
        found.append(replace(one, subscription=waiting))
    return found, intents


def _lacks_method(asked: NewSubscription, made: Started, owner: Customer) -> bool:
    if (
        asked.payment_behavior != PaymentBehavior.DEFAULT_INCOMPLETE
        or made.subscription.collection_method != CollectionMethod.CHARGE_AUTOMATICALLY
        or made.subscription.default_payment_method_id
        or owner.default_payment_method_id
    ):
        return False
    return made.invoice is None or with_balance(made.invoice, owner.balance).amount_due == 0


def begun(intents: Sequence[SetupIntent]) -> list[Announcement]:
    """That the setup intents were made."""
    return [of_intent("created", each) for each in intents]
