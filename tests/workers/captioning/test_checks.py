"""What is no caption, and what is one though it looks like none."""

from __future__ import annotations

import pytest

from workers.captioning.checks import (
    fault_of,
    fault_of_translation,
    question_pairs,
    same_answer,
)
from workers.captioning.config import Caption
from workers.captioning.prompts import load_prompt

PROMPT = load_prompt("caption", None).user


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist with this request.",
        "As an AI language model, I do not see pictures.",
        "I’m unable to view images.",
        "No image was provided. Please send one.",
        "There isn't any picture attached to your message.",
        "Please provide the image that you want me to describe.",
        "Could you upload the photo?",
    ],
)
def test_refusals(text: str) -> None:
    assert str(fault_of(text, "stop", PROMPT)).startswith("a refusal")


@pytest.mark.parametrize(
    "text",
    [
        "A man holds a sign that says 'Sorry'.",
        "Two dogs run over a beach; a third one sleeps in the shade of a boat.",
        "No cars stand in the street.",
        "A poster. " + "It lists prices of bread, milk and eggs in three shops. " * 2,
        "Yes.",
        "一只猫坐在桌子上。",
        "A screenshot of a chat. " + "x " * 120 + "I'm sorry, I cannot assist with that.",
    ],
)
def test_captions(text: str) -> None:
    repeated = fault_of(text, "stop", PROMPT)
    assert repeated is None or "x x" in text


def test_the_prompt_is_no_caption() -> None:
    assert fault_of(PROMPT, "stop", PROMPT) == "an echo of the prompt"
    assert fault_of(f"Sure! {PROMPT} A cat.", "stop", PROMPT) == "an echo of the prompt"
    assert fault_of("Describe what is shown in two to", "stop", PROMPT) == "an echo of the prompt"


def test_repetition() -> None:
    told = "the same words again and again"
    assert fault_of("a red house and a dog " * 6, "stop", PROMPT) == told
    assert fault_of("a red house and a dog", "stop", PROMPT) is None


def test_same_answers_are_told_by_their_words() -> None:
    assert same_answer("A  cat.", "a cat")
    assert not same_answer("A cat.", "A dog.")


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ('[{"question": "Why?", "answer": "So."}]', [("Why?", "So.")]),
        ('```json\n[{"question": " Why? ", "answer": "So.", "x": 1}]\n```', [("Why?", "So.")]),
        ('[{"question": "Why?", "answer": ""}]', None),
        ('[{"question": "Why?"}]', None),
        ("[]", None),
        ("[1, 2]", None),
        ("[" * 100_000 + "]", None),
        ("no list", None),
        ("] [", None),
    ],
)
def test_question_pairs(text: str, pairs: list[tuple[str, str]] | None) -> None:
    assert question_pairs(text) == pairs


def test_translations() -> None:
    config = Caption(task="translate", language="de", model="m")
    original = "The house stands beside the river and its door is red."
    good = "Das Haus steht neben dem Fluss und seine Tür ist rot."
    assert fault_of_translation(good, original, config) is None
    assert "0.09 times as long" in str(fault_of_translation("Haus.", original, config))
    assert fault_of_translation(original, original, config) == "its language is en, not de"
    assert fault_of_translation("OK", "OK", config) is None
