"""`[pack]` of a recipe: how samples become packs and packs become shards."""

from __future__ import annotations

from dataclasses import astuple
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from workers.packing.limits import Limits
from workers.packing.profile import Coefficients, Profile, profiles


class Pack(BaseModel):
    """Capacity, balance, and how packs lie in shards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["tokens", "isocost"] = "tokens"
    """`isocost`: packs of equal modelled time, of at most `max_tokens`."""
    bundle: int = Field(default=1, ge=1, le=64)
    """With isocost: packs that a rank reads in a step of gradient accumulation; together they have
    equal time.
    """
    model: str | Profile = "7b"
    """Whose time is balanced: a name of workers/packing/profiles.toml, or shapes."""
    max_tokens: int = Field(default=8192, ge=16, le=2**24)
    segment_multiple: int = Field(default=1, ge=1, le=2**16)
    """Each sample takes a multiple of so many tokens, as context and tensor parallelism want it;
    the reader pads it. Stored is the sample as it is.
    """
    max_patches: int | None = Field(default=None, ge=1)
    """ViT patches a pack."""
    max_attention: int | None = Field(default=None, ge=1)
    """Sum of squared sample lengths a pack."""
    max_payload_mb: float | None = Field(default=None, gt=0)
    max_images: int | None = Field(default=None, ge=1)
    """Pictures, views and videos a pack."""
    max_samples: int | None = Field(default=None, ge=1)
    one_kind: bool = False
    """No pack has pictures and videos."""
    lanes: int = Field(default=2, ge=1, le=4096)
    target_shard_mb: int = Field(default=256, ge=1, le=16384)

    @field_validator("lanes")
    @classmethod
    def _power_of_two(cls, lanes: int) -> int:
        if lanes & (lanes - 1):
            raise ValueError("must be a power of two")
        return lanes

    @field_validator("model")
    @classmethod
    def _known(cls, model: str | Profile) -> str | Profile:
        if isinstance(model, str) and model not in profiles():
            raise ValueError(f"no model profile of this name; there are {', '.join(profiles())}")
        return model

    @model_validator(mode="after")
    def _bundles_are_of_isocost(self) -> Pack:
        if self.bundle > 1 and self.mode != "isocost":
            raise ValueError('bundle is for mode = "isocost"')
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> Pack:
        patches = 4 * self.max_tokens  # of a pack of pictures alone, four merged into a token
        costs = (self.max_tokens, self.max_tokens**2, patches, patches**2)
        most = sum(a * b for a, b in zip(astuple(self.time), costs, strict=True))
        if most * self.bundle >= 1 << 63:
            raise ValueError("model: shapes so large that the time of a pack is no 64-bit number")
        return self

    @property
    def time(self) -> Coefficients:
        """Modelled time of one unit of each cost."""
        model = profiles()[self.model] if isinstance(self.model, str) else self.model
        return model.coefficients

    @property
    def limits(self) -> Limits:
        """What a pack may hold."""
        return Limits(
            tokens=self.max_tokens,
            patches=self.max_patches,
            attention=self.max_attention,
            bytes=int(self.max_payload_mb * 1e6) if self.max_payload_mb else None,
            images=self.max_images,
            samples=self.max_samples,
            one_kind=self.one_kind,
        )
