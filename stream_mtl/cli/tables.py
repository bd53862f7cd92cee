"""How commands print tables, and the option that prints JSON in their place."""

from typing import Annotated, Final

import typer
from rich.console import Console, RenderableType
from rich.table import Column, Table

Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]

_FILE: Final = 120  # columns where there is no terminal


def right(name: str) -> Column:
    """Return a column of numbers."""
    return Column(name, justify="right")


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal; where there is none, wide enough that little is folded."""
    print_wide(table)


def print_wide(*parts: RenderableType) -> None:
    """Print parts below each other, likewise."""
    console = Console()
    for part in parts:
        (console if console.is_terminal else Console(width=_FILE)).print(part)
