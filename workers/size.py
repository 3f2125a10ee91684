"""size: geometry and token counts of every sample, by arithmetic on headers alone.

1. The policy sizes all media of the kept samples at once.
2. A sample's length = its text + its vision tokens + the texts that the policy writes around
frames.
3. A sample longer than the capacity takes the policy's own smaller steps until it fits, or is
dropped.
4. The cost vector is what packing balances: LLM tokens, ViT patches, both attentions, payload
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Ints, is_none, lists
from schemas.reasons import Reason
from schemas.sized import Media, Sized
from schemas.tables import SIZED, conform
from workers.frame_text import FrameText
from workers.kept import Kept, kept_samples
from workers.policies.protocol import Policy

VERSION = 1

BYTES_PER_KILOPIXEL = {"jpeg": 300, "webp": 1000, "png": 1500}
"""Modelled size of a rendered picture; it only decides how many packs a shard gets."""


@dataclass(frozen=True)
class SizeConfig:
    """The policy, tokens a pack, what the packs will hold, and how text around vision is written.

    `encode` serves the names of frames; `around_*` counts the tokens that the family writes
    around a run of features (its start and end).
    """

    policy: Policy
    capacity: int
    payload: str
    codec: str
    encode: Callable[[str], Sequence[int]]
    around_image: int
    around_video: int


@dataclass
class _Plan:
    """What is decided so far of s samples with m media."""

    steps: list[pa.Table]  # geometry, one table a fit step
    geometry_row: Ints  # [m] row in the concatenation of `steps`
    costs: Ints  # [m, 5] LLM tokens with frame texts, patches, ViT attention, payload bytes, runs
    fit: Ints  # [s]
    drop: npt.NDArray[np.object_]  # [s]
    message: npt.NDArray[np.object_]  # [s]


@dataclass(frozen=True)
class _Step:
    """One setting of the policy, `number` steps smaller than the recipe's."""

    number: int
    policy: Policy
    config: SizeConfig
    text: FrameText


def size(
    selected: pa.Table,
    surveyed: Sequence[pa.Table],
    tokenized: Sequence[pa.Table],
    config: SizeConfig,
) -> pa.Table:
    """SIZED, row for row as SELECTED; `surveyed` and `tokenized` are the partition's blocks in
    order.
    """
    kept = kept_samples(selected, surveyed, tokenized)
    policy = config.policy
    text = FrameText(policy.frame_prefix, policy.frame_suffix, config.encode)
    samples, media = len(kept.place), len(kept.media)
    plan = _Plan(
        steps=[],
        geometry_row=np.zeros(media, np.int64),
        costs=np.zeros((media, 5), np.int64),
        fit=np.zeros(samples, np.int64),
        drop=np.full(samples, None, object),
        message=np.full(samples, None, object),
    )
    todo, smaller, step = np.arange(samples), policy, 0
    while True:
        plan.fit[todo] = step
        _decide(plan, kept, kept.items_of(todo), _Step(step, smaller, config, text))
        over_long = _lengths(plan, kept) > config.capacity
        todo = np.flatnonzero(over_long & is_none(plan.drop))
        next_policy = smaller.smaller()
        if not len(todo) or next_policy is None:
            break
        smaller, step = next_policy, step + 1
    for row, length in zip(todo.tolist(), _lengths(plan, kept)[todo].tolist(), strict=True):
        plan.drop[row] = Reason.OVER_LONG.value
        plan.message[row] = (
            f"{length} tokens after {step} smaller steps, a pack has {config.capacity}"
        )
    return conform(_table(_with_text_drops(selected, tokenized), kept, plan, text), SIZED)


def _decide(plan: _Plan, kept: Kept, items: Ints, how: _Step) -> None:
    """Size these media with this step of the policy, and note costs and faults."""
    config, text = how.config, how.text
    media = kept.media.take(items)
    sized = how.policy.size(media)
    plan.geometry_row[items] = sum(map(len, plan.steps)) + np.arange(len(items))
    plan.steps.append(sized.to_table())
    video = media.kind == "video"
    around = np.where(video, config.around_video, config.around_image)
    plan.costs[items, 0] = sized.vision_tokens + sized.runs * around + text.count(sized.runs, video)
    plan.costs[items, 1] = sized.vit_patches
    plan.costs[items, 2] = _vit_attention(sized)
    plan.costs[items, 3] = _payload_bytes(sized, media, kept.file_bytes[items], config)
    plan.costs[items, 4] = sized.runs
    faulty = np.flatnonzero(~is_none(sized.drop))
    owners = np.searchsorted(kept.first_item, items[faulty], side="right") - 1
    for item, owner in zip(faulty.tolist(), owners.tolist(), strict=True):
        if plan.drop[owner] is None:
            number = items[item] - kept.first_item[owner]
            # what only a smaller step makes impossible was too long before it
            reason = Reason.OVER_LONG if how.number else Reason(sized.drop[item])
            plan.drop[owner] = reason.value
            after = f" after {how.number} smaller steps" if how.number else ""
            plan.message[owner] = f"item {number}: {sized.message[item]}{after}"


def _lengths(plan: _Plan, kept: Kept) -> Ints:
    lengths: Ints = kept.text_tokens + _per_sample(plan.costs[:, 0], kept)
    return lengths


def _per_sample(values: Ints, kept: Kept) -> Ints:
    total: Ints = np.concatenate([[0], np.cumsum(values)])
    return total[kept.first_item[1:]] - total[kept.first_item[:-1]]


def _vit_attention(sized: Sized) -> Ints:
    """Sum over the encoder's segments of patches squared: each frame group of each view attends to
    itself.
    """
    grid = sized.grid_thw.values
    squares: Ints = np.concatenate([[0], np.cumsum(grid[:, 0] * (grid[:, 1] * grid[:, 2]) ** 2)])
    return squares[sized.grid_thw.offsets[1:]] - squares[sized.grid_thw.offsets[:-1]]


def _payload_bytes(sized: Sized, media: Media, file_bytes: Ints, config: SizeConfig) -> Ints:
    """Modelled bytes of each item's payload."""
    frames = np.maximum(np.diff(sized.frame_indices.offsets), 1)
    pixels = sized.canvas_wh.prod(axis=1) * frames + sized.thumbnail_wh.prod(axis=1)
    rendered: Ints = pixels * BYTES_PER_KILOPIXEL[config.codec] // 1000
    untouched = (media.kind != "video") & (config.payload == "source")
    return np.where(untouched, file_bytes, rendered)


def _table(selected: pa.Table, kept: Kept, plan: _Plan, text: FrameText) -> pa.Table:
    """The kept samples in their places among the rows of SELECTED; all other rows are empty."""
    rows = len(selected)
    alive = is_none(plan.drop)
    live_samples = np.flatnonzero(alive)
    live_items = kept.items_of(live_samples)
    item_counts = np.zeros(rows, np.int64)
    item_counts[kept.place[live_samples]] = np.diff(kept.first_item)[live_samples]
    geometry = pa.concat_tables(plan.steps).take(pa.array(plan.geometry_row[live_items]))
    run_text = _run_text(plan.costs[live_items, 4], kept.media.kind[live_items] == "video", text)
    run_counts = np.zeros(rows, np.int64)
    run_counts[kept.place] = _per_sample(plan.costs[:, 4] + 1, kept) * alive

    def spread(values: Ints) -> pa.Array:
        column = np.zeros(rows, np.int64)
        column[kept.place[live_samples]] = values[live_samples]
        return column

    lengths = _lengths(plan, kept)
    drop, message = selected.column("drop").to_pylist(), selected.column("message").to_pylist()
    for sample in np.flatnonzero(~alive).tolist():
        drop[kept.place[sample]], message[kept.place[sample]] = (
            plan.drop[sample],
            plan.message[sample],
        )
    columns = {
        "sample_id": selected.column("sample_id"),
        "block": selected.column("block"),
        "row": selected.column("row"),
        "copies": pa.array(spread(_copies(selected, kept)), pa.int32()),
        "items": lists(geometry.to_struct_array().combine_chunks(), item_counts),
        "run_text": lists(run_text, run_counts),
        "fit": pa.array(spread(plan.fit), pa.int32()),
        "loss_tokens": spread(kept.loss_tokens),
        "tokens": spread(lengths),
        "patches": spread(_per_sample(plan.costs[:, 1], kept)),
        "attention": spread(lengths**2),
        "vit_attention": spread(_per_sample(plan.costs[:, 2], kept)),
        "bytes": spread(_per_sample(plan.costs[:, 3], kept) + 6 * lengths),
        "drop": pa.array(drop, pa.string()),
        "message": pa.array(message, pa.string()),
    }
    return pa.table(columns).cast(SIZED)


def _with_text_drops(selected: pa.Table, tokenized: Sequence[pa.Table]) -> pa.Table:
    """SELECTED with what tokenize dropped; the first reason of a sample stands."""
    earlier = selected.column("drop").is_valid()
    for name in ("drop", "message"):
        text = pa.chunked_array(
            [chunk for table in tokenized for chunk in table.column(name).chunks], pa.string()
        )
        merged = pc.if_else(earlier, selected.column(name), text)
        selected = selected.set_column(
            selected.column_names.index(name), selected.schema.field(name), merged
        )
    return selected


def _copies(selected: pa.Table, kept: Kept) -> Ints:
    copies: Ints = selected.column("copies").to_numpy().astype(np.int64)
    return copies[kept.place]


def _run_text(runs: Ints, video: npt.NDArray[np.bool_], text: FrameText) -> pa.Array:
    """The texts of all items one after another, as a list column of token ids."""
    if not video.any():
        return lists(np.zeros(0, np.int32), np.zeros(int((runs + 1).sum()), np.int64))
    all_texts = [
        ids for r, v in zip(runs.tolist(), video.tolist(), strict=True) for ids in text.texts(r, v)
    ]
    return pa.array(all_texts, pa.list_(pa.int32()))
