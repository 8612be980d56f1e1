"""Crash states of ingest on SQLite: what would a power loss have left, at every point of a real record?

    python -m tests.benchmarks.power [--states 10000]

How it is simulated stands in tests/faults/power.py. Beside the product's synchronous=FULL the same with NORMAL, which
must lose acknowledged rows, and with OFF, which must lose more: a tenth of the states each. The last line is one
JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REQUESTS = 60


def crashed(folder: Path, states: int, synchronous: str) -> dict[str, Any]:
    asked = ["--requests", str(REQUESTS), "--states", str(states), "--synchronous", synchronous]
    command = [sys.executable, "-m", "tests.faults.power", str(folder), *asked]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = {"synchronous": synchronous, **json.loads(done.stdout)}
    print(found, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--states", type=int, default=10_000)
    asked = parser.parse_args()
    shares = {"FULL": asked.states, "NORMAL": asked.states // 10, "OFF": asked.states // 10}
    with tempfile.TemporaryDirectory(dir=Path("/dev/shm") if Path("/dev/shm").is_dir() else None) as folder:
        results = [crashed(Path(folder) / name, states, name) for name, states in shares.items()]
    print(json.dumps({"results": results}))


if __name__ == "__main__":
    main()
