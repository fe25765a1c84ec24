"""What a handler is given: who asks, the database, and how to read and write.

A façade's own ``Call`` says how what was read is shown, and how a payment that failed is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from postpaid.billing.perform import Act, Answer, perform
from postpaid.core.errors import PaymentFailed
from postpaid.core.values import replace
from postpaid.storage.database import Connection, Database

Object = dict[str, Any]


@dataclass(slots=True)
class Call(ABC):
    """One request on its way through a handler."""

    act: Act
    database: Database
    operation: str
    parameters: Mapping[str, Any]  # all that the caller said: what a repeat must say again
    answer: Answer | None = field(default=None, kw_only=True)  # set by a write
    allowed_networks: tuple[str, ...] = field(default=(), kw_only=True)  # beside public ones

    @abstractmethod
    def shown(self, conn: Connection, said: Object) -> Object:
        """What is answered of what was read or done."""

    @abstractmethod
    def failed(self, error: PaymentFailed) -> Answer:
        """The answer to what failed to be paid."""

    def read(self, fn: Callable[[Connection], Object]) -> Object:
        """What ``fn`` reads, as it is shown."""
        with self.database.connection() as conn:
            return self.shown(conn, fn(conn))

    def write(self, fn: Callable[[Connection], Object]) -> Object:
        """What ``fn`` did in its transaction, as it is shown; or was, for the same key."""
        return self._perform(lambda conn: self.shown(conn, fn(conn)))

    def write_and_show(
        self,
        fn: Callable[[Connection], Object],
        show: Callable[[Connection, Object], Object],
    ) -> Object:
        """What ``show`` makes of what ``fn`` did, as things are now; a repeat sees them anew.

        Only what ``fn`` returns is remembered with the key: ids, and nothing that is secret. So
        Stripe's v2 wants it (a repeat returns an updated response).
        """
        done = self._perform(fn)
        with self.database.connection() as conn:
            return self.shown(conn, show(conn, done))

    def write_anew(self, fn: Callable[[Connection], Object]) -> Object:
        """What ``fn`` did, as it is shown, remembered with no key: a repeat does it again.

        For what a repeat cannot harm, and for answers that are nobody's to keep.
        """
        self.act = replace(self.act, idempotency_key=None)
        return self.write(fn)

    def write_then(
        self, begin: Callable[[Connection], Object], finish: Callable[[Object], Object]
    ) -> Object:
        """``begin`` in a transaction, then ``finish`` outside it, with what ``begin`` returned.

        ``finish`` may be repeated with that, JSON in between, and makes its answer by ``read``. A
        ``PaymentFailed`` that it raises is an answer like any other, and remembered.
        """

        def finished(begun: Mapping[str, Any]) -> Answer:
            try:
                return Answer(200, finish(dict(begun)))
            except PaymentFailed as error:
                return self.failed(error)

        return self._perform(begin, finished)

    def _perform(
        self,
        begin: Callable[[Connection], Object],
        finish: Callable[[Mapping[str, Any]], Answer] | None = None,
    ) -> Object:
        self.answer = perform(
            self.database, self.act, self.operation, self.parameters, begin, finish
        )
        return cast(Object, self.answer.body)
