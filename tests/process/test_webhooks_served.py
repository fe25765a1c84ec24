"""Webhooks as an operator runs them: a server, an endpoint, and the command line."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import standardwebhooks
import stripe
from command import Serve, Serving, run

from receiver import LOOPBACK, receiving


def endpoint_of(serving: Serving, url: str) -> httpx.Response:
    return httpx.post(
        f"{serving.url}/v1/webhook_endpoints",
        data={"url": url, "enabled_events[0]": "customer.*"},
        auth=(serving.key or "", ""),
        trust_env=False,
    )


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "several"])
def test_a_server_tells_an_endpoint_and_the_command_line_tells_it_again(
    serve: Serve, tmp_path: Path, workers: int
) -> None:
    data = tmp_path / "data"
    with receiving() as receiver:
        serving = serve(
            "--data-dir",
            data,
            f"--workers={workers}",
            POSTPAID_WEBHOOK_ALLOWED_NETWORKS=",".join(LOOPBACK),
        )
        made = endpoint_of(serving, receiver.url)
        assert made.status_code == 200, made.text
        endpoint, secret = made.json()["id"], made.json()["secret"]
        client = stripe.StripeClient(serving.key or "", base_addresses={"api": serving.url})
        customer = client.v1.customers.create({"name": "Ada"})
        receiver.wait_for(1)
        [sent] = receiver.received
        event = stripe.Webhook.construct_event(sent.body, sent.headers["stripe-signature"], secret)
        assert (event.type, event.data.object["id"]) == ("customer.created", customer.id)
        assert standardwebhooks.Webhook(secret).verify(sent.body, dict(sent.headers))

        listed = run("webhooks", "list", "--mode=test", "--data-dir", data)
        assert f"{endpoint}  enabled  {receiver.url}" in listed.stdout
        receiver.wait_until(
            lambda: (
                "delivered"
                in run(
                    "webhooks", "list", "--mode=test", "--endpoint", endpoint, "--data-dir", data
                ).stdout
            )
        )
        again = run(
            *("webhooks", "redeliver", endpoint, "--mode=test", "--all", "--data-dir"), data
        )
        assert again.stdout == "Deliveries that begin again: 1.\n", again.stderr
        receiver.wait_until(lambda: len(receiver.taken) == 2)
        of_one = run(
            *("webhooks", "redeliver", endpoint, "--mode=test", "--event", event.id, "--data-dir"),
            data,
        )
        assert of_one.returncode == 0, of_one.stderr
        receiver.wait_until(lambda: len(receiver.taken) == 3)
        assert {each.event["id"] for each in receiver.taken} == {event.id}
        unknown = run("webhooks", "redeliver", "we_no", "--mode=test", "--data-dir", data)
        assert (unknown.returncode, unknown.stderr) == (1, "No such webhook endpoint: 'we_no'\n")
        serving.end()
        assert "Traceback" not in serving.errors.read_text()


def test_a_server_does_not_call_itself(serve: Serve, tmp_path: Path) -> None:
    """Without the operator's leave, an address inside is refused when it is given."""
    serving = serve("--data-dir", tmp_path / "data")
    refused = endpoint_of(serving, serving.url)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "url"
