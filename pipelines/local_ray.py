"""Connecting to Ray, or starting one on this machine."""

from __future__ import annotations

import logging
import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def start_ray(workers: int | None) -> None:
    """Connect to the cluster of RAY_ADDRESS, or start a local Ray with a small object store."""
    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # by default a task that the memory monitor kills is tried again for ever
    os.environ.setdefault("RAY_task_oom_retries", "5")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(logging_level=logging.ERROR, log_to_driver=False)
        return
    ray.init(
        address="local",  # not a cluster that `ray start` left on this machine
        num_cpus=workers,
        include_dashboard=False,
        object_store_memory=256 * 2**20,
        logging_level=logging.ERROR,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": _python_path()}},
    )


def _python_path() -> str:
    """The repository first, so that workers import the same code as the driver."""
    return os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
