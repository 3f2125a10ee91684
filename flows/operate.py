"""Commands that keep a data set over time: backfill, compact, versions, publish, gc, serve."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Annotated

import typer

from flows.console import outcome_of, print_rows, print_table, progress_bars, show_built
from flows.options import DatasetPlace, Json, Partitions, RecipePath, Workers, told
from pipelines.backfill import Stage
from schemas.errors import ContractError, RecipeError

operations = typer.Typer()

HOUR_S = 3600.0


@operations.command()
def backfill(
    recipe: RecipePath,
    partition: Partitions = None,
    stage: Annotated[
        Stage | None,
        typer.Option(help="Make this stage and all behind it again, also what is finished."),
    ] = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Build chosen partitions again into a new version that shares all other shards.

    What the recipe changes for them is done; with --stage also what is finished already. A
    backfill that was stopped goes on where it was. Other partitions stay as they are published,
    also where the recipe has changed; a later `build` of that recipe builds them too.
    """
    from flows.run import run_flow
    from pipelines.load_recipe import load_recipe

    with told():
        loaded = load_recipe(recipe)
        if not partition:
            raise RecipeError(_which_partitions(loaded.output.path))
        with progress_bars(quiet=as_json) as progress:
            built = run_flow(recipe, progress, workers, partition, [stage] if stage else [])
    show_built(built, outcome_of(built), loaded.output.path, as_json=as_json)


@operations.command()
def compact(
    recipe: RecipePath,
    first: Annotated[str, typer.Argument(help="The first of neighbouring partitions.")],
    last: Annotated[str, typer.Argument(help="The last of them.")],
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Make neighbouring partitions one: their samples are packed together, and nothing is rendered.

    Many small partitions end in many rows of fillers and small shards. The others keep their
    shards, and earlier versions theirs. New files of a merged partition belong to it.
    """
    from flows.run import run_flow
    from pipelines.load_recipe import load_recipe

    with told():
        loaded = load_recipe(recipe)
        with progress_bars(quiet=as_json) as progress:
            built = run_flow(recipe, progress, workers, merge=(first, last))
    show_built(built, outcome_of(built), loaded.output.path, as_json=as_json)


def _which_partitions(output: str) -> str:
    from pipelines.versions import read_manifest
    from workers.storage.folder import folder_of

    manifest = read_manifest(folder_of(output))
    names = ", ".join(entry.name for entry in manifest.partitions)
    return (
        f"name partitions to build again with --partition: version {manifest.version} has {names}"
    )


@operations.command()
def versions(dataset: DatasetPlace, as_json: Json = False) -> None:
    """List the versions of a data set; `publish` makes any of them the published one."""
    from pipelines.versions import current_version, read_manifest
    from pipelines.versions import versions as versions_of
    from workers.storage.folder import folder_of

    with told():
        root = folder_of(dataset)
        published = current_version(root)
        manifests = [read_manifest(root, number) for number in versions_of(root)]
        if not manifests:
            raise ContractError(f"{root.url} holds no data set")
    listed = [
        {
            "version": manifest.version,
            "published": manifest.version == published,
            "partitions": len(manifest.partitions),
            "samples": manifest.ledger.packed,
            "shards": len(manifest.shards),
            "bytes": sum(shard.size for shard in manifest.shards),
            "recipe": manifest.recipe_digest,
        }
        for manifest in manifests
    ]
    if as_json:
        typer.echo(json.dumps(listed))
        return
    rows = [
        [
            str(one["version"]),
            "published" if one["published"] else "",
            *(f"{one[name]:,}" for name in ("partitions", "samples", "shards", "bytes")),
            str(one["recipe"])[:12],
        ]
        for one in listed
    ]
    print_table(["version", "", "partitions", "samples", "shards", "bytes", "recipe"], rows)


@operations.command()
def publish(
    dataset: DatasetPlace,
    version: Annotated[int, typer.Option(help="A version that exists.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Make a version the published one: back to an earlier one, or forth again.

    Stop the schedule before: the next build publishes again what recipe and sources say.
    """
    from pipelines import summary
    from pipelines.publish import publish_version
    from workers.storage.folder import folder_of

    with told():
        manifest = publish_version(folder_of(dataset), version)
    if as_json:
        typer.echo(manifest.model_dump_json())
        return
    print_rows(summary.of_manifest(manifest))
    typer.echo(f"version {version} is published: {dataset}")


@operations.command()
def gc(
    dataset: DatasetPlace,
    grace: Annotated[float, typer.Option(min=0, help="Hours for which all is kept.")] = 24.0,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Versions to keep, the newest; without it, all are kept."),
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Also what the published version needs not of .cache.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what no version names: shards, ledgers, and files of killed builds.

    Only what was written before the grace period, so a build that runs at the same time keeps its
    files if it takes less than that. With --keep, versions but the newest and the published one go
    too, if the next one was made before the grace period: trainers may still read them. Names that
    no build gives are never touched.
    """
    from pipelines.gc import Limits, collect
    from workers.storage.folder import folder_of

    with told():
        limits = Limits(time.time() - grace * HOUR_S, keep, cache)
        swept = collect(folder_of(dataset), limits, dry_run=dry_run)
    total = sum(removal.size for removal in swept.removals)
    kinds = Counter(removal.kind for removal in swept.removals)
    if as_json:
        files = [vars(removal) for removal in swept.removals]
        typer.echo(
            json.dumps({"dry_run": dry_run, "bytes": total, "files": files, "notes": swept.notes})
        )
        return
    if dry_run:
        print_table(
            ["kind", "bytes", "file"],
            [[one.kind, f"{one.size:,}", one.path] for one in swept.removals],
        )
    print_rows([(f"files of kind {kind}", f"{count:,}") for kind, count in sorted(kinds.items())])
    for note in swept.notes:
        typer.echo(f"note: {note}", err=True)
    verb = "would be removed" if dry_run else "removed"
    typer.echo(f"{kinds.total():,} files, {total / 1e6:,.1f} MB {verb}: {dataset}")


@operations.command()
def serve(
    recipe: RecipePath,
    cron: Annotated[
        str | None, typer.Option(help='When to build, such as "0 3 * * *"; UTC.')
    ] = None,
    interval: Annotated[float | None, typer.Option(min=1, help="Or every so many seconds.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the deployment; by default the recipe's.")
    ] = None,
) -> None:
    """Register a Prefect deployment of the recipe and serve it, until stopped.

    Needs a Prefect server (`prefect server start`) in PREFECT_API_URL. A build that is due while
    one runs is cancelled: the next one does its work. Without a schedule it serves runs that are
    asked for, with parameters: partitions, stages, dry_run.
    """
    from flows.serving import serve as serve_now

    with told():
        if cron and interval:
            raise RecipeError("--cron and --interval: take one of them")
        serve_now(recipe, name, cron, interval)
