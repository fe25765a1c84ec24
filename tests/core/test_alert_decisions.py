"""When an alert is sent, and when it is looked at again."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpaid.core.alerts import (
    ALL_TIME_KEY,
    TRANSITIONS,
    Alert,
    AlertAction,
    AlertRecurrence,
    AlertStatus,
    Outlook,
    decide,
    next_status,
)
from postpaid.core.allotments import position
from postpaid.core.errors import ActionNotAllowed
from postpaid.core.periods import Period
from postpaid.core.pricing import Model, Tier, TiersMode

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JANUARY = Period(NOW, datetime(2026, 2, 1, tzinfo=UTC))
KEY = "sub_1/si_1/period-0"
HUNDRED_FREE = Model(
    tiers=(Tier(Decimal(100), Decimal(0)), Tier(None, Decimal(3))), tiers_mode=TiersMode.GRADUATED
)
PER_UNIT = Model(unit_amount=Decimal(2))
FREE = Model(unit_amount=Decimal(0))


def alert(name: str = "alrt_1", **given: Any) -> Alert:
    """An alert of every billing window, or of all usage when it says so."""
    values: dict[str, Any] = {"gte": None, "percent": None, "amount": None} | given
    if values["gte"] is not None:
        values["gte"] = Decimal(values["gte"])
    values.setdefault("recurrence", AlertRecurrence.BILLING_PERIOD)
    values.setdefault("status", AlertStatus.ACTIVE)
    return Alert(
        id=name, title="High", meter_id="mtr_1", customer_id=None, created_at=NOW, **values
    )


def item(quantity: str, model: Model = HUNDRED_FREE) -> Outlook:
    return Outlook(KEY, Decimal(quantity), position(model, JANUARY, Decimal(quantity)))


def all_time(quantity: str) -> Outlook:
    return Outlook(ALL_TIME_KEY, Decimal(quantity))


@pytest.mark.parametrize(
    ("given", "model", "short", "reached"),
    [
        pytest.param({"gte": "10.5"}, HUNDRED_FREE, "10.499", "10.5", id="quantity"),
        pytest.param({"percent": 80}, HUNDRED_FREE, "79.999", "80", id="percent"),
        pytest.param({"percent": 150}, HUNDRED_FREE, "149.999", "150", id="percent-beyond"),
        pytest.param({"amount": 300}, HUNDRED_FREE, "199", "200", id="amount"),
        pytest.param({"amount": 3}, PER_UNIT, "1.2", "1.25", id="amount-as-it-is-rounded"),
    ],
)
def test_an_alert_is_due_when_its_threshold_is_reached(
    given: dict[str, Any], model: Model, short: str, reached: str
) -> None:
    waits = alert(**given)
    assert decide([waits], item(short, model), set()).due == ()
    assert decide([waits], item(reached, model), set()).due == (waits,)
    assert decide([waits], item("99999", model), set()).due == (waits,)


def test_an_amount_too_large_to_bill_has_reached_every_amount() -> None:
    waits = alert(amount=10**11)
    assert decide([waits], item("1" + "0" * 15 + ".5", PER_UNIT), set()).due == (waits,)


@pytest.mark.parametrize(
    "model", [pytest.param(PER_UNIT, id="nothing"), pytest.param(FREE, id="everything")]
)
def test_there_is_no_percentage_of_nothing_and_of_everything(model: Model) -> None:
    decision = decide([alert(percent=1)], item("99999", model), set())
    assert (decision.due, decision.look_at, decision.look_always) == ((), None, False)


def test_an_alert_is_sent_once_for_a_key() -> None:
    waits = alert(gte="5")
    assert decide([waits], item("9"), {("alrt_1", KEY)}).due == ()
    assert decide([waits], item("9"), {("alrt_1", KEY)}).look_at is None
    assert decide([waits], item("9"), {("alrt_1", "another"), ("alrt_2", KEY)}).due == (waits,)


@pytest.mark.parametrize("status", [AlertStatus.INACTIVE, AlertStatus.ARCHIVED])
def test_what_is_not_active_is_not_sent(status: AlertStatus) -> None:
    decision = decide([alert(gte="5", status=status)], item("9"), set())
    assert (decision.due, decision.look_at) == ((), None)


def test_a_one_time_alert_looks_at_all_usage_and_no_other_does() -> None:
    once = alert("alrt_once", gte="5", recurrence=AlertRecurrence.ONE_TIME)
    often = alert("alrt_often", gte="5")
    assert decide([once, often], all_time("9"), set()).due == (once,)
    assert decide([once, often], item("9"), set()).due == (often,)


def test_it_is_looked_at_again_from_the_lowest_quantity_that_is_waited_for() -> None:
    alerts = [alert("a", gte="500"), alert("b", percent=250), alert("c", gte="5")]
    decision = decide(alerts, item("9"), set())
    assert [each.id for each in decision.due] == ["c"]
    assert (decision.look_at, decision.look_always) == (Decimal(250), False)


def test_an_amount_is_always_looked_at_until_it_is_reached() -> None:
    waits = alert(amount=300)
    assert decide([waits], item("9"), set()).look_always
    assert not decide([waits], item("9"), {("alrt_1", KEY)}).look_always
    assert not decide([waits], item("9999"), set()).look_always


@given(
    thresholds=st.lists(st.integers(1, 200), max_size=5),
    quantities=st.lists(st.integers(0, 200), min_size=1, max_size=20),
)
def test_to_look_only_from_there_on_misses_nothing(
    thresholds: list[int], quantities: list[int]
) -> None:
    """Whoever looks at every quantity sends the same alerts, at the same quantities."""
    alerts = [alert(f"alrt_{place}", gte=str(each)) for place, each in enumerate(thresholds)]

    def run(*, always: bool) -> list[tuple[str, int]]:
        sent: set[tuple[str, str]] = set()
        happened = []
        look_at: Decimal | None = Decimal(0)
        for quantity in quantities:
            if always or (look_at is not None and quantity >= look_at):
                decision = decide(alerts, item(str(quantity)), sent)
                happened += [(each.id, quantity) for each in decision.due]
                sent |= {(each.id, KEY) for each in decision.due}
                look_at = decision.look_at
        return happened

    assert run(always=False) == run(always=True)


def test_it_is_a_matter_of_its_meter_and_its_customer() -> None:
    everyone = alert(gte="5")
    ada = replace(everyone, customer_id="cus_ada")
    assert everyone.watches("mtr_1", "cus_ada")
    assert not everyone.watches("mtr_2", "cus_ada")
    assert ada.watches("mtr_1", "cus_ada")
    assert not ada.watches("mtr_1", "cus_bob")


@pytest.mark.parametrize(("status", "action"), list(product(AlertStatus, AlertAction)))
def test_a_status_moves_as_the_table_says(status: AlertStatus, action: AlertAction) -> None:
    if (status, action) in TRANSITIONS:
        assert next_status(status, action) == TRANSITIONS[status, action]
    else:
        with pytest.raises(ActionNotAllowed, match=f"is {status} cannot be"):
            next_status(status, action)


def test_what_is_archived_stays() -> None:
    assert not [status for status, _ in TRANSITIONS if status == AlertStatus.ARCHIVED]
