"""The figures of a build or a plan, as a table for people: rows of (what, value)."""

from __future__ import annotations

from pipelines.plan import Partition, pack_costs
from pipelines.steps import Workshop
from schemas.manifest import Manifest
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
        ("packs", f"{packs:,} of {manifest.capacity:,} tokens, {fillers:,} fillers"),
        ("fewest possible", f"{sum(part.balance.lower_bound for part in parts):,}"),
        ("fill", f"{tokens / max(packs * manifest.capacity, 1):.2%}"),
        ("tokens", f"{tokens:,}, of which {sum(part.loss_tokens for part in parts):,} are learned"),
        ("ViT patches", f"{sum(part.patches for part in parts):,}"),
    ]
    for part in parts:
        for ranks, ratio in part.balance.slowest_over_mean.items():
            rows.append((f"slowest / mean of {ranks} ranks", f"{ratio:.4f}"))
    size = sum(shard.size for shard in manifest.shards)
    rows.append(
        ("shards", f"{len(manifest.shards):,} in {manifest.lanes} lanes, {size / 1e6:,.1f} MB")
    )
    return rows


def of_plan(workshop: Workshop, partition: Partition) -> Rows:
    """What a build of this plan would hold; bytes are modelled."""
    recipe, store = workshop.recipe, workshop.store
    packed, sized = partition.tables(store)
    costs = pack_costs(packed, sized, partition.packs)
    tokens, capacity = int(costs["tokens"].sum()), recipe.pack.max_tokens
    dropped = drop_counts(sized)
    shrunk = sum(1 for step in sized.column("fit").to_pylist() if step)
    return [
        ("data set", recipe.name),
        ("samples seen", f"{len(sized):,}"),
        ("packed", _packed(len(sized) - sum(dropped.values()), len(packed))),
        *((f"dropped: {reason}", f"{count:,}") for reason, count in dropped.items()),
        ("made smaller to fit", f"{shrunk:,}"),
        (
            "packs",
            f"{partition.packs:,} of {capacity:,} tokens, {partition.fillers:,} fillers",
        ),
        ("fewest possible", f"{partition.packed.facts['lower_bound']:,}"),
        ("fill", f"{tokens / max(partition.packs * capacity, 1):.2%}"),
        ("tokens", f"{tokens:,}"),
        ("ViT patches", f"{int(costs['patches'].sum()):,}"),
        ("payload, modelled", f"{int(costs['bytes'].sum()) / 1e6:,.1f} MB"),
        *_warnings(recipe.pack.lanes, partition),
    ]


def _packed(samples: int, instances: int) -> str:
    return f"{samples:,}" if samples == instances else f"{samples:,} in {instances:,} copies"


def _warnings(lanes: int, partition: Partition) -> Rows:
    """Below 100 packs a lane, fillers can be over one in a hundred."""
    if not partition.fillers or partition.packs >= 100 * lanes:
        return []
    share = partition.fillers / (partition.packs + partition.fillers)
    return [("warning", f"{share:.1%} of the packs are fillers: {lanes} lanes are many for them")]


def examples_of_drops(workshop: Workshop, partition: Partition, each: int = 3) -> Rows:
    """For each reason the first samples that it dropped, with the message."""
    sized = workshop.store.read("sized", partition.sized.key)
    columns = (sized.column(name).to_pylist() for name in ("sample_id", "drop", "message"))
    shown: dict[str, Rows] = {}
    for sample_id, drop, message in zip(*columns, strict=True):
        if drop is not None and len(shown.setdefault(drop, [])) < each:
            shown[drop].append((f"{drop}: {sample_id}", message))
    return [row for reason in sorted(shown) for row in shown[reason]]


def markdown(rows: Rows) -> str:
    """The rows as a Markdown table."""
    return "\n".join(["| | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)])
