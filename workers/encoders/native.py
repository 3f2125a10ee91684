"""SigLIP at any resolution and SigLIP 2 NaFlex: pictures of all sizes in one sequence.

- SigLIP, as in Oryx: the position embedding is resized bilinearly to the picture's grid; patches
  that a NaViT policy drops are gone before the first layer.
- SigLIP 2 resizes it with antialiasing, and pads where we pack: the same sums, without the rest.
Sources: Oryx-mllm/Oryx oryx/model/multimodal_encoder/oryx_vit.py (`rescale_positional_embedding`);
huggingface/transformers models/siglip2/modeling_siglip2.py (`resize_positional_embeddings`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import interpolate, linear

from workers.encoders.attention import Bounds
from workers.encoders.config import EncoderConfig
from workers.encoders.patching import View
from workers.encoders.shape import TowerShape

_KEPT_PATCHES = 1 << 18
"""Of all resized embeddings that are kept: 0.6 GB at 1,152 channels in bfloat16."""


class NativeResolution:
    """A tower over packed pictures."""

    def __init__(self, model: Any, config: EncoderConfig, shape: TowerShape) -> None:
        self._model, self._shape = model, shape
        default: int | str = -1 if shape.family == "siglip_native" else "last_hidden_state"
        layer = default if config.layer is None else config.layer
        layers = list(model.encoder.layers)
        self._normed = layer == "last_hidden_state"
        self._layers = layers if isinstance(layer, str) else layers[: len(layers) + 1 + layer]
        self._places: OrderedDict[tuple[int, int], torch.Tensor] = OrderedDict()

    def __call__(self, patches: torch.Tensor, views: Sequence[View]) -> torch.Tensor:
        """[patches, width]."""
        embedding = self._model.embeddings.patch_embedding
        hidden = linear(patches, embedding.weight.flatten(1), embedding.bias)
        hidden = (hidden + torch.cat([self._places_of(view) for view in views]))[None]
        lengths = torch.tensor([0, *(view.patches for view in views)], dtype=torch.int32)
        cu_seqlens = lengths.cumsum(0, dtype=torch.int32).to(hidden.device, non_blocking=True)
        bounds = Bounds(cu_seqlens, int(lengths.max()))
        for layer in self._layers:
            hidden = layer(hidden, bounds)
        if self._normed:
            hidden = self._model.post_layernorm(hidden)
        return hidden[0]

    def _places_of(self, view: View) -> torch.Tensor:
        """The position embedding of a view's patches."""
        grid = (view.rows, view.columns)
        if grid not in self._places:
            self._places[grid] = self._resized(*grid)
            while len(self._places) > 1 and sum(r * c for r, c in self._places) > _KEPT_PATCHES:
                self._places.popitem(last=False)
        self._places.move_to_end(grid)
        found = self._places[grid]
        return found if view.kept is None else found[torch.from_numpy(view.kept).to(found.device)]

    def _resized(self, rows: int, columns: int) -> torch.Tensor:
        embeddings = self._model.embeddings
        weight = embeddings.position_embedding.weight
        side = int(len(weight) ** 0.5)
        if self._shape.family == "siglip2":
            square = weight.view(side, side, -1)
            size = torch.tensor([[rows, columns]])
            found = embeddings.resize_positional_embeddings(square, size, rows * columns)
            places: torch.Tensor = found[0]
            return places
        if (rows, columns) == (side, side):
            return torch.as_tensor(weight)
        square = weight.view(1, side, side, -1).permute(0, 3, 1, 2)
        resized = interpolate(square, (rows, columns), mode="bilinear", align_corners=False)
        return resized[0].flatten(1).T.contiguous()
