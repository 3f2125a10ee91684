"""The features of a block in one container: decoded by threads, encoded in batches by budget,
written in source order.

Views are taken in windows, so that those of like size share a batch. While a batch is computed the
next one is made ready, and threads decode what comes after; a batch that the device has no room
for is computed in halves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import local

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from schemas.errors import BuildError
from workers.cameras import XYZ
from workers.durable import whole_file
from workers.encoders.config import EncoderConfig
from workers.encoders.item_views import misfit, views_of
from workers.encoders.patching import View, batches_of
from workers.encoders.tower import Pending, Rows, Tower
from workers.faults import Fault
from workers.media_files import MediaFiles
from workers.payload_writer import PayloadWriter
from workers.payloads import (
    RenderJob,
    Wanted,
    index_of_rows,
    places_of,
    wanted_of,
)

WINDOW = 4
"""Batches whose views are sorted together."""
_WINDOW_ITEMS = 512
_AHEAD = 2
"""Batches that are under way at once."""

_NO_ROWS = Rows(np.zeros((0, 0), np.uint8), None)

Made = list[View] | bytes | Fault
"""What a thread makes of a payload: views, the places of patches, or a fault."""


@dataclass
class Encoded:
    """A block's index, and how it was made."""

    index: pa.Table
    halved: int
    """Batches that were computed in halves."""
    patches: int


class BlockEncoder:
    """A tower with its decoding threads: what an actor holds."""

    def __init__(self, config: EncoderConfig, threads: int) -> None:
        self.tower = Tower(config)
        self._config, self._threads = config, threads
        if config.device == "cpu":
            torch.set_num_threads(threads)

    def __call__(self, job: RenderJob, container: Path) -> Encoded:
        """Write the container file, whole or not at all.

        Raises BuildError for views that the tower does not take, before anything is decoded.
        """
        wanted = wanted_of(job)
        self._check(wanted)
        run = _Run(self.tower, self._config.max_patches)
        with ExitStack() as stack:
            writer = PayloadWriter(stack.enter_context(whole_file(container)))
            stack.enter_context(writer)
            decoded = stack.enter_context(_Decoding(job, self.tower, self._threads))
            kind = f"{self._config.stored}/{self.tower.shape.width}"
            for window in _windows(decoded(wanted), self._config.max_patches):
                run.start(window)
                for done in run.finished():
                    self._write(writer, kind, done)
            run.last()
            for done in run.finished():
                self._write(writer, kind, done)
        return Encoded(index_of_rows(writer.rows), run.halved, run.patches)

    def _write(self, writer: PayloadWriter, kind: str, done: _Waiting) -> None:
        one, made = done.one, done.made
        if isinstance(made, Fault):
            writer.fault(one, made)
        elif isinstance(made, bytes):
            writer.add(one, 0, [made], XYZ, None)
        else:
            parts = _parts(one, done.rows, kind, self.tower.shape.levels)
            for number, (data, form) in enumerate(parts):
                writer.add(one, number, data, form, self.tower.device_name)

    def _check(self, wanted: Sequence[Wanted]) -> None:
        for one in wanted:
            if one.is_xyz:
                continue
            geometry = one.item.geometry
            if problem := misfit(geometry, self.tower.shape):
                what = f"the tower {problem} ({geometry.policy}, {one.item.source.path})"
                raise BuildError(f"render.encoder.model: {what}")
            most = max(rows * columns for _, rows, columns in geometry.grid_thw)
            if (patches := len(geometry.kept_patches) or most) > self._config.max_patches:
                what = f"{one.item.source.path} has a view of {patches} patches"
                raise BuildError(f"render.encoder.max_patches: {what}; raise it to that")


def _parts(
    one: Wanted, rows: Sequence[Rows], kind: str, levels: int
) -> Iterator[tuple[list[memoryview], str]]:
    """One for each grid, and of int8 another with its scales."""
    frames = (
        [1] if one.item.geometry.kept_patches else [t for t, _, _ in one.item.geometry.grid_thw]
    )
    first = 0
    for count in frames:
        mine = rows[first : first + count]
        first += count
        yield [_bytes(part.data) for part in mine], kind
        scales = [_bytes(part.scales) for part in mine if part.scales is not None]
        if scales:
            yield scales, f"bfloat16/{levels}"


def _bytes(rows: npt.NDArray[np.uint8]) -> memoryview:
    return rows.reshape(-1).data


class _Decoding:
    """Payloads as their files hold them, made by threads, in order, some ahead of who asks."""

    def __init__(self, job: RenderJob, tower: Tower, threads: int) -> None:
        self._job, self._shape, self._threads = job, tower.shape, threads
        self._mine = local()
        self._opened: list[MediaFiles] = []

    def __enter__(self) -> Callable[[Sequence[Wanted]], Iterator[tuple[Wanted, Made]]]:
        self._pool = ThreadPoolExecutor(self._threads)
        return self._all

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for files in self._opened:
            files.close()

    def _all(self, wanted: Sequence[Wanted]) -> Iterator[tuple[Wanted, Made]]:
        left = iter(wanted)
        ahead: deque[tuple[Wanted, Future[Made]]] = deque()
        while True:
            # a thread makes one while two wait: pixels of more would only take memory
            while len(ahead) < 3 * self._threads and (one := next(left, None)):
                ahead.append((one, self._pool.submit(self._make, one)))
            if not ahead:
                return
            one, future = ahead.popleft()
            yield one, future.result()

    def _make(self, one: Wanted) -> Made:
        if not hasattr(self._mine, "files"):
            self._mine.files = MediaFiles(*self._job.place)
            self._opened.append(self._mine.files)
        try:
            if one.is_xyz:
                return next(iter(places_of(one.item, self._mine.files)))[0]
            return views_of(one.item, self._mine.files, self._job.config.resampler, self._shape)
        except Fault as fault:
            return fault


def _windows(
    made: Iterator[tuple[Wanted, Made]], max_patches: int
) -> Iterator[list[tuple[Wanted, Made]]]:
    """Neighbours, until their patches fill some batches: one at first, so that the device need not
    wait for the pixels of more.
    """
    window: list[tuple[Wanted, Made]] = []
    patches, batches = 0, 1
    for one, what in made:
        window.append((one, what))
        patches += sum(view.patches for view in what) if isinstance(what, list) else 0
        if patches >= batches * max_patches or len(window) == _WINDOW_ITEMS:
            yield window
            window, patches, batches = [], 0, min(2 * batches, WINDOW)
    if window:
        yield window


@dataclass
class _Waiting:
    """A payload that waits for the rows of its views."""

    one: Wanted
    made: Made
    missing: int
    rows: list[Rows]


@dataclass
class _Run:
    """Batches under way, and payloads in source order that wait for them."""

    tower: Tower
    max_patches: int
    halved: int = 0
    patches: int = 0
    _under_way: deque[tuple[Pending, list[tuple[_Waiting, int]]]] = field(default_factory=deque)
    _waiting: deque[_Waiting] = field(default_factory=deque)

    def start(self, window: Sequence[tuple[Wanted, Made]]) -> None:
        """Hand a window's batches to the device; waits where there are too many under way."""
        places: list[tuple[_Waiting, int]] = []
        views: list[View] = []
        for one, made in window:
            mine = made if isinstance(made, list) else []
            waiting = _Waiting(one, made, len(mine), [_NO_ROWS] * len(mine))
            self._waiting.append(waiting)
            places += [(waiting, number) for number in range(len(mine))]
            views += mine
        counts = [view.patches for view in views]
        self.patches += sum(counts)
        for batch in batches_of(counts, self.max_patches):
            self._launch([views[n] for n in batch], [places[n] for n in batch])

    def _launch(self, views: list[View], places: list[tuple[_Waiting, int]]) -> None:
        while len(self._under_way) >= _AHEAD:
            self._take()
        try:
            self._under_way.append((self.tower.launch(views), places))
            return
        except torch.OutOfMemoryError:
            self.last()
            torch.cuda.empty_cache()
            if len(views) == 1:
                what = f"{self.tower.device_name} has no room for one view"
                raise BuildError(f"{what} of {views[0].patches} patches") from None
        self.halved += 1
        middle = len(views) // 2
        for half in (slice(middle), slice(middle, None)):
            self._launch(views[half], places[half])

    def _take(self) -> None:
        pending, places = self._under_way.popleft()
        for (waiting, number), rows in zip(places, pending.result(), strict=True):
            waiting.rows[number] = rows
            waiting.missing -= 1

    def last(self) -> None:
        """Wait for everything that is under way."""
        while self._under_way:
            self._take()

    def finished(self) -> Iterator[_Waiting]:
        """Payloads that are whole, up to the first one that is not."""
        while self._waiting and not self._waiting[0].missing:
            yield self._waiting.popleft()
