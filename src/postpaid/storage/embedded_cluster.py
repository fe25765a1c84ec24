"""The cluster of a data directory: where it lies, how it is made, and how it is launched."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from postpaid.storage.embedded_programs import (
    Account,
    EmbeddedError,
    find_account,
    find_binaries,
)

SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_MAX = 103  # bytes: macOS has 104 with the closing zero, Linux 108
LOG_MAX = 10_000_000  # bytes; a longer log is set aside at the next launch
MB = 1 << 20


class Place:
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
        """What the log says last."""
        with suppress(FileNotFoundError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])
        return ""

    def recorded_pid(self) -> int | None:
        """What the cluster says its server is, though the server may have ended since."""
        try:
            return int((self.cluster / "postmaster.pid").read_bytes().split(b"\n")[0])
        except (FileNotFoundError, ValueError):  # absent, or not written yet
            return None

    def check_sockets(self) -> None:
        """Refuse a directory in /tmp that somebody else may have put there, with a false server."""
        if self.sockets == self.cluster or not os.path.lexists(self.sockets):
            return
        status = self.sockets.lstat()
        private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        if not private or status.st_uid != self.cluster.stat().st_uid:
            raise EmbeddedError(
                f"{self.sockets} must be a directory that only the owner of {self.cluster} may "
                "enter, and is not: remove it, or choose a --data-dir with a shorter path."
            )

    def remove_sockets(self) -> None:
        """Leave nothing of ours in /tmp once the server is down."""
        if self.sockets == self.cluster or not self.sockets.exists():
            return
        for name in (SOCKET, f"{SOCKET}.lock"):  # still there if PostgreSQL was killed
            (self.sockets / name).unlink(missing_ok=True)
        self.sockets.rmdir()


def open_private(path: Path) -> IO[bytes]:
    """A file of ours, to append to or to lock: private, as whoever can read a file can lock it."""
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


def launch(place: Place, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the server, which takes a while to answer, with a new cluster if there is none.

    The caller is the only one who may, and none is running. Raises EmbeddedError when the cluster
    or its directory cannot be used.
    """
    binaries = find_binaries()
    account = find_account(place.home, place.cluster, binaries)
    version = account.run(binaries / "postgres", "--version")  # postgres (PostgreSQL) 18.4
    major = int(version.split()[-1].split(".")[0])
    if not place.cluster.exists():
        _create_cluster(place, binaries, account, major, durable=settings.get("fsync") != "off")
    _check_cluster(place, major)
    _write_conf(place, {**_tuning(major), **settings})
    if place.sockets != place.cluster and not os.path.lexists(place.sockets):
        place.sockets.mkdir(mode=0o700)
        account.give(place.sockets)
    place.check_sockets()
    if place.log.exists() and place.log.stat().st_size > LOG_MAX:
        place.log.replace(place.home / "postgres.log.1")
    # A process that by chance has the pid of a killed PostgreSQL would be taken for it, unless it
    # is the grandparent. Removing postmaster.pid would help too, but this file is also how
    # PostgreSQL recognizes children of the killed one that have not ended yet.
    stale = {"PG_GRANDPARENT_PID": str(place.recorded_pid() or 0)}
    with open_private(place.log) as log:
        return account.spawn(
            *(binaries / "postgres", "-D", place.cluster),
            *("-c", f"config_file={place.conf}", "-c", f"unix_socket_directories={place.sockets}"),
            *("-c", "port=5432", "-c", "listen_addresses="),
            output=log,
            environment=stale,
        )


def _create_cluster(
    place: Place, binaries: Path, account: Account, major: int, *, durable: bool
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


def _check_cluster(place: Place, major: int) -> None:
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


def _write_conf(place: Place, settings: Mapping[str, str]) -> None:
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
