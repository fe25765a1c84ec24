"""Usage counts once, whichever way it comes: in any order, cut into any requests, sent repeatedly.

Eight threads send the same events through every endpoint at once. What a naive model makes of the
distinct identifiers is what every total must be. ``POSTPAID_TEST_SEED`` repeats a run.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import os
import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import zstandard
from town import DAY, HOUR, MONTH_BEGINS, Town

from postpaid.billing.measure import measure
from postpaid.storage.usage_totals import Window

METERS = ("sum", "count", "last", "max", "average", "unique", "p95")
CUSTOMERS = 3
IDENTIFIERS = 900
THREADS = 8
NOW = MONTH_BEGINS + 12 * DAY  # by the customers' clock
TEXTS = ("Ada", "ada", "a,b", '"quoted"', "Ünï ☃", "line\nbreak", "1", "1.0")
RUNS = range(3)
SEED = int(os.environ.get("POSTPAID_TEST_SEED", "0"))

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """A usage event as its sender knows it. Several may have one identifier."""

    name: str
    customer: str
    value: str | None
    identifier: str
    ms: int
    region: str | None = None
    only_told: bool = False  # sent only where the answer tells what became of it

    @property
    def payload(self) -> dict[str, str]:
        given = {"stripe_customer_id": self.customer, "value": self.value, "region": self.region}
        return {key: text for key, text in given.items() if text is not None}

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self.ms)

    @property
    def spelled(self) -> str:
        return self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @property
    def whole(self) -> bool:
        """Whether it occurred at a full second, which is all that v1 can say."""
        return self.ms % 1000 == 0

    @property
    def content(self) -> object:
        """What is the same in a repeat."""
        number = self.value if self.name == "unique" else Decimal(self.value or 1)
        return self.name, self.customer, number, self.ms, self.region


# ─── Ways in ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Way:
    """An endpoint and a format: how to send events, and what became of each, where it tells."""

    name: str
    send: Callable[[Sender, Sequence[Event]], list[str]]
    most: int
    takes: Callable[[Event], bool] = lambda event: True


@dataclass(frozen=True)
class Sender:
    """A client in a thread of its own."""

    http: httpx.Client
    token: str
    chance: random.Random

    def post(self, path: str, body: bytes, *, key: str | None = None, **headers: str) -> Any:
        """The answer to a body, which is compressed at random if it is a batch."""
        if path == "/v1/usage/batch":
            coding = self.chance.choice(["identity", "gzip", "zstd"])
            body = CODINGS[coding](body)
            headers["Content-Encoding"] = coding
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.http.post(path, content=body, headers=named)


def client(town: Town) -> httpx.Client:
    bearer = {"Authorization": f"Bearer {town.secret}"}
    return httpx.Client(base_url=town.base, headers=bearer, timeout=60, trust_env=False)


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda body: body,
    "gzip": gzip.compress,
    "zstd": lambda body: zstandard.compress(body),
}


def fields(event: Event, chance: random.Random) -> dict[str, Any]:
    """The event as JSON; its time is a number where it can be, and a text otherwise."""
    number = event.whole and chance.random() < 0.5
    return {
        "event_name": event.name,
        "identifier": event.identifier,
        "timestamp": event.ms // 1000 if number else event.spelled,
        "payload": event.payload,
    }


def cloud(event: Event) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event.identifier,
        "source": "/tests",
        "type": event.name,
        "time": event.spelled,
        "datacontenttype": "application/json",
        "data": event.payload,
    }


def by_v1(sender: Sender, events: Sequence[Event]) -> list[str]:
    [event] = events
    given = {
        "event_name": event.name,
        "identifier": event.identifier,
        "timestamp": event.ms // 1000,
    } | {f"payload[{key}]": text for key, text in event.payload.items()}
    return [told_alone(sender.http.post("/v1/billing/meter_events", data=given))]


def by_v2(sender: Sender, events: Sequence[Event]) -> list[str]:
    [event] = events
    given = fields(event, sender.chance) | {"timestamp": event.spelled}
    return [told_alone(sender.http.post("/v2/billing/meter_events", json=given))]


def told_alone(answer: httpx.Response) -> str:
    """v1 and v2 say of a repeat that there is one already, whatever it says."""
    if answer.status_code == 200:
        return "accepted"
    code = answer.json()["error"]["code"]
    if answer.status_code == 400 and code == "resource_already_exists":
        return "repeated"
    assert (answer.status_code, code) in REJECTIONS, answer.text
    return "rejected"


REJECTIONS = {(404, "no_meter"), (400, "no_meter"), (400, "meter_event_invalid_value")}


def by_stream(sender: Sender, events: Sequence[Event]) -> list[str]:
    given = [fields(each, sender.chance) | {"timestamp": each.spelled} for each in events]
    answer = sender.post(
        "/v2/billing/meter_event_stream",
        json.dumps({"events": given}).encode(),
        key=sender.token,
        Content_Type="application/json",
    )
    assert (answer.status_code, answer.json()) == (200, {})
    return ["silent"] * len(events)


def told_together(answer: httpx.Response, events: Sequence[Event]) -> list[str]:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [each["identifier"] for each in body["results"]] == [e.identifier for e in events]
    statuses = [each["status"] for each in body["results"]]
    for kind in ("accepted", "duplicate", "conflict", "rejected"):
        assert body[kind] == statuses.count(kind)
    assert [("error" in each) for each in body["results"]] == [
        status != "accepted" for status in statuses
    ]
    return statuses


def batch(sender: Sender, events: Sequence[Event], content_type: str, body: str) -> list[str]:
    answer = sender.post("/v1/usage/batch", body.encode(), Content_Type=content_type)
    return told_together(answer, events)


def by_json(sender: Sender, events: Sequence[Event]) -> list[str]:
    given = [fields(each, sender.chance) for each in events]
    wrapped = {"events": given} if sender.chance.random() < 0.5 else given
    return batch(sender, events, "application/json", json.dumps(wrapped))


def by_ndjson(sender: Sender, events: Sequence[Event]) -> list[str]:
    lines = (json.dumps(fields(each, sender.chance)) for each in events)
    return batch(sender, events, "application/x-ndjson", "\n".join(lines) + "\n")


def by_csv(sender: Sender, events: Sequence[Event]) -> list[str]:
    columns = ["event_name", "identifier", "timestamp", "stripe_customer_id", "value", "region"]
    sender.chance.shuffle(columns)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    for each in events:
        given = fields(each, sender.chance)
        writer.writerow(given.pop("payload") | given)
    return batch(sender, events, "text/csv", text.getvalue())


def by_cloud_events(sender: Sender, events: Sequence[Event]) -> list[str]:
    body = json.dumps([cloud(each) for each in events])
    return batch(sender, events, "application/cloudevents-batch+json", body)


def by_cloud_event(sender: Sender, events: Sequence[Event]) -> list[str]:
    [event] = events
    return batch(sender, events, "application/cloudevents+json", json.dumps(cloud(event)))


def by_binary_cloud_event(sender: Sender, events: Sequence[Event]) -> list[str]:
    [event] = events
    attributes = cloud(event)
    answer = sender.post(
        "/v1/usage/batch",
        json.dumps(attributes.pop("data")).encode(),
        Content_Type=attributes.pop("datacontenttype"),
        **{f"ce_{name}": quote(text, safe="/:") for name, text in attributes.items()},
    )
    return told_together(answer, events)


WAYS = (
    Way("v1", by_v1, 1, lambda event: event.whole),
    Way("v2", by_v2, 1),
    Way("stream", by_stream, 100, lambda event: not event.only_told),
    Way("json", by_json, 200),
    Way("ndjson", by_ndjson, 200),
    Way("csv", by_csv, 200),
    Way("cloud events", by_cloud_events, 200),
    Way("cloud event", by_cloud_event, 1),
    Way("binary cloud event", by_binary_cloud_event, 1),
)
ALONE = tuple(way for way in WAYS if way.most == 1)
ANY = WAYS[3]


# ─── The model ───────────────────────────────────────────────────────────────────────────────


def quantity(name: str, events: Iterable[Event]) -> Decimal:
    """What the meter of this name says of these events, each of them counted once."""
    ordered = sorted(events, key=lambda event: (event.ms, event.identifier))
    if not ordered:
        return Decimal(0)
    if name == "unique":
        return Decimal(len({event.value for event in ordered}))
    values = [Decimal(event.value or 1) for event in ordered]
    match name:
        case "sum":
            return sum(values, Decimal(0))
        case "count":
            return Decimal(len(values))
        case "last":
            return values[-1]
        case "max":
            return max(values)
        case "average":
            exact = sum(values, Decimal(0)) / len(values)
            return exact.quantize(Decimal("1e-12"), ROUND_HALF_UP)
        case _:  # the least that 95 % of them do not exceed
            return next(
                each
                for each in sorted(values)
                if 100 * sum(value <= each for value in values) >= 95 * len(values)
            )


def billed(name: str, events: Iterable[Event]) -> Decimal:
    return max(quantity(name, events), Decimal(0))


@dataclass
class Model:
    """Every identifier once, with the content that was accepted first."""

    events: list[Event] = field(default_factory=list)

    def within(self, name: str, customer: str, start_ms: int, end_ms: int) -> list[Event]:
        return [
            event
            for event in self.events
            if (event.name, event.customer) == (name, customer) and start_ms <= event.ms < end_ms
        ]


# ─── The story ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("run", RUNS)
def test_usage_counts_once_whichever_way_it_comes(town: Town, run: int) -> None:
    seed = SEED or random.SystemRandom().randrange(1, 10**9)
    log.warning("POSTPAID_TEST_SEED=%d", seed)  # shown when the test fails
    chance = random.Random(seed)
    clock_id = town.clock()
    customers = [town.customer(clock_id) for _ in range(CUSTOMERS)]
    meters = {name: town.meter(name, name) for name in METERS}
    prices = [
        town.price(unit_amount=100, recurring={"usage_type": "metered", "meter": meter})
        for meter in meters.values()
    ]
    subscriptions = {customer: town.subscribe(customer, *prices).id for customer in customers}
    town.advance(clock_id, NOW)

    events = made(chance, customers)
    told = send_all(town, requests(chance, events), seed)
    model = Model(accepted(told))
    assert {event.identifier for event in model.events} == {
        event.identifier for event in events if not wrong(event)
    }

    positions_agree(town, model, subscriptions, meters)
    windows_agree(town, model, meters)
    hours_agree(town, model, meters)
    any_windows_agree(town, model, customers, meters, chance)
    summaries_agree(town, model, customers, meters)

    town.advance(clock_id, MONTH_BEGINS + 31 * DAY + 2 * HOUR)
    for customer, subscription_id in subscriptions.items():
        month = (MONTH_BEGINS * 1000, (MONTH_BEGINS + 31 * DAY) * 1000)
        cents = [
            (100 * billed(name, model.within(name, customer, *month))).quantize(1, ROUND_HALF_UP)
            for name in METERS
        ]
        assert town.invoices(subscription_id)[-1].total == sum(cents)


def wrong(event: Event) -> bool:
    return event.identifier.startswith("wrong")


def made(chance: random.Random, customers: Sequence[str]) -> list[Event]:
    """Events of every kind; some identifiers have two contents, and some events none that is right.

    Many lie at the edges of hours, of the day and of the period.
    """
    events = []
    for n in range(IDENTIFIERS):
        name = chance.choice(METERS)
        edge = chance.choice([MONTH_BEGINS, NOW, (NOW - chance.randrange(12 * DAY)) // HOUR * HOUR])
        ms = 1000 * chance.choice([edge, NOW - chance.randrange(14 * DAY), NOW + 300])
        ms += chance.choice([0, 0, 0, -1000, -1, chance.randrange(-1000, 0)])
        event = Event(
            name,
            chance.choice(customers),
            valued(name, chance),
            f"event-{seed_free(n)}",
            ms,
            chance.choice([None, None, "eu", "us"]),
        )
        if chance.random() < 0.05:
            other = chance.choice(
                [
                    replace(event, value=valued(name, chance)),
                    replace(event, ms=event.ms - 60_000),
                    replace(event, region="elsewhere"),
                ]
            )
            events += [replace(event, only_told=True), replace(other, only_told=True)]
        else:
            events.append(event)
    events += [
        replace(event, name="nothing", identifier=f"wrong-name-{n}")
        for n, event in enumerate(chance.sample(events, 20))
    ]
    numeric = [event for event in events if event.name == "sum"]
    events += [
        replace(event, value="NaN", identifier=f"wrong-value-{n}", only_told=False)
        for n, event in enumerate(chance.sample(numeric, 20))
    ]
    return events


def seed_free(n: int) -> str:
    """Identifiers of all lengths and letters, so that their order is not that of their numbers."""
    return f"{n * 7919 % IDENTIFIERS:x}{'-Aé~'[n % 4]}"


def valued(name: str, chance: random.Random) -> str | None:
    if name == "unique":
        return chance.choice(TEXTS)
    if name == "count":
        return chance.choice([None, "5", "-1"])
    whole = chance.randrange(-200, 1000)
    return chance.choice([str(whole), f"{whole}.{chance.randrange(10**6):06}", f"{whole}e-12"])


def requests(chance: random.Random, events: Sequence[Event]) -> list[tuple[Way, Sequence[Event]]]:
    """Every event at least once and often repeatedly, in any order, cut into any requests."""
    sent = [event for event in events for _ in range(chance.choice([1, 1, 2, 3]))]
    chance.shuffle(sent)
    cut: list[tuple[Way, Sequence[Event]]] = [
        (way, [next(event for event in sent if way.takes(event))]) for way in WAYS
    ]
    start = 0
    while start < len(sent):
        way = chance.choice(WAYS + 4 * ALONE)
        size = min(way.most, chance.choice([1, 5, 30, 200]))
        chunk = sent[start : start + size]
        start += size
        fitting = [event for event in chunk if way.takes(event)]
        others = [event for event in chunk if not way.takes(event)]
        cut += [(which, some) for which, some in ((way, fitting), (ANY, others)) if some]
    chance.shuffle(cut)
    return cut


Told = tuple[Event, str]


def send_all(town: Town, cut: list[tuple[Way, Sequence[Event]]], seed: int) -> list[Told]:
    """Send the requests from eight threads at once; what was said of each event."""
    with client(town) as http:
        opened = http.post("/v2/billing/meter_event_session", json={})
        token = opened.json()["authentication_token"]

    def send_some(thread: int) -> list[Told]:
        chance = random.Random(f"{seed}/{thread}")
        found: list[Told] = []
        with client(town) as http:
            sender = Sender(http, token, chance)
            for way, events in cut[thread::THREADS]:
                found += zip(events, way.send(sender, events), strict=True)
        return found

    with ThreadPoolExecutor(THREADS) as threads:
        return [each for found in threads.map(send_some, range(THREADS)) for each in found]


def accepted(told: Iterable[Told]) -> list[Event]:
    """The content that counts of every identifier; and what was said of it was right each time."""
    by_identifier: dict[str, list[Told]] = {}
    for event, status in told:
        by_identifier.setdefault(event.identifier, []).append((event, status))
    counted = []
    for identifier, said in by_identifier.items():
        statuses = [status for _, status in said]
        if wrong(said[0][0]):
            assert set(statuses) <= {"rejected", "silent"}, said
            continue
        assert statuses.count("accepted") == 1 or (
            statuses.count("accepted") == 0 and "silent" in statuses
        ), said
        first = next((event for event, status in said if status == "accepted"), said[0][0])
        for event, status in said:
            same = event.content == first.content
            if status not in ("accepted", "silent"):
                assert status in ("repeated", "duplicate" if same else "conflict"), said
        assert first.identifier == identifier
        counted.append(first)
    return counted


# ─── What must agree ─────────────────────────────────────────────────────────────────────────


def positions_agree(
    town: Town, model: Model, subscriptions: dict[str, str], meters: dict[str, str]
) -> None:
    names = {meter_id: name for name, meter_id in meters.items()}
    with client(town) as http:
        for customer, subscription_id in subscriptions.items():
            items = http.get(f"/v1/subscriptions/{subscription_id}/usage").json()["data"]
            assert {names[item["meter"]] for item in items} == set(METERS)
            for item in items:
                name, window = names[item["meter"]], item["window"]
                assert window["start"] == MONTH_BEGINS
                within = model.within(name, customer, window["start"] * 1000, window["end"] * 1000)
                assert Decimal(item["used"]) == billed(name, within), (name, customer)


def rows(town: Town, query: str, meters: dict[str, str]) -> list[tuple[Any, ...]]:
    with town.database.connection() as conn:
        return conn.execute(query.encode(), (list(meters.values()),)).fetchall()


def windows_agree(town: Town, model: Model, meters: dict[str, str]) -> None:
    """The rows that are kept of the windows that subscriptions bill."""
    names = {meter_id: name for name, meter_id in meters.items()}
    found = rows(
        town,
        "SELECT s.meter_id, s.customer_id, w.start_at, w.end_at, w.sum, w.count, w.max,"
        " w.last_value, w.last_reference"
        " FROM usage_windows w JOIN usage_series s USING (series_id) WHERE s.meter_id = ANY(%s)",
        meters,
    )
    assert len(found) == 2 * len(METERS) * CUSTOMERS  # this period, and the next
    for meter_id, customer, start, end, total, count, greatest, last, last_reference in found:
        name = names[meter_id]
        within = model.within(name, customer, in_ms(start), in_ms(end))
        assert count == len(within)
        assert total == (len(within) if name == "unique" else quantity("sum", within)), (
            name,
            customer,
        )
        if name == "max" and within:
            assert greatest == quantity("max", within)
        if name == "last" and within:
            latest = max(within, key=lambda event: (event.ms, event.identifier))
            assert (last, last_reference) == (quantity("last", within), latest.identifier)


def hours_agree(town: Town, model: Model, meters: dict[str, str]) -> None:
    found = rows(
        town,
        "SELECT s.meter_id, s.customer_id, extract(epoch FROM h.hour)::bigint, h.count"
        " FROM usage_hours h JOIN usage_series s USING (series_id) WHERE s.meter_id = ANY(%s)",
        meters,
    )
    expected: dict[tuple[str, str, int], int] = {}
    for event in model.events:
        hour = meters[event.name], event.customer, event.ms // 1000 // HOUR * HOUR
        expected[hour] = expected.get(hour, 0) + 1
    assert {row[:3]: row[3] for row in found} == expected


def any_windows_agree(
    town: Town,
    model: Model,
    customers: Sequence[str],
    meters: dict[str, str],
    chance: random.Random,
) -> None:
    """Windows with any boundaries, to the millisecond."""
    asked: dict[str, tuple[str, str, int, int]] = {}
    for n in range(100):
        ends = sorted(chance.choice(model.events).ms + chance.choice([0, 0, 1]) for _ in range(2))
        asked[f"{n}"] = (chance.choice(METERS), chance.choice(customers), ends[0], ends[1])
    with town.database.connection() as conn:
        [(account_id,)] = conn.execute(
            "SELECT account_id FROM meters WHERE id = %s", (meters["sum"],)
        ).fetchall()
        found = measure(
            conn,
            account_id,
            {
                key: Window(customer, meters[name], instant(start), instant(end))
                for key, (name, customer, start, end) in asked.items()
            },
            now=instant(NOW * 1000),
        )
    assert found == {
        key: billed(name, model.within(name, customer, start, end))
        for key, (name, customer, start, end) in asked.items()
    }


def summaries_agree(
    town: Town, model: Model, customers: Sequence[str], meters: dict[str, str]
) -> None:
    """As a client sees them: as a whole, by hour and by day; negative where it is."""
    days = (MONTH_BEGINS // DAY * DAY, NOW // DAY * DAY + DAY)
    minutes = (MONTH_BEGINS // 60 * 60 + 60, NOW // 60 * 60)
    with client(town) as http:
        for name, meter_id in meters.items():
            for customer in customers:
                for step, (start, end) in ((None, minutes), (HOUR, days), (DAY, days)):
                    grouping = {None: None, HOUR: "hour", DAY: "day"}[step]
                    found = listed(
                        http, meter_id, customer, start_time=start, end_time=end, grouping=grouping
                    )
                    length = step or end - start
                    expected = [
                        (at, at + length, quantity(name, within))
                        for at in range(start, end, length)
                        if (within := model.within(name, customer, at * 1000, (at + length) * 1000))
                        or step is None
                    ]
                    assert found == expected[::-1], (name, customer, grouping)


def listed(
    http: httpx.Client, meter_id: str, customer: str, *, grouping: str | None, **given: Any
) -> list[tuple[int, int, Decimal]]:
    """All pages of a list of summaries."""
    asked: dict[str, Any] = {"customer": customer, "limit": 100} | given
    if grouping is not None:
        asked["value_grouping_window"] = grouping
    found: list[tuple[int, int, Decimal]] = []
    more = True
    while more:
        page = http.get(f"/v1/billing/meters/{meter_id}/event_summaries", params=asked).json()
        found += [
            (each["start_time"], each["end_time"], Decimal(each["aggregated_value_decimal"]))
            for each in page["data"]
        ]
        more = page["has_more"]
        if more:
            asked["starting_after"] = page["data"][-1]["id"]
    return found


def in_ms(at: datetime) -> int:
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def instant(ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)
