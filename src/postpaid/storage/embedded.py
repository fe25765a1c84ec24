"""The PostgreSQL that comes with the wheel: start it, attach to it, stop it.

A data directory holds one cluster, served by at most one PostgreSQL and shared by any number of
processes. They start, attach and leave one at a time, under a lock on ``postgres.lock``. Whoever
uses the server holds a shared lock on ``postgres.attached``, which the kernel releases however a
process ends; the last to leave stops the server, whoever started it. A server whose users were all
killed keeps running, idle, until the next start adopts it. A server that is killed itself is
launched again by whoever of its users looks after it first (``revive``).

``postgres`` is the cluster, complete from the moment it bears this name. ``postgres.conf`` has our
settings, written at every launch; ``ALTER SYSTEM`` overrides them. ``postgres.log`` is its log.
There is no TCP port and no password: the Unix socket lies in a directory of mode 0700.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self, TypeGuard

from psycopg import pq

from postpaid.storage.embedded_cluster import Place, launch, open_private
from postpaid.storage.embedded_programs import EmbeddedError as EmbeddedError

if sys.platform != "win32":
    import fcntl

PATIENCE_S = 300  # recovery after a crash replays up to max_wal_size, and must not be cut short


@dataclass(frozen=True)
class Embedded:
    """One use of a running server, until ``stop`` or the end of its ``with`` block.

    ``url`` is for psycopg: database "postpaid", as its superuser "postpaid".
    ``owner`` says whether this use launched the server or found it running.
    """

    url: str
    owner: bool
    _place: Place = field(repr=False)
    _attached: IO[bytes] = field(repr=False)
    _settings: Mapping[str, str] = field(repr=False)
    _launched: list[subprocess.Popen[bytes]] = field(repr=False)
    _pid: int = field(repr=False)

    def stop(self) -> None:
        """Leave, and shut the server down if nobody else uses it; doing so again is harmless.

        Connections still open are cut. Raises EmbeddedError when the server does not stop.
        """
        if self._attached.closed or self._pid != os.getpid():  # a forked child is not a user
            return
        with _explained(self._place), _deciding(self._place), self._attached:
            _leave(self._place, self._attached)
        self._runs()

    def revive(self) -> bool:
        """Launch the server again if it was killed under us; whether that was so.

        Whoever uses the server may notice: the first launches it, and the others find it there.
        Raises EmbeddedError when it does not start; to try again later is harmless.
        """
        if self._attached.closed or self._pid != os.getpid() or self._runs():
            return False
        with _explained(self._place), _deciding(self._place):
            if self._attached.closed:
                return False
            server = _make_ready(self._place, self._settings)
        if server is not None:
            self._launched.append(server)
        return server is not None

    def _runs(self) -> bool:
        """Whether a server is there; one of ours that is not does not stay a zombie."""
        self._launched[:] = [server for server in self._launched if server.poll() is None]
        return bool(self._launched) or _postmaster(self._place) is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def is_missing(data_dir: Path) -> bool:
    """Whether there is no cluster in the directory, so that ``start`` would make one, or try to."""
    try:
        Place(data_dir).cluster.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # it cannot be looked at, which start explains
    return False


def start(data_dir: Path, *, settings: Mapping[str, str] | None = None) -> Embedded:
    """Use the server of ``data_dir``, which is created, initialized and launched as needed.

    ``settings`` add to our PostgreSQL settings, or override them, if this call launches the server.
    The server does not hear the terminal's Ctrl-C: the caller decides when to ``stop``.
    Raises EmbeddedError when the directory cannot be used or the server does not start.
    """
    if sys.platform == "win32":
        raise EmbeddedError("The embedded PostgreSQL needs Unix: give a --database-url instead.")
    place = Place(Path(os.path.realpath(data_dir)))
    with _explained(place):
        place.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _deciding(place):
            attached = open_private(place.attached)
            try:
                _try_lock(attached, fcntl.LOCK_SH)  # always granted: only deciders exclude
                server = _make_ready(place, settings or {})
            except BaseException:
                with attached:
                    _leave(place, attached)
                raise
    launched = [] if server is None else [server]
    return Embedded(
        place.url, bool(launched), place, attached, settings or {}, launched, os.getpid()
    )


@contextmanager
def _explained(place: Place) -> Iterator[None]:
    """Turn what the operating system refuses into an EmbeddedError that names the path."""
    try:
        yield
    except OSError as error:
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is in the way" if in_the_way else error.strerror or error
        where = error.filename or place.home
        raise EmbeddedError(f"PostgreSQL cannot use {where}: {reason}.") from error


@contextmanager
def _deciding(place: Place) -> Iterator[None]:
    """Be the only process that starts, attaches or leaves."""
    deadline = time.monotonic() + PATIENCE_S
    with open_private(place.lock) as lock:
        while not _try_lock(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"Another process has been starting or stopping the PostgreSQL in "
                    f"{place.home} for {PATIENCE_S} seconds; {place.log} may say why."
                )
            time.sleep(0.02)
        yield


def _try_lock(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise EmbeddedError(
            f"{file.name} cannot be locked ({error.strerror}): choose a --data-dir on a local disk."
        ) from error
    return True


def _leave(place: Place, attached: IO[bytes]) -> None:
    """Shut the server down if nobody else is attached; the caller closes ``attached``."""
    if not _try_lock(attached, fcntl.LOCK_EX):
        return
    pid = _postmaster(place)
    for how, patience_s in ((signal.SIGINT, 60), (signal.SIGQUIT, 10)):  # fast, then at once
        if not _serves(pid, place):
            break
        deadline = time.monotonic() + patience_s
        with suppress(ProcessLookupError):
            os.kill(pid, how)
        # Its end counts, not that of its file, which it removes a moment before.
        while _serves(pid, place) and time.monotonic() < deadline:
            time.sleep(0.01)
    if _serves(pid, place):
        raise EmbeddedError(f"PostgreSQL, process {pid}, does not stop; see {place.log}.")
    place.remove_sockets()


def _postmaster(place: Place) -> int | None:
    """The process that serves the cluster now, whatever a stale or reused pid in its file says."""
    pid = place.recorded_pid()
    return pid if _serves(pid, place) else None


def _serves(pid: int | None, place: Place) -> TypeGuard[int]:
    """Whether this process runs and is a PostgreSQL of the cluster."""
    if pid is None:
        return False
    if sys.platform == "linux":
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        except (FileNotFoundError, ProcessLookupError):
            return False
    else:
        ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        command = subprocess.run(ps, stdout=subprocess.PIPE, check=False).stdout
    return b"postgres -D " + os.fsencode(place.cluster) + b" " in command


def _make_ready(place: Place, settings: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Wait until the cluster accepts connections; the server, if one had to be launched for it."""
    server = None
    begun = time.monotonic()
    pause = 0.002
    while (answer := _ask(place)) != pq.Ping.OK:
        waited = time.monotonic() - begun
        if server is not None and server.poll() is not None:
            # The children of a killed PostgreSQL may need a moment to notice that it is gone.
            if waited > 10 or "is still in use" not in place.log_end():
                raise EmbeddedError(
                    f"PostgreSQL did not start in {place.home}. Its log ends:\n{place.log_end()}"
                )
            server = None
        if waited > PATIENCE_S:
            raise EmbeddedError(
                f"PostgreSQL in {place.home} has accepted no connection for {PATIENCE_S} seconds. "
                f"Its log ends:\n{place.log_end()}"
            )
        # A silent socket decides, not a dead pid: a server in another container has no pid here.
        if server is None and answer == pq.Ping.NO_RESPONSE and _postmaster(place) is None:
            server = launch(place, settings)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    return server


def _ask(place: Place) -> pq.Ping:
    if not place.cluster.exists():
        return pq.Ping.NO_RESPONSE
    place.check_sockets()
    return pq.Ping(pq.PGconn.ping(f"{place.url}&connect_timeout=5".encode()))
