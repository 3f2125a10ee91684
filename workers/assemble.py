"""assemble: one pack from its samples: tokens in place, spans of features, geometry, payloads
untouched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from patchpack.arrays import (
    ALPHAS,
    PAYLOADS,
    RESAMPLES,
    THUMBNAIL_SOURCES,
    THUMBNAILS,
    Arrays,
)
from patchpack.layout import Cost, Header, Pack, Payload, feature, image
from schemas.errors import BuildError
from workers.cameras import XYZ, camera_arrays
from workers.expand import Expanded, VisionBlock, VisionIds, expand
from workers.gather import Item, Sample

VERSION = 3
"""Raised when the bytes of a pack change for the same samples and payloads, or which packs a shard
holds.
"""


class Part(NamedTuple):
    """One part of an item's payload: an encoded picture, features of a view, their scales, or the
    places of its patches (`xyz`).
    """

    data: bytes | memoryview
    format: str  # of features dtype/width: bfloat16/1152


@dataclass(frozen=True)
class PackStyle:
    """What all packs of a build share."""

    recipe: str  # digest of what shapes packs
    positions: str
    payload: str  # source | pixels | features
    ids: VisionIds


@dataclass(frozen=True)
class Place:
    """Where a pack stands in the global order."""

    key: str
    lane: int
    row: int


def assemble(
    place: Place, samples: Sequence[Sample], parts: Sequence[Sequence[Part]], style: PackStyle
) -> Pack:
    """The pack of these samples in this order; `parts` has one list an item, items in sample
    order.

    Raises BuildError where a sample does not have the length that was planned.
    """
    expanded = [_expand(sample, style.ids) for sample in samples]
    starts = list(accumulate((len(one.tokens) for one in expanded), initial=0))
    items = [item for sample in samples for item in sample.items]
    owners = [number for number, sample in enumerate(samples) for _ in sample.items]
    spans = [
        (starts[number] + start, length)
        for number, one in enumerate(expanded)
        for start, length in _spans(one, len(samples[number].items))
    ]
    pictures = [[part for part in one if part.format != XYZ] for one in parts]
    xyz = [[part.data for part in one if part.format == XYZ] for one in parts]
    first_tensor = list(accumulate(map(len, pictures), initial=0))
    header = Header(
        key=place.key,
        filler=False,
        lane=place.lane,
        row=place.row,
        length=starts[-1],
        cost=_cost(samples),
        cu_seqlens=starts,
        loss_tokens=[int(one.loss.sum()) for one in expanded],
        sample_id=[sample.sample_id for sample in samples],
        source=[sample.source for sample in samples],
        origin=[sample.origin for sample in samples],
        sha256=[item.source.sha256 for item in items],
        item_sample=owners,
        item_kind=[item.source.kind for item in items],
        item_start=[start for start, _ in spans],
        item_length=[length for _, length in spans],
        item_tensor=[f"{_kind(style)}.{number:05d}" for number in first_tensor[:-1]],
        item_format=[shown[0].format.partition("/")[0] for shown in pictures],
        item_source_wh=[[item.source.width, item.source.height] for item in items],
        item_resized_wh=[list(item.geometry.resized_wh) for item in items],
        policy=[item.geometry.policy for item in items],
        merge=[item.geometry.merge for item in items],
        seconds_per_grid=[float(item.geometry.seconds_per_grid) for item in items],
        positions=style.positions,
        recipe=style.recipe,
    )
    payloads = [_payload(picture) for shown in pictures for picture in shown]
    return Pack(header, _arrays(expanded, items, xyz, style), payloads)


def _kind(style: PackStyle) -> str:
    """The first half of the names of payload tensors."""
    return "feature" if style.payload == "features" else "image"


def _payload(part: Part) -> Payload:
    dtype, _, width = part.format.partition("/")
    if not width:
        return image(part.data)
    return feature(part.data, dtype, int(width))


def _expand(sample: Sample, ids: VisionIds) -> Expanded:
    blocks = [
        VisionBlock(item.source.kind, item.geometry.parts, item.geometry.runs, item.run_text)
        for item in sample.items
    ]
    expanded = expand(sample.text, blocks, ids)
    if len(expanded.tokens) != sample.length:
        raise BuildError(
            f"{sample.sample_id} has {len(expanded.tokens)} tokens, {sample.length} were planned"
        )
    return expanded


def _spans(expanded: Expanded, items: int) -> list[tuple[int, int]]:
    """For each item its first embedding, and the tokens from there to its last one."""
    first = [-1] * items
    end = [-1] * items
    for run in expanded.runs:
        if first[run.item] < 0:
            first[run.item] = run.start
        end[run.item] = run.start + run.length
    return [(start, stop - start) for start, stop in zip(first, end, strict=True)]


def _cost(samples: Sequence[Sample]) -> Cost:
    return Cost(
        tokens=sum(sample.tokens for sample in samples),
        patches=sum(sample.patches for sample in samples),
        attention=sum(sample.attention for sample in samples),
        vit_attention=sum(sample.vit_attention for sample in samples),
    )


def _arrays(
    expanded: Sequence[Expanded],
    items: Sequence[Item],
    xyz: Sequence[Sequence[bytes | memoryview]],
    style: PackStyle,
) -> Arrays:
    shapes = [item.geometry for item in items]
    boxes = [
        (number, box["xyxy"]) for number, item in enumerate(items) for box in item.source.boxes
    ]
    return Arrays(
        tokens=np.concatenate([one.tokens for one in expanded]),
        token_kind=np.concatenate([one.token_kind for one in expanded]),
        loss=np.concatenate([one.loss for one in expanded]),
        payload=_codes([_payload_code(item, style) for item in items]),
        orientation=_codes([item.source.orientation for item in items]),
        alpha=_codes([_alpha_code(item) for item in items]),
        canvas_wh=_table([shape.canvas_wh for shape in shapes], 2),
        paste_xy=_table([shape.paste_xy for shape in shapes], 2),
        pad_rgb=_table([shape.pad_rgb for shape in shapes], 3).astype(np.uint8),
        view_wh=_table([shape.view_wh for shape in shapes], 2),
        resample=_codes([RESAMPLES.index(shape.resample) for shape in shapes]),
        transposed=_codes([shape.transposed for shape in shapes]),
        thumbnail=_codes([THUMBNAILS.index(shape.thumbnail) for shape in shapes]),
        thumbnail_of=_codes([THUMBNAIL_SOURCES.index(shape.thumbnail_of) for shape in shapes]),
        thumbnail_wh=_table([shape.thumbnail_wh for shape in shapes], 2),
        thumbnail_resized_wh=_table([shape.thumbnail_resized_wh for shape in shapes], 2),
        thumbnail_xy=_table([shape.thumbnail_xy for shape in shapes], 2),
        runs=np.array([shape.runs for shape in shapes], np.int32),
        via_wh=_table([size for shape in shapes for size in shape.via_wh], 2),
        via_item=_owners([len(shape.via_wh) for shape in shapes]),
        parts=_table([part for shape in shapes for part in shape.parts], 3),
        part_item=_owners([len(shape.parts) for shape in shapes]),
        kept_patches=np.array([p for shape in shapes for p in shape.kept_patches], np.int32),
        kept_item=_owners([len(shape.kept_patches) for shape in shapes]),
        grid_thw=_table([grid for shape in shapes for grid in shape.grid_thw], 3),
        grid_item=_owners([len(shape.grid_thw) for shape in shapes]),
        crops_ltrb=_table([box for shape in shapes for box in shape.crops_ltrb], 4),
        crops_item=_owners([len(shape.crops_ltrb) for shape in shapes]),
        pieces=_table([piece for shape in shapes for piece in shape.pieces], 6),
        pieces_item=_owners([len(shape.pieces) for shape in shapes]),
        frame_indices=np.array([i for shape in shapes for i in shape.frame_indices], np.int32),
        frame_item=_owners([len(shape.frame_indices) for shape in shapes]),
        **camera_arrays(items, xyz)._asdict(),
        boxes_xyxy=np.array([xyxy for _, xyxy in boxes], np.float32).reshape(-1, 4),
        box_item=np.array([number for number, _ in boxes], np.int32),
    )


def _payload_code(item: Item, style: PackStyle) -> int:
    if style.payload == "source" and item.source.kind == "video":
        return PAYLOADS.index("pixels")
    return PAYLOADS.index(style.payload)


def _alpha_code(item: Item) -> int:
    if not item.source.alpha:
        return ALPHAS.index("none")
    return ALPHAS.index("dropped" if item.geometry.alpha == "drop" else "white")


def _codes(values: Sequence[int]) -> npt.NDArray[np.uint8]:
    return np.array(values, np.uint8)


def _table(rows: Sequence[Sequence[int]], width: int) -> npt.NDArray[np.int32]:
    return np.array(rows, np.int32).reshape(-1, width)


def _owners(counts: Sequence[int]) -> npt.NDArray[np.int32]:
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)
