"""Ray Data, reduced to what a build needs: one function over a list of small specs, results as they
finish.

A spec names files and rows; payload bytes are read, made and written inside the task, so that
nothing big travels through Ray. Every task takes one CPU and no GPU, so that CPU work never
lands in a GPU actor. Ray starts with the first spec: a build with nothing to do never pays for
it.
"""

from __future__ import annotations

import logging
import os
import pickle
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from schemas.errors import BuildError, PatchpackError, TransientError, may_pass

Spec = TypeVar("Spec")
Result = TypeVar("Result")

MAX_RETRIES = 3
"""Of a task whose worker died; Ray Data's default is for ever, also where a file crashes it."""
REPOSITORY = Path(__file__).resolve().parent.parent


class WorkToDoError(PatchpackError):
    """Raised by `NoWork` at the first output that does not exist yet."""


class Engine(Protocol):
    """Runs a function over specs."""

    def map(self, function: Callable[[Spec], Result], specs: Sequence[Spec]) -> Iterator[Result]:
        """The results, in the order in which they finish."""
        ...

    def local(self) -> None:
        """Called before work that the driver does itself."""
        ...


class NoWork:
    """An engine that refuses: with it a build is a check whether there is anything to do."""

    def map(self, function: Callable[[Spec], Result], specs: Sequence[Spec]) -> Iterator[Result]:
        """Nothing for no specs; else raises WorkToDoError."""
        if specs:
            raise WorkToDoError(f"{function.__name__} has {len(specs)} outputs to make")
        return iter(())

    def local(self) -> None:
        """Raises WorkToDoError."""
        raise WorkToDoError("an output is missing")


class RayEngine:
    """Ray Data on the cluster of RAY_ADDRESS, or on a local Ray of `workers` CPUs that `close`
    ends.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers
        self.startup_seconds = 0.0
        self._started = False
        self._owned = False

    def local(self) -> None:
        """The driver may work."""

    def map(self, function: Callable[[Spec], Result], specs: Sequence[Spec]) -> Iterator[Result]:
        """The results in the order in which they finish; one task a spec.

        Raises what a task raised where it is a PatchpackError, BuildError with the line for what
        else it raised, and TransientError for a cluster that failed or a worker that died each
        time.
        """
        if not specs:
            return
        self._start()
        import ray
        from ray.exceptions import RayError, RayTaskError

        rows = [{"spec": pickle.dumps(spec)} for spec in specs]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        with warnings.catch_warnings():
            # no named parameter takes the place of this one in the pinned version
            warnings.filterwarnings("ignore", "`ray_remote_args_fn` is deprecated")
            done = dataset.map(
                _task(function),
                num_cpus=1,
                num_gpus=0,
                ray_remote_args_fn=lambda: {"max_retries": MAX_RETRIES},
            )
        try:
            batch: pa.Table
            for batch in done.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                for answer in batch.column("result").to_pylist():
                    yield _unwrap(answer)
        except RayTaskError as error:
            raise BuildError(f"{function.__name__}: {_named(error.cause)}") from error
        except RayError as error:
            self.close()  # so that another try starts afresh
            raise TransientError(f"{function.__name__}: {_named(error)}") from error

    def _start(self) -> None:
        if self._started:
            return
        began = time.monotonic()
        import ray

        self._owned = not ray.is_initialized()
        if self._owned:
            _initialise(self.workers)
        from ray.data import DataContext

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # a failure is told once, by us
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        # the default keeps a core idle on small machines: 88-102 images/s against 130-138
        context.op_resource_reservation_enabled = False
        self._started = True
        self.startup_seconds = time.monotonic() - began

    def close(self) -> None:
        """End the local Ray, if this engine started one."""
        if self._started and self._owned:
            import ray

            ray.shutdown()
        self._started = False


def _task(function: Callable[[Spec], Result]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    """The function as Ray Data wants it: a row in, a row out, errors for a person as values."""

    def run(row: dict[str, bytes]) -> dict[str, bytes]:
        try:
            result: object = function(pickle.loads(row["spec"]))
        except PatchpackError as error:
            result = error
        except OSError as error:
            kind = TransientError if may_pass(error) else BuildError
            result = kind(f"{error.filename or function.__name__}: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - a bug; Ray tells it with pages, or not at all
            result = BuildError(f"{function.__name__}: {_named(error)}, {_raised_at(error)}")
        return {"result": pickle.dumps(result)}

    return run


def _unwrap(answer: bytes) -> Any:
    """What `_task` wrapped."""
    result = pickle.loads(answer)
    if isinstance(result, PatchpackError):
        raise result
    return result


def _named(error: BaseException) -> str:
    """The exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _raised_at(error: BaseException) -> str:
    """Where in the source, as `file:line`."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _initialise(workers: int | None) -> None:
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
