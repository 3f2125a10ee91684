"""SigLIP 2 NaFlex: as many patches as fit, whatever the size of the picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.columns import is_none
from schemas.sized import images
from tests.workers.policies.answers import (
    HUGE,
    answer,
    mixed_answers,
    one,
    steps,
    tokens_by_step,
    view,
)
from tests.workers.policies.videos import video
from workers.geometry import geometry
from workers.policies.siglip2_naflex import SigLIP2NaFlex


@pytest.mark.parametrize(
    ("width", "height", "resized", "tokens"),
    [
        (480, 640, [224, 288], 252),
        (640, 480, [288, 224], 252),
        (256, 256, [256, 256], 256),
        (1, 1, [112, 112], 49),
        (10_000, 1, [4096, 16], 256),
    ],
)
def test_published_sizes(width: int, height: int, resized: list[int], tokens: int) -> None:
    row = answer(SigLIP2NaFlex(), one(width, height))
    assert row["resized_wh"] == row["view_wh"] == resized
    assert row["llm_tokens"] == row["vision_tokens"] == row["vit_patches"] == tokens
    assert row["grid_thw"] == [[1, resized[1] // 16, resized[0] // 16]]
    assert row["resample"] == "bilinear"


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9999), st.integers(1, 9999)), min_size=1, max_size=9),
    st.integers(1, 1024),
    st.sampled_from(["hf_5.23.0", "big_vision_np32"]),
)
def test_a_picture_fits_and_one_more_patch_a_side_would_not(
    sizes: list[tuple[int, int]], most: int, variant: str
) -> None:
    policy = SigLIP2NaFlex.model_validate({"max_num_patches": most, "variant": variant})
    width, height = (np.array(side) for side in zip(*sizes, strict=True))
    sized = policy.size(images(width, height))
    kept = is_none(sized.drop)
    _, rows, columns = sized.grid_thw.values.T
    assert (rows * columns <= most).all()
    enlarged = np.maximum(width, height)[kept] * 100 <= 16 * np.minimum(rows, columns)
    assert ((rows + 1) * (columns + 1) > most)[~enlarged].all()


def test_more_pixels_than_the_least_scale_can_shrink_are_refused() -> None:
    policy = SigLIP2NaFlex(max_num_patches=1)
    row = answer(policy, one(HUGE, 1))
    assert row["drop"] == "over_budget"
    assert row["grid_thw"] == []
    assert answer(SigLIP2NaFlex(max_num_patches=5), one(HUGE, 1))["vision_tokens"] == 5


def test_single_precision_gives_up_at_a_scale_that_double_precision_takes() -> None:
    single = SigLIP2NaFlex(max_num_patches=8, variant="big_vision_np32")
    assert answer(single, one(HUGE, 1))["drop"] == "over_budget"
    assert answer(SigLIP2NaFlex(max_num_patches=8), one(HUGE, 1))["drop"] is None


def test_the_padding_may_be_stated_and_is_checked() -> None:
    line = {"width": 480, "height": 640, "max_sequence_len": 300, "pad_to": 300}
    assert geometry(SigLIP2NaFlex(), [line])[0]["drop"] is None
    with pytest.raises(Exception, match="pad_to 256: it is 300"):
        geometry(SigLIP2NaFlex(), [line | {"pad_to": 256}])


def test_transparency_is_that_of_the_library() -> None:
    assert SigLIP2NaFlex().alpha == "white"
    assert SigLIP2NaFlex(variant="big_vision_np32").alpha == "drop"


def test_the_frames_of_a_video_are_pictures_of_one_group() -> None:
    row = answer(SigLIP2NaFlex(num_frames=4), video(100, 25.0))
    picture = answer(SigLIP2NaFlex(), one(1280, 720))
    assert row["frame_indices"] == [0, 33, 66, 99]
    assert row["grid_thw"] == [[4, *picture["grid_thw"][0][1:]]]
    assert row["llm_tokens"] == 4 * picture["llm_tokens"]
    assert row["runs"] == 1


def test_a_view_is_a_picture() -> None:
    assert answer(SigLIP2NaFlex(), view(31, 77)) == answer(SigLIP2NaFlex(), one(31, 77))


@pytest.mark.parametrize("variant", ["hf_5.23.0", "big_vision_np32"])
def test_a_mixed_column_equals_its_rows(variant: str) -> None:
    policy = SigLIP2NaFlex.model_validate({"variant": variant})
    drops = [row["drop"] for row in mixed_answers(policy)]
    assert drops[12] == "bad_clip"
    assert drops[8] == (None if variant == "hf_5.23.0" else "over_budget")  # scale under 1e-5
    assert drops[:2] + drops[3:8] + drops[13:] == [None] * 9


def test_smaller_never_grows_and_ends() -> None:
    tokens = tokens_by_step(SigLIP2NaFlex(), one(1000, 700))
    assert (tokens[0], tokens[-1]) == (247, 15)
    clips = tokens_by_step(SigLIP2NaFlex(), video(99, 25.0))
    assert clips[-1] <= 16
    assert len(steps(SigLIP2NaFlex(max_num_patches=4, num_frames=1))) == 1


@pytest.mark.parametrize("wrong", [{"max_num_patches": 0}, {"variant": "hf"}, {"colour": 1}])
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SigLIP2NaFlex.model_validate(wrong)
