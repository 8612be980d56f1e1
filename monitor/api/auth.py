"""Who asks, and what a request needs: keys, sessions, scopes.

`required_scope` is the whole table of rights. Everything that it does not name as public needs a key or a session.
"""

import base64
import binascii
import re
import threading
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie

from sqlalchemy.engine import Connection, Engine

from monitor import clock
from monitor.remembered import Remembered
from monitor.settings import Settings
from monitor.store import keys, sessions
from monitor.store.session import reading, writing
from monitor.store.sessions import end_session, exchange_login, issue_login

__all__ = [
    "COOKIE",
    "KeyRing",
    "Principal",
    "end_session",
    "exchange_login",
    "issue_login",
    "login_url",
    "principal_of_session",
    "required_scope",
    "session_cookie",
]

COOKIE = "keepwatch_session"
SAFE = ("GET", "HEAD", "OPTIONS")
INGEST = re.compile(r"/v1/models/[^/]+/(?:predictions|outcomes)|/v1/kserve|/v1/logs")
ASKING = re.compile(r"(?:/v1)?/models/[^/]+/(?:reports|slices)")  # changes nothing: an answer is computed
CACHE_SECONDS = 3.0  # a revoked key works at most this long
CACHE_SIZE = 10_000
USED_SECONDS = 60.0  # how often last_used_at is written

_GRANTS = {"admin": {"admin", "read", "ingest"}, "read": {"read"}, "ingest": {"ingest"}}
_NOBODY = "0" * 64


@dataclass(frozen=True)
class Principal:
    """Who asks. `via` is "bearer", "basic" or "session"; `key_id` is empty for a session."""

    project_id: int
    name: str
    scope: str
    via: str = "bearer"
    key_id: str = ""

    def may(self, scope: str) -> bool:
        return scope in _GRANTS.get(self.scope, ())


def required_scope(method: str, path: str) -> str | None:
    """The scope that a request needs, None for what is open to everybody."""
    safe = method in SAFE
    if path in ("/livez", "/readyz") or path.startswith("/static/"):
        return None if safe else "admin"
    if path == "/login":
        return None if safe or method == "POST" else "admin"
    if path in ("/settings", "/audit", "/v1/audit"):
        return "admin"
    if safe or (method == "POST" and (path == "/logout" or ASKING.fullmatch(path))):
        return "read"
    if method == "POST" and INGEST.fullmatch(path):
        return "ingest"
    return "admin"


def sent_key(authorization: str) -> tuple[str, str]:
    """The key in an Authorization header and how it came: "bearer", or "basic" with the key as user name."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip(), "bearer"
    if scheme.lower() == "basic":
        try:
            text = base64.b64decode(value.strip(), validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            return "", "basic"
        return text.partition(":")[0], "basic"
    return "", "bearer"


def sent_session(cookie: str) -> str | None:
    """The session token in a Cookie header."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(cookie)
    except CookieError:
        return None
    return jar[COOKIE].value if COOKIE in jar else None


def session_cookie(token: str | None, settings: Settings) -> str:
    """The Set-Cookie header that opens a session, or ends it (None)."""
    life = sessions.SESSION_LIFE // clock.SECOND if token else 0
    secure = "; Secure" if settings.public_url.startswith("https://") else ""
    return f"{COOKIE}={token or ''}; Path=/; Max-Age={life}; HttpOnly; SameSite=Strict{secure}"


def _hash(authorization: str) -> bytes:
    return sha256(authorization.encode()).digest()


def login_url(base: str, token: str) -> str:
    """The address that a person opens to log in."""
    return f"{base.rstrip('/')}/login?token={token}"


def principal_of_session(connection: Connection, token: str, now: int) -> Principal | None:
    """Who an open session belongs to."""
    found = sessions.find_session(connection, token, now)
    return None if found is None else Principal(found.project_id, found.name, found.scope, "session")


class KeyRing:
    """Looks keys and sessions up, and remembers the answer for a few seconds.

    A revoked key stops within that time. When keys were last used is written at most once a minute, by a thread of its
    own.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._keys: Remembered[str, keys.Key | None] = Remembered(self._find_key, CACHE_SECONDS)
        self._sessions: Remembered[str, Principal | None] = Remembered(self._find_session, CACHE_SECONDS)
        self._good: dict[bytes, tuple[keys.Key, Principal]] = {}  # by the hash of a whole header
        self._used: dict[str, int] = {}
        self._flushed = clock.monotonic()
        self._lock = threading.Lock()

    def by_header(self, authorization: str) -> Principal | None:
        """The principal of an Authorization header; None when it is not good. Needs at most one query."""
        text, via = sent_key(authorization)
        key = self._good_key(text)
        if key is None:
            return None
        if len(self._good) >= CACHE_SIZE:
            self._good.clear()
        principal = Principal(key.project_id, key.name, key.scope, via, key.id)
        self._good[_hash(authorization)] = key, principal
        return principal

    def recent(self, authorization: str) -> Principal | None:
        """The same without waiting and without taking the key apart, where it was found good and has not changed."""
        good = self._good.get(_hash(authorization))
        if good is None:
            return None
        key, principal = good
        if not self._keys.has(key.id) or self._keys.get(key.id) != key:
            return None
        self._touch(key.id)
        return principal

    def by_session(self, token: str) -> Principal | None:
        """The principal of a session's token."""
        return self._sessions.get(token)

    def is_fresh(self, authorization: str, cookie: str) -> bool:
        """Whether the answer is remembered, so that no query is needed."""
        if authorization:
            parts = keys.split(sent_key(authorization)[0])
            return parts is None or self._keys.has(parts[0])
        token = sent_session(cookie)
        return token is None or self._sessions.has(token)

    def forget(self) -> None:
        """Ask the database again for everything (after a log-out)."""
        self._keys.forget()
        self._sessions.forget()
        self._good.clear()

    def stop(self) -> None:
        """Write what is left to write, and look nothing up any more."""
        self._keys.settle()
        self._sessions.settle()
        self.flush()

    def flush(self) -> None:
        """Write when keys were last used."""
        with self._lock:
            used, self._used = self._used, {}
            self._flushed = clock.monotonic()
        if used:
            with writing(self.engine) as connection:
                keys.mark_used(connection, used)

    def _good_key(self, text: str) -> keys.Key | None:
        parts = keys.split(text)
        if parts is None:
            return None
        key_id, digest = parts
        found = self._keys.get(key_id)
        if found is None:
            compare_digest(digest, _NOBODY)
            return None
        if not compare_digest(digest, found.secret_hash) or found.revoked_at is not None:
            return None
        self._touch(key_id)
        return found

    def _find_key(self, key_id: str) -> keys.Key | None:
        with reading(self.engine) as connection:
            return keys.find_key(connection, key_id)

    def _find_session(self, token: str) -> Principal | None:
        with reading(self.engine) as connection:
            return principal_of_session(connection, token, clock.now())

    def _touch(self, key_id: str) -> None:
        with self._lock:
            self._used[key_id] = clock.now()
            due = clock.monotonic() - self._flushed >= USED_SECONDS
            if due:
                self._flushed = clock.monotonic()
        if due:
            threading.Thread(target=self.flush, name="keys-last-used", daemon=True).start()
