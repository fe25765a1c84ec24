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
def speaking(*chunks: bytes, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that says this to whoever connects, and then nothing; gives its host and port."""
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


def self_signed(folder: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 that nobody vouches for."""
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
        .not_valid_after(start + datetime.timedelta(days=40_000))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
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
