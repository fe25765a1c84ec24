"""One POST to a receiver: bounded in time and size, and only to an address that was checked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from postpaid.outside.webhooks.addresses import Network, Refused, check_address, check_url, literal

TIMEOUT_S = 10.0  # for everything: look-up, connection, request, answer
KEPT_ALIVE_S = 4.0  # an idle connection, less than receivers do: none should be closed meanwhile
ANSWER_BYTES_MAX = 16_384
EXCERPT_CHARACTERS = 500
ERROR_CHARACTERS = 300
TARGETS_KEPT = 1000  # URLs that were found to be good, which is the same every time
LOOKUPS_MAX = 32  # threads, one for each name that takes its time; and as many for good names
NAMES_KEPT = 10_000  # that were good when they were looked up last

LookUp = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status and the answer's beginning, or the error that kept it from coming.

    ``error`` is None only for an answer of 2xx.
    """

    duration_ms: int
    status_code: int | None
    error: str | None
    excerpt: str | None


def look_up(host: str) -> list[str]:
    """The addresses of a name. Raises ``OSError``."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Sender:
    """Connections to receivers; enter it in the event loop that uses it."""

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        look_up: LookUp = look_up,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._allowed = allowed
        self._timeout_s = timeout_s
        self._target = lru_cache(TARGETS_KEPT)(lambda url: check_url(url, allowed))
        self._look_up = look_up
        self._resolver: _Resolver | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Sender:
        self._resolver = _Resolver(self._allowed, self._look_up)
        connector = aiohttp.TCPConnector(
            limit=0,  # whoever sends has a bound for each receiver
            resolver=self._resolver,
            use_dns_cache=False,
            keepalive_timeout=KEPT_ALIVE_S,
            socket_factory=self._socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._session is not None
        assert self._resolver is not None
        await self._session.close()
        await self._resolver.close()

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST the body; whatever goes wrong is in the answer."""
        started = time.monotonic()
        status: int | None = None
        excerpt: str | None = None
        error: str | None = None
        try:
            target = self._target(url)
            async with asyncio.timeout(self._timeout_s):
                status, excerpt = await self._post(target, body, headers)
            error = _refusal(status)
        except TimeoutError:
            error = f"There was no whole answer within {self._timeout_s:g} seconds."
        except Exception as failure:  # a receiver may say what nobody has thought of
            error = _told(failure)
        milliseconds = int((time.monotonic() - started) * 1000)
        return Answer(milliseconds, status, error, excerpt)

    async def _post(self, target: URL, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        assert self._session is not None
        async with self._session.post(
            target, data=body, headers=headers, allow_redirects=False
        ) as response:
            answered = b""
            while len(answered) < ANSWER_BYTES_MAX:
                chunk = await response.content.read(ANSWER_BYTES_MAX - len(answered))
                if not chunk:
                    break
                answered += chunk
            if not response.content.at_eof():
                response.close()  # what is left of it would have to be read
            text = answered.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
            return response.status, text[:EXCERPT_CHARACTERS]

    def _socket(self, address: Any) -> socket.socket:
        """The socket to connect with: the one place that every connection comes through.

        It is given the very address that is connected to, so no second look-up can change it.
        """
        family, kind, protocol, _, place = address
        found = ipaddress.ip_address(place[0])  # no other way of writing one gets here
        check_address(found, self._allowed)
        made = socket.socket(family=family, type=kind, proto=protocol)
        made.setblocking(False)
        return made


def _refusal(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"The answer was {status}: redirects are not followed."
    return f"The answer was {status}."


def _told(failure: BaseException) -> str:
    """A failure in a sentence."""
    said = (str(failure) or type(failure).__name__)[:ERROR_CHARACTERS]
    return said.replace("\0", "").encode("utf-8", "replace").decode()  # as it can be stored


class _Resolver(AbstractResolver):
    """Looks names up in threads, each name once at a time, and refuses all if one is refused.

    A look-up cannot be cut short. So names that are not known to be good have threads of their own,
    and those that are do not wait behind a thousand that never answer.
    """

    def __init__(self, allowed: Sequence[Network], look_up: LookUp) -> None:
        self._allowed = allowed
        self._look_up = look_up
        self._known = ThreadPoolExecutor(LOOKUPS_MAX, thread_name_prefix="look-up")
        self._unknown = ThreadPoolExecutor(LOOKUPS_MAX, thread_name_prefix="look-up-new")
        self._good: OrderedDict[str, None] = OrderedDict()  # the last one that was used at the end
        self._under_way: dict[str, asyncio.Future[Sequence[str]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await asyncio.shield(self._addresses(host))
        if not addresses:
            raise OSError(f"{host} has no address.")
        found = []
        for text in addresses:
            address = literal(text)
            if address is None:
                raise Refused(f"{host} has an address that is none.")
            check_address(address, self._allowed)
            found.append(
                ResolveResult(
                    hostname=host,
                    host=str(address),
                    port=port,
                    family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                    proto=0,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return found

    def _addresses(self, host: str) -> asyncio.Future[Sequence[str]]:
        if host in self._under_way:
            return self._under_way[host]
        known = host in self._good
        self._good.pop(host, None)  # until it has answered
        threads = self._known if known else self._unknown
        future = asyncio.get_running_loop().run_in_executor(threads, self._look_up, host)
        self._under_way[host] = future

        def forget(done: asyncio.Future[Sequence[str]]) -> None:
            self._under_way.pop(host, None)
            if done.cancelled() or done.exception() is not None:
                return  # whoever waited may have gone
            self._good[host] = None
            if len(self._good) > NAMES_KEPT:
                self._good.popitem(last=False)

        future.add_done_callback(forget)
        return future

    async def close(self) -> None:
        for threads in (self._known, self._unknown):
            threads.shutdown(wait=False, cancel_futures=True)
