"""Create tax rates, change what may change of them, and tell whether they can be put on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest, NotFound, Path
from postpaid.core.tax_rates import TaxRate
from postpaid.storage import tax_rates
from postpaid.storage.database import Connection

TAX_RATES_MAX = 10  # Stripe: of one thing


def create_tax_rate(conn: Connection, act: Act, tax_rate: TaxRate) -> TaxRate:
    """Add a tax rate."""
    tax_rates.insert(conn, act.account_id, tax_rate)
    said = Announcement("tax_rate.created", "tax_rate", tax_rate.id, tax_rate)
    announce(conn, act, [said])
    return tax_rate


def update_tax_rate(
    conn: Connection, act: Act, tax_rate_id: str, change: Callable[[TaxRate], TaxRate]
) -> TaxRate:
    """Make the tax rate what ``change`` makes of it; its percentage stays. Raises ``NotFound``."""
    before = tax_rates.lock(conn, act.account_id, tax_rate_id)
    if before is None:
        raise NotFound.of("tax rate", tax_rate_id)
    after = change(before)
    if after == before:
        return before
    tax_rates.update(conn, act.account_id, after)
    said = Announcement("tax_rate.updated", "tax_rate", after.id, after, changes(before, after))
    announce(conn, act, [said])
    return after


def check_tax_rates(
    conn: Connection, act: Act, asked: Mapping[Path, Sequence[str] | None]
) -> dict[Path, list[str] | None]:
    """The ids of tax rates that are asked for, by parameter, if they can be put on; None for none.

    One statement, and none when nothing is asked for. Raises ``NotFound``, and ``InvalidRequest``
    for one that is not active, for one that is there twice, and for too many.
    """
    return check_all_tax_rates(conn, act, [asked])[0]


def check_all_tax_rates(
    conn: Connection, act: Act, every: Sequence[Mapping[Path, Sequence[str] | None]]
) -> list[dict[Path, list[str] | None]]:
    """``check_tax_rates`` for a list; one statement for all."""
    ids = {each for asked in every for own in asked.values() for each in own or ()}
    found = tax_rates.load(conn, act.account_id, ids) if ids else {}
    return [_checked(asked, found) for asked in every]


def _checked(
    asked: Mapping[Path, Sequence[str] | None], found: Mapping[str, TaxRate]
) -> dict[Path, list[str] | None]:
    for param, given in asked.items():
        own = given or ()
        if len(own) > TAX_RATES_MAX:
            raise InvalidRequest(f"At most {TAX_RATES_MAX} tax rates can be applied.", param=param)
        for i, each in enumerate(own):
            if each not in found:
                raise NotFound.of("tax rate", each, param=(*param, i))
            if not found[each].active:
                raise InvalidRequest(
                    f"The tax rate '{each}' is not active, and cannot be applied.",
                    param=(*param, i),
                )
            if each in own[:i]:
                raise InvalidRequest(f"The tax rate '{each}' is given twice.", param=(*param, i))
    return {param: list(own or ()) or None for param, own in asked.items()}
