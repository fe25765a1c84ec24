"""The ``frame`` gateway: money moves through Frame, by transfers.

A token is ``account/payment_method``, both Frame's ids. A transfer bears our key as its reference,
which is what it is found by: Frame promises to act once per ``Idempotency-Key`` only in its newer
clients, so a request that may still be on its way is waited for before it is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from postpaid.outside.gateways.protocol import (
    Absent,
    ChargeRequest,
    Declined,
    Outcome,
    Processing,
    RefundRequest,
    SetupRequest,
    Succeeded,
    Unknown,
)

KIND = "frame"
BASE_URL = "https://api.framepayments.com"
CONNECT_S, ANSWER_S = 5, 30
ON_ITS_WAY_S = 120  # a request that is not there by then was lost
SKEW_S = 86_400  # by so much a request may be older than it says: a customer's clock stands still
PAGE, PAGES_MAX = 100, 50
OURS = "postpaid_attempt"  # a refund's metadata that has our key, for it has no reference
REASONS = ("requested_by_customer", "duplicate", "fraudulent")  # Frame: of a refund
REFUSALS = (400, 404, 422)  # nothing was done; any other error may come after it was

T = TypeVar("T")


class _Refused(Exception):
    """Frame says that it did nothing, and why."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        details = body.get("error_details")
        said: Mapping[str, Any] = details if isinstance(details, dict) else {}
        data = said.get("data")
        self.data: Mapping[str, Any] = data if isinstance(data, dict) else {}
        self.code = str(body.get("code") or "invalid_request_error")
        self.message = str(
            self.data.get("failure_message")
            or said.get("message")
            or (details if isinstance(details, str) else None)
            or body.get("error")
            or "Frame refused."
        )
        super().__init__(self.message)


class _NoAnswer(Exception):
    """None, or one that decides nothing."""


class FrameGateway:
    """A `Gateway` to a merchant's account at Frame."""

    def __init__(
        self,
        name: str,
        secret_key: str,
        *,
        base_url: str | None = None,
        timeout_s: tuple[float, float] = (CONNECT_S, ANSWER_S),
    ) -> None:
        self.name = name
        connect_s, answer_s = timeout_s
        self._http = httpx.Client(
            base_url=base_url or BASE_URL,
            headers={"Authorization": f"Bearer {secret_key}"},
            timeout=httpx.Timeout(answer_s, connect=connect_s),
            follow_redirects=False,
        )

    # ─── Transfers ───────────────────────────────────────────────────────────────────────────

    def charge(self, request: ChargeRequest) -> Outcome:
        """Make a transfer, unless there is one of this key already."""
        if request.age_s > 0:
            found = self.ask(request, None)
            if not isinstance(found, Absent):
                return found
        account, _, method = request.token.partition("/")
        body = {
            "amount": request.amount,
            "currency": request.currency.upper(),
            "account_id": account,
            "source_payment_method_id": method,
            "description": request.description,
            "reference": request.idempotency_key,
            "confirm": True,
            "metadata": dict(request.metadata),
        }
        post = partial(self._send, "POST", "/v1/transfers", body, key=request.idempotency_key)
        return _acted(lambda: _outcome_of(post()))

    def ask(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        def answer() -> Outcome | Absent:
            if reference is not None:
                return _outcome_of(self._send("GET", f"/v1/transfers/{quote(reference, safe='')}"))
            since = None
            for each in self._each("/v1/transfers"):
                if each.get("reference") == request.idempotency_key:
                    return _outcome_of(each)
                made = each.get("created", 0)
                if since is None:  # the newest was made by now, which so needs no clock
                    since = made - request.age_s - SKEW_S
                if made < since:
                    break
            return self._missing(request.age_s)

        return _asked(answer)

    def cancel(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        """Frame has no way to give up a transfer: what became of it is all there is to say."""
        return self.ask(request, reference)

    # ─── Refunds ─────────────────────────────────────────────────────────────────────────────

    def refund(self, request: RefundRequest) -> Outcome:
        """Give back, unless there is a refund of this key already."""
        if request.age_s > 0:
            found = self.ask_refund(request, None)
            if not isinstance(found, Absent):
                return found
        body: dict[str, Any] = {
            "transfer": request.charge_reference,
            "amount": request.amount,
            "metadata": {OURS: request.idempotency_key},
        }
        if request.reason in REASONS:
            body["reason"] = request.reason
        post = partial(self._send, "POST", "/v1/refunds", body, key=request.idempotency_key)
        return _acted(lambda: _outcome_of(post()))

    def ask_refund(self, request: RefundRequest, reference: str | None) -> Outcome | Absent:
        def answer() -> Outcome | Absent:
            if reference is not None:
                return _outcome_of(self._send("GET", f"/v1/refunds/{quote(reference, safe='')}"))
            for each in self._each("/v1/refunds", transfer=request.charge_reference):
                if (each.get("metadata") or {}).get(OURS) == request.idempotency_key:
                    return _outcome_of(each)
            return self._missing(request.age_s)

        return _asked(answer)

    def set_up(self, request: SetupRequest) -> Outcome:
        """Frame sets nothing up: a payment method that is active there can be charged."""
        method = request.token.partition("/")[2]

        def answer() -> Outcome:
            found = self._send("GET", f"/v1/payment_methods/{quote(method, safe='')}")
            if found.get("status") == "active":
                return Succeeded(method)
            return Declined("card_declined", None, "The payment method is not active.", method)

        return _acted(answer)

    def ask_set_up(self, request: SetupRequest, reference: str) -> Outcome:
        return self.set_up(request)

    # ─── HTTP ────────────────────────────────────────────────────────────────────────────────

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        **query: Any,
    ) -> dict[str, Any]:
        """The answer's body. Raises ``_Refused`` when nothing was done, and else ``_NoAnswer``."""
        headers = {"Idempotency-Key": key} if key else {}
        try:
            answer = self._http.request(method, path, json=body, params=query, headers=headers)
            found = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise _NoAnswer(f"{type(error).__name__}: {error}") from error
        if not isinstance(found, dict):
            raise _NoAnswer(f"Frame answered {answer.status_code} with no object.")
        if answer.status_code in REFUSALS:
            raise _Refused(found)
        if not answer.is_success:
            raise _NoAnswer(f"Frame answered {answer.status_code}.")
        return found

    def _each(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """The things of a list, newest first. Raises ``_NoAnswer`` when they are too many."""
        for page in range(1, PAGES_MAX + 1):
            found = self._send("GET", path, page=page, per_page=PAGE, limit=PAGE, **query)
            yield from found.get("data") or ()
            if not (found.get("meta") or {}).get("has_more"):
                return
        raise _NoAnswer("There are too many payments to look through.")

    def _missing(self, age_s: float) -> Absent | Unknown:
        """What is not there yet may still be on its way, and nothing stops it from arriving."""
        return Absent() if age_s >= ON_ITS_WAY_S else Unknown("It may still arrive.")


def _acted(act: Callable[[], Outcome]) -> Outcome:
    try:
        return act()
    except _Refused as refused:
        reason = refused.data.get("failure_code")
        return Declined(
            "card_declined" if reason else refused.code,
            reason,
            refused.message,
            refused.data.get("transfer"),
        )
    except _NoAnswer as error:
        return Unknown(str(error)[:500])


def _asked(answer: Callable[[], T]) -> T | Unknown:
    try:
        return answer()
    except (_Refused, _NoAnswer) as error:
        return Unknown(str(error)[:500])


def _outcome_of(found: Mapping[str, Any]) -> Outcome:
    """What the status of a transfer or a refund comes to. Euros and pounds are pending for days."""
    reference = str(found["id"])
    match found.get("status"):
        case "succeeded":
            return Succeeded(reference)
        case "pending" | "requires_action":
            return Processing(reference)
        case "failed":
            reason = found.get("failure_reason")
            return Declined("card_declined", reason, "The payment failed.", reference)
        case "canceled" | "reversed" as status:
            return Declined("canceled", None, f"The payment was {status}.", reference)
    return Unknown(f"Frame says that it is {found.get('status')!r}.")
