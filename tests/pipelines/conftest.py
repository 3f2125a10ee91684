"""One Ray and one finished build for all tests of this folder."""

from __future__ import annotations

import importlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

import pipelines.finding
from patchpack import Pack, decode
from patchpack.index import decode_index
from pipelines.answers import Make
from pipelines.build import Built, RunStage, build, call
from pipelines.engine import ActorPool, Engine, RayEngine
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from tests.tiny_source import write_recipe, write_source
from workers.sidefiles import index_path

Spec = TypeVar("Spec")
Result = TypeVar("Result")

STAGES = ("survey", "tokenize_text", "select", "size", "pack", "payloads", "assemble")


class Here:
    """Runs tasks in this process."""

    def map(self, function: Callable[[Spec], Result], specs: Sequence[Spec]) -> Iterator[Result]:
        return map(function, specs)

    def map_actors(
        self, make: Make[Spec, Result], specs: Sequence[Spec], pool: ActorPool
    ) -> Iterator[Result]:
        del pool
        return map(make(2), specs) if specs else iter(())

    def local(self) -> None:
        """Nothing to start."""


class Recorder:
    """Hands everything to another engine; `asked` counts the specs of each function.

    The workers take over the driver's stage versions, as they would from a changed checkout.
    """

    def __init__(self, engine: Engine) -> None:
        self.asked: Counter[str] = Counter()
        self._engine = engine

    def map(self, function: Callable[[Spec], Result], specs: Sequence[Spec]) -> Iterator[Result]:
        if specs:
            self.asked[function.__name__] += len(specs)
        modules = [f"workers.{name}" for name in STAGES]
        versions = {name: importlib.import_module(name).VERSION for name in modules}

        def run(spec: Spec) -> Result:
            for name, version in versions.items():
                vars(importlib.import_module(name))["VERSION"] = version
            return function(spec)

        return self._engine.map(run, specs)

    def map_actors(
        self, make: Make[Spec, Result], specs: Sequence[Spec], pool: ActorPool
    ) -> Iterator[Result]:
        if specs:
            self.asked["encode"] += len(specs)
        return self._engine.map_actors(make, specs, pool)

    def local(self) -> None:
        self._engine.local()


@pytest.fixture(scope="session")
def ray_engine() -> Iterator[RayEngine]:
    engine = RayEngine(2)
    yield engine
    engine.close()


@pytest.fixture
def engine(ray_engine: RayEngine) -> Recorder:
    return Recorder(ray_engine)


@pytest.fixture(scope="session")
def first(ray_engine: RayEngine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Built]:
    """A folder with a source of 24 samples in four blocks, and a finished build; not to change."""
    folder = tmp_path_factory.mktemp("first")
    write_source(folder / "source", bad=True)
    return folder, build_in(folder, ray_engine)


@pytest.fixture
def copy(first: tuple[Path, Built], tmp_path: Path) -> Path:
    """A folder with the same source, and a copy of the data set with its cache."""
    shutil.copytree(first[0] / "out", tmp_path / "out")
    (tmp_path / "source").symlink_to(first[0] / "source")
    return tmp_path


def build_in(folder: Path, engine: Engine, run: RunStage = call, **settings: Any) -> Built:
    """Build `source` into `out`, in blocks of six rows."""
    records = {"tiny": (folder / "source" / "records.jsonl").resolve()}
    recipe = write_recipe(folder / "recipe.toml", folder / "out", records, **settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines.finding, "ROWS_PER_BLOCK", 6)
        return build(Workshop(load_recipe(recipe), engine), run)


def written(folder: Path, work: Callable[[], Result]) -> tuple[Result, Counter[str]]:
    """What the work returns, and how many tables, containers and shards it wrote, by stage."""

    def state() -> set[tuple[str, int]]:
        files = [path for path in folder.rglob("*") if path.suffix in (".arrow", ".bin", ".tar")]
        return {(str(path), path.stat().st_mtime_ns) for path in files}

    before = state()
    result = work()
    paths = (Path(path) for path, _ in state() - before)
    return result, Counter(f"{path.parent.name}{path.suffix}" for path in paths)


def packs_of(root: Path, built: Built) -> Iterator[Pack]:
    """Every pack of a data set, shard by shard."""
    for shard in built.manifest.shards:
        data = (root / shard.name).read_bytes()
        for row in decode_index(index_path(root / shard.name).read_bytes()):
            header = data[row["header_offset"] :][: row["header_size"]]
            yield decode(header, data[row["arrays_offset"] :][: row["arrays_size"]])
