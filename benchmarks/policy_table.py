"""The tables of docs/policies.md that follow from the policies: tokens of typical sizes, settings.

    python -m benchmarks.policy_table

Tokens are those of a single picture by a policy's defaults, with start and end tokens, without text
that the family writes beside it. The meaning of a setting is the string below it in its file.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np

from pipelines.policies import policy_kinds
from schemas.sized import images
from workers.policies.protocol import Policy

SIZES = (
    (224, 224),
    (640, 480),
    (800, 1300),
    (1654, 2339),
    (3840, 2160),
    (10000, 10000),
    (1000, 31),
    (1, 10000),
)
"""Width and height in pixels: a thumbnail, a photograph, a screenshot, a page of A4, 4K, extremes.
"""

COMMON = {
    "patch_size": "Pixels of a patch's side.",
    "merge_size": "Patches of a side of the block that becomes one token.",
    "temporal_patch_size": "Frames of one temporal patch.",
    "min_pixels": "Least area of a picture.",
    "max_pixels": "Largest area of a picture.",
    "use_thumbnail": "A last view of the whole picture, where there are several.",
    "seed": "Of what is drawn.",
    "variant": "Whose code decides.",
}
"""Meanings that need no string in each file."""

OWN = {
    "aria.max_image_size": "Pixels of a square's side, 980 or 490.",
    "aya_vision.image_size": "Pixels of a tile's side.",
    "docowl1_5.add_global_img": "Whether the whole picture comes first.",
    "internvl.downsample_ratio": "0.5: a block of 2 x 2 patches becomes one token.",
    "internvl.min_num_frame": "Fewest frames that are drawn.",
    "internvl.max_num_frame": "Most frames that are drawn.",
    "llava_hr.image_aspect_ratio": "`square`: the middle of the picture, in place of padding.",
    "llava_next.mm_patch_merge_type": "`flat`: all tokens of all views, without newlines.",
    "llava_next_video.mm_spatial_pool_stride": "Patches of a side that are pooled to one token.",
    "llava_next_video.mm_spatial_pool_mode": "What pooling takes; the count is the same.",
    "llava_onevision.mm_patch_merge_type": "The only published one.",
    "llava_onevision.mm_spatial_pool_mode": "`bilinear` rounds 13.5 up to 14 tokens, others down.",
    "llava_onevision.mm_newline_position": "After the video, a frame, a row of a frame, or none.",
    "llava_uhd.max_slice_nums": "Most slices of a picture.",
    "llava_uhd.encoder_patch_size": "Pixels of a patch of the encoder.",
    "llava_uhd.upscale_ratio": "Of sides, with `any_res`.",
    "navit.free_patches": "Patches that `resolution` drops nothing of.",
    "oryx.rules": "`paper`: a frame a second, and 4 x for several pictures.",
    "oryx.highres_step": "Pixels; sides of a high view are multiples of it.",
    "oryx.lowres_base": "Side of the square of a low view's area.",
    "oryx.lowres_step": "Pixels; sides of a low view are multiples of it.",
    "oryx.maxres": "Largest side of that square.",
    "oryx.minres": "Smallest side of that square.",
    "oryx.video_base": "As `highres_base`, of a frame.",
    "oryx.video_step": "Pixels; sides of a frame are multiples of it.",
    "oryx.video_maxres": "As `maxres`, of a frame.",
    "oryx.video_minres": "As `minres`, of a frame.",
    "lfm2_vl.encoder_patch_size": "Pixels of a patch's side.",
    "lfm2_vl.min_tiles": "Fewest tiles of a picture that is cut.",
    "lfm2_vl.max_tiles": "Most tiles.",
    "lfm2_vl.max_image_tokens": "Of a view of the smart size.",
    "ovis2.variant": "Whose code decides.",
    "points1_5.max_pixels": "Of a picture.",
    "qwen2_vl.nframes": "Frames of every video.",
    "qwen2_vl.min_frames": "Fewest frames by `fps`.",
    "qwen2_vl.resized_width": "See `resized_height`.",
    "qwen2_vl.variant": "Whose code decides on pictures.",
    "qwen2_vl.video_variant": "The same on videos.",
}
"""Meanings that are plain beside the code, and not on a page."""


def tokens() -> str:
    """A row a kind: LLM tokens of each size, or the reason of a refusal."""
    width, height = np.array(SIZES).T
    head = ["kind", *(f"{w} × {h}" for w, h in SIZES)]
    lines = [_line(head), _line(["---", *["--:"] * len(SIZES)])]
    for kind, model in policy_kinds().items():
        sized = model(kind=kind).size(images(width, height))
        counts = zip(sized.llm_tokens.tolist(), sized.drop.tolist(), strict=True)
        cells = [f"`{drop}`" if drop else f"{count:,}" for count, drop in counts]
        lines.append(_line([f"`{kind}`", *cells]))
    return "\n".join(lines)


def settings() -> str:
    """For each policy its settings: default, what else it may be, meaning."""
    kinds: dict[type[Any], list[str]] = {}
    for kind, model in policy_kinds().items():
        kinds.setdefault(model, []).append(kind)
    return "\n\n".join(_settings(model, names) for model, names in kinds.items())


def _settings(model: type[Any], kinds: list[str]) -> str:
    policies: list[Policy] = [model(kind=kind) for kind in kinds]
    lines = [
        f"### {', '.join(f'`{kind}`' for kind in kinds)}\n",
        "| setting | default | meaning |\n|---|---|---|",
    ]
    written = dict(_meanings(model))
    for name, field in model.model_fields.items():
        choices = [one for one in get_args(field.annotation) if isinstance(one, str | int)]
        if name == "kind" or (name == "variant" and len(choices) == 1):
            continue
        also = ", ".join(f"`{one}`" for one in choices if one != getattr(policies[0], name))
        meaning = written.get(name) or OWN.get(f"{kinds[0]}.{name}") or COMMON[name]
        meaning += f" Also: {also}." if also and isinstance(choices[0], str) else ""
        lines.append(_line([f"`{name}`", _default(policies, name), meaning]))
    return "\n".join(lines)


def _default(policies: list[Policy], name: str) -> str:
    """As a recipe has it; one for each kind where they differ."""
    values = list(dict.fromkeys(getattr(policy, name) for policy in policies))
    return ", ".join("–" if one is None else f"`{_short(one)}`" for one in values)


def _short(value: object) -> str:
    if isinstance(value, tuple):
        first = ", ".join(_short(one) for one in value[:3])
        return f"[{first}{', …' if len(value) > 3 else ''}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _meanings(model: type[Any]) -> Iterator[tuple[str, str]]:
    """Name of a setting and the string below it, where it has one."""
    [found] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(found, ast.ClassDef)
    for field, below in zip(found.body, found.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, " ".join(text.split())


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print both."""
    print(f"{tokens()}\n\n{settings()}")


if __name__ == "__main__":
    main()
