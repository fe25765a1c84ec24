"""The house rules that neither the type checker nor the import linter knows."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "src" / "postpaid"
BELOW_THE_EDGES = ("core", "storage", "outside", "billing")

WALL_CLOCKS = re.compile(
    r"\b(datetime\.(now|utcnow|today)|date\.today|time\.(time|time_ns|localtime|gmtime))$"
)
SQL_CLOCKS = re.compile(
    r"\bnow\(\)|\b(clock|statement|transaction)_timestamp\(\)"
    r"|\b(current_date|current_time|current_timestamp|localtime|localtimestamp)\b",
    re.IGNORECASE,
)
SQL = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|MERGE INTO)\s")

# Statements about any table: migrations, cursors of pages.
ABOUT_ANY_TABLE = ("storage/database.py", "storage/paging.py")


def each_module(*parts: str) -> pytest.MarkDecorator:
    """Once for every module of these parts of the house, or of all of it."""
    folders = [HOUSE / part for part in parts] or [HOUSE]
    paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return pytest.mark.parametrize("module", [str(path.relative_to(HOUSE)) for path in paths])


def syntax(module: str) -> ast.Module:
    return ast.parse((HOUSE / module).read_text())


def queries(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and the text of every SQL statement in a piece of code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
            yield node.lineno, node.value


@each_module(*BELOW_THE_EDGES)
def test_nothing_below_the_edges_reads_the_wall_clock(module: str) -> None:
    for node in ast.walk(syntax(module)):
        if isinstance(node, ast.Attribute):
            assert not WALL_CLOCKS.search(ast.unparse(node)), f"line {node.lineno}: take `now`"
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            assert not {"time", "time_ns"} & {each.name for each in node.names}, "take `now`"


@each_module()
def test_no_query_reads_the_database_clock(module: str) -> None:
    for line, query in queries(syntax(module)):
        assert not SQL_CLOCKS.search(query), f"line {line}: take %(now)s"


def test_no_migration_reads_the_database_clock() -> None:
    for path in HOUSE.glob("storage/**/*.sql"):
        statements = re.sub("--.*", "", path.read_text())
        assert not SQL_CLOCKS.search(statements), path.name


@each_module("core", "billing")
def test_no_float_comes_near_money(module: str) -> None:
    tree = syntax(module)
    durations = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith("_S")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            assert node in durations, f"line {node.lineno}: a float, and not of seconds"
        if isinstance(node, ast.Name):
            assert node.id != "float", f"line {node.lineno}: take Decimal"


@each_module()
def test_every_query_is_a_constant_of_storage_in_capitals(module: str) -> None:
    tree = syntax(module)
    named = {
        line
        for statement in tree.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]).isupper()
        for line, _ in queries(statement)
        if module.startswith("storage/")
    }
    for line, query in queries(tree):
        assert line in named or module in ABOUT_ANY_TABLE, f"line {line}: {query.strip()[:40]}"


@each_module()
def test_only_the_gateway_to_stripe_needs_its_package_at_run_time(module: str) -> None:
    if module == "outside/gateways/stripe.py":  # which is imported by whoever has chosen it
        return
    for node in ast.walk(syntax(module)):
        imported = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            imported = [node.module or ""]
        assert not any(name.split(".")[0] == "stripe" for name in imported)
