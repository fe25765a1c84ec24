"""What may become of a setup intent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from postpaid.core import setup_intents
from postpaid.core.errors import ActionNotAllowed
from postpaid.core.setup_intents import (
    OVER,
    SetupIntent,
    SetupIntentAction,
    SetupIntentStatus,
    SetupUsage,
    next_status,
)
from postpaid.core.values import replace

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ERROR = {"code": "card_declined"}
INTENT = SetupIntent(
    id="seti_1",
    customer_id="cus_1",
    clock_id=None,
    subscription_id=None,
    usage=SetupUsage.OFF_SESSION,
    status=SetupIntentStatus.REQUIRES_PAYMENT_METHOD,
    client_secret="seti_1_secret_1",
    payment_method_id=None,
    latest_attempt_id=None,
    last_error=None,
    next_action=None,
    description=None,
    cancellation_reason=None,
    created_at=NOW,
    canceled_at=None,
)


@pytest.mark.parametrize("status", sorted(OVER))
@pytest.mark.parametrize("action", list(SetupIntentAction))
def test_what_is_over_stays_so(status: SetupIntentStatus, action: SetupIntentAction) -> None:
    with pytest.raises(ActionNotAllowed) as refused:
        next_status(status, action)
    assert refused.value.code == "setup_intent_unexpected_state"


def test_what_a_bank_looks_into_is_left_alone_until_it_has_decided() -> None:
    begun = setup_intents.processing(setup_intents.chosen(INTENT, "pm_1"), "setatt_1", "pm_1")
    for action in (
        SetupIntentAction.CHOOSE,
        SetupIntentAction.CONFIRM,
        SetupIntentAction.CANCEL,
    ):
        with pytest.raises(ActionNotAllowed):
            next_status(begun.status, action)
    assert setup_intents.succeeded(begun, "setatt_1", "pm_1").status == "succeeded"
    assert setup_intents.declined(begun, "setatt_1", ERROR).status == "requires_payment_method"


def test_a_decline_takes_the_payment_method_away_and_the_next_success_the_error() -> None:
    declined = setup_intents.declined(setup_intents.chosen(INTENT, "pm_1"), "setatt_1", ERROR)
    assert (declined.payment_method_id, declined.last_error) == (None, ERROR)
    again = setup_intents.chosen(declined, "pm_2")
    assert (again.status, again.last_error) == ("requires_confirmation", ERROR)
    done = setup_intents.succeeded(again, "setatt_2", "pm_2")
    assert (done.payment_method_id, done.last_error, done.latest_attempt_id) == (
        "pm_2",
        None,
        "setatt_2",
    )


def test_what_the_customer_had_to_do_is_over_with_everything_that_happens_next() -> None:
    waiting = setup_intents.waiting_for_customer(
        setup_intents.chosen(INTENT, "pm_1"), "setatt_1", "pm_1", {"url": "https://bank.example"}
    )
    assert waiting.next_action == {"url": "https://bank.example"}
    for after in (
        setup_intents.chosen(waiting, "pm_2"),
        setup_intents.chosen(waiting, None),
        setup_intents.declined(waiting, "setatt_1", ERROR),
        setup_intents.succeeded(waiting, "setatt_1", "pm_1"),
        setup_intents.canceled(waiting, now=NOW, reason=None),
    ):
        assert after.next_action is None
    assert setup_intents.chosen(replace(waiting), None).status == "requires_payment_method"
