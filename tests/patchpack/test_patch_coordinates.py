"""Coordinates of patches: row and column, or the share of the side."""

import gzip
import json

import pytest

from patchpack.patch_coordinates import absolute, fractional
from tests.golden.compare import SHARED

GOLDEN = SHARED / "positions" / "vit2d.navit.jsonl.gz"


def test_row_by_row() -> None:
    assert absolute(2, 3).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert fractional(2, 4)[[0, 3, 4]].tolist() == [[0, 0], [0, 0.75], [0.5, 0]]
    assert absolute(0, 0).shape == fractional(0, 0).shape == (0, 2)


@pytest.mark.skipif(not GOLDEN.exists(), reason="reference vectors are not in the repository")
def test_equal_to_the_reference() -> None:
    with gzip.open(GOLDEN, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    assert rows
    for row in rows:
        height, width = row["grid_hw"]
        assert absolute(height, width).T.tolist() == [row["abs_h"], row["abs_w"]]
        shares = fractional(height, width).reshape(height, width, 2)
        assert shares[:, 0, 0].tolist() == row["frac_h"]
        assert shares[0, :, 1].tolist() == row["frac_w"]
        assert (shares[..., 0] == shares[:, :1, 0]).all()
        assert (shares[..., 1] == shares[:1, :, 1]).all()
