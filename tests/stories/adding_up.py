"""What must hold of the sums of every invoice and every credit note, whatever has happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any


def assert_adds_up(value: dict[str, Any]) -> None:
    """Fails unless the totals of an invoice or a credit note follow from what is on it."""
    if value["object"] == "invoice":
        _judge_invoice(value)
        _judge_status(value)
        if not value["lines"]["has_more"]:
            _judge_lines(value, value["lines"]["data"])
    elif value["object"] == "credit_note":
        _judge_credit_note(value)


def _judge_invoice(invoice: dict[str, Any]) -> None:
    """Stripe: what is due is the total after the customer's balance, and never negative."""
    taxes = invoice["total_taxes"]
    assert invoice["total_excluding_tax"] == invoice["total"] - _sum(taxes)
    assert 0 <= invoice["amount_due"] == max(0, invoice["total"] + invoice["starting_balance"])
    assert invoice["amount_remaining"] == (
        invoice["amount_due"] - invoice["amount_paid"] - invoice["pre_payment_credit_notes_amount"]
    )
    assert 0 <= invoice["amount_remaining"] <= invoice["amount_due"]
    assert invoice["post_payment_credit_notes_amount"] >= 0
    taken = [each for each in invoice["total_pretax_credit_amounts"] if each["type"] == "discount"]
    assert _by(taken, "discount") == _by(invoice["total_discount_amounts"], "discount")
    if invoice["status"] != "draft":
        # What the balance did not need to pay, it keeps; and credit that is left over joins it.
        after = min(0, invoice["total"] + invoice["starting_balance"])
        assert invoice["ending_balance"] == after
    else:
        assert invoice["ending_balance"] is None


def _judge_status(invoice: dict[str, Any]) -> None:
    """A status, when it was reached, and what goes with it."""
    status, times = invoice["status"], invoice["status_transitions"]
    assert (times["finalized_at"] is None) == (status == "draft")
    assert (times["paid_at"] is not None) == (status == "paid")
    assert (times["voided_at"] is not None) == (status == "void")
    assert (invoice["status_details"] is not None) == (status == "uncollectible")
    if status != "draft":
        assert invoice["number"]
        assert invoice["automatically_finalizes_at"] is None
        assert invoice["effective_at"] is not None
    if status == "paid":
        assert invoice["amount_remaining"] == 0
    if status not in ("draft", "open"):
        assert invoice["next_payment_attempt"] is None
    if invoice["collection_method"] == "charge_automatically":
        assert invoice["due_date"] is None
    elif status != "draft":
        assert invoice["due_date"] is not None
    assert invoice["period_start"] <= invoice["period_end"]


def _judge_lines(invoice: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    """Stripe: the subtotal is after the discounts of lines, the total after all else too."""
    subtotal, included = 0, 0
    for line in lines:
        own = {_id(each) for each in line["discounts"]}
        offs = _by(line["discount_amounts"], "discount")
        subtotal += line["amount"] - sum(offs[each] for each in own)
        included += _sum(each for each in line["taxes"] if each["tax_behavior"] == "inclusive")
        assert line["invoice"] == invoice["id"]
        assert line["currency"] == invoice["currency"]
        assert line["subtotal"] == line["amount"]
        assert line["period"]["start"] <= line["period"]["end"]
        if line["amount"] >= 0:
            assert 0 <= _sum(line["pretax_credit_amounts"]) <= line["amount"]
    assert invoice["lines"]["total_count"] == len(lines)
    assert invoice["subtotal"] == subtotal

    of_lines: dict[str, Counter[Any]] = {}
    for key, name in (("discount_amounts", "discount"), ("taxes", "tax_rate_details")):
        of_lines[key] = _by((each for line in lines for each in line[key]), name)
        assert of_lines[key] == _by(invoice[f"total_{key}"], name)
    credits = [each for line in lines for each in line["pretax_credit_amounts"]]
    name = "credit_balance_transaction"
    assert _by(credits, name) == _by(invoice["total_pretax_credit_amounts"], name)

    exclusive = _sum(each for each in invoice["total_taxes"] if each["tax_behavior"] == "exclusive")
    amounts = sum(line["amount"] for line in lines)
    assert invoice["total"] == amounts - _sum(credits) + exclusive
    if subtotal == amounts - _sum(credits):  # nothing comes off the invoice as a whole
        assert invoice["subtotal_excluding_tax"] == subtotal - included
    if not included:
        assert invoice["subtotal_excluding_tax"] == subtotal


def _judge_credit_note(note: dict[str, Any]) -> None:
    """What a credit note gives back is what its lines take back, before or after payment."""
    taxes = note["total_taxes"]
    exclusive = _sum(each for each in taxes if each["tax_behavior"] == "exclusive")
    assert 0 < note["total"] == note["amount"]
    assert note["total"] == note["pre_payment_amount"] + note["post_payment_amount"]
    assert note["total_excluding_tax"] == note["total"] - _sum(taxes)
    assert note["discount_amount"] == _sum(note["discount_amounts"])
    credits = [each for each in note["pretax_credit_amounts"] if each["type"] != "discount"]
    assert note["total"] == (note["subtotal"] - note["discount_amount"] - _sum(credits) + exclusive)
    assert (note["voided_at"] is not None) == (note["status"] == "void")
    assert (note["out_of_band_amount"] or 0) <= note["post_payment_amount"]
    if not note["lines"]["has_more"]:
        lines = note["lines"]["data"]
        assert note["subtotal"] == sum(line["amount"] for line in lines)
        assert _sum(taxes) == sum(_sum(line["taxes"]) for line in lines)


def _sum(amounts: Iterable[dict[str, Any]]) -> int:
    return sum(each["amount"] for each in amounts)


def _by(amounts: Iterable[dict[str, Any]], name: str) -> Counter[Any]:
    """How much for each discount, tax rate or movement of credit; nothing is as good as zero."""
    found: Counter[Any] = Counter()
    for each in amounts:
        if (key := each[name]) is not None:
            found[key["tax_rate"] if name == "tax_rate_details" else _id(key)] += each["amount"]
    return found


def _id(value: Any) -> Any:
    """The id of what may have been expanded."""
    return value["id"] if isinstance(value, dict) else value
