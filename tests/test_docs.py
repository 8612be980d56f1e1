"""What the documents tell people to do works: commands and code are taken out of them and run against a real server."""

import base64
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.alerts.senders import sign
from monitor.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(document: Path, language: str) -> list[str]:
    """The fenced code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def block(document: str, language: str, holding: str) -> str:
    """The one block that holds a text."""
    (found,) = [code for code in blocks(ROOT / document, language) if holding in code]
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(one.relative_to(ROOT)) for one in DOCUMENTS])
def test_links_inside_the_repository_lead_somewhere(document: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in target or target.startswith("#"):
            continue
        path, _, anchor = target.partition("#")
        assert (document.parent / path).exists(), f"{target} does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (document.parent / path).read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in anchors, f"{target}: there is no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(one.relative_to(ROOT)) for one in DOCUMENTS])
def test_make_targets_that_are_named_exist(document: Path):
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for code in blocks(document, "sh"):
        for name in re.findall(r"^make ([a-z]+)", code, re.MULTILINE):
            assert name in targets


def test_the_table_of_settings_is_complete_and_right():
    listed = set(re.findall(r"^\| `(KEEPWATCH_[A-Z_]+)` \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE))
    assert listed == {f"KEEPWATCH_{name.upper()}" for name in Settings.model_fields}


def test_the_function_that_verifies_signatures_accepts_ours_and_nothing_else():
    names: dict[str, Any] = {}
    exec(block("docs/operations.md", "python", "is_genuine"), names)
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    now = int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign(secret, "msg_1", now, b"{}"),
    }
    assert names["is_genuine"](secret, headers, b"{}")
    assert names["is_genuine"](
        secret, {**headers, "webhook-signature": "v1,AAAA " + headers["webhook-signature"]}, b"{}"
    )
    assert not names["is_genuine"](secret, headers, b"{ }")
    assert not names["is_genuine"](secret, {**headers, "webhook-id": "msg_2"}, b"{}")
    old = now - 3600
    replayed = {"webhook-timestamp": str(old), "webhook-signature": sign(secret, "msg_1", old, b"{}")}
    assert not names["is_genuine"](secret, {**headers, **replayed}, b"{}")


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """`keepwatch serve` in an empty folder, as the README says; gives its address and the key that it printed."""
    folder = tmp_path_factory.mktemp("readme")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEEPWATCH_")}
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "monitor.cli", "serve", "--port", "0"],
            cwd=folder,
            env={**kept, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield wait_for(process, log)
    finally:
        process.terminate()
        assert process.wait(40) == 0, log.read_text()


def wait_for(process: "subprocess.Popen[bytes]", log: Path) -> tuple[str, str]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        said = log.read_text()
        address = re.search(r"listens on (http://\S+)", said)
        key = re.search(r"\bkw_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}\b", said)
        if address and key and answers(address[1]):
            return address[1], key[0]
        time.sleep(0.1)
    pytest.fail(f"serve did not get ready:\n{log.read_text()}")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/readyz", timeout=2) as answer:
            return int(answer.status) == 200
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's commands need curl")
def test_the_first_prediction_of_the_readme_is_accepted(first_start: tuple[str, str]):
    url, key = first_start
    code = block("README.md", "sh", "send()").replace("http://127.0.0.1:8000", url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        env={**os.environ, "KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"accepted":1') == 2, done.stdout
    assert '"rejected_count":0' in done.stdout


@pytest.mark.slow
def test_the_python_of_the_readme_runs_and_its_retry_is_a_duplicate(
    first_start: tuple[str, str], capsys: pytest.CaptureFixture[str]
):
    url, key = first_start
    put = urllib.request.Request(
        url + "/v1/models/churn",
        data=b'{"task": "binary", "positive_class": "yes"}',
        method="PUT",
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(put, timeout=10) as answer:
        assert answer.status in (200, 201)
    code = block("README.md", "python", "keepwatch.post").replace("http://127.0.0.1:8000", url)
    for expected in ("'accepted': 1", "'duplicates': 1"):
        names: dict[str, Any] = {"KEY": key}
        exec(code, names)
        names["keepwatch"].close()
        assert expected in capsys.readouterr().out
