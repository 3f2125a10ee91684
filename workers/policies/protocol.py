"""What a resolution policy is: a frozen setting that turns `Media` columns into a `Sized`.

The list of policies is the discriminated union of the recipe; here is only the shape they share.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol, Self

from schemas.sized import Media, Sized


class Policy(Protocol):
    """A frozen pydantic model with these members; `Qwen2VL` is the fullest example."""

    VERSION: ClassVar[int]
    """Raised when the output changes; part of every spec that the policy shapes."""
    ALIASES: ClassVar[Mapping[str, str]]
    """Names that the reference gives to a field, and the field."""
    VIDEO_ALIASES: ClassVar[Mapping[str, str]]
    """The same for a request about a video, where `max_pixels` bounds a frame."""
    positions: ClassVar[str]
    """The position ids that its models take, as a pack's header names them."""
    frame_prefix: ClassVar[str]
    """Text before the i-th frame of a video, from 1, with `{i}` in it; or empty."""
    frame_suffix: ClassVar[str]
    """Text after each frame of a video."""

    @property
    def kind(self) -> str:
        """The name in a recipe."""

    @property
    def variant(self) -> str:
        """The published code that the answers equal."""

    @property
    def patch_size(self) -> int:
        """Side of a ViT patch in pixels."""

    @property
    def merge(self) -> int:
        """Side of the block of patches that becomes one LLM token."""

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """What becomes of transparency when a picture is converted to RGB."""

    def size(self, media: Media) -> Sized:
        """The geometry and token counts of these media."""

    def smaller(self) -> Self | None:
        """The next gentler setting for an over-long sample; None when there is no further step."""

    def model_dump(self, *, exclude_unset: bool = False) -> dict[str, Any]:
        """The fields as a dictionary (pydantic)."""

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        """The policy of these fields (pydantic)."""
