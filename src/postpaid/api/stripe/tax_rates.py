"""Tax rates as Stripe shows them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from postpaid.api.instants import seconds
from postpaid.api.params import (
    Boolean,
    Dec,
    Metadata,
    Params,
    Text,
    TimeRange,
    Unsettable,
    merge_metadata,
    refuse,
)
from postpaid.api.stripe.expand import loader
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_tax_rates
from postpaid.billing.perform import Act
from postpaid.core.errors import NotFound
from postpaid.core.tax_rates import TaxRate
from postpaid.core.values import replace
from postpaid.storage import tax_rates
from postpaid.storage.database import Connection

routes = Routes("Tax rates")

PLACES = 4  # Stripe: of a percentage

TaxType = Literal[
    "admissions_tax",
    "amusement_tax",
    "attendance_tax",
    "communications_tax",
    "digital_excise_tax",
    "entertainment_tax",
    "get_fund",
    "gross_receipts_tax",
    "gst",
    "hospitality_tax",
    "hst",
    "igst",
    "jct",
    "lease_tax",
    "luxury_tax",
    "mass_transit_parking_tax",
    "nhil",
    "parking_tax",
    "pst",
    "qst",
    "resort_tax",
    "retail_delivery_fee",
    "rst",
    "sales_tax",
    "service_tax",
    "tourism_tax",
    "utility_users_tax",
    "vat",
]


def _percentage(value: Decimal) -> Decimal:
    if not 0 <= value <= 100:
        raise refuse("Invalid decimal: must be between 0 and 100")
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -PLACES:
        raise refuse(f"Invalid decimal: must have at most {PLACES} decimal places")
    return value


Percentage = Annotated[Dec, AfterValidator(_percentage)]
"""0 to 100, exact to four places."""


class TaxRateUpdate(Params):
    active: Boolean | None = None
    country: Unsettable[Annotated[str, Text(2)]] = None
    description: Unsettable[Annotated[str, Text(5000)]] = None
    display_name: Annotated[str, Text(50)] | None = None
    jurisdiction: Unsettable[Annotated[str, Text(50)]] = None
    metadata: Metadata = None
    state: Unsettable[Annotated[str, Text(50)]] = None
    tax_type: Unsettable[TaxType] = None


class TaxRateCreate(Params):
    display_name: Annotated[str, Text(50)]
    inclusive: Boolean
    percentage: Percentage
    active: Boolean = True
    country: Annotated[str, Text(2)] | None = None
    description: Annotated[str, Text(5000)] | None = None
    jurisdiction: Annotated[str, Text(50)] | None = None
    metadata: Metadata = None
    state: Annotated[str, Text(50)] | None = None
    tax_type: TaxType | None = None


class TaxRateList(ListParams):
    active: Boolean | None = None
    created: TimeRange | None = None
    inclusive: Boolean | None = None


@routes.post("/v1/tax_rates", returns="tax_rate")
def create(call: Call, params: TaxRateCreate) -> dict[str, Any]:
    """Create a tax rate. Its percentage, and whether amounts include it, never change."""
    act = call.act
    fields = {name: value for name, value in params.given().items() if name != "metadata"}
    tax_rate = TaxRate(
        id=act.new_id("txr"),
        created_at=act.now,
        metadata=merge_metadata({}, params.metadata),
        **fields,
    )
    return call.write(
        lambda conn: to_stripe(
            manage_tax_rates.create_tax_rate(conn, act, tax_rate), livemode=act.livemode
        )
    )


@routes.get("/v1/tax_rates/{tax_rate}", returns="tax_rate")
def retrieve(call: Call, tax_rate: str) -> dict[str, Any]:
    """Retrieve a tax rate."""

    def read(conn: Connection) -> dict[str, Any]:
        found = tax_rates.load(conn, call.act.account_id, [tax_rate])
        if tax_rate not in found:
            raise NotFound.of("tax rate", tax_rate)
        return to_stripe(found[tax_rate], livemode=call.act.livemode)

    return call.read(read)


@routes.post("/v1/tax_rates/{tax_rate}", returns="tax_rate")
def update(call: Call, params: TaxRateUpdate, tax_rate: str) -> dict[str, Any]:
    """Update what of a tax rate is only words, or whether it can still be put on anything."""

    def change(before: TaxRate) -> TaxRate:
        given = params.given()
        if "metadata" in given:
            given["metadata"] = merge_metadata(before.metadata, given["metadata"])
        return replace(before, **given)

    return call.write(
        lambda conn: to_stripe(
            manage_tax_rates.update_tax_rate(conn, call.act, tax_rate, change),
            livemode=call.act.livemode,
        )
    )


@routes.get("/v1/tax_rates", returns="tax_rate", many=True)
def list_(call: Call, params: TaxRateList) -> dict[str, Any]:
    """List tax rates, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)
    return call.read(
        lambda conn: listing(
            "/v1/tax_rates",
            tax_rates.list_page(
                conn,
                call.act.account_id,
                params.page,
                active=params.active,
                inclusive=params.inclusive,
                created_from=created_from,
                created_before=created_before,
            ),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(tax_rate: TaxRate, *, livemode: bool) -> dict[str, Any]:
    """A tax rate; its percentage is a JSON number, which has no more than seven digits."""
    return {
        "id": tax_rate.id,
        "object": "tax_rate",
        "active": tax_rate.active,
        "country": tax_rate.country,
        "created": seconds(tax_rate.created_at),
        "description": tax_rate.description,
        "display_name": tax_rate.display_name,
        "effective_percentage": None,
        "flat_amount": None,
        "inclusive": tax_rate.inclusive,
        "jurisdiction": tax_rate.jurisdiction,
        "jurisdiction_level": None,
        "livemode": livemode,
        "metadata": tax_rate.metadata,
        "percentage": float(tax_rate.percentage),
        "rate_type": "percentage",
        "state": tax_rate.state,
        "tax_type": tax_rate.tax_type,
    }


@loader("tax_rate")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = tax_rates.load(conn, act.account_id, ids)
    return {key: to_stripe(each, livemode=act.livemode) for key, each in found.items()}
