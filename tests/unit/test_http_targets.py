"""Which targets an outbound call may have: spellings of URLs, and addresses that names resolve to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from hoso.model.errors import InvalidInput
from hoso.platform import http
from hoso.platform.addresses import is_public
from hoso.platform.http import Blocked, Outbound, Resolved, target_of

SSRF_URLS = [
    "http://example.com/hook",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "//example.com/",
    "example.com",
    "https://",
    "https:///path",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com:80/",
    "https://example.com:9001/",
    "https://example.com:2773/",
    "https://example.com:0/",
    "https://example.com:99999/",
    "https://example.com:x/",
    "https://127.0.0.1/",
    "https://127.0.0.1:9001/2018-06-01/runtime/invocation/next",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[fe80::1%25eth0]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[not-an-address]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://10.0.0.1/",
    "https://exa mple.com/",
    "https://example.com/a b",
    "https://example.com/\r\nHost: evil",
    "https://example.com\\@127.0.0.1/",
    "https://exam%70le.com/",
    "https://ex\u200bample.com/",
    "https://пример.рф/",
    "https://-example.com/",
    "https://example.com/" + "a" * 2_000,
]

CLOSED = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.1.2.3"),
    *("169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1"),
    *("192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1"),
    *("240.0.0.1", "255.255.255.255", "::", "::1", "::a.b.c.d", "::8.8.8.8", "::ffff:8.8.8.8", "::ffff:10.0.0.1"),
    *("64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:10::1", "2001:db8::1", "2002:808:808::1"),
    *("3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700::1%1"),
    *("", "8.8.8", "8.8.8.8.8", "0x7f.1", "example.com", "08.8.8.8"),
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "192.0.1.1", "198.20.0.1"]
PUBLIC += ["223.255.255.255", "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450::1", "2003::1"]


@pytest.mark.parametrize("url", SSRF_URLS)
def test_s20_s23_hostile_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        target_of(url)


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://hooks.example.com", "hooks.example.com", "/"),
        ("https://hooks.example.com:443/a?b=c#d", "hooks.example.com", "/a?b=c"),
        ("https://HOOKS.example.com/%C3%A1", "hooks.example.com", "/%C3%A1"),
        ("https://8.8.8.8/", "8.8.8.8", "/"),
        ("https://[2606:4700:4700::1111]/x", "[2606:4700:4700::1111]", "/x"),
    ],
)
def test_s20_public_https_urls_pass(url: str, authority: str, path: str) -> None:
    target = target_of(url)

    assert (target.authority, target.path) == (authority, path)


def test_s20_the_twin_may_call_http_and_other_ports() -> None:
    assert target_of("http://127.0.0.1:9999/hook", local=True).authority == "127.0.0.1:9999"
    with pytest.raises(InvalidInput):
        target_of("file:///etc/passwd", local=True)


@pytest.mark.parametrize("address", CLOSED)
def test_s20_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_s20_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


class NoNetwork:
    """Stands for ``socket.socket``: notes where a connection would go."""

    def __init__(self, reached: list[Any]) -> None:
        self.reached = reached

    def __call__(self, family: int, kind: int) -> NoNetwork:
        return self

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def connect(self, address: Any) -> None:
        self.reached.append(address)
        raise ConnectionRefusedError

    def close(self) -> None:
        pass


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    targets: list[Any] = []
    monkeypatch.setattr(http.socket, "socket", NoNetwork(targets))
    return targets


def answering(*addresses: str) -> http.Resolver:
    return lambda host, port: [Resolved(socket.AF_INET, address, (address, port)) for address in addresses]


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("8.8.8.8", "127.0.0.1"), ("10.0.0.1", "8.8.8.8")])
def test_s21_any_bad_answer_of_the_resolver_blocks_the_call(addresses: tuple[str, ...], reached: list[Any]) -> None:
    client = Outbound(resolver=answering(*addresses))

    with pytest.raises(Blocked):
        client.post("https://rebinding.example/", {}, b"")
    assert reached == []


def test_s21_a_name_that_rebinds_is_resolved_once_and_the_checked_address_is_called(reached: list[Any]) -> None:
    answers = iter(["8.8.8.8", "127.0.0.1", "127.0.0.1"])

    def rebinding(host: str, port: int) -> list[Resolved]:
        return answering(next(answers))(host, port)

    client = Outbound(resolver=rebinding)

    with pytest.raises(http.NoAnswer):
        client.post("https://rebinding.example/", {}, b"")
    assert reached == [("8.8.8.8", 443)]


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "017700000001"])
def test_s20_odd_spellings_of_loopback_are_found_when_they_resolve(host: str, reached: list[Any]) -> None:
    with pytest.raises((Blocked, InvalidInput, http.NoAnswer)):
        Outbound().post(f"https://{host}/", {}, b"")
    assert reached == []


@pytest.mark.parametrize(
    ("name", "value"), [("x-a", "b\r\nx-c: d"), ("x-a\r\n", "b"), ("x a", "b"), ("", "b"), ("x-a", "é"), ("x:a", "b")]
)
def test_s26_headers_with_line_breaks_are_refused(name: str, value: str, reached: list[Any]) -> None:
    with pytest.raises(InvalidInput):
        Outbound(resolver=answering("8.8.8.8")).post("https://example.com/", {name: value}, b"")
    assert reached == []
