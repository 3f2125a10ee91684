"""The manifest: what one version of a data set is. An immutable file a version, and a pointer to
the current one.

`.patchpack/manifest-000001.json` never changes once written; `.patchpack/current.json` is
replaced in one step, so that a reader sees the old version or the new one. Nothing in a manifest
tells the time or where it was built.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from patchpack.header import COST_KEYS

Coefficient = Annotated[int, Field(ge=0, lt=1 << 63)]
FOLDER = ".patchpack"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ShardEntry(_Frozen):
    """One shard file, column `lane` of stripe set `stripe` of its partition."""

    name: str
    stripe: int
    lane: int
    packs: int
    """Packs with samples in them."""
    fillers: int
    size: int
    """Bytes."""
    sha256: str


class Packing(_Frozen):
    """How a partition was packed: enough to compute its `Balance` from its shards."""

    bounds: dict[str, PositiveInt]
    """Most of each cost in a pack; `tokens` always."""
    segment_multiple: PositiveInt
    """Each sample's tokens are rounded up to a multiple of it."""
    bundle: PositiveInt
    """Packs that a rank reads in a step: rows that follow one another."""
    time: dict[str, Coefficient]
    """Modelled time of one unit of each cost."""
    slices: NonNegativeInt
    """Hash slices that were packed on their own."""

    @model_validator(mode="after")
    def _names_costs(self) -> Packing:
        if "tokens" not in self.bounds:
            raise ValueError("bounds: tokens are always bounded")
        if self.time.keys() != set(COST_KEYS):
            raise ValueError(f"time: expected {', '.join(COST_KEYS)}")
        return self


class Balance(_Frozen):
    """How full and how even the packs of a partition are; fillers do not count."""

    fill: dict[str, float]
    """Sum / (packs x bound) of each bounded cost."""
    lower_bound: int
    """No packing has fewer packs."""
    attention_variation: float
    """Standard deviation / mean of the attention of a pack."""
    least_attention_variation: float
    """No packing in as many packs has less."""
    mixture_entropy: float
    """Mean entropy of a pack's tokens over sources / that of the whole."""
    single_source: float
    """Share of packs with more than 99.9 % of their tokens from one source."""
    slowest_over_mean: dict[str, float]
    """Mean over steps of slowest rank / mean rank in modelled time, by number of ranks."""
    loss_tokens_of_a_row: list[int]
    """Fewest and most learned tokens of a step of `lanes` ranks."""


class PartitionEntry(_Frozen):
    """One partition; the order of partitions is the order of the list."""

    name: str
    merged: list[str]
    """Partitions that it was made from by `compact`: files of theirs belong here."""
    digest: str
    """Of all that shapes its shards; its first 8 digits begin the names of shards and packs."""
    recipe_digest: str
    """Of the recipe that it was built with: a backfill changes chosen partitions only."""
    stages: dict[str, list[str]]
    """Content digests of the tables that it was made from."""
    samples: int
    taken_down: int
    """Of them, samples that a take-down list has removed from finished packs."""
    instances: int
    rows: int
    packs: int
    fillers: int
    tokens: int
    loss_tokens: int
    patches: int
    packing: Packing
    balance: Balance
    devices: list[str] = []
    """That computed its features."""
    shards: list[ShardEntry]


class Ledger(_Frozen):
    """The Parquet file with one row an input sample, and its totals: seen = packed
    + all dropped.
    """

    name: str
    sha256: str
    seen: int
    packed: int
    dropped: dict[str, int]


class Files(_Frozen):
    """The Parquet file with one row a source file: its partition, and the content found in it."""

    name: str
    sha256: str
    files: int


class CaptionPass(_Frozen):
    """What came of the requests with one prompt to one model."""

    task: str
    model: str
    prompt_version: str
    requests: int
    captions: int
    """Requests whose answer is in the data set."""
    originals: int
    """Those whose sample kept its text."""
    drops: int
    """Those whose sample was dropped."""
    rejected: int
    """Answers that were none."""
    blank_checked: int
    """Requests that were sent again with blank pictures."""
    blank_agreed: int
    """Those of them with the same answer."""
    answer_tokens: int


class Captions(_Frozen):
    """The Parquet file with one row a request to a model, and the totals of each pass."""

    name: str
    sha256: str
    requests: int
    passes: list[CaptionPass]


class Manifest(_Frozen):
    """One version."""

    format: int
    version: int
    name: str
    code_version: str
    recipe_digest: str
    recipe: dict[str, Any]
    """What shapes packs, without paths."""
    older_recipes: dict[str, dict[str, Any]]
    """The same of partitions that were built with another one, by digest."""
    libraries: dict[str, str]
    lanes: int
    capacity: int
    partitions: list[PartitionEntry]
    files: Files
    ledger: Ledger
    captions: Captions | None = None

    @property
    def shards(self) -> list[ShardEntry]:
        """All shards in order."""
        return [shard for partition in self.partitions for shard in partition.shards]


def manifest_name(version: int) -> str:
    """Where a version's manifest lies, below the data set's folder."""
    return f"{FOLDER}/manifest-{version:06d}.json"


POINTER = f"{FOLDER}/current.json"
"""The file that names the current version."""
