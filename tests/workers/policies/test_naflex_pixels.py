"""NaFlex pixels: our size and drawing give the arrays that transformers 5.23.0 gives.

The vectors are valid for Pillow 13.
"""

from pathlib import Path
from typing import cast

import numpy as np
import PIL
import pytest
from PIL import Image

from patchpack.item_geometry import Drawing
from tests.workers.policies.answers import answer, one
from workers.pixels import render
from workers.policies.siglip2_naflex import SigLIP2NaFlex

PIXELS = Path(__file__).parents[2] / "golden" / "pixels"
POLICY = SigLIP2NaFlex(max_num_patches=64)


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) != 13, reason="vectors are of Pillow 13")
@pytest.mark.parametrize("name", ["photo_97x61", "tall_30x150"])
def test_pixels_are_those_of_the_reference(name: str) -> None:
    golden = np.load(PIXELS / "siglip2_naflex.pillow13.npz")
    image = Image.open(PIXELS / "images" / f"{name}.png").convert("RGB")
    row = answer(POLICY, one(*image.size))
    (view,) = render(image, cast(Drawing, row))
    _, rows, columns = row["grid_thw"][0]
    assert golden[f"{name}__max64__spatial_shapes"].tolist() == [rows, columns]
    values = (np.asarray(view, np.float32) / 255 - 0.5) / 0.5
    patches = values.reshape(rows, 16, columns, 16, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 768)
    padded = np.zeros((POLICY.pad_to, 768), np.float32)
    padded[: len(patches)] = patches
    np.testing.assert_allclose(padded, golden[f"{name}__max64__pixel_values"], rtol=0, atol=1e-6)
    mask = golden[f"{name}__max64__pixel_attention_mask"]
    assert mask.tolist() == [1] * len(patches) + [0] * (POLICY.pad_to - len(patches))
