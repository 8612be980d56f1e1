"""Lists of commands with whole lines: one that ends in "…" leaves out what somebody looks for."""

from typing import Any

from typer.core import TyperGroup

LONGEST = 1000  # characters of a line, wrapped where the terminal ends


class WholeLines(TyperGroup):
    """Commands with their first sentence, however long it is."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write them as the list below the options."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(LONGEST)) for name, one in commands if one is not None])
