"""Attention over pictures packed into one sequence, as an attention function of transformers.

The kernel of `torch.nn.attention.varlen` takes the bounds of all pictures at once. Where there is
none (a CPU, float32) SDPA takes picture by picture, which costs a CPU nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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


Qkv = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Queries, keys and values, each [1, heads, n, d]."""
Attend = Callable[[Qkv, Bounds, float | None], torch.Tensor]


def use_attention(model: Any, attention: Attention, *, packed: bool) -> None:
    """Set the attention of a model, whose pictures are packed or stand in a batch."""
    from transformers import AttentionInterface

    AttentionInterface.register(KERNEL, partial(_packed, by_kernel))
    AttentionInterface.register(SEGMENTS, partial(_packed, by_segments))
    on_gpu = next(model.parameters()).is_cuda
    name = KERNEL if attention == "varlen" and on_gpu else SEGMENTS
    # set as it is: `set_attn_implementation` looks for a package behind every "flash"
    model.config._attn_implementation = name if packed else "sdpa"


def _packed(
    attend: Attend,
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
    """[1, n, heads, d] of [1, heads, n, d], as transformers calls an attention function."""
    del module, others
    bounds = _bounds(attention_mask, cu_seq_lens_q, max_length_q)
    return attend((query, key, value), bounds, scaling), None


def by_kernel(qkv: Qkv, bounds: Bounds, scaling: float | None) -> torch.Tensor:
    """By torch's kernel for variable lengths."""
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (one[0].transpose(0, 1).contiguous() for one in qkv)
    ends, longest = bounds
    out = varlen_attn(q, k, v, ends, ends, longest, longest, scale=scaling)
    assert isinstance(out, torch.Tensor)
    return out[None]


def by_segments(qkv: Qkv, bounds: Bounds, scaling: float | None) -> torch.Tensor:
    """By SDPA, picture by picture."""
    lengths = bounds.cu_seqlens.diff().tolist()
    split = [torch.split(one, lengths, dim=2) for one in qkv]
    parts = [
        scaled_dot_product_attention(q, k, v, scale=scaling) for q, k, v in zip(*split, strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2)


def _bounds(mask: Bounds | None, cu_seqlens: torch.Tensor | None, longest: int | None) -> Bounds:
    if mask is not None:
        return mask
    assert cu_seqlens is not None
    return Bounds(cu_seqlens, longest or int(cu_seqlens.diff().max()))
