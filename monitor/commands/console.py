"""What commands print: results on stdout, progress and errors on stderr."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Advance = Callable[[int, int], None]


def say(text: str = "") -> None:
    """A line for people, on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(content: Any) -> None:
    """One JSON object, on one line of stdout."""
    say(json.dumps(content, ensure_ascii=False, default=str))


def complain(text: str) -> None:
    """What went wrong and what to do, on one line of stderr."""
    line = " ".join(text.split()) or "an unforeseen error"
    sys.stderr.write(f"keepwatch: {line}\n")


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[Advance]:
    """A progress bar on stderr; the block is given `advance(done, total)`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance


def table(rows: list[dict[str, str]]) -> None:
    """Rows as aligned columns on stdout."""
    if not rows:
        return
    names = list(rows[0])
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    say("  ".join(name.ljust(widths[name]) for name in names).rstrip())
    for row in rows:
        say("  ".join(row[name].ljust(widths[name]) for name in names).rstrip())
