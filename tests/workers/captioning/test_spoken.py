"""What becomes of turns: places of media and boxes stay, texts change."""

from __future__ import annotations

from typing import Any

import pytest

from workers.captioning.config import Task
from workers.captioning.spoken import (
    learned_text,
    takes,
    text_part,
    texts_of,
    with_caption,
    with_questions,
    with_texts,
)

MEDIUM = {"kind": "media", "text": "", "item": 0, "xy": []}
BOX = {"kind": "box", "text": "door", "item": 0, "xy": [1.0, 2.0, 3.0, 4.0]}


def turn(role: str, *parts: Any) -> dict[str, Any]:
    told = [text_part(part) if isinstance(part, str) else part for part in parts]
    return {"role": role, "parts": told}


SHOWS = [turn("user", MEDIUM)]
TOLD = [turn("user", MEDIUM, "\nSo?"), turn("assistant", "So.")]
DOCUMENT = [turn("text", "Before. ", MEDIUM, " After.")]


def test_a_caption_answers_what_was_asked() -> None:
    assert with_caption(SHOWS, "A cat.", "What?") == [
        turn("user", MEDIUM, "\nWhat?"),
        turn("assistant", "A cat."),
    ]
    assert with_caption(SHOWS, "A cat.", "")[0] == SHOWS[0]
    assert with_caption(TOLD, "A cat.", "What?") == [TOLD[0], turn("assistant", "A cat.")]
    alone = [turn("text", MEDIUM, "Alt.")]
    assert with_caption(alone, "A cat.", "What?") == [turn("text", MEDIUM, "A cat.")]
    assert TOLD[1] == turn("assistant", "So.")  # what was given is as it was


def test_questions_follow() -> None:
    pairs = [("Why?", "Because."), ("When?", "Now.")]
    assert with_questions(TOLD, pairs)[2:] == [
        turn("user", "Why?"),
        turn("assistant", "Because."),
        turn("user", "When?"),
        turn("assistant", "Now."),
    ]
    assert with_questions(SHOWS, pairs)[0] == turn("user", MEDIUM, "\nWhy?")


def test_texts_change_in_their_places() -> None:
    turns = [turn("user", " Look: ", MEDIUM, BOX, "\n\n"), turn("assistant", "A door.\n")]
    assert texts_of(turns) == [" Look: ", "A door.\n"]
    assert with_texts(turns, ["Sieh:", " Eine Tür. "]) == [
        turn("user", " Sieh: ", MEDIUM, BOX, "\n\n"),
        turn("assistant", "Eine Tür.\n"),
    ]


@pytest.mark.parametrize(
    ("turns", "kinds", "tasks"),
    [
        (SHOWS, ["image"], {"caption", "transcribe", "questions"}),
        (TOLD, ["image"], {"caption", "transcribe", "questions", "translate"}),
        (TOLD, ["video"], {"caption", "transcribe", "questions", "translate", "needle"}),
        (DOCUMENT, ["image"], {"translate"}),
        ([turn("text", MEDIUM, "Alt.")], ["image"], {"caption", "transcribe", "translate"}),
        ([turn("user", "So?"), turn("assistant", "So.")], [], {"translate"}),
        ([*TOLD, *TOLD], ["image"], {"questions", "translate"}),
        ([TOLD[0], turn("assistant", "A ", BOX)], ["image"], {"questions", "translate"}),
    ],
)
def test_what_each_task_is_for(turns: Any, kinds: list[str], tasks: set[Task]) -> None:
    every: tuple[Task, ...] = ("caption", "transcribe", "questions", "needle", "translate")
    assert {task for task in every if takes(task, turns, kinds)} == tasks


def test_what_is_learned() -> None:
    assert learned_text(SHOWS) == ""
    assert learned_text([*TOLD, turn("text", " A page. ", MEDIUM)]) == "So. A page."
