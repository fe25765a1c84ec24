"""The engine as an operator runs it, in processes of its own, to be measured from outside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

KEY = "sk_test_benchmarks0123456789abcdef"


@contextmanager
def serving(database_url: str, *, workers: int, **variables: str) -> Iterator[tuple[str, int]]:
    """A ``postpaid serve`` on that database; gives its host and port. The key is ``KEY``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from postpaid.cli import main; main()",
            "serve",
            "--port",
            str(port),
            "--workers",
            str(workers),
        ],
        env=os.environ
        | {"POSTPAID_DATABASE_URL": database_url, "POSTPAID_API_KEY": KEY}
        | variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "is ready at" in line:
                break
        else:
            raise RuntimeError("the server did not start")
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait(30)
