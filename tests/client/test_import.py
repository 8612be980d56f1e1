"""The client is light: the standard library alone, few modules, milliseconds."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# importing one of these takes milliseconds
HEAVY = {
    "asyncio",
    "dataclasses",
    "email",
    "hashlib",
    "http",
    "inspect",
    "logging",
    "pathlib",
    "random",
    "ssl",
    "typing",
}
LIST = "import sys; before = set(sys.modules); import monitor.client; print(*sorted(set(sys.modules) - before))"


def run(code: str, cache: Path) -> str:
    # -S: without what the environment's .pth files load
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = kept | {"PYTHONPYCACHEPREFIX": str(cache)}
    command = [sys.executable, "-S", "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def test_it_loads_few_modules_and_none_that_is_heavy(tmp_path: Path):
    found = run(LIST, tmp_path).split()
    assert len(found) <= 60, found
    assert not {name.partition(".")[0] for name in found} & HEAVY
    assert {name for name in found if name.startswith("monitor")} <= {
        "monitor",
        *(f"monitor.client{one}" for one in ("", ".client", ".clock", ".deliver", ".encode", ".lane")),
        *(f"monitor.client{one}" for one in (".queue", ".sender", ".spool", ".transport")),
    }


def test_it_imports_in_under_50_milliseconds(tmp_path: Path):
    def seconds(modules: str) -> float:
        code = f"import time; at = time.process_time(); import {modules}; print(time.process_time() - at)"
        run(code, tmp_path)  # compiled from now on
        return min(float(run(code, tmp_path)) for _ in range(5))

    ours = seconds("monitor.client")
    # On a machine that others slow down, what the standard library takes there is the measure.
    assert ours < 0.05 or ours < 5 * seconds("json, threading")
