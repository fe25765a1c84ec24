"""What is final stays as it is, whoever tries: the database itself refuses."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.errors import RestrictViolation
from psycopg.types.json import Json

from rows import ACCOUNT, HOUR, NOW, OPEN, ROWS, add, change


@pytest.fixture
def draft(conn: psycopg.Connection) -> psycopg.Connection:
    """A draft with a line."""
    add(conn, "customers")
    add(conn, "customers", id="cus_2", invoice_prefix="OTHER")
    add(conn, "invoices")
    add(conn, "invoice_lines")
    return conn


@pytest.fixture
def final(draft: psycopg.Connection) -> psycopg.Connection:
    """The invoice, open."""
    change(draft, "invoices", **OPEN, ending_balance=0, customer_snapshot=Json({"name": "Ada"}))
    return draft


def refuses(conn: psycopg.Connection, constraint: str) -> Any:
    def by_name(error: BaseException) -> bool:
        return isinstance(error, RestrictViolation) and error.diag.constraint_name == constraint

    return pytest.raises(RestrictViolation, check=by_name)


NEVER = {
    "account_id": -2,
    "id": "in_2",
    "number": "ACME-0002",
    "customer_id": "cus_2",
    "subscription_id": "sub_2",
    "currency": "eur",
    "subtotal": 99,
    "total": 99,
    "starting_balance": -1,
    "ending_balance": -1,
    "amount_due": 101,
    "customer_snapshot": Json({"name": "Eve"}),
    "finalized_at": NOW + HOUR,
    "period_start": NOW - HOUR,
    "period_end": NOW + HOUR,
    "numbered_by": "account",
    "given_number": "7/26",
    "billing_reason": "manual",
    "collection_method": "send_invoice",
    "discount_ids": ["di_1"],
    "tax_rate_ids": ["txr_1"],
    "total_discounts": Json({"di_1": 1}),
    "total_credits": Json({"cbtxn_1": 1}),
    "total_taxes": Json({"txr_1": {"amount": 1, "taxable": 5, "inclusive": True}}),
    "threshold_reason": Json({"amount_gte": 50, "item_reasons": []}),
    "from_invoice_id": "in_0",
    "proration_at": NOW,
    "effective_at": NOW,
}


@pytest.mark.parametrize("column", NEVER)
def test_a_final_invoice_keeps_its(final: psycopg.Connection, column: str) -> None:
    with refuses(final, "invoices_frozen"):
        change(final, "invoices", **{column: NEVER[column]})


def test_a_final_invoice_is_never_a_draft_again(final: psycopg.Connection) -> None:
    with refuses(final, "invoices_frozen"):
        change(final, "invoices", status="draft", number=None, finalized_at=None)


def test_a_final_invoice_is_never_deleted(final: psycopg.Connection) -> None:
    with refuses(final, "invoices_frozen"):
        final.execute("DELETE FROM invoices WHERE id = 'in_1'")


@pytest.mark.parametrize(
    "column", sorted(set(NEVER) - {"account_id", "id", "number", "numbered_by", "finalized_at"})
)
def test_a_draft_may_change_its(draft: psycopg.Connection, column: str) -> None:
    assert change(draft, "invoices", **{column: NEVER[column]}) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "paid", "amount_paid": 100, "attempted": True, "paid_at": NOW},
        {"status": "void", "voided_at": NOW},
        {"status": "uncollectible", "marked_uncollectible_at": NOW},
        {"metadata": Json({"project": "x"})},
        {"description": "Thank you.", "footer": "Bank: …"},
        {"attempt_count": 1, "next_attempt_at": NOW},
        {"auto_advance": False, "default_payment_method_id": "pm_2"},
        {"due_at": NOW, "appearance": Json({"statement_descriptor": "ACME"})},
        {"latest_revision_id": "in_2", "pre_payment_credits": 1, "post_payment_credits": 1},
        {"total": 100, "customer_snapshot": Json({"name": "Ada"})},  # as they were
    ],
    ids=lambda changed: "-".join(changed),
)
def test_a_final_invoice_may_change_its(final: psycopg.Connection, changed: dict[str, Any]) -> None:
    assert change(final, "invoices", **changed) == 1


def test_a_draft_may_be_deleted(draft: psycopg.Connection) -> None:
    assert draft.execute("DELETE FROM invoices WHERE id = 'in_1'").rowcount == 1


def test_a_final_invoice_gets_no_new_line(final: psycopg.Connection) -> None:
    with refuses(final, "invoice_lines_frozen"):
        add(final, "invoice_lines", id="il_2", position=1, part=1)


def test_not_even_one_among_many_for_drafts(final: psycopg.Connection) -> None:
    add(final, "invoices", id="in_2")
    with final.cursor() as cursor, refuses(final, "invoice_lines_frozen"):
        columns = ", ".join(["account_id", *ROWS["invoice_lines"]])
        with cursor.copy(f"COPY invoice_lines ({columns}) FROM STDIN".encode()) as copy:
            for n, invoice_id in enumerate(["in_2", "in_2", "in_1", "in_2"], start=1):
                line = ROWS["invoice_lines"] | {
                    "id": f"il_2_{n}",
                    "invoice_id": invoice_id,
                    "position": n,
                    "obligation": f"sub_1/si_1/period-{n}",
                }
                copy.write_row([ACCOUNT, *line.values()])


def test_a_final_invoice_loses_no_line(final: psycopg.Connection) -> None:
    with refuses(final, "invoice_lines_frozen"):
        final.execute("DELETE FROM invoice_lines WHERE invoice_id = 'in_1'")


def test_a_draft_gets_and_loses_lines(draft: psycopg.Connection) -> None:
    add(draft, "invoice_lines", id="il_2", position=1, part=1)
    assert draft.execute("DELETE FROM invoice_lines WHERE invoice_id = 'in_1'").rowcount == 2


LINE = {
    "account_id": -2,
    "id": "il_2",
    "invoice_id": "in_2",
    "position": 1,
    "obligation": "sub_1/si_1/period-1",
    "part": 1,
    "subscription_id": "sub_2",
    "subscription_item_id": "si_2",
    "price_id": "price_2",
    "product_id": "prod_2",
    "meter_id": "mtr_2",
    "period_start": NOW - HOUR,
    "period_end": NOW + HOUR,
    "quantity": 2,
    "unit_amount": 2,
    "tier": 2,
    "kind": "flat",
    "amount": 99,
    "description": "Calls!",
    "invoice_item_id": "ii_2",
    "proration": True,
    "discountable": False,
    "credited": Json({"invoice_item": "ii_3"}),
    "discount_ids": ["di_1"],
    "tax_rate_ids": ["txr_1"],
    "discounts": Json({"di_1": 1}),
    "credits": Json({"cbtxn_1": 1}),
    "taxes": Json({"txr_1": {"amount": 1, "taxable": 5, "inclusive": True}}),
    "whole_seconds": 60,
}


@pytest.mark.parametrize("column", LINE)
def test_a_line_is_never_rewritten(final: psycopg.Connection, column: str) -> None:
    with refuses(final, "invoice_lines_frozen"):
        change(final, "invoice_lines", **{column: LINE[column]})


def test_not_on_a_draft_either(draft: psycopg.Connection) -> None:
    """It is replaced, which only a draft's can be."""
    with refuses(draft, "invoice_lines_frozen"):
        change(draft, "invoice_lines", amount=99)


def test_a_line_may_die_and_be_labelled(final: psycopg.Connection) -> None:
    assert change(final, "invoice_lines", live=False) == 1
    assert change(final, "invoice_lines", metadata=Json({"project": "x"})) == 1


def test_every_column_of_a_line_is_thought_of(conn: psycopg.Connection) -> None:
    assert columns(conn, "invoice_lines") == {*LINE, "live", "metadata"}


def columns(conn: psycopg.Connection, table: str) -> set[str]:
    described = conn.execute(f"SELECT * FROM {table} LIMIT 0".encode()).description or []
    return {column.name for column in described}
