"""The ``stripe`` gateway: money moves through an account at Stripe, by PaymentIntents.

A token is ``customer/payment_method``, both Stripe's ids; with a third part it names the payment
method's type, which is a card's otherwise. Each charge is one PaymentIntent that bears our key in
its metadata: Stripe forgets idempotency keys after a day, and then that is what it is found by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import stripe

from postpaid.outside.gateways.protocol import (
    Absent,
    ChargeRequest,
    Declined,
    Outcome,
    Processing,
    RefundRequest,
    RequiresAction,
    SetupRequest,
    Succeeded,
    Unknown,
)

KIND = "stripe"
CONNECT_S, ANSWER_S = 5, 30  # together shorter than anybody's lease on an attempt
KEYS_KEPT_S = 23 * 3600  # Stripe: a day at least; an hour of it is for clocks that differ
UNCONFIRMED_S = 3600  # what was made and not confirmed by then never will be
PAGE, PAGES_MAX = 100, 50
OURS = "postpaid_attempt"  # the metadata that has our key
REASONS = ("duplicate", "fraudulent", "requested_by_customer")  # Stripe: of a refund

T = TypeVar("T")


class StripeGateway:
    """A `Gateway` to one account at Stripe, or at whoever speaks as Stripe at ``base_url``."""

    def __init__(
        self,
        name: str,
        secret_key: str,
        *,
        base_url: str | None = None,
        timeout_s: tuple[float, float] = (CONNECT_S, ANSWER_S),
    ) -> None:
        self.name = name
        client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": base_url} if base_url else {},
            max_network_retries=0,  # what is tried again, and when, is decided above
            http_client=stripe.RequestsClient(timeout=timeout_s),
        )
        # Its parameters are typed as dictionaries of literals, which ours are made of at run time.
        self._payments: Any = client.v1.payment_intents
        self._refunds: Any = client.v1.refunds
        self._set_ups: Any = client.v1.setup_intents

    # ─── Charges ─────────────────────────────────────────────────────────────────────────────

    def charge(self, request: ChargeRequest) -> Outcome:
        """Make and confirm a PaymentIntent, unless a key that is forgotten has made one before."""
        if request.age_s >= KEYS_KEPT_S:
            found = self.ask(request, None)
            if not isinstance(found, Absent):
                return found
        parameters = {
            "amount": request.amount,
            "currency": request.currency,
            "confirm": True,
            "off_session": request.off_session,
            "description": request.description,
            "metadata": {**request.metadata, OURS: request.idempotency_key},
            **_means(request.token),
        }
        options = {"idempotency_key": request.idempotency_key}
        return _acted(lambda: _outcome_of(self._payments.create(parameters, options)))

    def ask(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        def answer() -> Outcome | Absent:
            found = self._find(request, reference)
            if found is None:
                return Absent()
            outcome = _outcome_of(found)
            if isinstance(outcome, Declined) and found.status != "canceled":
                return self._close(found, outcome)
            if isinstance(outcome, Unknown) and request.age_s >= UNCONFIRMED_S:
                return _outcome_of(self._payments.cancel(found.id))
            return outcome

        return _asked(answer)

    def _close(self, found: Any, decline: Declined) -> Outcome:
        """The decline, once the PaymentIntent cannot be paid any more; else what became of it.

        A customer who had to act has its secret, and could confirm it long after the decline, when
        something else is charged. To cancel twice is no more than once, so it takes no key of ours,
        to which Stripe would repeat an answer that is no longer true.
        """
        try:
            found = self._payments.cancel(found.id)
        except stripe.InvalidRequestError:  # it moved on meanwhile
            found = self._payments.retrieve(found.id)
        if found.status == "canceled":
            return decline
        outcome = _outcome_of(found)
        if isinstance(outcome, Declined):
            return Unknown("The payment was declined, but could not be canceled.")
        return outcome

    def cancel(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        def answer() -> Outcome | Absent:
            found = self._find(request, reference)
            if found is None:
                return Absent()
            if found.status not in ("succeeded", "canceled"):
                try:
                    found = self._payments.cancel(found.id)
                except stripe.InvalidRequestError:  # it moved on meanwhile
                    found = self._payments.retrieve(found.id)
            return _outcome_of(found)

        return _asked(answer)

    def _find(self, request: ChargeRequest, reference: str | None) -> Any | None:
        """The customer's PaymentIntent with our key.

        All are looked through, because a customer on a test clock has no age to go by. Raises
        ``LookupError`` when there are too many to tell.
        """
        if reference is not None:
            return self._payments.retrieve(reference)
        asked = {"limit": PAGE, "customer": _means(request.token)["customer"]}
        return _find(self._payments, asked, request.idempotency_key)

    # ─── Refunds ─────────────────────────────────────────────────────────────────────────────

    def refund(self, request: RefundRequest) -> Outcome:
        """Give back, unless a key that is forgotten has done so before."""
        if request.age_s >= KEYS_KEPT_S:
            found = self.ask_refund(request, None)
            if not isinstance(found, Absent):
                return found
        parameters = {
            "payment_intent": request.charge_reference,
            "amount": request.amount,
            "metadata": {OURS: request.idempotency_key},
        }
        if request.reason in REASONS:
            parameters["reason"] = request.reason
        options = {"idempotency_key": request.idempotency_key}
        return _acted(lambda: _refund_outcome_of(self._refunds.create(parameters, options)))

    def ask_refund(self, request: RefundRequest, reference: str | None) -> Outcome | Absent:
        def answer() -> Outcome | Absent:
            if reference is not None:
                return _refund_outcome_of(self._refunds.retrieve(reference))
            asked = {"limit": PAGE, "payment_intent": request.charge_reference}
            found = _find(self._refunds, asked, request.idempotency_key)
            return Absent() if found is None else _refund_outcome_of(found)

        return _asked(answer)

    # ─── Setting up ──────────────────────────────────────────────────────────────────────────

    def set_up(self, request: SetupRequest) -> Outcome:
        """Make a SetupIntent and confirm it. Both bear keys, so nothing is set up twice."""
        key = request.idempotency_key
        means = _means(request.token)
        method = means.pop("payment_method")

        def answer() -> Outcome:
            made = self._set_ups.create(
                {"usage": "off_session", "metadata": {OURS: key}, **means}, {"idempotency_key": key}
            )
            confirmed = self._set_ups.confirm(
                made.id, {"payment_method": method}, {"idempotency_key": f"{key}/confirm"}
            )
            return _outcome_of(confirmed)

        return _acted(answer)

    def ask_set_up(self, request: SetupRequest, reference: str) -> Outcome:
        return _asked(lambda: _outcome_of(self._set_ups.retrieve(reference)))


def _means(token: str) -> dict[str, Any]:
    """What Stripe is told of whom to charge. The types say that none needs a redirect."""
    customer, _, rest = token.partition("/")
    method, _, kind = rest.partition("/")
    return {
        "customer": customer,
        "payment_method": method,
        "payment_method_types": [kind or "card"],
    }


def _find(service: Any, asked: Mapping[str, Any], key: str) -> Any | None:
    """The one with our key. Raises ``LookupError`` when it is not among so many."""
    after: dict[str, str] = {}
    for _ in range(PAGES_MAX):
        page = service.list({**asked, **after})
        for each in page.data:
            if _plain(each.metadata).get(OURS) == key:
                return each
        if not page.has_more or not page.data:
            return None
        after = {"starting_after": page.data[-1].id}
    raise LookupError("There are too many payments to look through.")


# ─── What it said ────────────────────────────────────────────────────────────────────────────


def _acted(act: Callable[[], Outcome]) -> Outcome:
    """The outcome; an error decides only where Stripe says that it did nothing.

    It stays unknown after a lost connection and after a conflict, and also where our own key to
    Stripe is at fault, which is no doing of the customer's.
    """
    try:
        return act()
    except stripe.CardError as error:
        return _declined(error)
    except stripe.InvalidRequestError as error:
        return Declined(
            error.code or "invalid_request_error", None, error.user_message or "Stripe refused."
        )
    except (stripe.StripeError, LookupError) as error:
        return _unknown(error)


def _asked(answer: Callable[[], T]) -> T | Unknown:
    """The answer to a question, where every error leaves it open."""
    try:
        return answer()
    except (stripe.StripeError, LookupError) as error:
        return _unknown(error)


def _unknown(error: Exception) -> Unknown:
    """Why there is no answer; not what came instead of one, which may be anybody's."""
    status = error.http_status if isinstance(error, stripe.StripeError) else None
    return Unknown(f"{type(error).__name__}, HTTP status {status}" if status else repr(error)[:500])


def _declined(error: stripe.CardError) -> Declined:
    body = error.json_body if isinstance(error.json_body, dict) else {}
    said: Mapping[str, Any] = body.get("error") or {}
    intent = said.get("payment_intent") or said.get("setup_intent") or {}
    return Declined(
        error.code or "card_declined",
        said.get("decline_code"),
        error.user_message or "Your card was declined.",
        intent.get("id"),
    )


def _outcome_of(intent: Any) -> Outcome:
    """What the status of a PaymentIntent or SetupIntent comes to."""
    match intent.status:
        case "succeeded":
            return Succeeded(intent.id)
        case "processing" | "requires_capture":
            return Processing(intent.id)
        case "requires_action":
            redirect = _plain(intent.next_action).get("redirect_to_url") or {}
            return RequiresAction(intent.id, redirect.get("url"), intent.client_secret)
    plain = _plain(intent)
    error = plain.get("last_payment_error")
    if intent.status == "canceled" and not error:
        return Declined("canceled", None, "The payment was canceled.", intent.id)
    error = error or plain.get("last_setup_error")
    if intent.status in ("canceled", "requires_payment_method") and error:
        return Declined(
            error.get("code") or "card_declined",
            error.get("decline_code"),
            error.get("message") or "Your card was declined.",
            intent.id,
        )
    return Unknown(f"The payment is not confirmed yet: {intent.status}.")


def _refund_outcome_of(refund: Any) -> Outcome:
    match refund.status:
        case "succeeded":
            return Succeeded(refund.id)
        case "failed" | "canceled":
            reason = _plain(refund).get("failure_reason") or refund.status
            return Declined(reason, None, "The refund failed.", refund.id)
    return Processing(refund.id)


def _plain(value: Any) -> dict[str, Any]:
    """An object of Stripe's as a dictionary; none as an empty one."""
    if value is None:
        return {}
    return dict(value.to_dict() if isinstance(value, stripe.StripeObject) else value)
