"""Modelled time of a training step, from four additive costs and the shapes of the model.

A transformer of L layers of width h does about L (24 h^2 t + 4 h sum(len^2)) floating point
operations on t tokens in segments of the lengths `len` (feed-forward of 4 h, no grouped heads; both
parts, and so their ratio, are halved or tripled alike by masks and backward passes that models
share). Divided by 4 L h that is 6 h t + sum(len^2): for h = 4096 the 24576 t + t^2 of
volcengine/verl `seqlen_balancing.py`. A vision tower that runs in the same step adds the same of
its own patches. Coefficients are whole numbers, divided by what they have in common, so that times
are exact and the same everywhere.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from math import gcd
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from schemas.columns import Ints

COSTS = ("tokens", "attention", "patches", "vit_attention")
_FILE = Path(__file__).with_name("profiles.toml")


class Shape(BaseModel):
    """A transformer."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    layers: int = Field(ge=1, le=1024)
    hidden_size: int = Field(ge=1, le=65536)


class Profile(BaseModel):
    """A language model, and the vision tower that runs in its training step, if one does: none
    where features are stored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    language: Shape
    vision: Shape | None = None

    @property
    def coefficients(self) -> Coefficients:
        """Time of one unit of each cost."""
        vision = _terms(self.vision) if self.vision else (0, 0)
        terms = (*_terms(self.language), *vision)
        common = gcd(*terms)
        return Coefficients(*(term // common for term in terms))


def _terms(shape: Shape) -> tuple[int, int]:
    return 6 * shape.layers * shape.hidden_size**2, shape.layers * shape.hidden_size


@dataclass(frozen=True)
class Coefficients:
    """Time of one unit of each cost of a sample or pack."""

    tokens: int
    attention: int
    patches: int = 0
    vit_attention: int = 0

    def time(self, tokens: Ints, attention: Ints, patches: Ints, vit_attention: Ints) -> Ints:
        """Modelled time of samples or packs; int64, so up to 2**63 - 1 for each."""
        time: Ints = (
            self.tokens * tokens
            + self.attention * attention
            + self.patches * patches
            + self.vit_attention * vit_attention
        )
        return time

    def as_json(self) -> dict[str, int]:
        """By cost."""
        return asdict(self)


@cache
def profiles() -> dict[str, Profile]:
    """The profiles that patchpack knows, by name."""
    known = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {name: Profile.model_validate(shapes) for name, shapes in known.items()}
