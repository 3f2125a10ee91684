"""Many media, block by block: what a policy computes on the way then stays in the cache.

A million pictures at once take up to twice as long, for memory that is fetched and given back.
"""

from collections.abc import Iterator

BLOCK = 1 << 15
"""Media; from 2**13 to 2**16 it hardly matters."""


def blocks(count: int) -> Iterator[slice]:
    """Slices that cover so many media in order; an empty one where there are none."""
    for start in range(0, max(count, 1), BLOCK):
        yield slice(start, start + BLOCK)
