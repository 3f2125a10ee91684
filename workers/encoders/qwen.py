"""The towers of Qwen2-VL, Qwen2.5-VL and Qwen3-VL: transformers' own, which pack by themselves.

- Everything that depends on grids alone is computed on the CPU beforehand, so that the forward pass
  never waits for the device.
- `pre_merger` takes the learned mergers out: the rows are the patches in merge order, beside them
  those of the deep layers of Qwen3-VL. Qwen2.5-VL computes in the order of its windows; its rows
  come back in merge order, as its own merger's do.
Source: huggingface/transformers models/{qwen2_vl,qwen2_5_vl,qwen3_vl}, vision_utils.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from workers.encoders.config import EncoderConfig
from workers.encoders.patching import View
from workers.encoders.shape import TowerShape


class QwenTower:
    """A tower over packed pictures."""

    def __init__(self, model: Any, config: EncoderConfig, shape: TowerShape) -> None:
        self._model, self._shape = model, shape
        if config.at != "post_merger":
            unit = shape.merge**2
            model.merger = _Unmerged(unit)
            deep = getattr(model, "deepstack_merger_list", ())
            if len(deep):
                model.deepstack_merger_list = nn.ModuleList(_Unmerged(unit) for _ in deep)

    def __call__(self, patches: torch.Tensor, views: Sequence[View]) -> torch.Tensor:
        """[rows, width]."""
        grid = torch.tensor([[1, view.rows, view.columns] for view in views])
        out = self._model(patches, grid, **self._of_grids(grid, patches.device))
        levels = [out.pooler_output, *(getattr(out, "deepstack_features", None) or ())]
        rows = [level.reshape(-1, self._shape.channels) for level in levels]
        return torch.cat(rows, dim=1) if len(rows) > 1 else rows[0]

    def _of_grids(self, grid: torch.Tensor, device: torch.device) -> dict[str, Any]:
        """As transformers computes them, which it does on the device where it is not told them."""
        from transformers import vision_utils

        model, merge = self._model, self._shape.merge
        found: dict[str, Any] = {
            "position_ids": vision_utils.get_vision_position_ids(grid, merge),
            "cu_seqlens": vision_utils.get_vision_cu_seqlens(grid),
            "max_seqlen": int(grid.prod(dim=1).max()),
        }
        if self._shape.family == "qwen2_5_vl":
            index, bounds = vision_utils.get_vision_window_index(
                grid,
                spatial_merge_size=merge,
                window_size=model.window_size,
                patch_size=model.patch_size,
            )
            found |= {"window_index": index, "cu_window_seqlens": bounds}
            found["max_window_seqlen"] = int(bounds.diff().max())
        if self._shape.family == "qwen3_vl":
            taps, weights = vision_utils.get_vision_interpolation_indices_and_weights(
                grid,
                num_grid_per_side=model.num_grid_per_side,
                mode=model.interpolation_mode,
                align_corners=model.interpolation_align_corners,
                spatial_merge_size=merge,
            )
            found |= {"interp_indices": taps, "interp_weights": weights}
        return {
            name: one.to(device, non_blocking=True) if isinstance(one, torch.Tensor) else one
            for name, one in found.items()
        }


class _Unmerged(nn.Module):
    """In place of a merger: the patches that it would have merged, beside one another."""

    def __init__(self, unit: int) -> None:
        super().__init__()
        self._unit = unit

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[n / unit, unit * d] of [n, d]."""
        return hidden.reshape(len(hidden) // self._unit, -1)
