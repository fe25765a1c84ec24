"""Something to be charged later, set up before it is: trials, free beginnings, and what is kept."""

from typing import Any

import httpx
import pytest
import stripe
from town import DAY, HOUR, Town, at, day

JANUARY = at("2026-01-01")
SAVES = {"save_default_payment_method": "on_subscription"}
ON_SETUP = "pm_card_authenticationRequiredOnSetup"


def fee(town: Town, amount: int = 3100, **more: Any) -> str:
    return town.price(unit_amount=amount, product_data={"name": "Fee"}, **more)


def begin(town: Town, customer: str, *prices: str, **more: Any) -> stripe.Subscription:
    """A subscription that waits for its first payment, or for something to be charged later."""
    asked = {"payment_behavior": "default_incomplete", "expand": ["pending_setup_intent"], **more}
    return town.subscribe(customer, *prices, **asked)


def confirm(town: Town, intent: Any, card: str = "pm_card_visa") -> stripe.SetupIntent:
    return town.client.v1.setup_intents.confirm(intent.id, {"payment_method": card})


def attached(town: Town, customer: str) -> list[str]:
    return [each.id for each in town.client.v1.customers.payment_methods.list(customer).data]


def said(town: Town, *ids: str) -> list[str]:
    return [each.type for each in town.events(*ids)]


def charged(invoice: stripe.Invoice, town: Town) -> str | None:
    """The payment method that paid the invoice."""
    intents = town.client.v1.payment_intents
    paid = town.client.v1.invoices.retrieve(invoice.id, {"expand": ["payments"]})
    assert paid.payments is not None
    assert paid.payments.data[0].payment.payment_intent is not None
    intent = intents.retrieve(str(paid.payments.data[0].payment.payment_intent))
    return str(intent.payment_method)


# ─── Nothing due yet ─────────────────────────────────────────────────────────────────────────


def test_a_trial_gets_its_card_set_up_and_charges_it_at_the_end(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None)
    begun = begin(town, customer, fee(town), trial_period_days=14, payment_settings=SAVES)
    waiting: Any = begun.pending_setup_intent
    assert (begun.status, waiting.status) == ("trialing", "requires_payment_method")
    assert (waiting.customer, waiting.usage, waiting.created) == (customer, "off_session", JANUARY)

    done = confirm(town, waiting)
    ready = town.subscription(begun.id)
    assert ready.pending_setup_intent is None
    assert ready.default_payment_method == done.payment_method
    assert attached(town, customer) == [done.payment_method]
    changed = town.events(begun.id)[-1]
    assert changed.type == "customer.subscription.updated"
    assert changed.data.previous_attributes.to_dict() == {
        "default_payment_method": None,
        "pending_setup_intent": waiting.id,
    }

    town.advance(clock, JANUARY + 14 * DAY + 2 * HOUR)
    latest = town.invoices(begun.id)[-1]
    assert (town.subscription(begun.id).status, latest.status) == ("active", "paid")
    assert latest.amount_paid == 3100
    assert said(town, waiting.id) == ["setup_intent.created", "setup_intent.succeeded"]


@pytest.mark.parametrize("outcome", ["succeed", "fail"])
def test_who_must_prove_who_they_are_does_so_while_they_are_there(town: Town, outcome: str) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None)
    begun = begin(
        town,
        customer,
        fee(town),
        trial_period_days=14,
        payment_settings=SAVES,
        trial_settings={"end_behavior": {"missing_payment_method": "cancel"}},
    )
    asked = confirm(town, begun.pending_setup_intent, ON_SETUP)
    assert asked.status == "requires_action"
    assert town.subscription(begun.id).pending_setup_intent == asked.id
    with httpx.Client(base_url=town.base, auth=(town.secret, "")) as http:
        path = f"/v1/test_helpers/setup_intents/{asked.id}/authenticate"
        assert http.post(path, data={"outcome": outcome}).status_code == 200
    town.advance(clock, JANUARY + 14 * DAY + 2 * HOUR)

    over = town.subscription(begun.id)
    if outcome == "succeed":
        # Renewals ask for no proof any more: that is what the setup was for.
        assert (over.status, town.invoices(begun.id)[-1].status) == ("active", "paid")
    else:
        assert over.status == "canceled"
        assert said(town, asked.id) == [
            "setup_intent.created",
            "setup_intent.requires_action",
            "setup_intent.setup_failed",
            "setup_intent.canceled",
        ]


def test_a_declined_card_leaves_the_setup_intent_waiting_for_another(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None)
    begun = begin(town, customer, fee(town), trial_period_days=14, payment_settings=SAVES)
    waiting: Any = begun.pending_setup_intent
    with pytest.raises(stripe.CardError) as raised:
        confirm(town, waiting, "pm_card_chargeDeclined")
    assert raised.value.json_body["error"]["setup_intent"]["id"] == waiting.id
    assert town.subscription(begun.id).pending_setup_intent == waiting.id
    assert attached(town, customer) == []
    confirm(town, waiting)
    town.advance(clock, JANUARY + 14 * DAY + 2 * HOUR)
    assert town.subscription(begun.id).status == "active"


def test_what_is_not_saved_is_the_customers_and_charged_by_nobody(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None)
    begun = begin(
        town,
        customer,
        fee(town),
        trial_period_days=14,
        trial_settings={"end_behavior": {"missing_payment_method": "pause"}},
    )
    done = confirm(town, begun.pending_setup_intent)
    ready = town.subscription(begun.id)
    assert (ready.pending_setup_intent, ready.default_payment_method) == (None, None)
    assert attached(town, customer) == [done.payment_method]
    town.advance(clock, JANUARY + 15 * DAY)
    assert town.subscription(begun.id).status == "paused"

    # Late, but not too late.
    town.client.v1.customers.update(
        customer, {"invoice_settings": {"default_payment_method": str(done.payment_method)}}
    )
    town.client.v1.subscriptions.resume(begun.id, {"billing_cycle_anchor": "now"})
    assert town.subscription(begun.id).status == "active"
    assert town.invoices(begun.id)[-1].status == "paid"


def test_what_only_usage_will_cost_waits_for_a_card_too(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None)
    begun = begin(town, customer, town.metered(unit_amount=5), payment_settings=SAVES)
    assert begun.status == "active"
    confirm(town, begun.pending_setup_intent)
    town.use(customer, "100", timestamp=JANUARY)
    town.advance(clock, at("2026-02-01 02:00"))
    latest = town.invoices(begun.id)[-1]
    assert (latest.amount_paid, latest.status) == (500, "paid")


def test_what_credit_pays_for_waits_for_a_card_too(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None, balance=-5000)
    begun = begin(town, customer, fee(town))
    assert (begun.status, town.invoices(begun.id)[0].status) == ("active", "paid")
    assert begun.pending_setup_intent is not None


@pytest.mark.parametrize(
    ("card", "asked"),
    [
        ("pm_card_visa", {"trial_period_days": 14}),
        (None, {"trial_period_days": 14, "payment_behavior": "allow_incomplete"}),
        (
            None,
            {
                "trial_period_days": 14,
                "collection_method": "send_invoice",
                "days_until_due": 7,
            },
        ),
        (None, {}),
    ],
    ids=["has a card", "may be incomplete", "is sent", "something is due"],
)
def test_there_is_no_setup_intent_where_nothing_waits_for_one(
    town: Town, card: str | None, asked: dict[str, Any]
) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=card)
    begun = begin(town, customer, fee(town), **asked)
    assert begun.pending_setup_intent is None
    town.advance(clock, JANUARY + 2 * HOUR)
    assert town.subscription(begun.id).pending_setup_intent is None
    assert town.client.v1.setup_intents.list({"customer": customer}).data == []


def test_a_subscription_that_ends_gives_its_setup_intent_up(town: Town) -> None:
    customer = town.customer(town.clock(JANUARY), card=None)
    begun = begin(town, customer, fee(town), trial_period_days=14)
    waiting: Any = begun.pending_setup_intent
    over = town.client.v1.subscriptions.cancel(begun.id)
    assert (over.status, over.pending_setup_intent) == ("canceled", None)
    assert town.client.v1.setup_intents.retrieve(waiting.id).status == "canceled"
    assert said(town, begun.id)[-1] == "customer.subscription.deleted"


def test_a_setup_intent_that_is_canceled_is_waited_for_no_more(town: Town) -> None:
    customer = town.customer(town.clock(JANUARY), card=None)
    begun = begin(town, customer, fee(town), trial_period_days=14, payment_settings=SAVES)
    waiting: Any = begun.pending_setup_intent
    town.client.v1.setup_intents.cancel(waiting.id)
    ready = town.subscription(begun.id)
    assert (ready.pending_setup_intent, ready.default_payment_method) == (None, None)


# ─── What is kept ────────────────────────────────────────────────────────────────────────────


def test_what_pays_first_is_charged_from_then_on(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = begin(town, customer, fee(town), payment_settings=SAVES)
    own = town.client.v1.payment_methods.attach("pm_card_mastercard", {"customer": customer})
    town.client.v1.invoices.pay(str(begun.latest_invoice), {"payment_method": own.id})
    assert town.subscription(begun.id).default_payment_method == own.id
    town.advance(clock, at("2026-02-01 02:00"))
    first, second = town.invoices(begun.id)
    assert [charged(each, town) for each in (first, second)] == [own.id, own.id]


def test_what_pays_is_kept_only_where_that_is_asked_for(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = begin(town, customer, fee(town))
    own = town.client.v1.payment_methods.attach("pm_card_mastercard", {"customer": customer})
    town.client.v1.invoices.pay(str(begun.latest_invoice), {"payment_method": own.id})
    assert town.subscription(begun.id).default_payment_method is None
    town.advance(clock, at("2026-02-01 02:00"))
    first, second = town.invoices(begun.id)
    assert charged(first, town) == own.id
    assert charged(second, town) not in (None, own.id)


def test_an_invoices_own_goes_before_the_subscriptions_and_that_before_the_customers(
    town: Town,
) -> None:
    """And what was detached is never charged: then the next in line is."""
    v1 = town.client.v1
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None)
    theirs = town.pays_with(customer, "pm_card_visa")
    cards = ["pm_card_mastercard", "pm_card_amex"]
    own, once = [v1.payment_methods.attach(each, {"customer": customer}).id for each in cards]
    begun = town.subscribe(customer, fee(town), default_payment_method=own)

    def turn(moment: str, method: str | None = None) -> str | None:
        """The next month begins; its draft is given ``method``; what it is paid with."""
        town.advance(clock, at(moment))
        latest = town.invoices(begun.id)[-1]
        assert (latest.status, day(latest.created)) == ("draft", moment)
        if method:
            v1.invoices.update(latest.id, {"default_payment_method": method})
        town.advance(clock, at(moment) + 2 * HOUR)
        assert v1.invoices.retrieve(latest.id).status == "paid"
        return charged(latest, town)

    assert turn("2026-02-01", once) == once
    assert turn("2026-03-01") == own
    v1.payment_methods.detach(own)
    assert turn("2026-04-01") == theirs
    town.advance(clock, at("2026-05-01"))
    draft = town.invoices(begun.id)[-1]
    v1.invoices.update(draft.id, {"default_payment_method": once})
    v1.payment_methods.detach(once)
    v1.payment_methods.detach(theirs)
    town.advance(clock, at("2026-05-01 02:00"))
    assert v1.invoices.retrieve(draft.id).status == "open"
    assert town.subscription(begun.id).status == "past_due"
