"""What gateways said of setup attempts → setup intents, and customers who have a payment method.

Once each: whoever comes second with an outcome finds the attempt settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.manage_setup_intents import of_intent, release
from postpaid.billing.perform import Act
from postpaid.core import setup_intents as intents
from postpaid.core.setup_intents import SetupIntent
from postpaid.core.values import replace
from postpaid.outside.gateways.protocol import (
    Declined,
    Outcome,
    Processing,
    RequiresAction,
    Succeeded,
)
from postpaid.storage import customers, payment_methods, setup_attempts, setup_intents
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod
from postpaid.storage.payments import AttemptStatus
from postpaid.storage.setup_attempts import SetupAttempt

RECHECK = timedelta(minutes=10)  # by the wall clock: so often is asked what a bank or customer did

TAKEN = Declined(
    "payment_method_not_available",
    None,
    "The payment method has been attached to another customer in the meantime.",
)


def record_set_ups(
    conn: Connection,
    act: Act,
    attempts: Sequence[SetupAttempt],
    outcomes: Mapping[str, Outcome],
) -> None:
    """Write known outcomes of setup attempts, by their ids; what succeeded is the customer's.

    The customers share the act's time. One that was deleted in the meantime gets nothing, and a
    setup intent that was canceled stays so.
    """
    if not attempts:
        return
    # Read. The customers are locked first, and only then is anything believed.
    account_id = act.account_id
    locked = customers.lock(
        conn, account_id, {each.customer_id for each in attempts if each.customer_id}
    )
    before = setup_intents.lock(conn, account_id, {each.setup_intent_id for each in attempts})
    methods = payment_methods.lock_many(
        conn, account_id, {each.payment_method_id for each in attempts}
    )
    said = {each.id: _possible(each, outcomes[each.id], methods) for each in attempts}
    concluded = [_concluded(each, said[each.id], act.now) for each in attempts]
    fresh = setup_attempts.settle(conn, account_id, concluded)

    # Decide.
    after: dict[str, SetupIntent] = {}
    attached: dict[str, PaymentMethod] = {}
    announced: list[Announcement] = []
    for each in concluded:
        intent = before[each.setup_intent_id]
        if each.id not in fresh or intent.status in intents.OVER:
            continue
        now = after[intent.id] = _decided(intent, each)
        happened = _HAPPENED.get(each.status)
        if happened:
            announced.append(of_intent(happened, now))
        method = methods[each.payment_method_id]
        owner = locked.get(each.customer_id or "")
        if (
            each.status == AttemptStatus.SUCCEEDED
            and owner is not None
            and owner.deleted_at is None
            and method.customer_id is None
        ):
            owned = replace(method, customer_id=owner.id, detached_at=None)
            attached[method.id] = owned
            announced.append(
                Announcement("payment_method.attached", "payment_method", owned.id, owned)
            )

    # Write.
    setup_intents.update_many(conn, account_id, list(after.values()))
    owners = {key: each.customer_id for key, each in attached.items() if each.customer_id}
    payment_methods.attach_many(conn, account_id, owners)
    announce(conn, act, announced)
    release(conn, act, [each for each in after.values() if each.status in intents.OVER])


_HAPPENED = {
    AttemptStatus.SUCCEEDED: "succeeded",
    AttemptStatus.FAILED: "setup_failed",
    AttemptStatus.ACTION_REQUIRED: "requires_action",
}


def _possible(
    attempt: SetupAttempt, outcome: Outcome, methods: Mapping[str, PaymentMethod]
) -> Outcome:
    """The outcome, unless the payment method has become someone else's."""
    owner_id = methods[attempt.payment_method_id].customer_id
    if isinstance(outcome, Succeeded) and owner_id not in (None, attempt.customer_id):
        return TAKEN
    return outcome


def _decided(intent: SetupIntent, attempt: SetupAttempt) -> SetupIntent:
    match attempt.status:
        case AttemptStatus.SUCCEEDED:
            return intents.succeeded(intent, attempt.id, attempt.payment_method_id)
        case AttemptStatus.FAILED:
            error = {
                "code": attempt.failure_code,
                "decline_code": attempt.decline_code,
                "message": attempt.failure_message,
                "payment_method_id": attempt.payment_method_id,
            }
            return intents.declined(intent, attempt.id, error)
        case AttemptStatus.ACTION_REQUIRED:
            return intents.waiting_for_customer(
                intent, attempt.id, attempt.payment_method_id, attempt.next_action or {}
            )
    return intents.processing(intent, attempt.id, attempt.payment_method_id)


def _concluded(attempt: SetupAttempt, outcome: Outcome, now: datetime) -> SetupAttempt:
    settled = replace(attempt, next_action=None, leased_until=None, settled_at=now)
    if isinstance(outcome, Succeeded):
        return replace(settled, status=AttemptStatus.SUCCEEDED, gateway_reference=outcome.reference)
    if isinstance(outcome, Declined):
        return replace(
            settled,
            status=AttemptStatus.FAILED,
            gateway_reference=outcome.reference or attempt.gateway_reference,
            failure_code=outcome.code,
            decline_code=outcome.decline_code,
            failure_message=outcome.message,
        )
    assert isinstance(outcome, RequiresAction | Processing), "what is unknown is not recorded"
    assert attempt.leased_until is not None
    waiting = replace(
        attempt,
        gateway_reference=outcome.reference,
        leased_until=attempt.leased_until + RECHECK,
    )
    if isinstance(outcome, RequiresAction):
        action = {"url": outcome.url, "client_secret": outcome.client_secret}
        return replace(waiting, status=AttemptStatus.ACTION_REQUIRED, next_action=action)
    return replace(waiting, status=AttemptStatus.PROCESSING, next_action=None)
