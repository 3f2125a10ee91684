"""What a person sees: progress bars on a terminal, plain lines otherwise, tables of two columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from pipelines.steps import Progress as Tell


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Tell]:
    """Bars on standard error where it is a terminal, else a line a stage when it
    begins and ends.
    """
    console = Console(stderr=True)
    if quiet:
        yield lambda _stage, _done, _total: None
        return
    if not console.is_terminal:
        yield _line
        return
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if total == 0:
                return
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield tell


def _line(stage: str, done: int, total: int) -> None:
    if total and done in (0, total):
        print(f"{stage}: {done} of {total}", file=sys.stderr, flush=True)


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Two columns on standard output; folded to a terminal's width, whole lines in a pipe."""
    width = max((len(what) for what, _ in rows), default=0)
    console = Console()
    if not console.is_terminal:
        for what, value in rows:
            print(f"{what:<{width}}  {value}")
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for what, value in rows:
        table.add_row(Text(what), Text(value))  # never read as markup
    console.print(table)
