"""A conversation written down: template text, what people said, special tokens and media, in order.

The templates `plain` and `chatml` are here; a tokenizer's own is in `chat_template`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workers.regions import MARK, NAME_OF_MARK
from workers.tokenizer_protocol import BREAK, Document, Tokenizer
from workers.turns import Turn

MEDIA = -1
"""In `Script.marks`: not a token but a media item."""


class Script:
    """Written front to back.

    `document` is what the tokenizer encodes, `marks` the ids that its BREAKs stand for, or MEDIA.
    `special_id` knows the ids of the tokens around regions.
    """

    def __init__(self, special_id: Callable[[str], int]) -> None:
        self.marks: list[int] = []
        self._special_id = special_id
        self._texts: list[str] = []
        self._length = 0
        self._learned: list[tuple[int, int]] = []

    def text(self, text: str, *, learn: bool = False) -> None:
        """Ordinary text, never special tokens but for those that `regions.write` marks."""
        if text.isascii():
            self._append(text, learn)
            return
        for index, piece in enumerate(MARK.split(text)):
            if index % 2:
                self.special(self._special_id(NAME_OF_MARK[piece]), learn=learn)
            else:
                self._append(piece, learn)

    def special(self, token: int, *, learn: bool = False) -> None:
        """One token of the template."""
        self.marks.append(token)
        self._append(BREAK, learn)

    def media(self) -> None:
        """The next item stands here."""
        self.marks.append(MEDIA)
        self._append(BREAK, learn=False)

    def part(self, part: str | int, *, learn: bool) -> None:
        """What a person or the model said or showed."""
        if isinstance(part, str):
            self.text(part, learn=learn)
        else:
            self.media()

    def _append(self, text: str, learn: bool) -> None:
        start, self._length = self._length, self._length + len(text)
        self._texts.append(text)
        if learn and text:
            if self._learned and self._learned[-1][1] == start:
                start = self._learned.pop()[0]
            self._learned.append((start, self._length))

    @property
    def document(self) -> Document:
        """The text with a BREAK for each mark."""
        return Document("".join(self._texts), self._learned)


def write_plain(turns: Sequence[Turn], tokenizer: Tokenizer) -> Script:
    """All texts one after another, and one end of text."""
    script = Script(tokenizer.special)
    for turn in turns:
        for part in turn.parts:
            script.part(part, learn=turn.learned)
    script.special(tokenizer.end_of_text, learn=True)
    return script


def write_chatml(turns: Sequence[Turn], tokenizer: Tokenizer) -> Script:
    """`<|im_start|>role`, newline, content, `<|im_end|>`, newline; documents as plain text."""
    script = Script(tokenizer.special)
    for turn in turns:
        document = turn.role == "text"
        if not document:
            script.special(tokenizer.special("<|im_start|>"))
            script.text(f"{turn.role}\n")
        for part in turn.parts:
            script.part(part, learn=turn.learned)
        if document:
            script.special(tokenizer.end_of_text, learn=True)
        else:
            script.special(tokenizer.special("<|im_end|>"), learn=turn.learned)
            script.text("\n")
    return script
