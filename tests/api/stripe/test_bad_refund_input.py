"""Refunds and payments by hand that make no sense are refused, with the parameter at fault."""

from typing import Any

import httpx
import pytest

REPORT: dict[str, Any] = {
    "amount_requested[value]": "100",
    "amount_requested[currency]": "usd",
    "initiated_at": "1767225600",
    "guaranteed[guaranteed_at]": "1767225600",
    "outcome": "guaranteed",
    "payment_method_details[type]": "custom",
}

BAD: list[tuple[str, dict[str, Any], str | None]] = [
    ("/v1/refunds", {}, "charge"),
    ("/v1/refunds", {"charge": "ch_1", "payment_intent": "pi_1"}, "charge"),
    ("/v1/refunds", {"charge": "pa_1"}, "charge"),
    ("/v1/refunds", {"payment_intent": "pi_none"}, "payment_intent"),
    ("/v1/refunds", {"charge": "ch_1", "amount": "0"}, "amount"),
    ("/v1/refunds", {"charge": "ch_1", "amount": "-5"}, "amount"),
    ("/v1/refunds", {"charge": "ch_1", "amount": "1e3"}, "amount"),
    ("/v1/refunds", {"charge": "ch_1", "amount": "9" * 40}, "amount"),
    ("/v1/refunds", {"charge": "ch_1", "reason": "because"}, "reason"),
    ("/v1/refunds", {"charge": "ch_1", "metadata": "x"}, "metadata"),
    ("/v1/refunds", {"charge": "ch_1", "reverse_transfer": "true"}, "reverse_transfer"),
    ("/v1/refunds/re_none", {"metadata[a]": "b"}, None),
    ("/v1/refunds/re_none/cancel", {}, None),
    ("/v1/invoices/in_none/record_payment", {"amount": "5"}, "invoice"),
    ("/v1/invoices/in_none/record_payment", {}, "amount"),
    ("/v1/invoices/in_none/record_payment", {"amount": "0"}, "amount"),
    ("/v1/invoices/in_none/record_payment", {"amount": "5", "method": "x" * 101}, "method"),
    ("/v1/invoices/in_none/record_payment", {"amount": "5", "paid_at": "today"}, "paid_at"),
    ("/v1/invoices/in_none/attach_payment", {}, "payment_intent"),
    ("/v1/invoices/in_none/attach_payment", {"payment_record": "pr_1"}, "invoice"),
    ("/v1/payment_records/report_payment", REPORT | {"outcome": "failed"}, "outcome"),
    (
        "/v1/payment_records/report_payment",
        REPORT | {"amount_requested[value]": "0"},
        "amount_requested[value]",
    ),
    (
        "/v1/payment_records/report_payment",
        REPORT | {"amount_requested[currency]": "us"},
        "amount_requested[currency]",
    ),
    (
        "/v1/payment_records/report_payment",
        REPORT | {"customer_details[customer]": "cus_none"},
        "customer_details[customer]",
    ),
    (
        "/v1/payment_records/report_payment",
        {key: value for key, value in REPORT.items() if "guaranteed_at" not in key},
        "guaranteed",
    ),
]


@pytest.mark.parametrize(("path", "given", "param"), BAD, ids=range(len(BAD)))
def test_it_is_refused(
    http: httpx.Client, path: str, given: dict[str, Any], param: str | None
) -> None:
    answer = http.post(path, data=given)
    assert answer.status_code in (400, 404), answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    if param is not None:
        assert error.get("param") == param


@pytest.mark.parametrize(
    "path", ["/v1/refunds/re_none", "/v1/payment_records/pr_none", "/v1/refunds?limit=0"]
)
def test_what_is_not_there_is_not_shown(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code in (400, 404)
