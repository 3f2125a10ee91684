"""`[render.encoder]`: which frozen vision tower makes the features, and how it is run."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

At = Literal["tower", "pre_merger", "post_merger"]
Dtype = Literal["bfloat16", "float16", "float32"]
Stored = Literal["bfloat16", "float16", "int8"]
Attention = Literal["varlen", "sdpa"]

OPERATION = ("model", "max_patches", "num_gpus", "min_actors", "max_actors", "cpus")
"""Settings that say where and how fast, and so are no part of any digest."""


class EncoderConfig(BaseModel):
    """What shapes features, and how the work is spread."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1)
    """Directory or hub id of a checkpoint in transformers' format: the tower alone, or a model that
    has one, of which nothing else is read.
    """
    at: At | None = None
    """`tower`: its hidden states (CLIP, SigLIP, InternViT, SigLIP 2); `pre_merger` or `post_merger`
    in the Qwen family. By default `tower` and `pre_merger`: what stands before any learned layer
    that is trained.
    """
    layer: int | Literal["last_hidden_state"] | None = None
    """As transformers numbers hidden states: -1 is the last layer before the final norm, -2 the one
    before it. By default -2 for CLIP, -1 for SigLIP, `last_hidden_state` for the others.
    """
    resolution: Literal["fixed", "native"] = "fixed"
    """Of SigLIP: `native` takes pictures of any size, the position embedding resized bilinearly, as
    Oryx does.
    """
    dtype: Dtype = "bfloat16"
    """Of weights and arithmetic."""
    stored: Stored = "bfloat16"
    """Of the features in the packs; int8 has a scale a token."""
    attention: Attention = "varlen"
    """`varlen`: one kernel over all pictures of a batch; `sdpa`, and on a CPU either, takes them
    one by one. Tiles of one size are a dense batch for SDPA in any case.
    """
    device: Literal["cuda", "cpu"] = "cuda"
    max_patches: int = Field(default=65536, ge=1, le=2**24)
    """Patches of a batch."""
    num_gpus: float = Field(default=1.0, gt=0.0, le=8.0)
    """GPUs of an actor; a fraction lets several share one."""
    min_actors: int = Field(default=1, ge=1, le=4096)
    max_actors: int = Field(default=1, ge=1, le=4096)
    cpus: int | None = Field(default=None, ge=1, le=1024)
    """CPUs of an actor, as many of which decode and resize; by default an equal share of those that
    the cluster has.
    """

    @model_validator(mode="after")
    def _runs(self) -> EncoderConfig:
        if self.max_actors < self.min_actors:
            raise ValueError("max_actors is below min_actors")
        if isinstance(self.layer, int) and self.layer >= 0:
            raise ValueError("layer counts from the end: -1, -2, …")
        if (self.device, self.attention, self.dtype) == ("cuda", "varlen", "float32"):
            raise ValueError('attention = "varlen" has no float32 on cuda: take "sdpa"')
        return self
