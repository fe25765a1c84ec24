"""Searching payment intents: what a query may say, what it finds, and page by page."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from postpaid.api.stripe.payment_intents import SEARCHED
from postpaid.api.stripe.search import search_from_stripe
from postpaid.core.errors import InvalidRequest

REFUSED = {
    "nothing": " ",
    "a word": "succeeded",
    "another field": "color:'red'",
    "metadata without a key": "metadata:'red'",
    "a number that is none": "amount:'many'",
    "too long a number": "amount>1234567890123456",
    "an operator of numbers": "status>'a'",
    "an operator of text": "amount~'100'",
    "more than null": "amount>null",
    "a short part": "metadata['a']~'ab'",
    "and, or": "amount:1 AND amount:2 OR amount:3",
    "a quote that does not end": "status:'succeeded",
    "an end that is missing": "amount:1 AND ",
    "no space": "amount:1'x'",
    "too many clauses": " ".join(["amount:1"] * 11),
}


@pytest.mark.parametrize("query", REFUSED)
def test_what_cannot_be_understood_is_refused(query: str) -> None:
    with pytest.raises(InvalidRequest, match="search query is invalid") as refused:
        search_from_stripe(REFUSED[query], SEARCHED)
    assert refused.value.param == ("query",)


def test_quotes_and_escapes() -> None:
    search = search_from_stripe(r"""-metadata["it\"s"]~'o\'clock' OR amount:'5'""", SEARCHED)
    first, second = search.terms
    assert search.any
    assert (first.field, first.key, first.value, first.negated) == (
        "metadata",
        'it"s',
        "o'clock",
        True,
    )
    assert (second.field, second.operator, second.value) == ("amount", ":", "5")


@pytest.fixture
def made(stripe_client: stripe.StripeClient) -> dict[str, str]:
    """Payment intents by name."""
    customer = stripe_client.v1.customers.create({"name": "Ada"})
    given: dict[str, Any] = {
        "paid": {"amount": 500, "payment_method": "pm_card_visa", "confirm": True},
        "small": {"amount": 100, "metadata": {"order": "Seven"}},
        "large": {"amount": 2000, "customer": customer.id, "metadata": {"order": "eight"}},
        "euros": {"amount": 500, "currency": "eur"},
    }
    return {
        name: stripe_client.v1.payment_intents.create({"currency": "usd", **each}).id
        for name, each in given.items()
    }


FOUND = {
    "status:'succeeded'": {"paid"},
    "-status:'succeeded'": {"small", "large", "euros"},
    "amount>=500": {"paid", "large", "euros"},
    "amount>500": {"large"},
    "amount<500 OR currency:'EUR'": {"small", "euros"},
    "amount:500 currency:'usd'": {"paid"},
    'amount:500 AND -currency:"usd"': {"euros"},
    "amount<=100": {"small"},
    "metadata['order']:'seven'": {"small"},
    "metadata['order']~'igh'": {"large"},
    "-metadata['order']:null": {"small", "large"},
    "customer:null": {"paid", "small", "euros"},
    "created>1000000000": {"paid", "small", "large", "euros"},
    "created<1000000000": set(),
    "status:'50%' OR customer:'_'": set(),
}


def test_what_is_found(stripe_client: stripe.StripeClient, made: dict[str, str]) -> None:
    name_of = {key: name for name, key in made.items()}
    for query, names in FOUND.items():
        found = stripe_client.v1.payment_intents.search({"query": query})
        assert {name_of[each.id] for each in found.data} == names, query


def test_page_by_page_newest_first(
    stripe_client: stripe.StripeClient, made: dict[str, str], stranger: stripe.StripeClient
) -> None:
    asked: Any = {"query": "amount>0", "limit": 3, "expand": ["data.customer"]}
    first = stripe_client.v1.payment_intents.search(asked)
    assert (first.has_more, first.next_page) == (True, first.data[-1].id)
    assert [each.id for each in first.auto_paging_iter()] == list(reversed(made.values()))
    [large] = [each for each in first.data if each.id == made["large"]]
    assert isinstance(large.customer, stripe.Customer)
    last = stripe_client.v1.payment_intents.search({**asked, "page": first.next_page})
    assert (len(last.data), last.has_more, last.next_page) == (1, False, None)
    assert stranger.v1.payment_intents.search(asked).data == []
    with pytest.raises(stripe.InvalidRequestError) as refused:
        stranger.v1.payment_intents.search({**asked, "page": first.next_page})
    assert refused.value.param == "page"


def test_a_query_is_needed(http: httpx.Client) -> None:
    answer = http.get("/v1/payment_intents/search")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "query")
