"""Samples a second of every format beside `records`, from files to surveyed tables, on one core.

    python -m benchmarks.sources [--source 'DIR/*.tar'] [--save]

The same JPEGs and captions lie in tars, as loose files, and in Parquet files. Each side is the
`find` and `survey` of a build, with an empty cache: plan, index or unpack, read, every byte,
sha256, headers, tables. Formats of tars and Parquet are held against records that name members of
the same tars, those of loose files against records that name the files.
"""

from __future__ import annotations

import gzip
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.kit.builds import Inline
from benchmarks.kit.records import records_for
from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import in_turn, medians, one_core
from benchmarks.source import Wanted, tars_for
from pipelines.finding import find_blocks
from pipelines.load_recipe import load_recipe
from pipelines.partitions import Published
from pipelines.steps import Workshop
from pipelines.survey import survey_blocks
from workers.media_files import MediaFiles

BOUND = 0.8
ROWS_PER_GROUP = 100
"""Of a Parquet file: `datasets` writes as many where a row has a picture."""

RECIPE = """\
name = "bench"

[[sources]]
name = "bench"
{source}

[[policy]]
kind = "qwen2_vl"

[output]
path = "{work}/out"
cache = "{work}/cache"
"""


@dataclass(frozen=True)
class Sample:
    """A picture and its caption."""

    id: str
    jpeg: bytes
    caption: str

    @property
    def file(self) -> str:
        """The name of the picture as a loose file."""
        return f"{self.id}.jpg"

    @property
    def turns(self) -> list[dict[str, str]]:
        """What is said, in LLaVA's form."""
        return [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": self.caption}]


def samples_of(tars: Sequence[Path]) -> Iterator[Sample]:
    """The samples of tars in their order."""
    for tar in tars:
        with MediaFiles(tar.parent) as files:
            members = files.index(tar.name).members
            for name, (offset, size) in members.items():
                key, _, extension = name.rpartition(".")
                if extension == "jpg":
                    caption = files.read(tar.name, *members[f"{key}.txt"]).decode()
                    yield Sample(key, files.read(tar.name, offset, size), caption)


def write_loose(folder: Path, tars: Sequence[Path]) -> None:
    """Loose files with captions beside them, and what lists them in three formats."""
    lines: dict[str, list[dict[str, Any]]] = {"records": [], "llava": []}
    for sample in samples_of(tars):
        (folder / sample.file).write_bytes(sample.jpeg)
        (folder / f"{sample.id}.txt").write_text(sample.caption)
        said = {"id": sample.id, "image": sample.file, "conversations": sample.turns}
        user = {"role": "user", "text": "<image>", "images": [sample.file]}
        answer = {"role": "assistant", "text": sample.caption}
        lines["records"].append({"id": sample.id, "turns": [user, answer]})
        lines["llava"].append(said)
    # beside the folder, so that it holds nothing but the media
    for name, records in lines.items():
        text = "".join(json.dumps(record) + "\n" for record in records)
        Path(f"{folder}-{name}.jsonl").write_text(text)
    Path(f"{folder}-llava.json").write_text(json.dumps(lines["llava"]))
    entry = {"root": folder.name, "annotation": f"{folder.name}-llava.jsonl"}
    Path(f"{folder}-meta.json").write_text(json.dumps({"all": entry}))


def write_parquet(folder: Path, tars: Sequence[Path], compression: str) -> None:
    """A Parquet file for each tar, with columns as `datasets` has them."""
    for tar in tars:
        rows = [
            {
                "id": sample.id,
                "image": {"bytes": sample.jpeg, "path": sample.file},
                "conversations": sample.turns,
            }
            for sample in samples_of([tar])
        ]
        pq.write_table(
            pa.Table.from_pylist(rows),
            folder / f"{tar.stem}.parquet",
            compression={"image.bytes": compression, "image.path": "snappy"},
            use_dictionary=["id"],
            row_group_size=ROWS_PER_GROUP,
        )


def write_compressed(folder: Path, tars: Sequence[Path]) -> None:
    """The tars, compressed."""
    for tar in tars:
        packed = gzip.compress(tar.read_bytes(), 1, mtime=0)
        (folder / f"{tar.name}.gz").write_bytes(packed)


def lay_out(work: Path, tars: Sequence[Path], count: int) -> dict[str, str]:
    """Every format in the work folder, and its `[[sources]]` lines by the name of the side."""
    writers: dict[str, Callable[[Path], None]] = {
        "loose": lambda folder: write_loose(folder, tars),
        "parquet": lambda folder: write_parquet(folder, tars, "none"),
        "parquet-snappy": lambda folder: write_parquet(folder, tars, "snappy"),
        "parquet-zstd": lambda folder: write_parquet(folder, tars, "zstd"),
        "tar-gz": lambda folder: write_compressed(folder, tars),
    }
    for name, write in writers.items():
        if not (done := work / f"{name}.done").exists():
            (work / name).mkdir(exist_ok=True)
            write(work / name)
            done.touch()
    records_for(tars, work / "tars.jsonl", count)
    loose = f'root = "{work}/loose"\npath = "{work}/loose'
    tar_folder = tars[0].parent
    return {
        "records_tar": f'kind = "records"\npath = "{work}/tars.jsonl"\nroot = "{tar_folder}"',
        "webdataset": f'kind = "webdataset"\npath = "{tar_folder}/*.tar"',
        "parquet": f'kind = "parquet"\npath = "{work}/parquet"',
        "records_file": f'kind = "records"\n{loose}-records.jsonl"',
        "llava_array": f'kind = "llava_json"\n{loose}-llava.json"',
        "llava_lines": f'kind = "llava_json"\n{loose}-llava.jsonl"',
        "internvl_jsonl": f'kind = "internvl_jsonl"\npath = "{work}/loose-meta.json"',
        "folder": f'kind = "folder"\npath = "{work}/loose"',
        "webdataset_gz": f'kind = "webdataset"\npath = "{work}/tar-gz"',
        "parquet_snappy": f'kind = "parquet"\npath = "{work}/parquet-snappy"',
        "parquet_zstd": f'kind = "parquet"\npath = "{work}/parquet-zstd"',
    }


def rate(work: Path, source: str, count: int) -> float:
    """Samples a second of finding and surveying a source with an empty cache. Fails where one is
    missing or dropped.
    """
    shutil.rmtree(work / "cache", ignore_errors=True)
    recipe = work / "recipe.toml"
    recipe.write_text(RECIPE.format(source=source, work=work))
    workshop = Workshop(load_recipe(recipe), Inline())
    began = time.perf_counter()
    blocks = [
        block
        for part in survey_blocks(workshop, find_blocks(workshop, Published())).values()
        for block in part
    ]
    spent = time.perf_counter() - began
    tables = workshop.store.read_all("surveyed", [block.surveyed.key for block in blocks])
    kept = sum(table.column("drop").null_count for table in tables)
    if kept != count:
        raise SystemExit(f"{kept} of {count} samples were kept of\n{source}")
    return count / spent


def main() -> None:
    """Measure and report."""
    parser = arguments("Samples a second of every format beside records, on one core.", rounds=5)
    parser.add_argument("--source", help="tars, 'DIR/*.tar'; by default made here")
    parser.add_argument("--count", type=int, default=3000, help="JPEGs")
    options = parser.parse_args()
    with work_folder(options.work) as work:
        tars = tars_for(options.source, work, Wanted(count=options.count))
        sources = lay_out(work, tars, options.count)
        sides = {name: partial(rate, work, text, options.count) for name, text in sources.items()}
        for side in sides.values():
            side()  # everything is imported, and in the page cache
        with one_core():
            rates = medians(in_turn(options.rounds, sides))
    beside = {
        "webdataset": "records_tar",
        "parquet": "records_tar",
        **dict.fromkeys(("llava_array", "llava_lines", "internvl_jsonl", "folder"), "records_file"),
    }
    ratios = {f"{name} / {other}": rates[name] / rates[other] for name, other in beside.items()}
    copied = {
        "webdataset_gz / records_tar": rates["webdataset_gz"] / rates["records_tar"],
        "parquet_snappy / records_tar": rates["parquet_snappy"] / rates["records_tar"],
        "parquet_zstd / records_tar": rates["parquet_zstd"] / rates["records_tar"],
        "parquet / records_file": rates["parquet"] / rates["records_file"],
    }
    figures = {"jpegs": options.count, "samples_per_second": rates, "others": copied}
    say(f"{options.count} samples in each format")
    report(
        "sources",
        figures,
        [Target(what, ratio, BOUND) for what, ratio in ratios.items()],
        save=options.save,
    )


if __name__ == "__main__":
    main()
