"""Videos of the Qwen-VL family: versions, frames, timestamps, budgets and the hard cap."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.sized import Media, Sized, images
from tests.workers.policies.answers import mixed_answers
from tests.workers.policies.videos import video
from workers.geometry import geometry
from workers.policies.qwen2_vl import Qwen2VL
from workers.policies.qwen_frames import VideoVariant

VERSIONS: tuple[VideoVariant, ...] = get_args(VideoVariant)
HF: tuple[VideoVariant, ...] = ("hf_5.23.0", "hf_4.57.1")
SIDES = st.one_of(st.integers(1, 60), st.integers(1, 4000))
FPS = st.sampled_from([1.0, 24.0, 29.97, 60.0])


def policies() -> list[Qwen2VL]:
    """Every kind with every version that it has."""
    found = [Qwen2VL(video_variant=version) for version in VERSIONS]
    found += [Qwen2VL(kind="qwen2_5_vl", video_variant=version) for version in VERSIONS]
    versions: tuple[VideoVariant, ...] = ("qwen_vl_utils_0.0.14", *HF)
    return found + [Qwen2VL(kind="qwen3_vl", video_variant=version) for version in versions]


def name(policy: Qwen2VL) -> str:
    return f"{policy.kind}-{policy.video_variant}"


def tokens(sized: Sized) -> int:
    """Of the only row, without marks."""
    return int(sized.layout.vision_tokens[0])


def frames(sized: Sized) -> list[int]:
    listed: list[int] = sized.frame_indices[0].tolist()
    return listed


def test_defaults_of_the_three_models() -> None:
    two, three = Qwen2VL(kind="qwen2_5_vl"), Qwen2VL(kind="qwen3_vl")
    assert (Qwen2VL().alpha, two.alpha, three.alpha) == ("drop", "white", "white")
    assert (two.patch_size, three.patch_size) == (14, 16)
    assert (three.min_pixels, three.max_pixels) == (4096, 16777216)
    page = images(np.array([800]), np.array([1300]))
    assert two.size(page).grid_thw[0].tolist() == Qwen2VL().size(page).grid_thw[0].tolist()
    assert three.size(page).drawn.resized_wh.tolist() == [[800, 1312]]
    assert three.size(page).layout.texts.of(0) == ()


def test_versions_of_qwen_vl_utils_part_where_the_budget_and_the_rounding_do() -> None:
    media = video(1590, 25.0)  # 127.2 frames are asked for
    first, middle, last = (Qwen2VL(video_variant=v).size(media) for v in VERSIONS[2::-1])
    assert [len(frames(sized)) for sized in (first, middle, last)] == [128, 126, 126]
    assert (tokens(first), tokens(last)) == (64 * 364, 63 * 720)
    narrow = video(400, 1.0, wh=(20, 4000))
    sizes = [
        Qwen2VL(video_variant=v, video_min_pixels=784, video_max_pixels=64 * 784).size(narrow)
        for v in VERSIONS[:3]
    ]
    assert [sized.drawn.resized_wh[0].tolist() for sized in sizes] == [
        *([0, 3164], [28, 3164], [0, 3164])
    ]
    assert [sized.drop[0] for sized in sizes] == ["empty_target", None, "empty_target"]


def test_the_first_version_reads_whole_videos_only() -> None:
    sized = Qwen2VL(video_variant="qwen_vl_utils_0.0.8").size(video(100, 25.0, (1.0, np.nan)))
    assert (sized.drop[0], tokens(sized)) == ("bad_clip", 0)


def test_transformers_takes_the_first_frame_of_each_stretch() -> None:
    for version in HF:
        assert frames(Qwen2VL(video_variant=version).size(video(147, 25.0))) == [
            *(0, 14, 29, 44, 58, 73, 88, 102, 117, 132)
        ]


def test_transformers_asks_for_a_frame_that_is_not_there() -> None:
    sized = Qwen2VL(video_variant="hf_5.23.0", fps=1).size(video(123, 1.0))
    assert (sized.drop[0], frames(sized)[-1]) == ("too_few_frames", 123)
    assert "123" in sized.message[0]


def test_qwen3_in_transformers_takes_odd_numbers_and_repeats_the_last_frame() -> None:
    policy = Qwen2VL(kind="qwen3_vl", video_variant="hf_5.23.0")
    sized = policy.size(video(147, 25.0, wh=(1920, 1080)))
    assert frames(sized) == [0, 15, 29, 44, 58, 73, 88, 102, 117, 131, 146]
    assert sized.grid_thw[0].tolist() == [[6, 12, 22]]
    again = Qwen2VL(kind="qwen3_vl", video_variant="hf_5.23.0", nframes=6).size(video(2, 24.0))
    assert frames(again) == [0, 0, 0, 1, 1, 1]
    assert frames(policy.size(video(1, 24.0))) == []


def test_small_sides_are_enlarged_or_refused() -> None:
    small = video(8, 15.0, wh=(28, 28))
    old, new = (Qwen2VL(kind="qwen3_vl", video_variant=v).size(small) for v in HF[::-1])
    assert (old.drop[0], new.drop[0]) == ("too_small", None)
    assert new.drawn.resized_wh.tolist() == [[192, 192]]


@pytest.mark.parametrize("version", ["qwen_vl_utils_0.0.14", "hf_5.23.0"])
def test_qwen3_writes_the_time_before_each_pair_of_frames(version: VideoVariant) -> None:
    policy = Qwen2VL(kind="qwen3_vl", video_variant=version)
    sized = policy.size(video(100, 25.0, (2.0, 4.0)))
    indices, runs = frames(sized), int(sized.layout.runs[0])
    assert (indices[0], indices[-1]) == (50, 99)
    texts = sized.layout.texts.of(0)
    assert texts == (
        *(f"<{(indices[i] + indices[i + 1]) / 50:.1f} seconds>" for i in range(0, 2 * runs, 2)),
        "",
    )
    height, width = sized.grid_thw[0][0, 1:].tolist()
    assert sized.layout.parts[0].tolist() == [[1, height * width // 4, 0]]
    assert sized.llm_tokens[0] == runs * (height * width // 4 + 2)


@pytest.mark.parametrize("policy", policies(), ids=name)
def test_pictures_views_and_videos_mix(policy: Qwen2VL) -> None:
    rows = mixed_answers(policy)
    timed = policy.kind == "qwen3_vl"
    assert [bool(rows[i]["texts"]) for i in (0, 1, 13)] == [False, timed, False]


def test_seconds_of_a_grid_follow_the_frames_or_in_4_57_1_the_rate_asked_for() -> None:
    media = video(125, 25.0)  # 10 frames of 5 seconds
    seconds = [
        float(
            Qwen2VL(kind="qwen2_5_vl", video_variant=version, fps=2.1)
            .size(media)
            .seconds_per_grid[0]
        )
        for version in ("qwen_vl_utils_0.0.14", *HF)
    ]
    assert seconds == pytest.approx([1.0, 1.0, 2 / 2.1])


def test_the_share_of_a_video_is_optional_in_transformers() -> None:
    media, pixels = video(20_000, 25.0), 768 * 784
    free = Qwen2VL(video_variant="hf_5.23.0")
    capped = Qwen2VL(video_variant="hf_5.23.0", cap_pixels_per_frame=True)
    assert tokens(free.size(media)) > tokens(capped.size(media)) > 0
    assert capped.size(media).drawn.resized_wh[0].prod() <= 115200 * 2 * 784 // 768
    line = {"width": 1280, "height": 720, "frames": 20_000, "fps": 25.0, "longest_edge": pixels}
    assert geometry(free, [line])[0]["vision_tokens"] == tokens(free.size(media))


def test_a_hard_cap_is_the_budget_of_the_paper() -> None:
    media = [video(n, 25.0) for n in (100, 4000, 7500, 20_000)]
    paper = Qwen2VL(total_pixels=16384 * 784, video_min_pixels=16 * 784)
    for one in media:
        assert tokens(Qwen2VL(hard_cap=16384).size(one)) == tokens(paper.size(one)) <= 16384
    assert tokens(paper.size(media[2])) == 13500
    assert tokens(Qwen2VL(total_pixels=16384 * 784).size(media[3])) > 16384


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(policies()),
    st.sampled_from([64, 1000, 16384]),
    st.tuples(SIDES, SIDES),
    st.tuples(st.integers(1, 40_000), FPS),
)
def test_no_video_exceeds_the_hard_cap(
    policy: Qwen2VL, cap: int, wh: tuple[int, int], length: tuple[int, float]
) -> None:
    capped = policy.model_copy(update={"hard_cap": cap})
    sized = capped.size(video(*length, wh=wh))
    if sized.drop[0] in (None, "too_few_frames"):
        assert tokens(sized) <= cap
    else:
        assert tokens(sized) == 0
    if sized.drop[0] == "over_budget":
        assert max(wh) > 12 * min(wh)


@pytest.mark.parametrize("policy", policies(), ids=name)
@pytest.mark.parametrize("cap", [None, 2000])
def test_smaller_ends_and_never_grows(policy: Qwen2VL, cap: int | None) -> None:
    media = [video(20_000, 25.0), video(1000, 30.0, wh=(300, 500)), video(8, 4.0)]
    step: Qwen2VL | None = policy.model_copy(update={"hard_cap": cap})
    counts: list[list[int]] = []
    while step is not None:
        counts.append([int(step.size(one).llm_tokens[0]) for one in media])
        assert len(counts) < 100
        step = step.smaller()
    for column in zip(*counts, strict=True):
        assert list(column) == sorted(column, reverse=True)
        assert 0 < column[-1] < column[0]


@pytest.mark.parametrize("policy", policies(), ids=name)
@pytest.mark.parametrize(
    ("media", "reason"),
    [
        (video(0, 25.0), "too_few_frames"),
        (video(1, 25.0), "too_few_frames"),
        (video(100, np.nan), "bad_frame_rate"),
        (video(100, 25.0, wh=(0, 9)), "bad_size"),
        (video(100, 25.0, wh=(9, 2**27)), "bad_size"),
        (video(100, 25.0, wh=(40, 2**26)), "ratio_too_extreme"),
        (video(2**31 - 1, 1e6, wh=(2**26, 2**26)), None),
    ],
)
def test_refusals(policy: Qwen2VL, media: Media, reason: str | None) -> None:
    sized = policy.size(media)
    assert sized.drop[0] == reason
    if reason:
        assert sized.llm_tokens[0] == sized.vit_patches[0] == sized.layout.runs[0] == 0
        assert len(sized.grid_thw[0]) == len(frames(sized)) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "qwen3_vl", "video_variant": "qwen_vl_utils_0.0.11"},
        {"kind": "qwen3_vl", "variant": "hf_4.45.0"},
        {"cap_pixels_per_frame": True},
        {"video_variant": "hf_5.23.0", "resized_width": 28, "resized_height": 28},
        {"hard_cap": 63},
        {"kind": "qwen4_vl"},
        {"video_variant": "0.0.14"},
    ],
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Qwen2VL.model_validate(wrong)
