"""The command `keepwatch`. An error is one line on stderr and exit code 2, never a traceback."""

import os
import sys
from typing import Annotated

import typer

from monitor.commands import access, apply, data, health, leaving, run
from monitor.commands.console import complain, say
from monitor.commands.lean import keep_pandas_out
from monitor.commands.whole import WholeLines
from monitor.errors import KeepwatchError

app = typer.Typer(
    name="keepwatch",
    cls=WholeLines,
    help="Production model monitoring: drift, quality, latency and performance.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
run.register(app)
data.register(app)
leaving.register(app)
access.register(app)
apply.register(app)
health.register(app)

# What typer raises about a wrong option; the class itself is not part of its interface.
_UsageError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        from monitor.telemetry import own_version

        say(f"keepwatch {own_version()}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """The entry point; ends the process."""
    keep_pandas_out()
    sys.exit(run_command(arguments))


def run_command(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        code = app(arguments, standalone_mode=False)
    except KeepwatchError as error:
        complain(str(error))
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:  # the last resort: one line, as promised
        return _unforeseen(error)
    return code if isinstance(code, int) else 0


def _unforeseen(error: Exception) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    from monitor.log import hide

    if type(error).__name__ == "NoArgsIsHelpError":
        say(error.format_message())  # type: ignore[attr-defined]
        return 2
    if isinstance(error, _UsageError):
        complain(error.format_message() + " (see --help)")  # type: ignore[attr-defined]
        return 2
    if isinstance(error, SQLAlchemyError):
        reason = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
        complain(hide(f"the database does not answer: {reason}; check KEEPWATCH_DATABASE_URL"))
        return 2
    if isinstance(error, OSError):
        complain(hide(str(error)))
        return 2
    complain(hide(f"an unforeseen error, please report it: {type(error).__name__}: {error}"))
    return 70


if __name__ == "__main__":
    main()
