"""CloudEvents 1.0: structured, batched, or binary with their attributes in headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from postpaid.api.usage_events import (
    IDENTIFIER_MAX,
    NAME_MAX,
    TEXT_MAX,
    Event,
    invalid_time,
    json_of,
    milliseconds_of,
    missing,
    one_by_one,
    payload_of,
    shown,
    text_of,
)
from postpaid.billing.check_usage import Reported
from postpaid.core.errors import BillingError, InvalidRequest

CUSTOMER_KEY = "stripe_customer_id"  # what the subject of a CloudEvent stands for


def cloud_event(body: bytes) -> Reported:
    """One event with its data inside (structured)."""
    return one_by_one([json_of(body)], cloud_event_of)


def cloud_events(body: bytes) -> Reported:
    """An array of such (batched)."""
    found = json_of(body)
    if not isinstance(found, list):
        raise InvalidRequest("The body must be a JSON array of CloudEvents.", code="body_invalid")
    return one_by_one(found, cloud_event_of)


def binary_cloud_event(body: bytes, headers: Mapping[str, str], media_type: str) -> Reported:
    """One event whose attributes are headers (``ce-id``), and whose data is the body."""
    attributes: dict[str, Any] = {}
    for name, text in headers.items():
        if name.lower().startswith("ce-"):
            try:
                attributes[name.lower()[3:]] = unquote(text, errors="strict")
            except UnicodeDecodeError:
                raise InvalidRequest(
                    f"Invalid header: {name} is not percent-encoded UTF-8", param=name
                ) from None
    if media_type:
        attributes["datacontenttype"] = media_type
    if body:  # of another type, it is refused by its type
        attributes["data"] = json_of(body) if _is_json(media_type or "application/json") else {}
    return one_by_one([attributes], cloud_event_of)


def is_binary(headers: Mapping[str, str]) -> bool:
    return any(f"ce-{name}" in headers for name in ("specversion", "id", "type", "source"))


def cloud_event_of(found: Any) -> Event:
    """A CloudEvent as ours. Raises ``InvalidRequest``.

    Its ``type`` is the name, its ``id`` the identifier, its ``data`` the payload, and its
    ``subject`` the customer where the payload does not say. Its source, and attributes that
    CloudEvents leaves to others, are not kept.
    """
    if isinstance(found, BillingError):
        raise found
    if not isinstance(found, dict):
        raise InvalidRequest("A CloudEvent must be an object.", code="event_invalid")
    for name in ("specversion", "id", "source", "type", "data"):
        if found.get(name) is None:
            if name == "data" and "data_base64" in found:
                raise InvalidRequest(
                    "The data must be a JSON object: data_base64 is not taken.", param="data_base64"
                )
            raise missing(name)
    if text_of(found["specversion"], TEXT_MAX, ("specversion",)) != "1.0":
        raise InvalidRequest(
            f"Invalid specversion: {shown(found['specversion'])}; must be 1.0",
            param="specversion",
            code="specversion_invalid",
        )
    text_of(found["source"], TEXT_MAX, ("source",))
    content_type = found.get("datacontenttype")
    if content_type is not None and not _is_json(content_type):
        raise InvalidRequest(
            f"Invalid datacontenttype: {shown(content_type)}; must be application/json",
            param="datacontenttype",
            code="content_type_invalid",
        )
    time = found.get("time")
    if time is not None and type(time) is not str:
        raise invalid_time(time, "time")
    payload = payload_of(found["data"], "data")
    subject = found.get("subject")
    if subject is not None:
        payload.setdefault(CUSTOMER_KEY, text_of(subject, TEXT_MAX, ("subject",)))
    return Event(
        text_of(found["type"], NAME_MAX, ("type",)),
        payload,
        text_of(found["id"], IDENTIFIER_MAX, ("id",)),
        milliseconds_of(time, "time"),
    )


def _is_json(media_type: Any) -> bool:
    if not isinstance(media_type, str):
        return False
    plain = media_type.partition(";")[0].strip().lower()
    return plain == "application/json" or plain.endswith("+json")
