from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ContractError
from schemas.sized import NEXT
from workers.expand import TextRow, VisionBlock, VisionIds, expand, planned_length
from workers.text_tokenizers import BytesTokenizer
from workers.vision_ids import Marks

QWEN = VisionIds(image=Marks(900, 901, 902), video=Marks(900, 903, 902))
LLAVA = VisionIds(image=Marks(None, 901, None), video=Marks(None, 901, None))


def row(tokens: Sequence[int], loss: Sequence[int] = (), slots: Sequence[int] = ()) -> TextRow:
    return TextRow(*(np.array(values, np.int32) for values in (tokens, loss, slots)))


def features(kind: str, tokens: int) -> VisionBlock:
    """One run of so many features."""
    return VisionBlock(kind, [(1, tokens, 0)])


def test_text_alone_stays_as_it_is() -> None:
    sample = expand(row([1, 2, 3], loss=[1, 3]), [], QWEN)
    assert sample.tokens.tolist() == [1, 2, 3]
    assert sample.loss.tolist() == [0, 1, 1]
    assert sample.token_kind.tolist() == [0, 0, 0]
    assert sample.runs == ()
    assert [a.dtype for a in (sample.tokens, sample.token_kind, sample.loss)] == ["i4", "u1", "u1"]


def test_an_image_stands_before_its_slot() -> None:
    sample = expand(row([1, 2, 3], [1, 3], [2]), [features("image", 3)], QWEN)
    assert sample.tokens.tolist() == [1, 2, 900, 901, 901, 901, 902, 3]
    assert sample.token_kind.tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    assert sample.loss.tolist() == [0, 1, 0, 0, 0, 0, 0, 1]
    assert sample.runs == ((0, 3, 3),)


def test_frames_have_their_names_around_them() -> None:
    block = VisionBlock("video", [(1, 2, 0)], runs=2, run_text=[[7, 8], [9], [10]])
    sample = expand(row([1], slots=[0]), [block], QWEN)
    assert sample.tokens.tolist() == [7, 8, 900, 903, 903, 902, 9, 900, 903, 903, 902, 10, 1]
    assert sample.runs == ((0, 3, 2), (0, 8, 2))


def test_items_in_one_place_keep_their_order() -> None:
    blocks = [features("video", 1), features("view", 2)]
    sample = expand(row([1], [0, 1], [1, 1]), blocks, LLAVA)
    assert sample.tokens.tolist() == [1, 901, 901, 901]
    assert sample.runs == ((0, 1, 1), (1, 2, 2))
    assert sample.loss.tolist() == [1, 0, 0, 0]


def test_ids_come_from_the_family() -> None:
    tokenizer = BytesTokenizer()
    qwen = VisionIds.of(tokenizer, "qwen2_vl")
    assert qwen.marks("view") == qwen.image
    assert tokenizer.decode([n for n in qwen.video if n is not None]) == (
        "<|vision_start|><|video_pad|><|vision_end|>"
    )
    internvl = VisionIds.of(tokenizer, "internvl")
    assert internvl.image == internvl.video
    assert VisionIds.of(tokenizer, "llava").image.start is None


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        (row([1], slots=[0]), []),
        (row([1]), [features("image", 1)]),
        (row([1], slots=[2]), [features("image", 1)]),
        (row([1], slots=[-1]), [features("image", 1)]),
        (row([1, 2], slots=[2, 1]), [features("image", 1)] * 2),
    ],
)
def test_slots_that_do_not_fit_are_refused(text: TextRow, blocks: list[VisionBlock]) -> None:
    with pytest.raises(ContractError):
        expand(text, blocks, QWEN)


def test_blocks_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ContractError, match=r"\[0\] embeddings"):
        VisionBlock("video", [(3, 0, 0)], runs=2)
    with pytest.raises(ContractError, match="0 runs"):
        VisionBlock("video", [(1, 2, 0)], runs=0)
    with pytest.raises(ContractError, match="run_text"):
        VisionBlock("video", [(1, 2, 0)], runs=2, run_text=[[], []])


def test_newlines_and_other_embeddings_stand_after_their_rows() -> None:
    oryx = VisionBlock("image", [(1, 0, 3), (2, 2, 2), (1, 0, 3)])
    sample = expand(row([1, 2], [0, 2], [1]), [oryx], LLAVA)
    assert sample.tokens.tolist() == [1, *[901] * 8, 2]
    assert sample.token_kind.tolist() == [0, 3, 1, 1, 2, 1, 1, 2, 3, 0]
    assert sample.loss.tolist() == [1, *[0] * 8, 1]
    assert sample.runs == ((0, 1, 8),)
    unpadded_to_nothing = VisionBlock("image", [(1, 4, 0), (3, 0, 2)])
    assert unpadded_to_nothing.run_kinds().tolist() == [1, 1, 1, 1, 2, 2, 2]


IDS = st.lists(st.integers(0, 255), max_size=3)


@st.composite
def blocks(draw: st.DrawFn) -> VisionBlock:
    runs = draw(st.integers(1, 4))
    kind = draw(st.sampled_from(["image", "video", "view"]))
    part = st.tuples(st.integers(1, 3), st.integers(1, 4), st.sampled_from([0, 2, 3, NEXT]))
    bare = VisionBlock(kind, draw(st.lists(part, min_size=1, max_size=4)), runs)
    count = bare.run_count + 1
    texts = draw(st.one_of(st.just([]), st.lists(IDS, min_size=count, max_size=count)))
    return replace(bare, run_text=texts)


@given(st.data(), st.sampled_from([QWEN, LLAVA]))
def test_everything_stands_in_its_place_once(data: st.DataObject, ids: VisionIds) -> None:
    items = data.draw(st.lists(blocks(), max_size=4))
    tokens = data.draw(st.lists(st.integers(0, 255), max_size=20))
    places = st.integers(0, len(tokens))
    slots = sorted(data.draw(st.lists(places, min_size=len(items), max_size=len(items))))
    loss = sorted(data.draw(st.lists(places, max_size=4, unique=True)))
    loss = loss[: len(loss) // 2 * 2]
    sample = expand(row(tokens, loss, slots), items, ids)
    assert len(sample.tokens) == planned_length(len(tokens), items, ids)
    assert sample.tokens.tolist() == _naive(tokens, slots, items, ids)
    learned = [t for a, b in zip(loss[::2], loss[1::2], strict=True) for t in tokens[a:b]]
    assert sample.tokens[sample.loss == 1].tolist() == learned
    spans = np.zeros(len(sample.tokens), np.uint8)
    for item, start, length in sample.runs:
        spans[start : start + length] += 1
        assert set(sample.tokens[start : start + length]) == {ids.marks(items[item].kind).pad}
    assert (spans == (sample.token_kind > 0)).all()
    assert [
        (run.item, sample.token_kind[run.start : run.start + run.length].tolist())
        for run in sample.runs
    ] == [(number, kinds) for number, block in enumerate(items) for kinds in _kinds(block)]


def _kinds(block: VisionBlock) -> list[list[int]]:
    """`token_kind` of each run."""
    runs: list[list[int]] = [[]]
    for rows, columns, after in block.parts:
        for _ in range(rows):
            runs[-1] += [1] * columns + [after] * (after in (2, 3))
            if after == NEXT:
                runs.append([])
    return [run for run in runs if run] * block.runs


def _naive(
    tokens: list[int], slots: list[int], items: list[VisionBlock], ids: VisionIds
) -> list[int]:
    out: list[int] = []
    bounds = [0, *slots, len(tokens)]
    for index, (start, end) in enumerate(pairwise(bounds)):
        out += tokens[start:end]
        if index < len(items):
            block, marks = items[index], ids.marks(items[index].kind)
            runs = _kinds(block)
            texts = list(block.run_text) or [[]] * (len(runs) + 1)
            for text, run in zip(texts[:-1], runs, strict=True):
                one = [marks.start, *[marks.pad] * len(run), marks.end]
                out += [*text, *(token for token in one if token is not None)]
            out += texts[-1]
    return out


def test_runs_of_unequal_length_are_parted_by_next() -> None:
    block = VisionBlock("image", [(1, 2, 4), (1, 1, 2)], run_text=[[7], [8, 9], []])
    assert (block.lengths, block.run_count) == ([2, 2], 2)
    sample = expand(row([1], slots=[0]), [block], QWEN)
    assert sample.tokens.tolist() == [7, 900, 901, 901, 902, 8, 9, 900, 901, 901, 902, 1]
    assert sample.token_kind.tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 1, 2, 0, 0]
    assert sample.runs == ((0, 2, 2), (0, 8, 2))
    assert planned_length(1, [block], QWEN) == len(sample.tokens)


def test_every_repetition_has_all_its_runs() -> None:
    block = VisionBlock("image", [(1, 1, 4), (1, 3, 4)], runs=2)
    sample = expand(row([1], slots=[0]), [block], LLAVA)
    assert [run.length for run in sample.runs] == [1, 3, 1, 3]
    assert sample.tokens.tolist() == [901] * 8 + [1]


@pytest.mark.parametrize("parts", [[(1, 0, 4), (1, 1, 0)], [(0, 1, 4)]])
def test_a_run_without_a_token_is_refused(parts: list[tuple[int, int, int]]) -> None:
    with pytest.raises(ContractError):
        VisionBlock("image", parts)
