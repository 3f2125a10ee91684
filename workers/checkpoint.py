"""A whole checkpoint in transformers' format: found by directory or hub id, and told apart by the
contents of its files. Weights are safetensors alone: the older format is a pickle.
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from pathlib import Path

from schemas.digest import spec_digest
from schemas.errors import RecipeError

_PATTERNS = ("*.json", "*.jinja", "*.model", "*.safetensors", "*.txt")
_CHUNK = 1 << 24


def checkpoint(name: str, key: str) -> Path:
    """The directory of a checkpoint; that of a hub id is fetched first.

    Raises RecipeError naming `key`, the place in the recipe, for what is neither or has no weights.
    """
    path = Path(name).expanduser()
    if not path.is_dir():
        if name.startswith((".", "~", "/")) or name.count("/") != 1 or path.exists():
            raise RecipeError(f'{key} = "{name}" is no directory and no hub id')
        path = _fetched(name, key)
    for wanted in ("config.json", "*.safetensors"):
        if not any(path.glob(wanted)):
            raise RecipeError(f'{key} = "{name}": {path} has no {wanted}')
    return path


def checkpoint_digest(directory: Path) -> str:
    """Of the names and contents of its files; one that stays as it is is read once a process."""
    files = {file for pattern in _PATTERNS for file in directory.glob(pattern) if file.is_file()}
    return spec_digest({file.name: _digest(file, *_state(file)) for file in files})


@cache
def _fetched(name: str, key: str) -> Path:
    """Asked for once, so that a build sees one commit of it."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=[*_PATTERNS]))
    except Exception as error:  # its errors share no base: HTTP, validation, offline, cache
        why = " ".join(str(error).split())[:300]
        what = f'{key} = "{name}" is no directory'
        raise RecipeError(f"{what}, and as a hub id it cannot be had: {why}") from error


def _state(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=4096)
def _digest(file: Path, size: int, modified_ns: int) -> str:
    del size, modified_ns  # of another file
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
