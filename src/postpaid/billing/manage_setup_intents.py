"""Create setup intents, change what may change of them, and give them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from postpaid.billing.announce import Announcement, announce, changes, subscription_updated
from postpaid.billing.check_blocked import check_customer_not_blocked
from postpaid.billing.lock_customer import lock_customer
from postpaid.billing.manage_payment_methods import take
from postpaid.billing.open_intents import new_client_secret
from postpaid.billing.perform import Act
from postpaid.core.errors import Conflict, InvalidRequest, NotFound
from postpaid.core.setup_intents import (
    SetupIntent,
    SetupIntentAction,
    SetupIntentStatus,
    SetupUsage,
    canceled,
    chosen,
    next_status,
)
from postpaid.core.values import replace
from postpaid.storage import customers, setup_attempts, setup_intents, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod
from postpaid.storage.payments import AttemptStatus

PLAIN = ("description", "metadata", "payment_method_types")


def create_setup_intent(
    conn: Connection,
    act: Act,
    *,
    customer_id: str | None,
    payment_method_id: str | None,
    payment_method_types: Sequence[str] | None = None,
    usage: SetupUsage = SetupUsage.OFF_SESSION,
    description: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> SetupIntent:
    """Add a setup intent; the payment method may be the id of a test card.

    Raises ``NotFound``, and ``InvalidRequest`` for a payment method of someone else.
    """
    clock_id = None
    if customer_id is not None:
        customer = lock_customer(conn, act, customer_id)
        check_customer_not_blocked(customer)
        act = act.at(customer.now(act.now), customer.clock_id)
        clock_id = customer.clock_id
    method = choose(conn, act, payment_method_id, customer_id)
    intent = new_setup_intent(
        act,
        customer_id=customer_id,
        clock_id=clock_id,
        usage=usage,
        description=description,
        metadata=metadata or {},
        payment_method_types=payment_method_types,
    )
    if method is not None:
        check_type(intent, method)
        intent = chosen(intent, method.id)
    setup_intents.insert_many(conn, act.account_id, [intent])
    announce(conn, act, [of_intent("created", intent)])
    return intent


def new_setup_intent(
    act: Act,
    *,
    customer_id: str | None,
    clock_id: str | None,
    subscription_id: str | None = None,
    usage: SetupUsage = SetupUsage.OFF_SESSION,
    description: str | None = None,
    metadata: Mapping[str, str] | None = None,
    payment_method_types: Sequence[str] | None = None,
) -> SetupIntent:
    """A setup intent that has no payment method yet, and is not written."""
    intent_id = act.new_id("seti")
    return SetupIntent(
        id=intent_id,
        customer_id=customer_id,
        clock_id=clock_id,
        subscription_id=subscription_id,
        usage=usage,
        status=SetupIntentStatus.REQUIRES_PAYMENT_METHOD,
        client_secret=new_client_secret(intent_id),
        payment_method_id=None,
        latest_attempt_id=None,
        last_error=None,
        next_action=None,
        description=description,
        cancellation_reason=None,
        created_at=act.now,
        canceled_at=None,
        metadata=metadata or {},
        payment_method_types=payment_method_types,
    )


def update_setup_intent(
    conn: Connection, act: Act, intent_id: str, changed: Mapping[str, Any]
) -> SetupIntent:
    """Change a setup intent; ``changed`` has its own field names.

    Raises ``NotFound``, ``InvalidRequest`` for another customer or a payment method of someone
    else, and ``ActionNotAllowed`` for another payment method when it is too late for one.
    """
    customer_id = changed.get("customer_id")
    before, act = lock_setup_intent(conn, act, intent_id, customer_id=customer_id)
    after = replace(
        before,
        **{key: value for key, value in changed.items() if key in PLAIN},
    )
    if customer_id is not None and customer_id != before.customer_id:
        if before.customer_id is not None:
            raise InvalidRequest(
                "You cannot modify `customer` on a SetupIntent once it already has been set.",
                param="customer",
            )
        next_status(before.status, SetupIntentAction.CHOOSE)
        after = replace(after, customer_id=customer_id, clock_id=act.clock_id)
        if "payment_method_id" not in changed:
            choose(conn, act, before.payment_method_id, customer_id)
    if "payment_method_id" in changed:
        next_status(before.status, SetupIntentAction.CHOOSE)
        method = choose(conn, act, changed["payment_method_id"], after.customer_id)
        if method is not None:
            check_type(after, method)
        if method is None or method.id != before.payment_method_id:
            give_up_attempts(conn, act, [before])
            after = chosen(after, method.id if method else None)
    if after != before:
        setup_intents.update_many(conn, act.account_id, [after])
    return after


def cancel_setup_intent(
    conn: Connection, act: Act, intent_id: str, *, reason: str | None
) -> SetupIntent:
    """Give a setup intent up. Raises ``NotFound``, and ``ActionNotAllowed`` by the status table."""
    before, act = lock_setup_intent(conn, act, intent_id)
    next_status(before.status, SetupIntentAction.CANCEL)
    return _cancel(conn, act, [before], reason)[0]


def cancel_all_set_ups(conn: Connection, act: Act, customer_ids: Sequence[str]) -> None:
    """Give up what is still to be set up for these customers, who are locked: they are leaving."""
    _cancel(conn, act, setup_intents.lock_open(conn, act.account_id, customer_ids=customer_ids))


def cancel_set_ups(conn: Connection, act: Act, ids: Sequence[str]) -> None:
    """Give up those of these setup intents that can be, whose customers are locked."""
    if ids:
        _cancel(conn, act, setup_intents.lock_open(conn, act.account_id, ids=ids))


def _cancel(
    conn: Connection, act: Act, before: Sequence[SetupIntent], reason: str | None = None
) -> list[SetupIntent]:
    if not before:
        return []
    after = [canceled(each, now=act.now, reason=reason) for each in before]
    give_up_attempts(conn, act, before)
    setup_intents.update_many(conn, act.account_id, after)
    announce(
        conn,
        act,
        [
            Announcement("setup_intent.canceled", "setup_intent", now.id, now, changes(then, now))
            for then, now in zip(before, after, strict=True)
        ],
    )
    release(conn, act, after)
    return after


def give_up_attempts(conn: Connection, act: Act, intents: Sequence[SetupIntent]) -> None:
    """What was tried and has not come to an end decides nothing any more; it takes no money."""
    left = setup_attempts.unsettled_of(conn, act.account_id, [each.id for each in intents])
    given_up = [
        replace(
            each,
            status=AttemptStatus.CANCELED,
            next_action=None,
            leased_until=None,
            settled_at=act.now,
        )
        for each in left.values()
    ]
    setup_attempts.settle(conn, act.account_id, given_up)


def release(conn: Connection, act: Act, over: Sequence[SetupIntent]) -> None:
    """Subscriptions wait for these setup intents no more, whose customers are locked.

    One that succeeded gives its subscription the payment method, if that saves it (Stripe:
    ``save_default_payment_method``).
    """
    intent_of = {each.subscription_id: each for each in over if each.subscription_id}
    if not intent_of:
        return
    moved = []
    for before in subscriptions.load(conn, act.account_id, intent_of).values():
        intent = intent_of[before.id]
        if before.pending_setup_intent_id != intent.id:
            continue
        after = replace(before, pending_setup_intent_id=None)
        if intent.status == SetupIntentStatus.SUCCEEDED and before.saves_payment_method:
            after = replace(after, default_payment_method_id=intent.payment_method_id)
        moved.append((before, after))
    subscriptions.update_many(conn, act.account_id, [after for _, after in moved])
    announce(conn, act, [subscription_updated(before, after) for before, after in moved])


def lock_setup_intent(
    conn: Connection, act: Act, intent_id: str, *, customer_id: str | None = None
) -> tuple[SetupIntent, Act]:
    """The setup intent as it is once its customer is locked, and the act at the customer's time.

    ``customer_id`` is the customer that it is to have. Raises ``NotFound``.
    """
    found = setup_intents.load(conn, act.account_id, [intent_id]).get(intent_id)
    if found is None:
        raise NotFound.of("setup_intent", intent_id)
    ids = {each for each in (found.customer_id, customer_id) if each}
    locked = customers.lock(conn, act.account_id, ids) if ids else {}
    if customer_id is not None and _is_gone(locked.get(customer_id)):
        raise NotFound.of("customer", customer_id, param="customer")
    intent = setup_intents.lock(conn, act.account_id, [intent_id])[intent_id]
    if intent.customer_id is not None and intent.customer_id not in locked:
        raise Conflict("This SetupIntent has just got a customer; try again.")
    owner = locked.get(intent.customer_id or customer_id or "")
    return intent, act.at(owner.now(act.now), owner.clock_id) if owner else act


def _is_gone(customer: Customer | None) -> bool:
    return customer is None or customer.deleted_at is not None


def choose(
    conn: Connection, act: Act, payment_method_id: str | None, customer_id: str | None
) -> PaymentMethod | None:
    """The payment method, locked, if one is asked for; of a test card's id, a new one.

    Raises ``NotFound``, and ``InvalidRequest`` for one that is attached to someone else.
    """
    if payment_method_id is None:
        return None
    method = take(conn, act, payment_method_id, param="payment_method")
    if method.customer_id is not None and method.customer_id != customer_id:
        raise InvalidRequest(
            f"The payment method {method.id} is attached to another customer than the "
            "SetupIntent's. It can be set up for its own customer only.",
            param="payment_method",
        )
    return method


def check_type(intent: SetupIntent, method: PaymentMethod) -> None:
    """Raises ``InvalidRequest`` for a payment method of a type that the setup intent excludes."""
    types = intent.payment_method_types
    if types and method.type not in types:
        raise InvalidRequest(
            f"The payment method {method.id} is of type {method.type}, and this SetupIntent takes "
            f"{', '.join(types)} only.",
            param="payment_method",
        )


def of_intent(what: str, intent: SetupIntent) -> Announcement:
    """That ``what`` happened to a setup intent."""
    return Announcement(f"setup_intent.{what}", "setup_intent", intent.id, intent)
