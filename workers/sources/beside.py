"""Which of the text files beside media is the caption, the question, the conversation.

A place is an extension, `txt`, or a field of a JSON file, `json:caption`. Where no place is named:
a conversation in the JSON file; else the text file; else a caption in the JSON file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from workers.sources.fields import a_text, bad, named
from workers.sources.told import Told, decoded, parsed, too_long

CONVERSATIONS = ("conversations", "messages", "turns", "texts")
CAPTIONS = ("caption", "text")
_TEXT_FILES = ("txt", "caption")
_LOOKED_FOR = frozenset(("json", *_TEXT_FILES))


class TextFile(NamedTuple):
    """A file beside the media; `data` is None where it is too long to be read."""

    name: str
    size: int
    data: bytes | None


class Places(NamedTuple):
    """Where text is; "" = look for it."""

    caption: str = ""
    conversations: str = ""
    question: str = ""


def extensions(places: Places, others: Iterable[str] = ()) -> frozenset[str]:
    """Of the files that have to be read to find text and what stands at other places."""
    told = [place for place in (places.caption, places.conversations) if place]
    stated = [place for place in (*told, places.question, *others) if place]
    named_ones = frozenset(place.partition(":")[0].lower() for place in stated)
    return named_ones if told else _LOOKED_FOR | named_ones


class Beside:
    """The text files of one sample by extension in small letters, each decoded when asked for."""

    def __init__(self, files: Mapping[str, TextFile]) -> None:
        self._files = files
        self._json: dict[str, Any] = {}

    def told(self, places: Places) -> Told:
        """The text of the sample. Raises Fault where a file that it should be in cannot be read."""
        question = self.text(places.question) if places.question else None
        if places.conversations:
            value = self.value(places.conversations)
            return Told(conversation=value, field=places.conversations)
        if places.caption:
            return Told(self.text(places.caption), question, field=places.caption)
        return self._looked_for(question)

    def value(self, place: str) -> Any:
        """What stands there; None where there is no such file or field."""
        extension, _, field = place.partition(":")
        file = self._files.get(extension.lower())
        if file is None:
            return None
        if file.data is None:
            raise too_long(file.size, file.name)
        if extension.lower() != "json" and not field:
            return decoded(file.data, file.name)
        if extension not in self._json:
            self._json[extension] = parsed(file.data, file.name)
        whole = self._json[extension]
        if not field:
            return whole
        if not isinstance(whole, dict):
            raise bad(file.name, f"expected an object with {field!r}, found {named(whole)}")
        return whole.get(field)

    def text(self, place: str) -> str | None:
        """The same where it has to be a text."""
        value = self.value(place)
        return None if value is None else a_text(value, place)

    def _looked_for(self, question: str | None) -> Told:
        whole = self.value("json")
        if isinstance(whole, list):
            return Told(conversation=whole, field="json")
        fields = whole if isinstance(whole, dict) else {}
        for name in CONVERSATIONS:
            value = fields.get(name)
            if isinstance(value, list) and value and isinstance(value[0], dict):
                return Told(conversation=value, field=f"json:{name}")
        for extension in _TEXT_FILES:
            if extension in self._files:
                return Told(self.text(extension), question, field=extension)
        for name in CAPTIONS:
            if isinstance(fields.get(name), str):
                return Told(fields[name], question, field=f"json:{name}")
        return Told(question=question, field="txt, caption, json")
