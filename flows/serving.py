"""Serving a recipe's builds from a process that waits for them: schedule, limit, parameters."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from flows.build import build_flow
from pipelines.load_recipe import load_recipe
from pipelines.local_ray import REPOSITORY
from schemas.errors import BuildError, RecipeError

ONE_AT_A_TIME = ConcurrencyLimitConfig(
    limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
)
"""A build does all that is missing, so one that is due meanwhile has nothing to wait for."""

_NAME = re.compile(r"[\w. -]{1,64}")


def serve(recipe: Path, name: str | None, cron: str | None, interval: float | None) -> None:
    """Register the deployment `patchpack-build/<name>` and run what is due, until stopped.

    Raises BuildError without a server, and RecipeError for a schedule that is none.
    """
    served = deployment(recipe, name, cron, interval)
    if not get_current_settings().api.url:
        raise BuildError(
            "a schedule needs a Prefect server: run `prefect server start`, then set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    # every run is a process that imports the flow as a module
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    print(f"serving {served.flow_name}/{served.name}: {_schedule(cron, interval)}", flush=True)
    asyncio.run(_serve(served))


def deployment(
    recipe: Path, name: str | None, cron: str | None, interval: float | None
) -> RunnerDeployment:
    """The builds of a recipe, with its path as their default. Raises RecipeError."""
    loaded = load_recipe(recipe)  # its faults are told now, not at night
    if name is not None and not _NAME.fullmatch(name):
        raise RecipeError(f"--name {name!r}: letters, digits, spaces, and . _ - are allowed")
    try:
        return RunnerDeployment.from_flow(
            build_flow,
            name=name or loaded.name,
            cron=cron,
            interval=interval,
            concurrency_limit=ONE_AT_A_TIME,
            parameters={"recipe_path": str(recipe.absolute())},
            description=f"Builds {recipe.name} and publishes it.",
            tags=["patchpack"],
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
    except ValidationError as error:
        raise RecipeError(f'--cron {cron!r}: no schedule, such as "0 3 * * *"') from error


def _schedule(cron: str | None, interval: float | None) -> str:
    if cron:
        return f"at {cron} (UTC)"
    return f"every {interval:g} s" if interval else "when asked"


async def _serve(served: RunnerDeployment) -> None:
    """Run what is due until SIGTERM or SIGINT: then the running build is cancelled and ended.

    Prefect's own handler of SIGTERM ends it without a word to the server, for which it then runs
    on, and no other build may begin for five minutes.
    """
    runner, loop = Runner(), asyncio.get_running_loop()
    await runner.aadd_deployment(served)
    stopping: list[asyncio.Task[None]] = []

    def stop(*_: object) -> None:
        loop.call_soon_threadsafe(lambda: stopping.append(loop.create_task(runner.astop())))

    runner.handle_sigterm = stop  # type: ignore[method-assign]  # which `start` installs
    loop.add_signal_handler(signal.SIGINT, stop)
    await runner.start()
    await asyncio.gather(*stopping)
