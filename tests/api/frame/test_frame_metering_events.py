"""Billing metric events by Frame's API: each counts once, and is corrected until it is billed."""

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError
from postpaid.billing.manage_keys import IssuedKey

EVENTS = "/v1/billing/metering_events"


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def iso(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


@pytest.fixture
def customer(frame: Frame) -> str:
    made: str = frame.post("/v1/customers", {"name": "Ada", "email": "ada@example.com"})["id"]
    return made


def meter(frame: Frame, event_name: str = "calls", aggregation: str = "sum") -> dict[str, Any]:
    asked = {"event_name": event_name, "aggregation": aggregation, "value": 1}
    return frame.post("/v1/billing/metering", asked)


def usage(customer: str, **more: Any) -> dict[str, Any]:
    return {
        "event_name": "calls",
        "customer": customer,
        "reference": uuid.uuid4().hex,
        "value": 1,
    } | more


def refused(frame: Frame, body: Any, method: str = "POST", path: str = EVENTS) -> FrameError:
    with pytest.raises(FrameError) as error:
        frame.request(method, path, body)
    return error.value


def named(error: FrameError) -> list[str]:
    return list(error.body["error_details"]["errors"])


def counted(stripe_client: stripe.StripeClient, meter_id: str, customer: str) -> Decimal:
    """What the meter has counted of the last and the next two months, as Stripe tells it."""
    start = int(now().timestamp()) // 60 * 60
    span = 60 * 86_400
    found = stripe_client.v1.billing.meters.event_summaries.list(
        meter_id, {"customer": customer, "start_time": start - span, "end_time": start + span}
    )
    return Decimal(str(found.data[0].aggregated_value))


def test_an_event_is_answered_and_read_as_frame_writes_it(frame: Frame, customer: str) -> None:
    made = meter(frame)
    at = now() - timedelta(hours=1)
    sent = usage(customer, value=Decimal("2.50"), timestamp=iso(at), metadata={"region": "eu"})
    said = frame.post(EVENTS, sent)
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert said["id"].startswith("mev_")
    assert said == {
        "id": said["id"],
        "object": "billing_metric_event",
        "event_name": "calls",
        "meter_id": made["id"],
        "reference": sent["reference"],
        "customer": customer,
        "customer_id": customer,
        "account": None,
        "account_id": None,
        "value": "2.5",
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "metadata": {"region": "eu"},
        "canceled_at": None,
        "livemode": False,
        "created": said["created"],
        "updated": said["created"],
    }
    assert abs(said["created"] - now().timestamp()) < 60
    assert frame.get(f"{EVENTS}/{said['id']}") == said


def test_what_is_used_here_is_counted_there(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    made = meter(frame)
    frame.post(EVENTS, usage(customer, value=3))
    stripe_client.v1.billing.meter_events.create(
        {"event_name": "calls", "payload": {"customer": customer, "value": "4"}, "identifier": "x"}
    )
    assert counted(stripe_client, made["id"], customer) == 7
    assert refused(frame, usage(customer, reference="x")).code == "duplicate_reference"


def test_an_event_for_a_meter_of_stripes_finds_its_keys(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    made = stripe_client.v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": "calls",
            "default_aggregation": {"formula": "sum"},
            "value_settings": {"event_payload_key": "tokens"},
        }
    )
    said = frame.post(EVENTS, usage(customer, value=9, metadata={"tokens": "a", "value": "b"}))
    assert counted(stripe_client, made.id, customer) == 9
    assert frame.get(f"{EVENTS}/{said['id']}")["metadata"] == {"tokens": "a", "value": "b"}


def test_a_reference_counts_once_and_for_good(
    frame: Frame, other_frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    made = meter(frame)
    meter(frame, "others")
    sent = usage(customer, reference="order/1 …")
    first = frame.post(EVENTS, sent)
    another = frame.post("/v1/customers", {"name": "Eve", "email": "eve@example.com"})["id"]
    for again in (
        sent,
        sent | {"value": 2},
        sent | {"customer": another},
        sent | {"event_name": "others"},
        sent | {"timestamp": iso(now() - timedelta(days=30))},
    ):
        error = refused(frame, again)
        assert (error.status, error.code, named(error)) == (
            422,
            "duplicate_reference",
            ["reference"],
        )
    assert counted(stripe_client, made["id"], customer) == 1
    assert frame.get(f"{EVENTS}/{first['id']}") == first
    elsewhere = other_frame.post("/v1/customers", {"name": "Bob", "email": "bob@example.com"})
    meter(other_frame)
    assert other_frame.post(EVENTS, sent | {"customer": elsewhere["id"]})["id"] == first["id"]
    assert frame.get(f"{EVENTS}/{first['id']}")["customer"] == customer


def test_of_fifty_at_once_one_is_counted(
    frame: Frame, server: str, key: IssuedKey, stripe_client: stripe.StripeClient, customer: str
) -> None:
    made = meter(frame)
    sent = usage(customer)

    def send(n: int) -> str:
        with Frame(server, key.secret) as client:
            try:
                client.post(EVENTS, sent | {"value": 1 + n % 2})
            except FrameError as error:
                return error.code
            return "accepted"

    with ThreadPoolExecutor(50) as threads:
        said = Counter(threads.map(send, range(50)))
    assert said == {"accepted": 1, "duplicate_reference": 49}
    assert counted(stripe_client, made["id"], customer) in (1, 2)


def test_an_answer_repeats_for_its_key(frame: Frame, customer: str) -> None:
    meter(frame)
    sent = usage(customer, value=Decimal("0.1"))
    first = frame.post(EVENTS, sent, key="k")
    assert frame.post(EVENTS, sent, key="k") == first
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert frame.last.headers["idempotent-replay"] == "true"


@pytest.mark.parametrize("name", ["customer", "customer_id", "account", "account_id"])
def test_whose_it_is_has_four_names(frame: Frame, customer: str, name: str) -> None:
    meter(frame)
    sent = usage(customer) | {name: customer}
    if name != "customer":
        del sent["customer"]
    said = frame.post(EVENTS, sent)
    assert said["account" if name.startswith("account") else "customer"] == customer


@pytest.mark.parametrize(
    ("aggregation", "values", "billed"),
    [
        ("sum", ["1.5", 2, -1], "2.5"),
        ("count", [5, 5, None], "3"),
        ("count_unique", [5, "5.0", "ada", "ada", 6], "3"),
        ("average", [1, 2], "1.5"),
    ],
)
def test_values_add_up_as_the_meter_says(
    frame: Frame,
    stripe_client: stripe.StripeClient,
    customer: str,
    aggregation: str,
    values: list[Any],
    billed: str,
) -> None:
    made = meter(frame, aggregation=aggregation)
    for value in values:
        frame.post(EVENTS, usage(customer, value=value))
    assert counted(stripe_client, made["id"], customer) == Decimal(billed)


@pytest.mark.parametrize(
    ("field", "value", "status", "param"),
    [
        ("event_name", "unknown", 404, "event_name"),
        ("event_name", "", 422, "event_name"),
        ("customer", "cus_none", 404, "customer"),
        ("customer", None, 422, "customer"),
        ("customer", 5, 422, "customer"),
        ("account", "cus_other", 422, "customer"),
        ("reference", None, 422, "reference"),
        ("reference", "", 422, "reference"),
        ("reference", "x" * 256, 422, "reference"),
        ("reference", "ü" * 128, 422, "reference"),
        ("reference", 7, 422, "reference"),
        ("value", None, 422, "value"),
        ("value", "many", 422, "value"),
        ("value", True, 422, "value"),
        ("value", 10**16, 422, "value"),
        ("value", "0.0000000000001", 422, "value"),
        ("value", [1], 422, "value"),
        ("timestamp", "yesterday", 422, "timestamp"),
        ("timestamp", "2001-01-01T00:00:00Z", 422, "timestamp"),
        ("timestamp", "2101-01-01T00:00:00Z", 422, "timestamp"),
        ("metadata", {"a": "x" * 101}, 422, "metadata"),
        ("metadata", {str(n): "x" for n in range(21)}, 422, "metadata"),
    ],
)
def test_what_is_wrong_is_said_of_its_parameter(
    frame: Frame, customer: str, field: str, value: Any, status: int, param: str
) -> None:
    meter(frame)
    error = refused(frame, usage(customer) | {field: value})
    assert error.status == status
    assert [each.partition("[")[0].partition(".")[0] for each in named(error)] == [param]


def test_a_meter_that_is_off_takes_no_events(frame: Frame, customer: str) -> None:
    made = meter(frame)
    frame.patch(f"/v1/billing/metering/{made['id']}", {"active": False})
    error = refused(frame, usage(customer))
    assert (error.status, named(error)) == (422, ["event_name"])
    assert "inactive" in error.message


@pytest.mark.parametrize("event", ["mev_", "mev_AA", "mev_!", "x", "mev_eA==", "mev_eQ"])
def test_an_id_of_nothing_is_not_found(frame: Frame, event: str) -> None:
    assert refused(frame, None, "GET", f"{EVENTS}/{event}").status == 404
    assert refused(frame, {"value": 1}, "PATCH", f"{EVENTS}/{event}").status == 404


def test_the_longest_reference_can_be_read_again(frame: Frame, customer: str) -> None:
    meter(frame)
    said = frame.post(EVENTS, usage(customer, reference="ü" * 127 + "x"))
    assert frame.get(f"{EVENTS}/{said['id']}")["reference"] == "ü" * 127 + "x"


# ─── Correcting ──────────────────────────────────────────────────────────────────────────────


def test_an_event_is_corrected_with_every_total(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    made = meter(frame)
    frame.post(EVENTS, usage(customer, value=10))
    said = frame.post(EVENTS, usage(customer, value=100, metadata={"a": "1", "b": "2"}))
    path = f"{EVENTS}/{said['id']}"
    changed = frame.patch(path, {"value": 5, "metadata": {"a": "", "c": "3"}})
    assert (changed["value"], changed["metadata"]) == ("5.0", {"b": "2", "c": "3"})
    assert changed["timestamp"] == said["timestamp"]
    assert frame.get(path) == changed
    assert counted(stripe_client, made["id"], customer) == 15
    moved = frame.patch(path, {"timestamp": iso(now() - timedelta(days=20))})
    assert (moved["value"], moved["metadata"]) == ("5.0", changed["metadata"])
    assert counted(stripe_client, made["id"], customer) == 15
    assert refused(frame, usage(customer, reference=said["reference"])).code == (
        "duplicate_reference"
    )


@pytest.mark.parametrize(
    ("aggregation", "billed"), [("count_unique", "2"), ("average", "3"), ("count", "2")]
)
def test_a_correction_is_of_any_aggregation(
    frame: Frame,
    stripe_client: stripe.StripeClient,
    customer: str,
    aggregation: str,
    billed: str,
) -> None:
    made = meter(frame, aggregation=aggregation)
    frame.post(EVENTS, usage(customer, value=4))
    said = frame.post(EVENTS, usage(customer, value=4))
    assert frame.patch(f"{EVENTS}/{said['id']}", {"value": 2})["value"] == "2.0"
    assert frame.get(f"{EVENTS}/{said['id']}")["value"] == "2.0"
    assert counted(stripe_client, made["id"], customer) == Decimal(billed)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"value": "many"}, "value"),
        ({"value": 10**16}, "value"),
        ({"timestamp": "2001-01-01"}, "timestamp"),
        ({"timestamp": {}}, "timestamp"),
        ({"metadata": {"a]": "b"}}, "metadata"),
        ({"metadata": 5}, "metadata"),
    ],
    ids=str,
)
def test_a_wrong_correction_changes_nothing(
    frame: Frame, customer: str, change: dict[str, Any], param: str
) -> None:
    meter(frame)
    said = frame.post(EVENTS, usage(customer))
    error = refused(frame, change, "PATCH", f"{EVENTS}/{said['id']}")
    assert (error.status, named(error)) == (422, [param])
    assert frame.get(f"{EVENTS}/{said['id']}") == said


def test_an_event_is_corrected_after_its_meter_was_turned_off(frame: Frame, customer: str) -> None:
    made = meter(frame)
    said = frame.post(EVENTS, usage(customer))
    frame.delete(f"/v1/billing/metering/{made['id']}")
    assert frame.patch(f"{EVENTS}/{said['id']}", {"value": 7})["value"] == "7.0"


def test_an_event_that_was_cancelled_stays_so(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    meter(frame)
    said = frame.post(EVENTS, usage(customer))
    stripe_client.v1.billing.meter_event_adjustments.create(
        {"event_name": "calls", "type": "cancel", "cancel": {"identifier": said["reference"]}}
    )
    error = refused(frame, {"value": 2}, "PATCH", f"{EVENTS}/{said['id']}")
    assert (error.status, error.code) == (422, "invalid_transition")
    assert frame.get(f"{EVENTS}/{said['id']}")["canceled_at"] is not None


# ─── Many ────────────────────────────────────────────────────────────────────────────────────


def test_of_many_each_has_its_own_outcome(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    made = meter(frame)
    sent = [
        usage(customer, reference="a", value=2),
        usage(customer, reference="a", value=2),
        usage(customer, reference="b", event_name="unknown"),
        usage(customer, reference=""),
        "no event",
        usage(customer, reference="c", value=3),
    ]
    said = frame.post(f"{EVENTS}/batch", {"events": sent})
    assert (said["accepted"], said["refused"]) == (2, 4)
    assert [each["error"] and each["error"]["code"] for each in said["data"]] == [
        None,
        "duplicate_reference",
        "not_found",
        "validation_errors",
        "validation_errors",
        None,
    ]
    assert [each["index"] for each in said["data"]] == list(range(6))
    assert said["data"][5]["event"] == frame.get(f"{EVENTS}/{said['data'][5]['event']['id']}")
    assert counted(stripe_client, made["id"], customer) == 5


def test_a_thousand_events_are_taken_at_once(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    made = meter(frame)
    sent = [usage(customer, reference=f"of-many-{i}", value=1) for i in range(1000)]
    said = frame.post(f"{EVENTS}/batch", {"events": sent})
    assert (said["accepted"], said["refused"]) == (1000, 0)
    assert [each["reference"] for each in said["data"]] == [each["reference"] for each in sent]
    assert counted(stripe_client, made["id"], customer) == 1000


@pytest.mark.parametrize("events", [[], None, "x", [{}] * 1001], ids=["0", "none", "text", "1001"])
def test_a_batch_is_of_one_to_a_thousand(frame: Frame, events: Any) -> None:
    error = refused(frame, {"events": events}, path=f"{EVENTS}/batch")
    assert (error.status, named(error)) == (422, ["events"])


# ─── Billed, and an account's ────────────────────────────────────────────────────────────────


def test_what_an_invoice_bills_cannot_be_corrected_until_it_is_void(
    frame: Frame, customer: str
) -> None:
    meter(frame)
    at = now() - timedelta(hours=2)
    said = frame.post(EVENTS, usage(customer, timestamp=iso(at)))
    path = f"{EVENTS}/{said['id']}"
    window = {"start_date": iso(at - timedelta(hours=1)), "end_date": iso(at + timedelta(hours=1))}
    invoice = frame.post(
        "/v1/billing/billing_invoice",
        {"customer": customer, "collection_method": "request_payment"} | window,
    )
    error = refused(frame, {"value": 5}, "PATCH", path)
    assert (error.status, error.code) == (422, "invalid_transition")
    assert invoice["id"] in error.message
    assert frame.patch(path, {"metadata": {"seen": "yes"}})["metadata"] == {"seen": "yes"}
    frame.post(f"/v1/invoices/{invoice['id']}/void")
    assert frame.patch(path, {"value": 5})["value"] == "5.0"


def test_usage_of_an_account_is_an_accounts(frame: Frame) -> None:
    named = {"name": {"first_name": "Ada", "last_name": "Lovelace"}, "email": "ada@example.com"}
    account = frame.post("/v1/accounts", {"type": "individual", "profile": {"individual": named}})[
        "id"
    ]
    meter(frame)
    sent = usage("") | {"account": account}
    del sent["customer"]
    said = frame.post(EVENTS, sent)
    assert (said["account"], said["account_id"], said["customer"]) == (account, account, None)
    assert frame.get(f"{EVENTS}/{said['id']}") == said
    query = {"account": account, "from": 0, "to": iso(now())}
    report = frame.get("/v1/billing/report/customer", **query)
    assert (report["customer"], report["account"]) == (None, account)
