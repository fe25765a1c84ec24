"""Billing credits of Frame's: units bought in advance pay for usage, before any of it is rated."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from town import Town, at

from frame_client import Frame, FrameError

JUNE = at("2026-06-01")


def moment(day: str) -> str:
    return datetime.fromtimestamp(at(day), UTC).isoformat()


class Prepaying:
    """A customer on a clock of its own, and calls at a cent each, from 1 June."""

    def __init__(self, town: Town, frame: Frame, **meter: Any) -> None:
        self.town, self.frame = town, frame
        self.clock = town.clock(JUNE)
        asked = {"name": "Ada", "email": "ada@example.com", "test_clock": self.clock}
        self.customer = str(frame.post("/v1/customers", asked)["id"])
        self.used = 0
        priced = {"value": 0.01} if "tiers" not in meter else {}
        self.meter = frame.post(
            "/v1/billing/metering",
            {"event_name": "call", "display_name": "Calls", "aggregation": "sum"} | priced | meter,
        )

    def buy(self, units: float, until: str, **more: Any) -> dict[str, Any]:
        asked = {
            "customer": self.customer,
            "product": self.meter["product"],
            "billing_credits": units,
            "expires": moment(until),
        }
        return self.frame.post("/v1/billing/billing_credit", asked | more)

    def use(self, day: str, value: float, event_name: str = "call") -> None:
        self.used += 1
        self.frame.post(
            "/v1/billing/metering_events",
            {
                "customer": self.customer,
                "event_name": event_name,
                "reference": f"{self.customer}-{self.used}",
                "value": value,
                "timestamp": moment(day),
            },
        )

    def bill(self, start: str, end: str) -> dict[str, Any]:
        """The invoice for the calendar's days from ``start`` up to ``end``, which is today."""
        self.town.advance(self.clock, at(end))
        asked = {
            "customer": self.customer,
            "start_date": moment(start),
            "end_date": moment(end),
            "collection_method": "request_payment",
        }
        return self.frame.post("/v1/billing/billing_invoice", asked)

    def left(self, credit: dict[str, Any]) -> tuple[str, str, str]:
        shown = self.frame.get(f"/v1/billing/billing_credit/{credit['id']}")
        assert float(shown["billing_credits"]) == float(shown["available_credits"]) + float(
            shown["used_credits"]
        )
        return shown["available_credits"], shown["used_credits"], shown["status"]

    def events(self, kind: str) -> list[str]:
        """Whose events of this kind there are, in order."""
        with self.town.database.connection() as conn:
            found = conn.execute(
                "SELECT e.object_id FROM events e JOIN accounts a USING (account_id)"
                " WHERE e.type = %s AND a.id = %s ORDER BY e.id",
                (kind, self.frame.get("/v1/me")["merchant_id"]),
            )
            return [row[0] for row in found]


def test_units_pay_first_and_what_is_beyond_them_is_rated(town: Town, frame: Frame) -> None:
    ada = Prepaying(town, frame)
    credit = ada.buy(1000, "2027-01-01")
    assert ada.left(credit) == ("1000.0", "0.0", "active")
    ada.use("2026-06-01", 600)
    june = ada.bill("2026-06-01", "2026-07-01")
    assert june["total"] == 0
    assert june["status"] == "paid"
    assert ada.left(credit) == ("400.0", "600.0", "active")
    ada.use("2026-07-01", 1234)
    july = ada.bill("2026-07-01", "2026-08-01")
    assert july["total"] == 834
    assert ada.left(credit) == ("0.0", "1000.0", "exhausted")
    assert ada.events("unit_credit.exhausted") == [credit["id"]]
    ada.use("2026-08-01", 100)
    assert ada.bill("2026-08-01", "2026-09-01")["total"] == 100
    seen = town.client.v1.invoices.retrieve(july["id"])
    assert (seen.total, seen.status) == (834, "open")


def test_what_expires_first_is_used_first_and_what_expired_within_is_not(
    town: Town, frame: Frame
) -> None:
    ada = Prepaying(town, frame)
    late = ada.buy(100, "2027-01-01")
    soon = ada.buy(100, "2026-07-01")
    sooner = ada.buy(100, "2026-06-30")
    ada.use("2026-06-01", 150)
    assert ada.bill("2026-06-01", "2026-07-01")["total"] == 0
    assert ada.left(sooner) == ("100.0", "0.0", "expired")  # before the window's end
    assert ada.left(soon) == ("0.0", "100.0", "exhausted")
    assert ada.left(late) == ("50.0", "50.0", "active")


def test_a_void_invoice_gives_its_units_back(town: Town, frame: Frame) -> None:
    ada = Prepaying(town, frame)
    credit = ada.buy(100, "2027-01-01")
    ada.use("2026-06-01", 250)
    june = ada.bill("2026-06-01", "2026-07-01")
    assert june["total"] == 150
    frame.post(f"/v1/invoices/{june['id']}/void")
    assert ada.left(credit) == ("100.0", "0.0", "active")
    again = ada.bill("2026-06-01", "2026-07-02")
    assert again["total"] == 150
    assert ada.left(credit) == ("0.0", "100.0", "exhausted")


def test_late_usage_draws_what_is_left(town: Town, frame: Frame) -> None:
    ada = Prepaying(town, frame)
    credit = ada.buy(100, "2027-01-01")
    ada.use("2026-06-01", 90)
    assert ada.bill("2026-06-01", "2026-07-01")["total"] == 0
    ada.use("2026-06-01", 40)
    assert ada.bill("2026-06-01", "2026-07-02")["total"] == 30
    assert ada.left(credit) == ("0.0", "100.0", "exhausted")


def test_fractions_of_units_are_exact(town: Town, frame: Frame) -> None:
    ada = Prepaying(town, frame, value=1)
    credit = ada.buy(98.06, "2027-01-01")
    ada.use("2026-06-01", 0.06)
    assert ada.bill("2026-06-01", "2026-07-01")["total"] == 0
    assert ada.left(credit) == ("98.0", "0.06", "active")
    ada.use("2026-07-01", 98.015)
    # 0.015 at 1.00 are a cent and a half, which is rounded up
    assert ada.bill("2026-07-01", "2026-08-01")["total"] == 2


def test_units_are_for_the_meters_of_their_product(town: Town, frame: Frame) -> None:
    ada = Prepaying(town, frame)
    other = {"event_name": "mail", "display_name": "Mails", "aggregation": "sum", "value": 0.02}
    frame.post("/v1/billing/metering", other)
    of_calls = ada.buy(100, "2027-01-01")
    ada.use("2026-06-01", 10, "mail")
    ada.use("2026-06-01", 10)
    assert ada.bill("2026-06-01", "2026-07-01")["total"] == 20
    assert ada.left(of_calls) == ("90.0", "10.0", "active")
    made = {"name": "Any", "description": "Any", "default_price": 0, "purchase_type": "one_time"}
    of_any = ada.buy(100, "2027-01-01", product=frame.post("/v1/products", made)["id"])
    ada.use("2026-07-01", 30, "mail")
    assert ada.bill("2026-07-01", "2026-08-01")["total"] == 0
    assert ada.left(of_any) == ("70.0", "30.0", "active")


def test_units_granted_after_a_window_do_not_pay_for_it(town: Town, frame: Frame) -> None:
    ada = Prepaying(town, frame)
    ada.use("2026-06-01", 10)
    town.advance(ada.clock, at("2026-07-01"))
    credit = ada.buy(100, "2027-01-01")
    assert ada.bill("2026-06-01", "2026-07-01 12:00:00")["total"] == 0  # granted within it
    assert ada.left(credit) == ("90.0", "10.0", "active")
    ada.use("2026-07-01 12:00:00", 200)
    town.advance(ada.clock, at("2026-07-03"))
    later = ada.buy(100, "2026-12-01")
    asked = {
        "customer": ada.customer,
        "start_date": moment("2026-07-01 12:00:00"),
        "end_date": moment("2026-07-03"),
        "collection_method": "request_payment",
    }
    assert frame.post("/v1/billing/billing_invoice", asked)["total"] == 110
    assert ada.left(later) == ("100.0", "0.0", "active")
    assert ada.left(credit) == ("0.0", "100.0", "exhausted")


def test_an_expiry_in_the_customers_past_is_refused(town: Town, frame: Frame) -> None:
    ada = Prepaying(town, frame)
    with pytest.raises(FrameError) as refused:
        ada.buy(1, "2026-06-01")
    assert refused.value.status == 422
    assert list(refused.value.body["error_details"]["errors"]) == ["expires"]


# ─── A hard stop ─────────────────────────────────────────────────────────────────────────────


def stopped(ada: Prepaying, day: str, value: float) -> bool:
    """Whether usage is refused because there are no units left."""
    try:
        ada.use(day, value)
    except FrameError as error:
        if (error.status, error.code) != (422, "usage_limit_reached"):
            raise
        return True
    return False


def test_limited_units_are_all_that_can_be_used(town: Town, frame: Frame) -> None:
    ada = Prepaying(town, frame)
    ada.buy(100, "2027-01-01", limited=True)
    assert not stopped(ada, "2026-06-01", 60)
    assert not stopped(ada, "2026-06-01", 39)
    assert not stopped(ada, "2026-06-01", 5)  # the event that uses them up is taken whole
    assert stopped(ada, "2026-06-01", 1)
    ada.buy(10, "2027-01-01")
    assert not stopped(ada, "2026-06-01", 1)
    assert ada.bill("2026-06-01", "2026-07-01")["total"] == 0
    assert not stopped(ada, "2026-07-01", 5)
    assert stopped(ada, "2026-07-01", 1)
    assert ada.bill("2026-07-01", "2026-08-01")["total"] == 0
    assert stopped(ada, "2026-08-01", 1)


def test_a_repeat_is_no_usage_when_the_units_are_used_up(town: Town, frame: Frame) -> None:
    ada = Prepaying(town, frame)
    ada.buy(10, "2027-01-01", limited=True)
    ada.use("2026-06-01", 10)
    assert stopped(ada, "2026-06-01", 10)
    ada.used = 0
    with pytest.raises(FrameError) as refused:
        ada.use("2026-06-01", 10)
    assert refused.value.code == "duplicate_reference"


def test_the_stop_is_the_customers_the_meters_and_while_its_units_last(
    town: Town, frame: Frame
) -> None:
    ada, other = Prepaying(town, frame), {"event_name": "mail", "aggregation": "sum", "value": 1}
    frame.post("/v1/billing/metering", other | {"display_name": "Mails"})
    ada.buy(1, "2026-06-02", limited=True)
    assert not stopped(ada, "2026-06-01", 1)
    assert stopped(ada, "2026-06-01", 1)
    ada.use("2026-06-01", 1, "mail")
    eve = frame.post(
        "/v1/customers", {"name": "Eve", "email": "eve@example.com", "test_clock": ada.clock}
    )["id"]
    free = {"customer": eve, "event_name": "call", "value": 9, "timestamp": moment("2026-06-01")}
    frame.post("/v1/billing/metering_events", free | {"reference": f"{eve}-1"})
    town.advance(ada.clock, at("2026-06-02"))
    assert not stopped(ada, "2026-06-02", 1)


def test_in_a_batch_each_event_is_weighed(town: Town, frame: Frame) -> None:
    ada = Prepaying(town, frame)
    ada.use("2026-06-01", 0)
    ada.buy(25, "2027-01-01", limited=True)
    events = [
        {
            "customer": ada.customer,
            "event_name": "call",
            "reference": f"{ada.customer}-of-many-{i}",
            "value": 10,
            "timestamp": moment("2026-06-01"),
        }
        for i in range(5)
    ]
    frame.post("/v1/billing/metering_events/batch", {"events": events})
    assert ada.bill("2026-06-01", "2026-07-01")["total"] == 5  # three of them, of which 25 are paid
