"""size: geometry and token counts of every sample, by arithmetic on headers alone.

1. Each medium goes to the first policy that matches it; a policy sizes all its media at once.
2. A sample's length = its text + its embeddings, with start and end tokens + the texts that the
policy writes around runs.
3. A sample longer than the capacity takes its policies' own smaller steps, all its media together,
until it fits, or is dropped.
4. A text that states pixels of resized pictures is written anew for each of these steps.
5. The cost vector is what packing balances: LLM tokens, ViT patches, both attentions, payload
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.columns import Ints, is_none, lists
from schemas.reasons import Reason
from schemas.sized import Sized
from schemas.tables import PLANNED_ITEM, SIZED, conform
from workers.fit import Step, steps_of
from workers.item_costs import payload_bytes, vit_attention
from workers.kept import Kept, kept_samples, with_text_drops
from workers.late_text import Encode, LateTexts, late_texts
from workers.match import Rule, chosen
from workers.packing.limits import Limits
from workers.policies.blocks import blocks
from workers.run_text import RunText

VERSION = 5


@dataclass(frozen=True)
class SizeConfig:
    """The policies, what fits into a pack, what each sample's tokens are rounded up to, what the
    packs will hold, and how text around vision is written.

    `encode` serves the texts of policies, `encode_documents` those that wait for sizes; `around_*`
    counts the tokens that the family writes around a run of features (its start and end).
    """

    rules: Sequence[Rule]
    limits: Limits
    segment_multiple: int
    payload: str
    codec: str
    encode: Callable[[str], Sequence[int]]
    special: Callable[[str], int]
    encode_documents: Encode
    around_image: int
    around_video: int
    row_bytes: int = 0  # of features
    patches_a_row: int = 1


@dataclass
class _Plan:
    """What is decided so far of s samples with m media."""

    geometry: list[pa.Table]  # PLANNED_ITEM columns, one table for each policy and fit step
    geometry_row: Ints  # [m] row in the concatenation of `geometry`
    text_set: Ints  # [m] number of the item's texts in `texts`
    texts: RunText
    costs: Ints  # [m, 5] LLM tokens with texts, patches, ViT attention, payload bytes, runs
    resized_wh: Ints  # [m, 2]
    late: LateTexts
    text_tokens: Ints  # [s]
    loss_tokens: Ints  # [s]
    fit: Ints  # [s]
    drop: npt.NDArray[np.object_]  # [s]
    message: npt.NDArray[np.object_]  # [s]

    def refuse(self, sample: int, reason: Reason, message: str) -> None:
        """Drop a sample; its first reason stands."""
        if self.drop[sample] is None:
            self.drop[sample], self.message[sample] = reason.value, message


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
    samples, media = len(kept.place), len(kept.media)
    plan = _Plan(
        geometry=[_PLANNED.empty_table()],
        geometry_row=np.zeros(media, np.int64),
        text_set=np.zeros(media, np.int64),
        texts=RunText(config.encode, config.special),
        costs=np.zeros((media, 5), np.int64),
        resized_wh=np.zeros((media, 2), np.int64),
        late=late_texts(kept, tokenized),
        text_tokens=kept.text_tokens.copy(),
        loss_tokens=kept.loss_tokens.copy(),
        fit=np.zeros(samples, np.int64),
        drop=np.full(samples, None, object),
        message=np.full(samples, None, object),
    )
    rule = _rules(plan, kept, config)
    chains = [steps_of(one.policy) for one in config.rules]
    # steps that a sample can take: as many as the most patient of its policies
    depth = np.array([*(len(chain) - 1 for chain in chains), 0], np.int64)[rule]
    depth = _most_per_sample(depth, kept)
    todo, step = np.flatnonzero(is_none(plan.drop)), 0
    while len(todo):
        plan.fit[todo] = step
        items = kept.items_of(todo)
        for number, chain in enumerate(chains):
            mine = items[rule[items] == number]
            for part in blocks(len(mine)):
                _decide(plan, kept, mine[part], chain[: step + 1][-1], config)
        _write_late(plan, todo[is_none(plan.drop[todo])], config)
        exceeded = config.limits.exceeded(_costs(plan, kept, config))
        too_long = np.logical_or.reduce(list(exceeded.values()))
        over = too_long[todo] & is_none(plan.drop[todo])
        _too_long(plan, kept, todo[over & (depth[todo] <= step)], config)
        todo, step = todo[over & (depth[todo] > step)], step + 1
    return conform(_table(with_text_drops(selected, tokenized), kept, plan, config), SIZED)


def _rules(plan: _Plan, kept: Kept, config: SizeConfig) -> Ints:
    """[m] which policy each medium goes to; drops samples with a medium that has none."""
    rule = chosen(config.rules, kept.media, kept.source)
    lost = np.flatnonzero(rule < 0)
    for item, owner in zip(lost.tolist(), kept.owners(lost).tolist(), strict=True):
        number, kind = item - kept.first_item[owner], kept.media.kind[item]
        what = f"item {number}: {kind} of source {kept.source[item]} matches no [[policy]]"
        plan.refuse(owner, Reason.NO_POLICY, what)
    return rule


def _too_long(plan: _Plan, kept: Kept, samples: Ints, config: SizeConfig) -> None:
    costs = _costs(plan, kept, config)
    exceeded = config.limits.exceeded(costs)
    for sample in samples.tolist():
        name = next(name for name, over in exceeded.items() if over[sample])
        after = f"{costs[name][sample]} {name} after {plan.fit[sample]} smaller steps"
        what = f"{after}, a pack has {config.limits.capacities[name]}"
        plan.refuse(sample, Reason.OVER_LONG, what)


def _decide(plan: _Plan, kept: Kept, items: Ints, step: Step, config: SizeConfig) -> None:
    """Size these media with this step of their policy, and note costs and faults."""
    if not len(items):
        return
    media = kept.media.take(items)
    sized = step.policy.size(media)
    layout = sized.layout
    plan.geometry_row[items] = sum(map(len, plan.geometry)) + np.arange(len(items))
    plan.geometry.append(_geometry(sized, step))
    plan.text_set[items] = texts = plan.texts.add(layout.texts)
    around = np.where(media.kind == "video", config.around_video, config.around_image)
    plan.costs[items, 4] = runs = layout.run_counts
    plan.costs[items, 0] = layout.embeddings + runs * around + plan.texts.counts(texts)
    plan.costs[items, 1] = sized.vit_patches
    plan.costs[items, 2] = vit_attention(sized)
    if config.payload == "features":
        plan.costs[items, 3] = sized.vit_patches // config.patches_a_row * config.row_bytes
    else:
        plan.costs[items, 3] = payload_bytes(
            sized, media, kept.file_bytes[items], config.payload, config.codec
        )
    plan.resized_wh[items] = sized.drawn.resized_wh
    faulty = np.flatnonzero(~is_none(sized.drop))
    owners = kept.owners(items[faulty])
    for item, owner in zip(faulty.tolist(), owners.tolist(), strict=True):
        number = items[item] - kept.first_item[owner]
        # what only a smaller step makes impossible was too long before it
        reason = Reason.OVER_LONG if step.number else Reason(sized.drop[item])
        after = f" after {step.number} smaller steps" if step.number else ""
        plan.refuse(owner, reason, f"item {number}: {sized.message[item]}{after}")


def _write_late(plan: _Plan, samples: Ints, config: SizeConfig) -> None:
    """Write the texts of these samples that state pixels, for the sizes that are decided now."""
    for sample, row in plan.late.write(samples, plan.resized_wh, config.encode_documents):
        if row.drop is not None:
            plan.refuse(sample, row.drop, str(row.message))
        plan.text_tokens[sample] = len(row.tokens)
        plan.loss_tokens[sample] = (row.loss[1::2] - row.loss[::2]).sum()


def _geometry(sized: Sized, step: Step) -> pa.Table:
    """The columns of PLANNED_ITEM."""
    table = sized.to_table().drop_columns(["drop", "message"])
    alpha, name = pa.scalar(step.policy.alpha), pa.scalar(step.name)
    table = table.append_column("alpha", pa.repeat(alpha, len(sized)))
    return table.append_column("policy", pa.repeat(name, len(sized))).cast(_PLANNED)


_PLANNED = pa.schema(list(PLANNED_ITEM))


def _lengths(plan: _Plan, kept: Kept) -> Ints:
    lengths: Ints = plan.text_tokens + _per_sample(plan.costs[:, 0], kept)
    return lengths


def _costs(plan: _Plan, kept: Kept, config: SizeConfig) -> dict[str, Ints]:
    """What each sample takes of a pack, [s] by name."""
    lengths, multiple = _lengths(plan, kept), config.segment_multiple
    tokens: Ints = -(-lengths // multiple) * multiple
    return {
        "tokens": tokens,
        "patches": _per_sample(plan.costs[:, 1], kept),
        "attention": tokens**2,
        "vit_attention": _per_sample(plan.costs[:, 2], kept),
        "bytes": _per_sample(plan.costs[:, 3], kept) + 6 * lengths,
        "images": np.diff(kept.first_item),
    }


def _per_sample(values: Ints, kept: Kept) -> Ints:
    total: Ints = np.concatenate([[0], np.cumsum(values)])
    return total[kept.first_item[1:]] - total[kept.first_item[:-1]]


def _most_per_sample(values: Ints, kept: Kept) -> Ints:
    """The largest value of each sample's media; 0 without media."""
    most = np.zeros(len(kept.place), np.int64)
    np.maximum.at(most, kept.owners(np.arange(len(values))), values)
    return most


def _table(selected: pa.Table, kept: Kept, plan: _Plan, config: SizeConfig) -> pa.Table:
    """The kept samples in their places among the rows of SELECTED; all other rows are empty."""
    rows = len(selected)
    alive = is_none(plan.drop)
    live_samples = np.flatnonzero(alive)
    live_items = kept.items_of(live_samples)
    item_counts = np.zeros(rows, np.int64)
    item_counts[kept.place[live_samples]] = np.diff(kept.first_item)[live_samples]
    geometry = pa.concat_tables(plan.geometry).take(pa.array(plan.geometry_row[live_items]))
    run_text = _run_text(plan, live_items)
    run_counts = np.zeros(rows, np.int64)
    run_counts[kept.place] = _per_sample(plan.costs[:, 4] + 1, kept) * alive

    def spread(values: Ints) -> pa.Array:
        column = np.zeros(rows, np.int64)
        column[kept.place[live_samples]] = values[live_samples]
        return column

    costs = _costs(plan, kept, config)
    videos = _per_sample((kept.media.kind == "video").astype(np.int64), kept)
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
        "text": plan.late.column(kept.place, alive, rows),
        "fit": pa.array(spread(plan.fit), pa.int32()),
        "loss_tokens": spread(plan.loss_tokens),
        "length": spread(_lengths(plan, kept)),
        "tokens": spread(costs["tokens"]),
        "patches": spread(costs["patches"]),
        "attention": spread(costs["attention"]),
        "vit_attention": spread(costs["vit_attention"]),
        "bytes": spread(costs["bytes"]),
        "images": spread(costs["images"] - videos),
        "videos": spread(videos),
        "drop": pa.array(drop, pa.string()),
        "message": pa.array(message, pa.string()),
    }
    return pa.table(columns).cast(SIZED)


def _copies(selected: pa.Table, kept: Kept) -> Ints:
    copies: Ints = selected.column("copies").to_numpy().astype(np.int64)
    return copies[kept.place]


def _run_text(plan: _Plan, items: Ints) -> pa.Array:
    """The texts of these items one after another, as a list column of token ids."""
    numbers, runs = plan.text_set[items], plan.costs[items, 4]
    if not numbers.any():
        return lists(np.zeros(0, np.int32), np.zeros(int((runs + 1).sum()), np.int64))
    texts = (
        ids
        for number, count in zip(numbers.tolist(), runs.tolist(), strict=True)
        for ids in plan.texts.texts(number, count)
    )
    return pa.array(texts, pa.list_(pa.int32()))
