"""Set payment methods up: write what is asked for, ask the gateway, and record what it says.

As with payments no lock is held while a gateway is asked. To ask takes no money and bears a key,
so an attempt without an outcome is simply asked about again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from postpaid.billing import gateways
from postpaid.billing.check_blocked import check_customer_not_blocked
from postpaid.billing.do_each import do_each, raise_failed
from postpaid.billing.manage_setup_intents import (
    check_type,
    choose,
    give_up_attempts,
    lock_setup_intent,
)
from postpaid.billing.perform import Act
from postpaid.billing.record_set_ups import RECHECK, record_set_ups
from postpaid.billing.settle import PATIENCE_S
from postpaid.core.errors import ActionNotAllowed, Conflict, InvalidRequest, PaymentFailed
from postpaid.core.setup_intents import SetupIntentAction, chosen, next_status
from postpaid.outside.gateways.protocol import (
    Declined,
    Gateway,
    Outcome,
    SetupRequest,
    Succeeded,
    Unknown,
    storable,
)
from postpaid.outside.gateways.test import NAME as TEST_GATEWAY
from postpaid.storage import customers, setup_attempts, setup_intents
from postpaid.storage.database import Connection, Database
from postpaid.storage.payments import AttemptStatus
from postpaid.storage.setup_attempts import SetupAttempt

LEASE = timedelta(minutes=2)  # by the wall clock: longer than asking and then doing take
AT_ONCE = 16  # gateways are asked about so many attempts at a time
BATCH = 100  # attempts that a worker asks about in one round

AUTHENTICATION_FAILED = Declined(
    "setup_intent_authentication_failure",
    None,
    "The customer could not be authenticated, so the payment method was not set up.",
)


@dataclass(frozen=True, slots=True)
class Confirming:
    """A setup intent with the attempt at it that is written, and not made yet."""

    intent_id: str
    attempt_id: str


def confirm(
    conn: Connection, act: Act, intent_id: str, *, payment_method_id: str | None = None
) -> Confirming:
    """Begin to set the payment method up; ``finish_confirming`` after the commit.

    The payment method is the one given, or the one chosen before. An attempt at it that has no
    outcome yet is asked about again; one at another, which waits for the customer, is given up.
    Raises ``ActionNotAllowed`` by the status table, and ``InvalidRequest`` without a payment
    method.
    """
    # Read.
    wall = act.now
    before, act = lock_setup_intent(conn, act, intent_id)
    next_status(before.status, SetupIntentAction.CONFIRM)
    method = choose(conn, act, payment_method_id or before.payment_method_id, before.customer_id)
    if method is None:
        raise InvalidRequest(
            "You cannot confirm this SetupIntent because it's missing a payment method. Update it "
            "with a payment method, or confirm it with one.",
            code="setup_intent_unexpected_state",
        )
    check_type(before, method)
    open_one = setup_attempts.unsettled_of(conn, act.account_id, [before.id]).get(before.id)

    # Decide.
    if open_one is not None and open_one.payment_method_id == method.id:
        return Confirming(before.id, open_one.id)
    if open_one is not None and open_one.status == AttemptStatus.PENDING:
        raise Conflict("This SetupIntent is being confirmed with another payment method.")
    if before.customer_id is not None:
        [customer] = customers.load(conn, act.account_id, [before.customer_id]).values()
        check_customer_not_blocked(customer)
    attempt = SetupAttempt(
        id=act.new_id("setatt"),
        setup_intent_id=before.id,
        customer_id=before.customer_id,
        payment_method_id=method.id,
        gateway=method.gateway,
        gateway_token=method.gateway_token,
        status=AttemptStatus.PENDING,
        gateway_reference=None,
        failure_code=None,
        decline_code=None,
        failure_message=None,
        next_action=None,
        leased_until=wall + LEASE,
        attempted_at=act.now,
        settled_at=None,
    )

    # Write.
    if open_one is not None:
        give_up_attempts(conn, act, [before])
    setup_attempts.insert_many(conn, act.account_id, [attempt])
    setup_intents.update_many(conn, act.account_id, [chosen(before, method.id)])
    return Confirming(before.id, attempt.id)


def finish_confirming(database: Database, act: Act, confirming: Confirming) -> None:
    """Ask the gateway, and record what it says; safe to repeat.

    Raises ``PaymentFailed`` when the payment method cannot be set up, and why the outcome could not
    be recorded.
    """
    ids = [confirming.attempt_id]
    with database.connection() as conn:
        attempts = list(setup_attempts.load(conn, act.account_id, ids).values())
    _settle_at_customers_times(database, act, attempts)
    with database.connection() as conn:
        [attempt] = setup_attempts.load(conn, act.account_id, ids).values()
    if attempt.status == AttemptStatus.FAILED:
        raise PaymentFailed(
            attempt.failure_message or "The payment method could not be set up.",
            code=attempt.failure_code,
            decline_code=attempt.decline_code,
            about={
                "setup_intent": attempt.setup_intent_id,
                "payment_method": attempt.payment_method_id,
            },
        )


def _settle_together(
    database: Database,
    act: Act,
    attempts: Sequence[SetupAttempt],
    failed: list[tuple[SetupAttempt, Exception]],
) -> None:
    """Ask the gateways about these attempts and record what they say; safe to repeat.

    An attempt whose outcome stays unknown stays pending; when they take too long, the rest waits
    for its lease. ``act`` is at the customers' time.
    """
    asked = [each for each in attempts if each.settled_at is None]
    if not asked:
        return
    known = gateways.load(database, act, {each.gateway for each in asked})
    begun = monotonic()
    for start in range(0, len(asked), AT_ONCE):
        if monotonic() - begun < PATIENCE_S:
            _settle(database, act, asked[start : start + AT_ONCE], known, failed)


def _settle(
    database: Database,
    act: Act,
    asked: Sequence[SetupAttempt],
    known: Mapping[str, Gateway],
    failed: list[tuple[SetupAttempt, Exception]],
) -> None:
    """The same for as many as are asked about at once.

    What cannot be recorded is added to ``failed``, and costs the others nothing.
    """

    def answer(each: SetupAttempt) -> Outcome:
        return storable(_answer(known[each.gateway], each))

    if len(asked) > 1:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(answer, asked))
    else:
        answers = [answer(each) for each in asked]
    outcomes = {
        each.id: said
        for each, said in zip(asked, answers, strict=True)
        if not isinstance(said, Unknown)
    }
    told = [each for each in asked if each.id in outcomes]

    def record(some: Sequence[SetupAttempt]) -> Sequence[SetupAttempt]:
        record_set_ups(conn, act, some, outcomes)
        return some

    with database.transaction() as conn:
        failed += do_each(conn, told, record)[1]


def _answer(gateway: Gateway, attempt: SetupAttempt) -> Outcome:
    request = SetupRequest(
        idempotency_key=attempt.id,
        token=attempt.gateway_token,
        off_session=False,  # who confirms it is there
    )
    try:
        if attempt.gateway_reference is not None:
            return gateway.ask_set_up(request, attempt.gateway_reference)
        return gateway.set_up(request)
    except Exception as error:  # whatever a gateway's library raises decides nothing
        return Unknown(str(error))


def settle_abandoned_set_ups(database: Database, act: Act, *, wall: datetime) -> int:
    """Attempts whose asker died, or whose customer or bank was waited for: ask again.

    Raises what could not be recorded, once all the others are.
    """
    with database.transaction() as conn:
        ids = setup_attempts.claim_unsettled(
            conn,
            act.account_id,
            now=wall,
            leased_until=wall + LEASE,
            recheck_at=wall + RECHECK,
            limit=BATCH,
        )
        attempts = list(setup_attempts.load(conn, act.account_id, ids).values()) if ids else []
    _settle_at_customers_times(database, act, attempts)
    return len(attempts)


def _settle_at_customers_times(
    database: Database, act: Act, attempts: Sequence[SetupAttempt]
) -> None:
    """The attempts of each test clock's customers at its time, and the others at the wall's.

    Raises what could not be recorded, once all the others are.
    """
    customer_ids = {each.customer_id for each in attempts if each.customer_id}
    owners = {}
    if customer_ids:
        with database.connection() as conn:
            owners = customers.load(conn, act.account_id, customer_ids)
    at_time: defaultdict[Act, list[SetupAttempt]] = defaultdict(list)
    for each in attempts:
        owner = owners.get(each.customer_id or "")
        moment = act.at(owner.now(act.now), owner.clock_id) if owner else act
        at_time[moment].append(each)
    failed: list[tuple[SetupAttempt, Exception]] = []
    for moment, together in at_time.items():
        _settle_together(database, moment, together, failed)
    if len(attempts) == 1 and failed:
        raise failed[0][1]
    raise_failed(failed)


def authenticate(conn: Connection, act: Act, intent_id: str, *, succeeds: bool) -> None:
    """What becomes of a test card's setup once its customer has acted, in one way or the other.

    Raises ``NotFound``, and ``ActionNotAllowed`` for one that does not wait for that.
    """
    intent, act = lock_setup_intent(conn, act, intent_id)
    attempt = setup_attempts.unsettled_of(conn, act.account_id, [intent.id]).get(intent.id)
    if (
        attempt is None
        or attempt.status != AttemptStatus.ACTION_REQUIRED
        or attempt.gateway != TEST_GATEWAY
    ):
        raise ActionNotAllowed(
            "This SetupIntent does not wait for the holder of a test card.",
            code="setup_intent_unexpected_state",
        )
    outcome: Mapping[str, Succeeded | Declined] = {
        attempt.id: Succeeded(attempt.gateway_reference or attempt.id)
        if succeeds
        else AUTHENTICATION_FAILED
    }
    record_set_ups(conn, act, [attempt], outcome)
