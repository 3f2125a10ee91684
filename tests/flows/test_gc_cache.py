"""What of the cache goes: not what a build of the published version looks for."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from examples.demo_records import tar_of
from pipelines.engine import NoWork
from pipelines.gc import Limits, Swept, collect
from pipelines.verify import verify
from tests.flows.dated import (
    DAYS,
    SMALLER,
    Inline,
    build_here,
    write_dated_recipe,
    write_days,
)
from tests.tiny_source import broken_png, encoded, picture
from workers.storage.folder import folder_of

LATER_S = 3600.0


def sweep(root: Path) -> Swept:
    """As if an hour had passed since all was written."""
    return collect(folder_of(root), Limits(time.time() + LATER_S, keep=1, cache=True))


def cached(root: Path, stage: str, kind: str = "arrow") -> set[str]:
    return {path.name for path in (root / ".cache" / stage).glob(f"*.{kind}")}


def test_a_build_of_the_published_version_still_has_nothing_to_do(tmp_path: Path) -> None:
    recipe = write_days(tmp_path)
    build_here(recipe)
    before = {stage: cached(tmp_path / "out", stage) for stage in ("sized", "rendered")}
    recipe = write_dated_recipe(tmp_path, policy=SMALLER)
    manifest = build_here(recipe).manifest
    removals = sweep(tmp_path / "out").removals
    paths = {one.path for one in removals if one.kind == "cache"}
    for stage, names in before.items():
        assert {f".cache/{stage}/{name}" for name in names} <= paths
        assert cached(tmp_path / "out", stage).isdisjoint(names)
    assert len(cached(tmp_path / "out", "rendered", "bin")) == len(DAYS)
    assert build_here(recipe, NoWork()).manifest == manifest
    assert sweep(tmp_path / "out").removals == []


def test_a_partition_of_an_older_recipe_keeps_its_payloads(tmp_path: Path) -> None:
    recipe = write_days(tmp_path)
    build_here(recipe)
    both = len(cached(tmp_path / "out", "rendered"))
    build_here(write_dated_recipe(tmp_path, policy=SMALLER), only=[f"date={DAYS[1]}"])
    assert sweep(tmp_path / "out").notes == []
    assert len(cached(tmp_path / "out", "rendered")) == both  # one went, one came
    recipe = write_dated_recipe(tmp_path)
    engine = Inline()
    build_here(recipe, engine)
    assert engine.made == {"run_render": 1, "run_assemble": 2}


def test_faults_of_pixels_cost_a_plan_and_no_rendering(tmp_path: Path) -> None:
    recipe = write_days(tmp_path)
    (tmp_path / "source" / f"date={DAYS[0]}" / "3.png").write_bytes(broken_png())
    manifest = build_here(recipe).manifest
    assert manifest.ledger.dropped == {"undecodable": 1}
    sweep(tmp_path / "out")
    engine = Inline()
    again = build_here(recipe, engine)
    assert (again.new, again.manifest, engine.made) == (False, manifest, {})


def test_payloads_stay_where_their_addresses_are_lost(tmp_path: Path) -> None:
    recipe = write_days(tmp_path)
    build_here(recipe)
    build_here(write_dated_recipe(tmp_path, policy=SMALLER))
    containers = cached(tmp_path / "out", "rendered", "bin")
    shutil.rmtree(tmp_path / "out" / ".cache" / "addressed")
    notes = sweep(tmp_path / "out").notes
    assert notes == ["the cache lacks addresses of the published version: all payloads stay"]
    assert cached(tmp_path / "out", "rendered", "bin") == containers


def test_the_cache_stays_before_anything_is_published(tmp_path: Path) -> None:
    recipe = write_days(tmp_path)
    build_here(recipe)
    for path in (tmp_path / "out" / ".patchpack").glob("*.json"):
        path.unlink()
    swept = sweep(tmp_path / "out")
    assert swept.notes == ["nothing is published: the cache stays as it is"]
    assert {one.kind for one in swept.removals} == {"shard", "table"}


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_copies_of_replaced_files_go_and_those_of_the_version_stay(
    tmp_path: Path, kind: str
) -> None:
    """A compressed tar and a Parquet file are unpacked into the cache."""
    (tmp_path / "source").mkdir()
    recipe = tmp_path / "recipe.toml"
    name = "a.tar.gz" if kind == "webdataset" else "a.parquet"
    recipe.write_text(
        f"""
name = "copies"
[[sources]]
name = "one"
kind = "{kind}"
path = "{tmp_path}/source/{name}"
[[policy]]
kind = "qwen2_vl"
[pack]
max_tokens = 256
[output]
path = "{tmp_path}/out"
"""
    )
    for first in (0, 40):
        write_packed(tmp_path / "source" / name, first)
        manifest = build_here(recipe).manifest
    assert len(cached(tmp_path / "out", "unpacked", "*")) == 2
    sweep(tmp_path / "out")
    assert len(cached(tmp_path / "out", "unpacked", "*")) == 1
    assert len(cached(tmp_path / "out", "indexed")) == 1
    assert build_here(recipe, NoWork()).manifest == manifest
    assert verify(tmp_path / "out").problems == []


def write_packed(path: Path, first: int) -> None:
    """Four pictures with captions in a compressed tar or a Parquet file."""
    pictures = {f"{n}": encoded(picture(n), "png") for n in range(first, first + 4)}
    if path.suffix == ".parquet":
        rows = [
            {"image": {"bytes": data, "path": f"{n}.png"}, "text": f"Picture {n}."}
            for n, data in pictures.items()
        ]
        pq.write_table(pa.Table.from_pylist(rows), path)
        return
    members = {f"{n}.png": data for n, data in pictures.items()}
    members |= {f"{n}.txt": f"Picture {n}.".encode() for n in pictures}
    import gzip

    path.write_bytes(gzip.compress(tar_of(dict(sorted(members.items())))))
