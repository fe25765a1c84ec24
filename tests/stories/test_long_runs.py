"""Far: a year at once, many customers on one clock, and clocks that know nothing of each other."""

import pytest
from town import DAY, HOUR, Town, at, day

NEW_YEAR = at("2026-01-01 10:51:40")


def test_a_year_in_one_go(town: Town) -> None:
    clock = town.clock(NEW_YEAR)
    customer = town.customer(clock)
    fee = town.price(unit_amount=10000, product_data={"name": "Fee"})
    subscription = town.subscribe(customer, fee, town.metered(unit_amount=5))
    town.use(customer, "100")

    town.advance(clock, at("2027-01-01 11:51:40"))

    invoices = town.invoices(subscription.id)
    prefix = town.client.v1.customers.retrieve(customer).invoice_prefix
    assert [each.number for each in invoices] == [f"{prefix}-{n:04}" for n in range(1, 14)]
    assert [each.status for each in invoices] == ["paid"] * 13
    assert [each.total for each in invoices] == [10000, 10500] + [10000] * 11
    assert [day(each.created)[:7] for each in invoices] == [
        *(f"2026-{month:02}" for month in range(1, 13)),
        "2027-01",
    ]
    for each in invoices[1:]:
        assert each.status_transitions.finalized_at == each.created + HOUR
        assert each.status_transitions.paid_at == each.created + HOUR


def test_far_in_one_step_is_as_far_in_many(town: Town) -> None:
    """The same year, once at once and once week by week."""
    fee = town.price(unit_amount=10000)
    usage = town.metered(unit_amount=5)
    histories = []
    for steps in (1, 52):
        clock = town.clock(NEW_YEAR)
        customer = town.customer(clock)
        subscription = town.subscribe(customer, fee, usage)
        town.use(customer, "100")
        for step in range(steps):
            town.advance(clock, NEW_YEAR + (step + 1) * 364 * DAY // steps)
        histories.append(
            [
                (each.created, each.total, each.status, each.status_transitions.paid_at)
                for each in town.invoices(subscription.id)
            ]
        )
    assert histories[0] == histories[1]
    assert len(histories[0]) == 12


def test_customers_on_one_clock_each_at_their_own_day(town: Town) -> None:
    clock = town.clock(NEW_YEAR)
    usage = town.metered(unit_amount=100)
    subscriptions = []
    for number in range(5):
        customer = town.customer(clock, name=f"Customer {number}")
        subscriptions.append(town.subscribe(customer, usage).id)
        town.use(customer, str(number))
        town.advance(clock, NEW_YEAR + (number + 1) * DAY)

    town.advance(clock, at("2026-02-10"))

    for number, subscription in enumerate(subscriptions):
        [invoice] = town.invoices(subscription)
        assert (day(invoice.created), invoice.total) == (f"2026-02-0{number + 1}", number * 100)
        assert invoice.test_clock == clock
        assert str(invoice.number).endswith("-0001")


def test_clocks_know_nothing_of_each_other(town: Town) -> None:
    usage = town.metered(unit_amount=100)
    clocks = [town.clock(NEW_YEAR), town.clock(at("2030-06-01"))]
    subscriptions = [town.subscribe(town.customer(clock), usage).id for clock in clocks]
    by_the_wall = town.subscribe(town.customer(None), usage).id

    town.advance(clocks[0], at("2027-01-01"))

    assert len(town.invoices(subscriptions[0])) == 11
    assert town.invoices(subscriptions[1]) == town.invoices(by_the_wall) == []
    assert town.client.v1.test_helpers.test_clocks.retrieve(clocks[1]).frozen_time == at(
        "2030-06-01"
    )


@pytest.mark.parametrize("first", [1, 500])
def test_numbers_have_no_gaps_whatever_becomes_of_the_invoices(town: Town, first: int) -> None:
    clock = town.clock(NEW_YEAR)
    customer = town.customer(clock, next_invoice_sequence=first, invoice_prefix=f"GAPS{first}")
    fee = town.price(unit_amount=10000)
    weekly = town.price(unit_amount=100, recurring={"interval": "week"})
    town.subscribe(customer, fee)
    town.subscribe(customer, weekly)
    town.pays_with(customer, "pm_card_chargeCustomerFail")
    town.subscribe(customer, fee)  # never paid: its invoice is void
    town.advance(clock, at("2026-02-10"))

    found = town.client.v1.invoices.list({"customer": customer, "limit": 100}).data
    numbers = sorted(str(each.number) for each in found)
    assert numbers == [f"GAPS{first}-{n:04}" for n in range(first, first + 9)]
    assert {each.status for each in found} == {"paid", "open", "void"}
