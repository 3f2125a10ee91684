"""`[[signal]]`: signals that a model measures. A model is an entry of a recipe, not code."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

OPERATION = ("model", "device", "batch", "num_gpus", "min_actors", "max_actors", "cpus")
"""Settings that say where and how fast, and so are no part of any digest: the model counts by its
content.
"""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    """As clauses call it."""
    model: str = Field(min_length=1)
    """Directory or hub id of a checkpoint in transformers' format."""
    device: Literal["cuda", "cpu"] = "cuda"
    batch: int = Field(default=64, ge=1, le=4096)
    """Pictures that go through the model together."""
    num_gpus: float = Field(default=1.0, gt=0.0, le=8.0)
    min_actors: int = Field(default=1, ge=1, le=4096)
    max_actors: int = Field(default=1, ge=1, le=4096)
    cpus: int | None = Field(default=None, ge=1, le=1024)
    """Of an actor; by default an equal share of those that the cluster has."""

    @model_validator(mode="after")
    def _runs(self) -> _Model:
        if self.max_actors < self.min_actors:
            raise ValueError("max_actors is below min_actors")
        return self


class SimilaritySignal(_Model):
    """How like the learned text of a sample is to what it shows: the cosine of CLIP's or SigLIP's
    embeddings, the mean over pictures and frames.
    """

    kind: Literal["similarity"]


class ClassificationSignal(_Model):
    """What an image-classification head makes of the pictures and frames of a sample."""

    kind: Literal["classification"]
    label: str | None = None
    """Whose probability counts; none for a head with a single output, whose value counts."""
    of: Literal["max", "min"] = "max"
    """Of several pictures the largest or the smallest value."""


ModelSignal = Annotated[SimilaritySignal | ClassificationSignal, Field(discriminator="kind")]
"""Every kind of `[[signal]]`."""
