"""Smaller steps that families share: one less, three quarters or half of a setting."""

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

from pydantic import BaseModel


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


P = TypeVar("P", bound=BaseModel)


def one_less(policy: P, name: str, least: int = 1) -> P | None:
    """With one less of the setting; None where it has the least."""
    return _lowered(policy, name, getattr(policy, name) - 1, least)


def three_quarters(policy: P, name: str, least: int) -> P | None:
    """With three quarters of the setting, at least the least; None where it has that already."""
    return _lowered(policy, name, max(getattr(policy, name) * 3 // 4, least), least)


def half(policy: P, name: str) -> P | None:
    """With half of the setting; None at 1."""
    return _lowered(policy, name, getattr(policy, name) // 2, 1)


def _lowered(policy: P, name: str, value: int, least: int) -> P | None:
    lower = least <= value < getattr(policy, name)
    return policy.model_copy(update={name: value}) if lower else None
