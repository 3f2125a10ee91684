"""Commands for people and scripts: a recipe path and few flags; the knobs live in the recipe.

Each prints plain lines or a table, `--json` prints one JSON document instead, and every failure
that a person can act on is one line on standard error and exit status 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.console import outcome_of, print_rows, print_table, progress_bars, show_built
from flows.lists import lists
from flows.operate import operations
from flows.options import DatasetPlace, Json, Partitions, RecipePath, Workers, told
from schemas.errors import PatchpackError, RecipeError

app = typer.Typer(
    name="flows",
    help="patchpack: raw multimodal data into packed WebDataset shards.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

app.add_typer(operations)
app.add_typer(lists)


@app.command()
def build(recipe: RecipePath, workers: Workers = None, as_json: Json = False) -> None:
    """Build the data set of a recipe; run again, it does only what is missing."""
    from pipelines.build import Built, call
    from pipelines.build import build as build_now
    from pipelines.engine import NoWork, WorkToDoError
    from pipelines.load_recipe import load_recipe
    from pipelines.steps import Workshop

    with told():
        loaded = load_recipe(recipe)
        try:
            built: Built = build_now(Workshop(loaded, NoWork()), call)
            outcome = "nothing to do, up to date"
        except WorkToDoError:
            from flows.run import run_flow

            with progress_bars(quiet=as_json) as progress:
                built = run_flow(recipe, progress, workers)
            outcome = outcome_of(built)
    show_built(built, outcome, loaded.output.path, as_json=as_json)


@app.command()
def plan(
    recipe: RecipePath,
    partition: Partitions = None,
    workers: Workers = None,
    policies: Annotated[
        str | None,
        typer.Option(
            help="Compare these on the recipe's data instead: qwen2_vl,internvl?max_num=6",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """What a build would hold and what it would do, beside the published version.

    Tokens, packs, fill and drops; source files that are new, changed or gone; payloads to render
    and shards to write with modelled bytes. No pixel is decoded. New and changed files are surveyed
    and tokenized, which is kept for the build. With --partition, what `backfill` would do. With
    --policies one line for each of them: tokens of a sample by percentile, packs, fill, what is too
    long, what is left of the pixels, modelled work of the language model and of the tower.
    """
    if policies is not None:
        _compare_policies(recipe, policies, workers, as_json=as_json)
        return
    from pipelines import summary
    from pipelines.build import call
    from pipelines.costs import plan_costs, rows_of
    from pipelines.engine import RayEngine
    from pipelines.load_recipe import load_recipe
    from pipelines.steps import Workshop

    with told():
        engine = RayEngine(workers)
        try:
            with progress_bars(quiet=as_json) as progress:
                workshop = Workshop(load_recipe(recipe), engine, progress)
                partitions, costs = plan_costs(workshop, call, partition or [], _say)
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
                    "costs": costs.as_json(),
                }
            )
        )
        return
    print_rows([*rows, *rows_of(costs)])
    print_rows(drops)


def _compare_policies(recipe: Path, policies: str, workers: int | None, *, as_json: bool) -> None:
    from pipelines.build import call
    from pipelines.engine import RayEngine
    from pipelines.load_recipe import load_recipe
    from pipelines.policy_plans import plan_policies, rows_of
    from pipelines.steps import Workshop

    with told():
        names = [name for name in (one.strip() for one in policies.split(",")) if name]
        recipes = {name: load_recipe(recipe, name) for name in names}
        if not recipes:
            raise RecipeError("--policies: expected kinds, as qwen2_vl,internvl?max_num=6")
        engine = RayEngine(workers)
        try:
            with progress_bars(quiet=as_json) as progress:
                workshop = Workshop(load_recipe(recipe), engine, progress)
                plans = list(plan_policies(workshop, call, recipes))
        finally:
            engine.close()
    if as_json:
        typer.echo(json.dumps({"policies": [one.as_json() for one in plans]}))
        return
    header, *rows = rows_of(plans)
    print_table(header, rows)


def _say(line: str) -> None:
    typer.echo(line, err=True)


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

    with told():
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
def verify(dataset: DatasetPlace, as_json: Json = False) -> None:
    """Check a data set against its manifest: digests, headers, arrays, spans, ledger."""
    from pipelines.verify import verify as verify_now
    from workers.storage.folder import folder_of

    with told(), progress_bars(quiet=as_json) as progress:
        report = verify_now(folder_of(dataset), progress)
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
    dataset: DatasetPlace,
    name: Annotated[str, typer.Argument(help="A sample id or a pack key.", show_default=False)],
    extract: Annotated[
        Path | None, typer.Option(help="Write the pack's parts there as plain files.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Where a sample went, or what a pack holds."""
    import pyarrow as pa

    from patchpack import FormatError
    from pipelines.explain import caption_rows
    from pipelines.explain import explain as explain_now
    from schemas.errors import ContractError
    from workers.storage.folder import folder_of

    with told():
        try:
            story = explain_now(folder_of(dataset), name, extract)
        except (FormatError, pa.ArrowInvalid) as error:
            what = f"{dataset}: {error}; `verify` names what is damaged"
            raise ContractError(what) from error
    if as_json:
        typer.echo(json.dumps(story))
        return
    captions = story.pop("captions", [])
    rows = [
        (what, value if isinstance(value, str) else json.dumps(value))
        for what, value in story.items()
    ]
    print_rows(rows + [row for one in captions for row in caption_rows(one)])
