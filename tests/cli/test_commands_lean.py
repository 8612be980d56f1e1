"""A process of the service never loads pandas, though it is installed and pyarrow looks for it."""

import subprocess
import sys

CODE = """
import sys
from monitor.commands.lean import keep_pandas_out
keep_pandas_out()
import pyarrow as pa
assert pa.array([1, None]).null_count == 1
assert "pandas" not in sys.modules, "pyarrow has loaded it"
import pandas  # whoever asks for it still gets it
assert pandas.Series([1]).sum() == 1
"""


def test_making_arrays_does_not_load_pandas() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
