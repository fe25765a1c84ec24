"""`postpaid demo`: the whole product once, from an empty directory to a paid invoice."""

from __future__ import annotations

import re
from pathlib import Path

from command import Serve, run, running_in


def test_the_demo_bills_a_month_and_leaves_nothing(tmp_path: Path) -> None:
    told = run("demo", "--data-dir", tmp_path / "demo")
    assert (told.returncode, told.stderr) == (0, "")
    for figure in ("10,000", "2,345", "$23.45", "$99.00", "invoice.paid, $122.45", "paid"):
        assert figure in told.stdout
    assert list(tmp_path.iterdir()) == []
    assert running_in(tmp_path) == []


def test_a_demo_that_is_kept_can_be_looked_at(serve: Serve, tmp_path: Path) -> None:
    told = run("demo", "--keep", "--data-dir", tmp_path)
    assert told.returncode == 0
    [folder] = re.findall(r"postpaid serve --data-dir (\S+)", told.stdout)
    [key] = re.findall(r"sk_test_\w+", told.stdout)
    assert running_in(tmp_path) == []

    server = serve("--data-dir", folder)
    invoices = server.get("/v1/invoices", key).json()["data"]
    assert [invoice["total"] for invoice in invoices] == [12_245, 9_900]
    assert server.end() == 0
