"""Logs hold no secrets."""

import json
import subprocess
import sys

import pytest

from monitor.log import hide


@pytest.mark.parametrize(
    "text",
    [
        "key kw_aaaaaaaa_c4n4ry1c4n4ry1c4n4ry1c4n4ry1c4n4ry1-_9 was used",
        "Authorization: Bearer c4n4ry1c4n4ry1c4n4ry1c4n4ry1",
        "authorization: basic YzRuNHJ5MWM0bjRyeTE= c",
        "secret whsec_c4n4ry1c4n4ry1c4n4ry1c4n4ry1",
        "postgresql+psycopg://ada:c4n4ry2@db:5432/kw",
        "http://127.0.0.1:8000/login?token=c4n4ry1c4n4ry1c4n4ry1c4n4ry1",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    hidden = hide(text)
    assert "[hidden]" in hidden and "c4n4ry" not in hidden and "YzRuNHJ5" not in hidden


def test_a_log_line_is_one_json_object_without_secrets() -> None:
    code = """
import logging
from monitor import log
log.setup()
log.get("x").info("started", url="postgresql://ada:c4n4ry2@db/kw", rows=3)
logging.getLogger("uvicorn.error").warning("sent %s", "kw_aaaaaaaa_c4n4ry1c4n4ry1")
try:
    raise ValueError("whsec_c4n4ry1c4n4ry1")
except ValueError as error:
    log.get("x").error("failed", exc_info=error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["started", "sent [hidden]", "failed"]
    assert lines[0]["rows"] == 3 and lines[0]["level"] == "info" and lines[0]["timestamp"].endswith("Z")
    assert "c4n4ry" not in done.stderr and done.stdout == ""
