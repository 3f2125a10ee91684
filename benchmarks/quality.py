"""Signals of pictures beside their decode and `imagehash`; clauses and duplicates at a million.

    python -m benchmarks.quality [--planted DIR] [--save]

- pictures: all measures and both hashes of JPEGs in memory, on one core, beside a loop of the
  reduced decode alone and `imagehash.phash` alone on the same files.
- planted: pairs of copies (re-encoded at 0.8 to 0.95 of their size) that a distance of 6 bits
  finds, and other pairs that it finds, ours and `imagehash`'s. DIR holds tars and a
  `source_manifest.json` with lists of `exact_dup` and `near_dup`; without it copies of generated
  pictures are planted.
- select: six clauses, exact duplicates, near ones of pictures and of texts, of a million samples
  whose signals are there; near duplicates of 50,000 pictures against brute force.
"""

from __future__ import annotations

import io
import json
import resource
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import in_turn, medians, one_core, timed
from benchmarks.source import Wanted, tars_for
from workers.near_duplicates import NONE, near_duplicates
from workers.near_texts import near_texts
from workers.signals.clauses import fails, signal_table
from workers.signals.minhash import PLACES
from workers.signals.picture import picture_signals, reduced

ROWS, BRUTE = 1_000_000, 50_000
BITS_PLANTED, BITS, LIKENESS = 6, 4, 0.8
CLAUSES = (
    "min_side >= 56",
    "aspect_ratio <= 20",
    "not blank",
    "language in ('en', 'de')",
    "repetition < 0.5 and html_tags = 0",
    "min_sharpness > 20",
)
Words = npt.NDArray[np.uint64]
Pairs = set[tuple[int, int]]


def jpegs_of(tars: Sequence[Path]) -> dict[str, bytes]:
    """The JPEGs of tars by key, in order."""
    found = {}
    for tar in tars:
        with tarfile.open(tar) as archive:
            for member in archive:
                content = archive.extractfile(member)
                if member.name.endswith(".jpg") and content is not None:
                    found[member.name.removesuffix(".jpg")] = content.read()
    return found


def planted(folder: Path | None, work: Path) -> tuple[list[bytes], Pairs]:
    """JPEGs, and the pairs among them that are copies."""
    if folder:
        by_key = jpegs_of(sorted(folder.glob("*.tar")))
        places = {key: place for place, key in enumerate(by_key)}
        lists = json.loads((folder / "source_manifest.json").read_text())["duplicates"]
        of_copies = [(places[of], places[key]) for many in lists.values() for key, of in many]
        return list(by_key.values()), _closed(of_copies)
    jpegs = list(jpegs_of(tars_for(None, work, Wanted(count=2000))).values())
    draw, pairs = np.random.default_rng(0), []
    for number in range(100):
        of = int(draw.integers(2000))
        picture = Image.open(io.BytesIO(jpegs[of]))
        scale = draw.uniform(0.8, 0.95)
        size = (int(picture.width * scale), int(picture.height * scale))
        data = io.BytesIO()
        picture.resize(size, Image.Resampling.LANCZOS).save(data, "jpeg", quality=80)
        jpegs.append(data.getvalue())
        pairs.append((of, 2000 + number))
    return jpegs, _closed(pairs)


def _closed(pairs: Sequence[tuple[int, int]]) -> Pairs:
    """With the pairs of copies of the same picture."""
    root: dict[int, int] = {}
    for of, copy in sorted(pairs, key=lambda pair: pair[1]):
        root[copy] = root.get(of, of)
    groups: dict[int, list[int]] = {}
    for copy, of in root.items():
        groups.setdefault(of, [of]).append(copy)
    return {(a, b) for group in groups.values() for a in group for b in group if a < b}


def pairs_within(words: Words, bits: int) -> Pairs:
    """All pairs of hashes that differ in at most so many bits, by brute force."""
    found: Pairs = set()
    for row, word in enumerate(words):
        near = np.flatnonzero(np.bitwise_count(words[row + 1 :] ^ word) <= bits)
        found |= {(row, row + 1 + int(other)) for other in near}
    return found


def pictures(options: Any, work: Path) -> tuple[dict[str, Any], list[Target]]:
    """Speed and pairs."""
    jpegs, copies = planted(options.planted, work)
    sizes = [Image.open(io.BytesIO(one)).size for one in jpegs]
    every = list(zip(jpegs, sizes, strict=True))
    some = every[:: max(1, len(every) // 500)]
    sides = {
        "ours": lambda: timed(lambda: [picture_signals(d, "jpeg", *wh) for d, wh in some]),
        "decode": lambda: timed(lambda: [reduced(d, "jpeg", min(wh)) for d, wh in some]),
        "imagehash": lambda: timed(
            lambda: [imagehash.phash(Image.open(io.BytesIO(d))) for d, _ in some]
        ),
    }
    with one_core():
        seconds = medians(in_turn(options.rounds, sides))
    mine = np.array(
        [int.from_bytes(picture_signals(d, "jpeg", *wh).phash, "big") for d, wh in every], np.uint64
    )
    theirs = np.array(
        [int(str(imagehash.phash(Image.open(io.BytesIO(d)))), 16) for d in jpegs], np.uint64
    )
    ours, peers = (pairs_within(words, BITS_PLANTED) for words in (mine, theirs))
    figures: dict[str, Any] = {
        "pictures": len(jpegs),
        "planted_pairs": len(copies),
        "pictures_a_second": {name: len(some) / spent for name, spent in seconds.items()},
        "core_hours_a_million": 1e6 / (len(some) / seconds["ours"]) / 3600,
        "recall": len(ours & copies) / len(copies),
        "recall_imagehash": len(peers & copies) / len(copies),
        "other_pairs": len(ours - copies),
        "other_pairs_imagehash": len(peers - copies),
    }
    others = figures["other_pairs"] / max(1, figures["other_pairs_imagehash"])
    return figures, [
        Target("all signals / the decode they share", seconds["decode"] / seconds["ours"], 0.7),
        Target("all signals / imagehash's hash alone", seconds["imagehash"] / seconds["ours"], 2),
        Target(f"planted pairs found at {BITS_PLANTED} bits", figures["recall"], 0.98),
        Target("other pairs / imagehash's", others, 1.2, at_most=True),
    ]


def select() -> tuple[dict[str, Any], list[Target]]:
    """A million rows."""
    draw = np.random.default_rng(0)
    hashes = draw.integers(0, 2**64, ROWS, dtype=np.uint64)
    copies = draw.choice(np.arange(1, ROWS), ROWS // 20, replace=False)
    for copy in copies:
        turned = draw.choice(64, draw.integers(0, BITS + 1), replace=False).astype(np.uint64)
        mask = np.bitwise_or.reduce(np.uint64(1) << turned, initial=np.uint64(0))
        hashes[copy] = hashes[draw.integers(copy)] ^ mask
    table = signal_table(
        {
            "min_side": draw.integers(20, 2000, ROWS),
            "aspect_ratio": draw.uniform(1, 25, ROWS),
            "blank": draw.random(ROWS) < 0.01,
            "language": draw.choice(["en", "de", "fr"], ROWS).tolist(),
            "repetition": draw.random(ROWS),
            "html_tags": draw.integers(0, 3, ROWS),
            "min_sharpness": draw.uniform(0, 900, ROWS),
        }
    )
    texts = draw.integers(0, 2**32, (ROWS, PLACES), dtype=np.uint32)
    texts[copies] = texts[draw.integers(0, copies)]
    near_duplicates(hashes[:10], np.arange(11), hashes[:0], BITS)  # compiled
    near_texts(texts[:10], texts[:0], LIKENESS)
    began = time.perf_counter()
    fails(table, CLAUSES)
    clauses = time.perf_counter() - began
    np.unique(hashes, return_index=True)
    exact = time.perf_counter() - began - clauses
    near, _ = near_duplicates(hashes, np.arange(ROWS + 1), hashes[:0], BITS)
    pictures_too = time.perf_counter() - began
    like, _ = near_texts(texts, texts[:0], LIKENESS)
    total = time.perf_counter() - began
    few = hashes[:BRUTE]
    found, _ = near_duplicates(few, np.arange(BRUTE + 1), few[:0], BITS)
    wanted = brute_force(few)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    recall = float((found[wanted] != NONE).mean())
    figures = {
        "rows": ROWS,
        "clauses_seconds": clauses,
        "exact_seconds": exact,
        "near_pictures_seconds": pictures_too - clauses - exact,
        "near_texts_seconds": total - pictures_too,
        "near_duplicates": int((near != NONE).sum()),
        "like_texts": int((like != NONE).sum()),
        "recall": recall,
    }
    return figures, [
        Target("select of a million rows, seconds", total, 20, at_most=True),
        Target("select of a million rows, GB of the process", memory, 2, at_most=True),
        Target(f"near duplicates of {BRUTE:,} against brute force", recall, 0.99),
    ]


def brute_force(words: Words) -> npt.NDArray[np.int64]:
    """Rows that lie near an earlier one that stayed, in order."""
    stayed = np.ones(len(words), np.bool_)
    for row in range(1, len(words)):
        near = np.bitwise_count(words[:row] ^ words[row]) <= BITS
        stayed[row] = not (near & stayed[:row]).any()
    return np.flatnonzero(~stayed)


def main() -> None:
    """Time both."""
    parser = arguments("Signals, clauses and duplicates.")
    parser.add_argument("--planted", type=Path, help="tars with a source_manifest.json")
    options = parser.parse_args()
    say("select: a million rows")
    chosen, aims = select()
    with work_folder(options.work) as work:
        measured, more = pictures(options, work)
    report("quality", {"pictures": measured, "select": chosen}, [*more, *aims], save=options.save)


if __name__ == "__main__":
    main()
