"""What a resolution policy is: a frozen setting that turns `Media` columns into a `Sized`.

The list of policies is the discriminated union of the recipe; here is only the shape they share.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self

from schemas.sized import Media, Sized
from workers.text_config import Family


@dataclass(frozen=True)
class Names:
    """How the published code calls the settings of a policy; for `geometry` and its lines."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    """The reference's name of a setting, and the field."""
    video_aliases: Mapping[str, str] = field(default_factory=dict)
    """The same for a request about a video, where `max_pixels` bounds a frame."""
    derived: tuple[str, ...] = ()
    """Properties that a line may state; it is refused where they do not follow from the rest."""


class Policy(Protocol):
    """A frozen pydantic model with these members; `Qwen2VL` is the fullest example."""

    VERSION: ClassVar[int]
    """Raised when the output changes; part of every spec that the policy shapes."""
    NAMES: ClassVar[Names]
    positions: ClassVar[str]
    """The position ids that its models take, as a pack's header names them."""
    family: ClassVar[Family]
    """The names of the tokens that its models have for vision features and around them."""

    @property
    def kind(self) -> str:
        """The name in a recipe."""

    @property
    def variant(self) -> str:
        """The published code that the answers equal."""

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """What becomes of transparency when a picture is converted to RGB."""

    def size(self, media: Media) -> Sized:
        """The geometry and token counts of these media."""

    def smaller(self) -> Self | None:
        """The next gentler setting for an over-long sample; None when there is no further step."""

    def model_dump(self, *, mode: str = "python", exclude_unset: bool = False) -> dict[str, Any]:
        """The fields as a dictionary (pydantic)."""

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        """The policy of these fields (pydantic)."""
