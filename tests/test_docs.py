"""What the documents tell people to do works: commands and code are taken out of them and run against a real server."""

import base64
import json
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

from monitor import installation
from monitor.alerts.causes import merge
from monitor.alerts.payload import sample_body
from monitor.alerts.senders import sign
from monitor.ingest.rowtypes import LOOSE_ROW
from monitor.settings import Settings
from monitor.stats.measure import METRICS
from monitor.stats.verdict import Cause
from monitor.store.channels import Channel
from monitor.store.model_config import ModelConfig

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


def rows_of_tables(document: str) -> set[str]:
    """Every name in the first column of a document's tables; several stand with commas."""
    cells = re.findall(r"^\| (`[^|]+`)(?: \([^|]*\))? \|", (ROOT / document).read_text(), re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_the_guide_names_every_setting_of_a_model_and_every_field_of_a_row():
    named = rows_of_tables("docs/guide.md")
    assert {*ModelConfig("binary").to_dict(), "features"} <= named
    assert set(LOOSE_ROW.__struct_fields__) <= named


def test_the_statistics_name_every_metric():
    assert set(METRICS) <= rows_of_tables("docs/statistics.md")


def test_the_example_of_an_alert_has_the_fields_that_a_webhook_has():
    example = json.loads(block("docs/guide.md", "json", "alert.firing"))
    channel = Channel("channel_1", 1, "webhook", "x", "https://example.org", "", (), 0)
    sent = json.loads(sample_body(channel, 0, ""))
    assert list(example) == list(sent)
    assert list(example["data"]) == list(sent["data"])
    assert set(example["data"]["budget"]) == set(sent["data"]["budget"])
    assert set(example["data"]["causes"][0]) == set(merge((), [Cause("psi", None, None, 0, 0, 0, 1, "")], 0)[0])


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
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `first_start` has its database."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def first_start(folder: Path) -> Iterator[tuple[str, str]]:
    """`keepwatch serve` in an empty folder, as the README says; gives its address and the key that it printed."""
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


def run_commands(code: str, environment: dict[str, str], folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Commands of a document, in a shell that stops at the first one that fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEEPWATCH_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the guide's commands need curl")
def test_the_commands_of_the_guide_work_one_after_the_other(first_start: tuple[str, str], folder: Path):
    url, key = first_start
    command = 'keepwatch() { "$PYTHON" -m monitor.cli "$@"; }\n'
    documents = ("docs/guide.md", "docs/channels.md")
    both = [code for document in documents for code in blocks(ROOT / document, "sh")]
    code = "".join(both).replace("http://127.0.0.1:8000", url)
    given = {"KEY": key, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    done = run_commands(command + code, given, folder)
    assert '"rejected_count":0' in done.stdout
    assert not re.search(r'"rejected_count":[1-9]|rejected count: [1-9]', done.stdout), done.stdout
    assert done.stdout.count('"value":0.5') >= 1, done.stdout  # r1's error, known by 2 March


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands need curl")
def test_the_commands_for_who_comes_from_elsewhere_work(first_start: tuple[str, str], folder: Path):
    url, key = first_start
    code = 'keepwatch() { "$PYTHON" -m monitor.cli "$@"; }\n' + block("docs/guide.md", "sh", "kw() {")
    code = (code + "".join(blocks(ROOT / "docs/formats.md", "sh"))).replace("http://127.0.0.1:8000", url)
    done = run_commands(code, {"KEY": key, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}, folder)
    for said in ("format: nannyml", "format: sagemaker", '"pending":1', '"rows":{"accepted":1'):
        assert said in done.stdout, done.stdout
    assert not re.search(r'"rejected_count":[1-9]|rejected count: [1-9]', done.stdout), done.stdout


def test_the_commands_of_export_and_erasure_work_beside_a_running_server(churn: tuple[str, str], folder: Path):
    (folder / "ids.txt").write_text("order-77\n")
    command = 'keepwatch() { "$PYTHON" -m monitor.cli "$@"; }\n'
    code = [one for one in blocks(ROOT / "docs/operations.md", "sh") if "keepwatch e" in one]
    done = run_commands(command + "".join(code), {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}, folder)
    assert re.search(r"\d+ rows of \d+ days", done.stdout) and "1 ids are erased" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the recipe needs sqlite3")
def test_the_backup_of_a_running_server_can_be_served(first_start: tuple[str, str], folder: Path):
    run_commands("umask 022\n" + block("docs/operations.md", "sh", ".backup"), {}, folder)
    copy = Settings(database_url=f"sqlite:///{folder / 'copy.db'}")
    with installation.opened(copy, may_create=True) as engine:
        assert installation.has_key(engine)
    original = Settings(database_url=f"sqlite:///{folder / 'keepwatch.db'}")
    secrets = [installation.with_secret_key(one).secret_key for one in (copy, original)]
    assert secrets[0] == secrets[1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's commands need curl")
def test_the_first_prediction_of_the_readme_is_accepted(first_start: tuple[str, str]):
    url, key = first_start
    code = block("README.md", "sh", "send()").replace("http://127.0.0.1:8000", url)
    done = run_commands(code, {"KEY": key})
    assert done.stdout.count('"accepted":1') == 2, done.stdout
    assert '"rejected_count":0' in done.stdout


@pytest.fixture
def churn(first_start: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The model of the examples, and an empty folder for their queues."""
    url, key = first_start
    put = urllib.request.Request(
        url + "/v1/models/churn",
        data=b'{"task": "binary", "positive_class": "yes"}',
        method="PUT",
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(put, timeout=10) as answer:
        assert answer.status in (200, 201)
    monkeypatch.chdir(tmp_path)
    return url, key


@pytest.mark.slow
def test_the_python_of_the_readme_stores_a_prediction_and_its_outcome(
    churn: tuple[str, str], capsys: pytest.CaptureFixture[str]
):
    url, key = churn
    names: dict[str, Any] = {"KEY": key}
    exec(block("README.md", "python", "flush").replace("http://127.0.0.1:8000", url), names)
    assert capsys.readouterr().out == "True 2\n"
    names["keepwatch"].close()


@pytest.mark.slow
def test_the_examples_of_the_client_run(churn: tuple[str, str], capsys: pytest.CaptureFixture[str]):
    url, key = churn
    names: dict[str, Any] = {"KEY": key}
    for code in blocks(ROOT / "docs/client.md", "python"):
        exec(code.replace("http://127.0.0.1:8000", url), names)
    client = names["keepwatch"]
    names["score"](names["Order"](age=41, plan="pro"))
    assert client.flush(), client.stats()
    stats = client.stats()
    assert (stats["refused"], stats["not_taken"], stats["accepted"]) == (0, 0, stats["logged"])
    client.close()
    (command,) = [one for one in blocks(ROOT / "docs/client.md", "sh") if "requeue" in one]
    done = run_commands(command.replace("python ", sys.executable + " "), {"PYTHONPATH": str(ROOT)}, Path.cwd())
    assert '"dead_letters": 0' in done.stdout
