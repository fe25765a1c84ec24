"""What a request to create a payment method gives: a number, a token, or what a gateway knows."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator

from postpaid.api.params import Id, Integer, Params, Text, refuse
from postpaid.billing.manage_payment_methods import KnownToGateway, NewBankAccount, NewCard
from postpaid.core.errors import InvalidRequest


def _card_number(text: str) -> str:
    digits = re.sub("[ -]", "", text)
    if not re.fullmatch("[0-9]{12,19}", digits):
        raise refuse("Your card number is not a valid number.", "invalid_number")
    return digits


def _cvc(text: str) -> str:
    if not re.fullmatch("[0-9]{3,4}", text):
        raise refuse("Your card's security code is invalid.", "invalid_cvc")
    return text


def _last4(text: str) -> str:
    if not re.fullmatch("[0-9]{4}", text):
        raise refuse("Invalid last4: it has four digits.")
    return text


Brand = Literal["amex", "diners", "discover", "jcb", "mastercard", "unionpay", "unknown", "visa"]
Funding = Literal["credit", "debit", "prepaid", "unknown"]
ExpMonth = Annotated[int, Integer(1, 12)]
ExpYear = Annotated[int, Integer(1970, 2199)]


class Card(Params):
    cvc: Annotated[str, Text(4), AfterValidator(_cvc)] | None = None
    exp_month: ExpMonth | None = None
    exp_year: ExpYear | None = None
    number: Annotated[str, Text(40), AfterValidator(_card_number)] | None = None
    token: Id | None = None
    # Ours: what may be shown of a card that a gateway knows.
    brand: Brand | None = None
    country: Annotated[str, Text(2)] | None = None
    fingerprint: Annotated[str, Text(100)] | None = None
    funding: Funding | None = None
    last4: Annotated[str, Text(4), AfterValidator(_last4)] | None = None


class BankAccount(Params):
    account_holder_type: Literal["company", "individual"] = "individual"
    account_number: Annotated[str, Text(40)] | None = None
    account_type: Literal["checking", "savings"] = "checking"
    routing_number: Annotated[str, Text(9)] | None = None
    # Ours, as above.
    bank_name: Annotated[str, Text(100)] | None = None
    last4: Annotated[str, Text(4), AfterValidator(_last4)] | None = None


class PaymentMethodMeans(Params):
    """The part for the ``type``, or a ``gateway_token`` and what may be shown of it."""

    type: Literal["card", "customer_balance", "us_bank_account"]
    card: Card | None = None
    customer_balance: Params | None = None
    us_bank_account: BankAccount | None = None
    # Ours: a gateway of the account's, and what it calls the payment method.
    gateway: Id | None = None
    gateway_token: Id | None = None


Means: TypeAlias = NewCard | NewBankAccount | KnownToGateway | str


def means_from_stripe(params: PaymentMethodMeans) -> Means:
    """What is to be a payment method. Raises ``InvalidRequest`` where its type's part is not."""
    for name in ("card", "customer_balance", "us_bank_account"):
        if name != params.type and getattr(params, name) is not None:
            raise InvalidRequest(
                f"You may not specify {name} for a payment method of type {params.type}.",
                param=name,
            )
    if (params.type == "customer_balance") != (params.gateway == "manual") and (
        params.gateway is not None
    ):
        raise InvalidRequest(
            "Payment methods of type customer_balance, and no others, are of the gateway manual.",
            param="gateway",
        )
    if params.type == "customer_balance":
        return KnownToGateway(params.type, "manual", params.type, {})
    if params.gateway is not None or params.gateway_token is not None:
        return _known_to_gateway(params)
    if params.type == "us_bank_account":
        if params.us_bank_account is None:
            raise _missing("us_bank_account")
        return _bank_account_from_stripe(params.us_bank_account)
    if params.card is None:
        raise _missing("card")
    return card_from_stripe(params.card)


def _known_to_gateway(params: PaymentMethodMeans) -> KnownToGateway:
    if params.gateway_token is None:
        raise _missing("gateway_token")
    if params.type == "us_bank_account":
        account = params.us_bank_account or BankAccount()
        shown: dict[str, Any] = {
            "last4": account.last4,
            "routing_number": account.routing_number,
            "fingerprint": None,
            "bank_name": account.bank_name,
            "account_type": account.account_type,
            "account_holder_type": account.account_holder_type,
        }
        typed = "account_number" if account.account_number else None
    else:
        card = params.card or Card()
        for name in ("last4", "exp_month", "exp_year"):  # what people know a card by
            if getattr(card, name) is None:
                raise _missing("card", name)
        shown = {
            "brand": card.brand or "unknown",
            "country": card.country,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "fingerprint": card.fingerprint,
            "funding": card.funding or "unknown",
            "last4": card.last4,
        }
        typed = next((name for name in ("number", "token") if getattr(card, name)), None)
    if typed is not None:
        raise InvalidRequest(
            f"You may only specify one of these parameters: gateway_token, {typed}.",
            param=(params.type, typed),
            code="parameters_exclusive",
        )
    return KnownToGateway(params.type, params.gateway, params.gateway_token, shown)


def _bank_account_from_stripe(account: BankAccount) -> NewBankAccount:
    if account.routing_number is None:
        raise _missing("us_bank_account", "routing_number")
    if account.account_number is None:
        raise _missing("us_bank_account", "account_number")
    return NewBankAccount(
        account.routing_number,
        account.account_number,
        account.account_type,
        account.account_holder_type,
    )


def _missing(*param: str) -> InvalidRequest:
    name = param[0] + "".join(f"[{part}]" for part in param[1:])
    return InvalidRequest(f"Missing required param: {name}.", param=param, code="parameter_missing")


def card_from_stripe(card: Card) -> NewCard | str:
    """The card as typed, or its token. Raises ``InvalidRequest`` for neither or both."""
    for name in ("brand", "country", "fingerprint", "funding", "last4"):
        if getattr(card, name) is not None:
            raise InvalidRequest(
                f"Received unknown parameter: card[{name}]; it is for what a gateway knows.",
                param=("card", name),
                code="parameter_unknown",
            )
    if card.token is not None:
        for name in card.given():
            if name != "token":
                raise InvalidRequest(
                    f"You may only specify one of these parameters: token, {name}.",
                    param=("card", name),
                    code="parameters_exclusive",
                )
        return card.token
    if card.number is None or card.exp_month is None or card.exp_year is None:
        typed = {"number": card.number, "exp_month": card.exp_month, "exp_year": card.exp_year}
        raise _missing("card", next(name for name, value in typed.items() if value is None))
    return NewCard(card.number, card.exp_month, card.exp_year)
