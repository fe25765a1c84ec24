"""Retry schedules through the API: made, found, changed, put away, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

URL = "/v1/retry_schedules"


def made(http: httpx.Client, **given: Any) -> dict[str, Any]:
    answer = http.post(URL, data=given)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refusal(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json()["error"].get("param")


def test_one_is_made_found_and_listed(http: httpx.Client) -> None:
    first = made(http, kind="daily")
    second = made(
        http,
        **{"kind": "list", "days[0]": "3", "days[1]": "20", "segment[metadata][tier]": "gold"},
        after_retries="unpaid",
        name="Gold",
    )
    assert (first["after_retries"], first["days"], first["window"]) == ("past_due", None, None)
    assert first["segment"] is None
    assert (second["days"], second["segment"]) == ([3, 20], {"metadata": {"tier": "gold"}})
    assert (second["after_retries"], second["name"]) == ("unpaid", "Gold")
    assert http.get(f"{URL}/{second['id']}").json() == second
    assert http.get(URL).json()["data"] == [second, first]
    assert http.get(URL, params={"limit": 1}).json()["has_more"] is True


def test_what_was_of_the_other_kind_goes_with_it(http: httpx.Client) -> None:
    schedule = made(http, kind="window", window="1_week", **{"segment[metadata][a]": "b"})
    changed = http.post(
        f"{URL}/{schedule['id']}",
        data={"kind": "list", "days[0]": "5", "segment": "", "after_retries": "pause"},
    ).json()
    assert (changed["kind"], changed["days"], changed["window"]) == ("list", [5], None)
    assert (changed["segment"], changed["after_retries"]) == (None, "pause")
    assert http.get(f"{URL}/{schedule['id']}").json() == changed


def test_one_that_is_somebodys_cannot_be_deleted(http: httpx.Client) -> None:
    schedule = made(http, kind="daily")
    http.post("/v1/billing_settings", data={"retry_schedule": schedule["id"]})
    refused = http.delete(f"{URL}/{schedule['id']}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "resource_in_use")

    settings = http.post("/v1/billing_settings", data={"retry_schedule": ""}).json()
    assert settings["retry_schedule"] is None
    gone = http.delete(f"{URL}/{schedule['id']}")
    assert gone.json() == {"id": schedule["id"], "object": "retry_schedule", "deleted": True}
    assert http.get(f"{URL}/{schedule['id']}").status_code == 404
    assert http.delete(f"{URL}/{schedule['id']}").status_code == 404


def test_another_accounts_is_none(http: httpx.Client, server: str, other_key: Any) -> None:
    schedule = made(http, kind="daily")
    bearer = {"Authorization": f"Bearer {other_key.secret}"}
    with httpx.Client(base_url=server, headers=bearer) as others:
        assert others.get(f"{URL}/{schedule['id']}").status_code == 404
        answer = others.post("/v1/billing_settings", data={"retry_schedule": schedule["id"]})
        assert refusal(answer) == (404, "retry_schedule")


REFUSED: list[tuple[dict[str, str], str]] = [
    ({}, "kind"),
    ({"kind": "smart"}, "kind"),
    ({"kind": "window"}, "window"),
    ({"kind": "window", "window": "3_months"}, "window"),
    ({"kind": "daily", "window": "1_week"}, "window"),
    ({"kind": "list"}, "days"),
    ({"kind": "list", "days[0]": "0"}, "days[0]"),
    ({"kind": "list", "days[0]": "61"}, "days[0]"),
    ({"kind": "list", **{f"days[{place}]": "1" for place in range(21)}}, "days"),
    ({"kind": "daily", "after_retries": "forget"}, "after_retries"),
    ({"kind": "daily", "segment[metadata]": ""}, "segment[metadata]"),
    ({"kind": "daily", "retries": "4"}, "retries"),
]


@pytest.mark.parametrize(
    ("given", "param"),
    REFUSED,
    ids=[f"{place} {param}" for place, (_, param) in enumerate(REFUSED)],
)
def test_what_is_no_schedule_is_refused(
    http: httpx.Client, given: dict[str, str], param: str
) -> None:
    assert refusal(http.post(URL, data=given)) == (400, param)


def test_a_change_that_makes_no_schedule_is_refused(http: httpx.Client) -> None:
    schedule = made(http, kind="daily")
    answer = http.post(f"{URL}/{schedule['id']}", data={"kind": "window"})
    assert refusal(answer) == (400, "window")
    assert http.get(f"{URL}/{schedule['id']}").json() == schedule
