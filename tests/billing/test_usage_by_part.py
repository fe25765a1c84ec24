"""Usage that is said without a payload: its meter gives it the keys, at no further statement."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from postpaid import ids
from postpaid.billing import manage_customers, manage_keys, manage_meters
from postpaid.billing.check_usage import Parts, dimensions_of, payload_of, value_of
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import OutcomeKind, Reported, record_usage
from postpaid.core.metering import Aggregation
from postpaid.storage import usage
from postpaid.storage.database import Database
from postpaid.storage.meters import Meter
from statements import counted

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


def new_act(database: Database) -> Act:
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=NOW)
    return Act(account.account_id, False, "key_1", NOW, ids.new_id, request_id="req_1")


def make(database: Database, act: Act, aggregation: Aggregation) -> tuple[Meter, str]:
    with database.transaction() as conn:
        meter = manage_meters.create_meter(
            conn,
            act,
            display_name="Calls",
            event_name=aggregation,
            aggregation=aggregation,
            customer_key="who",
            value_key="what",
        )
        return meter, manage_customers.create_customer(conn, act, {"name": "Ada"}).id


@pytest.mark.parametrize("aggregation", [Aggregation.SUM, Aggregation.UNIQUE])
def test_what_was_said_is_read_again(database: Database, aggregation: Aggregation) -> None:
    act = new_act(database)
    meter, ada = make(database, act, aggregation)
    dimensions = {"who": "a", "what": "b", "where": "c", "customer": "d"}
    reported = Reported([meter.event_name], [{}], ["r"], [None])
    reported.by_part[0] = Parts(ada, "7", dimensions)
    with database.transaction() as conn:
        recorded = record_usage(conn, act, reported)
        stored = usage.load(conn, act.account_id, ["r"])["r"]
    assert recorded.errors == {}
    assert (stored.customer_id, value_of(meter, stored)) == (ada, "7")
    assert dimensions_of(meter, stored.payload) == dimensions


def test_a_dimension_named_like_a_key_of_the_meter_is_in_brackets(database: Database) -> None:
    meter, ada = make(database, new_act(database), Aggregation.SUM)
    assert payload_of(meter, Parts(ada, "7", {"who": "a", "else": "b"})) == {
        "who": ada,
        "what": "7",
        "[who]": "a",
        "else": "b",
    }
    assert payload_of(meter, Parts(ada, None)) == {"who": ada}


def test_many_take_the_statements_of_one_and_of_payloads(database: Database) -> None:
    asked = []
    for many, by_part in ((1, True), (50, True), (50, False)):
        act = new_act(database)
        meter, ada = make(database, act, Aggregation.SUM)
        names = [meter.event_name] * many
        references: list[str | None] = [f"{n}" for n in range(many)]
        payloads: list[dict[str, str]] = [{"who": ada, "what": "1"}] * many
        reported = Reported(names, [*payloads], references, [None] * many)
        if by_part:
            reported.payloads = [{} for _ in range(many)]
            reported.by_part = dict.fromkeys(range(many), Parts(ada, "1"))
        with database.transaction() as conn, counted(conn) as statements:
            recorded = record_usage(conn, act, reported)
        assert recorded.kinds == [OutcomeKind.ACCEPTED] * many
        asked.append(statements)
    assert asked[0] == asked[1] == asked[2]
