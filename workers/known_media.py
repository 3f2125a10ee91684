"""Reading media that the survey has measured: what is not as it was then stops the build."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from schemas.errors import BuildError
from workers.faults import Fault
from workers.media_files import MediaFiles


def read_known(files: MediaFiles, path: str, offset: int, size: int) -> bytes:
    """The bytes of a range that was there. Raises BuildError where it is not any more."""
    try:
        return files.read(path, offset, size)
    except Fault as fault:
        what = f"{fault.message}; the file changed while the build read it, build again"
        raise BuildError(what) from fault


def check_unchanged(path: str, chunks: Iterable[bytes | memoryview], sha256: str) -> None:
    """Raises BuildError unless these bytes of a file have the digest that the survey found."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise BuildError(f"{path} changed while the build read it; build again")
