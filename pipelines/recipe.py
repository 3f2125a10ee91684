"""A recipe: one TOML file, one frozen model.

Everything that shapes the output is in the recipe; where things lie (source paths, output path)
is in it too, but never in a digest. `load_recipe` reads one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipelines.policies import PolicyConfig
from workers.match import Match
from workers.text_config import TextConfig


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PolicyRule(_Section):
    """One `[[policy]]`: a policy's settings, and beside them `match`, which media it is for."""

    policy: PolicyConfig
    match: Match = Match()

    @model_validator(mode="before")
    @classmethod
    def _beside_the_settings(cls, fields: object) -> object:
        if not isinstance(fields, dict):
            return fields
        settings = {key: value for key, value in fields.items() if key != "match"}
        return {"policy": settings, **({"match": fields["match"]} if "match" in fields else {})}


class Source(_Section):
    """One input data set."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    kind: Literal["records"]
    path: Path
    root: Path | None = None
    """The folder that media paths are relative to; by default the folder of `path`."""
    weight: float = Field(default=1.0, ge=0.0, le=1000.0)
    """Mean copies of each sample: 2.0 repeats, 0.1 keeps a seeded tenth."""
    prompt_suffix: str = ""


class Select(_Section):
    """What stays."""

    max_drop_ratio: float = Field(default=0.2, ge=0.0, le=1.0)
    """A build that drops more than this share of its samples stops."""


class Render(_Section):
    """What the packs hold of an image."""

    payload: Literal["source", "pixels"] = "pixels"
    """`pixels` = resized and encoded; `source` = the file's bytes untouched (frames of a video are
    always pixels).
    """
    codec: Literal["jpeg", "webp", "png"] = "jpeg"
    resampler: Literal["pillow", "opencv"] = "pillow"
    """`pillow` gives the pixels of the reference code; `opencv` is faster and gives others."""


class Pack(_Section):
    """How samples become packs and packs become shards."""

    mode: Literal["tokens"] = "tokens"
    max_tokens: int = Field(default=8192, ge=16, le=2**24)
    lanes: int = Field(default=2, ge=1, le=4096)
    target_shard_mb: int = Field(default=256, ge=1, le=16384)

    @field_validator("lanes")
    @classmethod
    def _power_of_two(cls, lanes: int) -> int:
        if lanes & (lanes - 1):
            raise ValueError("must be a power of two")
        return lanes


class Output(_Section):
    """Where the data set lies; no part of any digest."""

    path: Path
    cache: Path | None = None
    """Tables and rendered payloads, to build again without doing again; by default `.cache` in
    `path`.
    """


class Recipe(_Section):
    """A whole recipe."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    seed: int = Field(default=0, ge=0, lt=2**63)
    sources: tuple[Source, ...] = Field(min_length=1)
    text: TextConfig = TextConfig()
    select: Select = Select()
    policy: tuple[PolicyRule, ...] = Field(min_length=1, max_length=64)
    render: Render = Render()
    pack: Pack = Pack()
    output: Output

    @model_validator(mode="after")
    def _unique_sources(self) -> Recipe:
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"source names must differ, got {names}")
        return self

    @model_validator(mode="after")
    def _policies_agree(self) -> Recipe:
        names = {source.name for source in self.sources}
        for number, rule in enumerate(self.policy):
            unknown = [name for name in rule.match.source if name not in names]
            if unknown:
                raise ValueError(f"policy.{number}.match.source: no source is named {unknown[0]!r}")
        schemes = sorted({rule.policy.positions for rule in self.policy})
        if len(schemes) > 1:
            raise ValueError(f"policy: one model takes one kind of position ids, not {schemes}")
        return self

    @property
    def positions(self) -> str:
        """The position ids that the policies' models take."""
        return self.policy[0].policy.positions
