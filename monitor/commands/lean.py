"""pandas stays out of the processes of the service.

Where pandas is installed, pyarrow imports it when it makes its first array, to see whether it was given a Series: one
to five seconds in which the first request waits, and 80 MB, for nothing that the service does.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa


class _Hidden(MetaPathFinder):
    """Finds no pandas, and leaves everything else to the other finders."""

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(name=name)
        return None


def keep_pandas_out() -> None:
    """Let pyarrow look for pandas now, and find none; it looks once in the life of a process."""
    if "pandas" in sys.modules:
        return
    finder = _Hidden()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(finder)
