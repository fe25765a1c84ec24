"""The log of attempts to deliver: what was answered, or why there was no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from postpaid.core.deliveries import ATTEMPTS_KEPT, Outcome
from postpaid.storage.database import Connection, as_json_rows, copy_into, fetch, values_of
from postpaid.storage.deliveries import Delivery


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a delivery; ``number`` counts from 1."""

    delivery_id: str
    number: int
    attempted_at: datetime
    duration_ms: int
    status_code: int | None
    error: str | None
    response: str | None

    @classmethod
    def of(cls, delivery: Delivery, outcome: Outcome) -> Attempt:
        """The attempt that ended so; the delivery has counted it."""
        return cls(
            delivery_id=delivery.id,
            number=delivery.attempts,
            attempted_at=outcome.attempted_at,
            duration_ms=outcome.duration_ms,
            status_code=outcome.status_code,
            error=outcome.error,
            response=outcome.response,
        )


COLUMNS = (
    "delivery_id",
    "number",
    "attempted_at",
    "duration_ms",
    "status_code",
    "error",
    "response",
)
_values = values_of(*COLUMNS)

FORGET_OLD = """
DELETE FROM webhook_attempts a
 USING json_to_recordset(%(rows)s) AS r(delivery_id text, number integer)
 WHERE a.account_id = %(account_id)s
   AND a.delivery_id = r.delivery_id
   AND a.number <= r.number - %(kept)s
"""


def log(conn: Connection, account_id: int, attempts: Sequence[Attempt]) -> None:
    """Write down attempts; of each delivery only the last twenty are kept."""
    copy_into(
        conn,
        "webhook_attempts",
        ("account_id", *COLUMNS),
        ((account_id, *_values(each)) for each in attempts),
    )
    many = [each for each in attempts if each.number > ATTEMPTS_KEPT]
    if many:
        parameters = {
            "account_id": account_id,
            "rows": as_json_rows(many, ("delivery_id", "number")),
            "kept": ATTEMPTS_KEPT,
        }
        conn.execute(FORGET_OLD, parameters)


LIST = """
SELECT delivery_id, number, attempted_at, duration_ms, status_code, error, response
  FROM webhook_attempts
 WHERE account_id = %(account_id)s
   AND delivery_id = ANY(%(delivery_ids)s)
 ORDER BY delivery_id, number DESC
"""


def list_many(
    conn: Connection, account_id: int, delivery_ids: Sequence[str]
) -> dict[str, list[Attempt]]:
    """The attempts of each delivery, the last one first."""
    parameters = {"account_id": account_id, "delivery_ids": list(delivery_ids)}
    found: dict[str, list[Attempt]] = {each: [] for each in delivery_ids}
    for attempt in fetch(conn, Attempt, LIST, parameters):
        found[attempt.delivery_id].append(attempt)
    return found
