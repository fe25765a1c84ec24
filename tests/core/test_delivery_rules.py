"""Whom events go to, and when they are tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from postpaid.core.deliveries import (
    DELAYS,
    DISABLE_AFTER,
    JITTER_PERCENT,
    is_given_up_on,
    is_type,
    listens,
    next_attempt_at,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("enabled", "wanted"),
    [
        (["*"], True),
        (["invoice.paid"], True),
        (["invoice.*"], True),
        (["customer.*", "invoice.paid"], True),
        (["invoice.pai"], False),
        (["invoice"], False),
        (["invoice.paid.*"], False),
        (["invoi.*"], False),
        (["customer.*"], False),
        ([], False),
    ],
    ids=["all", "it", "kind", "several", "part", "stem", "under it", "stub", "other", "none"],
)
def test_an_endpoint_listens_to_its_types(enabled: list[str], wanted: bool) -> None:
    assert listens(enabled, "invoice.paid") is wanted


@pytest.mark.parametrize("name", ["*", "invoice.paid", "invoice.*", "v1.billing.meter.x_y"])
def test_what_is_like_a_type(name: str) -> None:
    assert is_type(name)


@pytest.mark.parametrize("name", ["", "**", "*.paid", "invoice.", ".paid", "Invoice", "a b"])
def test_what_is_not_like_a_type(name: str) -> None:
    assert not is_type(name)


def test_retries_take_three_days_in_all_ever_longer_apart() -> None:
    assert list(DELAYS) == sorted(DELAYS)
    now, waits = NOW, []
    for failures in range(1, len(DELAYS) + 1):
        at = next_attempt_at("whd_1", failures, now=now)
        assert at is not None
        waits.append(at - now)
        now = at
    assert timedelta(days=2.9) < now - NOW < timedelta(days=3.6)
    assert next_attempt_at("whd_1", len(DELAYS) + 1, now=now) is None
    for delay, wait in zip(DELAYS, waits, strict=True):
        assert delay <= wait <= delay * (100 + JITTER_PERCENT) / 100


def test_many_that_failed_at_once_do_not_come_back_at_once() -> None:
    moments = {next_attempt_at(f"whd_{number}", 5, now=NOW) for number in range(1000)}
    assert len(moments) > 500


def test_an_endpoint_is_given_up_on_after_three_days_without_a_success() -> None:
    assert not is_given_up_on(None, now=NOW)
    assert not is_given_up_on(NOW - DISABLE_AFTER + timedelta(seconds=1), now=NOW)
    assert is_given_up_on(NOW - DISABLE_AFTER, now=NOW)
