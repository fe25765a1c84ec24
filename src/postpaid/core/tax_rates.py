"""What comes on top of a price, or is in it, for the state: tax rates set by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class TaxRate:
    """A percentage of an amount, exact to four places; in the amount if ``inclusive``.

    Its percentage never changes. One that is not active can no longer be put on anything, and
    stays on what it is on (Stripe).
    """

    id: str
    display_name: str
    percentage: Decimal
    inclusive: bool
    created_at: datetime
    active: bool = True
    country: str | None = None
    description: str | None = None
    jurisdiction: str | None = None
    state: str | None = None
    tax_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
