"""The list of what is to be taken down: sample ids and sha256 of files, one a line."""

from __future__ import annotations

import re
from dataclasses import dataclass

from schemas.errors import RecipeError
from workers.storage.folder import folder_of

_SHA256 = re.compile("[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class TakeDownList:
    """Ids of samples; digests of media and depth maps."""

    ids: frozenset[str] = frozenset()
    sha256: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.ids or self.sha256)


def read_list(path: str | None) -> TakeDownList:
    """The list in a file, local or s3://; blank lines and lines with `#` first are passed over.

    Raises RecipeError where the file cannot be read: a list that is lost takes nothing down.
    """
    if path is None:
        return TakeDownList()
    base, slash, name = path.rpartition("/")
    try:
        text = folder_of(base or slash).read_whole(name).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise RecipeError(f"select.take_down: {path}: {reason or error}") from error
    # ids may hold any space but not a line end: what splitlines() takes for one is a letter here
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    names = {line for line in lines if line.strip() and not line.startswith("#")}
    names |= {line.strip() for line in names}
    digests = {name for name in names if _SHA256.fullmatch(name)}
    return TakeDownList(frozenset(names - digests), frozenset(map(str.lower, digests)))
