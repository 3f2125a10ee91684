"""`auto` in a recipe, replaced by what the checkpoint says, before the recipe is checked.

    policy = "auto"              # or, beside others, [[policy]] with kind = "auto" and checkpoint
    checkpoint = "DIR"

A setting that is written beside `kind = "auto"` goes before the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.checkpoint_policy import policy_of
from schemas.errors import RecipeError


def with_checkpoints(raw: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The recipe's tables with every `auto` replaced. Raises RecipeError naming file and key."""
    recipe = dict(raw)
    if recipe.get("policy") == "auto":
        recipe["policy"] = [{"kind": "auto", "checkpoint": recipe.pop("checkpoint", None)}]
    if isinstance(recipe.get("policy"), list):
        recipe["policy"] = [
            of_checkpoint(rule, f"{path}: policy.{number}.checkpoint")
            for number, rule in enumerate(recipe["policy"])
        ]
    return recipe


def of_checkpoint(rule: Any, key: str) -> Any:
    """A `[[policy]]`, with `kind = "auto"` replaced by kind and settings of its checkpoint."""
    if not isinstance(rule, dict) or rule.get("kind") != "auto":
        return rule
    place = rule.get("checkpoint")
    if not isinstance(place, str) or not Path(place).expanduser().is_dir():
        raise RecipeError(f'{key}: "auto" needs the directory of a checkpoint, not {place!r}')
    own = {name: value for name, value in rule.items() if name not in ("kind", "checkpoint")}
    return policy_of(Path(place).expanduser(), key) | own
