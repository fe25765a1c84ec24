"""Reports of rejected usage, as Stripe has them in events."""

from __future__ import annotations

from typing import Any

from postpaid.api.instants import iso, seconds
from postpaid.billing.report_rejections import ErrorReport


def to_stripe(report: ErrorReport, *, livemode: bool) -> dict[str, Any]:
    """The report as the object of a snapshot event."""
    return {
        "id": report.id,
        "object": "billing.meter_error_report",
        "created": seconds(report.end_at),
        "livemode": livemode,
        "meter": report.meter_id,
        **data(report),
    }


def data(report: ErrorReport) -> dict[str, Any]:
    """The report as the data of a thin event."""
    invalid = "is 1 invalid event" if report.count == 1 else f"are {report.count} invalid events"
    return {
        "developer_message_summary": f"There {invalid}",
        "reason": {
            "error_count": report.count,
            "error_types": [
                {
                    "code": each.code,
                    "error_count": each.count,
                    "sample_errors": [
                        {
                            "error_message": sample.error_message,
                            "request": {"identifier": sample.identifier},
                        }
                        for sample in each.samples
                    ],
                }
                for each in report.reasons
            ],
        },
        "validation_end": iso(report.end_at),
        "validation_start": iso(report.start_at),
    }
