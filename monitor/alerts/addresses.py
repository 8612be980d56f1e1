"""Which URLs and addresses Keepwatch connects to when a user wrote them down."""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from monitor.errors import KeepwatchError

Network = IPv4Network | IPv6Network

MAX_URL = 2048
PORTS = {"http": 80, "https": 443}

# What is not a public unicast address. The flags of `ipaddress` do not serve: in Python 3.11 `is_private` is false for
# 100.64.0.1, 64:ff9b::7f00:1, 2002:7f00:1:: and fec0::1, and `is_global` is true for the last three.
DENIED: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a carrier, and some clouds' metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform service, a public number that only its machines reach
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, and Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "::/3",  # unspecified, loopback, IPv4-compatible and -mapped, NAT64 (64:ff9b), discard (100::)
        "2001::/23",  # protocol assignments: Teredo, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "3fff::/20",  # documentation
        "4000::/2",  # not assigned, and segment routing (5f00::)
        "8000::/2",  # not assigned
        "c000::/3",  # not assigned
        "e000::/4",  # not assigned
        "f000::/5",  # not assigned
        "f800::/6",  # not assigned
        "fc00::/7",  # unique local, and Amazon's metadata
        "fe00::/9",  # not assigned
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local
        "ff00::/8",  # multicast
    )
)

_URL = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\]")


class Refused(KeepwatchError):
    """The URL or the address behind it is not one that Keepwatch may connect to."""


@dataclass(frozen=True)
class Target:
    """A URL that was read: `host` without brackets, `origin` as it may be shown."""

    scheme: str
    host: str
    port: int
    path: str  # with the query

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.authority}"


def read_url(url: str) -> Target:
    """Take a URL apart. What two readers could read differently is refused.

    Raises:
        Refused: says what is wrong, without repeating the URL.
    """
    if not 0 < len(url) <= MAX_URL:
        raise Refused(f"must be a URL of at most {MAX_URL} characters")
    if not _URL.fullmatch(url):
        raise Refused("holds a character that must be percent-encoded (in a host name: punycode)")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused("is not a URL") from None
    if parts.scheme not in PORTS:
        raise Refused("must start with http:// or https://")
    if "@" in parts.netloc:
        raise Refused("must not hold a user name or password")
    host = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc
    if not _HOST.fullmatch(host) or port == 0:
        raise Refused("has a host or port that is not written in the usual form")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host.strip("[]").lower(), port or PORTS[parts.scheme], path)


def check_url(url: str, networks: Iterable[Network]) -> Target:
    """Read a URL that is about to be stored; a host that is a bare address is checked at once, a name when it is used.

    Raises:
        Refused: says what is wrong, without repeating the URL.
    """
    target = read_url(url)
    address = _bare_address(target.host)
    if address is not None:
        check_address(address, target.port, networks)
    return target


def check_address(address: IPv4Address | IPv6Address, port: int, networks: Iterable[Network]) -> None:
    """Whether a connection may be made: to a public address on port 80 or 443, or to a network that was allowed.

    Raises:
        Refused: says which setting would allow it.
    """
    bare = ip_address(int(address)) if isinstance(address, IPv4Address) else IPv6Address(int(address))  # no zone
    if any(bare in network for network in networks):
        return
    if any(bare in network for network in DENIED):
        raise Refused("the host is not a public address; KEEPWATCH_ALLOW_NETWORKS can allow its network")
    if port not in PORTS.values():
        raise Refused("only the ports 80 and 443 are used; KEEPWATCH_ALLOW_NETWORKS can allow a network on any port")


def _bare_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is in any of the ways that resolvers read (127.1, 0x7f.1, 2130706433), None: a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
