"""Ray Data, reduced to what a build needs: one function over a list of small specs, results as they
finish.

A spec names files and rows; payload bytes are read, made and written inside the task, so that
nothing big travels through Ray. Every task takes one CPU and no GPU, so that CPU work never
lands in a GPU actor; what needs a model runs in actors of its own. Ray starts with the first
spec: a build with nothing to do never pays for it.
"""

from __future__ import annotations

import logging
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from pipelines.answers import Actor, Make, Result, Spec, named, task, unwrap
from pipelines.local_ray import start_ray
from schemas.errors import BuildError, PatchpackError, TransientError

MAX_RETRIES = 3
"""Of a task whose worker died; Ray Data's default is for ever, also where a file crashes it."""


class WorkToDoError(PatchpackError):
    """Raised by `NoWork` at the first output that does not exist yet."""


@dataclass(frozen=True)
class ActorPool:
    """From `min_actors` to `max_actors` processes, each with so many GPUs and CPUs, by default an
    equal share of the CPUs; `at_once` specs are run by an actor at a time.
    """

    min_actors: int
    max_actors: int
    num_gpus: float
    cpus: int | None = None
    at_once: int = 1
    key: str = "render.encoder"
    """The section of the recipe that asks for them, for messages."""


class Engine(Protocol):
    """Runs a function over specs."""

    def map(self, function: Callable[[Spec], Result], specs: Sequence[Spec]) -> Iterator[Result]:
        """The results, in the order in which they finish."""
        ...

    def map_actors(
        self, make: Make[Spec, Result], specs: Sequence[Spec], pool: ActorPool
    ) -> Iterator[Result]:
        """The same by processes that stay, for a function that takes long to make."""
        ...

    def local(self) -> None:
        """Called before work that the driver does itself."""
        ...


class LostWorkerError(TransientError):
    """A worker died, or the cluster failed."""


class NoWork:
    """An engine that refuses: with it a build is a check whether there is anything to do."""

    def map(self, function: Callable[[Spec], Result], specs: Sequence[Spec]) -> Iterator[Result]:
        """Nothing for no specs; else raises WorkToDoError."""
        if specs:
            raise WorkToDoError(f"{function.__name__} has {len(specs)} outputs to make")
        return iter(())

    def map_actors(
        self, make: Make[Spec, Result], specs: Sequence[Spec], pool: ActorPool
    ) -> Iterator[Result]:
        """As `map`."""
        del make, pool
        if specs:
            raise WorkToDoError(f"actors have {len(specs)} outputs to make")
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
        dataset = self._dataset(specs)
        with warnings.catch_warnings():
            # no named parameter takes the place of this one in the pinned version
            warnings.filterwarnings("ignore", "`ray_remote_args_fn` is deprecated")
            done = dataset.map(
                task(function),
                num_cpus=1,
                num_gpus=0,
                ray_remote_args_fn=lambda: {"max_retries": MAX_RETRIES},
            )
        yield from self._results(done, function.__name__)

    def map_actors(
        self, make: Make[Spec, Result], specs: Sequence[Spec], pool: ActorPool
    ) -> Iterator[Result]:
        """The same by a pool of actors; where one died, another pool does what was left.

        Raises BuildError also where no node has so many GPUs or CPUs.
        """
        left = dict(enumerate(specs))
        for lost in range(MAX_RETRIES + 1):
            try:
                for number, result in self._by_actors(make, left, pool):
                    del left[number]
                    yield result
                return
            except LostWorkerError:
                if lost == MAX_RETRIES:
                    raise

    def _by_actors(
        self, make: Make[Spec, Result], specs: Mapping[int, Spec], pool: ActorPool
    ) -> Iterator[tuple[int, Result]]:
        """Number and result of each spec, as they finish."""
        if not specs:
            return
        dataset = self._dataset(list(specs.items()))
        import ray

        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        each = [node["Resources"] for node in nodes if node["Alive"]]
        # what no node can hold would be waited for without end
        gpus, most = (max(one.get(kind, 0) for one in each) for kind in ("GPU", "CPU"))
        if gpus < pool.num_gpus:
            what = f"an actor needs {pool.num_gpus:g} GPUs, a node of the cluster has {gpus:g}"
            raise BuildError(f'{pool.key}.num_gpus: {what}; device = "cpu" takes none')
        actors = min(pool.max_actors, len(specs))
        total = int(sum(one.get("CPU", 0) for one in each))
        cpus = pool.cpus or max(1, min(int(most), total // actors))
        if most < cpus:
            what = f"an actor needs {cpus} CPUs, a node of the cluster has {most:g}"
            raise BuildError(f"{pool.key}.cpus: {what}")
        with warnings.catch_warnings():
            # as above: by default an actor is restarted for ever, and Ray warns of any restart
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
            done = dataset.map(
                Actor,
                fn_constructor_args=(make, cpus),
                compute=ray.data.ActorPoolStrategy(
                    min_size=min(pool.min_actors, actors),
                    max_size=actors,
                    max_tasks_in_flight_per_actor=2 * pool.at_once,
                    max_concurrent_calls_per_actor=pool.at_once,
                    enable_true_multi_threading=pool.at_once > 1,
                ),
                num_cpus=cpus,
                num_gpus=pool.num_gpus,
                max_restarts=0,
            )
        yield from self._results(done, "an actor")

    def _dataset(self, specs: Sequence[object]) -> Any:
        """One block a spec."""
        self._start()
        import ray

        rows = [{"spec": pickle.dumps(spec)} for spec in specs]
        return ray.data.from_items(rows, override_num_blocks=len(rows))

    def _results(self, done: Any, name: str) -> Iterator[Any]:
        from ray.exceptions import RayError, RayTaskError

        try:
            batch: pa.Table
            for batch in done.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                for answer in batch.column("result").to_pylist():
                    yield unwrap(answer)
        except RayTaskError as error:
            raise BuildError(f"{name}: {named(error.cause)}") from error
        except RayError as error:
            self.close()  # so that another try starts afresh
            raise LostWorkerError(f"{name}: {named(error)}") from error

    def _start(self) -> None:
        if self._started:
            return
        began = time.monotonic()
        import ray

        self._owned = not ray.is_initialized()
        if self._owned:
            start_ray(self.workers)
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
