"""Numbers, currencies and payers, as Frame writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from postpaid.core.money import plain
from postpaid.storage import customers
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


def decimal_string(number: Decimal | int) -> str:
    """``"18000.0"``, ``"0.01"``: never without a fraction."""
    text = plain(Decimal(number))
    return text if "." in text else f"{text}.0"


def number(value: Decimal) -> int | msgspec.Raw:
    """As a number, exact, and not as text: so Frame writes usage in events, and percentages."""
    return int(value) if value == int(value) else msgspec.Raw(plain(value))


def currency(code: str | None) -> str | None:
    """``"USD"``."""
    return None if code is None else code.upper()


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose something is: a customer's, or an account's where the customer has a profile."""

    id: str | None
    is_account: bool = False

    @property
    def customer(self) -> str | None:
        return None if self.is_account else self.id

    @property
    def account(self) -> str | None:
        return self.id if self.is_account else None

    @property
    def keys(self) -> dict[str, Any]:
        """Under every name that Frame has given them."""
        return {
            "customer": self.customer,
            "customer_id": self.customer,
            "account": self.account,
            "account_id": self.account,
        }


NOBODY = Owner(None)


def owner(customer: Customer) -> Owner:
    return Owner(customer.id, customer.profile is not None)


def owners(
    conn: Connection, account_id: int, customer_ids: Iterable[str | None]
) -> Mapping[str | None, Owner]:
    """The owners by customer id; of None it is nobody."""
    asked = {each for each in customer_ids if each is not None}
    found = customers.load(conn, account_id, asked) if asked else {}
    return {None: NOBODY} | {key: owner(each) for key, each in found.items()}
