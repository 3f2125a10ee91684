"""Texts that a policy writes around the frames of a video, such as InternVL's `Frame1: `, as token
ids.

A video of r runs of vision tokens has r + 1 texts: one before each run and one after the last.
Other media have r + 1 empty ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from schemas.columns import Ints


class FrameText:
    """Encodes and remembers the texts of one policy; `{i}` in the prefix is the frame's number from
    1.
    """

    def __init__(self, prefix: str, suffix: str, encode: Callable[[str], Sequence[int]]) -> None:
        self._prefix, self._suffix, self._encode = prefix, suffix, encode
        self._before: list[list[int]] = []
        self._after = list(encode(suffix)) if suffix else []

    def texts(self, runs: int, video: bool) -> list[list[int]]:
        """The r + 1 lists of token ids around the runs of one item."""
        if not video or not (self._prefix or self._suffix):
            return [[] for _ in range(runs + 1)]
        while len(self._before) < runs:
            number = len(self._before) + 1
            text = self._prefix.format(i=number)
            self._before.append(list(self._encode(text if number == 1 else self._suffix + text)))
        return [*self._before[:runs], self._after]

    def count(self, runs: Ints, video: Ints) -> Ints:
        """Tokens in the texts of each item."""
        counts = np.zeros(len(runs), np.int64)
        for number in np.unique(runs[video]).tolist():
            counts[video & (runs == number)] = sum(map(len, self.texts(number, video=True)))
        return counts
