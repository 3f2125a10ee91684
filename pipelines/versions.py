"""Versions of a data set in its folder: their manifests, and which one is published."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pydantic import ValidationError

from schemas.errors import ContractError
from schemas.manifest import FOLDER, POINTER, Manifest, manifest_name
from workers.storage.folder import Folder, folder_of

_MANIFEST = re.compile(rf"{re.escape(FOLDER)}/manifest-([0-9]{{6}})\.json")


def versions(root: Folder) -> list[int]:
    """The versions that exist, ascending."""
    found = (_MANIFEST.fullmatch(path) for path, _ in root.list(FOLDER))
    return sorted(int(match[1]) for match in found if match)


def current_version(root: Folder) -> int | None:
    """The published version, or None where nothing was published. Raises ContractError for a
    damaged pointer.
    """
    try:
        return int(json.loads(root.read_whole(POINTER))["version"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ContractError(f"{root.url}/{POINTER}: {error}") from error


def read_manifest(root: Folder | Path, version: int | None = None) -> Manifest:
    """A version of a data set, by default the published one. Raises ContractError
    naming the file.
    """
    folder = folder_of(root) if isinstance(root, Path) else root
    number = current_version(folder) if version is None else version
    if number is None:
        raise ContractError(f"{folder.url} holds no published data set")
    name = manifest_name(number)
    try:
        return Manifest.model_validate_json(folder.read_whole(name))
    except OSError as error:
        raise ContractError(f"{folder.url}/{name}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ContractError(f"{folder.url}/{name}: {place}: {first['msg']}") from error
