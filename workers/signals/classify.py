"""What an image-classification head says of pictures: aesthetics, safety, document or photograph.

`transformers` and torch come with the first model (seconds).
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from schemas.errors import RecipeError
from workers.signals.loading import PIL, loaded, loaded_model, on_device


class Classifier:
    """A head and one of its labels."""

    def __init__(
        self, key: str, directory: str, device: str, batch: int, label: str | None
    ) -> None:
        """Raises RecipeError naming `key` where the checkpoint is no such model, or lacks the
        label.
        """
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        self._device, self.batch = device, batch
        self._processor = loaded(key, directory, AutoImageProcessor, PIL)
        model = loaded_model(key, directory, AutoModelForImageClassification, {})
        labels = {str(name): int(number) for number, name in model.config.id2label.items()}
        if len(labels) > 1 and label not in labels:
            known = ", ".join(list(labels)[:20])
            raise RecipeError(f"{key}: label {label!r} is none of the model's: {known}")
        if len(labels) == 1 and label is not None:
            raise RecipeError(f"{key}: the model has one output, so it takes no label")
        self._model = on_device(key, model, device)
        self._place = labels[label] if label is not None else None
        self._many = model.config.problem_type == "multi_label_classification"

    def values(self, pictures: Sequence[Image.Image]) -> list[float]:
        """Of each picture the label's probability, or the value of the only output."""
        import torch

        found: list[float] = []
        for start in range(0, len(pictures), self.batch):
            part = list(pictures[start : start + self.batch])
            given = self._processor(images=part, return_tensors="pt").to(self._device)
            with torch.inference_mode():
                logits = self._model(**given).logits.float()
            if self._place is None:
                found += logits[:, 0].tolist()
            elif self._many:
                found += logits.sigmoid()[:, self._place].tolist()
            else:
                found += logits.softmax(dim=1)[:, self._place].tolist()
        return found
