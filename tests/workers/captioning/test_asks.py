"""The keys of requests: a changed key asks for everything again, so no change goes unnoticed."""

from __future__ import annotations

from math import nan
from typing import Any

import pyarrow as pa
import pytest

from schemas.tables import SURVEYED
from workers.captioning.asks import Ask, Asking, asks_of
from workers.captioning.config import Caption
from workers.captioning.prompts import Prompt
from workers.match import Rule
from workers.policies.qwen2_vl import Qwen2VL

PROMPT = Prompt(
    version="1",
    system="Into {language}.",
    user="Say {text}",
    question="What?",
    frame="One?",
    difference="Two?",
    frame_question="At {first}?",
    difference_question="{first} and {second}?",
)


def item(**fields: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "string": "",
        "int32": 0,
        "int64": 0,
        "double": 0.0,
        "bool": False,
    }
    row = {
        field.name: empty.get(str(field.type), [])
        for field in SURVEYED.field("items").type.value_type
    }
    return {**row, "clip_start": nan, "clip_end": nan, **fields}


def surveyed(*items: dict[str, Any], text: str = "A text.") -> pa.Table:
    part = {"kind": "text", "text": text, "item": -1, "xy": []}
    row = {
        "sample_id": "s/1",
        "source": "s",
        "origin": "",
        "turns": [{"role": "assistant", "parts": [part]}],
        "items": list(items),
        "drop": None,
        "message": None,
    }
    return pa.Table.from_pylist([row], SURVEYED)


PICTURE = item(kind="image", sha256="ab" * 32, width=800, height=600, frames=1)
FILM = item(kind="video", sha256="cd" * 32, width=320, height=240, frames=240, fps=24.0)


def asked(table: pa.Table, **settings: Any) -> list[Ask]:
    config = Caption(model="m", endpoint="http://127.0.0.1/v1", **settings)
    asking = Asking(config, PROMPT, "m", 7, [Rule(Qwen2VL(max_pixels=200704))])
    return list(asks_of(table, [0], asking))


def test_the_key_of_a_request() -> None:
    """Pinned: raise VERSION where it changes on purpose, and all is asked again."""
    [one] = asked(surveyed(PICTURE), blank_share=1.0)
    assert (one.key, one.blank_key) == (
        "daa1572e3a411ba4d6e7fc39999503b7",
        "644b08d3adc47b73f706cecda015b505",
    )


@pytest.mark.parametrize(
    "same",
    [
        {"concurrency": 3},
        {"timeout_s": 9.0},
        {"retries": 0},
        {"keep": "new"},
        {"rejected": "drop"},
        {"blank_share": 0.5},
        {"frames": 3},
        {"api_key_env": "OTHER"},
    ],
)
def test_what_is_no_part_of_a_key(same: dict[str, Any]) -> None:
    [one], [other] = asked(surveyed(PICTURE)), asked(surveyed(PICTURE), **same)
    assert one.key == other.key


@pytest.mark.parametrize("other", [{"max_tokens": 9}, {"temperature": 0.5}, {"max_pixels": 10_000}])
def test_what_is_part_of_a_key(other: dict[str, Any]) -> None:
    [one], [changed] = asked(surveyed(PICTURE)), asked(surveyed(PICTURE), **other)
    assert one.key != changed.key


def test_sizes_follow_the_policy() -> None:
    """As many pixels as the policy gives, at the picture's own aspect ratio."""
    [one] = asked(surveyed(PICTURE))
    [shown] = one.shown
    assert shown.width * shown.height <= 200704
    assert shown.width / shown.height == pytest.approx(4 / 3, abs=0.01)
    [small] = asked(surveyed({**PICTURE, "width": 30, "height": 20}))
    assert (small.shown[0].width, small.shown[0].height) == (30, 20)


def test_frames_lie_in_the_clip() -> None:
    [one] = asked(surveyed(FILM), frames=4)
    assert [shown.frame for shown in one.shown] == [30, 90, 150, 210]
    clip = {**FILM, "clip_start": 5.0, "clip_end": 6.0}
    [one] = asked(surveyed(clip), frames=4)
    assert [shown.frame for shown in one.shown] == [123, 129, 135, 141]
    first, second = asked(surveyed(clip), task="needle")
    assert all(120 <= shown.frame < 144 for ask in (first, second) for shown in ask.shown)
    assert second.shown[0].frame < second.shown[1].frame


def test_each_text_is_translated_by_itself() -> None:
    [one] = asked(surveyed(text=" Say {language}. "), task="translate", language="fr")
    assert one.system == "Into French."
    assert one.user == "Say Say {language}."
    assert (one.shown, one.blank_key) == ((), "")
