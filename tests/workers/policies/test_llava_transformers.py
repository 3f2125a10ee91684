"""The variants of transformers against transformers itself: views and tokens of pictures."""

from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor

from schemas.sized import images
from tests.workers.policies.answers import answer, one
from workers.pixels import render
from workers.policies.llava_next import LlavaNext
from workers.policies.llava_onevision import LlavaOneVision
from workers.policies.protocol import Policy

RANDOM = np.random.default_rng(336)
SMALL = [(31, 90), (336, 336), (300, 200), *RANDOM.integers(1, 400, (4, 2)).tolist()]
SIZES = np.exp(RANDOM.uniform(0, 9.5, (500, 2))).astype(int)

NEXT = LlavaNextImageProcessorPil(
    size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
)
ONEVISION = LlavaOnevisionImageProcessorPil(image_mean=[0.5] * 3)


def counting(kind: type, processor: object) -> Any:
    """A processor that can count tokens, without a tokenizer."""
    made: Any = object.__new__(kind)
    made.image_processor = processor
    made.patch_size, made.num_additional_image_tokens = 14, 0
    made.num_image_tokens, made.vision_aspect_ratio = 729, "anyres_max_9"
    return made


@pytest.mark.parametrize(
    ("policy", "processor"),
    [
        (LlavaNext(variant="hf_5.23.0"), counting(LlavaNextProcessor, NEXT)),
        (LlavaOneVision(variant="hf_5.23.0"), counting(LlavaOnevisionProcessor, ONEVISION)),
    ],
)
def test_tokens_are_those_that_transformers_counts(
    policy: LlavaNext | LlavaOneVision, processor: Any
) -> None:
    ours = policy.size(images(*SIZES.T)).llm_tokens.tolist()
    side = policy.image_size
    theirs = [processor._get_number_of_features(h, w, side, side) for w, h in SIZES.tolist()]
    assert ours == theirs


def drawn(policy: Policy, pictures: list[Image.Image]) -> list[list[Any]]:
    """The views of pictures of one sample, as the model sees them."""
    found = []
    for picture in pictures:
        row = answer(policy, one(*picture.size, images_in_sample=len(pictures)))
        view, *small = render(picture, row)  # type: ignore[arg-type]
        whole = (0, 0, *view.size)
        tiles = [view.crop(tuple(box)) for box in row["crops_ltrb"] or [whole]]
        found.append([np.asarray(one_view) for one_view in (*small, *tiles)])
    return found


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", SMALL)
@pytest.mark.parametrize(
    ("policy", "processor"),
    [
        (LlavaNext(variant="hf_5.23.0"), NEXT),
        (LlavaOneVision(variant="hf_5.23.0"), ONEVISION),
    ],
)
def test_views_are_those_of_transformers(
    policy: Policy, processor: Any, size: tuple[int, int]
) -> None:
    picture = noise(*size)
    theirs = processor(picture, do_rescale=False, do_normalize=False)["pixel_values"][0]
    np.testing.assert_array_equal(
        np.stack(drawn(policy, [picture])[0]), np.moveaxis(np.asarray(theirs), 1, -1)
    )


def test_several_pictures_are_padded_as_in_transformers() -> None:
    pictures = [noise(90, 31), noise(50, 200), noise(64, 64)]
    processor: Any = ONEVISION
    theirs = processor([pictures], do_rescale=False, do_normalize=False)["pixel_values"]
    ours = drawn(LlavaOneVision(variant="hf_5.23.0"), pictures)
    for one_ours, one_theirs in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(
            np.stack(one_ours), np.moveaxis(np.asarray(one_theirs), 1, -1)
        )
