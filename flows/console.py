"""What a person sees: progress bars on a terminal, plain lines otherwise, tables."""

from __future__ import annotations

import re
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

from pipelines import summary
from pipelines.build import Built
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


def outcome_of(built: Built) -> str:
    """What a build that had work to do came to."""
    if built.new:
        return "shards and manifest"
    return f"version {built.manifest.version} stands, what was missing is there again"


def show_built(built: Built, outcome: str, output: str, *, as_json: bool) -> None:
    """The published version on standard output."""
    if as_json:
        print(built.manifest.model_dump_json())
        return
    print_rows(summary.of_manifest(built.manifest))
    print(f"{outcome}: {output}")


_DIGITS = re.compile(r"[\d,]+(?:\.\d+)?%?")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns on standard output, numbers to the right."""
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    to_the_right = [
        all(_DIGITS.fullmatch(row[column]) for row in rows) and bool(rows)
        for column in range(len(header))
    ]
    for row in table:
        cells = (
            f"{cell:>{width}}" if right else f"{cell:<{width}}"
            for cell, width, right in zip(row, widths, to_the_right, strict=True)
        )
        print("  ".join(cells).rstrip())
