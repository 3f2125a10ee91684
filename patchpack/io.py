"""How a reader reads: threads, the cache, transfers. Nothing of it changes what comes, or when."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from patchpack.chunks import REMOTE_CHUNK_PACKS
from patchpack.transfer import Retry


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/patchpack`, by default `~/.cache/patchpack`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "patchpack"


@dataclass(frozen=True, slots=True)
class IO:
    """Settings of an iteration; what is local is never copied to the cache."""

    threads: int = 2
    """That read ahead; 0 reads each pack when it is asked for."""
    prefetch: int = 16
    """Packs that they may be ahead, at most 128."""
    cache: str | Path | None = None
    """Folder for what comes from remote places; None: `default_cache()`."""
    cache_bytes: int = 32 << 30
    """What the cache holds at most, beside what is being read. A cache may be shared."""
    retry: Retry = field(default=Retry())

    def __post_init__(self) -> None:
        """Raises ValueError for settings that cannot be."""
        if self.threads < 0 or not 1 <= self.prefetch <= REMOTE_CHUNK_PACKS or self.cache_bytes < 0:
            wanted = f"threads >= 0, prefetch from 1 to {REMOTE_CHUNK_PACKS}, cache_bytes >= 0"
            raise ValueError(f"{self}: expected {wanted}")
