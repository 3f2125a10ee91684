"""The recipe's `[text]` table, and the names of the vision tokens of the model families.

A family says which tokens a model writes around the features of an image or a video. Only names
here: a tokenizer turns them into ids (`vision_ids`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator

Family = Literal[
    "qwen2_vl",
    "internvl",
    "llava",
    "deepseek_vl",
    "docowl",
    "xcomposer",
    "nvlm_d",
    "points",
    "aria",
    "cohere_vision",
    "ernie_vl",
    "gemma3",
    "gemma4",
    "glm4v",
    "kimi",
    "llama4",
    "mllama",
    "minicpmv",
    "molmo2",
    "nemotron",
    "ovis2",
    "phi4",
    "pixtral",
]


class MarkNames(NamedTuple):
    """Around one run of features: `start`, a `pad` for each feature, `end`; None = not written."""

    start: str | None
    pad: str
    end: str | None


class FamilyNames(NamedTuple):
    """The marks of pictures (images and posed views) and of videos."""

    image: MarkNames
    video: MarkNames


_QWEN_START, _QWEN_END = "<|vision_start|>", "<|vision_end|>"
_INTERNVL = MarkNames("<img>", "<IMG_CONTEXT>", "</img>")
_LLAVA = MarkNames(None, "<image>", None)

_PADS: Mapping[Family, str] = {
    "deepseek_vl": "<image_placeholder>",
    "docowl": "<|image|>",
    "xcomposer": "<ImageHere>",
    "nvlm_d": "<|vision_pad|>",  # the tags around tiles are the policy's text
    "points": "<|image_pad|>",
    "aria": "<|img|>",
    "cohere_vision": "<|IMG_PATCH|>",
    "kimi": "<|media_pad|>",
    "llama4": "<|patch|>",
    "mllama": "<|image|>",
    "molmo2": "<im_patch>",
    "ovis2": "<IMG_ATOM>",
    "phi4": "<|endoftext10|>",
    "pixtral": "[IMG]",
}

_MARKED: Mapping[Family, MarkNames] = {
    "ernie_vl": MarkNames("<|IMAGE_START|>", "<|IMAGE_PLACEHOLDER|>", "<|IMAGE_END|>"),
    "gemma3": MarkNames("<start_of_image>", "<image_soft_token>", "<end_of_image>"),
    "gemma4": MarkNames("<|image>", "<|image|>", "<image|>"),
    "glm4v": MarkNames("<|begin_of_image|>", "<|image|>", "<|end_of_image|>"),
    "minicpmv": MarkNames(None, "<unk>", None),
    "nemotron": MarkNames("<img>", "<image>", "</img>"),
}

FAMILIES: Mapping[Family, FamilyNames] = {
    "qwen2_vl": FamilyNames(
        image=MarkNames(_QWEN_START, "<|image_pad|>", _QWEN_END),
        video=MarkNames(_QWEN_START, "<|video_pad|>", _QWEN_END),
    ),
    "internvl": FamilyNames(image=_INTERNVL, video=_INTERNVL),
    "llava": FamilyNames(image=_LLAVA, video=_LLAVA),
    **{
        family: FamilyNames(image=MarkNames(None, pad, None), video=MarkNames(None, pad, None))
        for family, pad in _PADS.items()
    },
    **{family: FamilyNames(image=marks, video=marks) for family, marks in _MARKED.items()},
}

REGION_NAMES: tuple[str, ...] = (
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<ref>",
    "</ref>",
    "<box>",
    "</box>",
    "<|ref|>",
    "<|/ref|>",
    "<|det|>",
    "<|/det|>",
)
"""Tokens around labels, boxes and points: of Qwen2-VL, InternVL and DeepSeek-VL2."""

VISION_NAMES: tuple[str, ...] = tuple(
    sorted(
        {name for family in FAMILIES.values() for marks in family for name in marks if name}
        | {*REGION_NAMES}
    )
)
"""Those of every family: text that a user typed becomes none of them, whichever is chosen."""

INNER_NAMES: tuple[str, ...] = (
    "<fake_token_around_image>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
    "[IMG_BREAK]",
    "[IMG_END]",
    "<|image_start|>",
    "<|image_end|>",
    "<|tile_x_separator|>",
    "<|tile_y_separator|>",
    "<|media_begin|>",
    "<|media_content|>",
    "<|media_end|>",
    *(f"<|img_row_{row}_col_{column}|>" for row in range(1, 11) for column in range(1, 11)),
    "<|img_thumbnail|>",
    "<|START_OF_IMG|>",
    "<|END_OF_IMG|>",
    "<|IMG_LINE_BREAK|>",
    "<IMG_START>",
    "<IMG_END>",
    "<IMG_GRID>",
    "<IMG_COL>",
    "<IMG_ROW>",
    "<|image start|>",
    "<|image token|>",
    "<|image end|>",
    "<|extra_201|>",
    "</image>",
    "<slice>",
    "</slice>",
    "<low_res_im_start>",
    "<im_start>",
    "<im_end>",
    "<im_col>",
)
"""What policies write between runs (`schemas.sized.token`); in this order for ever, as the bytes
tokenizer counts them: append only.
"""

Regions = Literal[
    "auto", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "deepseek_vl2", "llava", "fractions"
]
"""Whose way of writing boxes and points (`regions`); `auto` is that of the policies' models."""

_REGIONS: Mapping[str, Regions] = {
    "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_5_vl",
    "qwen3_vl": "qwen3_vl",
    "internvl": "internvl",
    "deepseek_vl2": "deepseek_vl2",
    **dict.fromkeys(
        (
            "llava15",
            "llava_hr",
            "llava_next",
            "llava_next_video",
            "llava_next_interleave",
            "llava_onevision",
            "llava_uhd",
        ),
        "llava",
    ),
}
"""By kind of policy; the models of the other kinds have no published way."""


class TextConfig(BaseModel):
    """How text becomes token ids: `[text]` in a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokenizer: str = "bytes"
    """`bytes`, or the directory or hub id of a Hugging Face tokenizer."""
    template: Literal["plain", "chatml", "tokenizer", "none"] = "chatml"
    """`tokenizer` is the chat template that comes with the tokenizer; `none` leaves the media
    alone, without any text and with nothing to learn from it.
    """
    family: Family = "qwen2_vl"
    """A recipe that does not say takes the family of its policies."""

    media: Literal["in_place", "front", "mixed"] = "in_place"
    """Where media stand: as the record has them, in front of their conversation's first question,
    or so in a seeded half of the samples (`turns.media_in_front`).
    """

    regions: Regions = "auto"
    """How boxes and points are written into the text (`regions.write`)."""

    def for_policies(self, kinds: Iterable[str]) -> Self:
        """`regions = "auto"` made the way of the models that these policies belong to.

        It is `fractions` where they have none, or several.
        """
        if self.regions != "auto":
            return self
        ways = {_REGIONS[kind] for kind in kinds if kind in _REGIONS}
        return self.model_copy(update={"regions": ways.pop() if len(ways) == 1 else "fractions"})

    @model_validator(mode="after")
    def _has_template(self) -> Self:
        if self.template == "tokenizer" and self.tokenizer == "bytes":
            raise ValueError(
                'template = "tokenizer" needs a Hugging Face tokenizer: bytes has no chat template'
            )
        return self


class TokenizeConfig(BaseModel):
    """All that shapes the tokens of a block: the text table, and the sources' prompt suffixes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: TextConfig = TextConfig()
    prompt_suffix: Mapping[str, str] = {}
    """Source name to the text appended to the last text of each user turn.

    A block holds one source: give that one only, so that no other suffix changes its spec."""
    seed: int = 0
    """Chooses the half of `media = "mixed"`; give none where nothing is chosen."""
