"""A Hugging Face tokenizer directory for tests: byte-level BPE trained on the spot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

QWEN_SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
INTERNVL_SPECIALS = ("<img>", "</img>", "<IMG_CONTEXT>")

QWEN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n"
    "{% endfor %}"
)

CORPUS = [
    "The quick brown fox jumps over the lazy dog.",
    "What is in the picture? A red house and a blue car are in the picture.",
    "user assistant system You are a helpful assistant.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. 图片里有什么?",
] * 4


def save_tokenizer(
    directory: Path,
    template: str | None = QWEN_TEMPLATE,
    specials: Sequence[str | AddedToken] = (*QWEN_SPECIALS, *INTERNVL_SPECIALS),
    eos: str = "<|im_end|>",
) -> str:
    """Trains and saves it; returns the path as a recipe names it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(list(specials))
    return save_files(tokenizer, directory, template, eos)


def save_files(tokenizer: Tokenizer, directory: Path, template: str | None, eos: str) -> str:
    """Saves it as transformers does; returns the path as a recipe names it."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos,
        "chat_template": template,
    }
    if tokenizer.token_to_id("<unk>") is not None:
        config["unk_token"] = "<unk>"
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return str(directory)
