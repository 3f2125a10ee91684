"""From a pack to the arrays of a training step, pictures apart (`vision_inputs`).

    batch = for_transformers(collate(pack))   # model(**batch): sdpa, eager or flash attention
    batch = for_varlen(collate(pack))         # cu_seqlens for varlen kernels

- Labels are not shifted: models of transformers shift them. The first token of a sample has none,
  as the token before it belongs to another sample.
- `segment_multiple` rounds every sample up, as context and tensor parallel trainers need; `length`
  pads the pack to a static shape. The tail is a segment of its own, numbered from 0: what tells
  segments apart by their positions sees one, not many of one token.
- A filler becomes one segment of padding without labels, so that every rank takes its step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from patchpack.layout import Pack
from patchpack.mrope import Ints, Resume
from patchpack.pooled_features import blocks as blocks
from patchpack.pooled_features import pooled as pooled
from patchpack.pooled_features import vision_tokens as vision_tokens
from patchpack.positions import position_ids, segment_positions

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
"""The label of what is no target, as torch's cross entropy ignores it."""

Weighting = Literal["token", "square", "sample"]
"""Weight of a target in a sample of n targets: 1, 1 / sqrt(n) or 1 / n. Source: OpenGVLab/InternVL
internvl_chat/internvl/train/dataset_packed.py (`len2weight`)."""

_POWER = {"token": 0.0, "square": 0.5, "sample": 1.0}


@dataclass(frozen=True, eq=False)
class Collated:
    """L tokens with padding, s segments: the samples, and the tail if there is one.

    input_ids           int64 [L]
    labels              int64 [L]  IGNORED where there is no target; not shifted
    loss_weights        float32 [L]  0 where there is no target
    position_ids        int64 [3, L] for M-RoPE, [1, L] otherwise; from 0 in each segment
    text_positions      int64 [L]  0, 1, 2 … in each segment
    cu_seqlens          int32 [s + 1]  bounds of the segments in these arrays
    lengths             int32 [s]  tokens of each segment without padding; 0 for the tail
    max_seqlen          the longest segment
    image_grid_thw      int64 [i, 3]  of pictures and posed views, in order
    video_grid_thw      int64 [v, 3]  of videos
    second_per_grid_ts  float64 [v]
    """

    input_ids: Ints
    labels: Ints
    loss_weights: npt.NDArray[np.float32]
    position_ids: Ints
    text_positions: Ints
    cu_seqlens: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    max_seqlen: int
    image_grid_thw: Ints
    video_grid_thw: Ints
    second_per_grid_ts: npt.NDArray[np.float64]


def collate(
    pack: Pack,
    *,
    segment_multiple: int = 1,
    length: int | None = None,
    pad_id: int = 0,
    weighting: Weighting = "token",
    resume: Resume | None = None,
    tokens_per_second: float = 2.0,
) -> Collated:
    """`resume` and `tokens_per_second` as in `positions.position_ids`.

    Raises ValueError where `length` is no multiple of `segment_multiple` or the pack is longer, and
    FormatError as `position_ids`.
    """
    if segment_multiple < 1 or (length is not None and (length < 1 or length % segment_multiple)):
        raise ValueError(f"length {length} is no multiple of segment_multiple {segment_multiple}")
    arrays = pack.arrays
    real = np.diff(np.array(pack.header.cu_seqlens, np.int64)).astype(np.int64)
    rounded = -(-real // segment_multiple) * segment_multiple
    total = int(rounded.sum())
    if length is not None and total > length:
        raise ValueError(f"pack {pack.header.key}: {total} tokens, more than the length {length}")
    tail = (length or total) - total if total else length or segment_multiple
    lengths, segments = (np.append(one, end) for one, end in ((real, 0), (rounded, tail)))
    if not tail:
        lengths, segments = lengths[:-1], segments[:-1]
    bounds = np.concatenate([[0], np.cumsum(segments)])
    at = np.arange(pack.header.length) + np.repeat(bounds[: len(real)], real)
    at -= np.repeat(np.array(pack.header.cu_seqlens[:-1], np.int64), real)
    text = segment_positions(bounds)

    input_ids = np.full(len(text), pad_id, np.int64)
    input_ids[at] = arrays.tokens
    targets = arrays.loss.astype(bool)
    targets[pack.header.cu_seqlens[:-1]] = False
    labels = np.full(len(text), IGNORED, np.int64)
    labels[at[targets]] = arrays.tokens[targets]
    weights = np.zeros(len(text), np.float32)
    weights[at[targets]] = _weights(targets, real, weighting)
    video = np.array([kind == "video" for kind in pack.header.item_kind], bool)
    of_video = video[arrays.grid_item]
    grids = arrays.grid_thw.astype(np.int64)
    return Collated(
        input_ids=input_ids,
        labels=labels,
        loss_weights=weights,
        position_ids=_padded_ids(position_ids(pack, resume, tokens_per_second), real, at, text),
        text_positions=text,
        cu_seqlens=bounds.astype(np.int32),
        lengths=lengths.astype(np.int32),
        max_seqlen=int(segments.max()),
        image_grid_thw=grids[~of_video],
        video_grid_thw=grids[of_video],
        second_per_grid_ts=np.array(pack.header.seconds_per_grid, np.float64)[video],
    )


def _weights(
    targets: npt.NDArray[np.bool_], real: Ints, weighting: Weighting
) -> npt.NDArray[np.float64]:
    """Of the targets, one after another."""
    sample = np.repeat(np.arange(len(real)), real)[targets]
    counts = np.bincount(sample, minlength=len(real)).astype(np.float64)
    weights: npt.NDArray[np.float64] = counts[sample] ** -_POWER[weighting]
    return weights


def _padded_ids(ids: Ints, real: Ints, at: Ints, text: Ints) -> Ints:
    """Padding goes on as text would: behind the largest id of its sample; the tail from 0."""
    if len(text) == ids.shape[1]:
        return ids
    padded = np.tile(text, (len(ids), 1))
    padded[:, at] = ids
    if len(real):
        starts = np.concatenate([[0], np.cumsum(real)[:-1]])
        ahead = np.maximum.reduceat(ids.max(axis=0), starts) + 1 - real
        inside = np.ones(len(text), bool)
        inside[at] = False
        segment = np.cumsum(text == 0) - 1
        inside &= segment < len(real)
        padded[:, inside] += ahead[segment[inside]]
    return padded


def for_transformers(collated: Collated) -> dict[str, Tensor | bool]:
    """Arguments of a model of transformers >= 4.54, one row: pass no `attention_mask` and keep
    `use_cache=False`, which is in it, or samples see each other.

    Positions are [4, 1, L] with the text row first for M-RoPE, [1, L] otherwise: by these sdpa,
    eager and flash attention find the samples. Source: transformers masking_utils.py
    (`find_packed_sequence_indices`), modeling_flash_attention_utils.py.
    """
    import torch

    rope, text = collated.position_ids, collated.text_positions
    multimodal = len(rope) == 3
    ids = np.concatenate([text[None], rope])[:, None] if multimodal else rope
    batch: dict[str, Tensor | bool] = {
        "input_ids": torch.from_numpy(collated.input_ids)[None],
        "labels": torch.from_numpy(collated.labels)[None],
        "position_ids": torch.from_numpy(ids),
        "use_cache": False,
    }
    if multimodal and len(collated.image_grid_thw):
        batch["image_grid_thw"] = torch.from_numpy(collated.image_grid_thw)
    if multimodal and len(collated.video_grid_thw):
        batch["video_grid_thw"] = torch.from_numpy(collated.video_grid_thw)
    return batch


def for_varlen(collated: Collated) -> dict[str, Tensor | int]:
    """Tensors without a batch axis, and the bounds that varlen kernels take; all of `Collated`.

    With `segment_multiple` above 1 the bounds hold padding too: Megatron's `cu_seqlens_q_padded`.
    A causal kernel never lets the padding behind a sample into it.
    """
    import torch

    batch: dict[str, Tensor | int] = {
        name: torch.from_numpy(value)
        for name, value in vars(collated).items()
        if isinstance(value, np.ndarray)
    }
    return {**batch, "max_seqlen": collated.max_seqlen}


def block_diagonal_mask(cu_seqlens: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """[L, L] where row may see column: the same segment, not behind it. For kernels without bounds;
    a 4-D mask of transformers is `torch.from_numpy(mask)[None, None]`.
    """
    segment = np.repeat(np.arange(len(cu_seqlens) - 1), np.diff(cu_seqlens))
    mask: npt.NDArray[np.bool_] = np.tril(segment[:, None] == segment)
    return mask
