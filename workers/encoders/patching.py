"""Pictures as rows of patches, on whatever device they lie.

Rows have the order that the tower's patch embedding takes: those of `patchpack.patches` with the
channels first, or the channels last as in SigLIP 2. Pixels stay bytes until the last step, so that
a byte a value moves to the device. Source of the orders: transformers image_processing_qwen2_vl.py,
image_processing_siglip2.py (`convert_image_to_patches`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from workers.encoders.shape import TowerShape


@dataclass(frozen=True, eq=False)
class View:
    """What the tower sees at once: uint8 [T, H, W, 3] of one picture, or of the frames that make
    one temporal patch; its rows and columns of patches; of them the row-major numbers of those that
    are kept, where the policy drops others.
    """

    pixels: npt.NDArray[np.uint8]
    rows: int
    columns: int
    kept: npt.NDArray[np.int64] | None = None

    @property
    def patches(self) -> int:
        """Patches that the tower computes."""
        return self.rows * self.columns if self.kept is None else len(self.kept)


def patch_rows(pixels: torch.Tensor, view: View, shape: TowerShape) -> torch.Tensor:
    """uint8 [patches, 3 * temporal_patch_size * P * P] of uint8 [T, H, W, 3]."""
    size, block = shape.patch_size, shape.merge
    used = pixels[:, : view.rows * size, : view.columns * size]
    if len(used) < shape.temporal_patch_size:
        used = used.expand(shape.temporal_patch_size, *used.shape[1:])
    split = used.reshape(
        *(len(used), view.rows // block, block, size),
        *(view.columns // block, block, size, 3),
    )
    # frames, block rows, rows in it, y, block columns, columns in it, x, channels
    if shape.family == "siglip2":
        order = split.permute(1, 4, 2, 5, 0, 3, 6, 7)
    else:
        order = split.permute(1, 4, 2, 5, 7, 0, 3, 6)
    rows = order.reshape(view.rows * view.columns, -1)
    return rows if view.kept is None else rows[torch.from_numpy(view.kept).to(rows.device)]


class Scale:
    """(value - mean) / std of uint8 rows, in float32 and then in the tower's dtype. Both stay on
    the device: to move them for each batch would wait for the batch before it.
    """

    def __init__(self, shape: TowerShape, dtype: torch.dtype, device: torch.device) -> None:
        by, self._last = shape.normalization, shape.family == "siglip2"
        each = (1, 1, 3) if self._last else (1, 3, 1)
        self._mean, self._std = (
            (torch.tensor(values) * 255).view(each).to(device) for values in (by.mean, by.std)
        )
        self._dtype = dtype

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of the same shape."""
        split = rows.reshape(len(rows), *((-1, 3) if self._last else (3, -1)))
        return ((split.float() - self._mean) / self._std).to(self._dtype).reshape(rows.shape)


def batches_of(patches: Sequence[int], max_patches: int) -> list[list[int]]:
    """Which views of a window go together: largest first, as many as fit `max_patches`.

    Views of like size share a batch, so that a kernel's tiles end together. Nothing is padded, so
    the order only fills the batches; who asks puts the outputs back in the window's order.
    """
    order = sorted(range(len(patches)), key=lambda number: (-patches[number], number))
    batches: list[list[int]] = []
    room = 0
    for number in order:
        if not batches or patches[number] > room:
            batches.append([])
            room = max_patches
        batches[-1].append(number)
        room -= patches[number]
    return batches
