"""Sizing block by block is sizing all at once."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.policies import policy_kinds
from schemas.sized import Media
from tests.workers.policies.answers import MIXED
from workers.policies import blocks, size
from workers.policies.protocol import Policy


def test_blocks_cover_all_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 3)
    for count in range(8):
        rows = np.arange(count)
        assert np.concatenate([rows[part] for part in blocks.blocks(count)]).tolist() == [*rows]


@pytest.mark.parametrize("kind", policy_kinds())
def test_a_table_in_blocks_is_the_table(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy: Policy = policy_kinds()[kind](kind=kind)
    names = ["kind", "width", "height", "frames", "fps", "clip_start", "clip_end", "images", "key"]
    media = Media.concatenate(MIXED)
    table = pa.table({name: pa.array(getattr(media, name)) for name in names})
    whole = size(table, [policy])
    monkeypatch.setattr(blocks, "BLOCK", 4)
    assert size(table, [policy]).equals(whole)
