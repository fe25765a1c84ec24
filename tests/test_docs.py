"""What the documents point to exists: files, names in modules, invariants."""

import re
from pathlib import Path

import pytest

from postpaid.storage.checks import CHECKS

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "src" / "postpaid"
FOLDERS = {path.name for base in (ROOT, HOUSE) for path in base.iterdir() if path.is_dir()}

LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")  # [text](path#anchor), not a URL
CODE = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/?)`")  # `core/money.py`, and much that is no path
FILE = re.compile(r".\.(md|py|sql|toml|lock)$")
INVARIANT = re.compile(r"\binvariant (\d+)", re.IGNORECASE)
INVARIANT_ROW = re.compile(r"^\| (\d+) \|", re.MULTILINE)

each_document = pytest.mark.parametrize(
    "document",
    sorted(
        str(path.relative_to(ROOT)) for glob in ("*.md", "docs/**/*.md") for path in ROOT.glob(glob)
    ),
)


def exists(path: str, document: Path) -> bool:
    """Whether a document's path leads somewhere: from the root, from the package, from itself."""
    if any((base / path).exists() for base in (ROOT, HOUSE, document.parent)):
        return True
    module, _, name = path.rpartition(".")  # core/money.round_minor
    source = HOUSE / f"{module}.py"
    return source.exists() and re.search(rf"\b{name}\b", source.read_text()) is not None


@each_document
def test_every_path_named_in_a_document_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    paths = set(LINK.findall(text))
    paths |= {
        path
        for path in CODE.findall(text)
        if FILE.search(path) or ("/" in path and path.split("/")[0] in FOLDERS)
    }
    assert not [path for path in sorted(paths) if not exists(path, ROOT / document)]


@each_document
def test_every_invariant_named_in_a_document_exists(document: str) -> None:
    named = set(INVARIANT.findall((ROOT / document).read_text()))
    assert named <= invariants()


def test_every_invariant_that_the_audit_checks_is_documented() -> None:
    assert {str(check.invariant) for check in CHECKS} <= invariants()


def invariants() -> set[str]:
    return set(INVARIANT_ROW.findall((ROOT / "docs" / "invariants.md").read_text()))
