"""The numbers of invoices that become final: from the customer's sequence, or the account's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest
from postpaid.core.invoicing import Invoice, Numbering, invoice_number
from postpaid.core.values import replace
from postpaid.storage import invoice_numbers
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


@dataclass(frozen=True, slots=True)
class Numbered:
    """The number of each invoice by id, with whose sequence it is from, and the customers after."""

    numbers: Mapping[str, tuple[str, Numbering | None]]
    customers: dict[str, Customer]


def number_invoices(
    conn: Connection, act: Act, drafts: Sequence[Invoice], locked: Mapping[str, Customer]
) -> Numbered:
    """Give the drafts their numbers, in their order. They become final in this transaction.

    A number that a person gave is taken as it is. The account's sequence moves here, last of all
    that is locked, and back if the transaction fails; the customers' are for the caller to write.
    """
    customers = dict(locked)
    waiting = [each for each in drafts if each.given_number is None]
    taken = invoice_numbers.take(conn, act.account_id, len(waiting)) if waiting else None
    numbers: dict[str, tuple[str, Numbering | None]] = {
        each.id: (each.given_number, None) for each in drafts if each.given_number is not None
    }
    for place, draft in enumerate(waiting):
        if taken is not None:
            number = invoice_number(taken.prefix, taken.first + place)
            numbers[draft.id] = (number, Numbering.ACCOUNT)
            continue
        customer = customers[draft.customer_id]
        number = invoice_number(customer.invoice_prefix, customer.next_invoice_sequence)
        numbers[draft.id] = (number, Numbering.CUSTOMER)
        customers[customer.id] = replace(
            customer, next_invoice_sequence=customer.next_invoice_sequence + 1
        )
    return Numbered(numbers, customers)


def check_given_number(conn: Connection, act: Act, number: str, *, other_than: str) -> None:
    """Raises ``InvalidRequest`` for a number that is another invoice's, or that may become one.

    A sequence gives out its prefix, a hyphen and digits; such numbers are for the sequence alone.
    """
    if invoice_numbers.is_taken(conn, act.account_id, number, other_than=other_than):
        raise InvalidRequest(f"The number '{number}' is another invoice's.", param="number")
    prefix, hyphen, sequence = number.rpartition("-")
    if hyphen and sequence.isdigit() and invoice_numbers.is_prefix(conn, act.account_id, prefix):
        raise InvalidRequest(
            f"The numbers that begin with '{prefix}-' are given out in sequence: change the "
            "sequence, or use another number.",
            param="number",
        )
