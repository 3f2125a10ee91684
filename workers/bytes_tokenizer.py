"""UTF-8 bytes as tokens: needs no files and no library, and any text has an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from schemas.digest import spec_digest
from schemas.errors import RecipeError
from workers.text_config import INNER_NAMES
from workers.tokenizer_protocol import BREAK, BREAK_ID, Document, Encoded

if TYPE_CHECKING:
    from workers.chat_template import ChatTemplate

# Ids from 256 on, in this order for ever: append only, so that no recipe's ids move.
RESERVED = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
    "<image>",
    "<image_placeholder>",
    "<|image|>",
    "<ImageHere>",
    "<|vision_pad|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<ref>",
    "</ref>",
    "<box>",
    "</box>",
    "<|ref|>",
    "<|/ref|>",
    "<|det|>",
    "<|/det|>",
    "<|img|>",
    "<|IMG_PATCH|>",
    "<|media_pad|>",
    "<|patch|>",
    "<im_patch>",
    "<IMG_ATOM>",
    "<|endoftext10|>",
    "[IMG]",
    "<|IMAGE_START|>",
    "<|IMAGE_PLACEHOLDER|>",
    "<|IMAGE_END|>",
    "<start_of_image>",
    "<image_soft_token>",
    "<end_of_image>",
    "<|image>",
    "<image|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<unk>",
    *INNER_NAMES,
)
_RESERVED_IDS = {name: 256 + index for index, name in enumerate(RESERVED)}
_BREAK_BYTES = BREAK.encode()
_BREAK_BYTE = 0xFF  # occurs nowhere in UTF-8


class BytesTokenizer:
    """UTF-8 bytes are the ids 0 … 255; the names of RESERVED follow. Needs no files."""

    digest = spec_digest({"tokenizer": "bytes", "version": 1})
    vocab_size = 256 + len(RESERVED)
    end_of_text = _RESERVED_IDS["<|endoftext|>"]

    def encode(self, text: str) -> list[int]:
        """The bytes of the text."""
        return list(text.encode())

    def encode_documents(self, documents: Sequence[Document]) -> list[Encoded]:
        """Each document's bytes."""
        return [_encode_bytes(document) for document in documents]

    def special(self, name: str, /) -> int:
        """The reserved id of the name."""
        if name not in _RESERVED_IDS:
            raise RecipeError(f"tokenizer bytes reserves no id for {name}")
        return _RESERVED_IDS[name]

    def decode(self, ids: Sequence[int]) -> str:
        """The text; bytes that are no UTF-8 become U+FFFD."""
        data = b"".join(bytes([i]) if i < 256 else RESERVED[i - 256].encode() for i in ids)
        return data.decode(errors="replace")

    def chat_template(self) -> ChatTemplate:
        """There is none."""
        raise RecipeError(
            'tokenizer bytes has no chat template: set template = "chatml" or "plain"'
        )


def _encode_bytes(document: Document) -> Encoded:
    text = document.text
    data = _one_byte_breaks(text)
    ids = np.frombuffer(data, np.uint8).astype(np.int32)
    ids[ids == _BREAK_BYTE] = BREAK_ID
    spans = document.learned
    if len(data) == len(text):  # ASCII: a character is a byte
        return Encoded(ids, list(spans))
    places = _byte_places(text, [place for span in spans for place in span])
    return Encoded(ids, list(zip(places[::2], places[1::2], strict=True)))


def _one_byte_breaks(text: str) -> bytes:
    return text.encode().replace(_BREAK_BYTES, bytes([_BREAK_BYTE]))


def _byte_places(text: str, places: Iterable[int]) -> list[int]:
    """The byte at which each of these rising character positions starts."""
    found: list[int] = []
    done = at = 0
    for place in places:
        at += len(_one_byte_breaks(text[done:place]))
        done = place
        found.append(at)
    return found
