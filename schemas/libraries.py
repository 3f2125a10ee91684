"""Versions of the libraries that shape bytes, for specs and the manifest."""

from functools import cache
from importlib import metadata


@cache
def version(library: str) -> str:
    """The installed version; looked up once, since that parses a file."""
    return metadata.version(library)
