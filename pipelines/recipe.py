"""A recipe: one TOML file, one frozen model, and the list of policies that it may name.

Everything that shapes the output is in the recipe; where things lie (source paths, output path)
is in it too, but never in a digest. An unknown key or policy is an error of one line that names
the key and what is allowed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from schemas.errors import RecipeError
from workers.policies.fixed import Fixed
from workers.policies.internvl import InternVL
from workers.policies.protocol import Policy
from workers.policies.qwen2_vl import Qwen2VL
from workers.text_config import TextConfig

PolicyConfig = Annotated[Fixed | InternVL | Qwen2VL, Field(discriminator="kind")]
"""Every policy that a recipe may name: a new one is a file in `workers/policies/` and a name here.
"""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Section):
    """One input data set."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    kind: Literal["records"]
    path: Path
    root: Path | None = None
    """The folder that media paths are relative to; by default the folder of `path`."""
    weight: float = Field(default=1.0, ge=0.0, le=1000.0)
    """Mean copies of each sample: 2.0 repeats, 0.1 keeps a seeded tenth."""
    prompt_suffix: str = ""


class Select(_Section):
    """What stays."""

    max_drop_ratio: float = Field(default=0.2, ge=0.0, le=1.0)
    """A build that drops more than this share of its samples stops."""


class Render(_Section):
    """What the packs hold of an image."""

    payload: Literal["source", "pixels"] = "pixels"
    """`pixels` = resized and encoded; `source` = the file's bytes untouched (frames of a video are
    always pixels).
    """
    codec: Literal["jpeg", "webp", "png"] = "jpeg"


class Pack(_Section):
    """How samples become packs and packs become shards."""

    mode: Literal["tokens"] = "tokens"
    max_tokens: int = Field(default=8192, ge=16, le=2**24)
    lanes: int = Field(default=2, ge=1, le=4096)
    target_shard_mb: int = Field(default=256, ge=1, le=16384)

    @field_validator("lanes")
    @classmethod
    def _power_of_two(cls, lanes: int) -> int:
        if lanes & (lanes - 1):
            raise ValueError("must be a power of two")
        return lanes


class Output(_Section):
    """Where the data set lies; no part of any digest."""

    path: Path
    cache: Path | None = None
    """Tables and rendered payloads, to build again without doing again; by default `.cache` in
    `path`.
    """


class Recipe(_Section):
    """A whole recipe."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    seed: int = Field(default=0, ge=0, lt=2**63)
    sources: tuple[Source, ...] = Field(min_length=1)
    text: TextConfig = TextConfig()
    select: Select = Select()
    policy: tuple[PolicyConfig, ...] = Field(min_length=1, max_length=1)
    render: Render = Render()
    pack: Pack = Pack()
    output: Output

    @model_validator(mode="after")
    def _unique_sources(self) -> Recipe:
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"source names must differ, got {names}")
        return self


def load_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file; relative paths in it are relative to the working directory.

    Raises RecipeError, one line naming the file, the key and the allowed values.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explain_all(error)}") from None
    return _absolute(recipe, Path.cwd())


def load_policy(kind: str, settings: Sequence[str]) -> Policy:
    """A policy by its kind and `key=value` settings, values as in TOML. Raises RecipeError."""
    raw: dict[str, object] = {"kind": kind}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise RecipeError(f"--set {setting}: expected key=value")
        try:
            raw[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            raw[key] = value
    try:
        return TypeAdapter[Policy](PolicyConfig).validate_python(raw)
    except ValidationError as error:
        raise RecipeError(_explain_all(error, "policy", 0)) from None


def _explain_all(error: ValidationError, *section: str | int) -> str:
    """The faults of a recipe, or of this section of one, in one line."""
    faults = [{**fault, "loc": (*section, *fault["loc"])} for fault in error.errors()]
    # a fault inside the only entry of a list makes pydantic say that the list is too short
    inner = [fault for fault in faults if fault["type"] != "too_short"]
    return "; ".join(_explain(fault) for fault in (inner or faults)[:5])


def _explain(fault: object) -> str:
    """One pydantic fault as `key: what is wrong (allowed: …)`."""
    assert isinstance(fault, dict)
    if not fault["loc"]:  # of the whole recipe
        return str(fault["msg"]).removeprefix("Value error, ")
    tagged = fault["loc"][0] == "policy" and len(fault["loc"]) > 2
    keys = fault["loc"][:2] + fault["loc"][3:] if tagged else fault["loc"]  # without the kind
    place = ".".join(map(str, keys))
    if fault["type"] == "extra_forbidden":
        return f"{place}: unknown key (allowed: {', '.join(_allowed(fault['loc']))})"
    if fault["type"] == "union_tag_invalid":
        context = fault["ctx"]
        return (
            f"{place}.kind: unknown policy {context['tag']!r} (allowed: {context['expected_tags']})"
        )
    if fault["type"] == "union_tag_not_found":
        return f"{place}.kind: missing; names the policy"
    return f"{place}: {fault['msg'].removeprefix('Value error, ')} (got {fault['input']!r})"[:500]


def _allowed(place: tuple[int | str, ...]) -> list[str]:
    """The keys that the section around an unknown key may have."""
    members: tuple[type[BaseModel], ...] = get_args(get_args(PolicyConfig)[0])
    policies = {model.model_fields["kind"].default: model for model in members}
    sections: dict[str, type[BaseModel]] = {
        "sources": Source,
        "text": TextConfig,
        "select": Select,
        "render": Render,
        "pack": Pack,
        "output": Output,
    }
    if len(place) == 1:
        model: type[BaseModel] = Recipe
    elif place[0] == "policy":
        model = policies[str(place[2])]
    else:
        model = sections[str(place[0])]
    return list(model.model_fields)


def _absolute(recipe: Recipe, folder: Path) -> Recipe:
    sources = tuple(
        source.model_copy(
            update={
                "path": folder / source.path,
                "root": folder / source.root if source.root else (folder / source.path).parent,
            }
        )
        for source in recipe.sources
    )
    tokenizer = folder / recipe.text.tokenizer
    if recipe.text.tokenizer != "bytes" and tokenizer.is_dir():  # else a hub id
        text = recipe.text.model_copy(update={"tokenizer": str(tokenizer)})
        recipe = recipe.model_copy(update={"text": text})
    output = folder / recipe.output.path
    cache = folder / recipe.output.cache if recipe.output.cache else output / ".cache"
    return recipe.model_copy(
        update={"sources": sources, "output": Output(path=output, cache=cache)}
    )
