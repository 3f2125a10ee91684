"""Tokenizer directories: which one a recipe names, and the digest of what shapes its ids.

Hashes files instead of loading them: a build with nothing to do must not import transformers (6 s).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from schemas.digest import spec_digest
from schemas.errors import RecipeError

_SHAPING = (
    "added_tokens.json",
    "additional_chat_templates/*",
    "chat_template.*",
    "config.json",  # chooses the tokenizer's class where tokenizer_config.json does not
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.*",
    "*.model",
    "*.tiktoken",
)


def tokenizer_directory(name: str) -> Path | None:
    """The directory that the recipe means, or None for a hub id (`name` or `owner/name`).

    Raises RecipeError for a path that does not exist.
    """
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if name.startswith((".", "~", "/")) or name.count("/") > 1 or not name or path.exists():
        raise RecipeError(f'text.tokenizer = "{name}" is no directory and no hub id')
    return None


def directory_digest(directory: Path) -> str:
    """sha256 over the names and contents of the files that shape ids or the chat template."""
    found = {path for pattern in _SHAPING for path in directory.glob(pattern) if path.is_file()}
    if not found:
        raise RecipeError(
            f"{directory} holds no tokenizer: no tokenizer.json, vocabulary or model file"
        )
    return spec_digest(
        {
            path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in found
        }
    )
