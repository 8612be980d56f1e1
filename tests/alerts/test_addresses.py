"""Which URLs are taken, and that none of the ways to write an inner address leads there."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple

import httpcore
import pytest

from monitor.alerts import addresses, guard
from monitor.alerts.addresses import DENIED, Refused, check_address, check_url, read_url
from tests.alerts.receivers import Receiver

# Every way to write an address that is not a public one: literals, and forms that resolvers turn into them.
_V4 = """
127.0.0.1 127.1 127.0.1 127.255.255.254 0.0.0.0 0 0x7f.1 0x7f000001 0x7f.0x0.0x0.0x1 2130706433 0177.0.0.1 017700000001
127.000.000.001 127.0.0.1. 10.0.0.1 10.255.255.255 012.0.0.1 0x0a.1 167772161 172.16.0.1 172.31.255.254 192.168.0.1
192.168.255.255 3232235521 0xc0a80001 169.254.169.254 169.254.170.2 2852039166 0xa9fea9fe 0251.0376.0251.0376
100.64.0.1 100.100.100.200 100.127.255.254 192.0.0.1 192.0.0.8 192.0.0.170 192.0.0.192 192.0.2.1 192.88.99.1
198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 168.63.129.16
"""
_V6 = """
:: ::1 0:0:0:0:0:0:0:1 ::127.0.0.1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::7f00:1 100::1 2001::1
2001:0:7f00:1:: 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:a00:1:: 2002:a9fe:a9fe:: 3fff::1 4000::1 5f00::1
8000::1 fc00::1 fd00::1 fd00:ec2::254 fd12:3456:789a::1 fe00::1 fe80::1 febf::1 fec0::1 feff::1 ff02::1 ff0e::1
"""
INNER_V4, INNER_V6 = _V4.split(), _V6.split()
PUBLIC = ["93.184.216.34", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::200e"]
assert len(INNER_V4) + len(INNER_V6) >= 60

Resolve = Callable[..., list[tuple[Any, ...]]]


def answering(*hosts: str) -> Resolve:
    """A resolver that gives these addresses whatever it is asked."""

    def resolve(host: str, port: int, **more: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in hosts]

    return resolve


@pytest.fixture
def canary(receiver: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """A receiver that every connection leads to, whatever address was dialled: each one that is made is a leak."""
    bird = receiver()
    connect = httpcore.SyncBackend.connect_tcp

    def dial(self: httpcore.SyncBackend, host: str, port: int, *more: Any) -> httpcore.NetworkStream:
        return connect(self, "127.0.0.1", bird.port, 5.0)

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", dial)
    return bird


# Inner hosts in disguise: user names, zones, other digits, punycode, escapes, schemes, ports, names of one's own.
_WRITTEN = r"""
http://example.org@127.0.0.1/ http://127.0.0.1@example.org/ http://a:b@127.0.0.1/ http://example.org%40127.0.0.1/
http://127.0.0.1%2f@example.org/ http://127.0.0.1\@example.org/ http://example.org\@127.0.0.1/ http://::1/ http://[::1
http://[::1%25lo]/ http://[::1%lo]/ http://[fe80::1%25eth0]/ http://[fe80::1%eth0]/ http://[::ffff:127.0.0.1%25lo]/
http://１２７.0.0.1/ http://①②⑦.0.0.1/ http://127。0。0。1/ http://①②⑦.⓪.⓪.①/ http://ⓛocalhost/ http://ｌocalhost/
http://xn--localhost-/ http://xn--127-0-0-1-/ http://xn--lcalhost-m4a/ http://xn--./ http://xn--a.127.0.0.1/
http://127%2e0%2e0%2e1/ http://%31%32%37.0.0.1/ http://loc%61lhost/ http://127.0.0.1%00.example.org/
file:///etc/passwd gopher://127.0.0.1/ ftp://127.0.0.1/ dict://127.0.0.1/ ldap://127.0.0.1/ tftp://127.0.0.1/
unix:///var/run/docker.sock http+unix://%2Fvar%2Frun%2Fdocker.sock/ jar:http://127.0.0.1!/ //127.0.0.1/
http:127.0.0.1 http:/127.0.0.1/ http:///127.0.0.1/ http:\\127.0.0.1/ https:127.0.0.1 HTTP://127.1/
http://localhost/ http://LOCALHOST/ http://localhost./ http://localhost:443/ http://localhost:80/
http://127.0.0.1:22/ http://127.0.0.1:6379/ http://[::1]:5432/ http://1.1.1.1:22/ http://1.1.1.1:6379/
http://127.0.0.1?@example.org/ http://127.0.0.1#@example.org/ http://127.0.0.1;@example.org/
http://127.0.0.1,example.org/ http://[127.0.0.1]/ http://[::1]@example.org/ http://0/ http://0x/ http://00/ http://0.0/
"""
_INSIDE = ("http://127.0.0.1/", "http://localhost/", "http://169.254.169.254/latest/", "//[::1]/", "http://100.64.0.1/")


class Form(NamedTuple):
    """One way to reach an inner address: a URL, what its name resolves to, and what a public receiver redirects to."""

    url: str
    resolve: Resolve = socket.getaddrinfo
    redirect: tuple[int, str] | None = None


def _literals() -> Iterator[Form]:
    """Each inner address as a literal, behind a name, and as the bad one of two answers in either order."""
    for text in INNER_V4:
        yield Form(f"http://{text}/x")
        yield Form(f"http://{text}:443/")
        try:
            plain = socket.inet_ntoa(socket.inet_aton(text.removesuffix(".")))
        except OSError:
            continue
        yield from (Form("http://name.example/", one) for one in _answers(plain, "93.184.216.34"))
    for text in INNER_V6:
        yield Form(f"http://[{text}]/x")
        yield Form(f"http://[{text}]:443/")
        yield from (Form("http://name.example/", one) for one in _answers(text, "2606:4700::1111"))


def _answers(inner: str, public: str) -> Iterator[Resolve]:
    yield from (answering(inner), answering(public, inner), answering(inner, public), _rebinding(public, inner))


def _rebinding(public: str, inner: str) -> Resolve:
    """A resolver whose second answer is another than its first."""
    asked: list[str] = []

    def resolve(host: str, port: int, **more: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        return answering(public if len(asked) == 1 else inner)(host, port)

    return resolve


def _redirects() -> Iterator[Form]:
    """A public receiver that sends its visitor inside."""
    for status in (301, 302, 303, 307, 308):
        for to in _INSIDE:
            yield Form("http://name.example/", answering("93.184.216.34"), (status, to))


def _forms() -> list[Form]:
    """All of them, new: a resolver that changes its answer does so once."""
    return [*_literals(), *(Form(url) for url in _WRITTEN.split()), *_redirects()]


def test_there_are_enough_forms() -> None:
    assert len(_forms()) >= 600


def _leaks(canary: Receiver) -> list[Form]:
    """The forms that reach the canary. (The one request to the public receiver that redirects is none.)"""
    leaked = []
    for form in _forms():
        before = len(canary.requests)
        status, to = form.redirect or (204, "")
        canary.habit = lambda handler, number, status=status, to=to: handler.answer(status, location=to)  # type: ignore[misc]
        with contextlib.suppress(Refused, guard.Failed):
            guard.post(form.url, {}, b"{}", resolve=form.resolve, deadline=5)
        public = 1 if form.redirect or form.resolve.__qualname__.startswith("_rebinding") else 0
        if len(canary.requests) - before > public:
            leaked.append(form)
    return leaked


def test_no_way_to_write_an_inner_address_makes_a_connection(canary: Receiver) -> None:
    assert _leaks(canary) == []


def test_a_guard_that_asks_is_private_would_leak_on_the_same_forms(
    canary: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the same forms against the filter that is usual elsewhere."""

    def weak(address: Any, port: int, networks: Any) -> None:
        if address.is_private:
            raise Refused("private")

    monkeypatch.setattr(guard, "check_address", weak)
    leaked = {form.url for form in _leaks(canary)}
    for text in ("100.64.0.1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fec0::1]", "224.0.0.1"):
        assert f"http://{text}/x" in leaked
    assert "http://1.1.1.1:6379/" in leaked and "http://192.168.0.1/x" not in leaked


def test_a_public_address_is_connected_to(canary: Receiver) -> None:
    for text in PUBLIC:
        assert guard.post("http://name.example/", {}, b"{}", resolve=answering(text), deadline=5).status == 204
    assert len(canary.requests) == len(PUBLIC)


def test_a_name_that_is_resolved_again_to_an_inner_address_gains_nothing(canary: Receiver) -> None:
    asked = []

    def rebinding(host: str, port: int, **more: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        return answering("93.184.216.34" if len(asked) == 1 else "127.0.0.1")(host, port)

    assert guard.post("http://name.example/", {}, b"{}", resolve=rebinding, deadline=5).status == 204
    assert asked == ["name.example"]


def test_everything_outside_of_global_unicast_is_denied() -> None:
    assert {network.version for network in DENIED} == {4, 6}
    for top in range(256):
        inside = ip_address(IPv6Address(top << 120 | 0x99 << 112 | 1))
        denied = any(inside in network for network in DENIED)
        assert denied is (inside not in ip_network("2000::/3")), inside


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_pass_on_the_ports_of_http_alone(text: str) -> None:
    for port in (80, 443):
        check_address(ip_address(text), port, ())
    for port in (0, 22, 25, 6379, 8080, 8443):
        with pytest.raises(Refused):
            check_address(ip_address(text), port, ())
    check_address(ip_address(text), 8443, [ip_network(text)])


def test_a_private_network_is_reached_only_when_it_was_allowed() -> None:
    networks = [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]
    check_address(ip_address("10.1.2.3"), 9093, networks)
    check_address(ip_address("fd00::1"), 9093, networks)
    for text in ("10.2.0.1", "127.0.0.1", "::ffff:10.1.2.3", "fe80::1"):
        with pytest.raises(Refused):
            check_address(ip_address(text), 80, networks)
    with pytest.raises(Refused):
        check_address(ip_address("fe80::1%eth0"), 80, networks)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "//example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "ftp://example.org/",
        "unix:///var/run/docker.sock",
        "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
        "javascript:alert(1)",
        "data:text/plain,x",
        "http://",
        "http:///path",
        "http://user@example.org/",
        "http://user:password@example.org/",
        "http://example.org@127.0.0.1/",
        "http://127.0.0.1#@example.org/".replace("#", "\\"),
        "http://exa mple.org/",
        "http://example.org/\r\nX-Evil: 1",
        "http://example.org/\t",
        "http://example.org/\0",
        "http://ex%61mple.org/",
        "http://127.0.0.1%2f@example.org/",
        "http://[::1%25lo]/",
        "http://[fe80::1%eth0]/",
        "http://[::1",
        "http://::1/",
        "http://[127.0.0.1/",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://example.org:80:80/",
        "http://example.org:+80/",
        "http://example.org:8_0/",
        "http://example.org:/",
        "http://１２７.0.0.1/",
        "http://①②⑦.0.0.1/",
        "http://münchen.example/",
        "http://-example.org/",
        "http://exam,ple.org/",
        "http://example.org/" + "a" * 2048,
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(Refused) as caught:
        read_url(url)
    assert len(url) < 8 or url not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://example.org", "example.org", "/"),
        ("HTTPS://Example.ORG:443/Hook?a=1&b=%20#part", "example.org", "/Hook?a=1&b=%20"),
        ("http://example.org:8080/x", "example.org:8080", "/x"),
        ("http://[2606:4700::1111]:81/", "[2606:4700::1111]:81", "/"),
        ("http://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example", "/"),
        ("http://under_score.example./", "under_score.example.", "/"),
    ],
)
def test_a_plain_url_is_taken_apart(url: str, authority: str, path: str) -> None:
    target = read_url(url)
    assert (target.authority, target.path) == (authority, path)


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:10.0.0.1]", "100.64.0.1"]
)
def test_a_bare_inner_address_is_refused_when_the_channel_is_made(text: str) -> None:
    with pytest.raises(Refused, match="KEEPWATCH_ALLOW_NETWORKS"):
        check_url(f"https://{text}/", ())
    assert addresses.check_url("https://name.example/", ()).host == "name.example"
