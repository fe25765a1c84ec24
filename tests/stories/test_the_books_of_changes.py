"""What the ledger says of prorations, of tax in prices, and of what is taken back in parts."""

from __future__ import annotations

from typing import Any

import httpx
from town import HOUR, Town, at

APRIL, HALF, MAY = at("2026-04-01"), at("2026-04-16"), at("2026-05-01")


def books(town: Town, as_of: int) -> dict[str, int]:
    """What each account comes to by then, those with nothing left out; together nothing."""
    answer = httpx.get(
        f"{town.base}/v1/ledger/balances",
        params={"as_of": as_of},
        auth=(town.secret, ""),
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    found = {each["account"]: each["amount"] for each in answer.json()["data"] if each["amount"]}
    assert sum(found.values()) == 0
    return found


def tax_rate(town: Town, percentage: float, *, inclusive: bool) -> str:
    return town.client.v1.tax_rates.create(
        {"display_name": "VAT", "percentage": percentage, "inclusive": inclusive}
    ).id


def quantity(town: Town, subscription: Any, to: int, **more: Any) -> None:
    [item] = subscription["items"].data
    town.client.v1.subscriptions.update(
        subscription.id,
        {"items": [{"id": item.id, "quantity": to}], "proration_behavior": "always_invoice"} | more,  # type: ignore[arg-type]
    )


def test_prorations_move_what_is_earned_with_the_service(town: Town) -> None:
    """A seat more for the second half: its credit takes back the old half, not yet earned."""
    clock = town.clock(APRIL)
    ada = town.customer(clock)
    subscription = town.subscribe(ada, town.price(unit_amount=1000))
    town.advance(clock, HALF)
    quantity(town, subscription, 2)
    assert books(town, HALF) == {"cash": 1500, "revenue": -500, "deferred_revenue": -1000}
    three_quarters = (HALF + MAY) // 2
    assert books(town, three_quarters)["revenue"] == -1000
    assert books(town, MAY) == {"cash": 1500, "revenue": -1500}


def test_a_downgrade_is_credit_that_is_owed(town: Town) -> None:
    clock = town.clock(APRIL)
    ada = town.customer(clock)
    price = town.price(unit_amount=1000)
    subscription = town.client.v1.subscriptions.create(
        {"customer": ada, "items": [{"price": price, "quantity": 3}]}
    )
    town.advance(clock, HALF)
    quantity(town, subscription, 1)
    assert books(town, HALF) == {
        "cash": 3000,
        "customer_credit": -1000,
        "revenue": -1500,
        "deferred_revenue": -500,
    }
    town.advance(clock, MAY + 2 * HOUR)  # the credit pays for May
    assert books(town, at("2026-06-01")) == {"cash": 3000, "revenue": -3000}


def test_tax_in_the_price_is_never_revenue_and_comes_back_with_it(town: Town) -> None:
    clock = town.clock(APRIL)
    ada = town.customer(clock)
    rate = tax_rate(town, 20, inclusive=True)
    subscription = town.subscribe(ada, town.price(unit_amount=1200), default_tax_rates=[rate])
    assert books(town, MAY) == {"cash": 1200, "tax_payable": -200, "revenue": -1000}
    town.advance(clock, HALF)
    [invoice] = town.invoices(subscription.id)
    note = town.client.v1.credit_notes.create(
        {"invoice": invoice.id, "amount": 600, "credit_amount": 600}
    )
    taken = {"cash": 1200, "tax_payable": -100, "customer_credit": -600}
    assert books(town, HALF) == taken | {"revenue": -250, "deferred_revenue": -250}
    assert books(town, MAY) == taken | {"revenue": -500}
    town.client.v1.credit_notes.void_credit_note(note.id)
    assert books(town, MAY) == {"cash": 1200, "tax_payable": -200, "revenue": -1000}


def test_a_void_after_a_part_was_settled_gives_that_part_back(town: Town) -> None:
    """Of $10 with $2 tax on top, $3 was paid by credit, $2.40 taken back; then it is void."""
    clock = town.clock(APRIL)
    ada = town.customer(clock)
    town.client.v1.customers.balance_transactions.create(ada, {"amount": -300, "currency": "usd"})
    rate = tax_rate(town, 20, inclusive=False)
    subscription = town.subscribe(
        ada,
        town.price(unit_amount=1000),
        default_tax_rates=[rate],
        collection_method="send_invoice",
        days_until_due=30,
    )
    town.advance(clock, APRIL + 2 * HOUR)
    [invoice] = town.invoices(subscription.id)
    assert (invoice.status, invoice.amount_due) == ("open", 900)
    adjusted = {"balance_adjustments": 300}
    assert books(town, MAY) == adjusted | {
        "receivable": 900,
        "tax_payable": -200,
        "revenue": -1000,
    }
    town.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 240})
    assert books(town, MAY) == adjusted | {
        "receivable": 660,
        "tax_payable": -160,
        "revenue": -800,
    }
    town.client.v1.invoices.void_invoice(invoice.id)
    assert books(town, MAY) == adjusted | {"customer_credit": -300}
    assert town.client.v1.customers.retrieve(ada).balance == -300


def test_credit_grants_are_paid_from_before_tax(town: Town) -> None:
    """$10 of usage at 10 % on top, $4 of it paid by credit that was given away: tax on $6."""
    clock = town.clock(APRIL)
    ada = town.customer(clock)
    rate = tax_rate(town, 10, inclusive=False)
    subscription = town.subscribe(ada, town.metered(unit_amount=1), default_tax_rates=[rate])
    town.client.v1.billing.credit_grants.create(
        {
            "customer": ada,
            "amount": {"type": "monetary", "monetary": {"value": 400, "currency": "usd"}},
            "applicability_config": {"scope": {"price_type": "metered"}},
            "category": "promotional",
        }
    )
    town.use(ada, "1000")
    town.advance(clock, MAY + 2 * HOUR)
    [invoice] = [each for each in town.invoices(subscription.id) if each.total]
    tax = sum(each.amount for each in invoice.total_taxes or ())
    assert invoice.total == 600 + tax
    assert books(town, MAY + 2 * HOUR) == {
        "cash": 600 + tax,
        "tax_payable": -tax,
        "promotions": 400,
        "revenue": -1000,
    }
