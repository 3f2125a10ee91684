"""Which policy a medium goes to: the first `[[policy]]` of the recipe whose `match` holds.

So documents can go high and photographs low. Signals are those that the survey reads off headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.columns import Ints
from schemas.sized import Bools, Floats, Media
from workers.policies.protocol import Policy

Signal = Literal[
    "width",
    "height",
    "min_side",
    "max_side",
    "aspect_ratio",
    "megapixels",
    "images",
    "frames",
    "duration",
]


class Match(BaseModel):
    """Conditions that must all hold; without any, every medium matches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: tuple[str, ...] = ()
    """Names of sources; a single one may stand without a list."""
    kind: tuple[Literal["image", "video", "view"], ...] = ()
    signal: Signal | None = None
    """`aspect_ratio` is the longer side over the shorter; `images` counts those of the sample;
    `duration` is in seconds, 0 for a picture.
    """
    above: float | None = Field(default=None, allow_inf_nan=False)
    """The signal is greater than this."""
    below: float | None = Field(default=None, allow_inf_nan=False)
    """The signal is less than this."""

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, fields: object) -> object:
        if not isinstance(fields, dict):
            return fields
        single = {k: (v,) for k, v in fields.items() if k in _LISTS and isinstance(v, str)}
        return fields | single

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        bounded = self.above is not None or self.below is not None
        if bounded != (self.signal is not None):
            raise ValueError("signal needs above or below, and they need signal")
        return self


_LISTS = ("source", "kind")


@dataclass(frozen=True)
class Rule:
    """One `[[policy]]` of a recipe."""

    policy: Policy
    match: Match = field(default_factory=Match)


def chosen(rules: Sequence[Rule], media: Media, source: npt.NDArray[np.object_]) -> Ints:
    """[n] number of the first rule that matches each medium, -1 for none."""
    choice = np.full(len(media), -1, np.int64)
    for number, rule in enumerate(rules):
        choice[(choice < 0) & _matches(rule.match, media, source)] = number
    return choice


def _matches(match: Match, media: Media, source: npt.NDArray[np.object_]) -> Bools:
    holds = np.ones(len(media), np.bool_)
    if match.source:
        holds &= np.isin(source.astype(str), match.source)
    if match.kind:
        holds &= np.isin(media.kind.astype(str), match.kind)
    if match.signal is not None:
        value = _signal(match.signal, media)
        holds &= value > (-np.inf if match.above is None else match.above)
        holds &= value < (np.inf if match.below is None else match.below)
    return holds


def _signal(name: Signal, media: Media) -> Floats:
    longer = np.maximum(media.width, media.height).astype(np.float64)
    shorter = np.minimum(media.width, media.height).astype(np.float64)
    if name == "duration":
        moving = media.fps > 0
        return np.where(moving, media.frames / np.where(moving, media.fps, 1.0), 0.0)
    values = {
        "width": media.width,
        "height": media.height,
        "min_side": shorter,
        "max_side": longer,
        "aspect_ratio": longer / np.maximum(shorter, 1),
        "megapixels": longer * shorter / 1e6,
        "images": media.images,
        "frames": media.frames,
    }
    return values[name].astype(np.float64)
