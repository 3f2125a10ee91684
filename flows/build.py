"""The Prefect flow of a build: one task a stage and partition, retried where the fault may pass.

It runs on Prefect's own temporary server, and unchanged against PREFECT_API_URL.
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

from pipelines import summary
from pipelines.build import Built, build
from pipelines.engine import RayEngine
from pipelines.load_recipe import load_recipe
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
        tenth = 10 * done // total if total else 10
        if told.get(stage) != tenth:
            told[stage] = tenth
            logger.info("%s: %d of %d", stage, done, total)

    return progress


@flow(
    name="patchpack-build",
    flow_run_name="build {recipe_path}",
    persist_result=False,
)
def build_flow(recipe_path: str, workers: int | None = None) -> Built:
    """Build the data set of a recipe and publish it; its summary becomes an artifact of the run."""
    recipe = load_recipe(Path(recipe_path))
    engine = RayEngine(workers)
    try:
        built = build(Workshop(recipe, engine, shown_progress.get() or logged()), as_task)
    finally:
        engine.close()
    create_markdown_artifact(
        key=f"patchpack-{recipe.name.lower().replace('_', '-')}",
        markdown=summary.markdown(summary.of_manifest(built.manifest)),
        description=f"Summary of {recipe.name}",
    )
    return built
