"""Running the engine in this process: PostgreSQL, the HTTP server and the worker.

Everything here is a ``with`` block that ends what it started. An interrupt unwinds the blocks from
the inside out, and another one gives up the wait that it finds; the database goes last.
"""

from __future__ import annotations

import errno
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib import import_module
from typing import Never

import psycopg

from postpaid import clock
from postpaid.billing import manage_keys
from postpaid.config import Settings
from postpaid.storage import accounts, embedded
from postpaid.storage.database import Database, SchemaTooNew, migrate
from postpaid.storage.vault import Vault, VaultError, key_in_file

log = logging.getLogger(__name__)

WATCH_S = 0.5  # how often we look whether the embedded PostgreSQL is still there
SWITCH_S = 0.0003  # threads that wait for PostgreSQL must not wait 5 ms more for the event loop
GRACE_S = 10  # for requests under way, and for the worker's batch, once we are told to end
IDLE_S = 75  # a client's idle connection is kept longer than a proxy before us would reuse it

Wait = Callable[[], Never]


class CannotRun(Exception):
    """Why we cannot start, or go on, in a sentence for whoever runs us."""


def heed_signals() -> None:
    """Let SIGTERM, and a terminal that closes, be what Ctrl-C is: a KeyboardInterrupt."""
    ends = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # not nohup
        ends.append(signal.SIGHUP)
    for each in ends:
        signal.signal(each, signal.default_int_handler)


def log_to_stderr() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def import_ahead() -> None:
    """Import the application in the meantime, for whoever waits for PostgreSQL."""
    threading.Thread(target=import_module, args=("postpaid.api.server",), daemon=True).start()


# ─── What it takes ───────────────────────────────────────────────────────────────────────────


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any free one. Raises ``CannotRun``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = (error.strerror or "").partition(" (")[0]  # whose rest repeats the address
        advice = " Choose another --port." if error.errno == errno.EADDRINUSE else ""
        raise CannotRun(f"Cannot listen on {host}, port {port}: {reason}.{advice}") from error


def base_url(listener: socket.socket) -> str:
    """Where the API is, for somebody on this machine."""
    host, port, *_ = listener.getsockname()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def opened(settings: Settings, *, makes: bool = True) -> Iterator[Database]:
    """The operator's database, or else the embedded one, with the newest schema.

    The embedded one is made where it is missing, unless whoever asks only looks at what is there,
    and ``makes`` nothing. Raises ``CannotRun`` or ``EmbeddedError``.
    """
    if not makes and settings.database_url is None and embedded.is_missing(settings.data_dir):
        raise CannotRun(
            f"There is no data in {settings.data_dir}. Choose another --data-dir, or a database "
            "with --database-url."
        )
    with postgres(settings) as url:
        bring_up_to_date(url)
        with closing(Database(url, vault=vault(settings))) as database:
            yield database


def vault(settings: Settings) -> Vault:
    """What seals secrets: with the operator's keys, or one in a file that is made when missing.

    Raises ``CannotRun``.
    """
    try:
        return Vault(settings.secret_keys or [key_in_file(settings.data_dir / "secret.key")])
    except (VaultError, OSError) as error:
        raise CannotRun(f"Secrets cannot be sealed: {error}") from error


@contextmanager
def postgres(settings: Settings) -> Iterator[str]:
    """The URL of a PostgreSQL; the embedded one is stopped if nobody else needs it."""
    if settings.database_url is not None:
        yield settings.database_url
    else:
        with embedded.start(settings.data_dir) as server, _watching(server):
            yield server.url


@contextmanager
def _watching(server: embedded.Embedded) -> Iterator[None]:
    """Have the server launched again, should it be killed before the block ends."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_S):
            try:
                if server.revive():
                    log.warning("PostgreSQL was gone; it has been started again.")
            except embedded.EmbeddedError as error:
                log.error("PostgreSQL is gone, and does not start: %s", error)

    thread = threading.Thread(target=watch, name="postgres", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def bring_up_to_date(url: str) -> list[str]:
    """Apply the migrations that are missing; return their names. Raises ``CannotRun``."""
    try:
        return migrate(url)
    except SchemaTooNew as error:
        raise CannotRun(
            f"A newer Postpaid has used this database. {error} Run that version again, or restore "
            "the backup from before it."
        ) from error
    except psycopg.ProgrammingError as error:
        if error.sqlstate is not None:  # the server's own
            raise CannotRun(f"The database cannot be used: {error}") from error
        said = str(error).strip()
        why = "" if "://" in said else f" ({said})"  # a URL may have a password in it
        raise CannotRun(
            f"The database URL cannot be read{why}: it is like "
            "postgresql://user@host:5432/database."
        ) from error
    except psycopg.Error as error:
        raise CannotRun(f"The database cannot be used: {error}") from error


def first_key(database: Database, settings: Settings) -> str | None:
    """The secret of a key for the first account in test mode, which is opened if there is none.

    It is the operator's own choice, at every start, or one of our making when the account is new.
    """
    now = clock.now()
    with database.transaction() as conn:
        account = accounts.find_first(conn, livemode=False)
        if account is not None and settings.api_key is None:
            return None
        if account is None:
            name = manage_keys.FIRST_ACCOUNT
            account = manage_keys.open_account(conn, name, livemode=False, now=now)
        if settings.api_key is None:
            return manage_keys.create_key(conn, account, now=now).secret
        manage_keys.adopt_key(conn, account, settings.api_key, now=now)
        return settings.api_key


# ─── One process ─────────────────────────────────────────────────────────────────────────────


@contextmanager
def working(database: Database, settings: Settings) -> Iterator[threading.Thread]:
    """A worker, in a thread. One that does not end in time is left to the database's rollback."""
    from postpaid import worker

    stop = threading.Event()
    thread = threading.Thread(
        target=worker.run, args=(database, stop, settings), name="worker", daemon=True
    )
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(GRACE_S)


def wait_for(thread: threading.Thread) -> None:
    """As ``join``; but a join that is interrupted takes the thread for ended (Python 3.11)."""
    while thread.is_alive():
        time.sleep(0.1)


@contextmanager
def engine(database: Database, settings: Settings, listener: socket.socket) -> Iterator[Wait]:
    """An HTTP server on ``listener`` and a worker, in threads of this process.

    The block begins when requests are answered. It gets a function that waits for as long as they
    are, and then raises ``CannotRun``.
    """
    import uvicorn

    from postpaid.api.server import create_app

    sys.setswitchinterval(SWITCH_S)

    configuration = uvicorn.Config(
        create_app(database, settings),
        log_config=None,
        access_log=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = uvicorn.Server(configuration)
    thread = threading.Thread(target=server.run, args=([listener],), name="http", daemon=True)

    def wait() -> Never:
        wait_for(thread)
        raise CannotRun("The HTTP server ended by itself; the log above says why.")

    with working(database, settings):
        try:
            thread.start()
            while not server.started:
                if not thread.is_alive():
                    wait()
                time.sleep(0.005)
            yield wait
        finally:
            server.should_exit = True
            thread.join()
