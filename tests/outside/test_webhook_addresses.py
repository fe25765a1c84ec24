"""Which addresses webhooks may go to, however they are written."""

from __future__ import annotations

import ipaddress

import pytest

from postpaid.config import settings
from postpaid.outside.webhooks.addresses import Refused, check_address, check_url, networks

REFUSED_URLS = {
    "loopback": "http://127.0.0.1/",
    "loopback elsewhere in its network": "https://127.8.9.10/hook",
    "decimal": "http://2130706433/",
    "octal": "http://0177.0.0.1/",
    "hexadecimal": "http://0x7f000001/",
    "hexadecimal parts": "http://0x7f.0x0.0x0.0x1/",
    "two parts": "http://127.1/",
    "zero": "http://0/",
    "a dot at the end": "http://127.0.0.1./",
    "decimal with a dot at the end": "http://2130706433./",
    "percent-encoded": "http://%31%32%37.0.0.1/",
    "circled digits": "http://\N{CIRCLED DIGIT ONE}27.0.0.1/",
    "IPv6 loopback": "http://[::1]/",
    "IPv6 unspecified": "http://[::]/",
    "IPv6 mapped": "http://[::ffff:127.0.0.1]/",
    "IPv6 mapped in hexadecimal": "http://[::ffff:7f00:1]/",
    "IPv6 compatible": "http://[::127.0.0.1]/",
    "IPv6 link-local": "http://[fe80::1]/",
    "IPv6 with a zone": "http://[fe80::1%25eth0]/",
    "IPv6 private": "http://[fd00:ec2::254]/",
    "6to4 of a private one": "http://[2002:0a00:0001::]/",
    "NAT64 of loopback": "http://[64:ff9b::7f00:1]/",
    "NAT64 of one's own": "http://[64:ff9b:1::808:808]/",
    "Teredo": "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "IPv6 multicast": "http://[ff02::1]/",
    "private": "http://10.0.0.8/",
    "private too": "http://172.31.255.255/",
    "private at home": "http://192.168.1.1/",
    "carrier": "http://100.100.100.200/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "a cloud's own": "http://168.63.129.16/",
    "multicast": "http://224.0.0.1/",
    "broadcast": "http://255.255.255.255/",
    "benchmarks": "http://198.18.0.1/",
    "userinfo": "http://good.example@127.0.0.1/",
    "userinfo before a good host": "http://user:password@good.example/",
    "empty userinfo": "http://@good.example/",
    "backslash": "http://good.example\\@127.0.0.1/",
    "file": "file:///etc/passwd",
    "gopher": "gopher://good.example/",
    "no scheme": "good.example/hook",
    "no host": "http:///hook",
    "space": "http://good.example/a b",
    "line break": "http://good.example/\r\nHost: other",
    "port out of range": "http://good.example:99999/",
    "a number too large": "http://4294967296/",
    "port zero": "http://good.example:0/",
    "port of mail": "http://good.example:25/",
    "Arabic digits in the port": "http://good.example:\N{ARABIC-INDIC DIGIT EIGHT}0/",
    "fullwidth digits": "http://\N{FULLWIDTH DIGIT ONE}27.0.0.1/",
    "not ASCII": "http://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example/",
    "not ASCII in the path": "http://good.example/b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher",
    "an ideographic full stop": "http://127\N{IDEOGRAPHIC FULL STOP}0.0.1/",
    "a zone that is not encoded": "http://[fe80::1%eth0]/",
    "a zone of a public one": "http://[2606:4700:4700::1111%25eth0]/",
    "mapped in capitals": "http://[::FFFF:7F00:1]/",
    "6to4 of loopback": "http://[2002:7f00:1::1]/",
    "NAT64 of metadata": "http://[64:ff9b::169.254.169.254]/",
    "two parts in hexadecimal": "http://0x7f.1/",
    "an address in brackets": "http://[127.0.0.1]/",
    "brackets that do not close": "http://[::1/",
    "two dots": "http://good..example/",
    "a dot at the beginning": "http://.good.example/",
    "only dots": "http://.../",
    "a label of 64": f"http://{'a' * 64}.example/",
    "a name of 300": f"http://{'a.' * 150}example/",
    "a hyphen at the beginning": "http://-good.example/",
    "an exclamation mark": "http://good!.example/",
    "a URL of 2001": "http://good.example/" + "a" * 1981,
    "nothing": "",
    "only a scheme": "http://",
    "a scheme and a path": "http:good.example",
}


@pytest.mark.parametrize("url", REFUSED_URLS.values(), ids=REFUSED_URLS)
def test_a_url_that_leads_inside_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        check_url(url)


@pytest.mark.parametrize(
    ("url", "becomes"),
    [
        ("https://good.example/hook?a=b", "https://good.example/hook?a=b"),
        ("http://GOOD.example:8080", "http://good.example:8080"),
        ("http://good.example./", "http://good.example/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://134744072/", "https://8.8.8.8/"),
        ("https://0x8.010.2056/", "https://8.8.8.8/"),
        ("https://[2606:4700:4700::1111]:8443/", "https://[2606:4700:4700::1111]:8443/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://a_b.good.example/", "https://a_b.good.example/"),
        ("https://good.example/a#b", "https://good.example/a#b"),
        ("https://good.example/" + "a" * 1979, "https://good.example/" + "a" * 1979),
    ],
    ids=[
        "name",
        "port",
        "dot",
        "address",
        "decimal",
        "mixed",
        "IPv6",
        "punycode",
        "underscore",
        "fragment",
        "2000 characters",
    ],
)
def test_a_public_url_has_its_host_written_in_one_way(url: str, becomes: str) -> None:
    assert str(check_url(url)) == becomes


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "http://2130706433/", "http://[::ffff:127.0.0.1]/"],
    ids=["plain", "decimal", "mapped"],
)
def test_an_operator_may_allow_a_network(url: str) -> None:
    assert check_url(url, networks(["127.0.0.0/8"])).host
    with pytest.raises(Refused):
        check_url(url, networks(["10.0.0.0/8", "::1/128"]))


def test_the_operators_networks_are_checked_at_the_start() -> None:
    name = "POSTPAID_WEBHOOK_ALLOWED_NETWORKS"
    good = settings({name: "10.1.0.0/16, ::1/128"}).webhook_allowed_networks
    assert good == ("10.1.0.0/16", "::1/128")
    for bad in ("10.1.0.0/16,home", "10.1.2.3/16"):
        with pytest.raises(ValueError, match=name):
            settings({name: bad})


def test_every_network_that_is_not_global_is_refused() -> None:
    """What Python's own tables call private, link-local, multicast and so on, we refuse too."""
    for first in range(256):
        for second in (0, 1, 64, 88, 100, 168, 175, 254, 255):
            address = ipaddress.IPv4Address(f"{first}.{second}.2.1")
            if not address.is_global or address.is_multicast:
                with pytest.raises(Refused):
                    check_address(address)
