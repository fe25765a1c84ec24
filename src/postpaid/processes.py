"""Running the engine in several processes that share one listener and one database.

Each is a child of the process that watches it. It says on its standard output when it is ready, and
ends when its standard input does: however the parent ends, no child outlives it.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import IO, Never

from postpaid import config, serving
from postpaid.config import Settings
from postpaid.storage.database import Database

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 64  # of all processes to the database, which by itself allows 100
RESTARTS_MAX = 5  # within RESTARTS_WITHIN_S; more often, another restart is no remedy
RESTARTS_WITHIN_S = 60
READY = b"ready\n"

Child = subprocess.Popen[bytes]


@contextmanager
def engines(
    database_url: str, settings: Settings, listener: socket.socket, count: int
) -> Iterator[serving.Wait]:
    """As ``serving.engine``, in ``count`` processes. One that dies is replaced."""
    pool_size = max(4, min(16, CONNECTIONS_MAX // count))
    environment = {
        **os.environ,
        "POSTPAID_DATABASE_URL": database_url,
        "POSTPAID_DATA_DIR": str(settings.data_dir),  # where the secret key may be
    }
    children: list[Child] = []

    def start() -> None:
        children.append(_start(environment, listener, pool_size))

    def wait() -> Never:
        restarts: deque[float] = deque(maxlen=RESTARTS_MAX)
        while True:
            child = _next_to_end(children)
            log.error("Process %d ended by itself, with %d.", child.pid, child.wait())
            children.remove(child)
            now = time.monotonic()
            if len(restarts) == RESTARTS_MAX and now - restarts[0] < RESTARTS_WITHIN_S:
                raise serving.CannotRun("The processes keep ending; the log above says why.")
            restarts.append(now)
            start()

    try:
        for _ in range(count):
            start()
        if any(_output(child).readline() != READY for child in children):
            raise serving.CannotRun("A process did not start; the log above says why.")
        yield wait
    finally:
        _end(children)


def _start(environment: Mapping[str, str], listener: socket.socket, pool_size: int) -> Child:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, str(listener.fileno()), str(pool_size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        env=environment,
        start_new_session=True,  # a Ctrl-C in the terminal is for the parent to hear
    )


def _next_to_end(children: list[Child]) -> Child:
    """Wait until one of them has ended, by itself."""
    while True:
        outputs = [_output(child) for child in children]
        for output in select.select(outputs, [], [])[0]:
            if output.readline() != READY:  # the end of its output, thus of the process
                return children[outputs.index(output)]


def _end(children: list[Child]) -> None:
    """Let them finish what they are doing, for a while."""
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
    deadline = time.monotonic() + 2 * serving.GRACE_S
    try:
        for child in children:
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0, deadline - time.monotonic()))
    finally:
        for child in children:
            child.kill()


def _output(child: Child) -> IO[bytes]:
    assert child.stdout is not None
    return child.stdout


# ─── The child ───────────────────────────────────────────────────────────────────────────────


def main() -> None:
    descriptor, pool_size = map(int, sys.argv[1:])
    serving.heed_signals()
    serving.log_to_stderr()
    settings = config.settings()
    assert settings.database_url is not None
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with (
        suppress(KeyboardInterrupt),
        socket.socket(fileno=descriptor) as listener,
        closing(
            Database(settings.database_url, pool_size=pool_size, vault=serving.vault(settings))
        ) as database,
        serving.engine(database, settings, listener) as wait,
    ):
        os.write(sys.stdout.fileno(), READY)
        wait()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)


if __name__ == "__main__":
    main()
