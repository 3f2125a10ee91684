"""A recipe from its file: a fault is one line that names the key and what is allowed."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from pipelines.auto_policy import of_checkpoint, with_checkpoints
from pipelines.pack_recipe import Pack
from pipelines.policies import PolicyConfig, policy_kinds
from pipelines.recipe import (
    Output,
    Recipe,
    Render,
    Source,
    SourceOptions,
    Split,
)
from pipelines.select_recipe import Dedup, Select
from schemas.errors import RecipeError
from workers.captioning.config import Caption, WhenSignal
from workers.encoders.config import EncoderConfig
from workers.match import Match
from workers.policies.protocol import Policy
from workers.signals.model_config import ClassificationSignal, SimilaritySignal
from workers.text_config import TextConfig


def load_recipe(path: Path, policy: str | None = None) -> Recipe:
    """The recipe in a TOML file; relative paths in it are relative to the working directory.

    With `policy`, written `kind?key=value&key=value`, that one stands in place of its own.

    Raises RecipeError, one line naming the file, the key and the allowed values.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    if policy is not None:
        if raw.get("policy") == "auto":
            raw.pop("checkpoint", None)
        kind, _, settings = policy.partition("?")
        raw["policy"] = [
            policy_settings(kind, [one for one in settings.split("&") if one], f"policy {kind}:")
        ]
    try:
        recipe = Recipe.model_validate(with_checkpoints(raw, path))
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explain_all(error)}") from None
    return _absolute(_with_regions(_with_family(recipe, path)), Path.cwd())


def load_policy(kind: str, settings: Sequence[str]) -> Policy:
    """A policy by its kind and `key=value` settings, values as in TOML. Raises RecipeError."""
    raw = of_checkpoint(policy_settings(kind, settings, "--set"), "--set checkpoint")
    try:
        return TypeAdapter[Policy](PolicyConfig).validate_python(raw)
    except ValidationError as error:
        raise RecipeError(_explain_all(error, "policy", 0, "policy")) from None


def policy_settings(kind: str, settings: Sequence[str], where: str) -> dict[str, object]:
    """Kind and settings as a recipe has them.

    Raises RecipeError for what is no `key=value`, with `where` before it.
    """
    raw: dict[str, object] = {"kind": kind}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise RecipeError(f"{where} {setting}: expected key=value")
        try:
            raw[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            raw[key] = value
    return raw


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
    nested = fault["loc"][2:3] in (("policy",), ("options",))
    # as it is written: the keys of a kind stand beside the others, and the kind is no key
    keys = fault["loc"][:2] + fault["loc"][4:] if nested else fault["loc"]
    if fault["loc"][0] == "signal":
        keys = fault["loc"][:2] + fault["loc"][3:]
    place = ".".join(map(str, keys))
    if fault["type"] == "extra_forbidden":
        return f"{place}: unknown key (allowed: {', '.join(_allowed(fault['loc']))})"
    if fault["type"] == "union_tag_invalid":
        context = fault["ctx"]
        return (
            f"{place}.kind: unknown {_SAID[keys[0]]} {context['tag']!r} "
            f"(allowed: {context['expected_tags']})"
        )
    if fault["type"] == "union_tag_not_found":
        return f"{place}.kind: missing; names the {_SAID[keys[0]]}"
    return f"{place}: {fault['msg'].removeprefix('Value error, ')} (got {fault['input']!r})"[:500]


_SAID = {"policy": "policy", "sources": "kind of source", "signal": "kind of signal"}


def _allowed(place: tuple[int | str, ...]) -> list[str]:
    """The keys that the section around an unknown key may have."""
    sections: dict[str, type[BaseModel]] = {
        "sources": Source,
        "text": TextConfig,
        "select": Select,
        "split": Split,
        "render": Render,
        "caption": Caption,
        "pack": Pack,
        "output": Output,
    }
    if len(place) == 1:
        return list(Recipe.model_fields)
    if place[0] == "signal":
        kinds: dict[str, type[BaseModel]] = {
            "similarity": SimilaritySignal,
            "classification": ClassificationSignal,
        }
        return list(kinds[str(place[2])].model_fields)
    if place[0] == "caption" and len(place) > 3:
        return list(WhenSignal.model_fields)
    if place[0] == "policy":
        if place[2] == "match":
            return list(Match.model_fields)
        return [*policy_kinds()[str(place[3])].model_fields, "match"]
    if place[:2] == ("select", "dedup"):
        return list(Dedup.model_fields)
    if place[:2] == ("render", "encoder"):
        return list(EncoderConfig.model_fields)
    if place[2:3] == ("options",):
        common = (name for name in Source.model_fields if name != "options")
        return [*common, *_source_kinds()[str(place[3])].model_fields]
    return list(sections[str(place[0])].model_fields)


def _source_kinds() -> dict[str, type[BaseModel]]:
    members: tuple[type[BaseModel], ...] = get_args(get_args(SourceOptions)[0])
    return {model.model_fields["kind"].default: model for model in members}


def _with_family(recipe: Recipe, path: Path) -> Recipe:
    """The family of the policies, where the recipe names none."""
    if "family" in recipe.text.model_fields_set:
        return recipe
    families = sorted({rule.policy.family for rule in recipe.policy})
    if len(families) > 1:
        raise RecipeError(f"{path}: text.family: the policies belong to {families}; choose one")
    text = recipe.text.model_copy(update={"family": families[0]})
    return recipe.model_copy(update={"text": text})


def _with_regions(recipe: Recipe) -> Recipe:
    """Boxes and points as the models of the policies write them, where the recipe does not say."""
    text = recipe.text.for_policies(rule.policy.kind for rule in recipe.policy)
    return recipe.model_copy(update={"text": text})


def _absolute(recipe: Recipe, folder: Path) -> Recipe:
    """Local paths, which are relative to this folder, made absolute."""

    def place(path: str) -> str:
        if "://" in path:
            return path
        end = "/" if path.endswith("/") else ""  # a folder that need not be there yet
        return os.path.normpath(folder / path) + end

    sources = tuple(
        source.model_copy(
            update={
                "path": place(source.path),
                "root": place(source.root) if source.root else None,
            }
        )
        for source in recipe.sources
    )
    tokenizer = folder / recipe.text.tokenizer
    if recipe.text.tokenizer != "bytes" and tokenizer.is_dir():  # else a hub id
        text = recipe.text.model_copy(update={"tokenizer": str(tokenizer)})
        recipe = recipe.model_copy(update={"text": text})
    encoder = recipe.render.encoder
    if encoder:
        model = encoder.model_copy(update={"model": _local(folder, encoder.model)})
        render = recipe.render.model_copy(update={"encoder": model})
        recipe = recipe.model_copy(update={"render": render})
    recipe = recipe.model_copy(
        update={
            "signal": tuple(
                one.model_copy(update={"model": _local(folder, one.model)}) for one in recipe.signal
            ),
            "caption": tuple(_captions_at(folder, one) for one in recipe.caption),
        }
    )
    lists = tuple(place(path) for path in recipe.select.benchmarks)
    select = recipe.select.model_copy(update={"benchmarks": lists})
    recipe = recipe.model_copy(update={"select": select})
    if recipe.select.take_down:
        select = recipe.select.model_copy(update={"take_down": place(recipe.select.take_down)})
        recipe = recipe.model_copy(update={"select": select})
    output = place(recipe.output.path)
    cache = place(recipe.output.cache) if recipe.output.cache else f"{output}/.cache"
    changed = {"path": output, "cache": cache}
    return recipe.model_copy(
        update={"sources": sources, "output": recipe.output.model_copy(update=changed)}
    )


def _captions_at(folder: Path, one: Caption) -> Caption:
    """A pass with its prompt, and a model that runs in the cluster, where they lie."""
    changed: dict[str, object] = {}
    if one.endpoint is None:
        changed["model"] = _local(folder, one.model)
    if one.prompt:
        changed["prompt"] = os.path.normpath(folder / one.prompt)
    return one.model_copy(update=changed)


def _local(folder: Path, model: str) -> str:
    """The absolute path of a directory; else it is a hub id."""
    return str(folder / model) if (folder / model).is_dir() else model
