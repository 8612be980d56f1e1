"""Power loss at any moment of ingest on SQLite: nothing acknowledged is lost, no file is broken.

A short form of `python -m tests.benchmarks.power`; how it is simulated stands in tests/faults/power.py.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def crashed(folder: Path, synchronous: str) -> dict[str, Any]:
    """What the crash states of a few requests came to."""
    asked = ["--requests", "6", "--states", "150", "--synchronous", synchronous]
    command = [sys.executable, "-m", "tests.faults.power", str(folder), *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: it records what is written")
def test_no_power_loss_loses_or_breaks_anything_and_the_same_states_without_a_sync_per_commit_do(
    tmp_path: Path,
) -> None:
    found = crashed(tmp_path / "full", "FULL")
    assert found["states"] >= 100 and found["acknowledged"] > 20
    assert (found["losing"], found["doubling"], found["corrupt"]) == (0, 0, 0)
    control = crashed(tmp_path / "normal", "NORMAL")
    assert control["losing"] > 0, "acknowledged before it was synced, and not noticed"
