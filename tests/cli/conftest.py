"""Commands run in this process, on a database of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor import log, settings
from monitor.cli import run_command

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """KEEPWATCH_DATABASE_URL names a file that does not exist yet; the folder is given."""
    monkeypatch.setenv("KEEPWATCH_DATABASE_URL", f"sqlite:///{tmp_path}/kw.db")
    monkeypatch.setattr(log, "setup", lambda level="INFO": None)  # it would keep the stderr of this test
    settings.load.cache_clear()
    yield tmp_path
    settings.load.cache_clear()


@pytest.fixture
def keepwatch(environment: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """keepwatch("keys", "list") -> exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        settings.load.cache_clear()
        code = run_command(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
