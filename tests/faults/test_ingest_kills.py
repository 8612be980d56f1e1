"""`kill -9` of the ingest process under load, at random and at its calls: nothing acknowledged is lost or doubled.

A short form of `python -m tests.benchmarks.faults`; what the kills are stands in tests/faults/killing.py.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from monitor.settings import Settings

ROOT = Path(__file__).parents[2]
CLEAN = {"lost": 0, "doubled": 0, "changed": 0, "unexpected": {}}


@pytest.mark.timeout(240)
def test_nothing_acknowledged_is_lost_or_doubled_by_kills(settings: Settings, engine: Engine) -> None:
    engine.dispose()
    asked = ["--random", "6"]
    if shutil.which("strace") is not None:
        asked += ["--calls", "10" if settings.embedded else "24"]
    if settings.embedded:
        asked += ["--controls", "3"]
    command = [sys.executable, "-m", "tests.faults.killing", settings.url, *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert {name: found[name] for name in CLEAN} == CLEAN
    assert found["acknowledged"] > 100 and found["retried"] > 20
    if "--calls" in asked:
        assert found["kills"]["files" if settings.embedded else "said"] >= 3, found["kills"]
    if "--controls" in asked:
        assert found["control_early"]["lost"] > 0, "a writer that answers before it commits went unnoticed"
        assert found["control_anonymous"]["doubled"] > 0, "retries of rows without ids went unnoticed"
