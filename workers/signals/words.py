"""What is measured of a sample's text: lengths, language, repetition, residue of the web, patterns
of personal data as counts, never the text itself.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

VERSION = 2

_WORD = re.compile(r"[^\W_]+")
_URL = re.compile(r"https?://\S+|www\.\S+", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9-]{0,30}(?:\s[^<>]{0,300})?/?>")
_EMAIL = re.compile(r"[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}")
_PHONE = re.compile(
    r"(?<![\w.])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)|\d{2,4})(?:[ -]\d{2,4}){2,4}(?![\w.])"
)
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_IP = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_MARKER = re.compile(
    r"<(?:image|img|video|view)(?:[_ ]?\d+)?>|\[IMG\]|<IMG_CONTEXT>"
    r"|<\|(?:image|video|vision)_(?:pad|start|end)\|>",
    re.IGNORECASE,
)
"""What stands for a medium in the texts of other data sets; a sample's own markers are none of its
text any more.
"""
_LANGUAGE_CHARS = 2000
"""Of a long text; the language of more is the same."""
_MAX_CHARS = 1 << 20
"""Of a text that is looked at for patterns; of more the beginning."""


class TextSignals(NamedTuple):
    """Of one sample."""

    chars: int
    words: int
    answer_chars: int
    language: str | None  # None where there are no letters
    repetition: float
    special_ratio: float
    urls: int
    html_tags: int
    emails: int
    phones: int
    cards: int
    ip_addresses: int
    stray_markers: int


def words_of(text: str) -> list[str]:
    """Runs of letters and digits, in lower case, of as much of a text as is looked at."""
    return _WORD.findall(text[:_MAX_CHARS].lower())


def text_signals(texts: list[str], answers: list[str]) -> TextSignals:
    """Of the texts of all turns, and those among them that are learned."""
    text = "\n".join(texts)
    seen = text[:_MAX_CHARS]
    words = words_of(seen)
    plain = sum(char.isalnum() or char.isspace() for char in seen)
    cards = sum(_luhn(match) for match in _CARD.findall(seen))
    return TextSignals(
        chars=len(text),
        words=len(words),
        answer_chars=sum(map(len, answers)),
        language=language_of(seen),
        repetition=_repetition(words),
        special_ratio=1 - plain / len(seen) if seen else 0.0,
        urls=len(_URL.findall(seen)),
        html_tags=len(_TAG.findall(seen)),
        emails=len(_EMAIL.findall(seen)),
        phones=len(_PHONE.findall(seen)),
        cards=cards,
        ip_addresses=sum(_is_ip(one) for one in _IP.findall(seen)),
        stray_markers=len(_MARKER.findall(seen)),
    )


def _repetition(words: list[str]) -> float:
    threes = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(threes)) / len(threes) if threes else 0.0


def _luhn(number: str) -> bool:
    digits = [int(char) for char in number if char.isdigit()]
    doubled = [d if n % 2 == 0 else 2 * d - 9 * (d > 4) for n, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0 and len(set(digits)) > 1


def _is_ip(text: str) -> bool:
    return all(int(part) < 256 for part in text.split("."))


def language_of(text: str) -> str | None:
    """ISO 639-1 code by py3langid, which reads no file but its own model; None without letters."""
    if not any(char.isalpha() for char in text[:_LANGUAGE_CHARS]):
        return None
    return str(_identifier().classify(text[:_LANGUAGE_CHARS])[0])


@cache
def _identifier() -> Any:
    import py3langid

    return py3langid
