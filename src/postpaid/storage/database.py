"""The pool, the transaction, the migrations, and how values become rows and rows values."""

from __future__ import annotations

import select
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from enum import Enum
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from operator import attrgetter
from typing import Any, TypeVar, cast, get_args, get_type_hints

import msgspec
import psycopg
import psycopg_pool
from psycopg.types.json import JsonbDumper, set_json_dumps, set_json_loads

from postpaid.core.errors import Conflict
from postpaid.core.values import maker
from postpaid.storage.vault import Vault

Connection = psycopg.Connection[tuple[Any, ...]]
T = TypeVar("T")

_encode = msgspec.json.Encoder(decimal_format="string").encode

set_json_dumps(_encode)
set_json_loads(msgspec.json.decode)
psycopg.adapters.register_dumper(dict, JsonbDumper)

MIGRATION_LOCK = 8420_0001  # pg_advisory_lock: one process migrates at a time
RECONNECT_S = 10  # after that, waits between attempts to connect begin to grow anew
LOCK_TIMEOUT = "10s"  # nobody waits longer for a row, and nothing queues behind them


class Database:
    """One PostgreSQL, a bounded pool of connections to it, and the keys to its sealed columns."""

    def __init__(self, url: str, *, pool_size: int = 16, vault: Vault | None = None) -> None:
        self.url = url
        self.pool_size = pool_size
        self.vault = vault or Vault()
        self._pool: psycopg_pool.ConnectionPool[Connection] = psycopg_pool.ConnectionPool(
            url,
            min_size=1,
            max_size=pool_size,
            kwargs={"autocommit": True},
            configure=_configure,
            check=_check,
            open=True,
            timeout=30,
            reconnect_timeout=RECONNECT_S,
            reconnect_failed=lambda pool: pool.check(),  # whoever waits still wants to be served
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection inside a transaction: committed at the end, rolled back on an exception.

        Raises ``Conflict`` when another transaction held what this one needs for too long, or the
        two deadlocked: nothing was changed and the caller may try again.
        """
        try:
            with self._pool.connection() as conn, conn.transaction():
                yield conn
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            raise Conflict("This object is being changed by another request; try again.") from error

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection where each statement is its own transaction: for reading."""
        with self._pool.connection() as conn:
            yield conn

    @contextmanager
    def exclusively(self, name: str) -> Iterator[bool]:
        """Whether this process alone holds ``name``, which it then does until the block ends.

        An advisory lock of a connection's session: a process that dies lets go of it.
        """
        with self._pool.connection() as conn:
            row = conn.execute(
                "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (name,)
            ).fetchone()
            ours = bool(row and row[0])
            try:
                yield ours
            finally:
                if ours:
                    conn.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (name,))

    def wait_for_work(self, timeout_s: float) -> None:
        """Wait until someone calls ``wake_workers``, or for ``timeout_s``."""
        with self._pool.connection() as conn:
            conn.execute("LISTEN due_work")
            try:
                for _ in conn.notifies(timeout=timeout_s, stop_after=1):
                    pass
            finally:
                conn.execute("UNLISTEN due_work")

    def ping(self) -> None:
        """Raises when the database does not answer."""
        with self.connection() as conn:
            conn.execute("SELECT 1")

    def close(self) -> None:
        self._pool.close()


def is_unknown(error: BaseException) -> bool:
    """Whether a transaction that raised this may have been committed all the same.

    The connection was lost: the database knows what became of it, and we do not.
    """
    return isinstance(error, psycopg.OperationalError)


def is_out_of_range(error: BaseException) -> bool:
    """Whether a value was refused because no column can hold it, such as a sum above 64 bits."""
    return isinstance(error, psycopg.DataError)


def wake_workers(conn: Connection) -> None:
    """Tell waiting workers, once this transaction commits, that there is something to do now."""
    conn.execute("NOTIFY due_work")


def _check(conn: Connection) -> None:
    """Raises when the connection was lost while it lay in the pool; without asking the server.

    Nobody speaks unasked on a connection that lies there, unless to say goodbye.
    """
    if _can_read(conn.fileno()):
        psycopg_pool.ConnectionPool.check_connection(conn)


def _can_read(descriptor: int) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _configure(conn: Connection) -> None:
    conn.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    conn.execute("SET TIME ZONE 'UTC'")
    # A plan kept from when a table was empty reads all of it once it is full.
    conn.execute("SET plan_cache_mode = force_custom_plan")


# ─── Migrations ──────────────────────────────────────────────────────────────────────────────

MIGRATIONS = resources.files("postpaid.storage") / "migrations"

APPLIED = """
SELECT name
  FROM schema_migrations
"""

RECORD_MIGRATION = """
INSERT INTO schema_migrations (name)
VALUES (%(name)s)
"""


class SchemaTooNew(Exception):
    """The database has migrations that we do not know: somebody newer has used it."""


def migrate(url: str, folder: Traversable = MIGRATIONS) -> list[str]:
    """Bring the database's schema up to date; return the names of the migrations applied now.

    Forward only, each in its own transaction, under an advisory lock, so that any number of
    processes may start together. A migration ``0007_x.sql`` may have a ``0007_x.check.sql`` beside
    it, whose assertions run in the same transaction. Raises ``SchemaTooNew``, and does nothing.
    """
    known = migrations(folder)
    applied_now: list[str] = []
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        conn.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied = {name for (name,) in conn.execute(APPLIED)}
        if newer := applied - {name for name, _ in known}:
            raise SchemaTooNew(f"It has migrations that are not known here: {sorted(newer)[0]}.")
        for name, statements in known:
            if name in applied:
                continue
            with conn.transaction():
                conn.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                conn.execute(statements.encode())
                conn.execute(RECORD_MIGRATION, {"name": name})
            applied_now.append(name)
    return applied_now


def migrations(folder: Traversable) -> list[tuple[str, str]]:
    """Every migration's name and SQL, its check appended, in order."""
    texts = {entry.name: entry.read_text() for entry in folder.iterdir()}
    return [
        (name.removesuffix(".sql"), texts[name] + texts.get(name[:-4] + ".check.sql", ""))
        for name in sorted(texts)
        if name.endswith(".sql") and not name.endswith(".check.sql")
    ]


# ─── Rows ────────────────────────────────────────────────────────────────────────────────────


def row_of(cls: type[T]) -> Callable[[psycopg.Cursor[Any]], Callable[[Sequence[Any]], T]]:
    """A row factory that makes ``cls``, a dataclass, from columns named like its fields.

    Enum fields come back as their enum, so that a row is what its type says it is. Fields without
    a column get their default.
    """

    enum_fields = _enum_fields_of(cast(Hashable, cls))

    def factory(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], T]:
        names = [column.name for column in cursor.description or ()]
        members = [(names.index(name), enum) for name, enum in enum_fields if name in names]
        made_of = maker(cls, names)

        def make(values: Sequence[Any]) -> T:
            values = list(values)
            for position, by_value in members:
                values[position] = by_value[values[position]]
            return made_of(values)

        return make if members else made_of

    return factory


@lru_cache
def _enum_fields_of(cls: Hashable) -> list[tuple[str, dict[Any, Enum | None]]]:
    """A dataclass's fields that are enums, with their members by value."""
    assert isinstance(cls, type)
    hints = get_type_hints(cls)
    enums = []
    for field in fields(cls):
        for candidate in (hints[field.name], *get_args(hints[field.name])):
            if isinstance(candidate, type) and issubclass(candidate, Enum):
                by_value = {member.value: member for member in candidate} | {None: None}
                enums.append((field.name, by_value))
    return enums


def fetch(
    conn: Connection, cls: type[T], query: str, parameters: dict[str, Any] | None = None
) -> list[T]:
    """Every row of ``query`` as a ``cls``."""
    with conn.cursor(row_factory=row_of(cls)) as cursor:
        return cursor.execute(query.encode(), parameters).fetchall()


def fetch_one(
    conn: Connection, cls: type[T], query: str, parameters: dict[str, Any] | None = None
) -> T | None:
    """The first row of ``query`` as a ``cls``, or None."""
    with conn.cursor(row_factory=row_of(cls)) as cursor:
        return cursor.execute(query.encode(), parameters).fetchone()


def copy_into(
    conn: Connection,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Add many rows in one statement. ``table`` and ``columns`` are ours, never a caller's."""
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    with conn.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for row in rows:
            copy.write_row(row)


def values_of(*columns: str) -> Callable[[Any], tuple[Any, ...]]:
    """A function from a row value to its columns' values, in order."""
    return attrgetter(*columns)


def parameters_of(account_id: int, row: Any) -> dict[str, Any]:
    """A row value as a query's parameters, named like its fields, with the account's."""
    named = {field.name: getattr(row, field.name) for field in fields(row)}
    return {"account_id": account_id, **named}


def as_json_rows(rows: Iterable[Any], columns: Sequence[str]) -> str:
    """Row values for ``json_to_recordset``: one parameter, however many the rows."""
    values = attrgetter(*columns)
    return _encode([dict(zip(columns, values(row), strict=True)) for row in rows]).decode()
