"""Vision features from JPEG bytes to a container, beside transformers and beside the tower alone.

    python -m benchmarks.features [--device cuda] [--corpus DIR] [--save]

- ours: a block of pictures through `workers.encode_block`, from files to the synced container.
- (a) transformers, one picture at a time; (b) in batches of 8: its own processor and its own model.
- (c) the same tower over the same batches with all patches resident on the device: the limit.
- bare: the same batches decoded and encoded in a plain loop.
On a GPU the towers have the shapes of SigLIP-so400m and of Qwen2-VL's; on a CPU six layers. Weights
are random. Pictures are those of a corpus with a manifest, or generated ones.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.feature_peers import ByTransformers
from benchmarks.feature_pictures import pictures
from benchmarks.feature_towers import Tower, matmul_flops, of_a_million, towers, write_checkpoint
from benchmarks.kit.builds import Inline
from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import in_turn, medians, timed
from pipelines.build import call, plan
from pipelines.load_recipe import load_recipe
from pipelines.render import addresses, job_of, tasks_of
from pipelines.steps import Workshop
from workers.encode_block import BlockEncoder
from workers.encoders.config import EncoderConfig
from workers.encoders.item_views import views_of
from workers.encoders.loading import DTYPES
from workers.encoders.patching import View, batches_of
from workers.media_files import MediaFiles
from workers.payloads import RenderJob, wanted_of

BATCH = 8
RECIPE = """
name = "bench"

[[sources]]
name = "bench"
kind = "records"
path = "{records}"
root = "{root}"

[text]
template = "none"

[[policy]]
{policy}

[render]
payload = "features"

[render.encoder]
model = "{model}"
device = "{device}"
dtype = "{dtype}"
attention = "{attention}"
max_patches = {max_patches}

[pack]
max_tokens = 65536

[output]
path = "{out}"
"""


@dataclass(frozen=True)
class Bench:
    """One tower with its pictures, ready to be timed."""

    tower: Tower
    encoder: BlockEncoder
    config: EncoderConfig
    job: RenderJob
    files: list[Path]
    batches: list[list[View]]
    container: Path


def prepared(tower: Tower, options: argparse.Namespace, work: Path, files: list[Path]) -> Bench:
    """The job of one block, and the same views in batches."""
    model = write_checkpoint(tower, work / f"{tower.kind}-{options.scale}")
    folder = work / f"build-{tower.kind}"
    records = folder / "records.jsonl"
    folder.mkdir(exist_ok=True)
    lines = [
        {
            "id": file.stem,
            "turns": [{"role": "text", "parts": [{"type": "image", "path": file.name}]}],
        }
        for file in files
    ]
    records.write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = folder / "recipe.toml"
    values = {name: getattr(options, name) for name in ("device", "dtype", "attention")}
    values |= {
        "max_patches": options.max_patches,
        "out": folder / "out",
        "model": model,
        "root": files[0].parent,
    }
    recipe.write_text(RECIPE.format(records=records, policy=tower.policy, **values))
    workshop = Workshop(load_recipe(recipe), Inline())
    [partition] = plan(workshop, call)
    tasks = list(tasks_of(workshop, partition, addresses(workshop, partition)))
    if len(tasks) != 1:
        raise SystemExit(f"{len(tasks)} blocks; fewer pictures make one")
    config = workshop.recipe.render.encoder
    assert config is not None
    encoder = BlockEncoder(config, options.threads)
    job = job_of(tasks[0])
    with MediaFiles(*job.place) as media:
        views = [
            view
            for one in wanted_of(job)
            for view in views_of(one.item, media, "pillow", encoder.tower.shape)
        ]
    order = batches_of([view.patches for view in views], config.max_patches)
    batches = [[views[number] for number in batch] for batch in order]
    return Bench(tower, encoder, config, job, files, batches, folder / "container.bin")


def ours(bench: Bench) -> None:
    """A whole block, from files to a synced container."""
    bench.encoder(bench.job, bench.container)


def bare(bench: Bench) -> None:
    """The same pictures, decoded one by one and encoded in batches as they come."""
    tower, budget = bench.encoder.tower, bench.config.max_patches
    waiting: list[View] = []
    with MediaFiles(*bench.job.place) as media:
        for one in wanted_of(bench.job):
            for view in views_of(one.item, media, "pillow", tower.shape):
                if sum(other.patches for other in waiting) + view.patches > budget:
                    tower.launch(waiting).result()
                    waiting = []
                waiting.append(view)
    tower.launch(waiting).result()


def resident(bench: Bench, patches: Sequence[torch.Tensor]) -> None:
    """The tower alone: nothing moves but inside the device."""
    for rows, views in zip(patches, bench.batches, strict=True):
        bench.encoder.tower.forward(rows, views)
    if bench.config.device == "cuda":
        torch.cuda.synchronize()


def measured(bench: Bench, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Figures of one tower."""
    tower, views = bench.tower, [view for batch in bench.batches for view in batch]
    peer = ByTransformers(
        tower.kind,
        work / f"{tower.kind}-{options.scale}",
        options.device,
        options.dtype,
        1003520 if options.scale == "full" else 200704,
    )
    sides: dict[str, Any] = {
        "ours": lambda: timed(lambda: ours(bench)),
        "bare": lambda: timed(lambda: bare(bench)),
        "one": lambda: timed(lambda: list(peer.features(bench.files, 1))),
        "batches": lambda: timed(lambda: list(peer.features(bench.files, BATCH))),
    }
    with torch.inference_mode():
        patches = [bench.encoder.tower.patches(batch) for batch in bench.batches]
        sides["resident"] = lambda: timed(lambda: resident(bench, patches))
        for side in sides.values():  # libraries choose and compile on the first call
            side()
        if options.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = medians(in_turn(options.rounds, sides))
    flops = sum(tower.size.flops(view) for view in views)
    rate = matmul_flops(options.device, DTYPES[options.dtype])
    made = bench.encoder(bench.job, bench.container)
    payload = bench.container.stat().st_size
    count = len(bench.files)
    return {
        "pictures": count,
        "views": len(views),
        "patches": sum(view.patches for view in views),
        "batches": len(bench.batches),
        "images_a_second": {name: count / spent for name, spent in seconds.items()},
        "patches_a_second": made.patches / seconds["ours"],
        "of_resident": seconds["resident"] / seconds["ours"],
        "over_one_at_a_time": seconds["one"] / seconds["ours"],
        "over_batches": seconds["batches"] / seconds["ours"],
        "of_bare": seconds["bare"] / seconds["ours"],
        "model_flops_utilisation": flops / seconds["ours"] / rate,
        "resident_flops_utilisation": flops / seconds["resident"] / rate,
        "matmul_tflops": rate / 1e12,
        "device_idle_share": max(0.0, 1 - seconds["resident"] / seconds["ours"]),
        "peak_memory_gb": _peak_bytes(options.device) / 1e9,
        "index_share": made.index.nbytes / payload,
        "payload_mb_a_second": payload / 1e6 / seconds["ours"],
        "million_images": {
            "bytes": payload / count * 1e6,
            "device_hours": seconds["ours"] / count * 1e6 / 3600,
            "full_size": of_a_million(towers("full")[tower.kind], bench.files),
        },
    }


def _peak_bytes(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def targets(device: str, figures: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    """What the figures should be."""
    found = []
    for name, one in figures.items():
        found.append(Target(f"{name}: index / payload", one["index_share"], 0.01, at_most=True))
        if device == "cpu":
            found.append(Target(f"{name}: ours / bare loop", one["of_bare"], 0.9))
            continue
        resident_use = one["resident_flops_utilisation"]
        found += [
            Target(f"{name}: ours / resident", one["of_resident"], 0.85),
            Target(f"{name}: ours / one at a time", one["over_one_at_a_time"], 4),
            Target(f"{name}: ours / batches of {BATCH}", one["over_batches"], 1.5),
            Target(f"{name}: resident / matmul rate", resident_use, 0.45),
        ]
    return found


def main() -> None:
    """Time every tower."""
    parser = arguments("Vision features from JPEG bytes to a container.")
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if cuda else "cpu")
    parser.add_argument("--corpus", type=Path, help="folder with a manifest.jsonl and pictures")
    parser.add_argument("--images", type=int, help="pictures (1024 on a GPU, 16 on a CPU)")
    parser.add_argument("--tower", choices=("siglip", "qwen2_vl"), action="append")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"))
    parser.add_argument("--attention", choices=("varlen", "sdpa"), default="varlen")
    parser.add_argument("--max-patches", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    on_gpu = options.device == "cuda"
    options.scale = "full" if on_gpu else "small"
    options.dtype = options.dtype or ("bfloat16" if on_gpu else "float32")
    options.max_patches = options.max_patches or (65536 if on_gpu else 4096)
    count = options.images or (1024 if on_gpu else 16)
    figures: dict[str, Any] = {}
    with work_folder(options.work) as work:
        files = pictures(options.corpus, work, count)
        for name, tower in towers(options.scale).items():
            if options.tower and name not in options.tower:
                continue
            say(f"{name}: {count} pictures on {options.device} in {options.dtype}")
            bench = prepared(tower, options, work, files)
            figures[name] = measured(bench, options, work)
            del bench
    device = torch.cuda.get_device_name() if on_gpu else "cpu"
    settings = {"device": device, "dtype": options.dtype, "threads": options.threads}
    name = "features_gpu" if on_gpu else "features"
    aims = targets(options.device, figures)
    report(name, {**settings, "towers": figures}, aims, save=options.save)


if __name__ == "__main__":
    main()
