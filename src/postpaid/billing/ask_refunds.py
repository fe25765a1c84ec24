"""Ask gateways about refunds, and record what they say.

Safe to repeat, by anybody and at any time: the first who asks makes the refund, and every later one
asks what became of it. It is asked for again, with the same key, only when the gateway is certain
that it never was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from time import monotonic

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.do_each import do_each, raise_failed
from postpaid.billing.gateways import GATEWAYS, load
from postpaid.billing.perform import Act
from postpaid.billing.refund import LEASE, take_back_failed
from postpaid.billing.settle import PATIENCE_S
from postpaid.core.refunds import Refund, RefundStatus
from postpaid.core.values import replace
from postpaid.outside.gateways.protocol import (
    Absent,
    Declined,
    Gateway,
    Outcome,
    Processing,
    RefundRequest,
    RequiresAction,
    Succeeded,
    Unknown,
    storable,
)
from postpaid.storage import customers, refunds
from postpaid.storage.database import Connection, Database

AT_ONCE = 16  # gateways are asked about so many refunds at a time
RECHECK = timedelta(minutes=10)  # by the wall clock: so often is asked what a bank did
BATCH = 500

Answer = Outcome | Absent


def ask_refunds(database: Database, act: Act, ids: Sequence[str]) -> None:
    """Ask the gateway about each refund that is pending and record what it says; safe to repeat.

    One whose outcome stays unknown stays pending, and is asked about again later. When a gateway
    answers nobody, or all take too long, the rest waits for its lease. ``act`` is by the wall
    clock. Raises what could not be recorded, once all the others are.
    """
    if not ids:
        return
    with database.connection() as conn:
        found = refunds.load(conn, act.account_id, ids).values()
    waiting = [each for each in found if each.status == RefundStatus.PENDING]
    if not waiting:
        return
    gateways = load(database, act, {each.gateway for each in waiting})
    at_once = AT_ONCE if gateways.keys() - GATEWAYS.keys() else len(waiting)
    begun = monotonic()
    failed: list[tuple[Refund, Exception]] = []
    waiting.sort(key=lambda each: (each.gateway, each.asked))
    rest = [list(some) for _, some in groupby(waiting, key=lambda each: each.gateway)]
    while rest:  # the gateways take turns
        rest = [
            some[at_once:]
            for some in rest
            if monotonic() - begun < PATIENCE_S
            and _ask(database, act, some[:at_once], gateways, failed)
            and some[at_once:]
        ]
    if len(ids) == 1 and failed:
        raise failed[0][1]
    raise_failed(failed)


def _ask(
    database: Database,
    act: Act,
    some: Sequence[Refund],
    gateways: Mapping[str, Gateway],
    failed: list[tuple[Refund, Exception]],
) -> bool:
    """The same for as many as are asked about at once; returns whether anything was heard."""
    with database.transaction() as conn:
        asking = refunds.begin_asking(conn, act.account_id, [each.id for each in some])
        clock_ids = {each.clock_id for each in asking if each.clock_id}
        times = refunds.clock_times(conn, act.account_id, clock_ids) if clock_ids else {}
    if len(asking) > 1 and gateways.keys() - GATEWAYS.keys():
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda each: _answer(gateways, act, each), asking))
    else:
        answers = [_answer(gateways, act, each) for each in asking]
    told = {each.id: storable(answer) for each, answer in zip(asking, answers, strict=True)}
    known = [each for each in asking if not isinstance(told[each.id], Unknown)]
    for clock_id in sorted({each.clock_id for each in known}, key=str):
        of_clock = [each for each in known if each.clock_id == clock_id]
        at_clock = act.at(times.get(clock_id or "", act.now), clock_id)
        with database.transaction() as conn:
            failed += do_each(conn, of_clock, partial(_record, conn, at_clock, told, act.now))[1]
    return bool(known) or not asking


def _record(
    conn: Connection,
    act: Act,
    answers: Mapping[str, Answer],
    wall: datetime,
    asked: Sequence[Refund],
) -> Sequence[Refund]:
    record_refunds(conn, act, asked, answers, wall=wall)
    return asked


def _answer(gateways: Mapping[str, Gateway], act: Act, refund: Refund) -> Answer:
    gateway = gateways[refund.gateway]
    request = RefundRequest(
        idempotency_key=refund.id,
        charge_reference=refund.charge_reference,
        amount=refund.amount,
        currency=refund.currency,
        reason=refund.reason,
        age_s=max(refund.asked - 1, (act.now - refund.created_at).total_seconds()),
    )
    try:
        if refund.asked > 1:
            answer = gateway.ask_refund(request, refund.gateway_reference)
            if not isinstance(answer, Absent):
                return answer
        return gateway.refund(request)
    except Exception as error:  # whatever a gateway's library raises, the money may have gone
        return Unknown(str(error))


def record_refunds(
    conn: Connection,
    act: Act,
    asked: Sequence[Refund],
    answers: Mapping[str, Answer],
    *,
    wall: datetime,
) -> None:
    """Write known outcomes of refunds, by their ids; whoever comes second changes nothing."""
    # Read. The customers are locked first, and only then is anything believed.
    customers.hold(conn, act.account_id, [each.customer_id for each in asked if each.customer_id])

    # Decide.
    after = [_concluded(each, answers[each.id], act.now, wall) for each in asked]

    # Write.
    fresh = refunds.settle(conn, act.account_id, after)
    said = []
    failed = []
    for before, now in zip(asked, after, strict=True):
        if now.id not in fresh or now.status == before.status:
            continue
        what = changes(before, now)
        said.append(Announcement("refund.updated", "refund", now.id, now, what))
        if now.status == RefundStatus.FAILED:
            said.append(Announcement("refund.failed", "refund", now.id, now))
            failed.append(now)
    announce(conn, act, said)
    take_back_failed(conn, act, failed)


def _concluded(refund: Refund, answer: Answer, now: datetime, wall: datetime) -> Refund:
    if isinstance(answer, Processing | RequiresAction):
        return replace(refund, gateway_reference=answer.reference, leased_until=wall + RECHECK)
    if isinstance(answer, Succeeded):
        return replace(
            refund,
            status=RefundStatus.SUCCEEDED,
            gateway_reference=answer.reference,
            leased_until=None,
            settled_at=now,
        )
    if isinstance(answer, Declined):
        return replace(
            refund,
            status=RefundStatus.FAILED,
            failure_code=answer.code,
            failure_message=answer.message,
            gateway_reference=answer.reference or refund.gateway_reference,
            leased_until=None,
            settled_at=now,
        )
    return refund


def ask_pending_refunds(database: Database, act: Act, *, wall: datetime) -> int:
    """Refunds whose asker died, or whose gateway took its time: ask again, with the same key."""
    with database.transaction() as conn:
        ids = refunds.claim_pending(
            conn, act.account_id, now=wall, leased_until=wall + LEASE, limit=BATCH
        )
    ask_refunds(database, act, ids)
    return len(ids)
