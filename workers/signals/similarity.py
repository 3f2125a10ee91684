"""Image-text similarity by CLIP or SigLIP, from a checkpoint in transformers' format.

`transformers` and torch come with the first model (seconds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from schemas.errors import RecipeError
from workers.signals.loading import PIL, loaded, loaded_model, on_device


class Similarity:
    """A model with an image tower and a text tower."""

    def __init__(self, key: str, directory: str, device: str, batch: int) -> None:
        """Raises RecipeError naming `key` where the checkpoint is no such model."""
        from transformers import AutoModel, AutoProcessor

        self._device, self.batch = device, batch
        self._processor = loaded(key, directory, AutoProcessor, PIL)
        model = loaded_model(key, directory, AutoModel, {})
        if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
            what = f"{type(model).__name__} has no image and text embeddings, as CLIP and SigLIP"
            raise RecipeError(f"{key}: {what}")
        self._model = on_device(key, model, device)
        text: Any = model.config.text_config
        self._longest = int(text.max_position_embeddings)
        # SigLIP was trained on texts of one length
        self._padding = "max_length" if "siglip" in str(model.config.model_type) else True

    def scores(self, pictures: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
        """The cosine of each picture and its text, -1 to 1; a text is cut to the model's length."""
        if len(pictures) != len(texts):
            raise ValueError(f"{len(pictures)} pictures, {len(texts)} texts")
        found: list[float] = []
        for start in range(0, len(texts), self.batch):
            part = slice(start, start + self.batch)
            found += self._cosines(list(pictures[part]), list(texts[part]))
        return found

    def _cosines(self, pictures: list[Image.Image], texts: list[str]) -> list[float]:
        import torch

        # a picture that is held against several texts is seen once
        each = list({id(one): one for one in pictures}.values())
        places = {id(one): number for number, one in enumerate(each)}
        seen = self._processor(images=each, return_tensors="pt")
        read = self._processor(
            text=texts,
            padding=self._padding,
            truncation=True,
            max_length=self._longest,
            return_tensors="pt",
        )
        with torch.inference_mode():
            shown = self._model.get_image_features(**seen.to(self._device)).pooler_output
            said = self._model.get_text_features(**read.to(self._device)).pooler_output
            mine = shown[[places[id(one)] for one in pictures]]
            cosines = torch.nn.functional.cosine_similarity(mine.float(), said.float())
        found: list[float] = cosines.tolist()
        return found
