"""The wheel: built from this tree, installed into an empty environment, and served from an empty folder.

No network is used. The new environment takes the dependencies from the one that runs the tests, by a path entry behind
its own packages, and takes nothing of this source tree.
"""

import os
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheel in it; returns its folder of commands."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    target = Path(paths["purelib"])
    install = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "install",
        "--no-deps",
        "--no-index",
    ]
    python = str(Path(paths["scripts"]) / "python")
    run([*install, "--no-compile", "--prefix", str(folder), "--ignore-installed", str(wheel)], folder)
    assert (target / "monitor").is_dir(), f"the wheel was not installed into {target}"
    # Behind the wheel's own packages; a .pth is not followed recursively, so that the editable install stays out.
    (target / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    script = Path(paths["scripts"]) / "keepwatch"
    lines = script.read_text().splitlines(keepends=True)
    script.write_text(f"#!{python}\n" + "".join(lines[1:]))
    return Path(paths["scripts"])


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """An empty folder that is neither this repository nor below it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def run(command: list[str], folder: Path, **more: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=surroundings(**more), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def surroundings(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KEEPWATCH_", "PYTHON"))}
    return {**kept, **more}


def test_the_wheel_holds_code_pages_and_migrations_and_nothing_else(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    roots = {name.partition("/")[0] for name in names}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"monitor", "dashboards"}
    assert "monitor/_migrations/env.py" in names or "monitor/_migrations/versions/0001_initial.py" in names
    assert any(name.startswith("dashboards/templates/") for name in names)
    assert any(name.startswith("dashboards/static/") for name in names)
    assert "monitor/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".db", ".key"))]


def test_the_installed_packages_come_from_the_wheel(environment: Path, elsewhere: Path):
    code = "import monitor, dashboards; print(monitor.__file__); print(dashboards.__file__)"
    for line in run([str(environment / "python"), "-c", code], elsewhere).split():
        assert Path(line).is_relative_to(environment.parent), f"{line} is not from the wheel"


def test_migrate_makes_a_database_anywhere(environment: Path, elsewhere: Path):
    run([str(environment / "keepwatch"), "migrate"], elsewhere)
    database = elsewhere / "keepwatch.db"
    assert database.stat().st_mode & 0o777 == 0o600
    run([str(environment / "keepwatch"), "migrate"], elsewhere)  # again changes nothing


@pytest.fixture
def served(environment: Path, elsewhere: Path) -> Iterator[str]:
    port = free_port()
    log = elsewhere / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(environment / "keepwatch"), "serve", "--port", str(port)],
            cwd=elsewhere,
            env=surroundings(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while status(url + "/readyz") != 200:
            assert process.poll() is None, f"serve ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"serve did not get ready:\n{log.read_text()}"
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def status(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_serve_answers_from_an_empty_folder(served: str):
    assert status(served + "/livez") == 200
    with urllib.request.urlopen(served + "/login", timeout=5) as answer:
        page = answer.read().decode()
        assert answer.headers["content-type"].startswith("text/html")
    assert "<html" in page
    assert status(served + "/v1/models") == 401
