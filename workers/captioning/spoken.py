"""Turns of a sample as captioning reads and writes them: what is learned of it, and what answers
make of it.

Turns are those of SURVEYED, as lists and dictionaries; none is changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workers.captioning.config import Task

Turns = list[dict[str, Any]]

LEARNED = ("assistant", "text")


def learned_text(turns: Turns) -> str:
    """The text of answers and documents."""
    return " ".join(_text_of(turn) for turn in turns if turn["role"] in LEARNED and _text_of(turn))


def texts_of(turns: Turns) -> list[str]:
    """The texts that a translation replaces, in order: not labels, not what is blank."""
    return [part["text"] for turn in turns for part in turn["parts"] if _is_said(part)]


def takes(task: Task, turns: Turns, kinds: Sequence[str]) -> bool:
    """Whether the task can be done for a sample with such turns and kinds of media."""
    if task == "translate":
        return bool(texts_of(turns))
    if task == "needle":
        return list(kinds) == ["video"] and not _has_document(turns)
    if not kinds:
        return False
    if task == "questions":
        return not _has_document(turns)
    said = [turn for turn in turns if turn["role"] in LEARNED and _text_of(turn)]
    # of several answers none is the caption, and neither is one of the texts of a document, nor a
    # text that names places
    return not said or (len(said) == 1 and _is_one_text(said[0]))


def with_caption(turns: Turns, caption: str, question: str) -> Turns:
    """The caption in place of the only learned text, or behind the media."""
    learned = [n for n, turn in enumerate(turns) if turn["role"] in LEARNED]
    if learned:
        turn = turns[learned[0]]
        kept = [part for part in turn["parts"] if not _is_said(part)]
        told = {"role": turn["role"], "parts": [*kept, text_part(caption)]}
        return [*turns[: learned[0]], told, *turns[learned[0] + 1 :]]
    return with_questions(turns, [(question, caption)])


def with_questions(turns: Turns, pairs: Sequence[tuple[str, str]]) -> Turns:
    """Questions and answers behind the conversation; the first question joins a last user turn that
    has no answer, after its media, where that asks nothing itself.
    """
    told = list(turns)
    for question, answer in pairs:
        last = told[-1] if told else None
        if last is not None and last["role"] == "user":
            asks = bool(_text_of(last)) or not question
            parts = last["parts"] if asks else [*last["parts"], text_part(f"\n{question}")]
            told[-1] = {"role": "user", "parts": parts}
        else:
            told.append({"role": "user", "parts": [text_part(question)]})
        told.append({"role": "assistant", "parts": [text_part(answer)]})
    return told


def with_texts(turns: Turns, texts: Sequence[str]) -> Turns:
    """These texts in place of `texts_of`; what is around them, and blanks, stay."""
    left = iter(texts)
    return [
        {
            "role": turn["role"],
            "parts": [
                {**part, "text": _in_place(part["text"], next(left))} if _is_said(part) else part
                for part in turn["parts"]
            ],
        }
        for turn in turns
    ]


def text_part(text: str) -> dict[str, Any]:
    """A text as a part of a turn."""
    return {"kind": "text", "text": text, "item": -1, "xy": []}


def _in_place(old: str, new: str) -> str:
    """The new text with the blanks around the old one."""
    body = old.strip()
    start = old.index(body)
    return f"{old[:start]}{new.strip()}{old[start + len(body) :]}"


def _is_said(part: dict[str, Any]) -> bool:
    return part["kind"] == "text" and bool(part["text"].strip())


def _is_one_text(turn: dict[str, Any]) -> bool:
    told = [part for part in turn["parts"] if part["kind"] != "media"]
    return sum(map(_is_said, told)) == 1 and all(part["kind"] == "text" for part in told)


def _text_of(turn: dict[str, Any]) -> str:
    return " ".join(part["text"].strip() for part in turn["parts"] if _is_said(part))


def _has_document(turns: Turns) -> bool:
    return any(turn["role"] == "text" for turn in turns)
