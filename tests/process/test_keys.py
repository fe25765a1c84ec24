"""`postpaid keys create`: the secret is printed, and nothing else."""

from __future__ import annotations

import pytest
from command import run

from postpaid.billing import manage_keys
from postpaid.storage.database import Database


@pytest.mark.parametrize(("mode", "livemode"), [("test", False), ("live", True)])
def test_a_new_key_opens_its_mode(database_url: str, mode: str, livemode: bool) -> None:
    made = run(
        "keys", "create", "--mode", mode, "--name", "the shop", "--database-url", database_url
    )
    assert (made.returncode, made.stderr) == (0, "")
    [secret] = made.stdout.splitlines()
    assert secret.startswith(f"sk_{mode}_")

    database = Database(database_url)
    with database.connection() as conn:
        key = manage_keys.find_key(conn, secret)
    database.close()
    assert key is not None
    assert (key.livemode, key.name) == (livemode, "the shop")
