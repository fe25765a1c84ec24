"""How subscriptions end at a date, or do not after all; and how their collection is paused."""

import pytest
import stripe
from town import DAY, HOUR, Town, at, day

JANUARY, FEBRUARY, MARCH = at("2026-01-01"), at("2026-02-01"), at("2026-03-01")


def fee(town: Town, amount: int = 3100, **more: object) -> str:
    return town.price(unit_amount=amount, product_data={"name": "Fee"}, **more)


def shown(invoice: stripe.Invoice) -> list[tuple[str, int, str, str]]:
    return [
        (line.description or "", line.amount, day(line.period.start), day(line.period.end))
        for line in invoice.lines.data
    ]


def update(town: Town, subscription_id: str, **asked: object) -> stripe.Subscription:
    return town.client.v1.subscriptions.update(subscription_id, asked)  # type: ignore[arg-type]


# ─── At a date ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["flexible", "classic"])
def test_at_a_date_within_a_period_usage_is_billed_and_the_rest_given_back(
    town: Town, mode: str
) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(
        customer, fee(town), town.metered(unit_amount=5), billing_mode={"type": mode}
    )
    after = update(town, begun.id, cancel_at=at("2026-01-11"))
    assert (after.cancel_at, after.cancel_at_period_end) == (at("2026-01-11"), False)
    assert (after.canceled_at, after.status) == (JANUARY, "active")
    town.use(customer, "100")
    expected = town.client.v1.invoices.create_preview({"subscription": begun.id})

    town.advance(clock, at("2026-01-12"))
    over = town.subscription(begun.id)
    assert (over.status, over.ended_at) == ("canceled", at("2026-01-11"))
    assert over.cancel_at == at("2026-01-11")
    last = town.invoices(begun.id)[-1]
    assert shown(last) == [
        ("100 × Calls (at $0.05 / month)", 500, "2026-01-01", "2026-01-11"),
        ("Unused time on Fee after 11 Jan 2026", -2100, "2026-01-11", "2026-02-01"),
    ]
    assert shown(expected) == shown(last)
    assert (last.total, last.status) == (-1600, "paid")
    assert town.client.v1.customers.retrieve(customer).balance == -1600


def test_without_prorations_nothing_is_given_back(town: Town) -> None:
    clock = town.clock(JANUARY)
    begun = town.subscribe(town.customer(clock), fee(town))
    update(town, begun.id, cancel_at=at("2026-01-11"), proration_behavior="none")
    town.advance(clock, FEBRUARY + DAY)
    assert town.subscription(begun.id).ended_at == at("2026-01-11")
    assert len(town.invoices(begun.id)) == 1


@pytest.mark.parametrize(
    ("asked", "ends"),
    [("min_period_end", "2026-02-01"), ("max_period_end", "2027-01-01")],
)
def test_with_the_first_or_the_last_of_the_periods(town: Town, asked: str, ends: str) -> None:
    clock = town.clock(JANUARY)
    prices = fee(town), fee(town, 9, recurring={"interval": "year"})
    begun = town.subscribe(town.customer(clock), *prices, cancel_at=asked)
    assert begun.cancel_at == at(ends)
    town.advance(clock, at(ends) + DAY)
    assert town.subscription(begun.id).ended_at == at(ends)


@pytest.mark.parametrize(
    "back",
    [{"cancel_at": ""}, {"cancel_at_period_end": "false"}],
    ids=["cancel_at", "cancel_at_period_end"],
)
@pytest.mark.parametrize(
    "asked",
    [{"cancel_at": FEBRUARY - DAY}, {"cancel_at_period_end": "true"}],
    ids=["at_a_date", "with_the_period"],
)
def test_it_is_taken_back_either_way(
    town: Town, asked: dict[str, object], back: dict[str, object]
) -> None:
    clock = town.clock(JANUARY)
    begun = town.subscribe(town.customer(clock), fee(town))
    assert update(town, begun.id, **asked).cancel_at is not None
    after = update(town, begun.id, **back)
    assert (after.cancel_at, after.cancel_at_period_end, after.canceled_at) == (None, False, None)
    town.advance(clock, FEBRUARY + 2 * HOUR)
    assert [each.total for each in town.invoices(begun.id)] == [3100, 3100]


def test_an_end_is_ahead_and_only_one(town: Town) -> None:
    begun = town.subscribe(town.customer(town.clock(JANUARY)), fee(town))
    with pytest.raises(stripe.InvalidRequestError, match="cancel_at must be in the future"):
        update(town, begun.id, cancel_at=JANUARY)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be combined"):
        update(town, begun.id, cancel_at=FEBRUARY, cancel_at_period_end=True)


def test_a_trial_that_is_to_end_with_its_period_is_never_billed(town: Town) -> None:
    clock = town.clock(JANUARY)
    begun = town.subscribe(
        town.customer(clock), fee(town), trial_period_days=10, cancel_at_period_end=True
    )
    assert begun.cancel_at == JANUARY + 10 * DAY
    town.advance(clock, FEBRUARY)
    assert town.subscription(begun.id).ended_at == JANUARY + 10 * DAY
    assert [each.total for each in town.invoices(begun.id)] == [0]


# ─── Collection ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("keep_as_draft", "draft"), ("mark_uncollectible", "uncollectible"), ("void", "void")],
)
def test_while_collection_is_paused_invoices_go_on_and_nobody_pays(
    town: Town, behavior: str, status: str
) -> None:
    clock = town.clock(JANUARY)
    begun = town.subscribe(town.customer(clock), fee(town))
    resumes = at("2026-02-15")
    after = update(town, begun.id, pause_collection={"behavior": behavior, "resumes_at": resumes})
    assert after.status == "active"
    assert after.pause_collection is not None
    assert after.pause_collection.to_dict() == {"behavior": behavior, "resumes_at": resumes}

    town.advance(clock, FEBRUARY + 2 * HOUR)
    assert town.subscription(begun.id).status == "active"
    assert [each.status for each in town.invoices(begun.id)] == ["paid", status]

    town.advance(clock, MARCH + 2 * HOUR)
    assert town.subscription(begun.id).pause_collection is None
    assert [each.status for each in town.invoices(begun.id)] == ["paid", status, "paid"]
    assert town.subscription(begun.id).status == "active"


def test_collection_is_resumed_by_hand(town: Town) -> None:
    clock = town.clock(JANUARY)
    begun = town.subscribe(town.customer(clock), fee(town))
    update(town, begun.id, pause_collection={"behavior": "void"})
    town.advance(clock, FEBRUARY + 2 * HOUR)
    assert update(town, begun.id, pause_collection="").pause_collection is None
    town.advance(clock, MARCH + 2 * HOUR)
    assert [each.status for each in town.invoices(begun.id)] == ["paid", "void", "paid"]


# ─── One invoice, or one each ────────────────────────────────────────────────────────────────


def test_the_fee_and_the_usage_on_an_invoice_each(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(
        customer, fee(town), town.metered(unit_amount=5), usage_invoicing="separate"
    )
    town.use(customer, "10")
    expected = town.client.v1.invoices.create_preview({"subscription": begun.id})
    town.advance(clock, FEBRUARY + 2 * HOUR)
    _, usage, base = town.invoices(begun.id)
    assert [usage.total, base.total] == [50, 3100]
    assert (usage.status, base.status) == ("paid", "paid")
    assert shown(expected) == shown(base)
    assert town.subscription(begun.id).latest_invoice == base.id

    update(town, begun.id, usage_invoicing="combined")
    town.advance(clock, MARCH + 2 * HOUR)
    assert [each.total for each in town.invoices(begun.id)[3:]] == [3100]


def test_the_fee_decides_whether_a_subscription_is_past_due(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(
        customer, fee(town), town.metered(unit_amount=5), usage_invoicing="separate"
    )
    town.use(customer, "10")
    town.pays_with(customer, "pm_card_chargeCustomerFail")
    town.advance(clock, FEBRUARY + 2 * HOUR)
    assert town.subscription(begun.id).status == "past_due"
    town.pays_with(customer, "pm_card_visa")
    _, usage, base = town.invoices(begun.id)
    town.client.v1.invoices.pay(base.id)
    assert town.subscription(begun.id).status == "active"
    assert town.client.v1.invoices.retrieve(usage.id).status == "open"


# ─── Settings ────────────────────────────────────────────────────────────────────────────────


def test_what_guides_send_along_is_taken_and_shown(town: Town) -> None:
    clock = town.clock(JANUARY)
    begun = town.subscribe(
        town.customer(clock),
        fee(town),
        automatic_tax={"enabled": False},
        off_session=True,
        payment_settings={
            "payment_method_types": ["card"],
            "save_default_payment_method": "on_subscription",
        },
        invoice_settings={"description": "Thanks", "footer": "VAT 1"},
        expand=["latest_invoice"],
    )
    settings = begun.payment_settings
    assert settings is not None
    assert settings.payment_method_types == ["card"]
    assert settings.save_default_payment_method == "on_subscription"
    assert begun.invoice_settings.description == "Thanks"
    assert isinstance(begun.latest_invoice, stripe.Invoice)
    assert (begun.latest_invoice.description, begun.latest_invoice.footer) == ("Thanks", "VAT 1")
    with pytest.raises(stripe.InvalidRequestError, match="Automatic tax is not available"):
        update(town, begun.id, automatic_tax={"enabled": True})
