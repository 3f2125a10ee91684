"""A Hugging Face tokenizer behind the `Tokenizer` protocol. Importing this imports transformers.

The fast tokenizer's backend is set never to search text for special tokens. One more added token,
BREAK, stands where they are, so that a document is normalised, split and merged as its render.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import jinja2
import numpy as np
from tokenizers import AddedToken, Encoding
from transformers import AutoTokenizer

from schemas.errors import ContractError, RecipeError
from workers.chat_messages import Message
from workers.chat_template import ChatTemplate, Strip, TemplateRefusalError
from workers.text_config import INNER_NAMES, VISION_NAMES
from workers.token_spans import token_span
from workers.tokenizer_files import directory_digest, tokenizer_directory
from workers.tokenizer_protocol import BREAK, BREAK_ID, Document, Encoded

_NAMES = {*VISION_NAMES, *INNER_NAMES}
_BATCH = 256  # documents encoded at a time: bounds memory, keeps the backend's threads busy
# Some templates write the date, but the same input must give the same tokens tomorrow: it is always
# Llama 3's own default. The block tag eats the newline, so the template still starts a line.
_NO_CLOCK = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}\n"


class HuggingFaceTokenizer:
    """Loaded without remote code; `family` only completes the message about a missing token."""

    def __init__(self, name: str, family: str) -> None:
        directory = tokenizer_directory(name)
        self._name, self._family = name, family
        self._tokenizer = _load(name, local=directory is not None)
        backend = self._tokenizer.backend_tokenizer
        self.digest = directory_digest(directory) if directory else _content_digest(self._tokenizer)
        taken = set(backend.get_vocab(with_added_tokens=True).values())
        self.vocab_size = 1 + max(taken)
        backend.no_truncation()  # a tokenizer.json may carry both, and would cut silently
        backend.no_padding()
        added = backend.get_added_tokens_decoder().values()
        visible = [t.content for t in added if t.content in _NAMES and not t.special]
        backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in visible])
        self._added = {t.content: t for t in backend.get_added_tokens_decoder().values()}
        backend.add_tokens([AddedToken(BREAK, special=False, normalized=False)])
        backend.encode_special_tokens = True
        self._backend = backend
        self._break = backend.token_to_id(BREAK)
        if self._break in taken:  # the backend counts its tokens to find a free id
            raise RecipeError(f"tokenizer {name} has gaps in its ids: it cannot be used")
        self._special = np.zeros(max(self._break + 1, self.vocab_size), np.bool_)
        self._special[self._special_ids()] = True

    def _special_ids(self) -> list[int]:
        unknown = self._tokenizer.unk_token  # the honest answer to text that has no token
        names = (t.content for t in self._added.values() if t.special and t.content != unknown)
        return [self._backend.token_to_id(name) for name in names]

    @property
    def end_of_text(self) -> int:
        """`<|endoftext|>` where there is one (a chat model's eos ends a turn), else eos."""
        if "<|endoftext|>" in self._added:
            return self.special("<|endoftext|>")
        if self._tokenizer.eos_token is None:
            raise RecipeError(f"tokenizer {self._name} has no <|endoftext|> and no eos token")
        return self.special(str(self._tokenizer.eos_token))

    def encode(self, text: str) -> list[int]:
        """The ids of plain text."""
        (encoded,) = self.encode_documents([Document(text, [])])
        if encoded.forged or BREAK in text:
            raise ContractError(f"{text!r} has a special token of {self._name} in it")
        return [int(i) for i in encoded.ids]

    def encode_documents(self, documents: Sequence[Document]) -> list[Encoded]:
        """All documents, in batches on the backend's threads."""
        encoded: list[Encoded] = []
        for start in range(0, len(documents), _BATCH):
            batch = documents[start : start + _BATCH]
            found = self._backend.encode_batch([d.text for d in batch], add_special_tokens=False)
            encoded += [self._finish(d, e) for d, e in zip(batch, found, strict=True)]
        return encoded

    def _finish(self, document: Document, encoding: Encoding) -> Encoded:
        ids = np.array(encoding.ids, np.int32)
        special = ids[self._special[ids]]
        ids[ids == self._break] = BREAK_ID
        learned = [token_span(encoding, span, len(document.text)) for span in document.learned]
        forged = self._backend.id_to_token(int(special[0])) if len(special) else None
        return Encoded(ids, learned, forged)

    def special(self, name: str, /) -> int:
        """The id of an added token; a piece of ordinary text with that spelling does not count."""
        if name not in self._added:
            raise RecipeError(
                f"tokenizer {self._name} has no token {name} (family {self._family}): "
                "choose the tokenizer or the family that belongs to the model"
            )
        return int(self._backend.token_to_id(name))

    def decode(self, ids: Sequence[int]) -> str:
        """The text, special tokens by name."""
        return str(self._backend.decode(list(ids), skip_special_tokens=False))

    def chat_template(self) -> ChatTemplate:
        """The tokenizer's own template."""
        if not self._tokenizer.chat_template:
            raise RecipeError(
                f'tokenizer {self._name} has no chat template: set template = "chatml"'
            )
        strips = {n: Strip(t.lstrip, t.rstrip) for n, t in self._added.items() if t.special}
        template = self._tokenizer.get_chat_template()
        source = _NO_CLOCK + template if "strftime_now" in template else template
        return ChatTemplate(self._name, partial(self._render, source), strips)

    def _render(self, template: str, messages: Sequence[Message]) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    list(messages), chat_template=template, tokenize=False
                )
            )
        except jinja2.TemplateError as error:
            if type(error) is jinja2.TemplateError:  # the template's own raise_exception(...)
                raise TemplateRefusalError(f"the chat template says: {error}") from error
            raise RecipeError(f"chat template of {self._name} fails: {_line(error)}") from error
        except TypeError as error:  # it took string content for a list of parts, or the reverse
            raise RecipeError(f"chat template of {self._name} fails: {_line(error)}") from error


def _load(name: str, *, local: bool) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, use_fast=True, trust_remote_code=False, local_files_only=local
        )
    except Exception as error:  # the Rust backend raises bare Exception for a bad file
        raise RecipeError(f"tokenizer {name} does not load: {_line(error)}") from error
    if not tokenizer.is_fast:
        raise RecipeError(f"tokenizer {name} has no fast version (tokenizer.json)")
    return tokenizer


def _content_digest(tokenizer: Any) -> str:
    content = [tokenizer.backend_tokenizer.to_str(), tokenizer.chat_template, tokenizer.eos_token]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
