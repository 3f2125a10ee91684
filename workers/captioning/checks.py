"""What is no caption: refusals, what is empty or cut off, echoes of the prompt, runs of the same
words; of a translation also an odd length or another language.
"""

from __future__ import annotations

import json
import re
from typing import Any

from workers.captioning.config import Caption
from workers.signals.words import language_of

_WORD = re.compile(r"[^\W_]+")
_REFUSALS = re.compile(
    r"\b(?:i(?:['’]m| am) (?:sorry|unable|not able)|i (?:can(?:no|['’])t|can ?not|won['’]t)"
    r" (?:assist|help|see|view|describe|provide|comply|access|process)|as an ai\b"
    r"|(?:no|any) (?:image|picture|photo|video)s? (?:is|was|has been|attached|provided|visible)"
    r"|(?:please|could you) (?:provide|upload|share|attach)\b[^.]{0,40}"
    r"\b(?:image|picture|photo|video))",
    re.IGNORECASE,
)
_REFUSED_AT = 200
"""Characters from the start that are looked at: further on it is a description of such a text."""
_RUN = 4
"""Words."""
_MAX_REPEATED = 0.5
"""Share of the runs of words that came before."""
_FEW_WORDS = 12
"""Below it nothing is a repetition."""
_FEW_LETTERS = 24
"""Below it a language is a guess."""
_ECHO = 0.8
"""Share of the runs of the prompt's words that stand in the answer."""


def fault_of(text: str, finish: str, user: str) -> str | None:
    """What is wrong with an answer to this prompt, or None."""
    if not text.strip():
        return "empty"
    if finish != "stop":
        return f"cut off ({finish})"
    if found := _REFUSALS.search(text[:_REFUSED_AT]):
        return f"a refusal ({found[0]!r})"
    words = _words(text)
    if len(words) >= _FEW_WORDS and _repeated(words) > _MAX_REPEATED:
        return "the same words again and again"
    if _echoes(words, _words(user)):
        return "an echo of the prompt"
    return None


def fault_of_translation(text: str, original: str, config: Caption) -> str | None:
    """What is wrong with the length or language of a translation, or None."""
    ratio = len(text.strip()) / max(len(original.strip()), 1)
    low, high = config.length_ratio
    if not low <= ratio <= high:
        return f"{ratio:.2f} times as long as its text, not {low} to {high} times"
    if sum(char.isalpha() for char in text) >= _FEW_LETTERS:
        language = language_of(text)
        if language != config.language:
            return f"its language is {language}, not {config.language}"
    return None


def same_answer(one: str, other: str) -> bool:
    """Whether two answers say the same words."""
    return _words(one) == _words(other)


def question_pairs(text: str) -> list[tuple[str, str]] | None:
    """Questions and answers of `[{"question": …, "answer": …}, …]`; None where it is no such list.

    What stands around it, as a code fence, is passed over.
    """
    start, end = text.find("["), text.rfind("]")
    if not 0 <= start < end:
        return None
    try:
        told: Any = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    pairs = []
    for one in told if isinstance(told, list) else []:
        pair = (one.get("question"), one.get("answer")) if isinstance(one, dict) else (None, None)
        question, answer = (side.strip() if isinstance(side, str) else "" for side in pair)
        if not question or not answer:
            return None
        pairs.append((question, answer))
    return pairs or None


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _runs(words: list[str]) -> list[tuple[str, ...]]:
    return list(zip(*(words[n:] for n in range(_RUN)), strict=False))


def _repeated(words: list[str]) -> float:
    runs = _runs(words)
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def _echoes(words: list[str], prompt: list[str]) -> bool:
    """An answer that has most of a prompt in it, or a short one that stands in it whole."""
    asked, said = set(_runs(prompt)), set(_runs(words))
    if len(asked) < _RUN or not said:
        return False
    return len(asked & said) >= _ECHO * min(len(asked), len(said))
