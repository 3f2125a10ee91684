"""Commands for people and scripts: a recipe path and few flags; the knobs live in the recipe.

Each prints plain lines or a table, `--json` prints one JSON document instead, and every failure
that a person can act on is one line on standard error and exit status 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.console import print_rows, progress_bars
from schemas.errors import PatchpackError

app = typer.Typer(
    name="flows",
    help="patchpack: raw multimodal data into packed WebDataset shards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipePath = Annotated[Path, typer.Argument(help="The recipe, a TOML file.", show_default=False)]
DatasetPath = Annotated[Path, typer.Argument(help="The folder of a data set.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
Workers = Annotated[int | None, typer.Option(min=1, help="CPUs of the local Ray; by default all.")]


@contextmanager
def _told() -> Iterator[None]:
    """Errors for a person become one line and exit status 1."""
    try:
        yield
    except PatchpackError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"error: {error.filename or ''}: {error.strerror or error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def build(recipe: RecipePath, workers: Workers = None, as_json: Json = False) -> None:
    """Build the data set of a recipe; run again, it does only what is missing."""
    from pipelines import summary
    from pipelines.build import Built, call
    from pipelines.build import build as build_now
    from pipelines.engine import NoWork, WorkToDoError
    from pipelines.load_recipe import load_recipe
    from pipelines.steps import Workshop

    with _told():
        loaded = load_recipe(recipe)
        try:
            built: Built = build_now(Workshop(loaded, NoWork()), call)
            told = "nothing to do, up to date"
        except WorkToDoError:
            from flows.run import run_flow

            with progress_bars(quiet=as_json) as progress:
                built = run_flow(recipe, workers, progress)
            again = f"version {built.manifest.version} stands, what was missing is there again"
            told = "shards and manifest" if built.new else again
    rows = summary.of_manifest(built.manifest)
    if as_json:
        typer.echo(built.manifest.model_dump_json())
        return
    print_rows(rows)
    typer.echo(f"{told}: {loaded.output.path}")


@app.command()
def plan(recipe: RecipePath, workers: Workers = None, as_json: Json = False) -> None:
    """What a build would hold: tokens, packs, fill, drops and bytes, without decoding a pixel."""
    from pipelines import summary
    from pipelines.build import call
    from pipelines.build import plan as plan_now
    from pipelines.engine import RayEngine
    from pipelines.load_recipe import load_recipe
    from pipelines.steps import Workshop

    with _told():
        engine = RayEngine(workers)
        try:
            with progress_bars(quiet=as_json) as progress:
                workshop = Workshop(load_recipe(recipe), engine, progress)
                partitions = plan_now(workshop, call)
        finally:
            engine.close()
        rows, drops = (
            summary.of_plan(workshop, partitions),
            summary.examples_of_drops(workshop, partitions),
        )
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "plan": dict(rows),
                    "partitions": {one.name: one.packed.facts for one in partitions},
                    "drops": drops,
                }
            )
        )
        return
    print_rows(rows)
    print_rows(drops)


@app.command()
def geometry(
    policy: Annotated[str, typer.Option(help="Kind of the policy.", show_default=False)],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the policy; repeatable.")
    ] = None,
) -> None:
    """Size media by a policy: JSON lines in on standard input, one JSON line out for each."""
    from pipelines.load_recipe import load_policy
    from workers.geometry import geometry as size_lines

    with _told():
        chosen = load_policy(policy, settings or [])
        for record in size_lines(
            chosen,
            [_line(number, text) for number, text in enumerate(sys.stdin, 1) if text.strip()],
        ):
            typer.echo(json.dumps(record))


def _line(number: int, text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PatchpackError(f"standard input, line {number}: not JSON: {error}") from None
    if not isinstance(line, dict):
        raise PatchpackError(f"standard input, line {number}: expected an object")
    return line


@app.command()
def verify(dataset: DatasetPath, as_json: Json = False) -> None:
    """Check a data set against its manifest: digests, headers, arrays, spans, ledger."""
    from pipelines.verify import verify as verify_now

    with _told(), progress_bars(quiet=as_json) as progress:
        report = verify_now(dataset, progress)
    if as_json:
        typer.echo(
            json.dumps(
                {"ok": not report.problems, "problems": report.problems, "checked": report.checked}
            )
        )
    else:
        print_rows([(what, f"{count:,}") for what, count in report.checked.items()])
        for problem in report.problems:
            typer.echo(f"error: {problem}", err=True)
        typer.echo(
            "every check passed" if not report.problems else f"{len(report.problems)} problems"
        )
    raise typer.Exit(1 if report.problems else 0)


@app.command()
def explain(
    dataset: DatasetPath,
    name: Annotated[str, typer.Argument(help="A sample id or a pack key.", show_default=False)],
    extract: Annotated[
        Path | None, typer.Option(help="Write the pack's parts there as plain files.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Where a sample went, or what a pack holds."""
    import pyarrow as pa

    from patchpack import FormatError
    from pipelines.explain import explain as explain_now
    from schemas.errors import ContractError

    with _told():
        try:
            story = explain_now(dataset, name, extract)
        except (FormatError, pa.ArrowInvalid) as error:
            what = f"{dataset}: {error}; `verify` names what is damaged"
            raise ContractError(what) from error
    if as_json:
        typer.echo(json.dumps(story))
        return
    print_rows(
        [
            (what, value if isinstance(value, str) else json.dumps(value))
            for what, value in story.items()
        ]
    )
