"""Position ids of packs of a build, against transformers' own code for each of their samples."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen2VLConfig, Qwen2VLModel

from patchpack.layout import FormatError, Pack
from patchpack.positions import blocks_of, position_ids
from tests.pipelines.conftest import packs_of
from tests.pipelines.feed import Feed
from tests.tiny_source import Record


def tiny_qwen2_vl() -> Qwen2VLModel:
    text = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 64,
    }
    vision = {"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2}
    return Qwen2VLModel(Qwen2VLConfig(text_config=text, vision_config=vision))


def of_transformers(model: Qwen2VLModel, pack: Pack) -> np.ndarray:
    """[3, L] of its samples, one by one; transformers resumes by max_hw since 5.3."""
    found = []
    ends = pack.header.cu_seqlens
    for number, (first, last) in enumerate(pairwise(ends)):
        items = [i for i, sample in enumerate(pack.header.item_sample) if sample == number]
        grids = pack.arrays.grid_thw[np.isin(pack.arrays.grid_item, items)]
        kinds = torch.from_numpy(pack.arrays.token_kind[first:last].astype(np.int32))[None]
        given: dict[str, Any] = {
            "input_ids": torch.zeros(1, last - first, dtype=torch.long),
            "mm_token_type_ids": kinds,
            "image_grid_thw": torch.from_numpy(grids.astype(np.int64)) if len(grids) else None,
            "attention_mask": torch.ones(1, last - first, dtype=torch.long),
        }
        ids, _ = model.get_rope_index(**given)
        found.append(ids[:, 0].numpy())
    return np.concatenate(found, axis=1)


def test_each_sample_has_the_ids_that_its_model_gives_it(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.sections = {"pack.max_tokens": 400}
    pictures = [feed.picture(f"p{number}") for number in range(6)]
    turns = [
        {"role": "user", "text": "<image> beside <image>, and?", "images": pictures[:2]},
        {"role": "assistant", "text": "Both."},
    ]
    text: Record = {"id": "text", "turns": [{"role": "text", "text": "No picture at all."}]}
    two: Record = {"id": "two", "turns": turns}
    feed.write("date=1/r.jsonl", [*(f"p{n}" for n in range(6)), two, text])
    packs = [pack for pack in packs_of(feed.out, feed.build()) if pack.header.samples]
    assert sum(len(blocks_of(pack).start) for pack in packs) == 8
    model = tiny_qwen2_vl()
    for pack in packs:
        assert pack.header.positions == "mrope/max_thw"
        wanted = of_transformers(model, pack)
        assert np.array_equal(position_ids(pack, "max_hw"), wanted)
        assert np.array_equal(position_ids(pack), wanted)  # pictures are alike in both


def test_one_dimension_where_the_header_says_so(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.write("date=1/r.jsonl", ["a", "b"])
    [pack, *_] = [pack for pack in packs_of(feed.out, feed.build()) if pack.header.samples]
    header = replace(pack.header, positions="1d")
    ids = position_ids(Pack(header, pack.arrays, pack.payloads))
    assert ids.shape == (1, pack.header.length)
    assert (ids[0][pack.header.cu_seqlens[:-1]] == 0).all()


def test_pictures_alone_have_no_positions_of_a_language_model(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.write("date=1/r.jsonl", ["a"])
    [pack, *_] = [pack for pack in packs_of(feed.out, feed.build()) if pack.header.samples]
    for named in ("none", "mrope/other"):
        header = replace(pack.header, positions=named)
        with pytest.raises(FormatError, match=f"unknown positions '{named}'"):
            position_ids(Pack(header, pack.arrays, pack.payloads))
