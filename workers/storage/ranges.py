"""Byte ranges of one file as few requests, and their bytes out of the answers.

Ranges are sorted; a gap below GAP_BYTES is read through, as a request takes longer than the bytes.
Requests are of REQUEST_BYTES to twice that, or all there is: small enough that a broken one costs
little and several run at once, and never more than one for 8 MiB of a long range.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

GAP_BYTES = 1 << 20
REQUEST_BYTES = 8 << 20

Span = tuple[int, int]
"""First byte, and the one after the last."""


def cut(start: int, stop: int) -> list[Span]:
    """One range as requests of nearly equal size. 20 MiB are 2 requests, 12 MiB are one."""
    size = stop - start
    if size <= 0:
        return []
    count = max(1, size // REQUEST_BYTES)
    bounds = [start + size * number // count for number in range(count + 1)]
    return list(pairwise(bounds))


def requests(ranges: Sequence[tuple[int, int]]) -> list[Span]:
    """The requests that together hold all ranges (offset, size), in the order of the file.

    With gaps below 3 read through, (0, 3), (5, 2), (10, 1) gives [0, 7), [10, 11).
    """
    runs: list[Span] = []
    for offset, size in sorted(ranges):
        if size <= 0:
            continue
        if runs and offset - runs[-1][1] < GAP_BYTES:
            runs[-1] = runs[-1][0], max(runs[-1][1], offset + size)
        else:
            runs.append((offset, offset + size))
    return [span for run in runs for span in cut(*run)]


def slices(
    ranges: Sequence[tuple[int, int]], spans: Sequence[Span], answers: Sequence[bytearray]
) -> Iterator[bytes]:
    """The bytes of each range, in their order, out of the answers to their requests."""
    starts = [start for start, _ in spans]
    views = [memoryview(answer) for answer in answers]
    for offset, size in ranges:
        pieces = []
        number = bisect_right(starts, offset) - 1
        while size > 0 and number < len(spans):
            begin = offset - starts[number]
            piece = views[number][begin : begin + size]
            if not len(piece):  # the file ends here
                break
            pieces.append(piece)
            offset, size, number = offset + len(piece), size - len(piece), number + 1
        yield b"".join(pieces)
