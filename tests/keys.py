"""The secret key of the installations that tests make, and another one."""

from pydantic import SecretStr

SECRET_KEY = SecretStr("0123456789abcdef" * 4)
OTHER_KEY = SecretStr("fedcba9876543210" * 4)
