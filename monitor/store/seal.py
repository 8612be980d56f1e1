"""Sealing: credentials are kept in the database encrypted and authenticated, under the secret key of the installation.

A sealed text is `v1:` and a Fernet token (AES-128-CBC with HMAC-SHA256) under a key that HKDF-SHA256 derives from the
secret key. Another way to seal gets another prefix.
"""

import base64
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import SecretStr

from monitor.errors import SetupError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

PREFIX = "v1:"
_PURPOSE = b"keepwatch seal v1"


def seal(key: SecretStr | None, text: str) -> str:
    """The text as it may be stored.

    Raises:
        SetupError: there is no secret key.
    """
    return PREFIX + _box(_text(key)).encrypt(text.encode()).decode()


def unseal(key: SecretStr | None, sealed: str) -> str:
    """The text that was sealed.

    Raises:
        SetupError: there is no secret key, or the text was not sealed with this one; says what to do, not the text.
    """
    box = _box(_text(key))
    from cryptography.fernet import InvalidToken

    try:
        if sealed.startswith(PREFIX):
            return box.decrypt(sealed.removeprefix(PREFIX)).decode()
    except (InvalidToken, ValueError):  # ValueError: what stands there is no token at all
        pass
    raise SetupError(
        "the URL and the secret were not sealed with this KEEPWATCH_SECRET_KEY: start with the one that the channel was"
        " made under (on SQLite, the .secret file beside the database) and replay what is dead, or delete the channel"
        " and make it again"
    )


def _text(key: SecretStr | None) -> str:
    if key is None or not key.get_secret_value():
        raise SetupError("KEEPWATCH_SECRET_KEY is not set: it seals the channels' URLs and secrets")
    return key.get_secret_value()


@lru_cache(maxsize=4)
def _box(key: str) -> "Fernet":
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
