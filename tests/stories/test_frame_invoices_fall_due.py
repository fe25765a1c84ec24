"""An invoice of Frame's that is waited for: outstanding, due, overdue, day by day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from town import DAY, HOUR, Town, at

from frame_client import Frame

JUNE = at("2026-06-01 12:00:00")
STATUSES = ("outstanding", "due", "overdue")


class Waiting:
    """An invoice of 15.00, issued on 1 June at noon in UTC, on a clock of its own."""

    def __init__(self, town: Town, frame: Frame, net_terms: int) -> None:
        self.town, self.frame = town, frame
        self.clock = town.clock(JUNE)
        self.customer = frame.post(
            "/v1/customers", {"name": "Eve", "email": "eve@example.com", "test_clock": self.clock}
        )["id"]
        product = frame.post(
            "/v1/products",
            {
                "name": "Seats",
                "description": "Seats",
                "default_price": 1500,
                "purchase_type": "one_time",
            },
        )["id"]
        made = frame.post(
            "/v1/invoices",
            {
                "customer": self.customer,
                "collection_method": "request_payment",
                "net_terms": net_terms,
                "line_items": [{"product": product}],
            },
        )
        self.id = made["id"]
        self.issued = frame.post(f"/v1/invoices/{self.id}/issue")

    def at(self, moment: str) -> str:
        """What it is then; it is listed as that, and as nothing else."""
        self.town.advance(self.clock, at(moment))
        shown = self.frame.get(f"/v1/invoices/{self.id}")["status"]
        assert self._listed() == {each: [self.id] * (each == shown) for each in STATUSES}
        return str(shown)

    def _listed(self) -> Mapping[str, list[Any]]:
        return {
            status: [
                each["id"]
                for each in self.frame.get("/v1/invoices", customer=self.customer, status=status)[
                    "data"
                ]
            ]
            for status in STATUSES
        }


def test_it_is_due_all_day_and_overdue_from_the_next(town: Town, frame: Frame) -> None:
    invoice = Waiting(town, frame, net_terms=2)
    assert (invoice.issued["status"], invoice.issued["due_date"]) == ("outstanding", "2026-06-03")
    assert invoice.at("2026-06-02 23:59:59") == "outstanding"
    assert invoice.at("2026-06-03 00:00:00") == "due"
    assert invoice.at("2026-06-03 23:59:59") == "due"
    assert invoice.at("2026-06-04 00:00:00") == "overdue"
    assert town.client.v1.invoices.retrieve(invoice.id).status == "open"
    paid = town.client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert paid.status == "paid"
    shown = frame.get(f"/v1/invoices/{invoice.id}")
    assert (shown["status"], shown["paid_at"]) == ("paid", at("2026-06-04 00:00:00"))


def test_days_are_those_of_the_accounts_calendar(town: Town, frame: Frame) -> None:
    with town.database.transaction() as conn:
        conn.execute(
            "UPDATE accounts SET time_zone = 'Pacific/Auckland' WHERE id = %s",
            (frame.get("/v1/me")["merchant_id"],),
        )
    invoice = Waiting(town, frame, net_terms=2)
    assert invoice.issued["due_date"] == "2026-06-04"  # it is past midnight there
    assert invoice.at("2026-06-03 11:59:59") == "outstanding"
    assert invoice.at("2026-06-03 12:00:00") == "due"
    assert invoice.at("2026-06-04 12:00:00") == "overdue"


@pytest.mark.parametrize("net_terms", [0, 730])
def test_any_terms_end_on_a_day(town: Town, frame: Frame, net_terms: int) -> None:
    invoice = Waiting(town, frame, net_terms)
    until = JUNE + net_terms * DAY
    assert invoice.issued["status"] == ("outstanding" if net_terms else "due")
    town.advance(invoice.clock, until + 12 * HOUR)
    assert frame.get(f"/v1/invoices/{invoice.id}")["status"] == "overdue"
