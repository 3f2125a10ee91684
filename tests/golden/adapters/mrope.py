"""mrope.*, packed.*: position ids of the Qwen2-VL family, and of packs of their samples."""

from functools import cache
from itertools import accumulate
from pathlib import Path

import numpy as np

from patchpack.mrope import Blocks, Resume, mrope_ids
from patchpack.positions import segment_positions
from patchpack.vit_positions import vit_cu_seqlens
from tests.golden.adapter import Direct, Fields, Row

DATA = Path(__file__).parents[1] / "data" / "positions"
PADS = ("image_pad", "video_pad")
PAD_ID: dict[Resume, int] = {"max_thw": 1, "max_hw": 0}
"""What transformers gives to padding: the versions that resume by max_thw a 1."""


def blocks_of(row: Row, *, whole_seconds: bool) -> Blocks:
    """The blocks of a row: its run-length tokens, and the grids of its segments."""
    ends = list(accumulate(count for _, count in row["tokens"]))
    starts = [
        end - count for end, (kind, count) in zip(ends, row["tokens"], strict=True) if kind in PADS
    ]
    grids: list[list[int]] = []
    seconds: list[float] = []
    for segment in row["segments"]:
        if segment["type"] == "text":
            continue
        frames, rows, columns = segment["grid_thw"]
        each = segment.get("second_per_grid_t", 0.0)
        if "ts_tokens" in segment:
            grids += [[1, rows // 2, columns // 2]] * frames
            seconds += [0.0] * frames
        else:
            grids.append([frames, rows // 2, columns // 2])
            seconds.append(float(int(each)) if whole_seconds else each)
    return Blocks(
        np.array(starts, np.int64), np.array(grids, np.int64).reshape(-1, 3), np.array(seconds)
    )


def ids_of(row: Row, resume: Resume = "max_thw", *, whole_seconds: bool = False) -> Fields:
    """Ids and `rope_delta` as a version of transformers has them, padding included."""
    length = row["L"]
    blocks = blocks_of(row, whole_seconds=whole_seconds)
    rate = row.get("tokens_per_second", 0)
    ids = mrope_ids(np.array([0, length]), blocks, resume, rate)
    pad = row.get("pad", {"side": "right", "n": 0})
    padded = length + pad["n"]
    delta = int(ids.max()) + 1 - (padded if resume == "max_thw" else length)
    sides = (pad["n"], 0) if pad["side"] == "left" else (0, pad["n"])
    ids = np.pad(ids, ((0, 0), sides), constant_values=PAD_ID[resume])
    return {"position_ids": dict(zip("thw", ids.tolist(), strict=True)), "rope_delta": delta}


def _variant(row: Row, version: str) -> Fields:
    if version == "5.23.0":
        return ids_of(row, "max_hw")
    return ids_of(row, whole_seconds=version == "4.57.1" and row["model"] == "qwen2_5_vl")


def _expected(row: Row) -> Fields:
    main = {name: row[name] for name in ("position_ids", "rope_delta")}
    others = {name: main if ids == "same" else ids for name, ids in row["variants"].items()}
    return {**main, **others}


def _answered(row: Row) -> Fields:
    return ids_of(row) | {version: _variant(row, version) for version in row["variants"]}


MROPE = frozenset(
    (
        *("id", "model", "category", "reference", "segments", "tokens", "L", "tokens_per_second"),
        *("pad", "position_ids", "rope_delta", "variants"),
    )
)


@cache
def _samples(model: str) -> dict[str, Row]:
    from tests.golden.compare import read_rows

    return {row["id"]: row for row in read_rows(DATA / f"mrope.{model}.jsonl.gz")}


def _packed(row: Row) -> Fields:
    samples = [_samples(row["model"])[name] for name in row["samples"]]
    cu_seqlens = np.cumsum([0, *(one["L"] for one in samples)])
    parts = [blocks_of(one, whole_seconds=False) for one in samples]
    blocks = Blocks(
        np.concatenate(
            [part.start + first for part, first in zip(parts, cu_seqlens, strict=False)]
        ),
        np.concatenate([part.grid for part in parts]),
        np.concatenate([part.seconds for part in parts]),
    )
    rates = {one.get("tokens_per_second", 0) for one in samples}
    text = segment_positions(cu_seqlens)
    grids = {
        kind: [s["grid_thw"] for one in samples for s in one["segments"] if s["type"] == kind]
        for kind in ("image", "video")
    }
    ids = [
        mrope_ids(np.array([0, one["L"]]), part, "max_thw", one.get("tokens_per_second", 0))
        for one, part in zip(samples, parts, strict=True)
    ]
    whole = np.concatenate(ids, axis=1)
    if len(rates) == 1:  # one call for the pack gives the same
        whole = mrope_ids(cu_seqlens, blocks, "max_thw", rates.pop())
    ends = {kind: vit_cu_seqlens(np.array(g, np.int64).reshape(-1, 3)) for kind, g in grids.items()}
    return {
        "lengths": np.diff(cu_seqlens).tolist(),
        "text_position_row": text.tolist(),
        "position_ids": dict(zip("thw", whole.tolist(), strict=True)),
        "cu_seqlens": cu_seqlens.tolist(),
        "max_seqlen": int(np.diff(cu_seqlens).max()),
        "segment_ids": (np.cumsum(text == 0) - 1).tolist(),
        "hf_is_packed": bool((np.diff(text) != 1).any()),
        "image_grid_thw": grids["image"],
        "video_grid_thw": grids["video"],
        "vit_cu_seqlens_image": ends["image"].tolist(),
        "vit_cu_seqlens_video": ends["video"].tolist(),
    }


PACKED = [
    "lengths",
    "text_position_row",
    "position_ids",
    "cu_seqlens",
    "max_seqlen",
    "segment_ids",
    "hf_is_packed",
    "image_grid_thw",
    "video_grid_thw",
    "vit_cu_seqlens_image",
    "vit_cu_seqlens_video",
]


def _packed_expected(row: Row) -> Fields:
    return {name: row[name] for name in PACKED}


MODELS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
ADAPTERS = {
    **{f"mrope.{model}": Direct(MROPE, _expected, _answered) for model in MODELS},
    **{
        f"packed.{model}": Direct(
            frozenset({*PACKED, "id", "model", "samples", "transformers"}),
            _packed_expected,
            _packed,
        )
        for model in MODELS
    },
}
