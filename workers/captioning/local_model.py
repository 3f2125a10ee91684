"""Asking a model in this process: a transformers image-text-to-text checkpoint, by directory or hub
id, that answers batches.

Importing this imports torch; `transformers` comes with the first model (seconds).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from PIL import Image

from schemas.errors import BuildError
from workers.captioning.answered import Answer, NoAnswer, Request, Tell
from workers.captioning.config import Caption
from workers.faults import Fault
from workers.signals.loading import PIL, loaded, loaded_model, on_device


class LocalModel:
    """The backend over a checkpoint."""

    def __init__(self, config: Caption, seed: int, directory: str) -> None:
        """Raises RecipeError where the files are no such model, or the device is not there."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self._config, self._seed = config, seed
        key = f'caption.model = "{config.model}"'
        self._processor = loaded(key, directory, AutoProcessor, PIL)
        model = loaded_model(key, directory, AutoModelForImageTextToText, {"dtype": "auto"})
        self._processor.tokenizer.padding_side = "left"  # answers begin where prompts end
        self._model = on_device(key, model, config.device)

    def run(self, requests: Iterable[Request], tell: Tell) -> None:
        """As `Backend`."""
        for batch in _batches(iter(requests), self._config.batch):
            ready = []
            for request in batch:
                try:
                    ready.append((request, request.pictures() if request.pictures else []))
                except Fault as fault:
                    tell(NoAnswer(request.key, fault.reason.value, fault.message))
            if ready:
                for answer in self._answers(ready):
                    tell(answer)

    def _answers(self, batch: Sequence[tuple[Request, list[Image.Image]]]) -> Iterator[Answer]:
        began = time.monotonic()
        texts = [self._written(request, len(pictures)) for request, pictures in batch]
        pictures = [drawn for _, drawn in batch]
        given = {"images": pictures} if any(pictures) else {}
        inputs = self._processor(text=texts, padding=True, return_tensors="pt", **given)
        sampling: dict[str, Any] = {"do_sample": False}
        if self._config.temperature > 0:
            # the same for the same batch, another one for the next
            torch.manual_seed(self._seed ^ int(batch[0][0].key[:12], 16))
            sampling = {"do_sample": True, "temperature": self._config.temperature}
        try:
            with torch.inference_mode():
                made = self._model.generate(
                    **inputs.to(self._model.device, self._model.dtype),
                    max_new_tokens=self._config.max_tokens,
                    **sampling,
                )
        except torch.OutOfMemoryError as error:
            what = f"caption.batch = {self._config.batch}: the model ran out of memory"
            raise BuildError(f"{what}; a smaller batch or max_pixels needs less") from error
        shown = inputs["input_ids"].shape[1]
        ends = self._ends()
        latency_ms = round((time.monotonic() - began) * 1000)
        prompts = inputs["attention_mask"].sum(dim=1).tolist()
        for (request, _), ids, prompt in zip(batch, made[:, shown:].tolist(), prompts, strict=True):
            end = next((place for place, one in enumerate(ids) if one in ends), None)
            said = ids if end is None else ids[:end]
            text = self._processor.tokenizer.decode(said, skip_special_tokens=True)
            finish = "length" if end is None else "stop"
            yield Answer(
                key=request.key,
                text=text.encode("utf-8", "replace").decode(),
                finish=finish,
                answered_by=type(self._model).__name__,
                latency_ms=latency_ms,
                prompt_tokens=prompt,
                answer_tokens=len(said),
            )

    def _written(self, request: Request, pictures: int) -> str:
        """The conversation by the model's own template."""
        said = [{"type": "image"}] * pictures + [{"type": "text", "text": request.user}]
        user = {"role": "user", "content": said}
        system = {"role": "system", "content": [{"type": "text", "text": request.system}]}
        talk = [system, user] if request.system else [user]
        written: str = self._processor.apply_chat_template(
            talk, add_generation_prompt=True, tokenize=False
        )
        return written

    def _ends(self) -> set[int]:
        stated = self._model.generation_config.eos_token_id
        found = stated if isinstance(stated, list) else [stated]
        return {int(one) for one in found if one is not None}


def _batches(requests: Iterator[Request], size: int) -> Iterator[list[Request]]:
    while batch := list(islice(requests, size)):
        yield batch
