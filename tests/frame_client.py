"""A client of Frame's API as its own are: JSON in, JSON out, an exception for what failed."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx

from serving import plain_http


class FrameError(Exception):
    """An answer that is no success."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.body: dict[str, Any] = response.json()
        self.code: str = self.body["code"]
        self.message: str = self.body["message"]
        super().__init__(f"{self.status} {self.code}: {self.message}")


class Frame:
    """Speaks to the server under its ``/frame``; paths begin with ``/v1``."""

    def __init__(self, server: str, key: str) -> None:
        self.http = plain_http(server + "/frame", key)
        self.last: httpx.Response | None = None

    def __enter__(self) -> Frame:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def request(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **query: Any
    ) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        content = b"" if body is None else json.dumps(body, default=_number).encode()
        response = self.http.request(method, path, content=content, headers=headers, params=query)
        self.last = response
        if response.status_code not in (200, 201, 202, 204):
            raise FrameError(response)
        found: dict[str, Any] = response.json()
        return found

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self.request("GET", path, **query)

    def post(self, path: str, body: Any = None, *, key: str | None = None) -> dict[str, Any]:
        return self.request("POST", path, body, key=key)

    def patch(self, path: str, body: Any = None) -> dict[str, Any]:
        return self.request("PATCH", path, body)

    def delete(self, path: str) -> dict[str, Any]:
        return self.request("DELETE", path)


def _number(value: object) -> float:
    assert isinstance(value, Decimal)
    return float(value)
