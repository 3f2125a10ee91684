"""The files of a tower: found, and told apart by their content without loading them.

A checkpoint of a whole model has its tower under some prefix; it is where the tower's patch
embedding lies. Only the tower's tensors count, so models that share a frozen tower share features.
Weights are read from safetensors alone: the older format is a pickle.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from schemas.digest import spec_digest
from schemas.errors import RecipeError

ANCHORS = (
    "embeddings.patch_embedding.weight",  # CLIP, SigLIP, SigLIP 2
    "embeddings.patch_embeddings.projection.weight",  # InternViT
    "patch_embed.proj.weight",  # Qwen
)
"""The names that the patch embedding has inside its tower."""

_MAX_HEADER = 1 << 27
_CHUNK = 1 << 24
_INDEX = "model.safetensors.index.json"
_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json", _INDEX)
_SHAPING = ("image_size", "size", "image_mean", "image_std", "patch_size", "merge_size")


@dataclass(frozen=True)
class Tensor:
    """One tensor of the tower in a file."""

    name: str  # inside the tower
    stored_name: str
    file: Path
    offset: int
    size: int
    kind: str  # dtype and shape


def model_directory(name: str) -> Path:
    """The directory of a checkpoint; that of a hub id is fetched first.

    Raises RecipeError for what is neither, or cannot be had.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name.startswith((".", "~", "/")) or name.count("/") != 1 or path.exists():
        raise RecipeError(f'render.encoder.model = "{name}" is no directory and no hub id')
    return _fetched(name)


@cache
def _fetched(name: str) -> Path:
    """The directory of a hub id; asked for once, so that a build sees one commit of it."""
    from huggingface_hub import snapshot_download

    try:
        settings = Path(snapshot_download(name, allow_patterns=[*_SETTINGS]))
        weights = _files_of_tower(read_json(settings, _INDEX))
        return Path(snapshot_download(name, allow_patterns=[*_SETTINGS, *weights]))
    except RecipeError:
        raise
    except Exception as error:  # its errors share no base: HTTP, validation, offline, cache
        why = " ".join(str(error).split())[:300]
        what = f'render.encoder.model = "{name}" is no directory'
        raise RecipeError(f"{what}, and as a hub id it cannot be had: {why}") from error


def _files_of_tower(index: Mapping[str, Any]) -> list[str]:
    """Patterns of the files to fetch: of a large model those with the tower's tensors alone."""
    places = index.get("weight_map")
    if not isinstance(places, dict):
        return ["*.safetensors"]
    prefixes = tuple(_prefixes(places))
    return sorted({str(file) for name, file in places.items() if name.startswith(prefixes)})


def _prefixes(names: Iterable[str]) -> list[str]:
    """What stands before the patch embeddings of towers."""
    found = {
        name.removesuffix(anchor) for name in names for anchor in ANCHORS if name.endswith(anchor)
    }
    return sorted(found)


def tower_tensors(directory: Path) -> list[Tensor]:
    """Of the tower, by name. Raises RecipeError where there is no tower, or several."""
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise RecipeError(f"{directory} holds no weights: no *.safetensors")
    found = [one for file in files for one in _tensors(file)]
    prefixes = _prefixes(one.stored_name for one in found)
    if len(prefixes) != 1:
        what = f"several towers, under {prefixes}" if prefixes else "no vision tower that is known"
        raise RecipeError(f"{directory} holds {what}")
    prefix = prefixes[0]
    mine = [
        Tensor(
            name=one.stored_name.removeprefix(prefix),
            stored_name=one.stored_name,
            file=one.file,
            offset=one.offset,
            size=one.size,
            kind=one.kind,
        )
        for one in found
        if one.stored_name.startswith(prefix)
    ]
    return sorted(mine, key=lambda one: one.name)


def _tensors(file: Path) -> Iterator[Tensor]:
    """Those of one safetensors file."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if length > _MAX_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(opened.read(length))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            kind = f"{entry['dtype']}{entry['shape']}"
            yield Tensor(name, name, file, 8 + length + start, end - start, kind)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise RecipeError(f"{file} is no safetensors file: {error}") from error


def read_json(directory: Path, name: str) -> dict[str, Any]:
    """A JSON file of the checkpoint; empty where there is none. Raises RecipeError naming it."""
    path = directory / name
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise RecipeError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise RecipeError(f"{path} holds no object")
    return found


def processor_settings(directory: Path) -> Mapping[str, Any]:
    """Of the image processor, wherever a version of transformers keeps them."""
    own = read_json(directory, "preprocessor_config.json")
    inside = read_json(directory, "processor_config.json").get("image_processor")
    return own or (inside if isinstance(inside, dict) else {})


def tower_digest(model: str) -> str:
    """Over the tower's tensors, its configuration and its normalisation; not over where they lie.

    Raises RecipeError naming what is missing or damaged.
    """
    directory = model_directory(model)
    if not (directory / "config.json").is_file():
        raise RecipeError(f"{directory} holds no model: no config.json")
    files = [*directory.glob("*.json"), *directory.glob("*.safetensors")]
    stats = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return _digest(directory, tuple(stats))


@lru_cache(maxsize=8)
def _digest(directory: Path, stats: tuple[tuple[str, int, int], ...]) -> str:
    """Kept as long as the files have these sizes and times."""
    del stats
    config = read_json(directory, "config.json")
    settings = processor_settings(directory)
    tensors = {}
    for one in tower_tensors(directory):
        tensors[one.name] = [one.kind, _sha256(one)]
    return spec_digest(
        {
            "config": config.get("vision_config", config),
            "downsample_ratio": config.get("downsample_ratio"),
            "processor": {name: settings.get(name) for name in _SHAPING},
            "tensors": tensors,
        }
    )


def _sha256(tensor: Tensor) -> str:
    digest = hashlib.sha256()
    with tensor.file.open("rb") as file:
        file.seek(tensor.offset)
        left = tensor.size
        while left:
            data = file.read(min(left, _CHUNK))
            if not data:
                raise RecipeError(f"{tensor.file} is cut short: {tensor.stored_name} is not whole")
            digest.update(data)
            left -= len(data)
    return digest.hexdigest()
