"""CLIP, SigLIP and InternViT: pictures of one size, so that a batch is dense as it is.

- CLIP and InternViT lose their class token, as LLaVA and InternVL take them.
- InternViT's 2 x 2 patches become one row (pixel shuffle 0.5): no weight comes before it.
- Only the layers up to the wanted one are computed.
Sources: huggingface/transformers models/{clip,siglip,internvl}; OpenGVLab/InternVL
internvl_chat/internvl/model/internvl_chat/modeling_internvl_chat.py (`pixel_shuffle`, ps_version
v2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import linear

from workers.encoders.config import EncoderConfig
from workers.encoders.patching import View
from workers.encoders.shape import TowerShape


class FixedTiles:
    """A tower over tiles."""

    def __init__(self, model: Any, config: EncoderConfig, shape: TowerShape) -> None:
        self._model, self._shape = model, shape
        intern = shape.family == "internvit"
        default: int | str = {"clip": -2, "siglip": -1}.get(shape.family, "last_hidden_state")
        layer = default if config.layer is None else config.layer
        layers = list(model.encoder.layer if intern else model.encoder.layers)
        self._normed = layer == "last_hidden_state"
        self._layers = layers if isinstance(layer, str) else layers[: len(layers) + 1 + layer]

    def __call__(self, patches: torch.Tensor, views: Sequence[View]) -> torch.Tensor:
        """[rows, width] of all views, one after another."""
        hidden = self._embedded(patches, len(views))
        for layer in self._layers:
            hidden = layer(hidden) if self._shape.family == "internvit" else layer(hidden, None)
        if self._normed:
            hidden = self._final_norm(hidden)
        if self._shape.family != "siglip":
            hidden = hidden[:, 1:]
        if self._shape.family == "internvit":
            hidden = pixel_shuffled(hidden, self._shape.side)
        return hidden.reshape(-1, self._shape.width)

    def _embedded(self, patches: torch.Tensor, views: int) -> torch.Tensor:
        """A convolution whose stride is its size is one product over flat patches."""
        embeddings = self._model.embeddings
        intern = self._shape.family == "internvit"
        own = embeddings.patch_embeddings.projection if intern else embeddings.patch_embedding
        flat = linear(patches, own.weight.flatten(1), own.bias)
        hidden = flat.view(views, -1, flat.shape[-1])
        if self._shape.family == "siglip":
            return torch.add(hidden, embeddings.position_embedding.weight)
        token = embeddings.cls_token if intern else embeddings.class_embedding
        hidden = torch.cat([token.expand(views, 1, -1), hidden], dim=1)
        if intern:
            places = embeddings.position_embeddings
            return hidden if places is None else hidden + places
        hidden = hidden + embeddings.position_embedding.weight
        normed: torch.Tensor = self._model.pre_layrnorm(hidden)
        return normed

    def _final_norm(self, hidden: torch.Tensor) -> torch.Tensor:
        """What transformers has behind its last layer; CLIP has none over patches."""
        if self._shape.family == "clip":
            return hidden
        norm = getattr(self._model, "post_layernorm", None) or self._model.layernorm
        normed: torch.Tensor = norm(hidden)
        return normed


def pixel_shuffled(hidden: torch.Tensor, side: int) -> torch.Tensor:
    """[n, s * s / side², d * side²] of [n, s * s, d]: channels of a block row by row, as
    InternVL's projector expects them.
    """
    views, patches, channels = hidden.shape
    grid = int(patches**0.5) // side
    blocks = hidden.view(views, grid, side, grid, side, channels).permute(0, 1, 3, 2, 4, 5)
    return blocks.reshape(views, grid * grid, side * side * channels)
