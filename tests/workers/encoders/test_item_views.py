"""What a tower is given where crops are resized one by one."""

from dataclasses import replace

import numpy as np

from patchpack.patches import HALF
from schemas.sized import images
from workers.encoders.item_views import misfit
from workers.encoders.shape import TowerShape
from workers.gather import Geometry
from workers.policies.gemma3 import Gemma3

SHAPE = TowerShape(
    family="siglip",
    patch_size=14,
    image_size=112,
    merge=1,
    temporal_patch_size=1,
    side=1,
    channels=8,
    levels=1,
    normalization=HALF,
)


def test_views_have_the_sizes_of_their_pieces() -> None:
    policy = Gemma3(image_size=112, do_pan_and_scan=True)
    row = policy.size(images(np.array([700]), np.array([400]))).to_table().to_pylist()[0]
    row |= {"alpha": "drop", "policy": "gemma3"}
    geometry = Geometry._make(row[name] for name in Geometry._fields)
    assert len(geometry.grid_thw) == 3
    assert misfit(geometry, SHAPE) is None
    whole = misfit(geometry._replace(pieces=[]), SHAPE)
    assert whole == "takes pictures of 112 x 112 pixels, not 350 x 400"
    larger = misfit(geometry, replace(SHAPE, image_size=224))
    assert larger == "takes pictures of 224 x 224 pixels, not 112 x 112"
