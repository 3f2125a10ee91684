"""Boxes and points in text: as each family's own data has them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.bytes_tokenizer import RESERVED
from workers.regions import MARK, NAME_OF_MARK, NUMBERS, Region, outside, written
from workers.text_config import REGION_NAMES, Regions, TextConfig

WAYS: tuple[Regions, ...] = (
    "qwen2_vl",
    "qwen3_vl",
    "internvl",
    "deepseek_vl2",
    "llava",
    "fractions",
)
"""Those that know all numbers from the source picture."""


def write(region: Region, wh: tuple[int, int], way: Regions) -> str:
    """One region."""
    [text] = written([region], np.array([wh]), way)
    return text


def spelled(text: str) -> str:
    """The text with its marks by name."""
    return MARK.sub(lambda mark: NAME_OF_MARK[mark[0]], text)


CARROTS = Region(0, "bowl of carrots", (146, 137, 615, 415))
"""The box and the picture of Qwen's own conversion (process_bbox.ipynb), 640 x 428."""


@pytest.mark.parametrize(
    ("region", "wh", "way", "text"),
    [
        # the numbers that Qwen's own code prints, in the tokens of the paper (arXiv 2409.12191)
        (
            CARROTS,
            (640, 428),
            "qwen2_vl",
            "<|object_ref_start|>bowl of carrots<|object_ref_end|>"
            "<|box_start|>(228,320),(961,970)<|box_end|>",
        ),
        (
            CARROTS,
            (640, 428),
            "qwen3_vl",
            '{"bbox_2d": [228, 320, 961, 970], "label": "bowl of carrots"}',
        ),
        # cookbooks/spatial_understanding.ipynb prints this point
        (
            Region(0, "point_1", (925, 618)),
            (1000, 1000),
            "qwen3_vl",
            '{"point_2d": [925, 618], "label": "point_1"}',
        ),
        # RefCOCO's COCO_train2014_000000581857 as InternVL's data has it
        (
            Region(0, "the lady with the blue shirt", (103.93, 299.99, 238.15, 477.41)),
            (427, 640),
            "internvl",
            "<ref>the lady with the blue shirt</ref><box>[[243, 469, 558, 746]]</box>",
        ),
        # the answer in DeepSeek-VL2's README.md, on a picture where a step is one or two pixels
        (
            Region(0, "The giraffe at the back.", (1160, 270, 1998, 900)),
            (1998, 999),
            "deepseek_vl2",
            "<|ref|>The giraffe at the back.<|/ref|><|det|>[[580, 270, 999, 900]]<|/det|>",
        ),
        # LLaVA pads 640 x 480 with 80 rows above and below
        (Region(0, "", (64, 48, 320, 240)), (640, 480), "llava", "[0.1, 0.2, 0.5, 0.5]"),
        (Region(0, "", (0, 0, 201, 300)), (201, 300), "llava", "[0.16, 0.0, 0.83, 1.0]"),
        (Region(0, "door", (64, 48)), (640, 480), "llava", "door [0.1, 0.2]"),
        (Region(0, "a", (64, 48, 320, 160)), (640, 480), "fractions", "a [0.1, 0.1, 0.5, 0.333]"),
        # points, and without a label
        (Region(0, "", (320, 214)), (640, 428), "qwen2_vl", "<|box_start|>(500,500)<|box_end|>"),
        (Region(0, "", (320, 214)), (640, 428), "internvl", "<box>[[500, 500]]</box>"),
        (Region(0, "", (320, 214)), (640, 428), "deepseek_vl2", "<|det|>[[500, 500]]<|/det|>"),
        (Region(0, "", (0, 428)), (640, 428), "qwen3_vl", '{"point_2d": [0, 1000]}'),
        (Region(0, "", (0, 0, 640, 428)), (640, 428), "fractions", "[0.0, 0.0, 1.0, 1.0]"),
    ],
)  # fmt: skip
def test_a_region_reads_as_published(
    region: Region, wh: tuple[int, int], way: Regions, text: str
) -> None:
    assert spelled(write(region, wh, way)) == text


def test_pixels_of_the_resized_picture_wait() -> None:
    assert write(CARROTS, (640, 428), "qwen2_5_vl") == (
        f'{{"bbox_2d": [{NUMBERS}], "label": "bowl of carrots"}}'
    )
    assert write(Region(0, "", (1, 2)), (9, 9), "qwen2_5_vl") == f'{{"point_2d": [{NUMBERS}]}}'


@pytest.mark.parametrize("way", ["qwen2_5_vl", "qwen3_vl"])
def test_any_label_is_a_json_text(way: Regions) -> None:
    label = 'a "tür"\n\\ 图'
    text = write(Region(0, label, (1, 2)), (9, 9), way).replace(NUMBERS, "1, 2")
    assert json.loads(text)["label"] == label
    assert "tür" in text


sides = st.integers(1, 5000)
shares = st.floats(0, 1)


@given(sides, sides, st.lists(shares, min_size=4, max_size=4), st.booleans(), st.sampled_from(WAYS))
def test_numbers_lead_back_to_the_place(
    width: int, height: int, at: list[float], point: bool, way: Regions
) -> None:
    """Within half a step of the way's scale."""
    box = (min(at[:2]) * width, min(at[2:]) * height, max(at[:2]) * width, max(at[2:]) * height)
    xy = box[:2] if point else box
    text = MARK.sub("", write(Region(0, "", xy), (width, height), way))
    found = np.array([float(number) for number in re.findall(r"[\d.]+", text.split("2d")[-1])])
    assert len(found) == len(xy)
    wh = np.array([width, height] * (len(xy) // 2), np.float64)
    steps = {"deepseek_vl2": 999, "llava": 1, "fractions": 1}.get(way, 1000)
    half = {"llava": 0.005, "fractions": 0.0005}.get(way, 0.5)
    margins = np.zeros_like(wh)
    if way == "llava":
        margins = (wh.max() - wh) // 2
        wh = np.full_like(wh, wh.max())
    back, slack = found / steps * wh - margins, half / steps * wh
    assert (np.abs(back - xy) <= slack + 1e-6 * max(width, height)).all()


def test_a_region_on_the_edge_is_inside() -> None:
    assert not outside(Region(0, "", (0, 0, 50, 30)), (50, 30))
    assert not outside(Region(0, "", (50, 30)), (50, 30))
    for xy in [(-1, 0, 5, 5), (0, 0, 50.5, 3), (0, 31), (51, 3), (0, 0, 5, 30.01)]:
        assert outside(Region(0, "", xy), (50, 30)), xy


def test_the_documentation_has_the_texts() -> None:
    page = (Path(__file__).parents[2] / "docs" / "recipe.md").read_text()
    for way in get_args(Regions)[1:]:
        row = re.search(rf"^\| `{way}` \| `(.*?)` \|", page, re.MULTILINE)
        assert row
        text = write(Region(0, "door", (64, 112, 320, 224)), (640, 448), way)
        numbers = "64, 112, 322, 224"  # of 644 x 448
        assert row[1].replace("\\|", "|") == spelled(text).replace(NUMBERS, numbers)


def test_the_way_is_that_of_the_policies_where_they_have_one() -> None:
    ways = {
        ("qwen2_5_vl",): "qwen2_5_vl",
        ("qwen3_vl", "qwen3_vl"): "qwen3_vl",
        ("internvl", "fixed"): "internvl",
        ("qwen2_vl", "internvl"): "fractions",
        ("llava15", "llava_next"): "llava",
        ("navit",): "fractions",
    }
    for kinds, way in ways.items():
        assert TextConfig().for_policies(kinds).regions == way
        assert TextConfig(regions="internvl").for_policies(kinds).regions == "internvl"


def test_every_mark_has_a_reserved_id() -> None:
    assert set(NAME_OF_MARK.values()) == set(REGION_NAMES) <= set(RESERVED)
    assert all(0xFDD0 < ord(mark) <= 0xFDEF for mark in (NUMBERS, *NAME_OF_MARK))
    assert NUMBERS not in NAME_OF_MARK
