"""Tiny, randomly initialised vision-language models, saved as checkpoints that transformers loads.

Their tokens are whole English words, so that what they say, which is nonsense, looks like text; and
few, so that sampling comes upon the end soon.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

_SPECIAL = ("<s>", "</s>", "<pad>", "<unk>", "<image>")
_TEXT = (
    "the and of with under over beside small large old young bright dark red green white yellow "
    "man woman child dog horse bird house street river mountain table window garden bridge boat "
    "stands walks reads holds carries looks near far quiet morning evening water stone paper"
)
_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} : "
    "{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for c in m['content'] %}"
    "{% if c['type'] in ('image', 'image_url') %}<image>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{% endif %}\n{% endfor %}assistant :"
)


def word_tokenizer(**settings: Any) -> Any:
    """One token a word; a word that it does not know is <unk>."""
    vocabulary = {word: number for number, word in enumerate((*_SPECIAL, *_TEXT.split()))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.decoder = decoders.WordPiece()
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=words,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        **settings,
    )


_TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def write_llava(folder: Path) -> Path:
    """A LLaVA of some 50 thousand parameters that sees pictures of 56 x 56 pixels."""
    torch.manual_seed(0)
    tokens = word_tokenizer(extra_special_tokens=["<image>"], chat_template=_TEMPLATE)
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=56,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=4096,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )
    image = tokens.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image)
    model = LlavaForConditionalGeneration(config)
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
    )
    processors: Any = LlavaProcessor
    processor = processors(
        image_processor=pictures,
        tokenizer=tokens,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=_TEMPLATE,
        num_additional_image_tokens=1,
    )
    model.generation_config.do_sample = True  # a server takes a temperature only then
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_clip(folder: Path) -> Path:
    """A CLIP that sees 28 x 28 pixels and reads sixteen words."""
    torch.manual_seed(0)
    tokens = word_tokenizer()
    ends = {"bos_token_id": tokens.bos_token_id, "eos_token_id": tokens.eos_token_id}
    text = {**_TOWER, "vocab_size": len(tokens), "max_position_embeddings": 16, **ends}
    vision = {**_TOWER, "image_size": 28, "patch_size": 14}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    side = {"height": 28, "width": 28}
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=side)
    processors: Any = CLIPProcessor
    processors(image_processor=pictures, tokenizer=tokens).save_pretrained(folder)
    return folder


def write_siglip(folder: Path) -> Path:
    """A SigLIP of the same size."""
    torch.manual_seed(0)
    tokens = word_tokenizer()
    text = {**_TOWER, "vocab_size": len(tokens), "max_position_embeddings": 16}
    vision = {**_TOWER, "image_size": 28, "patch_size": 14}
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    pictures = SiglipImageProcessorPil(size={"height": 28, "width": 28})
    processors: Any = SiglipProcessor
    processors(image_processor=pictures, tokenizer=tokens).save_pretrained(folder)
    return folder


def write_classifier(folder: Path, *labels: str) -> Path:
    """A ViT with a head of these labels; without any, of one value."""
    torch.manual_seed(0)
    names = dict(enumerate(labels or ["value"]))
    config = ViTConfig(**_TOWER, image_size=28, patch_size=14, id2label=names)
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder
