"""What stories of unpaid invoices are told with: our own settings, and a renewal that fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY
APRIL = MARCH + 31 * DAY
TRIED = FEBRUARY + HOUR  # when February's invoice is tried first
DECLINED = "pm_card_chargeCustomerFail"
STOLEN = "pm_card_chargeDeclined_stolen_card"
IN_TWO_WEEKS = (1, 2, 3, 5, 7, 9, 11, 14)  # days after the first try, by the built-in schedule


def asked(town: Town, path: str, *, method: str = "POST", **given: Any) -> httpx.Response:
    """The answer to a request that only we have."""
    data: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, list):
            data |= {f"{name}[{place}]": each for place, each in enumerate(value)}
        else:
            data[name] = value
    return httpx.request(
        method, town.base + path, data=data, auth=(town.secret, ""), trust_env=False
    )


def ours(town: Town, path: str, *, method: str = "POST", **given: Any) -> dict[str, Any]:
    """What such a request gives."""
    answer = asked(town, path, method=method, **given)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def schedule(town: Town, **given: Any) -> str:
    """A new retry schedule."""
    return str(ours(town, "/v1/retry_schedules", **given)["id"])


def fee(town: Town) -> str:
    return town.price(unit_amount=10000, product_data={"name": "Fee"})


@dataclass(frozen=True)
class Debtor:
    """A customer whose card declines from the second month on."""

    town: Town
    clock: str
    customer: str
    subscription: str

    @property
    def status(self) -> str:
        return self.town.subscription(self.subscription).status

    @property
    def invoices(self) -> list[stripe.Invoice]:
        return self.town.invoices(self.subscription)

    @property
    def statuses(self) -> list[str | None]:
        return [each.status for each in self.invoices]

    @property
    def february(self) -> stripe.Invoice:
        return self.invoices[1]

    def tried(self) -> tuple[str | None, int, int | None]:
        """Of February's invoice: its status, how often it was tried, and when it will be again."""
        invoice = self.february
        return invoice.status, invoice.attempt_count, invoice.next_payment_attempt

    def advance(self, to: int) -> None:
        self.town.advance(self.clock, to)

    def pays_with(self, card: str) -> str:
        return self.town.pays_with(self.customer, card)


def debtor(town: Town, card: str | None = DECLINED, *, of: dict[str, Any] | None = None) -> Debtor:
    """Subscribed on 1 January; on 1 February the card says no. ``of`` are the subscription's."""
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town), **(of or {}))
    if card is None:
        method = town.client.v1.customers.retrieve(customer).invoice_settings.default_payment_method
        town.client.v1.payment_methods.detach(str(method))
    else:
        town.pays_with(customer, card)
    found = Debtor(town, clock, customer, subscription.id)
    found.advance(TRIED)
    return found
