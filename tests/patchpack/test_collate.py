"""What a pack becomes in front of a model: padding, labels, weights, positions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchpack.collate import IGNORED, Collated, block_diagonal_mask, collate, for_transformers
from patchpack.collate import for_varlen as varlen
from patchpack.layout import Pack
from patchpack.positions import position_ids
from tests.handmade import empty_pack, media_pack, text_pack


def with_loss(pack: Pack, places: list[int]) -> Pack:
    loss = np.zeros(pack.header.length, np.uint8)
    loss[places] = 1
    return replace(pack, arrays=replace(pack.arrays, loss=loss))


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.integers(1, 4),
    st.integers(0, 40) | st.none(),
)
def test_samples_stay_whole_whatever_the_padding(
    lengths: list[int], multiple: int, more: int | None
) -> None:
    pack = text_pack(0, lengths)
    rounded = [-(-n // multiple) * multiple for n in lengths]
    length = None if more is None else sum(rounded) + more * multiple
    found = collate(pack, segment_multiple=multiple, length=length, pad_id=-7)
    tail = [] if not more else [more * multiple]
    assert np.diff(found.cu_seqlens).tolist() == rounded + tail
    assert found.lengths.tolist() == lengths + [0] * len(tail)
    assert found.cu_seqlens.dtype == found.lengths.dtype == np.int32
    assert found.max_seqlen == max(rounded + tail)
    assert found.text_positions.tolist() == [i for n in rounded + tail for i in range(n)]
    assert np.array_equal(found.position_ids, np.tile(found.text_positions, (3, 1)))
    parts = np.split(found.input_ids, found.cu_seqlens[1:-1])
    assert np.concatenate([p[:n] for p, n in zip(parts, found.lengths, strict=True)]).tolist() == (
        list(range(sum(lengths)))
    )
    assert all(set(p[n:]) <= {-7} for p, n in zip(parts, found.lengths, strict=True))
    padding = found.input_ids == -7
    assert (found.labels[padding] == IGNORED).all()
    assert not found.loss_weights[padding].any()


def test_nothing_is_learned_from_another_sample() -> None:
    found = collate(with_loss(text_pack(0, [3, 4]), [0, 2, 3, 6]))
    assert found.labels.tolist() == [-100, -100, 2, -100, -100, -100, 6]
    assert found.loss_weights.tolist() == [0, 0, 1, 0, 0, 0, 1]


def test_weights_are_those_of_internvl() -> None:
    pack = with_loss(text_pack(0, [6, 2, 3]), [1, 2, 3, 4, 7])
    assert collate(pack, weighting="sample").loss_weights[1:5].tolist() == [0.25] * 4
    square = collate(pack, weighting="square").loss_weights
    assert square[[1, 4, 7]].tolist() == [0.5, 0.5, 1.0]
    assert (square > 0).sum() == 5


def test_pictures_and_videos_apart() -> None:
    pack = media_pack(0)
    pack = replace(pack, header=replace(pack.header, positions="1d"))
    found = collate(pack)
    assert found.image_grid_thw.tolist() == [[1, 2, 2], [1, 2, 2]]
    assert found.video_grid_thw.tolist() == [[2, 4, 4]]
    assert found.second_per_grid_ts.tolist() == [1.5]
    batch = for_transformers(found)
    assert batch.keys() == {"input_ids", "labels", "position_ids", "use_cache"}
    assert isinstance(batch["position_ids"], torch.Tensor)
    assert batch["position_ids"].shape == (1, 22)


def test_padding_of_a_picture_goes_on_behind_it() -> None:
    base = media_pack(0)
    header = replace(
        base.header, positions="mrope/max_thw", merge=[1, 2], policy=["qwen2_vl/hf"] * 2
    )
    kind = np.zeros(22, np.uint8)
    kind[[2, 3, 4, 5]] = 1  # a picture of 2 x 2
    kind[13:17] = 1  # a video of one temporal patch of 2 x 2 tokens
    arrays = replace(
        base.arrays,
        token_kind=kind,
        runs=np.array([1, 1], np.int32),
        grid_thw=np.array([[1, 2, 2], [1, 4, 4]], np.int32),
        grid_item=np.array([0, 1], np.int32),
    )
    pack = Pack(header, arrays, base.payloads)
    ids = position_ids(pack)
    found = collate(pack, segment_multiple=8, length=40)
    assert found.cu_seqlens.tolist() == [0, 16, 32, 40]
    assert np.array_equal(found.position_ids[:, :10], ids[:, :10])
    assert np.array_equal(found.position_ids[:, 16:28], ids[:, 10:])
    after = ids[:, :10].max() + 1
    assert found.position_ids[:, 10:16].tolist() == [list(range(after, after + 6))] * 3
    assert found.position_ids[:, 32:].tolist() == [list(range(8))] * 3
    batch = for_transformers(found)
    rows = batch["position_ids"]
    assert isinstance(rows, torch.Tensor)
    assert rows.shape == (4, 1, 40)
    assert rows[0, 0].tolist() == found.text_positions.tolist()


@pytest.mark.parametrize(("length", "tokens"), [(None, 4), (12, 12)])
def test_a_filler_is_one_segment_without_labels(length: int | None, tokens: int) -> None:
    found = collate(empty_pack(0), segment_multiple=4, length=length)
    assert found.cu_seqlens.tolist() == [0, tokens]
    assert (found.labels == IGNORED).all()
    assert found.position_ids.shape == (3, tokens)


def test_varlen_tensors_are_all_that_there_is() -> None:
    found = varlen(collate(text_pack(0)))
    assert found.keys() == Collated.__dataclass_fields__.keys()
    assert isinstance(found["cu_seqlens"], torch.Tensor)
    assert found["cu_seqlens"].dtype == torch.int32


def test_the_mask_is_causal_inside_each_segment() -> None:
    mask = block_diagonal_mask(np.array([0, 2, 5], np.int32))
    wanted = [[j <= i and (i < 2) == (j < 2) for j in range(5)] for i in range(5)]
    assert mask.tolist() == wanted


@pytest.mark.parametrize(
    ("multiple", "length", "message"),
    [
        (4, 30, "no multiple of segment_multiple 4"),
        (0, None, "segment_multiple 0"),
        (1, 11, "12 tokens, more than the length 11"),
    ],
)
def test_what_does_not_fit_is_told(multiple: int, length: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collate(text_pack(0), segment_multiple=multiple, length=length)
