"""What people do today: transformers' own processor and model, picture by picture or in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from workers.encoders.loading import DTYPES


class ByTransformers:
    """A tower as transformers loads it, with its image processor for CPUs."""

    def __init__(self, kind: str, folder: Path, device: str, dtype: str, max_pixels: int) -> None:
        self._kind, self._device, self._dtype = kind, device, DTYPES[dtype]
        options: dict[str, Any] = {"dtype": self._dtype, "attn_implementation": "sdpa"}
        self._model: Any
        self._processor: Any
        if kind == "siglip":
            from transformers import SiglipVisionModel
            from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
                LlavaOnevisionImageProcessorPil,
            )

            self._model = SiglipVisionModel.from_pretrained(folder, **options)
            pinpoints = [[384 * a, 384 * b] for a in (1, 2) for b in (1, 2)]
            self._processor = LlavaOnevisionImageProcessorPil(image_grid_pinpoints=pinpoints)
        else:
            from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
                Qwen2VLImageProcessorPil,
            )
            from transformers.models.qwen2_vl.modeling_qwen2_vl import (
                Qwen2VisionTransformerPretrainedModel,
            )

            self._model = Qwen2VisionTransformerPretrainedModel.from_pretrained(folder, **options)
            self._processor = Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=max_pixels)
        self._model = self._model.to(device).eval()

    def features(self, files: Sequence[Path], batch: int) -> Iterator[torch.Tensor]:
        """Those of each batch of pictures, on the CPU: of tiles padded to the most of a picture, of
        Qwen2-VL in one sequence.
        """
        for first in range(0, len(files), batch):
            pictures = [Image.open(file).convert("RGB") for file in files[first : first + batch]]
            inputs = self._processor(images=pictures, return_tensors="pt")
            pixels = inputs["pixel_values"].to(self._device, self._dtype)
            with torch.inference_mode():
                if self._kind == "siglip":
                    out = self._model(pixels.flatten(0, 1), output_hidden_states=True)
                    found = out.hidden_states[-1]
                else:
                    grid = inputs["image_grid_thw"].to(self._device)
                    found = self._model(pixels, grid).last_hidden_state
                yield found.to(torch.bfloat16).cpu()
