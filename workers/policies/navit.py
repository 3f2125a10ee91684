"""NaViT: patches of the picture at its own size and ratio, of which some may be dropped.

1. `vit_pytorch` resizes nothing: a side that is no multiple of the patch is refused. `paper` draws
   a side R a picture, resizes to the area R x R with the ratio kept, and rounds to whole patches.
2. Each loses a share of its n patches, constant or not: max(1, int(n * (1 - share))) stay.
3. Which ones is drawn by patchpack/token_drop.py: anew in each epoch, or once and baked in.
Trade-off: a share of 0.5 lets twice the pictures into a pack; to bake it costs 60 ns a patch.
The frames of a video are one tall picture: our choice, as are the distributions of `paper`.
Sources: lucidrains/vit-pytorch vit_pytorch/na_vit.py and na_vit_nested_tensor.py (`NaViT.forward`,
`group_images_by_max_seq_len`); Dehghani et al., Patch n' Pack, arXiv 2307.06304.
"""

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from schemas.reasons import Reason
from schemas.sized import Bools, Floats, Ints, Media, Ragged, Sized
from workers.policies import token_rates
from workers.policies.area import Resolution, SideRule, at_area, sides
from workers.policies.drawing import drawn
from workers.policies.frames import evenly, pick
from workers.policies.layouts import plain
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.verdicts import Verdicts, check
from workers.text_config import Family

MOST, MOST_BAKED = (1 << 31) - 1, 1 << 22
"""Tokens of a medium without `max_seq_len`: what a pack can count, what is ranked at once."""


class NaViT(BaseModel):
    """Resolution policy of NaViT, an encoder without a language model."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(aliases={"token_dropout": "token_dropout_prob"})
    positions: ClassVar[str] = "none"
    family: ClassVar[Family] = "llava"

    kind: Literal["navit"] = "navit"
    variant: Literal["vit_pytorch", "vit_pytorch_nested", "paper"] = "vit_pytorch"
    patch_size: int = Field(default=16, ge=1, le=256)
    max_seq_len: PositiveInt | None = None
    """Tokens of a sequence: a medium that is planned longer is refused, as grouping would."""
    token_dropout_prob: float = Field(default=0.0, ge=0, lt=1)
    """The share of patches that is dropped; the limit of it where it depends on the picture."""
    token_drop: token_rates.TokenDrop = "constant"
    """`resolution`: only patches beyond `free_patches` count; `beta`: times a draw of `beta`."""
    free_patches: PositiveInt = 64
    beta: tuple[Annotated[int, Field(ge=1, le=16)], Annotated[int, Field(ge=1, le=16)]] = (2, 2)
    """The Beta distribution's two parameters; (1, 1) is uniform, (2, 2) has its mean at a half."""
    kept_indices: Literal["per_epoch", "baked"] = "per_epoch"
    """Whether a pack holds which patches stay, or only how many."""
    resolution: Resolution = "native"
    """How the side R is drawn; `native` is the picture's own, at most `max_side`."""
    min_side: PositiveInt = Field(default=64, le=65536)
    """Pixels of the least R; a sample that is too long has its largest R lowered down to it."""
    max_side: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        default_factory=lambda fields: None if fields["resolution"] == "native" else 256
    )
    """Pixels of the largest R: 256 where it is drawn."""
    seed: int = 0
    """Of all draws; the rest comes from the medium's own bytes."""
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        own = (self.resolution, self.max_side, self.token_drop) == ("native", None, "constant")
        if self.variant != "paper" and not own:
            raise ValueError(f"variant {self.variant} neither resizes nor draws: use paper")
        if self.resolution != "native" and self.max_side is None:
            raise ValueError(f"resolution {self.resolution} needs max_side")
        if self.max_side is not None and self.max_side < self.min_side:
            raise ValueError(f"max_side {self.max_side} < min_side {self.min_side}")
        return self

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference takes RGB tensors; transparency is dropped."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """One view a medium; the grid of what the reference refuses stays beside the reason."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        known = verdicts.kept.copy()
        resized, time = self._resized(media, known), np.maximum(picked.counts, known)
        grid = np.stack([time, *(resized[:, ::-1] // self.patch_size).T], axis=1)
        patches = grid.prod(axis=1)
        share = self._shares(media, patches)
        self._refuse(resized, token_rates.planned_lengths(patches, share), verdicts)
        shown = verdicts.kept
        nested = self.variant == "vit_pytorch_nested"
        kept = token_rates.kept_lengths(patches, share, nested) * shown
        baked = (kept < patches) & (self.kept_indices == "baked")
        layout, picked = plain(shown, kept), picked.only(shown)
        return Sized(
            drawn=drawn(resized * shown[:, None]),
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=Ragged.where(known, grid),
            merge=np.ones(len(media), np.int64),
            llm_tokens=layout.embeddings,
            vit_patches=kept,
            kept_patches=token_rates.baked(media.key, patches, kept * baked, self.seed),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """A largest side of 3/4, down to `min_side`, then half the frames."""
        if self.variant == "paper" and (self.max_side is None or self.max_side > self.min_side):
            less = 2048 if self.max_side is None else self.max_side * 3 // 4
            return self.model_copy(update={"max_side": max(less, self.min_side)})
        return half_the_frames(self)

    def _resized(self, media: Media, rows: Bools) -> Ints:
        """[n, 2] pixels; 0 outside the mask."""
        size = np.where(rows[:, None], media.wh, 1)
        if self.variant == "paper":
            rule = SideRule(self.resolution, self.min_side, self.max_side)
            size = at_area(size, sides(rule, size, media.key, self.seed), self.patch_size)
        return np.asarray(size * rows[:, None], np.int64)

    def _shares(self, media: Media, patches: Ints) -> Floats:
        limit, free = self.token_dropout_prob, self.free_patches
        rule = token_rates.DropRule(self.token_drop, limit, free, self.beta)
        return token_rates.drop_shares(rule, patches, media.key, self.seed)

    def _refuse(self, resized: Ints, planned: Ints, verdicts: Verdicts) -> None:
        (width, height), patch = resized.T, self.patch_size
        longest = MOST_BAKED if self.kept_indices == "baked" else MOST
        most = min(self.max_seq_len or MOST, longest)
        verdicts.refuse(
            planned > most,
            Reason.OVER_BUDGET,
            lambda row: f"{planned[row]} tokens, a sequence holds {most}",
        )
        verdicts.refuse(
            np.any(resized % patch > 0, axis=1),
            Reason.NOT_PATCH_MULTIPLE,
            lambda row: f"{width[row]} x {height[row]} pixels are no multiples of {patch}",
        )
