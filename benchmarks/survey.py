"""JPEGs a second of the survey on one core, beside lengths measured by transformers.

    python -m benchmarks.survey [--source 'DIR/*.tar'] [--save]

Both sides read the same tars from the page cache and are kept on one core. Ours parses records,
indexes tars, reads every byte, takes sha256 and headers and makes the SURVEYED tables. The peer
decodes the picture and asks Qwen2VLImageProcessorPil for its grid, as a script that has to know
lengths does; it takes only a sample of the files, since it needs about 30 ms each.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.kit.builds import MAX_PIXELS
from benchmarks.kit.records import records_for
from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import in_turn, medians, one_core
from benchmarks.source import Wanted, tars_for
from pipelines.finding import ROWS_PER_BLOCK
from workers.media_files import MediaFiles
from workers.sources.block import Block
from workers.sources.records import RecordsOptions, plan, read
from workers.storage.folder import Folder, folder_of
from workers.survey import SurveySpec, survey


def survey_rate(spec: SurveySpec, files: Folder, blocks: Sequence[Block]) -> float:
    """Samples a second of the survey of these blocks. Fails where one is dropped."""
    began = time.perf_counter()
    tables = [survey(spec, read(files, block, RecordsOptions()))[0] for block in blocks]
    spent = time.perf_counter() - began
    dropped = sum(len(table) - table.column("drop").null_count for table in tables)
    if dropped:
        raise SystemExit(f"{dropped} samples were dropped: the source is damaged")
    return sum(map(len, tables)) / spent


def processor_rate(processor: Any, files: Sequence[tuple[Path, int, int]]) -> float:
    """Pictures a second of reading, decoding, and asking the image processor for the grid."""
    began = time.perf_counter()
    for path, offset, size in files:
        with path.open("rb") as file:
            file.seek(offset)
            picture = Image.open(io.BytesIO(file.read(size))).convert("RGB")
        processor(images=picture, return_tensors="np")["image_grid_thw"]
    return len(files) / (time.perf_counter() - began)


def every_nth(tars: Sequence[Path], wanted: int) -> list[tuple[Path, int, int]]:
    """Byte ranges of a sample of the tars' JPEGs, spread over all of them."""
    found = []
    for tar in tars:
        with MediaFiles(tar.parent) as files:
            members = files.index(tar.name).members.items()
        found += [(tar, *place) for name, place in members if name.endswith(".jpg")]
    return found[:: max(1, len(found) // wanted)][:wanted]


def load_processor() -> Any:
    """The peer."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor: Any = Qwen2VLImageProcessorPil(max_pixels=MAX_PIXELS)
    return processor


def main() -> None:
    """Measure and report."""
    parser = arguments("JPEGs a second of the survey on one core, beside transformers.")
    parser.add_argument("--source", help="tars, 'DIR/*.tar'; by default made here")
    parser.add_argument("--count", type=int, default=3000, help="JPEGs")
    parser.add_argument("--sample", type=int, default=100, help="JPEGs that the peer measures")
    options = parser.parse_args()
    with work_folder(options.work) as work:
        tars = tars_for(options.source, work, Wanted(count=options.count))
        records, spec = folder_of(work), SurveySpec("bench", folder_of(tars[0].parent), {})
        count = records_for(tars, work / "survey.jsonl", options.count)
        files = every_nth(tars, options.sample)
        sides: dict[str, Callable[[], float]] = {
            f"survey_{rows}": partial(
                survey_rate, spec, records, plan(records, "survey.jsonl", rows)
            )
            for rows in sorted({512, ROWS_PER_BLOCK})
        }
        sides["transformers"] = partial(processor_rate, load_processor(), files)
        for side in sides.values():
            side()  # everything is imported, and in the page cache
        say(f"{count} JPEGs, {len(files)} of them also by transformers")
        with one_core():
            rates = medians(in_turn(options.rounds, sides))
    ratio = rates["survey_512"] / rates["transformers"]
    figures = {
        "jpegs": count,
        "mean_kilobytes": sum(size for *_, size in files) / len(files) / 1000,
        "rows_per_block": ROWS_PER_BLOCK,
        "jpegs_per_second": rates,
        "ratio": ratio,
    }
    targets = [
        Target("survey, JPEG/s on one core", rates["survey_512"], 4000),
        Target("survey / transformers", ratio, 100),
    ]
    report("survey", figures, targets, save=options.save)


if __name__ == "__main__":
    main()
