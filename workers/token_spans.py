"""Spans of characters -> spans of tokens, by what a fast tokenizer recorded while encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Encoding


def token_span(encoding: Encoding, span: tuple[int, int], length: int) -> tuple[int, int]:
    """The tokens that hold a character of the span, in a text of this length."""
    start, end = (_token_at(encoding, place, length) for place in span)
    if end < len(encoding.ids):
        chars = encoding.token_to_chars(end)
        end += chars is not None and chars[0] < span[1]  # that token also holds a learned character
    return min(start, end), end


def _token_at(encoding: Encoding, place: int, length: int) -> int:
    """The token of the character, or of the next one that has a token (blanks may have none)."""
    for at in range(place, length):
        token = encoding.char_to_token(at)
        if token is not None:
            return token
    return len(encoding.ids)
