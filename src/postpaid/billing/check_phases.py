"""What a schedule's phases name, beside the prices that they sell: is all of it there?"""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.check_blocked import check_method_not_blocked
from postpaid.billing.manage_tax_rates import check_tax_rates
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.schedules import AskedPhase, Schedule
from postpaid.storage import catalog, payment_methods
from postpaid.storage.database import Connection


def check_phases(
    conn: Connection,
    act: Act,
    customer_id: str,
    phases: Sequence[AskedPhase],
    before: Schedule | None = None,
) -> None:
    """Raises ``NotFound`` or ``InvalidRequest`` for a one-time price, a tax rate or a payment
    method of the phases that cannot be had.

    What the schedule had ``before`` is not asked about again: a tax rate may have been retired, or
    a card detached, since. At most three statements, whatever the phases.
    """
    had = before.phases if before else ()
    _check_extras(conn, act, phases)
    rates = {rate for phase in had for item in phase.items for rate in item.tax_rate_ids or ()}
    _check_rates(conn, act, phases, rates)
    cards = {phase.default_payment_method_id for phase in had}
    _check_cards(conn, act, customer_id, phases, cards)


def _check_extras(conn: Connection, act: Act, phases: Sequence[AskedPhase]) -> None:
    places = {
        ("phases", i, "add_invoice_items", j, "price"): extra.price_id
        for i, phase in enumerate(phases)
        for j, extra in enumerate(phase.fields.get("extras", ()))
    }
    sold = catalog.load_sold(conn, act.account_id, set(places.values())) if places else {}
    for place, price_id in places.items():
        if price_id not in sold:
            raise NotFound.of("price", price_id, param=place)
        if sold[price_id].price.recurrence is not None:
            raise InvalidRequest(
                "The price specified is set to `type=recurring` but this field only accepts "
                "prices with `type=one_time`.",
                param=place,
            )


def _check_rates(conn: Connection, act: Act, phases: Sequence[AskedPhase], known: set[str]) -> None:
    check_tax_rates(
        conn,
        act,
        {
            ("phases", i, "items", j, "tax_rates"): None
            if known.issuperset(item.tax_rate_ids or ())
            else item.tax_rate_ids
            for i, phase in enumerate(phases)
            for j, item in enumerate(phase.fields["items"])
        },
    )


def _check_cards(
    conn: Connection,
    act: Act,
    customer_id: str,
    phases: Sequence[AskedPhase],
    known: set[str | None],
) -> None:
    places = {
        ("phases", i, "default_payment_method"): card
        for i, phase in enumerate(phases)
        if (card := phase.fields.get("default_payment_method_id")) and card not in known
    }
    cards = payment_methods.load(conn, act.account_id, set(places.values())) if places else {}
    for place, card in places.items():
        if card not in cards:
            raise NotFound.of("PaymentMethod", card, param=place)
        if cards[card].customer_id != customer_id:
            raise InvalidRequest(
                f"The customer does not have a payment method with the ID {card}. "
                "The payment method must be attached to the customer.",
                param=place,
            )
        check_method_not_blocked(cards[card], param=place)
