"""Pictures equal the published code's, drawn by what the policies themselves decide (Pillow 13)."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

from patchpack.item_geometry import Drawing
from schemas.sized import images
from workers.pixels import decode, render
from workers.policies.deepseek_vl2 import DeepSeekVL2
from workers.policies.internvl import InternVL
from workers.policies.llava15 import Llava15
from workers.policies.llava_next import LlavaNext
from workers.policies.llava_onevision import LlavaOneVision
from workers.policies.oryx import Oryx
from workers.policies.protocol import Policy

PIXELS = Path(__file__).parent / "pixels"

TILED: dict[str, Policy] = {
    "internvl/photo_240x160__max6_size112": InternVL(max_num=6, image_size=112),
    "internvl/photo_97x61__max12_size56": InternVL(max_num=12, image_size=56),
    "internvl/doc_168x224__max12_size112": InternVL(max_num=12, image_size=112),
    "internvl/photo_240x160__max1_size448": InternVL(max_num=1),
    "llava_anyres/photo_97x61__next336": LlavaNext(),
    "llava_anyres/tall_30x150__next336": LlavaNext(),
    "llava_anyres/photo_240x160__ov384": LlavaOneVision(),
}


def drawn(name: str, policy: Policy) -> tuple[Drawing, list[list[int]], list[Image.Image]]:
    """The geometry of a picture, its crops, and what is rendered of it."""
    source = PIXELS / "images" / f"{Path(name).name.partition('__')[0]}.png"
    image = decode(source.read_bytes(), 1, policy.alpha)
    sized = policy.size(images(np.array([image.width]), np.array([image.height])))
    (row,) = sized.to_table().to_pylist()
    assert row["drop"] is None
    return cast(Drawing, row), row["crops_ltrb"], render(image, cast(Drawing, row))


def same(found: Image.Image, name: str) -> bool:
    return np.array_equal(np.asarray(found), np.asarray(Image.open(PIXELS / f"{name}.png")))


@pytest.mark.parametrize("name", TILED)
def test_tiles_and_thumbnail_in_the_order_of_the_model(name: str) -> None:
    row, crops, (view, *thumbnail) = drawn(name, TILED[name])
    left, top, right, bottom = zip(*crops, strict=True) if crops else ([0], [0], [448], [448])
    boxes = zip(left, top, right, bottom, strict=True)
    views = [view.crop(box) for box in boxes] if crops else [view]
    views = [*thumbnail, *views] if row["thumbnail"] == "first" else [*views, *thumbnail]
    stacked = np.concatenate([np.asarray(one) for one in views])
    assert np.array_equal(stacked, np.asarray(Image.open(PIXELS / f"{name}.png")))


def test_the_square_of_llava_15_before_it_shrinks() -> None:
    name = "llava15_pad/photo_97x61"
    row, _, (view,) = drawn(name, Llava15())
    assert view.size == (336, 336)
    image = decode((PIXELS / "images" / "photo_97x61.png").read_bytes(), 1, "drop")
    (padded,) = render(image, {**row, "view_wh": row["canvas_wh"]})
    assert same(padded, name)


@pytest.mark.parametrize("picture", ["photo_97x61", "tall_30x150"])
def test_both_views_of_oryx(picture: str) -> None:
    _, _, (high, low) = drawn(picture, Oryx())
    assert same(high, f"oryx/{picture}__highres")
    assert same(low, f"oryx/{picture}__lowres")


def test_the_global_view_of_deepseek_vl2() -> None:
    _, _, (_, small) = drawn("photo_97x61", DeepSeekVL2())
    assert same(small, "deepseek_vl2/photo_97x61__global384")
