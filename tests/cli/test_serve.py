"""`keepwatch serve` as a real process: its first words, its worker, and how it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

COMMAND = [sys.executable, "-m", "monitor.cli"]
START_SECONDS = 60


class Served:
    """A running `keepwatch serve` in a folder of its own."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.log = folder / "stderr.log"
        own = {name: value for name, value in os.environ.items() if not name.startswith("KEEPWATCH_")}
        self.environment = {**own, "KEEPWATCH_DATABASE_URL": f"sqlite:///{folder}/kw.db", "KEEPWATCH_TICK": "0.3"}
        self.environment |= environment
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--port", "0", *options],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=Path(__file__).parents[2],
            )
        assert self.process.stdout is not None
        self.words = [self.process.stdout.readline(), self.process.stdout.readline()]
        if "shown this once" in self.words[1]:
            self.words.append(self.process.stdout.readline())
        self.url = re.search(r"http://\S+", self.words[0])[0]  # type: ignore[index]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url.removesuffix('/watch')}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def worker(self) -> int | None:
        started = re.findall(r'"pid": (\d+), "event": "worker_started"', self.log.read_text())
        return int(started[-1]) if started else None

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(40)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def start(*options: str, **environment: str) -> Served:
        served = Served(tmp_path, *options, **environment)
        running.append(served)
        served.wait_for(served.is_ready)
        return served

    yield start
    for served in running:
        if served.process.poll() is None:
            served.end(signal.SIGKILL)
        assert served.process.stdout is not None
        served.process.stdout.close()


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def use(served: Served, client: httpx.Client) -> None:
    """Make a model and send rows, while the worker is at work."""
    assert client.put("/v1/models/m", json={"task": "binary"}).status_code == 201
    rows = {"rows": [{"id": f"r{i}", "features": {"x": i}, "prediction": 1} for i in range(20)]}
    assert client.post("/v1/models/m/predictions", json=rows).json()["accepted"] == 20
    served.wait_for(lambda: served.worker() is not None)
    assert client.get("/metrics").status_code == 200


def logged_in_once(served: Served, login: str) -> None:
    """The address of a log-in shows a page; its token is exchanged once."""
    assert httpx.get(login).status_code == 200
    form = {"token": login.partition("token=")[2]}
    entered = httpx.post(f"{served.url}/login", data=form)
    assert entered.status_code == 303 and "HttpOnly" in entered.headers["set-cookie"]
    assert httpx.post(f"{served.url}/login", data=form).status_code == 401


def test_a_fresh_install_makes_a_key_serves_and_stops_in_order(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve()
    key = re.search(r"kw_\S+", served.words[1])[0]  # type: ignore[index]
    login = re.search(r"http://\S+", served.words[2])[0]  # type: ignore[index]
    assert login.startswith(f"{served.url}/login?token=")
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {key}"}) as client:
        use(served, client)
    logged_in_once(served, login)
    worker = served.worker()
    assert worker is not None and os.getpriority(os.PRIO_PROCESS, worker) >= 15
    assert os.sched_getscheduler(worker) == os.SCHED_OTHER, "it may have the write lock: others wait for it to run"
    token = login.partition("token=")[2]
    assert served.end() == 0
    assert not is_alive(worker)
    assert key not in served.log.read_text() and token not in served.log.read_text()
    assert "Traceback" not in served.log.read_text()
    for path in tmp_path.glob("kw.db*"):
        assert path.stat().st_mode & 0o077 == 0, path

    again = serve()
    assert "keepwatch login" in again.words[1]
    assert httpx.get(f"{again.url}/v1/models/m", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert again.end(signal.SIGINT) == 0


def test_a_worker_is_started_again_and_ends_with_its_parent(serve: Callable[..., Served]) -> None:
    served = serve("--root-path", "/watch")  # a proxy in front strips it
    page = httpx.get(f"{served.url.removesuffix('/watch')}/", headers={"Accept": "text/html"})
    assert page.headers["location"] == "/watch/login"
    served.wait_for(lambda: served.worker() is not None)
    first = served.worker()
    assert first is not None
    os.kill(first, signal.SIGKILL)
    served.wait_for(lambda: served.worker() not in (None, first))
    second = served.worker()
    served.end(signal.SIGKILL)
    deadline = time.monotonic() + 15
    while is_alive(second or 0) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert second is not None and not is_alive(second)


def test_a_key_of_the_environment_lets_in_and_is_not_printed(serve: Callable[..., Served]) -> None:
    key = "kw_" + "qZ7w3Lr9sK1xV5tB2nM8pD4fH6jG0y"
    served = serve(KEEPWATCH_ADMIN_KEY=key)
    assert key not in "".join(served.words)
    assert httpx.get(f"{served.url}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_a_port_that_is_taken_makes_no_key(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve()
    port = served.url.rpartition(":")[2]
    other = {**served.environment, "KEEPWATCH_DATABASE_URL": f"sqlite:///{tmp_path}/other.db"}
    found = subprocess.run([*COMMAND, "serve", "--port", port], env=other, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2 and found.stdout == "" and found.stderr.count("\n") == 1 and "--port" in found.stderr
    assert not (tmp_path / "other.db").exists()
