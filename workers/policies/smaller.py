"""The last of the smaller steps that most families share."""

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar


class Framed(Protocol):
    """A policy with a number of frames."""

    @property
    def num_frames(self) -> int:
        """Of a video."""

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """The same with these settings (pydantic)."""


F = TypeVar("F", bound=Framed)


def half_the_frames(policy: F) -> F | None:
    """The policy that looks at half the frames; None where it looks at one."""
    if policy.num_frames == 1:
        return None
    return policy.model_copy(update={"num_frames": policy.num_frames // 2})
