"""The command that makes benchmark lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.console import print_rows
from flows.options import Json, told

lists = typer.Typer()


@lists.command()
def benchmark(
    place: Annotated[
        Path,
        typer.Argument(
            help="A folder of pictures, texts and Parquet files, or one file.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="The list, a Parquet file.", show_default=False)],
    name: Annotated[
        str | None, typer.Option(help="As the ledger calls it; by default the name of OUT.")
    ] = None,
    words: Annotated[
        int, typer.Option(min=5, max=64, help="Words in a row that give a text away.")
    ] = 13,
    as_json: Json = False,
) -> None:
    """Make a list of a benchmark's pictures and texts, for `select.benchmarks` of recipes.

    It holds hashes alone: of pictures a perceptual hash, of texts every run of so many words (a
    shorter text counts as a whole, from five words on).
    """
    from workers.benchmark_list import write_benchmark
    from workers.durable import write_whole
    from workers.make_benchmark import list_benchmark

    with told():
        listed = list_benchmark(place, words)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, write_benchmark(name or out.stem, listed.pictures, listed.runs))
    runs = sum(map(len, listed.runs.values()))
    if as_json:
        counts = {"pictures": len(listed.pictures), "texts": listed.texts, "runs": runs}
        typer.echo(json.dumps({**counts, "skipped": dict(listed.skipped), "list": str(out)}))
        return
    rows = [
        ("list", str(out)),
        ("pictures", f"{len(listed.pictures):,}"),
        ("texts", f"{listed.texts:,}, {runs:,} runs of words"),
    ]
    rows += [(f"passed over: {reason}", f"{n:,}") for reason, n in sorted(listed.skipped.items())]
    print_rows(rows)
