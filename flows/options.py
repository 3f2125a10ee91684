"""What the commands have in common: their arguments, and how a failure is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import PatchpackError

RecipePath = Annotated[Path, typer.Argument(help="The recipe, a TOML file.", show_default=False)]
DatasetPlace = Annotated[
    str, typer.Argument(help="The folder of a data set, local or s3://.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
Workers = Annotated[int | None, typer.Option(min=1, help="CPUs of the local Ray; by default all.")]
Partitions = Annotated[
    list[str] | None,
    typer.Option("--partition", help="A published partition; repeatable.", show_default=False),
]


@contextmanager
def told() -> Iterator[None]:
    """Errors for a person become one line and exit status 1."""
    try:
        yield
    except PatchpackError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"error: {error.filename or ''}: {error.strerror or error}", err=True)
        raise typer.Exit(1) from None
