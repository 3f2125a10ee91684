"""caption: what answers make of a block: CAPTIONED, old and new text side by side, and the block's
SURVEYED table with the texts that are kept.

An answer that is none, or that does not depend on the picture, is rejected: the sample keeps its
own text where it has one and the recipe does not say otherwise, else it is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pyarrow as pa

from schemas.reasons import Reason
from schemas.tables import CAPTIONED, SURVEYED, conform
from workers.captioning.asks import Ask, Asking
from workers.captioning.checks import (
    fault_of,
    fault_of_translation,
    question_pairs,
    same_answer,
)
from workers.captioning.config import Task
from workers.captioning.prompts import prompt_name
from workers.captioning.spoken import (
    Turns,
    learned_text,
    texts_of,
    with_caption,
    with_questions,
    with_texts,
)

VERSION = 1

Drop = tuple[str, str]
"""Reason and message."""
Record = Mapping[str, Any]
"""A row of ANSWERS."""


@dataclass(frozen=True)
class Heard:
    """What came of the requests about a block."""

    answers: Mapping[str, Record]
    """By key, those to blank pictures too."""
    faults: Mapping[str, Drop] = field(default_factory=dict)
    """By key, where there is no answer."""
    scores: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """By row the similarity of the old text and of the new one; none where they do not decide."""


@dataclass(frozen=True)
class _Verdict:
    """Of one request: its answer, or what is wrong with it."""

    ask: Ask
    answer: Record | None
    fault: Drop | None
    blank_agrees: bool | None


def caption(
    surveyed: pa.Table, asks: Sequence[Ask], heard: Heard, drops: Mapping[int, Drop], asking: Asking
) -> tuple[pa.Table, pa.Table]:
    """CAPTIONED and the new SURVEYED of a block; `drops` are rows that are out before."""
    ids, turns = surveyed.column("sample_id").to_pylist(), surveyed.column("turns").to_pylist()
    reasons, messages = (surveyed.column(name).to_pylist() for name in ("drop", "message"))
    for row, drop in drops.items():
        reasons[row], messages[row] = drop
    rows: list[dict[str, Any]] = []
    for row, mine in groupby(asks, key=lambda ask: ask.row):
        verdicts = [_verdict(ask, heard, turns[row], asking) for ask in mine]
        score = heard.scores.get(row)
        decision, fault, told = _decided(turns[row], verdicts, score, asking)
        originals = _originals(turns[row], asking)
        rows += _records(ids[row], verdicts, originals, score, decision, asking)
        turns[row] = told
        if decision == "drop" and fault:
            reasons[row], messages[row] = fault
    for name, values in (("turns", turns), ("drop", reasons), ("message", messages)):
        column = SURVEYED.field(name)
        place = SURVEYED.get_field_index(name)
        surveyed = surveyed.set_column(place, column, pa.array(values, column.type))
    captioned = pa.Table.from_pylist(rows, CAPTIONED)
    return conform(captioned, CAPTIONED), conform(surveyed, SURVEYED)


def stand_in_answer(task: Task) -> Record:
    """What a plan takes for an answer that is not there yet: as long as such answers often are."""
    text = " ".join(_SENTENCES)
    if task == "questions":
        text = json.dumps([{"question": "What is there?", "answer": one} for one in _SENTENCES[:3]])
    return {**_NO_ANSWER, "text": text, "finish": "stop"}


_SENTENCES = (
    "A woman in a red coat walks with a small dog along a quiet street past an old house.",
    "Behind her two children sit on a wooden bench and look into a large green book.",
    "The sign above the door of the shop reads 'Fresh bread' in white letters on blue.",
    "It has rained, and the light of the lamps is mirrored on the wet stones.",
)
_NO_ANSWER: Record = {
    "text": "",
    "answered_by": "",
    "finish": "",
    "latency_ms": 0,
    "prompt_tokens": 0,
    "answer_tokens": 0,
}


def blank_agreement(
    controls: Sequence[tuple[str, str]], answers: Mapping[str, Record]
) -> tuple[int, int]:
    """Of requests and their blank controls those with both answers, and how many of them agree."""
    checked = agreed = 0
    for key, blank_key in controls:
        if key in answers and blank_key in answers:
            checked += 1
            agreed += same_answer(answers[key]["text"], answers[blank_key]["text"])
    return checked, agreed


def sound_captions(
    surveyed: pa.Table, asks: Sequence[Ask], heard: Heard, asking: Asking
) -> Iterator[tuple[Ask, str, str]]:
    """Where old and new text are to be scored: the request, the old text, the new one."""
    turns = surveyed.column("turns")
    for ask in asks:
        said = turns[ask.row].as_py()
        verdict = _verdict(ask, heard, said, asking)
        old = learned_text(said)
        if old and verdict.fault is None and verdict.answer is not None:
            yield ask, old, verdict.answer["text"].strip()


def _verdict(ask: Ask, heard: Heard, turns: Turns, asking: Asking) -> _Verdict:
    if ask.key not in heard.answers:
        missing = (Reason.CAPTION_REJECTED.value, "no answer")
        return _Verdict(ask, None, heard.faults.get(ask.key, missing), None)
    answer = heard.answers[ask.key]
    blank = heard.answers.get(ask.blank_key)
    agrees = None if blank is None else same_answer(answer["text"], blank["text"])
    translates = asking.config.task == "translate"
    wrong = fault_of(answer["text"], answer["finish"], "" if translates else ask.user)
    if translates and wrong is None:
        original = texts_of(turns)[ask.slot]
        wrong = fault_of_translation(answer["text"], original, asking.config)
    if asking.config.task == "questions" and not wrong and not question_pairs(answer["text"]):
        wrong = "no JSON list of questions and answers"
    if agrees and wrong is None:
        wrong = "the same answer to a blank picture"
    fault = (Reason.CAPTION_REJECTED.value, wrong) if wrong else None
    return _Verdict(ask, answer, fault, agrees)


def _decided(
    turns: Turns, verdicts: Sequence[_Verdict], score: tuple[float, float] | None, asking: Asking
) -> tuple[str, Drop | None, Turns]:
    """caption, original or drop; why, and the turns from here on."""
    config = asking.config
    good = [one for one in verdicts if one.fault is None]
    fault = next((one.fault for one in verdicts if one.fault), None)
    # of questions about a video each stands by itself, of a translation none does
    if not good or (fault and config.task == "translate"):
        undecodable = fault is not None and fault[0] != Reason.CAPTION_REJECTED.value
        own = bool(texts_of(turns) if config.task == "translate" else learned_text(turns))
        if undecodable or config.rejected == "drop" or not own:
            return "drop", fault, turns
        return "original", fault, turns
    if score is not None and not score[1] > score[0]:
        return "original", None, turns
    texts = [str(one.answer["text"]).strip() for one in good if one.answer]
    if config.task == "translate":
        return "caption", None, with_texts(turns, texts)
    if config.task == "questions":
        return "caption", None, with_questions(turns, question_pairs(texts[0]) or [])
    if config.task == "needle":
        pairs = [(one.ask.question, text) for one, text in zip(good, texts, strict=True)]
        return "caption", None, with_questions(turns, pairs)
    return "caption", None, with_caption(turns, texts[0], good[0].ask.question)


def _originals(turns: Turns, asking: Asking) -> list[str]:
    """The text that each request is to replace; none where turns are added."""
    if asking.config.task == "translate":
        return texts_of(turns)
    return [learned_text(turns)] if asking.config.task in ("caption", "transcribe") else []


def _records(
    sample_id: str,
    verdicts: Sequence[_Verdict],
    originals: Sequence[str],
    score: tuple[float, float] | None,
    decision: str,
    asking: Asking,
) -> Iterator[dict[str, Any]]:
    config = asking.config
    parameters = json.dumps(
        {
            "max_tokens": config.max_tokens,
            "temperature": config.temperature,
            "seed": asking.seed,
        }
    )
    for one in verdicts:
        answer = one.answer or _NO_ANSWER
        slot = one.ask.slot
        # of several answers about a sample some may be good
        kept = "original" if one.fault and decision == "caption" else decision
        yield {
            "sample_id": sample_id,
            "slot": slot,
            "task": config.task,
            "original": originals[slot] if slot < len(originals) else "",
            "caption": answer["text"],
            "model": asking.model_name,
            "prompt_version": prompt_name(config.task, asking.prompt),
            "parameters": parameters,
            "key": one.ask.key,
            **{name: answer[name] for name in _NO_ANSWER if name != "text"},
            "original_score": score[0] if score else None,
            "score": score[1] if score else None,
            "blank_agrees": one.blank_agrees,
            "decision": kept,
            "message": f"{one.fault[0]}: {one.fault[1]}" if one.fault else None,
        }
