"""The smaller steps of a policy, and the name of each: what gave way is written into the header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from workers.policies.protocol import Policy


@dataclass(frozen=True)
class Step:
    """One setting of a policy, `number` steps smaller than the recipe's."""

    number: int
    policy: Policy
    name: str
    """`kind/variant`, and what differs from the recipe's setting: `?max_pixels=752640`."""


def steps_of(policy: Policy) -> list[Step]:
    """The policy itself, then every smaller step of it."""
    steps = [Step(0, policy, f"{policy.kind}/{policy.variant}")]
    own, smaller = policy.model_dump(), policy.smaller()
    while smaller is not None:
        changed: dict[str, Any] = {
            key: value for key, value in smaller.model_dump().items() if value != own[key]
        }
        steps.append(Step(len(steps), smaller, f"{steps[0].name}?{urlencode(changed)}"))
        smaller = smaller.smaller()
    return steps
