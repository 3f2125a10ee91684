"""A recipe: one TOML file, one frozen model.

Everything that shapes the output is in the recipe; where things lie (source paths, output path)
is in it too, but never in a digest. `load_recipe` reads one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipelines.pack_recipe import Pack
from pipelines.policies import PolicyConfig
from pipelines.select_recipe import Select
from workers.captioning.config import Caption, WhenSignal
from workers.encoders.config import EncoderConfig
from workers.match import Match
from workers.signals.clauses import used_signals
from workers.signals.model_config import ModelSignal
from workers.signals.names import SIGNALS, Signal
from workers.sources.folder import FolderOptions
from workers.sources.internvl_jsonl import InternvlJsonlOptions
from workers.sources.llava_json import LlavaJsonOptions
from workers.sources.parquet_columns import ParquetOptions
from workers.sources.records import RecordsOptions
from workers.sources.webdataset import WebdatasetOptions
from workers.text_config import TextConfig

SourceOptions = Annotated[
    RecordsOptions
    | LlavaJsonOptions
    | InternvlJsonlOptions
    | WebdatasetOptions
    | ParquetOptions
    | FolderOptions,
    Field(discriminator="kind"),
]
"""Every kind of source that a recipe may name."""


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
    """One input data set: what all kinds have, and beside it the keys of its kind."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    path: str = Field(min_length=1)
    """A file, a pattern (`*`, `**`) or a folder; local or s3://."""
    root: str | None = None
    """The folder that media paths are relative to; by default the folder of `path`."""
    weight: float = Field(default=1.0, ge=0.0, le=1000.0)
    """Mean copies of each sample: 2.0 repeats, 0.1 keeps a seeded tenth."""
    prompt_suffix: str = ""
    partition: str | None = None
    """A pattern with named groups that is looked for in a file's path: its partition."""
    options: SourceOptions

    @model_validator(mode="before")
    @classmethod
    def _beside_the_options(cls, fields: object) -> object:
        if not isinstance(fields, dict) or "options" in fields:
            return fields
        own = {key: value for key, value in fields.items() if key in cls.model_fields}
        return own | {"options": {k: v for k, v in fields.items() if k not in own}}

    @field_validator("partition")
    @classmethod
    def _has_named_groups(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            names = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        if not names:
            raise ValueError("has no named group, such as (?P<date>[0-9-]+)")
        return pattern


class Split(_Section):
    """A share of the samples that is held out, by a hash of their ids: the same in all versions."""

    held_out: float = Field(default=0.0, ge=0.0, lt=1.0)
    part: Literal["train", "held_out"] = "train"
    """Which side this data set holds."""


class Render(_Section):
    """What the packs hold of an image."""

    payload: Literal["source", "pixels", "features"] = "pixels"
    """`pixels` = resized and encoded; `source` = the file's bytes untouched (frames of a video are
    always pixels); `features` = what `encoder` makes of the pixels.
    """
    codec: Literal["jpeg", "webp", "png"] = "jpeg"
    resampler: Literal["pillow", "opencv"] = "pillow"
    """`pillow` gives the pixels of the reference code; `opencv` is faster and gives others."""
    encoder: EncoderConfig | None = None
    """The vision tower of `features`."""

    @model_validator(mode="after")
    def _encoder_makes_features(self) -> Render:
        if (self.payload == "features") != (self.encoder is not None):
            raise ValueError('payload = "features" and [render.encoder] belong together')
        return self


class Output(_Section):
    """Where the data set lies, local or s3://; no part of any digest."""

    path: str = Field(min_length=1)
    cache: str | None = None
    """Tables and rendered payloads, to build again without doing again; by default `.cache` in
    `path`.
    """
    scratch: str | None = None
    """Local folder for copies of remote files; by default in the system's temporary folder."""
    scratch_gb: float = Field(default=64.0, gt=0)


class Recipe(_Section):
    """A whole recipe."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    seed: int = Field(default=0, ge=0, lt=2**63)
    sources: tuple[Source, ...] = Field(min_length=1)
    text: TextConfig = TextConfig()
    select: Select = Select()
    signal: tuple[ModelSignal, ...] = ()
    """Signals that models measure."""
    caption: tuple[Caption, ...] = ()
    """Passes, one after another; a single one may stand as `[caption]`."""
    split: Split = Split()
    policy: tuple[PolicyRule, ...] = Field(min_length=1, max_length=64)
    render: Render = Render()
    pack: Pack = Pack()
    output: Output

    @field_validator("caption", mode="before")
    @classmethod
    def _one_pass(cls, given: object) -> object:
        return (given,) if isinstance(given, dict) else given

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
            # data sets of an InternVL meta file are sources of their own: <source>.<name>
            unknown = [n for n in rule.match.source if n.partition(".")[0] not in names]
            if unknown:
                raise ValueError(f"policy.{number}.match.source: no source is named {unknown[0]!r}")
        schemes = sorted({rule.policy.positions for rule in self.policy})
        if len(schemes) > 1:
            raise ValueError(f"policy: one model takes one kind of position ids, not {schemes}")
        unknown = sorted(self.select.by_source.keys() - names)
        if unknown:
            raise ValueError(f"select.by_source: no source is named {unknown[0]!r}")
        return self

    @model_validator(mode="after")
    def _clauses_name_what_is_there(self) -> Recipe:
        names = [one.name for one in self.signal]
        if taken := [name for name in names if name in SIGNALS or names.count(name) > 1]:
            raise ValueError(f"signal: there is another signal named {taken[0]!r}")
        named = {"where": self.select.where}
        named |= {f"by_source.{name}": one for name, one in self.select.by_source.items()}
        for place, clauses in named.items():
            for clause in clauses:
                try:
                    used_signals(clause, self.signals)
                except ValueError as error:
                    raise ValueError(f"select.{place}: {error}") from error
        return self

    @model_validator(mode="after")
    def _captions_name_what_is_there(self) -> Recipe:
        names = {source.name for source in self.sources}
        for number, one in enumerate(self.caption):
            if lost := sorted(set(one.sources) - names):
                raise ValueError(f"caption.{number}.sources: no source is named {lost[0]!r}")
            if isinstance(one.when, WhenSignal):
                used_signals(one.when.clause, self.signals)
            scores = [model.name for model in self.signal if model.kind == "similarity"]
            if one.score is not None and one.score not in scores:
                known = ", ".join(scores) or "none"
                what = f"no [[signal]] of the kind similarity is named {one.score!r}"
                raise ValueError(f"caption.{number}.score: {what}; there are {known}")
        return self

    @model_validator(mode="after")
    def _features_are_made_once(self) -> Recipe:
        for number, rule in enumerate(self.policy):
            drops = getattr(rule.policy, "token_dropout_prob", 0) > 0
            anew = getattr(rule.policy, "kept_indices", "baked") == "per_epoch"
            if self.render.payload == "features" and drops and anew:
                what = "features are made once, and patches would be dropped anew in each epoch"
                raise ValueError(f'policy.{number}.kept_indices: {what}; take "baked"')
        return self

    @property
    def signals(self) -> Mapping[str, Signal]:
        """Every signal that a clause may name."""
        models = {one.name: Signal("DOUBLE", one.kind, one.model) for one in self.signal}
        return {**SIGNALS, **models}

    @property
    def positions(self) -> str:
        """The position ids that the policies' models take."""
        return self.policy[0].policy.positions
