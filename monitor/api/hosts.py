"""Which Host headers are ours, and which paths are clean.

A page of another site can make a browser send requests here under a name of its own (DNS rebinding); only names that
belong to this installation are answered. An address in numbers cannot be rebound and is always fine.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

_BAD_ESCAPE = re.compile(rb"%(?:2[fF]|5[cC]|[01][0-9a-fA-F]|7[fF])")
_BAD_BYTE = re.compile(rb"[\x00-\x20\x7f\\]")


def host_of(value: str) -> str:
    """The name in a Host header or of a network location, without its port, in lower case."""
    if value.startswith("["):
        return value[1:].partition("]")[0].lower()
    return value.partition(":")[0].lower().rstrip(".")


def own_hosts(public_url: str, more: Iterable[str] = ()) -> frozenset[str]:
    """The names under which this installation answers."""
    names = {"localhost", *(host_of(name) for name in more if name)}
    if public_url:
        names.add(host_of(urlsplit(public_url).netloc.rpartition("@")[2]))
    return frozenset(names)


def is_own(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header names this installation."""
    name = host_of(host)
    if name in names or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_clean(raw_path: bytes) -> bool:
    """Whether a path, still escaped, has one reading: no escaped slash, no dots that climb, no control characters."""
    path = raw_path.partition(b"?")[0]
    if not path.startswith(b"/") or b"//" in path or _BAD_ESCAPE.search(path) or _BAD_BYTE.search(path):
        return False
    parts = path.lower().replace(b"%2e", b".").split(b"/")
    return b"." not in parts and b".." not in parts


def nul_parameter(query: bytes) -> str | None:
    """The name of a parameter that holds a NUL character, which PostgreSQL takes in no text; None if there is none."""
    for part in query.split(b"&"):
        if b"%00" in part or b"\0" in part:
            name = unquote(part.partition(b"=")[0].decode("latin-1"))[:100]
            return "".join(letter if letter.isprintable() else "?" for letter in name)
    return None


def same_origin(headers: dict[bytes, bytes], public_url: str, *, required: bool) -> bool:
    """Whether a request comes from one of our own pages, by what the browser says of it.

    Args:
        headers: the request's, names in lower case.
        public_url: the address under which people reach us, if it is set.
        required: refuse a request that says nothing of where it comes from.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None and site != b"same-origin":
        return False
    origin = headers.get(b"origin")
    if origin is None:
        return site is not None or not required
    sent = urlsplit(origin.decode("latin-1"))
    ours = {headers.get(b"host", b"").decode("latin-1").lower()}
    if public_url:
        ours.add(urlsplit(public_url).netloc.lower())
    return sent.netloc.lower() in ours
