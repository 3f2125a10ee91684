"""Serving a recipe's builds from a process that waits for them: schedule, limit, parameters."""

from __future__ import annotations

import os
from pathlib import Path

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType

from flows.build import build_flow
from pipelines.engine import REPOSITORY
from pipelines.load_recipe import load_recipe
from schemas.errors import BuildError

ONE_AT_A_TIME = ConcurrencyLimitConfig(
    limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
)
"""A build does all that is missing, so one that is due meanwhile has nothing to wait for."""


def serve(recipe: Path, name: str, cron: str | None, interval: float | None) -> None:
    """Register the deployment `patchpack-build/<name>` and run what is due, until stopped.

    Raises BuildError without a server, and RecipeError for a schedule that is none.
    """
    load_recipe(recipe)  # its faults are told now, not at night
    url = get_current_settings().api.url
    if not url:
        raise BuildError(
            "a schedule needs a Prefect server: run `prefect server start`, then set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    # runs are processes that import the flow as a module
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    build_flow.serve(
        name=name,
        cron=cron,
        interval=interval,
        global_limit=ONE_AT_A_TIME,
        parameters={"recipe_path": str(recipe.absolute())},
        description=f"Builds {recipe.name} and publishes it.",
        tags=["patchpack"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
