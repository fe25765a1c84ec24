"""Servers that end with their test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import PATIENCE_S, POSTPAID, Serve, Serving, environment


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start ``postpaid serve`` on a free port, with these flags and variables; wait for it."""
    started: list[subprocess.Popen[str]] = []

    def start(*flags: str | Path, **variables: str) -> Serving:
        errors = tmp_path / f"errors-{len(started)}"
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [POSTPAID, "serve", "--port=0", *flags],
                env=environment(**variables),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        started.append(process)
        assert process.stdout is not None
        said = ""
        while "ready at" not in said:
            line = process.stdout.readline()
            assert line, f"It ended: {said}{errors.read_text()}"
            said += line
        return Serving(process, said, errors)

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
