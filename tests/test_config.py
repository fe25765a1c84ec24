"""What an operator may say in the environment."""

from __future__ import annotations

from datetime import timedelta

import pytest

from postpaid.config import Settings, settings


def test_nothing_said_is_the_defaults() -> None:
    assert settings({}) == settings({"POSTPAID_EVENT_RETENTION": ""}) == Settings()


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("36h", timedelta(hours=36)),
        ("30d", timedelta(days=30)),
        ("90m", timedelta(minutes=90)),
        ("7200s", timedelta(hours=2)),
        ("86400", timedelta(days=1)),
        (" 1h ", timedelta(hours=1)),
    ],
)
def test_how_long_things_are_kept(said: str, kept: timedelta) -> None:
    chosen = settings(
        {
            "POSTPAID_IDEMPOTENCY_RETENTION": said,
            "POSTPAID_IDEMPOTENCY_RETENTION_V2": said,
            "POSTPAID_EVENT_RETENTION": said,
        }
    )
    assert chosen.idempotency_retention == chosen.idempotency_retention_v2 == kept
    assert chosen.event_retention == kept


def test_names_under_which_the_api_is_frames() -> None:
    chosen = settings({"POSTPAID_FRAME_HOSTS": "Frame.example, pay.example"})
    assert chosen.frame_hosts == ("frame.example", "pay.example")


@pytest.mark.parametrize("said", ["0", "59m", "-1h", "1.5h", "4000d", "999999999d", "soon", "h"])
@pytest.mark.parametrize("name", ["POSTPAID_IDEMPOTENCY_RETENTION", "POSTPAID_EVENT_RETENTION"])
def test_what_is_no_such_time_is_refused(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is like 36h or 30d"):
        settings({name: said})


@pytest.mark.parametrize("said", ["abc", "-5", "0", "2e6", "2_000"])
def test_a_number_of_bytes_that_is_none_is_refused_by_name(said: str) -> None:
    with pytest.raises(ValueError, match="POSTPAID_BODY_BYTES_MAX is a whole number above 0"):
        settings({"POSTPAID_BODY_BYTES_MAX": said})
