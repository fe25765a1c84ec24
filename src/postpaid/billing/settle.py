"""Ask gateways about attempts, and record what they say.

Safe to repeat, by anybody and at any time: an attempt is charged by the first who asks, and every
later one asks what became of it. It is charged again, with the same key, only when the gateway is
certain that nothing came of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from time import monotonic
from typing import TypeAlias

from postpaid.billing.do_each import do_each, raise_failed
from postpaid.billing.gateways import GATEWAYS, load
from postpaid.billing.perform import Act
from postpaid.billing.record_outcomes import record_outcomes
from postpaid.outside.gateways.protocol import (
    Absent,
    ChargeRequest,
    Declined,
    Gateway,
    Outcome,
    Succeeded,
    Unknown,
    storable,
)
from postpaid.storage import payments
from postpaid.storage.database import Database
from postpaid.storage.payments import Asking, AttemptStatus, PaymentAttempt

AT_ONCE = 16  # gateways are asked about so many attempts at a time
PATIENCE_S = 20  # no more are asked about after that: with the last ones, it is less than a lease

Answer: TypeAlias = Outcome | Absent


def settle(database: Database, act: Act, attempts: Sequence[PaymentAttempt]) -> None:
    """Ask the gateway about each attempt and record what it says; safe to repeat.

    An attempt whose outcome stays unknown stays pending, and is asked about again later. ``act`` is
    at the customers' time. Raises what could not be recorded, once all the others are.
    """
    if not attempts:
        return
    gateways = _gateways(database, act, attempts)
    failed: list[tuple[PaymentAttempt, Exception]] = []
    if gateways.keys() - GATEWAYS.keys():
        _settle_elsewhere(database, act, attempts, gateways, failed)
    else:
        _settle(database, act, attempts, gateways, failed)
    if len(attempts) == 1 and failed:
        raise failed[0][1]
    raise_failed(failed)


def _settle_elsewhere(
    database: Database,
    act: Act,
    attempts: Sequence[PaymentAttempt],
    gateways: Mapping[str, Gateway],
    failed: list[tuple[PaymentAttempt, Exception]],
) -> None:
    """Those elsewhere take their time: what they have said is recorded before more is asked.

    When a gateway answers nobody, or all take too long, the rest waits for its lease, those asked
    least often first; the other gateways' attempts, and whatever else is due, do not wait for them.
    """
    begun = monotonic()
    waiting = sorted(attempts, key=lambda each: (each.gateway, each.asked))
    rest = [list(some) for _, some in groupby(waiting, key=lambda each: each.gateway)]
    while rest:  # in turns
        rest = [
            some[AT_ONCE:]
            for some in rest
            if monotonic() - begun < PATIENCE_S
            and _settle(database, act, some[:AT_ONCE], gateways, failed)
            and some[AT_ONCE:]
        ]


def _settle(
    database: Database,
    act: Act,
    attempts: Sequence[PaymentAttempt],
    gateways: Mapping[str, Gateway],
    failed: list[tuple[PaymentAttempt, Exception]],
) -> bool:
    """The same for as many as are asked about at once; returns whether anything was heard.

    What cannot be recorded is added to ``failed``, and costs the others nothing.
    """
    ids = [each.id for each in attempts]
    replaced_ids = [each.replaces for each in attempts if each.replaces]
    with database.transaction() as conn:
        asking = payments.begin_asking(conn, act.account_id, ids)
        replaced = payments.load(conn, act.account_id, replaced_ids) if replaced_ids else {}
    open_ones = [each for each in attempts if each.id in asking]

    def answers(each: PaymentAttempt) -> dict[str, Answer]:
        gateway = gateways[each.gateway]
        before = replaced.get(each.replaces or "")
        return _answers(gateway, gateways, act, each, asking[each.id], before)

    if len(open_ones) > 1 and gateways.keys() - GATEWAYS.keys():
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(answers, open_ones))
    else:
        found = [answers(each) for each in open_ones]

    known = {
        key: storable(answer)
        for each in found
        for key, answer in each.items()
        if not isinstance(answer, Unknown)
    }
    # What is replaced is recorded first: it may have been paid in the meantime.
    both = [*replaced.values(), *open_ones]
    told = [each for each in both if each.id in known]

    def record(some: Sequence[PaymentAttempt]) -> Sequence[PaymentAttempt]:
        record_outcomes(conn, act, some, known)
        return some

    with database.transaction() as conn:
        failed += do_each(conn, told, record)[1]
    return bool(known) or not open_ones


def _answers(
    gateway: Gateway,
    gateways: Mapping[str, Gateway],
    act: Act,
    attempt: PaymentAttempt,
    asking: Asking,
    before: PaymentAttempt | None,
) -> dict[str, Answer]:
    """What the gateway says of the attempt, and of the one that it replaces, by their ids."""
    if asking.given_up:
        return {attempt.id: _given_up(gateway, act, attempt)}
    said: dict[str, Answer] = {}
    if before is not None and before.status == AttemptStatus.SUCCEEDED:
        return {attempt.id: Absent()}  # it was paid in the meantime
    if before is not None and before.status in payments.UNSETTLED:
        said[before.id] = _given_up(gateways[before.gateway], act, before)
        if isinstance(said[before.id], Succeeded):
            return {**said, attempt.id: Absent()}
        if not isinstance(said[before.id], Absent):
            return {}  # it may yet be paid: nothing else is tried
    return {**said, attempt.id: _answer(gateway, act, attempt, asking.asked)}


def _answer(gateway: Gateway, act: Act, attempt: PaymentAttempt, asked: int) -> Answer:
    # A customer's clock may stand still, but what was asked before was asked earlier.
    request = request_of(act, attempt, age_s_min=asked - 1)
    try:
        if asked > 1:
            answer = gateway.ask(request, attempt.gateway_reference)
            if not isinstance(answer, Absent):
                return answer
        return gateway.charge(request)
    except Exception as error:  # whatever a gateway's library raises, the charge may have happened
        return Unknown(str(error))


def _given_up(gateway: Gateway, act: Act, attempt: PaymentAttempt) -> Answer:
    """Nobody wants the charge any more: ``Absent`` once it is certain that it will not be."""
    request = request_of(act, attempt)
    try:
        answer = gateway.cancel(request, attempt.gateway_reference)
    except Exception as error:
        return Unknown(str(error))
    return Absent() if isinstance(answer, Declined) else answer


def request_of(act: Act, attempt: PaymentAttempt, *, age_s_min: int = 0) -> ChargeRequest:
    return ChargeRequest(
        idempotency_key=attempt.id,
        token=attempt.gateway_token,
        amount=attempt.amount,
        currency=attempt.currency,
        off_session=not attempt.on_session,
        description=attempt.invoice_id or attempt.payment_intent_id,
        age_s=max(age_s_min, (act.now - attempt.attempted_at).total_seconds()),
    )


def _gateways(
    database: Database, act: Act, attempts: Sequence[PaymentAttempt]
) -> Mapping[str, Gateway]:
    """The gateways of these attempts, and of those that they replace, by name."""
    replaced_ids = [each.replaces for each in attempts if each.replaces]
    replaced = {}
    if replaced_ids:
        with database.connection() as conn:
            replaced = payments.load(conn, act.account_id, replaced_ids)
    return load(database, act, {each.gateway for each in [*attempts, *replaced.values()]})
