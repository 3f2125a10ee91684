"""The figures of a build or a plan, as a table for people: rows of (what, value)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from pipelines.balance import balance_of, pack_costs, packing_of
from pipelines.plan import Partition
from pipelines.signals import clause_failures
from pipelines.steps import Workshop
from schemas.manifest import Manifest, PartitionEntry
from schemas.reasons import Reason
from workers.ledger import drop_counts

Rows = list[tuple[str, str]]


def of_manifest(manifest: Manifest) -> Rows:
    """What a published version holds."""
    parts = manifest.partitions
    packs, fillers = sum(part.packs for part in parts), sum(part.fillers for part in parts)
    tokens = sum(part.tokens for part in parts)
    rows: Rows = [
        ("data set", f"{manifest.name}, version {manifest.version}"),
        ("samples seen", f"{manifest.ledger.seen:,}"),
        ("packed", _packed(manifest.ledger.packed, sum(part.instances for part in parts))),
        *(
            (f"dropped: {reason}", f"{count:,}")
            for reason, count in manifest.ledger.dropped.items()
        ),
        *_passes(manifest),
        ("packs", f"{packs:,} of {manifest.capacity:,} tokens, {fillers:,} fillers"),
        ("fewest possible", f"{sum(part.balance.lower_bound for part in parts):,}"),
        ("fill", f"{tokens / max(packs * manifest.capacity, 1):.2%}"),
        ("tokens", f"{tokens:,}, of which {sum(part.loss_tokens for part in parts):,} are learned"),
        ("ViT patches", f"{sum(part.patches for part in parts):,}"),
    ]
    if len(parts) > 1:
        rows.insert(1, ("partitions", f"{len(parts):,}"))
    rows += [(f"slowest / mean of {n} ranks", f"{r:.4f}") for n, r in _balance(parts).items()]
    size = sum(shard.size for shard in manifest.shards)
    rows.append(
        ("shards", f"{len(manifest.shards):,} in {manifest.lanes} lanes, {size / 1e6:,.1f} MB")
    )
    return rows


def of_plan(workshop: Workshop, partitions: Sequence[Partition]) -> Rows:
    """What a build of this plan would hold; bytes are modelled."""
    recipe, store = workshop.recipe, workshop.store
    costs: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    seen = instances = shrunk = bound = 0
    for partition in partitions:
        packed, sized = partition.tables(store)
        of_packs = pack_costs(packed, sized, partition.rows * recipe.pack.lanes)
        for name, values in of_packs.items():
            costs[name] += int(values.sum())
        packing = packing_of(recipe, partition)
        bound += balance_of(recipe, packing, packed, sized, of_packs).lower_bound
        dropped.update(drop_counts(sized))
        seen, instances = seen + len(sized), instances + len(packed)
        shrunk += int(np.count_nonzero(sized.column("fit").to_numpy()))
    packs = sum(partition.packs for partition in partitions)
    fillers = sum(partition.fillers for partition in partitions)
    capacity = recipe.pack.max_tokens
    return [
        ("data set", recipe.name),
        ("partitions", f"{len(partitions):,}"),
        ("samples seen", f"{seen:,}"),
        ("packed", _packed(seen - dropped.total(), instances)),
        *((f"dropped: {reason}", f"{count:,}") for reason, count in sorted(dropped.items())),
        *_unanswered(partitions),
        *_clauses(workshop, partitions),
        ("made smaller to fit", f"{shrunk:,}"),
        ("packs", f"{packs:,} of {capacity:,} tokens, {fillers:,} fillers"),
        ("fewest possible", f"{bound:,}"),
        ("fill", f"{costs['tokens'] / max(packs * capacity, 1):.2%}"),
        ("tokens", f"{costs['tokens']:,}"),
        ("ViT patches", f"{costs['patches']:,}"),
        ("payload, modelled", f"{costs['bytes'] / 1e6:,.1f} MB"),
        *_warnings(recipe.pack.lanes, partitions),
    ]


def _passes(manifest: Manifest) -> Rows:
    """What models were asked, and how far their answers depend on the pictures."""
    rows = []
    for one in manifest.captions.passes if manifest.captions else []:
        kept = f"{one.captions:,} of {one.requests:,} answers kept, {one.rejected:,} rejected"
        proof = ""
        if one.blank_checked:
            proof = f"; {one.blank_agreed:,} of {one.blank_checked:,} the same for a blank picture"
        rows.append((f"{one.task} by {one.model}", kept + proof))
    return rows


def _balance(parts: Sequence[PartitionEntry]) -> dict[str, float]:
    """Slowest rank / mean rank of all partitions, each counted by its rows."""
    ratios: dict[str, float] = {}
    total = sum(part.rows for part in parts)
    for part in parts:
        for ranks, ratio in part.balance.slowest_over_mean.items():
            ratios[ranks] = ratios.get(ranks, 0.0) + ratio * part.rows / max(total, 1)
    return ratios


def _packed(samples: int, instances: int) -> str:
    return f"{samples:,}" if samples == instances else f"{samples:,} in {instances:,} copies"


def _unanswered(partitions: Sequence[Partition]) -> Rows:
    """What a build would ask first."""
    count = sum(block.unanswered for one in partitions for block in one.blocks)
    what = f"{count:,}, not asked yet: planned with stand-ins, which no clause on texts judges"
    return [("requests to caption models", what)] if count else []


def _clauses(workshop: Workshop, partitions: Sequence[Partition]) -> Rows:
    """What each clause drops: by itself, and that no other clause would."""
    fail: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for partition in partitions:
        selected = workshop.store.read("selected", partition.selected.key)
        drop = selected.column("drop")
        asked = pc.fill_null(pc.equal(drop, Reason.FILTERED.value), True).to_numpy()
        first = 0
        judging = workshop.judging(partition.blocks)
        blocks = clause_failures(judging, partition.blocks, partition.measured)
        for (_, failed), block in zip(blocks, partition.blocks, strict=True):
            rows = asked[first : first + block.surveyed.rows]
            first += block.surveyed.rows
            total = sum((one.astype(int) for one in failed.values()), np.zeros(len(rows), int))
            for clause, one in failed.items():
                fail[clause] += int(np.count_nonzero(one & rows))
                alone[clause] += int(np.count_nonzero(one & rows & (total == 1)))
    return [
        (f"clause: {clause}", f"{fail[clause]:,} fail it, {alone[clause]:,} of them no other")
        for clause in dict.fromkeys(fail)
    ]


def _warnings(lanes: int, partitions: Sequence[Partition]) -> Rows:
    """Below 100 packs a lane, fillers can be over one in a hundred."""
    small = [one for one in partitions if one.fillers and one.packs < 100 * lanes]
    if not small:
        return []
    fillers, packs = sum(one.fillers for one in small), sum(one.packs for one in small)
    share = fillers / (packs + fillers)
    where = f"partition {small[0].name}" if len(small) == 1 else f"{len(small):,} small partitions"
    what = f"{share:.1%} of the packs are fillers: {lanes} lanes are many for them"
    return [("warning", f"{where}: {what}")]


def examples_of_drops(workshop: Workshop, partitions: Sequence[Partition], each: int = 3) -> Rows:
    """For each reason the first samples that it dropped, with the message."""
    shown: dict[str, Rows] = {}
    for partition in partitions:
        sized = workshop.store.read("sized", partition.sized.key)
        columns = (sized.column(name).to_pylist() for name in ("sample_id", "drop", "message"))
        for sample_id, drop, message in zip(*columns, strict=True):
            if drop is not None and len(shown.setdefault(drop, [])) < each:
                shown[drop].append((f"{drop}: {sample_id}", message))
    return [row for reason in sorted(shown) for row in shown[reason]]


def markdown(rows: Rows) -> str:
    """The rows as a Markdown table."""
    return "\n".join(["| | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)])
