"""Prompt files: TOML with a version, the texts for the model, and the questions for training.

The content of a file is part of what is recorded, its place is not.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.digest import spec_digest
from schemas.errors import RecipeError
from workers.captioning.config import Task

_FOLDER = Path(__file__).parent / "prompts"
_PLACE = re.compile(r"\{([a-z]+)\}")


class Prompt(BaseModel):
    """The texts of a task; those that it does not use are empty."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(min_length=1, max_length=64)
    system: str = ""
    user: str = ""
    question: str = ""
    """Asked in training by a sample that asked nothing before."""
    frame: str = ""
    difference: str = ""
    frame_question: str = ""
    difference_question: str = ""


_NEEDED: dict[Task, tuple[str, ...]] = {
    "caption": ("user",),
    "transcribe": ("user",),
    "questions": ("user",),
    "needle": ("frame", "difference", "frame_question", "difference_question"),
    "translate": ("user",),
}


def load_prompt(task: Task, path: str | None) -> Prompt:
    """The prompt in a file, or the task's own. Raises RecipeError naming file and key."""
    file = Path(path) if path else _FOLDER / f"{task}.toml"
    try:
        prompt = Prompt.model_validate(tomllib.loads(file.read_text("utf-8")))
    except OSError as error:
        raise RecipeError(f"caption.prompt: {file}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"caption.prompt: {file}: not TOML: {error}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise RecipeError(f"caption.prompt: {file}: {key}: {fault['msg']}") from error
    for name in _NEEDED[task]:
        if not getattr(prompt, name).strip():
            raise RecipeError(f"caption.prompt: {file}: {task} needs {name}")
    if task == "translate" and "{text}" not in prompt.user:
        raise RecipeError(f"caption.prompt: {file}: user has no {{text}}")
    return prompt


def prompt_name(task: Task, prompt: Prompt) -> str:
    """Task, version and digest: `caption/1@3f2a91bc`."""
    return f"{task}/{prompt.version}@{spec_digest(prompt.model_dump())[:8]}"


def filled(text: str, values: dict[str, str]) -> str:
    """The text with {names} replaced; other braces, as those of JSON, stay.

    >>> filled('Answer in {language}: {"a": 1}', {"language": "German"})
    'Answer in German: {"a": 1}'
    """
    return _PLACE.sub(lambda match: values.get(match[1], match[0]), text)
