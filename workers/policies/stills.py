"""What families share that read single pictures: all but the arithmetic.

The published code of some has another rule for videos, which is not built: a video is refused, not
sized by the rule for pictures.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from schemas.reasons import Reason
from schemas.sized import (
    NEXT,
    OTHER,
    Bools,
    Drawn,
    Ints,
    Layout,
    Media,
    Ragged,
    Sized,
    Texts,
    images,
)
from schemas.texts import specials
from workers.policies.layouts import equal_runs, part, texts_by
from workers.policies.protocol import Names
from workers.policies.verdicts import Verdicts, check, is_video
from workers.text_config import FAMILIES, Family


@dataclass(frozen=True, kw_only=True)
class Views:
    """What a family makes of n pictures; the rows that it refuses may hold anything.

    grid_thw        Ragged [v, 3]  one [1, h, w] in patches for each view
    merge           side of the block of patches that becomes one token
    """

    drawn: Drawn
    grid_thw: Ragged
    merge: int
    layout: Layout


_ORDERED = (
    ("min_pixels", "max_pixels"),
    ("shortest_edge", "longest_edge"),
    ("min_patches", "max_patches"),
    ("min_tiles", "max_tiles"),
    ("min_image_tokens", "max_image_tokens"),
    ("min_num_patches", "max_num_patches"),
)
"""Settings of which the first may not exceed the second."""

_TRIED = images(np.array([512, 4000]), np.array([512, 3000]))
"""Pictures that settings are tried on: one that is a view, and one that is cut."""


class StillPolicy(BaseModel, ABC):
    """A policy for pictures; the base of those alone, with nothing between."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names()
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family]

    kind: str
    variant: str

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        settings = self.model_dump()
        for low, high in _ORDERED:
            least, most = settings.get(low), settings.get(high)
            if least is not None and most is not None and least > most:
                raise ValueError(f"{high} {most} < {low} {least}")
        sized = self.size(_TRIED)
        _, columns, after = sized.layout.parts.values.T
        if (sized.grid_thw.values < 1).any() or ((columns < 1) & (after != OTHER)).any():
            raise ValueError("sides, patch and merge leave a picture without a token")
        return self

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """transformers 5 composites on white; other code converts to RGB, which drops it."""
        return "white" if self.variant.startswith("hf_") else "drop"

    @abstractmethod
    def views(self, wh: Ints, verdicts: Verdicts, /) -> Views:
        """The views of pictures of [n, 2] pixels; 1 x 1 stands for what is refused already."""

    def size(self, media: Media) -> Sized:
        """The views of every picture; every video is refused."""
        verdicts = check(media)
        say = f"{self.kind} reads pictures: give videos to another [[policy]]"
        verdicts.refuse(is_video(media), Reason.NO_VIDEO_RULE, lambda _: say)
        views = self.views(np.where(verdicts.kept[:, None], media.wh, 1), verdicts)
        shown, rows = verdicts.kept, len(media)
        layout, grids = _layout_of(views.layout, shown), only(views.grid_thw, shown)
        marks = FAMILIES[self.family].image
        around = (marks.start is not None) + (marks.end is not None)
        return Sized(
            drawn=_drawn_of(views.drawn, shown),
            layout=layout,
            frame_indices=Ragged.empty(rows),
            seconds_per_grid=np.zeros(rows),
            grid_thw=grids,
            merge=np.full(rows, views.merge),
            llm_tokens=layout.embeddings + layout.run_counts * around + _specials(layout.texts),
            vit_patches=grids.sums(grids.values.prod(axis=1)),
            kept_patches=Ragged.empty(rows),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )


def only(ragged: Ragged, rows: Bools) -> Ragged:
    """The lists of these rows, and none in the others."""
    if rows.all():
        return ragged
    return Ragged.from_counts(ragged.values[np.repeat(rows, ragged.counts)], ragged.counts * rows)


def one_grid(resized_wh: Ints, patch: int) -> Ragged:
    """One view of this size in patches."""
    columns, rows = resized_wh.T // patch
    return Ragged.where(
        np.ones(len(resized_wh), np.bool_), np.stack([np.ones_like(rows), rows, columns], axis=1)
    )


def texts_by_grid(grid: Ints, write: Callable[[int, int], Sequence[str]]) -> Texts:
    """The texts of n pictures by two numbers [n, 2] that each has, such as columns and rows."""
    keys = grid[:, 0] << 32 | grid[:, 1]
    found = np.unique(keys).tolist()
    return texts_by(keys, {key: tuple(write(key >> 32, key & 0xFFFFFFFF)) for key in found})


def marked_runs(
    runs: Ints, tokens: Ints | int, grid: Ints, write: Callable[[int, int], Sequence[str]]
) -> Layout:
    """[n] runs of so many features, with the texts around them that the grid [n, 2] calls for."""
    return equal_runs(runs, tokens, texts_by_grid(grid, write))


def run_groups(groups: Sequence[tuple[Ints, Ints]], texts: Texts) -> Layout:
    """Runs of unequal length: of each group [n] so many, of [n] so many features."""
    parts = Ragged.join([part(count > 0, count, tokens, NEXT) for count, tokens in groups])
    return Layout(runs=np.ones(len(parts), np.int64), parts=parts, texts=texts)


def refuse_target(wh: Ints, resized: Ints, verdicts: Verdicts) -> Ints:
    """Refuse what resizes to nothing; [n, 2] the sizes with 1 in place of 0."""
    verdicts.refuse(
        resized.min(axis=1) < 1,
        Reason.EMPTY_TARGET,
        lambda row: (
            f"{wh[row, 0]} x {wh[row, 1]} pixels resize to {resized[row, 0]} x {resized[row, 1]}"
        ),
    )
    return np.maximum(resized, 1)


def _specials(texts: Texts) -> Ints:
    counts = [sum(map(specials, one)) for one in texts.sets]
    return np.array([*counts, 0], np.int64)[texts.which]


def _layout_of(layout: Layout, shown: Bools) -> Layout:
    which = np.where(shown, layout.texts.which, -1)
    return Layout(
        runs=layout.runs * shown,
        parts=only(layout.parts, shown),
        texts=Texts(which, layout.texts.sets),
    )


def _drawn_of(drawn: Drawn, shown: Bools) -> Drawn:
    """Zeros in the rows that are not shown."""
    if shown.all():
        return drawn
    changed: dict[str, Any] = {}
    for one in fields(drawn):
        value = getattr(drawn, one.name)
        if isinstance(value, Ragged):
            changed[one.name] = only(value, shown)
        elif isinstance(value, np.ndarray):
            mask = shown if value.ndim == 1 else shown[:, None]
            changed[one.name] = value & mask if value.dtype == np.bool_ else value * mask
    return replace(drawn, **changed)
