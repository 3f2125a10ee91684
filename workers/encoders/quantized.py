"""Rows as they are stored: 16-bit floats, or int8 with a scale a token.

A scale is the largest value of a token (of each level, where a row has several beside one another)
over 127, rounded up to bfloat16, so that value = scale x int8 holds with the stored scale itself.
"""

from __future__ import annotations

import torch

from workers.encoders.config import Stored

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def quantized(
    rows: torch.Tensor, stored: Stored, levels: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """[n, width] in the stored dtype, and for int8 its scales, bfloat16 [n, levels].

    float16 ends at 65504: what is larger is stored as that.
    """
    if stored == "float16":
        most = torch.finfo(torch.float16).max
        return rows.clamp(-most, most).to(torch.float16), None
    if stored != "int8":
        return rows.to(_DTYPES[stored]), None
    split = rows.float().view(len(rows), levels, -1)
    largest = split.abs().amax(dim=2, keepdim=True)
    scales = (largest / 127).to(torch.bfloat16)
    # rounded to nearest the scale may be too small for the largest value by half a step
    up = (scales.view(torch.int16) + 1).view(torch.bfloat16)  # the next one, as none is negative
    scales = torch.where(scales.float() * 127 < largest, up, scales)
    divisor = torch.where(scales == 0, 1, scales.float())
    whole = (split / divisor).round().clamp(-127, 127).to(torch.int8)
    return whole.view(len(rows), -1), scales.view(len(rows), levels)
