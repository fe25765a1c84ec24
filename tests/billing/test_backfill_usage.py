"""A backfill counts all at once when it is closed, and is taken back without a trace."""

from __future__ import annotations

import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from postpaid import ids
from postpaid.billing import (
    backfill_usage,
    manage_alerts,
    manage_customers,
    manage_keys,
    manage_meters,
)
from postpaid.billing.audit import audit
from postpaid.billing.backfill_usage import Effect
from postpaid.billing.cancel_usage import Cancellation, cancel_usage
from postpaid.billing.measure import measure
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import OutcomeKind, Recorded, Reported, record_usage
from postpaid.core.alerts import AlertRecurrence
from postpaid.core.errors import ActionNotAllowed, BillingError, NotFound
from postpaid.core.metering import Aggregation
from postpaid.storage import usage_totals
from postpaid.storage.database import Connection, Database
from postpaid.storage.usage_backfills import UsageBackfill
from postpaid.storage.usage_totals import Window
from statements import counted
from world import END, START, make_world

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR
LONG_AGO = NOW - 500 * DAY
WHOLE_DAY = (NOW - DAY, NOW + DAY)


@dataclass(frozen=True)
class Merchant:
    """An account with a meter for every aggregation, two customers, and windows that are kept."""

    database: Database
    act: Act
    customer_ids: list[str]
    meter_ids: dict[str, str]  # by event name, which is the aggregation

    def use(
        self,
        name: str,
        *values: str,
        at: datetime = NOW,
        first: int = 0,
        backfill: str | None = None,
        customer: int = 0,
        prefix: str = "",
    ) -> Recorded:
        """An event of each value, a second apart; called ``sum-0`` and so on."""
        places = range(len(values))
        reported = Reported(
            [name] * len(values),
            [{"customer": self.customer_ids[customer], "value": value} for value in values],
            [f"{prefix}{name}-{first + place}" for place in places],
            [(int(at.timestamp()) + place) * 1000 for place in places],
        )
        with self.database.transaction() as conn:
            if backfill is not None:
                backfill_usage.check_open(conn, self.act, backfill)
            return record_usage(conn, self.act, reported, backfill_id=backfill)

    def open(self, event_name: str | None = None) -> str:
        with self.database.transaction() as conn:
            return backfill_usage.open_backfill(
                conn, self.act, event_name=event_name, description=None
            ).id

    def close(self, backfill: str) -> UsageBackfill:
        with self.database.transaction() as conn:
            return backfill_usage.close_backfill(conn, self.act, backfill)

    def revert(self, backfill: str) -> UsageBackfill:
        with self.database.transaction() as conn:
            return backfill_usage.revert_backfill(conn, self.act, backfill)

    def effect(self, backfill: str, limit: int = 100, **given: Any) -> list[Effect]:
        with self.database.connection() as conn:
            return backfill_usage.effect_of(conn, self.act, backfill, limit=limit, **given).rows

    def cancel(self, name: str, identifier: str) -> dict[int, BillingError]:
        with self.database.transaction() as conn:
            return cancel_usage(conn, self.act, [Cancellation(name, identifier)])

    def used(self, name: str, window: tuple[datetime, datetime] = WHOLE_DAY) -> Decimal:
        asked = {"it": Window(self.customer_ids[0], self.meter_ids[name], *window)}
        with self.database.connection() as conn:
            return measure(conn, self.act.account_id, asked, now=NOW + DAY)["it"]

    def everything(self) -> list[tuple[Any, ...]]:
        """All that is kept of the account's totals, where there is any."""
        with self.database.connection() as conn:
            mine = {"account_id": self.act.account_id}
            series = "series_id IN (SELECT series_id FROM usage_series WHERE account_id = %s)"
            series = series.replace("%s", "%(account_id)s")
            hours = conn.execute(
                "SELECT series_id, hour, sum, count, max, last_value, last_at FROM usage_hours"
                f" WHERE {series} AND count <> 0 ORDER BY 1, 2".encode(),
                mine,
            ).fetchall()
            windows = conn.execute(
                "SELECT series_id, start_at, end_at, sum, count, max, last_value, last_at"
                f" FROM usage_windows WHERE {series} ORDER BY 1, 2, 3".encode(),
                mine,
            ).fetchall()
        return [*hours, *windows]

    def keep_window(self, name: str, customer: int = 0) -> None:
        """Open the window that a subscription would bill."""
        window = Window(self.customer_ids[customer], self.meter_ids[name], *WHOLE_DAY)
        with self.database.transaction() as conn:
            usage_totals.open_computed(conn, self.act.account_id, [window])

    def findings(self) -> list[Any]:
        return [
            (finding.sentence, row)
            for finding in audit(self.database)
            for row in finding.rows
            if row[0] == self.act.account_id
        ]


@pytest.fixture
def merchant(database: Database) -> Merchant:
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=NOW)
        act = Act(account.account_id, False, "key_1", NOW, ids.new_id, request_id="req_1")
        meter_ids = {each.value: make_meter(conn, act, each.value) for each in Aggregation}
        customers = [
            manage_customers.create_customer(conn, act, {"name": name}).id for name in "AB"
        ]
    return Merchant(database, act, customers, meter_ids)


def make_meter(conn: Connection, act: Act, name: str, **more: Any) -> str:
    return manage_meters.create_meter(
        conn,
        act,
        display_name=name,
        event_name=name,
        aggregation=Aggregation(name.partition(" ")[0]),
        customer_key="customer",
        value_key="value",
        **more,
    ).id


# ─── Open, closed, reverted ──────────────────────────────────────────────────────────────────


def test_what_is_backfilled_counts_once_it_is_closed(merchant: Merchant) -> None:
    merchant.use("sum", "1")
    backfill = merchant.open()
    assert merchant.use("sum", "20", "300", first=1, backfill=backfill).kinds == ["accepted"] * 2
    assert merchant.used("sum") == 1
    closed = merchant.close(backfill)
    assert merchant.used("sum") == 321
    assert (closed.status, closed.closed_at, closed.event_count) == ("closed", NOW, 2)


def test_it_may_be_of_any_age_since_1970(merchant: Merchant) -> None:
    assert merchant.use("sum", "1", at=LONG_AGO).kinds == [OutcomeKind.REJECTED]
    backfill = merchant.open()
    assert merchant.use("sum", "1", at=LONG_AGO, backfill=backfill).kinds == ["accepted"]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert merchant.use("sum", "1", at=epoch, first=1, backfill=backfill).kinds == ["accepted"]
    for ancient in (epoch - HOUR, datetime(2, 1, 1, tzinfo=UTC)):
        recorded = merchant.use("sum", "1", at=ancient, first=2, backfill=backfill)
        assert recorded.errors[0].code == "timestamp_too_far_in_past"
    recorded = merchant.use("sum", "1", at=NOW + HOUR, first=2, backfill=backfill)
    assert recorded.errors[0].code == "timestamp_in_future"
    merchant.close(backfill)
    assert merchant.used("sum", (LONG_AGO, LONG_AGO + HOUR)) == 1


@pytest.mark.parametrize("name", [each.value for each in Aggregation])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
def test_to_revert_it_leaves_every_total_as_it_was(
    merchant: Merchant, name: str, closed: bool
) -> None:
    merchant.use(name, "5", "2", "7", at=NOW - 3 * HOUR)
    merchant.keep_window(name)
    before, used = merchant.everything(), merchant.used(name)
    backfill = merchant.open()
    merchant.use(name, "9", "-4", "3.5", at=NOW - 3 * HOUR + HOUR / 2, first=3, backfill=backfill)
    merchant.use(name, "11", at=NOW, first=6, backfill=backfill)
    assert merchant.everything() == before
    if closed:
        merchant.close(backfill)
        assert merchant.everything() != before
        assert merchant.findings() == []
    reverted = merchant.revert(backfill)
    assert merchant.everything() == before
    assert merchant.used(name) == used
    assert merchant.findings() == []
    assert (reverted.status, reverted.reverted_at, reverted.event_count) == ("reverted", NOW, 4)


def test_a_better_try_may_use_the_identifiers_again(merchant: Merchant) -> None:
    for close in (False, True):
        backfill = merchant.open()
        assert merchant.use("sum", "1", backfill=backfill).kinds == ["accepted"]
        assert merchant.use("sum", "1").kinds == ["duplicate"]
        if close:
            merchant.close(backfill)
        assert merchant.use("sum", "2").kinds == ["conflict"]
        merchant.revert(backfill)
    assert merchant.use("sum", "2").kinds == ["accepted"]
    assert merchant.used("sum") == 2


def test_a_cancelled_event_stays_cancelled(merchant: Merchant) -> None:
    backfill = merchant.open()
    merchant.use("sum", "1", "20", "300", backfill=backfill)
    assert merchant.cancel("sum", "sum-0") == {}
    merchant.close(backfill)
    assert merchant.used("sum") == 320
    assert merchant.cancel("sum", "sum-1") == {}
    assert merchant.used("sum") == 300
    merchant.revert(backfill)
    assert merchant.used("sum") == 0
    assert merchant.use("sum", "1", "20", "300").kinds == ["duplicate", "duplicate", "accepted"]
    assert merchant.used("sum") == 300
    assert merchant.findings() == []


def test_an_empty_one_changes_nothing(merchant: Merchant) -> None:
    backfill = merchant.open()
    assert merchant.effect(backfill) == []
    assert merchant.close(backfill).event_count == 0
    assert merchant.revert(backfill).event_count == 0


# ─── Refused ─────────────────────────────────────────────────────────────────────────────────


def test_only_an_open_one_takes_events_and_is_closed(merchant: Merchant) -> None:
    closed, reverted = merchant.open(), merchant.open()
    merchant.close(closed)
    merchant.revert(reverted)
    for backfill in (closed, reverted):
        with pytest.raises(ActionNotAllowed, match="takes no more events") as refused:
            merchant.use("sum", "1", backfill=backfill)
        assert refused.value.param == ("backfill",)
        with pytest.raises(ActionNotAllowed, match="cannot be closed"):
            merchant.close(backfill)
    with pytest.raises(ActionNotAllowed, match="is reverted and cannot be reverted"):
        merchant.revert(reverted)
    with pytest.raises(NotFound, match="No such backfill: 'bkf_none'"):
        merchant.use("sum", "1", backfill="bkf_none")
    for ask in (merchant.close, merchant.revert, merchant.effect):
        with pytest.raises(NotFound, match="No such backfill: 'bkf_none'"):
            ask("bkf_none")


def test_anothers_backfill_is_not_there(merchant: Merchant, database: Database) -> None:
    backfill = merchant.open()
    stranger = replace(merchant, act=replace(merchant.act, account_id=merchant.act.account_id - 1))
    for ask in (stranger.close, stranger.revert, stranger.effect):
        with pytest.raises(NotFound):
            ask(backfill)


def test_one_for_a_meter_takes_that_meters_events_alone(merchant: Merchant) -> None:
    backfill = merchant.open("sum")
    assert merchant.use("sum", "1", backfill=backfill).kinds == ["accepted"]
    recorded = merchant.use("count", "1", backfill=backfill)
    assert recorded.errors[0].code == "backfill_of_another_meter"
    with pytest.raises(NotFound, match="No meter found for event name 'nothing'"):
        merchant.open("nothing")


def test_what_counts_the_last_to_arrive_cannot_be_backfilled(merchant: Merchant) -> None:
    with merchant.database.transaction() as conn:
        make_meter(conn, merchant.act, "sum by hour", event_time_window="hour")
    recorded = merchant.use("sum by hour", "1", backfill=merchant.open())
    assert recorded.kinds == [OutcomeKind.REJECTED]
    assert recorded.errors[0].code == "backfill_not_supported"
    assert "of each hour" in recorded.errors[0].message


# ─── The effect ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [each.value for each in Aggregation])
def test_the_effect_is_what_closing_does(merchant: Merchant, name: str) -> None:
    merchant.use(name, "5", "2", "7", at=NOW - 3 * HOUR)
    merchant.keep_window(name)
    backfill = merchant.open()
    merchant.use(name, "9", "3.5", "3.5", at=NOW - 2 * HOUR, first=3, backfill=backfill)
    merchant.use(name, "11", at=LONG_AGO, first=6, backfill=backfill)
    kept = merchant.everything()
    before = merchant.used(name)
    [foreseen] = merchant.effect(backfill)
    assert merchant.everything() == kept
    merchant.close(backfill)
    [seen] = merchant.effect(backfill)
    assert seen == foreseen
    [window] = seen.windows
    assert (window.start, window.end) == WHOLE_DAY
    at_the_end = replace(merchant, act=replace(merchant.act, now=NOW + DAY))
    [window] = at_the_end.effect(backfill)[0].windows
    assert (window.before, window.after) == (before, merchant.used(name))
    assert (seen.total.count, window.count) == (4, 3)
    assert (seen.customer_id, seen.event_name) == (merchant.customer_ids[0], name)
    merchant.revert(backfill)
    assert merchant.effect(backfill) == []


def test_the_effect_comes_in_pages(merchant: Merchant) -> None:
    backfill = merchant.open()
    for name in ("sum", "count", "max"):
        for customer in (0, 1):
            merchant.use(name, "1", backfill=backfill, customer=customer, prefix=f"{customer}")
    whole = [each.series_id for each in merchant.effect(backfill)]
    assert len(whole) == 6 == len(set(whole))
    first = merchant.effect(backfill, 4)
    rest = merchant.effect(backfill, 4, after=first[-1].series_id)
    assert [each.series_id for each in first + rest] == whole
    back = merchant.effect(backfill, 4, before=rest[0].series_id)
    assert back == first
    assert [each.series_id for each in merchant.effect(backfill, 2, before=whole[4])] == whole[2:4]


def test_the_effect_costs_the_same_for_many(merchant: Merchant) -> None:
    def cost(names: list[str]) -> int:
        backfill = merchant.open()
        for name in names:
            for customer in (0, 1):
                merchant.keep_window(name, customer)
                merchant.use(
                    name, "1", "2", backfill=backfill, customer=customer, prefix=uuid.uuid4().hex
                )
        with merchant.database.transaction() as conn, counted(conn) as statements:
            assert backfill_usage.effect_of(conn, merchant.act, backfill, limit=100).rows
        return len(statements)

    assert cost(["sum"]) == cost(["sum", "count", "average"])


# ─── Alerts and invoices ─────────────────────────────────────────────────────────────────────


def test_an_alert_is_sent_when_closing_crosses_its_threshold(merchant: Merchant) -> None:
    with merchant.database.transaction() as conn:
        alert = manage_alerts.create_alert(
            conn,
            merchant.act,
            title="Much",
            meter_id=merchant.meter_ids["sum"],
            customer_id=None,
            recurrence=AlertRecurrence.ONE_TIME,
            gte=Decimal(100),
            percent=None,
            amount=None,
        )
    backfill = merchant.open()
    merchant.use("sum", "60", "60", backfill=backfill)

    def sent() -> int:
        with merchant.database.connection() as conn:
            found = conn.execute(
                "SELECT FROM events WHERE type = 'billing.alert.triggered' AND object_id = %s",
                (alert.id,),
            )
            return found.rowcount

    assert sent() == 0
    merchant.close(backfill)
    assert sent() == 1
    merchant.revert(backfill)
    merchant.use("sum", "200")
    assert sent() == 1


def test_final_invoices_stay_as_they_are_and_the_audit_knows_why(database: Database) -> None:
    world = make_world(database, 1)

    def backfilled() -> str:
        reported = Reported(
            ["api_call"],
            [{"stripe_customer_id": world.customer_ids[0], "value": "5000"}],
            ["late"],
            [int((START + HOUR).timestamp()) * 1000],
        )
        with database.transaction() as conn:
            backfill = backfill_usage.open_backfill(conn, act, event_name=None, description=None)
            recorded = record_usage(conn, act, reported, backfill_id=backfill.id)
            assert recorded.kinds == ["accepted"]
            backfill_usage.close_backfill(conn, act, backfill.id)
        return backfill.id

    def revert(backfill: str) -> None:
        with database.transaction() as conn:
            backfill_usage.revert_backfill(conn, act, backfill)

    act = world.at(START + 2 * HOUR)
    billed = backfilled()
    world.pass_time(END)
    world.pass_time(END + 2 * HOUR)
    [invoice] = world.invoices()
    assert invoice.total == 9900 + 4000
    revert(billed)
    assert world.findings() == []
    backfilled()
    assert world.findings() == []
    assert world.invoices() == [invoice]


def test_it_is_said_in_events(merchant: Merchant) -> None:
    backfill = merchant.open()
    merchant.close(backfill)
    merchant.revert(backfill)
    with merchant.database.connection() as conn:
        types = conn.execute(
            "SELECT type, previous FROM events WHERE object_id = %s ORDER BY id", (backfill,)
        ).fetchall()
    assert types == [
        (
            "usage.backfill.closed",
            {"status": "open", "event_count": None, "closed_at": None},
        ),
        ("usage.backfill.reverted", {"status": "closed", "reverted_at": None}),
    ]


# ─── At once ─────────────────────────────────────────────────────────────────────────────────


def test_of_many_who_close_it_one_does(merchant: Merchant) -> None:
    backfill = merchant.open()
    merchant.use("sum", "1", "20", backfill=backfill)

    def close(_: int) -> bool:
        try:
            merchant.close(backfill)
        except ActionNotAllowed:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(close, range(4))) == [False, False, False, True]
    assert merchant.used("sum") == 21


@pytest.mark.parametrize("name", ["sum", "last", "max", "p95"])
def test_whatever_happens_at_once_the_totals_are_the_events(merchant: Merchant, name: str) -> None:
    """Batches into backfills and beside them; these are closed, reverted and cancelled from."""
    merchant.keep_window(name)

    def work(n: int) -> int:
        dice = random.Random(n)
        backfills = merchant.open(), merchant.open()
        stored = 0
        for i in range(6):
            backfill = dice.choice([None, *backfills])
            at = NOW - dice.choice([1, 2]) * HOUR
            values = [str(dice.randint(-5, 50)) for _ in range(3)]
            try:
                merchant.use(name, *values, at=at, prefix=f"{n}-{i}-", backfill=backfill)
                stored += 1
                merchant.cancel(name, f"{n}-{i}-{name}-1")
                if dice.random() < 0.5:
                    dice.choice([merchant.close, merchant.revert])(dice.choice(backfills))
            except ActionNotAllowed:
                pass
        return stored

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(work, range(6))) > 6
    assert merchant.findings() == []
    with merchant.database.connection() as conn:
        uncounted = conn.execute(
            "SELECT FROM usage_events e JOIN usage_backfills b ON b.account_id = e.account_id"
            " AND b.id = e.backfill_id WHERE e.account_id = %s AND e.canceled_at IS NULL"
            " AND (b.status = 'reverted' OR e.counted <> (b.status = 'closed'))",
            (merchant.act.account_id,),
        )
        assert uncounted.rowcount == 0


def test_a_batch_under_way_is_closed_with_the_others(merchant: Merchant) -> None:
    """Who closes waits for it, and who comes after is refused."""
    backfill = merchant.open()
    barrier_open = ThreadPoolExecutor(1)
    reported = Reported(
        ["sum"], [{"customer": merchant.customer_ids[0], "value": "7"}], ["slow"], [None]
    )
    with merchant.database.transaction() as conn:
        backfill_usage.check_open(conn, merchant.act, backfill)
        record_usage(conn, merchant.act, reported, backfill_id=backfill)
        closing = barrier_open.submit(merchant.close, backfill)
        while not _waits_for_a_row(merchant.database):
            assert not closing.done()
    assert closing.result().event_count == 1
    barrier_open.shutdown()
    assert merchant.used("sum") == 7


def _waits_for_a_row(database: Database) -> bool:
    with database.connection() as conn:
        return bool(
            conn.execute(
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database() AND query LIKE '%usage_backfills%'"
            ).rowcount
        )


def test_closing_takes_statements_by_the_chunk_and_not_by_the_event(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cost(events: int) -> int:
        backfill = merchant.open()
        merchant.use("sum", *["1"] * events, backfill=backfill, prefix=uuid.uuid4().hex)
        with merchant.database.transaction() as conn, counted(conn) as statements:
            backfill_usage.close_backfill(conn, merchant.act, backfill)
        return len(statements)

    assert cost(2) == cost(200)
    monkeypatch.setattr(backfill_usage, "CHUNK", 50)
    assert cost(200) == cost(2) + 3
    assert merchant.used("sum") == 404
