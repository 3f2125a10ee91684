"""Benchmark lists: what training data must not hold, as hashes of pictures and of runs of words.

A list is a small Parquet file with none of the benchmark's own content in it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.columns import one_chunk
from schemas.errors import RecipeError
from workers.near_duplicates import NONE, Hashes, near_known
from workers.signals import picture
from workers.storage.folder import folder_of
from workers.word_runs import VERSION, Runs, runs_of

LISTED = pa.schema(
    [
        pa.field("words", pa.int32(), nullable=False),  # of a run; 0 for a picture
        pa.field("hash", pa.uint64(), nullable=False),
    ]
)
_ABOUT = b"patchpack_benchmark"
_VERSIONS = {"picture": picture.VERSION, "runs": VERSION}


@dataclass(frozen=True, eq=False)
class BenchmarkList:
    """One list; runs by the number of their words."""

    name: str
    digest: str
    pictures: Hashes
    runs: Mapping[int, Runs] = field(default_factory=dict)


def write_benchmark(name: str, pictures: Sequence[int], runs: Mapping[int, set[int]]) -> bytes:
    """The file of a list: the same bytes for the same content."""
    rows = [(0, one) for one in sorted(set(pictures))]
    rows += [(length, one) for length in sorted(runs) for one in sorted(runs[length])]
    about = {_ABOUT: json.dumps({"name": name, "versions": _VERSIONS}).encode()}
    words, hashes = ([row[n] for row in rows] for n in (0, 1))
    arrays = [pa.array(words, pa.int32()), pa.array(hashes, pa.uint64())]
    buffer = io.BytesIO()
    table = pa.Table.from_arrays(arrays, schema=LISTED.with_metadata(about))
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read_benchmark(path: str) -> BenchmarkList:
    """A list from its file, local or s3://. Raises RecipeError naming it where it is none."""
    base, slash, name = path.rpartition("/")
    try:
        data = folder_of(base or slash).read_whole(name)
        table = pq.ParquetFile(pa.BufferReader(data)).read()
        about = json.loads((table.schema.metadata or {})[_ABOUT])
        table = table.cast(LISTED)
    except OSError as error:
        raise RecipeError(f"select.benchmarks: {path}: {error.strerror or error}") from error
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        what = "no benchmark list; `python -m flows benchmark` makes one"
        raise RecipeError(f"select.benchmarks: {path}: {what}") from error
    if about.get("versions") != _VERSIONS:
        what = "made by another version: make it again with `python -m flows benchmark`"
        raise RecipeError(f"select.benchmarks: {path}: {what}")
    words = table.column("words").to_numpy()
    hashes = table.column("hash").to_numpy()
    return BenchmarkList(
        name=str(about.get("name", name)),
        digest=hashlib.sha256(data).hexdigest(),
        pictures=hashes[words == 0],
        runs={int(one): hashes[words == one] for one in np.unique(words[words > 0])},
    )


def contaminated(
    surveyed: pa.Table, pictures: pa.Table, listed: BenchmarkList, bits: int
) -> dict[int, str]:
    """The rows of a block that show or say what is on a list, with what was found; `pictures` are
    the block's PICTURES.
    """
    found = dict(_by_text(surveyed, listed))
    found |= dict(_by_picture(surveyed, pictures, listed, bits))
    return dict(sorted(found.items()))


def _by_text(surveyed: pa.Table, listed: BenchmarkList) -> Iterator[tuple[int, str]]:
    if not listed.runs:
        return
    for row, turns in enumerate(surveyed.column("turns").to_pylist()):
        for turn in turns:
            text = " ".join(part["text"] for part in turn["parts"] if part["kind"] == "text")
            length = _in_list(text, listed)
            if length:
                yield row, f"{length} words in a row are those of {listed.name}"
                break


def _in_list(text: str, listed: BenchmarkList) -> int:
    for length, known in listed.runs.items():
        runs = runs_of(text, length)
        places = np.minimum(np.searchsorted(known, runs), len(known) - 1)
        if len(runs) and (known[places] == runs).any():
            return length
    return 0


def _by_picture(
    surveyed: pa.Table, pictures: pa.Table, listed: BenchmarkList, bits: int
) -> Iterator[tuple[int, str]]:
    """Blank pictures look like nothing."""
    usable = pictures.filter(
        pc.and_(pictures.column("phash").is_valid(), pc.invert(pictures.column("blank")))
    )
    hashes = np.frombuffer(b"".join(usable.column("phash").to_pylist()), ">u8").astype(np.uint64)
    near, differ = near_known(hashes, listed.pictures, bits)
    contents = usable.column("content").to_pylist()
    told = {contents[place]: int(differ[place]) for place in np.flatnonzero(near != NONE)}
    items = one_chunk(surveyed.column("items")).to_pylist()
    for row, media in enumerate(items):
        for item in media:
            if item["sha256"] in told:
                off = told[item["sha256"]]
                yield row, f"a picture differs in {off} of 64 bits from one of {listed.name}"
                break
