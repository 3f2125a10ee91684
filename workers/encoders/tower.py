"""A tower on its device: from views to rows as they are stored, a batch at a time.

`launch` hands a batch over and comes back; on a GPU the next one is made ready meanwhile. Pixels go
through pinned memory as bytes; patches are cut and normalised on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from schemas.errors import BuildError
from workers.encoders.attention import use_attention
from workers.encoders.config import EncoderConfig, Stored
from workers.encoders.fixed_tiles import FixedTiles
from workers.encoders.loading import DTYPES, load_model, tower_shape
from workers.encoders.native import NativeResolution
from workers.encoders.patching import Scale, View, patch_rows
from workers.encoders.quantized import quantized
from workers.encoders.qwen import QwenTower
from workers.encoders.shape import TowerShape

Bytes = npt.NDArray[np.uint8]


class _Forward(Protocol):
    """One family's computation."""

    def __call__(self, patches: torch.Tensor, views: Sequence[View]) -> torch.Tensor:
        """[rows, width] of normalised patches."""
        ...


@dataclass(frozen=True)
class Rows:
    """The rows of one view as bytes: uint8 [rows, bytes of a row], and for int8 those of their
    scales.
    """

    data: Bytes
    scales: Bytes | None


class Pending:
    """A batch that may still be computed."""

    def __init__(self, data: torch.Tensor, scales: torch.Tensor | None, rows: list[int]) -> None:
        self._rows = rows
        self._data = _to_host(data)
        self._scales = None if scales is None else _to_host(scales)
        self._done = torch.cuda.current_stream().record_event() if data.is_cuda else None

    def result(self) -> list[Rows]:
        """Of each view of the batch."""
        if self._done:
            self._done.synchronize()
        data = self._data.numpy()
        scales = None if self._scales is None else self._scales.numpy()
        ends = np.cumsum(self._rows)
        return [
            Rows(data[end - n : end], None if scales is None else scales[end - n : end])
            for n, end in zip(self._rows, ends.tolist(), strict=True)
        ]


class Tower:
    """A loaded tower. Raises RecipeError for files or settings that do not fit, BuildError for a
    device that is not there or lacks the dtype.
    """

    def __init__(self, config: EncoderConfig) -> None:
        check_device(config)
        self._one_by_one = Lock()
        self.shape: TowerShape = tower_shape(config)
        self._stored: Stored = config.stored
        self._device = torch.device(config.device)
        self._scale = Scale(self.shape, DTYPES[config.dtype], self._device)
        _, model = load_model(config)
        fixed = self.shape.family in ("clip", "siglip", "internvit")
        model = model.to(self._device)
        use_attention(model, config.attention, packed=not fixed)
        self._forward: _Forward
        if fixed:
            self._forward = FixedTiles(model, config, self.shape)
        elif self.shape.family in ("siglip_native", "siglip2"):
            self._forward = NativeResolution(model, config, self.shape)
        else:
            self._forward = QwenTower(model, config, self.shape)

    @property
    def device_name(self) -> str:
        """As the manifest has it."""
        if self._device.type == "cuda":
            return str(torch.cuda.get_device_name(self._device))
        return "cpu"

    def launch(self, views: Sequence[View]) -> Pending:
        """Start a batch. Raises torch.OutOfMemoryError where the device has no room for it.

        Two threads may encode blocks with one tower: while one writes, the other computes.
        """
        with self._one_by_one, torch.inference_mode():
            hidden = self.forward(self.patches(views), views)
            data, scales = quantized(hidden, self._stored, self.shape.levels)
            return Pending(data, scales, [self.shape.rows(view.patches) for view in views])

    def forward(self, patches: torch.Tensor, views: Sequence[View]) -> torch.Tensor:
        """[rows, width] in the dtype of the tower, of normalised patches on its device."""
        with torch.inference_mode():
            return self._forward(patches, views)

    def patches(self, views: Sequence[View]) -> torch.Tensor:
        """Normalised patches of the views, on the device."""
        pixels = [torch.from_numpy(view.pixels) for view in views]
        if self._device.type == "cuda":
            pixels = self._moved(pixels)
        rows = [patch_rows(p, v, self.shape) for p, v in zip(pixels, views, strict=True)]
        return self._scale(torch.cat(rows))

    def _moved(self, pixels: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """To the device in one piece."""
        sizes = [one.numel() for one in pixels]
        staged = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=True)
        torch.cat([one.reshape(-1) for one in pixels], out=staged)
        there = staged.to(self._device, non_blocking=True)
        parts = torch.split(there, sizes)
        return [part.view(one.shape) for part, one in zip(parts, pixels, strict=True)]


def check_device(config: EncoderConfig) -> None:
    """Raises BuildError where the device is not there, or does not compute in the dtype."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise BuildError('render.encoder.device = "cuda": this machine has no CUDA device')
    if (config.device, config.dtype) == ("cuda", "bfloat16"):
        major, minor = torch.cuda.get_device_capability()
        if major < 8:
            what = f"{torch.cuda.get_device_name()} (compute capability {major}.{minor})"
            raise BuildError(f"render.encoder.dtype: {what} has no bfloat16; take float16")
    try:
        probe = torch.ones((1, 1, 2, 8), dtype=DTYPES[config.dtype], device=config.device)
        torch.nn.functional.layer_norm(probe @ probe.transpose(2, 3), (2,))
    except RuntimeError as error:
        what = f'device = "{config.device}" does not compute in {config.dtype}'
        raise BuildError(f"render.encoder: {what}: {error}") from error


def _to_host(data: torch.Tensor) -> torch.Tensor:
    """As bytes [rows, bytes of a row], in pinned memory where it comes from a GPU."""
    flat = data.contiguous().view(torch.uint8)
    if not flat.is_cuda:
        return flat
    there = torch.empty(flat.shape, dtype=torch.uint8, pin_memory=True)
    return there.copy_(flat, non_blocking=True)
