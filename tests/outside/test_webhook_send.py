"""One POST: what is believed, and what is not."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from postpaid.outside.webhooks.addresses import networks
from postpaid.outside.webhooks.send import Answer, Sender
from receiver import LOOPBACK, receiving


def send(url: str, *, timeout_s: float = 5, allowed: tuple[str, ...] = LOOPBACK) -> Answer:
    async def once() -> Answer:
        async with Sender(networks(allowed), timeout_s=timeout_s) as sender:
            return await sender.send(url, b"{}", {"Content-Type": "application/json"})

    return asyncio.run(once())


@contextmanager
def speaking(
    *chunks: bytes,
    context: ssl.SSLContext | None = None,
    gap_s: float = 0,
    ends: bool = False,
) -> Iterator[str]:
    """A server that says this to whoever connects, and then nothing, or hangs up.

    Gives its host and port.
    """
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(5)
                    try:
                        if context is not None:
                            connection = context.wrap_socket(connection, server_side=True)
                        for chunk in chunks:
                            connection.sendall(chunk)
                            ended.wait(gap_s)
                        if ends:
                            connection.shutdown(socket.SHUT_WR)
                            connection.recv(100_000)
                        else:
                            ended.wait()
                    except OSError:
                        pass  # whoever called did not like it

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def self_signed(
    folder: Path, *, names: list[str] | None = None, days: int = 40_000
) -> ssl.SSLContext:
    """A certificate for 127.0.0.1, or for names, that nobody vouches for; from 2020 on."""
    subjects: list[x509.GeneralName] = [x509.DNSName(each) for each in names or ()]
    subjects = subjects or [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName(subjects),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_an_answer_of_2xx_is_taken() -> None:
    with receiving() as receiver:
        answer = send(receiver.url)
    assert (answer.status_code, answer.error, answer.excerpt) == (200, None, "thanks")


def test_a_certificate_that_nobody_vouches_for_is_not_believed(tmp_path: Path) -> None:
    with speaking(OK, context=self_signed(tmp_path)) as place:
        answer = send(f"https://{place}/")
    assert answer.status_code is None
    assert answer.error is not None
    assert "certificate" in answer.error.lower()


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"],
    ids=["nothing", "half a head", "half a body"],
)
def test_an_answer_that_does_not_come_to_its_end_is_a_failure(said: bytes) -> None:
    with speaking(said) as place:
        answer = send(f"http://{place}/", timeout_s=0.3)
    assert answer.error == "There was no whole answer within 0.3 seconds."


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["not HTTP", "a header without an end", "a length below zero"],
)
def test_what_is_not_an_answer_is_a_failure(said: bytes) -> None:
    with speaking(said) as place:
        answer = send(f"http://{place}/")
    assert answer.error
    assert len(answer.error) <= 300


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 50 + OK, 200),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 200 \xff\xfe\r\nContent-Length: 0\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Type: a; charset=none\r\nContent-Length: 1\r\n\r\n\xff", 200),
        (b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff=;;domain\r\nContent-Length: 0\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + b"\x1f\x8b" * 20_000, 200),
        (CHUNKED + b"1\r\nx\r\n" * 20_000, 200),
    ],
    ids=[
        "after 100",
        "after many hints",
        "204",
        "a reason that is no text",
        "an unknown charset",
        "a cookie that is none",
        "a gzip bomb",
        "tiny chunks",
    ],
)
def test_what_is_odd_and_yet_an_answer_is_taken(said: bytes, status: int) -> None:
    with speaking(said) as place:
        answer = send(f"http://{place}/")
    assert (answer.status_code, answer.error) == (status, None)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nx",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 99999 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000,
        b"HTTP/1.1 200 OK\r\nX\xff\xfe: \xff\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        CHUNKED + b"zz\r\n\r\n",
        CHUNKED + b"0\r\n" + b"X: y\r\n" * 50_000,
        b"hello",
    ],
    ids=[
        "101",
        "304",
        "a place that is none",
        "999",
        "99999",
        "headers without end",
        "a header's name that is no text",
        "two lengths",
        "a length that is no number of ours",
        "a chunk's length that is none",
        "trailers without end",
        "no HTTP at all",
    ],
)
def test_what_is_odd_and_not_good_is_a_failure_that_can_be_stored(said: bytes) -> None:
    with speaking(said) as place:
        answer = send(f"http://{place}/")
    assert answer.error
    answer.error.encode()


def test_hints_without_an_end_are_cut_off() -> None:
    with speaking(*[b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000] * 1000) as place:
        answer = send(f"http://{place}/", timeout_s=0.3)
    assert answer.error == "There was no whole answer within 0.3 seconds."


def test_an_answer_that_comes_letter_by_letter_is_cut_off() -> None:
    with speaking(*[bytes([each]) for each in b"HTTP/1.1 200 OK"], gap_s=0.1) as place:
        answer = send(f"http://{place}/", timeout_s=0.3)
    assert answer.error == "There was no whole answer within 0.3 seconds."


def test_an_answer_of_http_1_0_ends_with_its_connection() -> None:
    with speaking(b"HTTP/1.0 200 OK\r\n\r\nhello", ends=True) as place:
        answer = send(f"http://{place}/")
    assert (answer.status_code, answer.error, answer.excerpt) == (200, None, "hello")


@pytest.mark.parametrize(
    ("names", "days"), [(["other.example"], 40_000), (None, 1)], ids=["another host", "expired"]
)
def test_a_certificate_of_another_host_or_of_old_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str] | None, days: int
) -> None:
    """Though who vouches for it is trusted."""
    context = self_signed(tmp_path, names=names, days=days)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "both.pem"))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    with speaking(OK, context=context) as place:
        answer = send(f"https://{place}/")
    assert answer.status_code is None
    assert answer.error is not None
    assert ("expired" if names is None else "mismatch") in answer.error


def test_a_connection_that_was_closed_meanwhile_is_not_used_again() -> None:
    with speaking(OK, ends=True) as place:

        async def twice() -> list[Answer]:
            async with Sender(networks(LOOPBACK), timeout_s=5) as sender:
                answers = []
                for _ in range(3):
                    answers.append(await sender.send(f"http://{place}/", b"{}", {}))
                    await asyncio.sleep(0.1)  # in which the end of the connection is noticed
                return answers

        assert [each.error for each in asyncio.run(twice())] == [None] * 3


def test_a_body_of_megabytes_arrives_whole() -> None:
    with receiving() as receiver:

        async def once() -> Answer:
            async with Sender(networks(LOOPBACK)) as sender:
                return await sender.send(receiver.url, b"x" * 5_000_000, {})

        assert asyncio.run(once()).error is None
        assert len(receiver.received[0].body) == 5_000_000


# ─── Names ───────────────────────────────────────────────────────────────────────────────────


def send_by_name(url: str, *found: str) -> tuple[str | None, int]:
    """Send to names that stand for these addresses; the error, and what came to the receiver."""
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]

        async def once() -> Answer:
            async with Sender(networks(LOOPBACK), look_up=lambda host: found) as sender:
                return await sender.send(f"{url}:{port}/", b"{}", {})

        return asyncio.run(once()).error, len(receiver.received)


@pytest.mark.parametrize(
    "found",
    [
        ("127.0.0.1", "10.0.0.1"),
        ("127.0.0.1", "fe80::1%2"),
        ("127.0.0.1", "::ffff:169.254.169.254"),
        ("127.0.0.1", "64:ff9b::a00:1"),
        ("127.0.0.1", "nonsense"),
        (),
    ],
    ids=["private", "link-local", "mapped", "NAT64", "no address", "none at all"],
)
def test_all_that_a_name_stands_for_must_be_good(found: tuple[str, ...]) -> None:
    error, came = send_by_name("http://many.example", *found)
    assert error
    assert came == 0


def test_names_that_never_answer_do_not_hold_up_those_that_do() -> None:
    ended = threading.Event()

    def look_up(host: str) -> list[str]:
        if host.startswith("slow"):
            ended.wait(60)
        return ["127.0.0.1"]

    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]

        async def all_at_once() -> Answer:
            async with Sender(networks(LOOPBACK), look_up=look_up, timeout_s=30) as sender:
                good = f"http://good.example:{port}/"
                assert (await sender.send(good, b"{}", {"Connection": "close"})).error is None
                slow = [
                    asyncio.create_task(sender.send(f"http://slow{each}.example:{port}/", b"", {}))
                    for each in range(1000)
                ]
                await asyncio.sleep(0)  # they have begun
                answer = await sender.send(good, b"{}", {"Connection": "close"})
                assert not any(each.done() for each in slow)
                ended.set()
                for each in slow:
                    each.cancel()
                return answer

        assert asyncio.run(all_at_once()).error is None


def test_an_answers_text_can_be_stored_whatever_it_is() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
    with speaking(head + b"\0\xff\xfe!") as place:
        answer = send(f"http://{place}/")
    assert answer.error is None
    assert answer.excerpt == "\N{REPLACEMENT CHARACTER}" * 3 + "!"


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "127.1", "0x7f.1", "[::ffff:7f00:1]"])
def test_however_an_address_inside_is_written_nothing_is_sent_there(host: str) -> None:
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        answer = send(f"http://{host}:{port}/", allowed=())
        assert answer.error is not None
        assert "127.0.0.1" in answer.error or "::ffff:7f00:1" in answer.error
        assert not receiver.received


def test_a_port_where_nobody_listens_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    answer = send(f"http://127.0.0.1:{port}/")
    assert answer.status_code is None
    assert answer.error
