"""What subscriptions, invoices, usage and events refuse, and that then nothing is done."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import stripe
from refusals import refused
from stripe import StripeClient

from postpaid import clock
from postpaid.billing import manage_keys
from postpaid.storage.database import Database


@dataclass(frozen=True)
class Shop:
    """An account with one of everything, as the cases below name it."""

    client: StripeClient
    names: dict[str, str]
    database: Database
    account_id: int

    def filled(self, given: Any) -> Any:
        """The parameters with ``{customer}`` and the like in place."""
        if isinstance(given, dict):
            return {self.filled(key): self.filled(value) for key, value in given.items()}
        if isinstance(given, list):
            return [self.filled(each) for each in given]
        return given.format(**self.names) if isinstance(given, str) else given


@pytest.fixture(scope="module")
def shop(server: str, database: Database) -> Shop:
    """One for all cases, since none of them leaves a trace."""
    _, stranger = open_account(server, database)
    account_id, client = open_account(server, database)
    others = {f"other_{key}": value for key, value in make_names(stranger).items()}
    return Shop(client, make_names(client) | others, database, account_id)


def open_account(server: str, database: Database) -> tuple[int, StripeClient]:
    """An account that nobody else knows, and the official SDK with its key."""
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=clock.now())
        key = manage_keys.create_key(conn, account, now=clock.now())
    return account.account_id, StripeClient(key.secret, base_addresses={"api": server})


def make_names(client: StripeClient) -> dict[str, str]:
    v1 = client.v1
    meter = v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": "call",
            "default_aggregation": {"formula": "sum"},
        }
    )
    idle = v1.billing.meters.create(
        {
            "display_name": "Old",
            "event_name": "old_call",
            "default_aggregation": {"formula": "count"},
        }
    )
    v1.billing.meters.deactivate(idle.id)
    product = v1.products.create({"name": "Calls"}).id

    def price(**given: Any) -> str:
        asked = {"product": product, "currency": "usd", "unit_amount": 100} | given
        return v1.prices.create(asked).id  # type: ignore[arg-type]

    monthly = {"interval": "month"}
    names = {
        "customer": paying(client, "pm_card_visa"),
        "failing": paying(client, "pm_card_chargeCustomerFail"),
        "meter": meter.id,
        "fee": price(recurring=monthly),
        "usage": price(recurring=monthly | {"usage_type": "metered", "meter": meter.id}),
        "yearly": price(recurring={"interval": "year"}),
        "quarterly": price(recurring=monthly | {"interval_count": 3}),
        "euros": price(recurring=monthly, currency="eur"),
        "once": price(),
        "inactive": price(recurring=monthly),
        "dear": price(recurring=monthly, unit_amount=999_999_999_999),
    }
    v1.prices.update(names["inactive"], {"active": False})
    deleted = v1.customers.create()
    v1.customers.delete(deleted.id)
    names["deleted"] = deleted.id
    names["card"] = str(v1.payment_methods.list({"customer": names["customer"]}).data[0].id)
    names["failing_card"] = str(v1.payment_methods.list({"customer": names["failing"]}).data[0].id)
    subscription = v1.subscriptions.create(
        {"customer": names["customer"], "items": [{"price": names["fee"]}]}
    )
    names["subscription"] = subscription.id
    names["paid"] = str(subscription.latest_invoice)
    waiting = v1.subscriptions.create(
        {"customer": names["failing"], "items": [{"price": names["fee"]}]}
    )
    names["incomplete"], names["open"] = waiting.id, str(waiting.latest_invoice)
    gone = v1.subscriptions.create(
        {"customer": names["failing"], "items": [{"price": names["fee"]}]}
    )
    v1.invoices.void_invoice(str(gone.latest_invoice))
    names["void"] = str(gone.latest_invoice)
    sent = v1.subscriptions.create(
        {
            "customer": names["customer"],
            "items": [{"price": names["fee"]}],
            "collection_method": "send_invoice",
            "days_until_due": 9,
        }
    )
    names["draft"] = str(sent.latest_invoice)
    v1.subscriptions.cancel(sent.id)
    names["canceled"] = sent.id
    v1.billing.meter_events.create(
        {
            "event_name": "call",
            "payload": {"stripe_customer_id": names["customer"], "value": "5"},
            "identifier": "known",
        }
    )
    return names


def paying(client: StripeClient, card: str) -> str:
    customer = client.v1.customers.create().id
    method = client.v1.payment_methods.attach(card, {"customer": customer})
    client.v1.customers.update(
        customer, {"invoice_settings": {"default_payment_method": method.id}}
    )
    return customer


TABLES = (
    "acts",
    "events",
    "invoice_lines",
    "invoices",
    "payment_attempts",
    "subscription_items",
    "subscriptions",
    "usage_events",
    "usage_hours",
    "usage_series",
    "usage_windows",
)
OF_SERIES = {"usage_hours", "usage_windows"}


@pytest.fixture(autouse=True)
def _nothing_is_done(shop: Shop) -> Iterator[None]:
    """What is refused leaves no trace: every change has at least its act and its event."""
    before = rows(shop)
    yield
    assert rows(shop) == before


def rows(shop: Shop) -> dict[str, int]:
    """How many rows the account has in each table."""
    mine = "account_id = %(account_id)s"
    by_series = f"series_id IN (SELECT series_id FROM usage_series WHERE {mine})"
    counts = ", ".join(
        f"(SELECT count(*) FROM {table} WHERE {by_series if table in OF_SERIES else mine})"
        for table in TABLES
    )
    with shop.database.connection() as conn:
        found = conn.execute(f"SELECT {counts}".encode(), {"account_id": shop.account_id})
        return dict(zip(TABLES, found.fetchone() or (), strict=True))


Case = tuple[Any, str | None, str | None, str]
"""The parameters; then the parameter at fault, the code, and a part of the message."""


def check(shop: Shop, call: Callable[[Any], Any], case: Case, *, status: int = 400) -> None:
    given, param, code, saying = case
    with refused(param, code=code, status=status, saying=shop.filled(saying)):
        call(shop.filled(given))


# ─── Subscriptions ───────────────────────────────────────────────────────────────────────────


def items(*prices: str, **more: Any) -> dict[str, Any]:
    """A subscription of the customer to these prices."""
    asked = [{"price": each} for each in prices]
    return {"customer": "{customer}", "items": asked} | more


def quantity(value: Any, price: str = "{fee}") -> dict[str, Any]:
    return items() | {"items": [{"price": price, "quantity": value}]}


ABSENT: list[Case] = [
    (
        items("{fee}") | {"customer": "cus_x"},
        "customer",
        "resource_missing",
        "No such customer: 'cus_x'",
    ),
    (
        items("{fee}") | {"customer": "{deleted}"},
        "customer",
        "resource_missing",
        "No such customer: '{deleted}'",
    ),
    (
        items("{fee}") | {"customer": "{other_customer}"},
        "customer",
        "resource_missing",
        "No such customer: '{other_customer}'",
    ),
    (items("price_x"), "items[0][price]", "resource_missing", "No such price: 'price_x'"),
    (
        items("{fee}", "{other_fee}"),
        "items[1][price]",
        "resource_missing",
        "No such price: '{other_fee}'",
    ),
    (
        items("{fee}", default_payment_method="pm_x"),
        "default_payment_method",
        "resource_missing",
        "No such PaymentMethod: 'pm_x'",
    ),
    (
        items("{fee}", default_payment_method="{other_card}"),
        "default_payment_method",
        "resource_missing",
        "No such PaymentMethod: '{other_card}'",
    ),
]

REFUSED: list[Case] = [
    ({"items": [{"price": "{fee}"}]}, "customer", "parameter_missing", "Missing required param"),
    ({"customer": "{customer}"}, "items", "parameter_missing", "Missing required param: items."),
    (items(), "items", "parameter_missing", "items"),
    (
        items() | {"items": [{"quantity": 1}]},
        "items[0][price]",
        "parameter_missing",
        "Missing required param: items[0][price].",
    ),
    (items(*["{fee}"] * 21), "items", None, "at most 20 elements"),
    (items("{fee}", "{fee}"), "items[1][price]", None, "same price: '{fee}'"),
    (items("{inactive}"), "items[0][price]", None, "only accepts active prices"),
    (items("{fee}", "{once}"), "items[1][price]", None, "`type=one_time`"),
    (
        items("{fee}", "{yearly}") | {"billing_mode": {"type": "classic"}},
        "items[1][price]",
        None,
        "same billing interval",
    ),
    (
        items("{quarterly}", "{usage}") | {"billing_mode": {"type": "classic"}},
        "items[1][price]",
        None,
        "same billing interval",
    ),
    (items("{fee}", "{euros}"), "items[1][price]", None, "only supports `eur`"),
    (items("{fee}", currency="eur"), "items[0][price]", None, "only supports `usd`"),
    (items("{euros}"), "items[0][price]", None, "cannot combine currencies"),
    (items("{fee}", currency="zzz"), "currency", None, "Invalid currency: zzz"),
    (quantity(3, "{usage}"), "items[0][quantity]", None, "usage_type is `metered`"),
    (quantity(0, "{usage}"), "items[0][quantity]", None, "usage_type is `metered`"),
    (
        quantity(-1),
        "items[0][quantity]",
        "parameter_invalid_integer",
        "greater than or equal to 0",
    ),
    (
        quantity(10**30),
        "items[0][quantity]",
        "parameter_invalid_integer",
        "Invalid integer: 1000000",
    ),
    (
        quantity(10**10),
        "items[0][quantity]",
        "parameter_invalid_integer",
        "less than or equal to 1000000000",
    ),
    *(
        (quantity(text), "items[0][quantity]", "parameter_invalid_integer", "Invalid integer: ")
        for text in ("1.5", "1e3", "NaN", "Infinity", "0x10", "１", "1_000", " 1", "+1", "one")
    ),
    (quantity(""), "items[0][quantity]", "parameter_invalid_empty", "empty string"),
    (quantity(10**9, "{dear}"), "items", None, "is not an amount that can be billed"),
    (items("{fee}", payment_behavior="hope"), "payment_behavior", None, "must be one of"),
    (items("{fee}", billing_mode={"type": "new"}), "billing_mode[type]", None, "must be"),
    (items("{fee}", billing_mode="flexible"), "billing_mode", None, "Invalid object"),
    (items("{fee}", days_until_due=5), "days_until_due", None, "collection_method"),
    (
        items("{fee}", collection_method="send_invoice", days_until_due=731),
        "days_until_due",
        "parameter_invalid_integer",
        "less than or equal to 730",
    ),
    (items("{fee}", cancel_at_period_end="maybe"), "cancel_at_period_end", None, "boolean"),
    (
        items("{fee}", default_payment_method="{failing_card}"),
        "default_payment_method",
        None,
        "must be attached to the customer",
    ),
    (items("{fee}", description="x" * 501), "description", None, "at most 500 characters"),
    (items("{fee}", metadata={"x" * 41: "y"}), "metadata", None, "1 to 40 characters"),
    (items("{fee}", expand=["owner"]), "expand[0]", None, "cannot be expanded"),
    (items("{fee}", coupon="FREE"), "coupon", "parameter_unknown", "unknown parameter: coupon"),
    (
        items() | {"items": [{"price": "{fee}", "tax": "1"}]},
        "items[0][tax]",
        "parameter_unknown",
        "unknown parameter: items[0][tax]",
    ),
]


@pytest.mark.parametrize("case", ABSENT, ids=lambda case: case[3])
def test_a_subscription_to_or_of_what_is_not_there(shop: Shop, case: Case) -> None:
    check(shop, shop.client.v1.subscriptions.create, case, status=404)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[1]}-{case[3]}")
def test_a_subscription_that_cannot_be(shop: Shop, case: Case) -> None:
    check(shop, shop.client.v1.subscriptions.create, case)


UPDATES: list[tuple[str, dict[str, Any], str | None, str | None, str]] = [
    ("canceled", {"description": "x"}, None, "subscription_canceled", "can only update"),
    ("canceled", {"cancel_at_period_end": True}, None, "subscription_canceled", "can only"),
    ("canceled", {"default_payment_method": ""}, None, "subscription_canceled", "can only"),
    (
        "incomplete",
        {"cancel_at_period_end": True},
        "cancel_at_period_end",
        "subscription_incomplete",
        "incomplete subscription",
    ),
    (
        "subscription",
        {"cancellation_details": {"feedback": "rude"}},
        "cancellation_details[feedback]",
        None,
        "must be one of",
    ),
    (
        "subscription",
        {"default_payment_method": "{failing_card}"},
        "default_payment_method",
        None,
        "must be attached",
    ),
    ("subscription", {"items": [{"price": "{fee}"}]}, "items[0][price]", None, "the same price"),
    ("subscription", {"items": [{"id": "si_x"}]}, "items[0][id]", "resource_missing", "No such"),
    (
        "subscription",
        {"items": [{"quantity": 1}]},
        "items[0][price]",
        "parameter_missing",
        "Missing required",
    ),
    ("subscription", {"proration_behavior": "some"}, "proration_behavior", None, "must be one of"),
    (
        "subscription",
        {"items": [{"price": "{dear}", "quantity": 10**9}]},
        "items",
        None,
        "is not an amount that can be billed",
    ),
    ("canceled", {"items": [{"price": "{dear}"}]}, None, "subscription_canceled", "can only"),
    ("incomplete", {"items": [{"price": "{dear}"}]}, None, "subscription_incomplete", "is paid"),
    ("subscription", {"description": "x" * 501}, "description", None, "at most 500"),
]


@pytest.mark.parametrize(("which", "given", "param", "code", "saying"), UPDATES)
def test_a_change_that_cannot_be(
    shop: Shop, which: str, given: dict[str, Any], param: str | None, code: str | None, saying: str
) -> None:
    update = shop.client.v1.subscriptions.update
    status = 404 if code == "resource_missing" else 400
    with refused(param, code=code, status=status, saying=saying):
        update(shop.names[which], shop.filled(given))


@pytest.mark.parametrize("name", ["sub_x", "other_subscription"])
def test_a_subscription_that_is_not_there(shop: Shop, name: str) -> None:
    subscription = shop.names.get(name, name)
    subscriptions = shop.client.v1.subscriptions
    for call in (subscriptions.retrieve, subscriptions.update, subscriptions.cancel):
        with refused("id", code="resource_missing", status=404, saying="No such subscription: "):
            call(subscription)
    with refused("subscription", code="resource_missing", status=404):
        shop.client.v1.invoices.create_preview({"subscription": subscription})


def test_what_is_canceled_cannot_be_canceled(shop: Shop) -> None:
    with refused("id", code="resource_missing", status=404):
        shop.client.v1.subscriptions.cancel(shop.names["canceled"])


# ─── Invoices ────────────────────────────────────────────────────────────────────────────────

ACTIONS: list[tuple[str, str, str]] = [
    ("pay", "paid", "Invoice is already paid"),
    ("pay", "void", "that are open or uncollectible. This invoice is void."),
    ("finalize_invoice", "paid", "This invoice is already finalized"),
    ("finalize_invoice", "open", "This invoice is already finalized"),
    ("finalize_invoice", "void", "This invoice is already finalized"),
    ("void_invoice", "draft", "This invoice is draft."),
    ("void_invoice", "paid", "This invoice is paid."),
    ("void_invoice", "void", "This invoice is void."),
]


@pytest.mark.parametrize(("action", "which", "sentence"), ACTIONS)
def test_what_an_invoices_status_does_not_allow(
    shop: Shop, action: str, which: str, sentence: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as raised:
        getattr(shop.client.v1.invoices, action)(shop.names[which])
    assert (raised.value.http_status, raised.value.param) == (400, None)
    assert sentence in str(raised.value.user_message)


PAYMENTS: list[tuple[str, dict[str, Any], int, str | None, str]] = [
    ("open", {"payment_method": "pm_x"}, 404, "payment_method", "No such PaymentMethod: 'pm_x'"),
    ("open", {"payment_method": "{other_card}"}, 404, "payment_method", "No such PaymentMethod"),
    ("open", {"payment_method": "{card}"}, 400, "payment_method", "must be attached"),
    ("open", {"paid_out_of_band": "perhaps"}, 400, "paid_out_of_band", "Invalid boolean"),
    ("open", {"forgive": True}, 400, "forgive", "unknown parameter"),
    ("draft", {"payment_method": "pm_x"}, 404, "payment_method", "No such PaymentMethod: 'pm_x'"),
    ("draft", {"payment_method": "{failing_card}"}, 400, "payment_method", "must be attached"),
]


@pytest.mark.parametrize(("which", "given", "status", "param", "saying"), PAYMENTS)
def test_a_payment_that_cannot_be(
    shop: Shop, which: str, given: dict[str, Any], status: int, param: str | None, saying: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as raised:
        shop.client.v1.invoices.pay(shop.names[which], shop.filled(given))
    assert (raised.value.http_status, raised.value.param) == (status, param)
    assert saying in str(raised.value.user_message)


@pytest.mark.parametrize("name", ["in_x", "other_open"])
def test_an_invoice_that_is_not_there(shop: Shop, name: str) -> None:
    invoice = shop.names.get(name, name)
    invoices = shop.client.v1.invoices
    for call in (
        invoices.retrieve,
        invoices.pay,
        invoices.finalize_invoice,
        invoices.void_invoice,
        invoices.line_items.list,
    ):
        with pytest.raises(stripe.InvalidRequestError, match=f"No such invoice: '{invoice}'") as no:
            call(invoice)
        assert (no.value.http_status, no.value.code) == (404, "resource_missing")


PREVIEWS: list[tuple[dict[str, Any], int, str | None, str | None, str]] = [
    ({}, 400, "subscription", "parameter_missing", "You must give"),
    ({"customer": "cus_x"}, 404, "customer", "resource_missing", "No such customer: 'cus_x'"),
    ({"customer": "{deleted}"}, 404, "customer", "resource_missing", "No such customer"),
    ({"customer": "{other_customer}"}, 404, "customer", "resource_missing", "No such customer"),
    ({"customer": "{failing}"}, 400, "customer", "invoice_upcoming_none", "No upcoming"),
    (
        {"subscription": "{canceled}"},
        400,
        "subscription",
        "invoice_upcoming_none",
        "No upcoming invoices for subscription: {canceled}",
    ),
    (
        {"subscription": "{subscription}", "customer": "{failing}"},
        400,
        "subscription",
        None,
        "does not belong",
    ),
    (
        {"customer": "{customer}", "subscription_details": {"items": [{"price": "price_x"}]}},
        404,
        "subscription_details[items][0][price]",
        "resource_missing",
        "No such price: 'price_x'",
    ),
    (
        {
            "customer": "{customer}",
            "subscription_details": {"items": [{"price": "{usage}", "quantity": 1}]},
        },
        400,
        "subscription_details[items][0][quantity]",
        None,
        "usage_type is `metered`",
    ),
    (
        {
            "customer": "{customer}",
            "subscription_details": {"items": [{"price": "{fee}", "quantity": "NaN"}]},
        },
        400,
        "subscription_details[items][0][quantity]",
        "parameter_invalid_integer",
        "Invalid integer: NaN",
    ),
    (
        {
            "customer": "{customer}",
            "subscription_details": {"items": [{"price": "{dear}", "quantity": 10**9}]},
        },
        400,
        "subscription_details[items]",
        None,
        "is not an amount that can be billed",
    ),
    (
        {"subscription": "{subscription}", "subscription_details": {"items": [{"price": "{fee}"}]}},
        400,
        "subscription_details[items][0][price]",
        None,
        "the same price",
    ),
    (
        {"subscription": "{subscription}", "subscription_details": {"proration_date": 1}}
        | {"preview_mode": "recurring"},
        400,
        "subscription_details[proration_date]",
        None,
        "outside of the current period",
    ),
    ({"customer": "{customer}", "preview_mode": "all"}, 400, "preview_mode", None, "must be"),
]


@pytest.mark.parametrize(("given", "status", "param", "code", "saying"), PREVIEWS)
def test_a_preview_that_cannot_be(
    shop: Shop, given: dict[str, Any], status: int, param: str | None, code: str | None, saying: str
) -> None:
    with refused(param, code=code, status=status, saying=shop.filled(saying)):
        shop.client.v1.invoices.create_preview(shop.filled(given))


# ─── Usage ───────────────────────────────────────────────────────────────────────────────────


def event(payload: Any = None, **more: Any) -> dict[str, Any]:
    given = {"stripe_customer_id": "{customer}", "value": "1"} if payload is None else payload
    return {"event_name": "call", "payload": given} | more


def value(text: str) -> dict[str, Any]:
    return event({"stripe_customer_id": "{customer}", "value": text})


INVALID = "meter_event_invalid_value"
TOO_MANY_DIGITS = "meter_event_value_too_many_digits"

USAGE: list[tuple[dict[str, Any], int, str | None, str | None, str]] = [
    (
        event(event_name="unheard_of"),
        404,
        "event_name",
        "no_meter",
        "No active meter found for event name 'unheard_of'.",
    ),
    (event(event_name="old_call"), 400, "event_name", "archived_meter", "is inactive"),
    (
        {"payload": {"stripe_customer_id": "{customer}"}},
        400,
        "event_name",
        "parameter_missing",
        "",
    ),
    ({"event_name": "call"}, 400, "payload", "parameter_missing", ""),
    (event("all of it"), 400, "payload", None, "Invalid object"),
    (
        event({"value": "1"}),
        400,
        "payload[stripe_customer_id]",
        "meter_event_no_customer_defined",
        "Customer mapping key stripe_customer_id not found in payload.",
    ),
    (
        event({"stripe_customer_id": "{customer}"}),
        400,
        "payload[value]",
        "meter_event_value_not_found",
        "Value key value not found in payload.",
    ),
    *(
        (
            event({"stripe_customer_id": name, "value": "1"}),
            404,
            "payload[stripe_customer_id]",
            "resource_missing",
            f"No such customer: '{name}'",
        )
        for name in ("cus_x", "{deleted}", "{other_customer}")
    ),
    *(
        (value(text), 400, "payload[value]", INVALID, "")
        for text in (
            "NaN",
            "-Infinity",
            "inf",
            "one",
            "",
            " ",
            "1,5",
            "1_0",
            "٣",
            "0x1",
            "1e",
            "--1",
        )
    ),
    *(
        (value(text), 400, "payload[value]", None, "")
        for text in (
            "1000000000000001",
            "-1e16",
            "1e999",
            "1e9999999999",
            "1e-13",
            "0.0000000000001",
            "1.00000000000000000000000000000000001",
            "9" * 400,
        )
    ),
    (
        event(timestamp=1_600_000_000),
        400,
        "timestamp",
        "timestamp_too_far_in_past",
        "within the past 35 calendar days",
    ),
    (event(timestamp=0), 400, "timestamp", "timestamp_too_far_in_past", "35 calendar days"),
    (
        event(timestamp=4_000_000_000),
        400,
        "timestamp",
        "timestamp_in_future",
        "at most 5 minutes in the future",
    ),
    (event(timestamp=-1), 400, "timestamp", None, "Invalid timestamp: -1"),
    (event(timestamp=10**17), 400, "timestamp", None, "Invalid timestamp"),
    (event(timestamp="now"), 400, "timestamp", "parameter_invalid_integer", "Invalid integer: now"),
    (event(timestamp="1.5"), 400, "timestamp", "parameter_invalid_integer", "Invalid integer"),
    (
        event(identifier="known"),
        400,
        "identifier",
        "resource_already_exists",
        "An event already exists with identifier known.",
    ),
    (event(identifier=""), 400, "identifier", "parameter_invalid_empty", "empty string"),
    (event(identifier="x" * 101), 400, "identifier", None, "at most 100 characters"),
    (event(event_name="x" * 101), 400, "event_name", None, "at most 100 characters"),
    (event(customer="{customer}"), 400, "customer", "parameter_unknown", "unknown parameter"),
]


@pytest.mark.parametrize(
    ("given", "status", "param", "code", "saying"), USAGE, ids=lambda each: str(each)[-40:]
)
def test_usage_that_cannot_be(
    shop: Shop, given: dict[str, Any], status: int, param: str | None, code: str | None, saying: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as raised:
        shop.client.v1.billing.meter_events.create(shop.filled(given))
    error = raised.value
    assert (error.http_status, error.param) == (status, param), error.user_message
    assert error.code in (
        {INVALID, TOO_MANY_DIGITS} if code is None and param == "payload[value]" else {code}
    )
    assert shop.filled(saying) in str(error.user_message)


SUMMARIES: list[tuple[dict[str, Any], int, str, str]] = [
    ({"start_time": 0, "end_time": 60}, 400, "customer", "Missing required param"),
    ({"customer": "{customer}", "end_time": 60}, 400, "start_time", "Missing required param"),
    (
        {"customer": "cus_x", "start_time": 0, "end_time": 60},
        404,
        "customer",
        "No such customer: 'cus_x'",
    ),
    (
        {"customer": "{other_customer}", "start_time": 0, "end_time": 60},
        404,
        "customer",
        "No such customer",
    ),
    (
        {"customer": "{customer}", "start_time": 1, "end_time": 60},
        400,
        "start_time",
        "must be aligned with minute boundaries",
    ),
    (
        {
            "customer": "{customer}",
            "start_time": 0,
            "end_time": 60,
            "value_grouping_window": "hour",
        },
        400,
        "end_time",
        "must be aligned with hour boundaries",
    ),
    (
        {
            "customer": "{customer}",
            "start_time": 3600,
            "end_time": 86400,
            "value_grouping_window": "day",
        },
        400,
        "start_time",
        "must be aligned with day boundaries",
    ),
    (
        {"customer": "{customer}", "start_time": 120, "end_time": 120},
        400,
        "end_time",
        "end_time must be after start_time",
    ),
    (
        {
            "customer": "{customer}",
            "start_time": 0,
            "end_time": 3600,
            "value_grouping_window": "week",
        },
        400,
        "value_grouping_window",
        "must be",
    ),
    (
        {
            "customer": "{customer}",
            "start_time": 0,
            "end_time": 3600,
            "value_grouping_window": "hour",
            "starting_after": "mtrusg_x",
        },
        404,
        "starting_after",
        "No such meter event summary",
    ),
]


@pytest.mark.parametrize(("given", "status", "param", "saying"), SUMMARIES)
def test_a_summary_that_cannot_be(
    shop: Shop, given: dict[str, Any], status: int, param: str, saying: str
) -> None:
    summaries = shop.client.v1.billing.meters.event_summaries
    with pytest.raises(stripe.InvalidRequestError) as raised:
        summaries.list(shop.names["meter"], shop.filled(given))
    assert (raised.value.http_status, raised.value.param) == (status, param)
    assert saying in str(raised.value.user_message)


# ─── Lists and events ────────────────────────────────────────────────────────────────────────

LISTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("subscriptions", {"status": "happy"}, "status", "must be one of"),
    ("subscriptions", {"collection_method": "x"}, "collection_method", "must be"),
    ("subscriptions", {"limit": 0}, "limit", "greater than or equal to 1"),
    ("subscriptions", {"limit": 101}, "limit", "less than or equal to 100"),
    ("subscriptions", {"created": {"gte": "yesterday"}}, "created[gte]", "Invalid integer"),
    ("subscriptions", {"created": {"after": 1}}, "created[after]", "unknown parameter"),
    ("invoices", {"status": "happy"}, "status", "must be one of"),
    ("invoices", {"due_date": -1}, "due_date", "Invalid timestamp"),
    ("invoices", {"order": "asc"}, "order", "unknown parameter"),
    ("events", {"types": ["a"] * 21}, "types", "at most 20"),
    ("events", {"type": "x" * 101}, "type", "at most 100 characters"),
    ("events", {"delivery_success": "maybe"}, "delivery_success", "boolean"),
]


@pytest.mark.parametrize(("what", "given", "param", "saying"), LISTS)
def test_a_list_that_cannot_be(
    shop: Shop, what: str, given: dict[str, Any], param: str, saying: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as raised:
        getattr(shop.client.v1, what).list(given)
    assert (raised.value.http_status, raised.value.param) == (400, param)
    assert saying in str(raised.value.user_message)


def test_events_by_one_type_or_by_several(shop: Shop) -> None:
    with refused(None, saying="only specify one of these parameters: type, types"):
        shop.client.v1.events.list({"type": "invoice.paid", "types": ["invoice.paid"]})


@pytest.mark.parametrize("both", [{"starting_after": "a", "ending_before": "b"}])
def test_a_page_goes_one_way(shop: Shop, both: dict[str, str]) -> None:
    for what in ("subscriptions", "invoices", "events"):
        with pytest.raises(stripe.InvalidRequestError) as raised:
            getattr(shop.client.v1, what).list(both)
        assert raised.value.http_status == 400
        assert "only specify one of these parameters" in str(raised.value.user_message)
