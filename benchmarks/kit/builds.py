"""Builds as benchmarks need them: a recipe over records, engines with and without Ray."""

from __future__ import annotations

import importlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeVar

from pipelines.answers import Make
from pipelines.engine import ActorPool, RayEngine

Spec = TypeVar("Spec")
Result = TypeVar("Result")

MAX_PIXELS = 1003520
MAX_TOKENS = 8192
_STAGES = ("pipelines.survey", "pipelines.text", "pipelines.render", "pipelines.assemble")
_RECIPE = """\
name = "bench"

[[sources]]
name = "bench"
kind = "records"
path = {records}
root = {root}

[text]
tokenizer = "bytes"
template = "plain"
family = "qwen2_vl"

[[policy]]
kind = "qwen2_vl"
max_pixels = {max_pixels}

[render]
payload = "{payload}"
codec = "jpeg"

[pack]
max_tokens = {max_tokens}

[output]
path = {output}
"""


def fresh_recipe(folder: Path, *, records: Path, root: Path, payload: str) -> Path:
    """An emptied folder with a recipe in it, whose output goes to `out` beside it.

    `qwen2_vl`, packs of 8,192 tokens, JPEG, and defaults for the rest.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = folder / "recipe.toml"
    text = _RECIPE.format(
        records=json.dumps(str(records)),
        root=json.dumps(str(root)),
        output=json.dumps(str(folder / "out")),
        payload=payload,
        max_pixels=MAX_PIXELS,
        max_tokens=MAX_TOKENS,
    )
    path.write_text(text)
    return path


@dataclass
class Inline:
    """An engine without Ray: in this process, one spec after another. Specs and results stay."""

    specs: dict[str, list[object]] = field(default_factory=dict)

    def map(self, function: Callable[[Spec], Result], specs: Sequence[Spec]) -> Iterator[Result]:
        """The results in order."""
        self.specs.setdefault(function.__name__, []).extend(specs)
        return map(function, specs)

    def map_actors(
        self, make: Make[Spec, Result], specs: Sequence[Spec], pool: ActorPool
    ) -> Iterator[Result]:
        """The same by a function that is made first."""
        del pool
        return map(make(1), specs) if specs else iter(())

    def local(self) -> None:
        """The driver may work."""


@dataclass(frozen=True)
class Warm:
    """A Ray that has worked: its engine, and what it took to get there."""

    engine: RayEngine
    start_seconds: float  # ray.init
    first_job_seconds: float  # Ray Data's first job, the workers' imports


@contextmanager
def warm_ray(workers: int) -> Iterator[Warm]:
    """A local Ray whose workers have imported every stage; ended with the block."""
    engine = RayEngine(workers)
    began = time.perf_counter()
    try:
        for _ in engine.map(_import_stages, [_STAGES] * (2 * workers)):
            pass
        spent = time.perf_counter() - began
        yield Warm(engine, engine.startup_seconds, spent - engine.startup_seconds)
    finally:
        engine.close()


def start_up(starts: Sequence[Warm]) -> dict[str, float]:
    """Median seconds of Ray's start and of its first job."""
    return {
        "ray": median(one.start_seconds for one in starts),
        "first_job": median(one.first_job_seconds for one in starts),
    }


def _import_stages(names: Sequence[str]) -> None:
    for name in names:
        importlib.import_module(name)
