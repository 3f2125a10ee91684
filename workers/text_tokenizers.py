"""The tokenizer that a recipe names, and its digest."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from workers.bytes_tokenizer import BytesTokenizer
from workers.tokenizer_files import directory_digest, tokenizer_directory
from workers.tokenizer_protocol import Tokenizer

if TYPE_CHECKING:
    from workers.text_config import TextConfig

__all__ = ["BytesTokenizer", "Tokenizer", "load_tokenizer", "tokenizer_digest"]


def load_tokenizer(config: TextConfig) -> Tokenizer:
    """The recipe's tokenizer. Only other tokenizers than `bytes` import transformers (seconds)."""
    if config.tokenizer == "bytes":
        return BytesTokenizer()
    return _load_huggingface(config.tokenizer, config.family)


def tokenizer_digest(config: TextConfig) -> str:
    """Names the tokenizer's content; a directory is hashed without loading it, which is fast."""
    if config.tokenizer == "bytes":
        return BytesTokenizer.digest
    directory = tokenizer_directory(config.tokenizer)
    return directory_digest(directory) if directory else load_tokenizer(config).digest


@lru_cache(maxsize=4)
def _load_huggingface(name: str, family: str) -> Tokenizer:
    from workers.huggingface_tokenizer import HuggingFaceTokenizer  # imports transformers

    return HuggingFaceTokenizer(name, family)
