"""What one golden file needs to be compared with a policy's answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.reasons import Reason
from workers.policies.protocol import Policy

Row = Mapping[str, Any]
"""One row of a golden file."""
Fields = dict[str, Any]


@dataclass(frozen=True)
class Adapter:
    """One golden file; values are compared for equality under the golden file's own field names."""

    policy: Policy
    row_fields: frozenset[str]
    """All that a row may hold; another field is a miss."""
    lines: Callable[[Row], list[Fields]]
    """The lines for `geometry`."""
    expected: Callable[[Row], Fields]
    """What the reference answered; `drop` holds the reason that its exception stands for."""
    answered: Callable[[Row, Sequence[Fields]], Fields]
    """The same fields out of our records."""


@dataclass(frozen=True)
class Direct:
    """A golden file about a rule that is no policy's geometry, such as grouping."""

    row_fields: frozenset[str]
    expected: Callable[[Row], Fields]
    answered: Callable[[Row], Fields]


def either(ours: Sequence[int], ties: Sequence[Sequence[int]]) -> list[int]:
    """Our frame indices as the reference has them: at each tie [place, torch_index, exact_index]
    float32 answers the one and exact arithmetic the other.
    """
    indices = list(ours)
    for place, torch_index, exact_index in ties:
        if place < len(indices) and indices[place] == exact_index:
            indices[place] = torch_index
    return indices


def reason(error: Row, known: Mapping[tuple[str, str], Reason]) -> Reason:
    """The reason for an exception by its type and a part of its message."""
    name = error.get("type", error.get("error"))
    for (kind, part), value in known.items():
        if kind == name and part in error["message"]:
            return value
    raise KeyError(f"no reason for {name}: {error['message']}")
