"""Accounts, as Frame shows them: customers that say of themselves whether they are a person or a
business.

What of an account's profile a customer has a field for is kept there, for all to see: its name,
email, phone, address and date of birth. The customer's ``profile`` keeps the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import MaxLen
from pydantic import AfterValidator

from postpaid.api.frame import account_profiles, payment_methods
from postpaid.api.frame.account_profiles import Profile
from postpaid.api.frame.customers import CustomerSearchParams
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import FrameParams, ListParams, Metadata, When, merge_metadata
from postpaid.api.frame.payment_methods import PaymentMethodListOfOne
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.instants import iso, seconds
from postpaid.api.params import Boolean, Id, Text, Unsettable, refuse
from postpaid.billing import block, manage_customers
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.storage import customer_search, customers
from postpaid.storage.customer_search import CustomerSearch
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

routes = Routes("Accounts")

Type = Literal["individual", "business"]
Status = Literal["pending", "active", "restricted", "disabled"]


# ─── Parameters ──────────────────────────────────────────────────────────────────────────────


def _capability(text: str) -> str:
    if not text.replace("_", "").isalnum() or not text.isascii():
        raise refuse(f"Invalid capability: {text[:40]}; it is a word like card_send")
    return text


Capabilities = Annotated[list[Annotated[str, Text(64), AfterValidator(_capability)]], MaxLen(20)]


class TermsOfService(FrameParams):
    accepted_at: When | None = None
    ip_address: Annotated[str, Text(45)] | None = None
    user_agent: Annotated[str, Text(500)] | None = None


class AccountUpdate(FrameParams):
    external_id: Unsettable[Annotated[str, Text(255)]] = None
    profile: Profile | None = None
    terms_of_service: TermsOfService | None = None
    metadata: Metadata = None


class AccountCreate(AccountUpdate):
    type: Type
    capabilities: Capabilities | None = None
    test_clock: Id | None = None


class AccountList(ListParams):
    status: Status | None = None
    type: Type | None = None
    external_id: Annotated[str, Text(255)] | None = None
    include_disabled: Boolean = False
    test_clock: Id | None = None

    @property
    def search(self) -> CustomerSearch:
        deleted: bool | None = self.status == "disabled"
        if self.status is None and self.include_disabled:
            deleted = None
        living = self.status in ("pending", "active")
        return CustomerSearch(
            deleted=deleted,
            blocked={"restricted": True, "pending": False, "active": False}.get(self.status or ""),
            has_email=self.status == "active" if living else None,
            clock_id=self.test_clock,
        )


class AccountSearch(CustomerSearchParams):
    type: Type | None = None
    external_id: Annotated[str, Text(255)] | None = None


class CapabilitiesRequest(FrameParams):
    capabilities: Capabilities


# ─── Routes ──────────────────────────────────────────────────────────────────────────────────


@routes.post("/v1/accounts", status=201)
def create(call: Call, params: AccountCreate) -> dict[str, Any]:
    """Create an account."""
    fields = from_frame(params, None, params.type)
    fields["profile"] = _requested(call.act, fields["profile"], params.capabilities or [])
    if params.test_clock is not None:
        fields["clock_id"] = params.test_clock

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_customers.create_customer(conn, call.act, fields)
        return to_frame(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/accounts")
def list_(call: Call, params: AccountList) -> dict[str, Any]:
    """List accounts, newest first; those that are disabled only when asked for."""
    return _list(
        call,
        params,
        "/v1/accounts",
        params.search,
        type=params.type,
        external_id=params.external_id,
    )


@routes.get("/v1/accounts/search")
def search(call: Call, params: AccountSearch) -> dict[str, Any]:
    """Search accounts by parts of what they are called, newest first."""
    return _list(
        call,
        params,
        "/v1/accounts/search",
        params.search,
        type=params.type,
        external_id=params.external_id,
    )


@routes.get("/v1/accounts/{account}")
def retrieve(call: Call, account: str) -> dict[str, Any]:
    """Retrieve an account, also one that is disabled."""

    def read(conn: Connection) -> dict[str, Any]:
        return to_frame(_find(conn, call.act, account), livemode=call.act.livemode)

    return call.read(read)


@routes.patch("/v1/accounts/{account}")
def update(call: Call, params: AccountUpdate, account: str) -> dict[str, Any]:
    """Update an account; of its profile and its metadata what is given."""

    def change(before: Customer) -> Customer:
        return replace(before, **from_frame(params, before, type_of(before)))

    return _update(call, account, change)


@routes.delete("/v1/accounts/{account}")
def disable(call: Call, account: str) -> dict[str, Any]:
    """Disable an account for good: its subscriptions end at once, its invoices stay."""

    def write(conn: Connection) -> dict[str, Any]:
        deleted = manage_customers.delete_customer(conn, call.act, account)
        return {**to_frame(deleted, livemode=call.act.livemode), "deleted": True}

    return call.write(write)


@routes.post("/v1/accounts/{account}/restrict")
def restrict(call: Call, account: str) -> dict[str, Any]:
    """Restrict an account: it is sold nothing more, and what it has goes on."""
    return _block(call, account, blocked=True)


@routes.post("/v1/accounts/{account}/unrestrict")
def unrestrict(call: Call, account: str) -> dict[str, Any]:
    """Let a restricted account be sold things again."""
    return _block(call, account, blocked=False)


@routes.get("/v1/accounts/{account}/payment_methods")
def list_payment_methods(
    call: Call, params: PaymentMethodListOfOne, account: str
) -> dict[str, Any]:
    """List an account's payment methods, newest first."""
    url = f"/v1/accounts/{account}/payment_methods"
    return payment_methods.list_of(call, params, url, owner_id=account)


@routes.get("/v1/accounts/{account}/capabilities")
def list_capabilities(call: Call, account: str) -> list[dict[str, Any]]:
    """List an account's capabilities: all of them, and no page."""

    def read(conn: Connection) -> dict[str, Any]:
        return to_frame(_find(conn, call.act, account), livemode=call.act.livemode)

    shown: list[dict[str, Any]] = call.read(read)["capabilities"]
    return shown


@routes.post("/v1/accounts/{account}/capabilities")
def request_capabilities(
    call: Call, params: CapabilitiesRequest, account: str
) -> list[dict[str, Any]]:
    """Request capabilities for an account. Nobody is verified here, so they are active at once."""

    def change(before: Customer) -> Customer:
        profile = before.profile or _blank(type_of(before))
        return replace(before, profile=_requested(call.act, profile, params.capabilities))

    shown: list[dict[str, Any]] = _update(call, account, change)["capabilities"]
    return shown


@routes.get("/v1/accounts/{account}/capabilities/{name}")
def retrieve_capability(call: Call, account: str, name: str) -> dict[str, Any]:
    """Retrieve one capability of an account, by its name."""

    def read(conn: Connection) -> dict[str, Any]:
        return _capability_to_frame(_capability_of(_find(conn, call.act, account), name))

    return call.read(read)


@routes.delete("/v1/accounts/{account}/capabilities/{name}")
def disable_capability(call: Call, account: str, name: str) -> dict[str, Any]:
    """Disable one capability of an account, by its name."""

    def change(before: Customer) -> Customer:
        kept = _capability_of(before, name)
        profile = before.profile or {}
        off = {**kept, "status": "disabled", "updated_at": iso(before.now(call.act.now))}
        others = [off if each is kept else each for each in profile["capabilities"]]
        return replace(before, profile={**profile, "capabilities": others})

    def write(conn: Connection) -> dict[str, Any]:
        updated = manage_customers.update_customer(conn, call.act, account, change)
        return _capability_to_frame(_capability_of(updated, name))

    return call.write(write)


def _list(
    call: Call,
    params: ListParams,
    url: str,
    search: CustomerSearch,
    *,
    type: str | None,
    external_id: str | None,
) -> dict[str, Any]:
    def read(conn: Connection) -> dict[str, Any]:
        rows = customer_search.find_with_profile(
            conn, call.act.account_id, params.rows, search, type=type, external_id=external_id
        )
        return listing(
            url,
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="accounts",
        )

    return call.read(read)


def _update(call: Call, account_id: str, change: Any) -> dict[str, Any]:
    def write(conn: Connection) -> dict[str, Any]:
        updated = manage_customers.update_customer(conn, call.act, account_id, change)
        return to_frame(updated, livemode=call.act.livemode)

    return call.write(write)


def _block(call: Call, account_id: str, *, blocked: bool) -> dict[str, Any]:
    def write(conn: Connection) -> dict[str, Any]:
        after = block.block_customer(conn, call.act, account_id, blocked=blocked)
        return to_frame(after, livemode=call.act.livemode)

    return call.write(write)


def _find(conn: Connection, act: Act, account_id: str) -> Customer:
    """The account, or the customer as one. Raises ``NotFound``, also for a customer deleted."""
    found = customers.find(conn, act.account_id, account_id)
    if found is None or (found.deleted_at is not None and found.profile is None):
        raise NotFound.of("account", account_id)
    return found


# ─── Capabilities ────────────────────────────────────────────────────────────────────────────


def _requested(act: Act, profile: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The profile with the capabilities among its own, each once and active."""
    now = iso(act.now)
    kept = {each["name"]: each for each in profile["capabilities"]}
    for name in names:
        before = kept.get(name) or {"id": act.new_id("cap"), "name": name, "created_at": now}
        if before.get("status") != "active":
            kept[name] = {**before, "status": "active", "updated_at": now}
    return {**profile, "capabilities": list(kept.values())}


def _capability_of(account: Customer, name: str) -> Mapping[str, Any]:
    """Raises ``NotFound`` for one that was never requested."""
    for each in (account.profile or {}).get("capabilities", ()):
        if each["name"] == name:
            found: Mapping[str, Any] = each
            return found
    raise NotFound.of("capability", name, param="name")


def _capability_to_frame(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": kept["id"],
        "object": "capability",
        "name": kept["name"],
        "status": kept["status"],
        "disabled_reason": "requested" if kept["status"] == "disabled" else None,
        "requirements": [],
        "created_at": kept["created_at"],
        "updated_at": kept["updated_at"],
    }


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _blank(type: str) -> dict[str, Any]:
    return {"type": type, "external_id": None, "terms_of_service": None, "capabilities": []}


def type_of(account: Customer) -> str:
    """Whether it is a person or a business; a customer who does not say is a person."""
    return str((account.profile or {}).get("type", "individual"))


def from_frame(params: AccountUpdate, before: Customer | None, type: str) -> dict[str, Any]:
    """The fields that are given, by a ``Customer``'s names; ``before`` is what it is so far.

    A customer becomes an account when it is given more than metadata. Raises ``InvalidRequest`` for
    the profile of another type.
    """
    given = params.given()
    fields: dict[str, Any] = {}
    profile = {**_blank(type), **((before.profile if before else None) or {})}
    if "external_id" in given:
        profile["external_id"] = params.external_id
    if params.terms_of_service is not None:
        accepted_at = params.terms_of_service.accepted_at
        profile["terms_of_service"] = {
            "accepted_at": accepted_at and iso(accepted_at),
            "ip_address": params.terms_of_service.ip_address,
            "user_agent": params.terms_of_service.user_agent,
        }
    if params.profile is not None:
        other = "business" if type == "individual" else "individual"
        if getattr(params.profile, other) is not None:
            raise InvalidRequest(f"The account is of type {type}.", param=("profile", other))
        said, told = account_profiles.from_frame(params.profile, before, profile)
        fields |= said
        profile |= told
    if before is None or set(given) - {"metadata"}:
        fields["profile"] = profile
    if "metadata" in given:
        fields["metadata"] = merge_metadata(before.metadata if before else {}, params.metadata)
    return fields


def render_many(conn: Connection, act: Act, shown: Sequence[Customer]) -> list[dict[str, Any]]:
    return [to_frame(each, livemode=act.livemode) for each in shown]


def to_frame(account: Customer, *, livemode: bool) -> dict[str, Any]:
    """An account; or a customer, as the account that it would be."""
    profile = {**_blank(type_of(account)), **(account.profile or {})}
    return {
        "id": account.id,
        "object": "account",
        "type": profile["type"],
        "status": _status(account),
        "external_id": profile["external_id"],
        "profile": account_profiles.to_frame(account, profile),
        "capabilities": [_capability_to_frame(each) for each in profile["capabilities"]],
        "terms_of_service": profile["terms_of_service"],
        "test_clock": account.clock_id,
        "metadata": account.metadata,
        "livemode": livemode,
        "created": seconds(account.created_at),
        "updated": seconds(account.created_at),
    }


def _status(account: Customer) -> Status:
    if account.deleted_at is not None:
        return "disabled"
    if account.blocked_at is not None:
        return "restricted"
    return "pending" if account.email is None else "active"
