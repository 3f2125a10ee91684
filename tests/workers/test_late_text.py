"""Texts that state pixels of resized pictures: written when size knows these, and counted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from schemas.tables import SIZED
from tests.workers.conversations import Told, learned, run, sample
from tests.workers.plan_rows import Row, medium, surveyed
from tests.workers.tiny_tokenizer import QWEN_SPECIALS, QWEN_TEMPLATE, save_files
from workers.bytes_tokenizer import BytesTokenizer
from workers.expand import TextRow, VisionBlock, expand
from workers.gather import Sample, gather
from workers.late_text import filled
from workers.match import Rule
from workers.packing.limits import Limits
from workers.policies.internvl import InternVL
from workers.policies.protocol import Policy
from workers.policies.qwen2_vl import Qwen2VL
from workers.regions import NUMBERS, Region
from workers.select import SelectConfig, select
from workers.size import SizeConfig, size
from workers.text_config import TextConfig, TokenizeConfig
from workers.text_tokenizers import load_tokenizer
from workers.tokenize_text import tokenize
from workers.vision_ids import VisionIds

BYTES = BytesTokenizer()
CARROTS = Region(0, "carrots", (146, 137, 615, 415))


class Planned:
    """Samples taken to SIZED and gathered, with the pixels of Qwen2.5-VL in their text."""

    def __init__(
        self,
        rows: Sequence[Row],
        policy: Policy,
        capacity: int = 10**6,
        **text: Any,
    ) -> None:
        config = TextConfig(**{"template": "plain", "regions": "qwen2_5_vl", **text})
        tokenizer = load_tokenizer(config)
        blocks = [surveyed(rows[::2]), surveyed(rows[1::2])]
        tokenized = [tokenize(one, tokenizer, TokenizeConfig(text=config)) for one in blocks]
        selected = select(blocks, SelectConfig({"s": 1.0}, 0, {}))
        self.ids = VisionIds.of(tokenizer, "qwen2_vl")
        around = self.ids.image.overhead
        sizing = SizeConfig(
            [Rule(policy)],
            Limits(capacity),
            1,
            "pixels",
            "jpeg",
            tokenizer.encode,
            tokenizer.special,
            tokenizer.encode_documents,
            around,
            around,
        )
        table = size(selected, blocks, tokenized, sizing)
        assert table.schema == SIZED
        self.rows: dict[str, Row] = {row["sample_id"]: row for row in table.to_pylist()}
        self.samples: dict[str, Sample] = {}
        for number, (block, text_table) in enumerate(zip(blocks, tokenized, strict=True)):
            mine = table.filter(pa.array([
                row["block"] == number and row["drop"] is None for row in table.to_pylist()
            ]))  # fmt: skip
            take = mine.column("row")
            for one in gather(block.take(take), text_table.take(take), mine):
                self.samples[one.sample_id] = one

    def text(self, name: str) -> str:
        return BYTES.decode(self.samples[name].text.tokens.tolist())

    def resized(self, name: str) -> list[list[int]]:
        return [item["resized_wh"] for item in self.rows[name]["items"]]

    def expanded(self, name: str) -> tuple[list[int], list[int]]:
        one = self.samples[name]
        blocks = [
            VisionBlock(item.source.kind, item.geometry.parts, item.geometry.runs, item.run_text)
            for item in one.items
        ]
        found = expand(one.text, blocks, self.ids)
        return found.tokens.tolist(), found.loss.tolist()


def named(name: str, turns: Told, *wh: tuple[int, int], kind: str = "image") -> Row:
    row = sample(turns)
    items = [medium(kind, size) for size in wh]
    return {**row, "sample_id": f"s/{name}", "items": items}


ASKED: Told = [("user", [0, "Where?"]), ("assistant", ["Here: ", CARROTS, "."])]


def test_the_numbers_are_those_of_qwens_own_conversion() -> None:
    """process_bbox.ipynb: 640 x 428 becomes 644 x 420."""
    planned = Planned([named("a", ASKED, (640, 428))], Qwen2VL(max_pixels=1003520))
    assert planned.resized("s/a") == [[644, 420]]
    box = '{"bbox_2d": [147, 134, 619, 407], "label": "carrots"}'
    assert planned.text("s/a") == f"Where?Here: {box}.<|endoftext|>"
    row = planned.rows["s/a"]
    text = {name: row["text"][0][name] for name in ("tokens", "loss", "slots")}
    assert learned(text) == [f"Here: {box}.<|endoftext|>"]
    assert row["loss_tokens"] == len(f"Here: {box}.") + 1
    tokens, loss = planned.expanded("s/a")
    assert row["tokens"] == len(tokens)
    assert row["attention"] == len(tokens) ** 2
    assert sum(loss) == row["loss_tokens"]


def test_a_picture_that_shrinks_to_fit_has_the_numbers_of_the_smaller_one() -> None:
    policy = Qwen2VL(max_pixels=1003520)
    rows = [named("a", ASKED, (1280, 856)), named("b", ASKED, (640, 428))]
    whole = Planned(rows, policy)
    fitted = Planned(rows, policy, capacity=700)
    assert fitted.rows["s/a"]["fit"] > 1
    assert fitted.rows["s/b"]["fit"] == 0
    assert fitted.text("s/b") == whole.text("s/b")
    for planned in (whole, fitted):
        ((width, height),) = planned.resized("s/a")
        wanted = np.rint(np.multiply(CARROTS.xy, [width / 1280, height / 856] * 2))
        assert f"[{', '.join(str(int(n)) for n in wanted)}]" in planned.text("s/a")
        assert planned.rows["s/a"]["tokens"] == len(planned.expanded("s/a")[0])
    assert fitted.text("s/a") != whole.text("s/a")


def test_numbers_follow_their_own_item_and_samples_without_any_stay() -> None:
    turns: Told = [
        ("user", [0, Region(1, "b", (0, 0, 300, 200)), 1, Region(0, "", (100, 50))]),
        ("assistant", ["Yes ", Region(1, "", (150, 100)), " 图", Region(0, "ü", (0, 0, 200, 100))]),
    ]
    rows = [
        named("plain", [("user", [0, "So?"]), ("assistant", ["So."])], (90, 90)),
        named("two", turns, (200, 100), (300, 200)),
        named("words", [("text", ["Words."])]),
    ]
    planned = Planned(rows, Qwen2VL())
    assert planned.resized("s/two") == [[196, 112], [308, 196]]
    assert planned.text("s/two") == (
        '{"bbox_2d": [0, 0, 307, 195], "label": "b"}{"point_2d": [98, 56]}'
        'Yes {"point_2d": [154, 98]} 图{"bbox_2d": [0, 0, 195, 111], "label": "ü"}<|endoftext|>'
    )
    assert planned.samples["s/two"].text.slots.tolist() == [0, 43]
    assert [name for name, row in planned.rows.items() if row["text"]] == ["s/two"]
    for name, row in planned.rows.items():
        assert row["tokens"] == len(planned.expanded(name)[0])


@pytest.mark.parametrize("kind", ["video", "view"])
def test_a_place_in_a_frame_or_view_is_one_in_its_resized_picture(kind: str) -> None:
    turns: Told = [("user", [0, "Where?"]), ("assistant", [Region(0, "", (32, 24))])]
    planned = Planned([named("a", turns, (64, 48), kind=kind)], Qwen2VL())
    ((width, height),) = planned.resized("s/a")
    assert f"[{width // 2}, {height // 2}]" in planned.text("s/a")


def test_tiles_do_not_move_the_numbers() -> None:
    """Coordinates are those of the whole resized picture, before it is cut."""
    planned = Planned([named("a", ASKED, (1280, 428))], InternVL(), family="qwen2_vl")
    ((width, height),) = planned.resized("s/a")
    assert len(planned.rows["s/a"]["items"][0]["crops_ltrb"]) > 1
    wanted = np.rint(np.multiply(CARROTS.xy, [width / 1280, height / 428] * 2)).astype(int)
    assert str(wanted.tolist()) in planned.text("s/a")


def test_a_late_text_that_cannot_be_is_dropped_when_it_is_written() -> None:
    long: Told = [("user", [0, "?" * 900]), ("assistant", [CARROTS])]
    rows = [
        named("long", long, (640, 428)),
        named("thin", [*ASKED[:1], ("assistant", [Region(0, "", (0, 0))])], (1, 500)),
        named("good", ASKED, (640, 428)),
    ]
    planned = Planned(rows, Qwen2VL(), 700)
    drops = {name: row["drop"] for name, row in planned.rows.items()}
    assert drops == {"s/long": "over_long", "s/thin": "ratio_too_extreme", "s/good": None}
    assert planned.rows["s/long"]["text"] == planned.rows["s/thin"]["text"] == []


PLACES = st.tuples(*[st.integers(0, 399)] * 4)


@st.composite
def talks(draw: st.DrawFn) -> tuple[list[tuple[str, list[str | int | Region]]], int]:
    media = draw(st.integers(1, 3))
    words = st.text('ab é图{["', max_size=6)
    where = st.integers(0, media - 1)
    boxes = st.builds(
        lambda i, t, p: Region(i, t, tuple(map(float, p))),
        where,
        words,
        st.builds(lambda p: (min(p[:2]), min(p[2:]), max(p[:2]), max(p[2:])), PLACES),
    )
    points = st.builds(
        lambda i, t, p: Region(i, t, (float(p[0]), float(p[1]))), where, words, PLACES
    )
    turns: list[tuple[str, list[str | int | Region]]] = []
    shown = 0
    for number in range(draw(st.integers(1, 4))):
        parts: list[str | int | Region] = list(draw(st.lists(words | boxes | points, max_size=4)))
        role = "user" if number % 2 == 0 else "assistant"
        if role == "user" and shown < media:
            parts.insert(draw(st.integers(0, len(parts))), shown)
            shown += 1
        turns.append((role, parts))
    turns.append(("assistant", [*range(shown, media), "End ", draw(boxes)]))
    return turns, media


@settings(deadline=None, max_examples=60)
@given(talks(), st.sampled_from(["plain", "chatml"]), st.integers(28, 400), st.booleans())
def test_a_late_text_is_what_tokenize_makes_of_the_same_words(
    talk: tuple[list[tuple[str, list[str | int | Region]]], int],
    template: str,
    side: int,
    tight: bool,
) -> None:
    """The numbers written by hand as ordinary text give the same tokens, loss and slots."""
    turns, media = talk
    sides = [(400, 400 + 7 * number) for number in range(media)]
    policy = Qwen2VL(max_pixels=784 * side)
    row = named("a", turns, *sides)
    planned = Planned([row], policy, 10**6, template=template)
    if tight:
        planned = Planned([row], policy, planned.rows["s/a"]["tokens"] - 1, template=template)
    if planned.rows["s/a"]["drop"]:
        assert planned.rows["s/a"]["drop"] == "over_long"
        return
    resized = planned.resized("s/a")

    def said(part: str | int | Region) -> str | int:
        if not isinstance(part, Region):
            return part
        scale = [r / s for r, s in zip(resized[part.item], sides[part.item], strict=True)]
        most = [length - 1 for length in resized[part.item]] * 2
        numbers = [
            min(round(value * scale[axis % 2]), most[axis]) for axis, value in enumerate(part.xy)
        ]
        name = "bbox_2d" if len(part.xy) == 4 else "point_2d"
        text = f'"{name}": {numbers}'
        if part.label:
            text += f', "label": {json.dumps(part.label, ensure_ascii=False)}'
        return f"{{{text}}}"

    by_hand = [(role, [said(part) for part in parts]) for role, parts in turns]
    (wanted,) = run([sample(by_hand)], template=template)
    found = planned.samples["s/a"].text
    for name in ("tokens", "loss", "slots"):
        assert getattr(found, name).tolist() == wanted[name]
    tokens, loss = planned.expanded("s/a")
    assert planned.rows["s/a"]["tokens"] == len(tokens)
    assert planned.rows["s/a"]["loss_tokens"] == sum(loss)


def test_a_tokenizer_that_merges_across_the_edge_of_a_box_merges_here_too(tmp_path: Path) -> None:
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    model.train_from_iterator(['Here: {"bbox_2d": [12, 34]}.'] * 9, trainer)
    model.add_special_tokens([*QWEN_SPECIALS])
    name = save_files(model, tmp_path, QWEN_TEMPLATE, "<|im_end|>")
    text: Any = {"tokenizer": name, "template": "tokenizer"}
    tokenizer = load_tokenizer(TextConfig(**text))
    planned = Planned([named("a", ASKED, (640, 428))], Qwen2VL(), **text)
    box = '{"bbox_2d": [147, 134, 619, 407], "label": "carrots"}'
    by_hand: Told = [("user", [0, "Where?"]), ("assistant", [f"Here: {box}."])]
    (wanted,) = run([sample(by_hand)], **text)
    found: TextRow = planned.samples["s/a"].text
    assert planned.resized("s/a") == [[644, 420]]
    assert found.tokens.tolist() == wanted["tokens"]
    assert found.loss.tolist() == wanted["loss"]
    alone = tokenizer.encode("Here: ") + tokenizer.encode(box)
    assert alone != tokenizer.encode(f"Here: {box}")  # what a slot for the box alone would give


@given(st.lists(st.text("ab", max_size=3), min_size=1, max_size=5), st.data())
def test_learned_spans_move_with_the_numbers(pieces: list[str], data: st.DataObject) -> None:
    text = NUMBERS.join(pieces)
    numbers = [f"<{number}>" * (number + 1) for number in range(len(pieces) - 1)]
    places = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=4)))
    places = places[: len(places) // 2 * 2]
    document = filled(text, places, numbers)
    rest = iter(numbers)
    letters = [next(rest) if letter == NUMBERS else letter for letter in text]
    assert document.text == "".join(letters)
    spans = zip(places[::2], places[1::2], strict=True)
    wanted = ["".join(letters[start:end]) for start, end in spans]
    assert [document.text[start:end] for start, end in document.learned] == wanted
    assert not re.search(NUMBERS, document.text)
