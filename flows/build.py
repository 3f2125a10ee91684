"""The Prefect flow of a build: one task a stage and partition, retried where the fault may pass.

Whole, of chosen partitions, or as a dry run. It runs on Prefect's own temporary server, and
unchanged against PREFECT_API_URL.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from pipelines import summary
from pipelines.backfill import Stage, redoing
from pipelines.build import Built, build
from pipelines.costs import plan_costs, rows_of
from pipelines.engine import RayEngine
from pipelines.load_recipe import load_recipe
from pipelines.recipe import Recipe
from pipelines.steps import Progress, Workshop
from schemas import errors
from schemas.errors import TransientError

R = TypeVar("R")

shown_progress: ContextVar[Progress | None] = ContextVar("shown_progress", default=None)
"""Set by a command that shows progress itself; no parameter of the flow, which people see."""

RETRIES = 2
RETRY_DELAY_SECONDS = 5


def may_pass(_task: object, _run: object, state: State[Any]) -> bool:
    """Whether a failed task is worth another try: not where a person has to act."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, OSError):
        return errors.may_pass(error)
    return isinstance(error, TransientError)


def as_task(name: str, stage: Callable[[], R]) -> R:
    """Run a stage as a Prefect task of this name."""
    as_prefect = task(
        name=name,
        task_run_name=name,
        retries=RETRIES,
        retry_delay_seconds=RETRY_DELAY_SECONDS,
        retry_condition_fn=may_pass,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    return as_prefect(stage)()


def logged() -> Progress:
    """Progress as lines in the flow's log, at every tenth."""
    logger = get_run_logger()
    told: dict[str, int] = {}

    def progress(stage: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else None
        if tenth is not None and told.get(stage) != tenth:
            told[stage] = tenth
            logger.info("%s: %d of %d", stage, done, total)

    return progress


def run_name() -> str:
    """What a run does, as lists of runs show it."""
    given = flow_run.parameters
    partitions = given.get("partitions") or []
    merge = given.get("merge") or []
    verb = "compact" if merge else "backfill" if partitions else "build"
    verb = "plan" if given.get("dry_run") else verb
    return " ".join([verb, str(given["recipe_path"]), *partitions, *merge])


@flow(name="patchpack-build", flow_run_name=run_name, persist_result=False)
def build_flow(
    recipe_path: str,
    partitions: list[str] | None = None,
    stages: list[Stage] | None = None,
    merge: list[str] | None = None,
    dry_run: bool = False,
    workers: int | None = None,
) -> Built | None:
    """Build the data set of a recipe and publish it; its summary becomes an artifact of the run.

    Args:
        recipe_path: The recipe, a TOML file.
        partitions: Build only these again and leave the others as they are published.
        stages: Make the first of these stages and all behind it again, also what is finished.
        merge: The first and the last of neighbouring partitions that become one.
        dry_run: Build nothing: the artifact says what a build would do.
        workers: CPUs of the local Ray; by default all.
    """
    recipe, only = load_recipe(Path(recipe_path)), partitions or []
    engine = RayEngine(workers)
    workshop = Workshop(recipe, engine, shown_progress.get() or logged())
    try:
        if dry_run:
            _tell_costs(workshop, only)
            return None
        with redoing(workshop, only, stages or []) as again:
            built = build(again, as_task, only, merge or [])
    finally:
        engine.close()
    _keep(recipe, "", summary.of_manifest(built.manifest))
    return built


def _tell_costs(workshop: Workshop, only: list[str]) -> None:
    logger = get_run_logger()
    _, costs = plan_costs(workshop, as_task, only, logger.info)
    rows = rows_of(costs)
    for what, value in rows:
        logger.info("%s: %s", what, value)
    _keep(workshop.recipe, "-plan", rows)


def _keep(recipe: Recipe, suffix: str, rows: summary.Rows) -> None:
    """The rows as an artifact of the run."""
    create_markdown_artifact(
        key=f"patchpack-{recipe.name.lower().replace('_', '-')}{suffix}",
        markdown=summary.markdown(rows),
        description=f"{'Plan' if suffix else 'Summary'} of {recipe.name}",
    )
