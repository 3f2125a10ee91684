"""Attention over pictures packed into one sequence, as an attention function of transformers.

The kernel of `torch.nn.attention.varlen` takes the bounds of all pictures at once. Where there is
none (a CPU, float32) SDPA takes picture by picture, which costs a CPU nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention

from workers.encoders.config import Attention

KERNEL, SEGMENTS = "patchpack_flash_varlen", "patchpack_flash_segments"
"""Names in transformers, whose models hand bounds to what has `flash` in its name."""


class Bounds(NamedTuple):
    """int32 [pictures + 1] on the device, and the most patches of a picture. Where a layer passes
    on nothing but an attention mask, it stands in its place.
    """

    cu_seqlens: torch.Tensor
    longest: int


def use_attention(model: Any, attention: Attention, *, packed: bool) -> None:
    """Set the attention of a model, whose pictures are packed or stand in a batch."""
    from transformers import AttentionInterface

    AttentionInterface.register(KERNEL, kernel_attention)
    AttentionInterface.register(SEGMENTS, segment_attention)
    on_gpu = next(model.parameters()).is_cuda
    name = KERNEL if attention == "varlen" and on_gpu else SEGMENTS
    # set as it is: `set_attn_implementation` looks for a package behind every "flash"
    model.config._attn_implementation = name if packed else "sdpa"


def kernel_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Bounds | None,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **others: object,  # transformers hands over whatever some other function may want
) -> tuple[torch.Tensor, None]:
    """[1, n, heads, d] of [1, heads, n, d] by torch's kernel for variable lengths."""
    del module, others
    from torch.nn.attention.varlen import varlen_attn

    bounds, longest = _bounds(attention_mask, cu_seq_lens_q, max_length_q)
    q, k, v = (one[0].transpose(0, 1).contiguous() for one in (query, key, value))
    out = varlen_attn(q, k, v, bounds, bounds, longest, longest, scale=scaling)
    assert isinstance(out, torch.Tensor)
    return out[None], None


def segment_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Bounds | None,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **others: object,
) -> tuple[torch.Tensor, None]:
    """The same by SDPA, picture by picture."""
    del module, others
    bounds, _ = _bounds(attention_mask, cu_seq_lens_q, max_length_q)
    lengths = bounds.diff().tolist()
    split = [torch.split(one, lengths, dim=2) for one in (query, key, value)]
    parts = [
        scaled_dot_product_attention(q, k, v, scale=scaling) for q, k, v in zip(*split, strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _bounds(mask: Bounds | None, cu_seqlens: torch.Tensor | None, longest: int | None) -> Bounds:
    if mask is not None:
        return mask
    assert cu_seqlens is not None
    return Bounds(cu_seqlens, longest or int(cu_seqlens.diff().max()))
