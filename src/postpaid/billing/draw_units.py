"""Units that were bought in advance → what of a window's usage remains to be rated; and back."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.perform import Act
from postpaid.core.billed_usage import prepaid_windows
from postpaid.core.errors import ActionNotAllowed
from postpaid.core.invoicing import Invoice
from postpaid.core.money import EXACT
from postpaid.core.unit_credits import Drawing, UnitCredit, UnitDraw, drawn, in_order_of_use, spent
from postpaid.core.values import replace
from postpaid.storage import unit_credits
from postpaid.storage.database import Connection

ZERO = Decimal(0)
UNITS_ARE_USED = "unit_credit_used"


def draw(conn: Connection, act: Act, asked: Sequence[Drawing]) -> list[Decimal]:
    """What of each drawing's quantity the customer's units do not pay for, in the order given.

    The units are taken at once, in this transaction, for the invoices that the drawings name, of
    what expires first; two drawings of one customer share what it has, the first before the second.
    The caller holds the customers, and writes the invoices. At most two statements for customers
    without units.
    """
    wanted = [each for each in asked if each.quantity > 0]
    if not wanted:
        return [each.quantity for each in asked]
    # Read.
    owners = {each.customer_id for each in wanted}
    credits = unit_credits.unused(conn, act.account_id, owners)
    if not credits:
        return [each.quantity for each in asked]
    products = {credit.product_id for own in credits.values() for credit in own}
    sold_by = unit_credits.sold_by(conn, act.account_id, products)

    # Decide.
    left = {key: in_order_of_use(own) for key, own in credits.items()}
    remaining: list[Decimal] = []
    draws: list[UnitDraw] = []
    for each in asked:
        own = left.get(each.customer_id, [])
        found = drawn(each, own, sold_by) if each.quantity > 0 else {}
        remaining.append(EXACT.subtract(each.quantity, sum(found.values(), ZERO)))
        left[each.customer_id] = spent(own, found, act.now)
        draws += [_draw(act, each, credit_id, units) for credit_id, units in found.items()]
    touched = {each.credit_id for each in draws}
    changed = [credit for own in left.values() for credit in own if credit.id in touched]

    # Write.
    unit_credits.update_used(conn, act.account_id, changed)
    unit_credits.insert_draws(conn, act.account_id, draws)
    announce(conn, act, [_exhausted(each) for each in changed if not each.available])
    return remaining


def return_units(conn: Connection, act: Act, invoice_ids: Sequence[str]) -> None:
    """Give back what the invoices took, which are void now, or drafts that are gone.

    The caller holds the customers. What has expired in the meantime comes back expired.
    """
    if invoice_ids:
        unit_credits.return_draws(conn, act.account_id, invoice_ids, now=act.now)


def draw_again(conn: Connection, act: Act, revised: Sequence[tuple[Invoice, Invoice]]) -> None:
    """Let revisions take the units that the invoices which they revise had taken, and gave back.

    They are taken where the revision, which comes first, still says that they had paid. Raises
    ``ActionNotAllowed`` where something else has used them since. The caller holds the customers.
    No statement where no revision says so.
    """
    again = {
        original.id: (revision.id, keys)
        for revision, original in revised
        if (keys := prepaid_windows(revision, original))
    }
    if not again:
        return
    # Read.
    before = unit_credits.draws_of(conn, act.account_id, again)
    credits = unit_credits.load(conn, act.account_id, {each.credit_id for each in before})

    # Decide.
    draws = [
        replace(each, id=act.new_id("ud"), invoice_id=again[each.invoice_id][0], returned_at=None)
        for each in before
        if (each.meter_id, each.period_start) in again[each.invoice_id][1]
    ]
    for each in draws:
        credit = credits[each.credit_id]
        if credit.available < each.quantity:
            raise ActionNotAllowed(
                f"The units of {credit.id} that had paid for this usage have paid for other usage "
                "since: bill it anew instead of revising its invoice.",
                code=UNITS_ARE_USED,
            )
        used = EXACT.add(credit.used, each.quantity)
        credits[credit.id] = replace(credit, used=used, updated_at=act.now)
    changed = [credits[key] for key in {each.credit_id for each in draws}]

    # Write.
    unit_credits.update_used(conn, act.account_id, changed)
    unit_credits.insert_draws(conn, act.account_id, draws)


def _draw(act: Act, asked: Drawing, credit_id: str, units: Decimal) -> UnitDraw:
    return UnitDraw(
        id=act.new_id("ud"),
        credit_id=credit_id,
        invoice_id=asked.invoice_id,
        meter_id=asked.meter_id,
        period_start=asked.start,
        period_end=asked.end,
        quantity=units,
        drawn_at=act.now,
    )


def _exhausted(credit: UnitCredit) -> Announcement:
    return Announcement("unit_credit.exhausted", "unit_credit", credit.id, credit)
