"""Starting the flow from a command: quiet Prefect unless the user has a server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipelines.backfill import Stage
from pipelines.build import Built
from pipelines.steps import Progress
from schemas.errors import BuildError


def run_flow(
    recipe: Path,
    progress: Progress,
    workers: int | None,
    partitions: Sequence[str] = (),
    stages: Sequence[Stage] = (),
    merge: Sequence[str] = (),
) -> Built:
    """Run the build flow and give its result; Prefect's own lines show only where a server is
    configured.
    """
    if "PREFECT_API_URL" not in os.environ:
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    # its temporary server takes ten seconds, and several times that on a busy machine
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from flows.build import build_flow, shown_progress

    shown_progress.set(progress)
    try:
        built = build_flow(
            str(recipe), list(partitions), list(stages), list(merge), workers=workers
        )
    except RuntimeError as error:
        if "Prefect API server" not in str(error):
            raise
        raise BuildError(f"Prefect's temporary server did not start: {error}") from error
    assert built is not None  # only a dry run gives nothing
    return built
