"""A revision: a draft that bills what another invoice billed, and takes its place.

While that other invoice is owed, the names of what it bills are its own. The revision's lines bear
them with the revision's id behind, and get them as they are when the other is void.
"""

from __future__ import annotations

from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.lines import Line
from postpaid.core.values import replace

REVISABLE = frozenset({InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE, InvoiceStatus.VOID})


def lines_again(original: Invoice, revision_id: str) -> list[Line]:
    """The lines of ``original`` for a revision of it; their ids are empty until they are written.

    Whatever was taken off or put on them is reckoned anew.
    """
    waits = original.status != InvoiceStatus.VOID
    behind = _behind(revision_id) if waits else ""
    return [
        replace(
            line,
            id="",
            obligation=line.obligation + behind,
            discounts=None,
            credits=None,
            taxes=None,
        )
        for line in original.lines
    ]


def in_place(revision: Invoice) -> Invoice:
    """The revision once what it revises is void: its lines have the names of what they bill."""
    behind = _behind(revision.id)
    if not any(line.obligation.endswith(behind) for line in revision.lines):
        return revision
    lines = (
        replace(line, obligation=line.obligation.removesuffix(behind)) for line in revision.lines
    )
    return replace(revision, lines=tuple(lines))


def check_revisable(original: Invoice) -> None:
    """Raises ValueError for an invoice that cannot be revised any more, or not yet."""
    if original.status not in REVISABLE:
        raise ValueError(
            f"The invoice {original.id} is {original.status}: only one that is open, uncollectible "
            "or void can be revised."
        )


def _behind(revision_id: str) -> str:
    return f"@{revision_id}"
