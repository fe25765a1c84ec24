"""Workers that are killed at a chosen step of collecting a payment.

    python crasher.py

A refund, if the command has one, is asked for before all else, as a request does it. A bill of
usage is asked for instead of all else.

Reads a command a line, starts as many processes as it says, each with a database of its own, waits
for them and answers in a line: how each ended, and which steps it came to. A step is a moment
between two things that last: a statement that matters, a commit, a question to the provider.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import stripe

from postpaid import ids
from postpaid.billing import gateways
from postpaid.billing.ask_refunds import ask_pending_refunds, ask_refunds
from postpaid.billing.bill_usage import NewBillingInvoice, bill_usage
from postpaid.billing.pass_time import run_passes, settle_abandoned
from postpaid.billing.pay import Paying, finish_paying
from postpaid.billing.perform import Act, Answer, perform
from postpaid.billing.refund import NewRefund, refund
from postpaid.core.values import replace
from postpaid.outside.gateways.stripe import StripeGateway
from postpaid.storage import payments, refunds
from postpaid.storage.database import Connection, Database
from postpaid.storage.payment_gateways import GatewayKind
from postpaid.storage.vault import Vault

TIMEOUTS_S = (5, 0.5)  # shorter than the provider stalls


class Steps:
    """Counts the steps from the first that has to do with payments, and dies at one of them."""

    def __init__(self, die_at: int | None, told: int) -> None:
        self.die_at, self.told, self.count = die_at, told, 0

    def reach(self, name: str) -> None:
        os.write(self.told, f"{name}\n".encode())
        if self.count == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1


def watch(steps: Steps) -> None:
    """From now on every step of this process is counted."""

    def around(owner: Any, name: str) -> None:
        wrapped = getattr(owner, name)

        def watched(*args: Any, **more: Any) -> Any:
            steps.reach(f"before {name}")
            try:
                return wrapped(*args, **more)
            finally:  # or was it lost?
                steps.reach(f"after {name}")

        setattr(owner, name, watched)

    around(payments, "insert_many")
    around(payments, "begin_asking")
    around(payments, "settle")
    around(refunds, "insert_many")
    around(refunds, "begin_asking")
    around(refunds, "settle")
    around(stripe.RequestsClient, "request")

    begin = Database.transaction

    @contextmanager
    def transaction(database: Database) -> Iterator[Connection]:
        seen = steps.count
        with begin(database) as conn:
            yield conn
            if steps.count > seen:
                steps.reach("before commit")
        if steps.count > seen:
            steps.reach("after commit")

    Database.transaction = transaction  # type: ignore[method-assign]


def work(command: dict[str, Any]) -> None:
    """What a worker does in a round at each of the command's times."""
    database = Database(command["url"], pool_size=2, vault=Vault([command["vault"]]))
    if attempt_id := command["refund"]:
        now = datetime.fromisoformat(command["times"][0])
        act = Act(command["account_id"], False, "client", now, ids.new_id)
        with database.transaction() as conn:
            made = refund(conn, act, NewRefund(attempt_id=attempt_id))
        ask_refunds(database, act, [made.id])
    if asked := command["bill"]:
        bill(database, command, asked)
        return
    for now in map(datetime.fromisoformat, command["times"]):
        act = Act(command["account_id"], False, "worker", now, ids.new_id)
        while (
            run_passes(database, act, wall=now)
            + settle_abandoned(database, act, wall=now)
            + ask_pending_refunds(database, act, wall=now)
        ):
            pass
    database.close()


def bill(database: Database, command: dict[str, Any], asked: dict[str, str]) -> None:
    """Bill usage as a request does it, with an idempotency key."""
    now = datetime.fromisoformat(command["times"][0])
    act = Act(command["account_id"], False, "client", now, ids.new_id)
    act = replace(act, request_id=ids.new_id("req"), idempotency_key=asked["key"])
    span = (datetime.fromisoformat(asked["start"]), datetime.fromisoformat(asked["end"]))
    wanted = NewBillingInvoice(asked["customer"], *span, payment_method_id=asked["method"])

    def begin(conn: Connection) -> dict[str, Any]:
        [paying] = bill_usage(conn, act, [wanted])
        return {"invoice": paying.invoice_id, "attempts": paying.attempt_ids}

    def finish(begun: Mapping[str, Any]) -> Answer:
        paying = Paying(begun["invoice"], begun["attempts"])
        finish_paying(database, act, paying, declines_raise=False)
        return Answer(200, {"invoice": paying.invoice_id})

    perform(database, act, "bill", asked, begin, finish)
    database.close()


def warm_up() -> None:
    """Let Stripe's library import here what each process would import for itself."""
    StripeGateway("warm", "sk_test_12345")
    for name in ("PaymentIntent", "Refund", "ListObject"):
        getattr(stripe, name)


def start(command: dict[str, Any]) -> tuple[int, int]:
    """A process at work: its id, and where it tells of its steps."""
    heard, told = os.pipe()
    child = os.fork()
    if child:
        os.close(told)
        return child, heard
    ended = 1
    try:
        os.close(heard)
        watch(Steps(command.get("die_at"), told))
        work(command)
        ended = 0
    finally:
        sys.stderr.flush()
        os._exit(ended)


def main() -> None:
    warm_up()
    open_stripe: Callable[..., StripeGateway] = partial(StripeGateway, timeout_s=TIMEOUTS_S)
    gateways._KINDS[GatewayKind.STRIPE] = open_stripe
    for line in sys.stdin:
        command = json.loads(line)
        children = [start(command) for _ in range(command.get("workers", 1))]
        ends = []
        for child, heard in children:
            with os.fdopen(heard) as told:
                steps = told.read().splitlines()
            ends.append([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), steps])
        sys.stdout.write(json.dumps(ends) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
