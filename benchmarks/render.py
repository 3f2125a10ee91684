"""The render stage on Ray beside a bare loop of the same calls in two processes.

    python -m benchmarks.render [--source 'DIR/*.tar'] [--save]

Both decode, resize and encode the same JPEGs to the same sizes with the functions of
`workers.pixels`. Ours is the whole stage: sha256 of what it reads, keys, container, index, receipt,
each synced to disk. The loop reads tars with `tarfile` and writes one file a tar, no more. Ray is
started and warmed outside of the clock; what that takes is printed apart.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.kit.builds import Inline, Warm, fresh_recipe, start_up, warm_ray
from benchmarks.kit.records import records_for
from benchmarks.kit.report import Target, arguments, report, work_folder
from benchmarks.kit.timing import in_turn, medians, timed
from benchmarks.source import Wanted, tars_for
from patchpack.item_geometry import Drawing
from pipelines.build import call, plan
from pipelines.load_recipe import load_recipe
from pipelines.plan import Partition
from pipelines.render import addresses, render_partition
from pipelines.steps import Workshop
from schemas.columns import one_chunk
from workers.pixels import decode, encode, render

PROCESSES = 2
Job = tuple[Path, dict[str, Drawing], Path]
"""A tar, the geometry of each member to render, and the file to write."""


def bare(job: Job) -> int:
    """Render a tar's pictures into one file, one after another; how many they were."""
    source, wanted, container = job
    done = 0
    with tarfile.open(source) as tar, container.open("wb") as out:
        for member in tar:
            if member.name not in wanted:
                continue
            content = tar.extractfile(member)
            assert content is not None
            for picture in render(decode(content.read(), 1, "drop"), wanted[member.name]):
                out.write(encode(picture, "jpeg"))
            done += 1
    return done


def jobs_of(workshop: Workshop, partition: Partition, keys: Sequence[str], out: Path) -> list[Job]:
    """The same work for the loop, by tar: every picture that the stage renders, each once."""
    store, root = workshop.store, workshop.recipe.sources[0].root
    assert root is not None
    tables = [store.read("surveyed", block.surveyed.key) for block in partition.blocks]
    items = one_chunk(pa.concat_tables(tables).column("items")).flatten()
    sized = one_chunk(store.read("sized", partition.sized.key).column("items")).flatten()
    if len(items) != len(keys):
        raise SystemExit("a sample was dropped: the source is damaged")
    tars: dict[str, dict[str, Drawing]] = {}
    seen: set[str] = set()
    paths, members = (pc.struct_field(items, name).to_pylist() for name in ("path", "member"))
    for key, path, member, shape in zip(keys, paths, members, sized.to_pylist(), strict=True):
        if key not in seen:
            tars.setdefault(path, {})[member] = shape
        seen.add(key)
    return [(Path(root, tar), wanted, out / f"{tar}.bin") for tar, wanted in tars.items()]


def stage_seconds(
    workshop: Workshop, partition: Partition, wanted: pa.Table, starts: list[Warm]
) -> float:
    """The stage with an empty cache on a warm Ray, which is started and ended here."""
    shutil.rmtree(Path(workshop.store.folder.url, "rendered"), ignore_errors=True)
    with warm_ray(PROCESSES) as warm:
        starts.append(warm)
        ready = Workshop(workshop.recipe, warm.engine)
        return timed(lambda: render_partition(ready, partition, wanted))


def loop_seconds(pool: Pool, jobs: Sequence[Job]) -> float:
    """The loop in a pool that has started."""
    return timed(lambda: pool.map(bare, jobs, chunksize=1))


def main() -> None:
    """Measure and report."""
    parser = arguments("The render stage beside a bare two-process loop of the same calls.")
    parser.add_argument("--source", help="tars, 'DIR/*.tar'; by default made here")
    parser.add_argument("--count", type=int, default=2000, help="JPEGs")
    options = parser.parse_args()
    with work_folder(options.work) as work, get_context("spawn").Pool(PROCESSES) as pool:
        tars = tars_for(options.source, work, Wanted(count=options.count, per_tar=250))
        count = records_for(tars, work / "render.jsonl", options.count)
        recipe = fresh_recipe(
            work / "render", records=work / "render.jsonl", root=tars[0].parent, payload="pixels"
        )
        workshop = Workshop(load_recipe(recipe), Inline())
        (partition,) = plan(workshop, call)
        wanted = addresses(workshop, partition)
        jobs = jobs_of(workshop, partition, wanted.column("key").to_pylist(), work / "render")
        pool.map(bare, [(tar, {}, target) for tar, _, target in jobs])  # starts and imports
        starts: list[Warm] = []
        seconds = medians(
            in_turn(
                options.rounds,
                {
                    "loop": lambda: loop_seconds(pool, jobs),
                    "stage": lambda: stage_seconds(workshop, partition, wanted, starts),
                },
            )
        )
        shutil.rmtree(work / "render")
    rendered = sum(len(shapes) for _, shapes, _ in jobs)
    ratio = seconds["loop"] / seconds["stage"]
    figures = {
        "jpegs": count,
        "rendered": rendered,
        "processes": PROCESSES,
        "seconds": seconds,
        "jpegs_per_second": {name: rendered / spent for name, spent in seconds.items()},
        "ratio": ratio,
        "start_up_seconds": start_up(starts),
    }
    report("render", figures, [Target("render / bare loop", ratio, 0.85)], save=options.save)


if __name__ == "__main__":
    main()
