"""Searching what is sold, to whom, and what it was billed with: by fields, metadata and page."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

SOON = "created<4102444800"

FOUND: dict[str, dict[str, set[str]]] = {
    "customers": {
        "email:'ADA@example.com'": {"ada"},
        "name~'love'": {"ada"},
        "-phone:null": {"grace"},
        "metadata['crm']:'42'": {"ada"},
        "-metadata['crm']:'42'": {"grace"},
        "name:'Ada Lovelace' OR phone:'555'": {"ada", "grace"},
        "name:'Gone'": set(),
        SOON: {"ada", "grace"},
    },
    "products": {
        "active:'true'": {"calls"},
        "active:'false' AND name~'seat'": {"seats"},
        "shippable:'true'": {"seats"},
        "description:null": {"seats"},
        "url~'calls.example'": {"calls"},
        "metadata['line']:null": {"calls"},
    },
    "prices": {
        "active:'true' AND type:'recurring'": {"monthly"},
        "type:'one_time'": {"once"},
        "currency:'eur'": {"once"},
        "lookup_key:'basic'": {"monthly"},
        "metadata['tier']~'gol'": {"once"},
    },
    "subscriptions": {
        "status:'active'": {"runs"},
        "status:'canceled'": {"ended"},
        "-canceled_at:null": {"ended"},
        "canceled_at>1000000000": {"ended"},
        "metadata['seat']:'1'": {"runs"},
        SOON: {"runs", "ended"},
    },
    "invoices": {
        "total>=700 AND currency:'usd'": {"of_runs"},
        "status:'draft'": {"draft"},
        "number:'MINE-7'": {"draft"},
        "subscription:null": {"draft"},
        "metadata['po']:'9' total:0": {"draft"},
    },
}


@pytest.fixture
def made(stripe_client: stripe.StripeClient) -> dict[str, str]:
    """Ids by name."""
    v1 = stripe_client.v1
    ada = v1.customers.create(
        {"name": "Ada Lovelace", "email": "ada@example.com", "metadata": {"crm": "42"}}
    ).id
    v1.payment_methods.attach("pm_card_visa", {"customer": ada})
    grace = v1.customers.create({"name": "Grace", "phone": "555"}).id
    v1.customers.delete(v1.customers.create({"name": "Gone"}).id)
    calls = v1.products.create(
        {"name": "Calls", "description": "by the call", "url": "https://calls.example"}
    ).id
    seats = v1.products.create(
        {"name": "Seats", "active": False, "shippable": True, "metadata": {"line": "2"}}
    ).id
    monthly = v1.prices.create(
        {
            "product": calls,
            "currency": "usd",
            "unit_amount": 700,
            "recurring": {"interval": "month"},
            "lookup_key": "basic",
        }
    ).id
    once = v1.prices.create(
        {"product": calls, "currency": "eur", "unit_amount": 5, "metadata": {"tier": "Gold"}}
    ).id
    methods = v1.customers.payment_methods.list(ada).data

    def subscribed(seat: str) -> stripe.Subscription:
        return v1.subscriptions.create(
            {
                "customer": ada,
                "items": [{"price": monthly}],
                "default_payment_method": methods[0].id,
                "metadata": {"seat": seat},
            }
        )

    runs, ended = subscribed("1"), subscribed("2")
    v1.subscriptions.cancel(ended.id)
    draft = v1.invoices.create({"customer": grace, "number": "MINE-7", "metadata": {"po": "9"}}).id
    return {
        "ada": ada,
        "grace": grace,
        "calls": calls,
        "seats": seats,
        "monthly": monthly,
        "once": once,
        "runs": runs.id,
        "ended": ended.id,
        "of_runs": str(runs.latest_invoice),
        "of_ended": str(ended.latest_invoice),
        "draft": draft,
    }


def test_what_is_found(stripe_client: stripe.StripeClient, made: dict[str, str]) -> None:
    name_of = {key: name for name, key in made.items()}
    for objects, queries in FOUND.items():
        service = getattr(stripe_client.v1, objects)
        for query, names in queries.items():
            found = {name_of[each.id] for each in service.search({"query": query}).data}
            assert found - {"of_ended"} == names, (objects, query)


def test_as_it_is_retrieved_page_by_page(
    stripe_client: stripe.StripeClient, made: dict[str, str], stranger: stripe.StripeClient
) -> None:
    for objects in FOUND:
        service = getattr(stripe_client.v1, objects)
        asked: dict[str, Any] = {"query": "-metadata['none']:'x'", "limit": 1}
        first = service.search(asked)
        whole = list(first.auto_paging_iter())
        assert (first.has_more, first.next_page) == (True, whole[0].id), objects
        assert len(whole) >= 2, objects
        assert [each.to_dict() for each in whole] == [
            service.retrieve(each.id).to_dict() for each in whole
        ]
        assert service.search({**asked, "page": whole[-1].id}).data == []
        assert getattr(stranger.v1, objects).search(asked).data == []
        with pytest.raises(stripe.InvalidRequestError) as refused:
            getattr(stranger.v1, objects).search({**asked, "page": first.next_page})
        assert refused.value.param == "page", objects
