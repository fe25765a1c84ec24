"""Create payment methods, and attach them to customers and detach them again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from postpaid.billing import gateways, manage_payment_gateways
from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.check_blocked import check_customer_not_blocked, check_method_not_blocked
from postpaid.billing.perform import Act
from postpaid.core.errors import Conflict, InvalidRequest, NotFound, Path, PaymentFailed
from postpaid.core.values import replace
from postpaid.outside.gateways import test as test_gateway
from postpaid.outside.gateways import test_cards
from postpaid.outside.gateways.test_cards import TestBankAccount, TestCard
from postpaid.storage import customers, payment_methods
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod


@dataclass(frozen=True, slots=True)
class NewCard:
    """A card as a customer types it: its number is looked up, and forgotten."""

    number: str
    exp_month: int
    exp_year: int


@dataclass(frozen=True, slots=True)
class NewBankAccount:
    """A bank account as a customer types it: its number is looked up, and forgotten."""

    routing_number: str
    number: str
    account_type: str = "checking"
    account_holder_type: str = "individual"


@dataclass(frozen=True, slots=True)
class KnownToGateway:
    """What a gateway knows already, by ``token``; ``shown`` is what may be shown of it.

    Without a ``gateway`` it is the account's default one.
    """

    type: str
    gateway: str | None
    token: str
    shown: Mapping[str, Any]


def create_payment_method(
    conn: Connection,
    act: Act,
    means: NewCard | NewBankAccount | KnownToGateway | str,
    *,
    billing_details: Mapping[str, Any],
    metadata: Mapping[str, str],
) -> PaymentMethod:
    """Add a payment method that is nobody's yet, of what was typed, of a token such as
    ``tok_visa``, or of what a gateway knows.

    Raises ``PaymentFailed`` for a card that cannot be, and ``NotFound`` for an unknown token or
    gateway.
    """
    match means:
        case NewCard() | NewBankAccount():
            method = of_typed(act, means)
        case KnownToGateway():
            method = _of_gateway(conn, act, means)
        case token:
            known = _test_card(act, token) if token.startswith("tok_") else None
            if known is None:
                raise NotFound.of("token", token, param=("card", "token"))
            method = _of_card(act, known)
    method = replace(method, billing_details=billing_details, metadata=metadata)
    payment_methods.insert(conn, act.account_id, method)
    return method


def attach_payment_method(
    conn: Connection, act: Act, method_id: str, customer_id: str
) -> PaymentMethod:
    """Make a payment method the customer's; of a test card's id, a new one.

    The gateway is asked before (see ``check_methods``). Raises ``NotFound``, ``InvalidRequest``
    when the payment method is another customer's, and ``ActionNotAllowed`` when it or the customer
    is blocked.
    """
    customer = customers.lock(conn, act.account_id, [customer_id]).get(customer_id)
    if customer is None or customer.deleted_at:
        raise NotFound.of("customer", customer_id, param="customer")
    check_customer_not_blocked(customer)
    act = act.at(customer.now(act.now), customer.clock_id)
    return attach(conn, act, take(conn, act, method_id, param="payment_method"), customer)


def take(conn: Connection, act: Act, method_id: str, *, param: Path | str) -> PaymentMethod:
    """The payment method, locked; of a test card's id, a new one.

    Raises ``NotFound``, ``InvalidRequest`` when its gateway is there no more, and
    ``ActionNotAllowed`` when it is blocked.
    """
    method = of_test_token(act, method_id)
    if method is not None:
        payment_methods.insert(conn, act.account_id, method)
        return method
    found = payment_methods.lock(conn, act.account_id, method_id)
    if found is None:
        raise NotFound.of("PaymentMethod", method_id, param=param)
    check_method_not_blocked(found, param=param)
    gateways.hold(conn, act, [found.gateway], param=param)
    return found


def attach(conn: Connection, act: Act, before: PaymentMethod, customer: Customer) -> PaymentMethod:
    """Make a payment method, which the caller has locked, the customer's, who is locked too."""
    if before.customer_id == customer.id:
        return before
    if before.customer_id is not None:
        raise InvalidRequest(
            "The payment method you provided has already been attached to a customer.",
            param="payment_method",
        )
    after = replace(before, customer_id=customer.id, detached_at=None)
    payment_methods.update(conn, act.account_id, after)
    announce(
        conn, act, [Announcement("payment_method.attached", "payment_method", after.id, after)]
    )
    return after


def detach_payment_method(conn: Connection, act: Act, method_id: str) -> PaymentMethod:
    """Take a payment method away from its customer, as the default too.

    Raises ``NotFound``, and ``InvalidRequest`` when it is nobody's.
    """
    # Read. The customer is locked first, and only then is anything believed.
    before, customer = lock_with_owner(conn, act, method_id)
    if customer is None:
        raise InvalidRequest(
            "The payment method you provided is not attached to a customer, so it cannot be "
            "detached.",
            param="payment_method",
        )
    act = act.at(customer.now(act.now), customer.clock_id)

    # Decide.
    after = replace(before, customer_id=None, detached_at=act.now)
    said = [
        Announcement(
            "payment_method.detached", "payment_method", after.id, after, changes(before, after)
        )
    ]

    # Write.
    payment_methods.update(conn, act.account_id, after)
    if customer.default_payment_method_id == method_id:
        without = replace(customer, default_payment_method_id=None)
        customers.update(conn, act.account_id, without)
        said.append(
            Announcement(
                "customer.updated", "customer", without.id, without, changes(customer, without)
            )
        )
    announce(conn, act, said)
    return after


def detach_all(conn: Connection, act: Act, customer_ids: Sequence[str]) -> None:
    """Take away all payment methods of these customers, who are locked: they are being deleted."""
    before = payment_methods.lock_of_customers(conn, act.account_id, customer_ids)
    after = [replace(each, customer_id=None, detached_at=act.now) for each in before]
    payment_methods.detach_many(conn, act.account_id, [each.id for each in before], now=act.now)
    announce(
        conn,
        act,
        [
            Announcement(
                "payment_method.detached", "payment_method", now.id, now, changes(then, now)
            )
            for then, now in zip(before, after, strict=True)
        ],
    )


def update_payment_method(
    conn: Connection, act: Act, method_id: str, change: Callable[[PaymentMethod], PaymentMethod]
) -> PaymentMethod:
    """Make an attached payment method what ``change`` makes of it, once it is locked.

    Raises ``NotFound``, and ``InvalidRequest`` when it is nobody's.
    """
    before = payment_methods.lock(conn, act.account_id, method_id)
    if before is None:
        raise NotFound.of("PaymentMethod", method_id, param="payment_method")
    if before.customer_id is None:
        raise InvalidRequest(
            "You must attach this payment method to a customer before you can update it.",
            param="payment_method",
        )
    customer = customers.load(conn, act.account_id, [before.customer_id])[before.customer_id]
    act = act.at(customer.now(act.now), customer.clock_id)
    after = change(before)
    if after != before:
        payment_methods.update(conn, act.account_id, after)
        announce(conn, act, [payment_method_updated(before, after)])
    return after


def payment_method_updated(before: PaymentMethod, after: PaymentMethod) -> Announcement:
    """That the payment method changed, and from what."""
    return Announcement(
        "payment_method.updated", "payment_method", after.id, after, changes(before, after)
    )


def lock_with_owner(
    conn: Connection, act: Act, method_id: str
) -> tuple[PaymentMethod, Customer | None]:
    """The payment method as it is once its customer and itself are locked, and the customer.

    Raises ``NotFound``, and ``Conflict`` when it has just become someone else's.
    """
    found = payment_methods.find(conn, act.account_id, method_id)
    if found is None:
        raise NotFound.of("PaymentMethod", method_id, param="payment_method")
    ids = [found.customer_id] if found.customer_id else []
    owners = customers.lock(conn, act.account_id, ids) if ids else {}
    method = payment_methods.lock(conn, act.account_id, method_id)
    assert method is not None, "a payment method stays for ever"
    if method.customer_id is None:
        return method, None
    if method.customer_id not in owners:
        raise Conflict("This payment method has just got its customer; try again.")
    return method, owners[method.customer_id]


# ─── What gateways know ──────────────────────────────────────────────────────────────────────


def _of_gateway(conn: Connection, act: Act, known: KnownToGateway) -> PaymentMethod:
    """A payment method of something at a gateway, of which only that gateway knows what it is."""
    gateway = manage_payment_gateways.check_token(conn, act, known.gateway, known.token)
    return PaymentMethod(
        id=act.new_id("pm"),
        customer_id=None,
        type=known.type,
        gateway=gateway,
        gateway_token=known.token,
        card=known.shown if known.type == "card" else None,
        us_bank_account=known.shown if known.type == "us_bank_account" else None,
        created_at=act.now,
    )


# ─── Cards and bank accounts of the test gateway ─────────────────────────────────────────────


def of_test_token(act: Act, token: str) -> PaymentMethod | None:
    """A payment method of ``pm_card_visa``, ``pm_usBankAccount_success`` and the like, or None."""
    if token.startswith("pm_card_") and (card := _test_card(act, token)):
        return _of_card(act, card)
    account = None if act.livemode else test_cards.bank_account_of_token(token)
    return None if account is None else _of_test_account(act, account)


def of_typed(act: Act, means: NewCard | NewBankAccount) -> PaymentMethod:
    """A payment method of what was typed, not written.

    Raises ``PaymentFailed`` for a card that cannot be, and ``InvalidRequest`` for such a bank
    account.
    """
    return _of_number(act, means) if isinstance(means, NewCard) else _of_bank_account(act, means)


def _of_bank_account(act: Act, typed: NewBankAccount) -> PaymentMethod:
    """Raises ``InvalidRequest`` for one that the test gateway does not have."""
    account = (
        None
        if act.livemode
        else test_cards.bank_account_of_number(typed.routing_number, typed.number)
    )
    if account is None:
        raise InvalidRequest(
            "Only the test gateway's own bank account numbers are taken.",
            param=("us_bank_account", "account_number"),
            code="account_number_invalid",
        )
    method = _of_test_account(act, account)
    shown = {
        **(method.us_bank_account or {}),
        "account_type": typed.account_type,
        "account_holder_type": typed.account_holder_type,
    }
    return replace(method, us_bank_account=shown)


def _of_test_account(act: Act, account: TestBankAccount) -> PaymentMethod:
    return PaymentMethod(
        id=act.new_id("pm"),
        customer_id=None,
        type="us_bank_account",
        gateway=test_gateway.NAME,
        gateway_token=account.token,
        card=None,
        us_bank_account={
            "last4": account.last4,
            "routing_number": account.routing_number,
            "fingerprint": account.fingerprint,
            "bank_name": "TEST BANK",
            "account_type": "checking",
            "account_holder_type": "individual",
        },
        created_at=act.now,
    )


def _test_card(act: Act, token: str) -> TestCard | None:
    """In live mode there are no test cards."""
    return None if act.livemode else test_cards.card_of_token(token)


def _of_number(act: Act, card: NewCard) -> PaymentMethod:
    """Raises ``PaymentFailed``, in Stripe's words, for a card that cannot be."""
    if not _has_check_digit(card.number):
        raise PaymentFailed(
            "Your card number is incorrect.", code="incorrect_number", decline_code=None
        )
    if (card.exp_year, card.exp_month) < (act.now.year, act.now.month):
        field = "year" if card.exp_year < act.now.year else "month"
        raise PaymentFailed(
            f"Your card's expiration {field} is invalid.",
            code=f"invalid_expiry_{field}",
            decline_code=None,
        )
    known = None if act.livemode else test_cards.card_of_number(card.number)
    if known is None:
        raise PaymentFailed(
            "Your card was declined. Only the test gateway's own card numbers are taken.",
            code="card_declined",
            decline_code="test_mode_live_card",
        )
    return _of_card(act, known, exp_month=card.exp_month, exp_year=card.exp_year)


def _of_card(
    act: Act, card: TestCard, *, exp_month: int | None = None, exp_year: int | None = None
) -> PaymentMethod:
    """A payment method of the card; unless told otherwise it expires in a year (Stripe)."""
    return PaymentMethod(
        id=act.new_id("pm"),
        customer_id=None,
        type="card",
        gateway=test_gateway.NAME,
        gateway_token=card.token,
        card={
            "brand": card.brand,
            "last4": card.last4,
            "exp_month": exp_month or act.now.month,
            "exp_year": exp_year or act.now.year + 1,
            "funding": card.funding,
            "country": card.country,
            "fingerprint": card.fingerprint,
        },
        created_at=act.now,
    )


def _has_check_digit(number: str) -> bool:
    """Whether the number ends in its check digit (Luhn), as every card's does."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
