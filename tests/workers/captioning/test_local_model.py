"""A model in this process: it says what transformers says of each request alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image

from schemas.errors import RecipeError
from schemas.reasons import Reason
from tests.tiny_source import picture
from tests.tiny_vlm import write_clip, write_llava
from workers.captioning.answered import Answer, NoAnswer, Request
from workers.captioning.config import Caption
from workers.captioning.local_model import LocalModel
from workers.faults import Fault


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("models") / "llava")


def config(**settings: Any) -> Caption:
    return Caption(**{"model": "llava", "device": "cpu", "max_tokens": 12, "batch": 3, **settings})


def request(key: int, text: str, *shown: int) -> Request:
    drawn: Callable[[], list[Image.Image]] | None = lambda: [picture(n) for n in shown]  # noqa: E731
    return Request(f"{key:032x}", "the and of", text, drawn if shown else None)


def answers(model: LocalModel, requests: list[Request]) -> list[Answer | NoAnswer]:
    told: list[Answer | NoAnswer] = []
    model.run(requests, told.append)
    return told


def test_batches_say_what_single_requests_say(checkpoint: Path) -> None:
    """Texts of other lengths, several pictures, none; and as transformers' own calls give it."""
    asked = [
        request(1, "the red house", 3),
        request(2, "a dog walks beside the river under the bridge", 4, 5),
        request(3, "white stone"),
        request(4, "water", 6),
    ]
    together = answers(LocalModel(config(batch=4), 0, str(checkpoint)), asked)
    alone = answers(LocalModel(config(batch=1), 0, str(checkpoint)), asked)
    said = {one.key: one.text for one in alone if isinstance(one, Answer)}
    assert {one.key: one.text for one in together if isinstance(one, Answer)} == said
    assert said[asked[0].key] == _directly(checkpoint, "the red house", [picture(3)])
    [first] = [one for one in together if one.key == asked[0].key]
    assert isinstance(first, Answer)
    assert (first.finish, first.answer_tokens) == ("length", 12)
    assert first.answered_by == "LlavaForConditionalGeneration"
    assert all(one.prompt_tokens > 5 for one in together if isinstance(one, Answer))


def _directly(checkpoint: Path, text: str, pictures: list[Image.Image]) -> str:
    processors: Any = transformers.AutoProcessor
    processor = processors.from_pretrained(checkpoint, backend="pil")
    model: Any = transformers.AutoModelForImageTextToText.from_pretrained(checkpoint)
    shown = [{"type": "image"}, {"type": "text", "text": text}]
    talk = [
        {"role": "system", "content": [{"type": "text", "text": "the and of"}]},
        {"role": "user", "content": shown},
    ]
    written = processor.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[written], images=[pictures], return_tensors="pt")
    with torch.inference_mode():
        made = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    told: str = processor.tokenizer.decode(
        made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    return told


def test_what_is_sampled_is_the_same_each_time(checkpoint: Path) -> None:
    asked = [request(n, "the red house", n) for n in range(1, 5)]
    once = answers(LocalModel(config(temperature=1.0), 3, str(checkpoint)), asked)
    again = answers(LocalModel(config(temperature=1.0), 3, str(checkpoint)), asked)
    texts = [[one.text for one in told if isinstance(one, Answer)] for told in (once, again)]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 4


def test_a_picture_that_does_not_decode_spoils_no_batch(checkpoint: Path) -> None:
    def broken() -> list[Image.Image]:
        raise Fault(Reason.TRUNCATED, "cut off")

    asked = [request(1, "a", 3), Request("f" * 32, "", "b", broken), request(2, "c", 4)]
    told = answers(LocalModel(config(), 0, str(checkpoint)), asked)
    assert [one for one in told if isinstance(one, NoAnswer)] == [
        NoAnswer("f" * 32, "truncated", "cut off")
    ]
    assert len(told) == 3


def test_other_checkpoints_are_told_in_a_line(checkpoint: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip")
    with pytest.raises(RecipeError, match=r"caption\.model"):
        LocalModel(config(), 0, str(tmp_path / "clip"))
    if not torch.cuda.is_available():
        with pytest.raises(RecipeError, match="there is no cuda here"):
            LocalModel(config(device="cuda"), 0, str(checkpoint))
