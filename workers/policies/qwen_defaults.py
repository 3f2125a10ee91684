"""Default settings of the Qwen-VL family, which gives areas in tokens.

A token is a square of patch x merge pixels: 28 x 28, or 32 x 32 in Qwen3-VL.
"""

from collections.abc import Callable
from typing import Any

Fields = dict[str, Any]
"""The settings of a policy that are declared above the one in question."""


def patch_size(fields: Fields) -> int:
    """Pixels."""
    return 16 if fields["kind"] == "qwen3_vl" else 14


def tokens(count: int) -> Callable[[Fields], int]:
    """The area of so many tokens."""
    return lambda fields: int(count * (fields["patch_size"] * fields["merge_size"]) ** 2)


def total_pixels(fields: Fields) -> int:
    """The area of a video: 24576 tokens, since qwen-vl-utils 0.0.9 0.9 x 128000."""
    first = fields["video_variant"] == "qwen_vl_utils_0.0.8"
    return tokens(24576 if first else 115200)(fields)
