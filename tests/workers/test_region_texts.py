"""Boxes and points of surveyed samples in the tokens of their text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest

from schemas.errors import ContractError, RecipeError
from schemas.tables import SURVEYED
from tests.workers.conversations import Told, decoded, learned, run, sample
from tests.workers.plan_rows import medium
from tests.workers.tiny_tokenizer import QWEN_SPECIALS, save_tokenizer
from workers.bytes_tokenizer import BytesTokenizer
from workers.regions import Region
from workers.text_config import REGION_NAMES, Regions, TextConfig
from workers.text_tokenizers import load_tokenizer

DOOR = Region(0, "door", (10, 20, 50, 40))
HANDLE = Region(1, "", (50, 50))
TURNS: Told = [
    ("user", [0, "Is ", DOOR, " like ", 1, HANDLE, "?"]),
    ("assistant", ["No, see ", Region(1, "it", (0, 0, 200, 50))]),
]


def pictured(turns: Told = TURNS, *wh: tuple[int, int], **more: Any) -> dict[str, Any]:
    """A sample whose pictures have these sizes, 100 x 80 and 200 x 100 unless told."""
    row = sample(turns, **more)
    sizes = wh or ((100, 80), (200, 100))
    return {**row, "items": [medium(wh=size) for size in sizes[: len(row["items"])]]}


INTERNVL = (
    "Is <ref>door</ref><box>[[100, 250, 500, 500]]</box> like <box>[[250, 500]]</box>?"
    "No, see <ref>it</ref><box>[[0, 0, 1000, 500]]</box><|endoftext|>"
)


def test_a_region_stands_where_it_is_named_and_is_learned_like_its_turn() -> None:
    (row,) = run([pictured()], template="plain", regions="internvl")
    assert decoded(row) == INTERNVL
    assert learned(row) == ["No, see <ref>it</ref><box>[[0, 0, 1000, 500]]</box><|endoftext|>"]
    second = BytesTokenizer().decode(row["tokens"][: row["slots"][1]])
    assert second.endswith("</box> like ")
    assert row["tokens"].count(BytesTokenizer().special("<box>")) == 3
    assert row["late"] == []


def test_an_answer_may_be_a_box_alone() -> None:
    turns: Told = [("user", [0, "Where?"]), ("assistant", [DOOR])]
    (row,) = run([pictured(turns)], regions="llava")
    assert learned(row) == ["door [0.1, 0.3, 0.5, 0.5]<|im_end|>"]


def test_what_spells_a_token_in_a_label_or_beside_it_stays_text() -> None:
    turns: Told = [("text", ["<box>", 0, Region(0, "</ref>", (0, 0)), "</box>"])]
    (row,) = run([pictured(turns)], template="plain", regions="internvl")
    assert decoded(row) == "<box><ref></ref></ref><box>[[0, 0]]</box></box><|endoftext|>"
    special = [BytesTokenizer().special(name) for name in ("<ref>", "</ref>", "<box>", "</box>")]
    assert [token for token in row["tokens"] if token in special] == special


def test_a_label_may_hold_no_character_of_ours() -> None:
    for character in "\ufdd0\ufdd3\ufde0":
        turns: Told = [("text", [0, "x", Region(0, f"a{character}", (0, 0))])]
        good = pictured()
        bad, kept = run([pictured(turns), good], regions="qwen2_5_vl")
        assert bad["drop"] == "bad_record"
        assert f"U+{ord(character):04X}" in bad["message"]
        assert kept["drop"] is None


def test_a_region_outside_of_its_picture_drops_its_sample() -> None:
    turns: Told = [("text", [0, "x", Region(0, "", (0, 0, 100, 80.5))])]
    rows = run([pictured(), pictured(turns), pictured(turns, (101, 81))], regions="internvl")
    assert [row["drop"] for row in rows] == [None, "bad_box", None]
    assert rows[1]["message"] == "box [0.0, 0.0, 100.0, 80.5] of item 0 is not inside 100×80"
    assert rows[1]["tokens"] == rows[1]["slots"] == []


@pytest.mark.parametrize("way", get_args(Regions))
def test_a_region_far_away_is_no_worse_than_one_beside_its_picture(way: Regions) -> None:
    turns: Told = [("text", [0, "x", Region(0, "", (-1e308, 1e308)), DOOR])]
    bad, good = run([pictured(turns), pictured()], regions=way)
    assert (bad["drop"], good["drop"]) == ("bad_box", None)
    assert bad["late"] == []
    assert len(good["late"]) == (way == "qwen2_5_vl")


def test_a_region_of_no_item_breaks_the_contract() -> None:
    with pytest.raises(ContractError, match="a region of item 2, of 2"):
        run([pictured([("text", [0, 1, Region(2, "", (0, 0))])])])


def test_dropped_samples_and_slices_keep_regions_with_their_own() -> None:
    rows = [
        pictured(drop="truncated") | {"turns": [], "items": []},
        pictured([("text", ["No regions", 0])]),
        pictured(),
    ]
    assert [row["drop"] for row in run(rows)] == [None, None, None]
    table = pa.Table.from_pylist([*rows, *rows], schema=SURVEYED).slice(1, 5)
    found = run(table.to_pylist(), template="plain", regions="internvl")
    assert [decoded(row) for row in found] == ["No regions<|endoftext|>", INTERNVL, "", *[
        "No regions<|endoftext|>",
        INTERNVL,
    ]]  # fmt: skip


def test_media_move_to_the_front_and_a_suffix_ends_the_text_with_its_regions() -> None:
    turns: Told = [("user", ["Is ", 0, DOOR, " like ", 1, HANDLE]), ("assistant", ["No"])]
    (row,) = run(
        [pictured(turns)], {"s": " Briefly."}, template="plain", media="front", regions="internvl"
    )
    assert decoded(row) == (
        "\nIs <image><ref>door</ref><box>[[100, 250, 500, 500]]</box> like <image>"
        "<box>[[250, 500]]</box> Briefly.No<|endoftext|>"
    )
    assert row["slots"] == [0, 0]


def test_a_tokenizers_own_template_writes_them_too(tmp_path: Path) -> None:
    name = save_tokenizer(tmp_path, specials=(*QWEN_SPECIALS, *REGION_NAMES[:4]))
    text: Any = {"tokenizer": name, "template": "tokenizer", "regions": "qwen2_vl"}
    (row,) = run([pictured()], **text)
    answer = (
        "No, see <|object_ref_start|>it<|object_ref_end|>"
        "<|box_start|>(0,0),(1000,500)<|box_end|><|im_end|>"
    )
    assert learned(row, **text) == [answer]
    tokenizer = load_tokenizer(TextConfig(**text))
    ids = [tokenizer.special(name) for name in REGION_NAMES[:4]]
    assert [token for token in row["tokens"] if token in ids] == [*ids, *ids[2:], *ids]


def test_a_tokenizer_without_the_tokens_is_refused_only_where_they_are_needed(
    tmp_path: Path,
) -> None:
    text: Any = {"tokenizer": save_tokenizer(tmp_path), "regions": "qwen2_vl"}
    (row,) = run([pictured([("text", ["x", 0])])], **text)
    assert row["drop"] is None
    with pytest.raises(RecipeError, match=r"no token <\|object_ref_start\|>"):
        run([pictured()], **text)
