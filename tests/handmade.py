"""Packs made by hand, valid and small: what the tests of format, shards and readers start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from patchpack.arrays import Arrays
from patchpack.layout import (
    Cost,
    Pack,
    Payload,
    decode,
    empty_arrays,
    encode,
    filler,
    image,
    pack_key,
)

DIGEST = "3f2a91bc" + "0" * 56
PLACE = {"positions": "mrope/max_thw", "recipe": "9c1e"}


def text_pack(number: int, lengths: Sequence[int] = (5, 7)) -> Pack:
    """A pack of text samples of these lengths; loss on the last token of each."""
    bounds = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    length = bounds[-1]
    empty = filler(key=pack_key(DIGEST, number), lane=number % 2, row=number // 2, **PLACE)
    header = replace(
        empty.header,
        filler=False,
        length=length,
        cost=Cost(tokens=length, patches=0, attention=sum(n * n for n in lengths), vit_attention=0),
        cu_seqlens=bounds,
        loss_tokens=[1] * len(lengths),
        sample_id=[f"docs/{number:04d}-{i}" for i in range(len(lengths))],
        source=["docs"] * len(lengths),
        origin=[f"docs/größe.jsonl#{i}+9" for i in range(len(lengths))],
    )
    loss = np.zeros(length, np.uint8)
    loss[np.array(bounds[1:]) - 1] = 1
    arrays = replace(
        empty_arrays(),
        tokens=np.arange(length, dtype=np.int32),
        token_kind=np.zeros(length, np.uint8),
        loss=loss,
    )
    return Pack(header, arrays, ())


def empty_pack(number: int) -> Pack:
    """A filler."""
    return filler(key=pack_key(DIGEST, number), lane=number % 2, row=number // 2, **PLACE)


def media_pack(number: int, payloads: Sequence[Payload] | None = None) -> Pack:
    """One sample with a tiled picture and a thumbnail, a second one with a video of three frames.

    Tokens 2..8 are the picture's, 13..17 the video's. The picture has crops, a camera, boxes.
    """
    base = text_pack(number, (10, 12))
    header = replace(
        base.header,
        cost=Cost(tokens=22, patches=36, attention=244, vit_attention=1296),
        sha256=["ab" * 32, "cd" * 32],
        item_sample=[0, 1],
        item_kind=["image", "video"],
        item_start=[2, 13],
        item_length=[6, 4],
        item_tensor=["image.00000", "image.00002"],
        item_format=["jpeg", "png"],
        item_source_wh=[[800, 1300], [64, 48]],
        item_resized_wh=[[56, 84], [56, 56]],
        policy=["internvl/v1.5", "qwen2_vl/qwen_vl_utils"],
        merge=[1, 2],
        seconds_per_grid=[0.0, 1.5],
    )
    if payloads is None:
        payloads = [image(bytes([number % 256, k]) * (100 + k)) for k in range(5)]
    return Pack(header, _media_arrays(base.arrays), payloads)


def _media_arrays(base: Arrays) -> Arrays:
    kind = base.token_kind.copy()
    kind[2:8] = (1, 1, 2, 1, 1, 2)
    kind[13:17] = 1
    return replace(
        base,
        token_kind=kind,
        payload=np.array([1, 1], np.uint8),
        orientation=np.array([6, 1], np.uint8),
        alpha=np.array([2, 0], np.uint8),
        canvas_wh=np.array([[56, 84], [56, 56]], np.int32),
        paste_xy=np.zeros((2, 2), np.int32),
        pad_rgb=np.zeros((2, 3), np.uint8),
        view_wh=np.array([[56, 84], [56, 56]], np.int32),
        resample=np.array([0, 1], np.uint8),
        transposed=np.array([0, 1], np.uint8),
        thumbnail=np.array([2, 0], np.uint8),
        thumbnail_of=np.array([1, 0], np.uint8),
        thumbnail_wh=np.array([[28, 28], [0, 0]], np.int32),
        thumbnail_resized_wh=np.array([[28, 20], [0, 0]], np.int32),
        thumbnail_xy=np.array([[0, 4], [0, 0]], np.int32),
        runs=np.array([1, 2], np.int32),
        via_wh=np.array([[64, 96]], np.int32),
        via_item=np.array([0], np.int32),
        parts=np.array([[2, 2, 2], [1, 2, 0]], np.int32),
        part_item=np.array([0, 1], np.int32),
        kept_patches=np.array([0, 3, 5], np.int32),
        kept_item=np.array([1, 1, 1], np.int32),
        grid_thw=np.array([[1, 2, 2], [1, 2, 2], [2, 4, 4]], np.int32),
        grid_item=np.array([0, 0, 1], np.int32),
        crops_ltrb=np.array([[0, 0, 28, 28], [28, 0, 56, 28]], np.int32),
        crops_item=np.array([0, 0], np.int32),
        frame_indices=np.array([0, 7, 15], np.int32),
        frame_item=np.array([1, 1, 1], np.int32),
        intrinsics=np.array([[500.5, 501.5, 400.0, 650.0]]),
        pose=np.eye(4)[None],
        camera_convention=np.array([1], np.uint8),
        camera_item=np.array([0], np.int32),
        view_intrinsics=np.array([[35.0, 36.0, 28.0, 42.0]]),
        view_item=np.array([0], np.int32),
        patch_xyz=np.array([[0.5, 1.0, np.nan]], np.float32),
        xyz_item=np.array([0], np.int32),
        boxes_xyxy=np.array([[1.5, 2, 30, 40], [0, 0, 800, 1300]], np.float32),
        box_item=np.array([0, 0], np.int32),
    )


def members(pack: Pack) -> tuple[bytes, bytes]:
    """The two members of a pack as bytes."""
    header, arrays = encode(pack)
    return header, b"".join(arrays)


def same(left: Pack, right: Pack) -> bool:
    """Equal in every bit: header, dtypes, shapes, values and payloads."""
    return members(left) == members(right)


def again(pack: Pack) -> Pack:
    """The pack after a round trip."""
    return decode(*members(pack))
