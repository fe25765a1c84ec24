"""What an account says of itself: a person's or a business's names, and how to reach it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import model_validator

from postpaid.api.frame import addresses
from postpaid.api.frame.addresses import Address
from postpaid.api.frame.customers import Day, Email, SocialSecurityNumber
from postpaid.api.frame.params import FrameParams
from postpaid.api.params import Text, Unsettable
from postpaid.core.errors import InvalidRequest
from postpaid.storage.customers import Customer

Word = Annotated[str, Text(200)]

# Of a person's name, in the order in which it is said.
NAMES = ("first_name", "middle_name", "last_name", "suffix")
OF_BUSINESS = ("business_type", "website", "mcc", "naics")  # which a customer has no field for


# ─── Parameters ──────────────────────────────────────────────────────────────────────────────


class Name(FrameParams):
    first_name: Word | None = None
    middle_name: Unsettable[Word] = None
    last_name: Word | None = None
    suffix: Unsettable[Word] = None


class Phone(FrameParams):
    """A number, with or without the code of its country; or all of it as one text."""

    number: Annotated[str, Text(100)]
    country_code: Unsettable[Annotated[str, Text(10)]] = None

    @model_validator(mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return {"number": value} if isinstance(value, str) else value


class AccountAddress(Address):
    """An address; Frame's accounts say ``line1`` where its customers say ``line_1``."""

    @model_validator(mode="before")
    @classmethod
    def _lines(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        names = {"line1": "line_1", "line2": "line_2"}
        return {names.get(name, name): part for name, part in value.items()}


class Individual(FrameParams):
    name: Name | None = None
    email: Email | None = None
    phone: Unsettable[Phone] = None
    address: Unsettable[AccountAddress] = None
    dob: Unsettable[Day] = None
    ssn: Unsettable[SocialSecurityNumber] = None  # taken, and kept nowhere


class Business(FrameParams):
    legal_business_name: Annotated[str, Text(256)] | None = None
    doing_business_as: Unsettable[Annotated[str, Text(256)]] = None
    business_type: Unsettable[Word] = None
    email: Email | None = None
    website: Unsettable[Annotated[str, Text(2000)]] = None
    description: Unsettable[Annotated[str, Text(5000)]] = None
    phone: Unsettable[Phone] = None
    address: Unsettable[AccountAddress] = None
    ein: Unsettable[Annotated[str, Text(20)]] = None  # taken, and kept nowhere
    mcc: Unsettable[Annotated[str, Text(10)]] = None
    naics: Unsettable[Annotated[str, Text(10)]] = None


class Profile(FrameParams):
    individual: Individual | None = None
    business: Business | None = None


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def from_frame(
    params: Profile, before: Customer | None, profile: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is given, as a ``Customer``'s fields, and as what its ``profile`` keeps of it."""
    if params.business is not None:
        return _business_from_frame(params.business, before, profile)
    if params.individual is not None:
        return _individual_from_frame(params.individual, before, profile)
    return {}, {}


def _individual_from_frame(
    said: Individual, before: Customer | None, profile: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    fields, kept = _reached(said)
    given = said.given()
    if said.name is not None:
        was = name_of(before, profile) if before else dict.fromkeys(NAMES)
        name = {**was, **said.name.given()}
        whole = _joined(name)
        if not whole:
            raise InvalidRequest(
                "A person has a first_name or a last_name.",
                param=("profile", "individual", "name"),
            )
        kept["name"] = name
        fields |= {"name": whole, "individual_name": whole}
    if "dob" in given:
        fields["date_of_birth"] = said.dob
    return fields, kept


def _business_from_frame(
    said: Business, before: Customer | None, profile: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    fields, kept = _reached(said)
    given = said.given()
    if "description" in given:
        fields["description"] = said.description
    if "legal_business_name" in given or "doing_business_as" in given:
        legal, other = _business_names(before) if before else (None, None)
        legal = said.legal_business_name or legal
        other = said.doing_business_as if "doing_business_as" in given else other
        fields |= {"business_name": legal, "name": other or legal}
    kept |= {name: given[name] for name in OF_BUSINESS if name in given}
    return fields, kept


def _reached(said: Individual | Business) -> tuple[dict[str, Any], dict[str, Any]]:
    """How the account is reached, as a customer's fields and what else its profile keeps."""
    given = said.given()
    fields: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    if said.email is not None:
        fields["email"] = said.email
    if "phone" in given:
        phone = said.phone and {
            "number": said.phone.number,
            "country_code": said.phone.country_code,
        }
        kept["phone"] = phone
        fields["phone"] = phone and _dialled(phone)
    if "address" in given:
        fields["address"] = addresses.from_frame(said.address)
    return fields, kept


def to_frame(account: Customer, profile: Mapping[str, Any]) -> dict[str, Any]:
    """The profile, of what the customer is now: it may have been changed by another name."""
    reached = {
        "email": account.email,
        "phone": _phone_to_frame(account, profile),
        "address": _address_to_frame(account),
    }
    if profile["type"] == "business":
        legal, other = _business_names(account)
        return {
            "individual": None,
            "business": {
                "legal_business_name": legal,
                "doing_business_as": other,
                "description": account.description,
                **reached,
                **{name: profile.get(name) for name in OF_BUSINESS},
            },
        }
    born = account.date_of_birth
    return {
        "individual": {
            "name": name_of(account, profile),
            **reached,
            "dob": None if born is None else born.isoformat(),
        },
        "business": None,
    }


def name_of(account: Customer, profile: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a person's name: as they were given, unless it has another name by now."""
    kept = profile.get("name")
    if kept is not None and _joined(kept) == account.name:
        return dict(kept)
    first, _, last = (account.name or "").rpartition(" ")
    if not first:
        first, last = last, ""
    return {
        "first_name": first or None,
        "middle_name": None,
        "last_name": last or None,
        "suffix": None,
    }


def _joined(name: Mapping[str, Any]) -> str:
    return " ".join(part for key in NAMES if (part := name.get(key)))


def _business_names(account: Customer) -> tuple[str | None, str | None]:
    """By what the law knows a business, and by what others do if that is another name."""
    legal = account.business_name or account.name
    return legal, account.name if account.name != legal else None


def _dialled(phone: Mapping[str, Any]) -> str:
    number, code = str(phone["number"]), phone["country_code"]
    return number if code is None or number.startswith("+") else f"+{code.lstrip('+')}{number}"


def _phone_to_frame(account: Customer, profile: Mapping[str, Any]) -> dict[str, Any] | None:
    if account.phone is None:
        return None
    kept = profile.get("phone")
    if kept is not None and _dialled(kept) == account.phone:
        return {"number": kept["number"], "country_code": kept["country_code"]}
    return {"number": account.phone, "country_code": None}


def _address_to_frame(account: Customer) -> dict[str, Any] | None:
    """Under both of the names that Frame has for a line."""
    shown = addresses.to_frame(account.address)
    return shown and {**shown, "line1": shown["line_1"], "line2": shown["line_2"]}
