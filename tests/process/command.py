"""``postpaid`` as people run it, and what it leaves running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

POSTPAID = Path(sys.executable).with_name("postpaid")
PATIENCE_S = 60


def environment(**more: str) -> dict[str, str]:
    """Ours, but for the settings of whoever runs the tests."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("POSTPAID_")}
    return ours | more


def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [POSTPAID, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


@dataclass
class Serving:
    """A running ``postpaid serve``, and what it said until it was ready."""

    process: subprocess.Popen[str]
    said: str
    errors: Path

    @property
    def url(self) -> str:
        return re.findall(r"ready at (\S+)", self.said)[0]

    @property
    def key(self) -> str | None:
        """The key that it made, if it made one."""
        return next(iter(re.findall(r"shown only now: (\S+)", self.said)), None)

    def get(self, path: str, key: str | None = None) -> httpx.Response:
        auth = None if key is None else (key, "")
        return httpx.get(self.url + path, auth=auth, timeout=PATIENCE_S, trust_env=False)

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)


Serve = Callable[..., Serving]


# ─── What runs ───────────────────────────────────────────────────────────────────────────────


def children_of(parent: int) -> list[int]:
    """The processes that a server with several workers is made of."""
    return [pid for pid, command in _processes(parent).items() if "postpaid.processes" in command]


def runs(process: int) -> bool:
    """Whether the process is there, and not only as a zombie."""
    return Path("/proc", str(process), "exe").exists()


def running_in(folder: Path) -> list[str]:
    """What has the folder in its command line, as PostgreSQL has its data directory."""
    return [command for command in _processes().values() if str(folder) in command]


def _processes(parent: int | None = None) -> dict[int, str]:
    """The command lines by process id, of all or of one's children; none where /proc is absent."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may end while we look
            parent_field = (process / "stat").read_text().rpartition(")")[2].split()[1]
            if parent is None or int(parent_field) == parent:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(process.name)] = command.decode(errors="replace")
    return found
