"""Seconds to compare twelve policies on 100,000 samples that are surveyed, as a person waits.

    python -m benchmarks.plan_policies [--save]

Pictures of 500 sizes, five short texts; the survey and the tokens are there, plans are not.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import FLOWS, run

SAMPLES, PICTURES = 100_000, 500
POLICIES = (
    "qwen2_vl",
    "qwen2_vl?max_pixels=200704",
    "qwen3_vl",
    "internvl",
    "internvl?max_num=6",
    "llava15",
    "llava_next",
    "llava_onevision",
    "oryx",
    "deepseek_vl2",
    "xcomposer_hd",
    "siglip2_naflex",
)


def write_source(folder: Path) -> None:
    """Grey JPEGs of sizes as the web has them, and records that show them in turn."""
    draw = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for number in range(PICTURES):
        long = int(np.clip(draw.lognormal(6.6, 0.5), 64, 4000))
        aspect = float(np.clip(draw.lognormal(0.0, 0.35), 0.25, 4.0))
        short = max(32, int(long * min(aspect, 1 / aspect)))
        size = (long, short) if aspect > 1 else (short, long)
        Image.new("L", size, 128).save(folder / "images" / f"{number}.jpg", quality=30)
    with (folder / "records.jsonl").open("w") as file:
        for number in range(SAMPLES):
            shown = {"type": "image", "path": f"images/{int(draw.integers(PICTURES))}.jpg"}
            text = {"type": "text", "text": "What is it?"}
            answer = "A grey picture. " * int(draw.integers(1, 6))
            turns = [
                {"role": "user", "parts": [shown, text]},
                {"role": "assistant", "text": answer},
            ]
            file.write(json.dumps({"id": str(number), "turns": turns}) + "\n")


def main() -> None:
    """Measure and report."""
    options = arguments("Seconds of `plan --policies`.", rounds=1).parse_args()
    with work_folder(options.work) as work:
        if not (work / "records.jsonl").exists():
            write_source(work)
        seconds = []
        for number in range(options.rounds):
            recipe = work / f"recipe-{number}.toml"
            recipe.write_text(
                "name = 'compared'\n[[sources]]\nname = 'web'\nkind = 'records'\n"
                f"path = '{work}/records.jsonl'\n[[policy]]\nkind = 'fixed'\n"
                f"[output]\npath = '{work}/out-{number}'\n"
            )
            say(f"survey: {run([*FLOWS, 'plan', recipe, '--json'], work).seconds:.0f} s")
            asked = ["plan", str(recipe), "--json", "--policies", ",".join(POLICIES)]
            done = run([*FLOWS, *asked], work)
            seconds.append(done.seconds)
            assert len(json.loads(done.out)["policies"]) == len(POLICIES)
    report(
        "plan_policies",
        {"samples": SAMPLES, "policies": len(POLICIES), "seconds": median(seconds)},
        [Target("plan of twelve policies, seconds", median(seconds), 30, at_most=True)],
        save=options.save,
    )


if __name__ == "__main__":
    main()
