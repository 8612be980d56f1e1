"""The settings, all of them, and the only place that reads the environment."""

import os
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from monitor import clock
from monitor.errors import SetupError


class Settings(BaseSettings):
    """What `KEEPWATCH_…` variables say; every field has a default that runs on a laptop."""

    model_config = SettingsConfigDict(env_prefix="KEEPWATCH_", extra="ignore", frozen=True)

    database_url: SecretStr = SecretStr("sqlite:///keepwatch.db")
    public_url: str = ""
    secret_key: SecretStr | None = None
    admin_key: SecretStr | None = None
    allow_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    retention: str = "90d"
    max_body_mb: int = 32
    tick: float = 2.0
    smtp_url: SecretStr | None = None
    archive_url: str = ""
    engine: str = "local"

    @field_validator("allow_networks", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://: it goes into links")
        return value

    @field_validator("tick")
    @classmethod
    def _check_tick(cls, value: float) -> float:
        if not 0 < value <= 3600:
            raise ValueError("must be seconds above 0 and up to 3600")
        return value

    @field_validator("retention")
    @classmethod
    def _check_retention(cls, value: str) -> str:
        clock.parse_span(value)
        return value

    @field_validator("database_url", mode="after")
    @classmethod
    def _check_database(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("sqlite:///", "postgresql")):
            raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
        return value

    @field_validator("engine", mode="after")
    @classmethod
    def _check_engine(cls, value: str) -> str:
        if value != "local":
            raise ValueError("only `local` is known to this version")
        return value

    @property
    def url(self) -> str:
        """The database's URL with the drivers that Keepwatch uses."""
        url = self.database_url.get_secret_value()
        scheme, _, rest = url.partition("://")
        return f"postgresql+psycopg://{rest}" if scheme.startswith("postgres") else url

    @property
    def embedded(self) -> bool:
        return self.url.startswith("sqlite")

    @property
    def retention_us(self) -> int:
        return clock.parse_span(self.retention)

    @property
    def max_body(self) -> int:
        """Bytes of one request body, after inflating."""
        return self.max_body_mb * 1024 * 1024


_SPARING = {"ARROW_DEFAULT_MEMORY_POOL": "system"}
_OF_PYTHON = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"})


def environment(name: str) -> str | None:
    """A variable that a declared file names (`${NAME}`); None when there is none."""
    return os.environ.get(name)


def of_worker() -> dict[str, str]:
    """The environment of a worker that is started from here: one thread for matrices, and memory that is given back,
    unless somebody says otherwise.

    The matrices of the nightly test are small. On a busy machine OpenBLAS's threads wait for each other, spinning: a
    night then takes seconds in place of a fifth of one, and takes the processors from everything else. And each tick
    runs in one of ten threads, for each of which malloc and Arrow would keep what the largest step needed.
    """
    return _SPARING | {"MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1", **os.environ}


def of_decoder() -> dict[str, str]:
    """The environment of a process that decodes bodies: what Python needs of ours, since any other variable may be a
    secret (`PGPASSWORD`), and sparing of memory."""
    kept = {name: value for name, value in os.environ.items() if name in _OF_PYTHON or name.startswith("PYTHON")}
    return kept | _SPARING | {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}


@lru_cache(maxsize=1)
def load() -> Settings:
    """The settings of this process.

    Raises:
        SetupError: a variable cannot be read; names the variable, never its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "KEEPWATCH_" + str(first["loc"][0]).upper()
        raise SetupError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None
