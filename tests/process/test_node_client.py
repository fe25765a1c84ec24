"""Stripe's own client for Node against a running server: the stories are in ``tests/node``.

They need Node 18 or newer with npm. Where these are missing the tests are skipped, unless
``POSTPAID_TEST_REQUIRE`` names ``node``, as `.ci/run` has it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from command import Serve, environment

STORIES = Path(__file__).parents[1] / "node"
KEY = "sk_test_of_someone_who_speaks_javascript"
INSTALL_S = 300
STORY_S = 110

missing = [each for each in ("node", "npm") if shutil.which(each) is None]
required = "node" in os.environ.get("POSTPAID_TEST_REQUIRE", "").split(",")

pytestmark = [
    pytest.mark.skipif(bool(missing) and not required, reason=f"not here: {', '.join(missing)}"),
    pytest.mark.timeout(INSTALL_S + STORY_S),
]


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    """What the lock file says, installed beside the stories unless it is already."""
    assert not missing, f"required, and not here: {', '.join(missing)}"
    lock = (STORIES / "package-lock.json").read_bytes()
    installed = STORIES / "node_modules" / ".installed"
    with (STORIES / "package.json").open() as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)  # several processes run tests at once
        if not installed.exists() or installed.read_bytes() != lock:
            done = run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", within=INSTALL_S)
            assert done.returncode == 0, done.stderr
            installed.write_bytes(lock)


@pytest.mark.parametrize("story", sorted(path.name for path in STORIES.glob("*.test.mjs")))
def test_the_official_client_for_node(
    serve: Serve, fresh_database_url: str, tmp_path: Path, story: str
) -> None:
    server = serve(
        "--database-url",
        fresh_database_url,
        POSTPAID_DATA_DIR=str(tmp_path),
        POSTPAID_API_KEY=KEY,
        POSTPAID_WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8",
    )
    told = run(
        "node",
        "--test",
        story,
        within=STORY_S,
        POSTPAID_TEST_URL=server.url,
        POSTPAID_TEST_KEY=KEY,
        NO_PROXY="127.0.0.1",
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert server.end() == 0
    assert server.errors.read_text() == ""


def run(*command: str, within: int, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=STORIES,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=within,
    )
