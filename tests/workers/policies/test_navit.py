"""NaViT: sides left alone or drawn, patches dropped to a count, the same draws in any batch."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from patchpack.token_drop import kept_patches
from schemas.sized import Ints, Media, images
from tests.workers.policies.answers import answer, mixed_answers, one, view
from tests.workers.policies.videos import video
from workers.geometry import geometry
from workers.policies.navit import NaViT
from workers.policies.token_rates import kept_lengths

SIZES = st.lists(st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)), min_size=1, max_size=20)


def photos(sizes: list[tuple[int, int]], seed: int = 0) -> Media:
    width, height = np.array(sizes, np.int64).T
    keys = np.random.default_rng(seed).integers(0, 2**63, len(sizes)).astype(np.uint64)
    return replace(images(width, height), key=keys)


def test_the_reference_leaves_the_size_alone_and_refuses_broken_patches() -> None:
    sized = NaViT().size(photos([(480, 640), (481, 640), (8, 8)]))
    assert sized.drawn.resized_wh.tolist() == [[480, 640], [0, 0], [0, 0]]
    assert sized.grid_thw[0].tolist() == [[1, 40, 30]]
    assert sized.vit_patches.tolist() == sized.llm_tokens.tolist() == [1200, 0, 0]
    assert sized.drop.tolist() == [None, "not_patch_multiple", "not_patch_multiple"]
    assert sized.layout.runs.tolist() == [1, 0, 0]


def test_a_sequence_shorter_than_a_picture_refuses_it() -> None:
    policy = NaViT(max_seq_len=256, token_dropout_prob=0.5)
    sized = policy.size(photos([(512, 256), (512, 272), (4000, 4001)]))
    assert sized.vit_patches.tolist() == [256, 0, 0]
    assert sized.drop.tolist() == [None, "over_budget", "over_budget"]


@pytest.mark.parametrize(("patches", "kept", "nested"), [(20, 1, 2), (1, 1, 1), (1200, 119, 120)])
def test_nine_tenths_dropped_in_double_and_in_single_precision(
    patches: int, kept: int, nested: int
) -> None:
    line: dict[str, object] = {"width": 16, "height": 16 * patches, "token_dropout_prob": 0.9}
    lines = [line, line | {"variant": "vit_pytorch_nested"}]
    assert [row["vit_patches"] for row in geometry(NaViT(), lines)] == [kept, nested]


def test_torch_multiplies_counts_as_the_nested_model_does() -> None:
    torch = pytest.importorskip("torch")
    patches = np.arange(1, 20_000)
    for share in (0.1, 0.3, 0.5, 0.77, 0.9, 0.99):
        theirs = ((1.0 - share) * torch.tensor(patches)).int().clamp(min=1)
        ours = kept_lengths(patches, np.full(len(patches), share), True)
        assert ours.tolist() == theirs.tolist()


@settings(deadline=None)
@given(SIZES, st.sampled_from(["uniform_side", "uniform_area", "low_side"]), st.integers())
def test_a_drawn_area_is_met_in_whole_patches(
    sizes: list[tuple[int, int]], resolution: str, seed: int
) -> None:
    policy = NaViT.model_validate(
        {"variant": "paper", "resolution": resolution, "seed": seed, "min_side": 96}
    )
    sized = policy.size(photos(sizes))
    _, rows, columns = sized.grid_thw.values.T
    assert (rows >= 1).all()
    assert (columns >= 1).all()
    side = np.sqrt(rows * columns) * 16
    assert (side <= 256 * 1.3).all()  # half a patch more in both sides, where one is short
    assert (side >= 96 / 1.5).all()
    for (width, height), row, column in zip(sizes, rows.tolist(), columns.tolist(), strict=True):
        exact = np.sqrt(width / height)
        if 1 / 3 < exact**2 < 3:
            assert abs(np.log(column / row) - 2 * np.log(exact)) < 0.6


def test_native_sides_are_rounded_half_to_even_and_capped_by_area() -> None:
    sizes = [(480, 640), (481, 655), (24, 40), (1, 160), (1, 1)]
    sized = NaViT(variant="paper").size(photos(sizes))
    assert sized.drawn.resized_wh.tolist() == [
        [480, 640],
        [480, 656],
        [32, 32],
        [16, 160],
        [16, 16],
    ]
    capped = NaViT(variant="paper", max_side=256).size(photos([(1024, 256), (100_000, 1)]))
    assert capped.drawn.resized_wh.tolist() == [[512, 128], [4096, 16]]


def test_draws_depend_on_medium_and_seed_alone() -> None:
    media = photos([(640, 480)] * 50)
    policy = NaViT(
        variant="paper", resolution="uniform_side", token_drop="beta", token_dropout_prob=0.8
    )
    sized = policy.size(media)
    again = policy.size(media.take(np.arange(50)[::-1]))
    assert again.vit_patches[::-1].tolist() == sized.vit_patches.tolist()
    assert len(set(map(tuple, sized.drawn.resized_wh.tolist()))) > 10
    other = policy.model_copy(update={"seed": 1}).size(media)
    assert other.drawn.resized_wh.tolist() != sized.drawn.resized_wh.tolist()


def test_the_side_is_uniform_or_low() -> None:
    media = photos([(1000, 1000)] * 4000)

    def mean_side(resolution: str) -> float:
        fields = {"variant": "paper", "patch_size": 1, "resolution": resolution, "max_side": 464}
        sized = NaViT.model_validate(fields).size(media)
        return float(sized.drawn.resized_wh[:, 0].mean())

    assert mean_side("uniform_side") == pytest.approx(264, abs=8)
    assert mean_side("low_side") == pytest.approx(64 + 400 / 3, abs=8)
    assert mean_side("uniform_area") == pytest.approx(312, abs=8)


@pytest.mark.parametrize(("beta", "mean"), [((1, 1), 0.5), ((2, 2), 0.5), ((1, 3), 0.25)])
def test_shares_drawn_from_a_beta_distribution(beta: tuple[int, int], mean: float) -> None:
    policy = NaViT(variant="paper", token_drop="beta", token_dropout_prob=0.8, beta=beta)
    sized = policy.size(photos([(1600, 1600)] * 4000))
    share = 1 - sized.vit_patches / 10_000
    assert share.max() <= 0.8
    assert share.mean() == pytest.approx(0.8 * mean, abs=0.02)


def test_a_larger_picture_loses_a_larger_share() -> None:
    policy = NaViT(variant="paper", token_drop="resolution", token_dropout_prob=0.75)
    sized = policy.size(photos([(16, 16 * patches) for patches in (1, 64, 68, 128, 6400)]))
    assert sized.vit_patches.tolist() == [1, 64, 65, 80, 1648]


def test_baked_patches_are_those_of_the_first_epoch() -> None:
    policy = NaViT(token_dropout_prob=0.5, kept_indices="baked", seed=7)
    media = photos([(160, 320), (16, 16), (64, 64), (17, 16)])
    sized = policy.size(media)
    assert sized.vit_patches.tolist() == [100, 1, 8, 0]
    assert sized.kept_patches.counts.tolist() == [100, 0, 8, 0]  # all of one patch are kept
    expected = kept_patches(int(media.key[0]), 200, 100, seed=7)
    assert sized.kept_patches[0].tolist() == expected.tolist()
    anew = NaViT(token_dropout_prob=0.5, seed=7).size(media)
    assert anew.kept_patches.counts.sum() == 0
    assert anew.vit_patches.tolist() == sized.vit_patches.tolist()


def test_a_video_is_one_tall_picture() -> None:
    policy = NaViT(num_frames=4, token_dropout_prob=0.5, kept_indices="baked")
    sized = policy.size(video(100, 25.0, wh=(320, 160)))
    assert sized.grid_thw[0].tolist() == [[4, 10, 20]]
    assert sized.frame_indices[0].tolist() == [0, 33, 66, 99]
    assert sized.vit_patches.tolist() == [400]
    kept = sized.kept_patches[0]
    assert len(kept) == 400
    assert kept.max() < 800


def test_a_posed_view_is_a_picture() -> None:
    assert answer(NaViT(), view(64, 64)) == answer(NaViT(), one(64, 64))


def test_a_mixed_column_equals_its_rows() -> None:
    drops = [row["drop"] for row in mixed_answers(NaViT(variant="paper", max_side=999))]
    assert drops[12] == "bad_clip"
    assert drops.count(None) == len(drops) - 5


@pytest.mark.parametrize(
    ("media", "reason"),
    [
        (images(np.array([0]), np.array([16])), "bad_size"),
        (images(np.array([-16]), np.array([16])), "bad_size"),
        (images(np.array([1 << 26]), np.array([1 << 26])), "over_budget"),
        (images(np.array([1 << 26]), np.array([16])), None),
        (video(0, 25.0, wh=(64, 64)), "too_few_frames"),
        (video(1, 25.0, wh=(64, 64)), None),
        (video(9, float("nan"), wh=(64, 64)), "bad_frame_rate"),
    ],
)
def test_refusals(media: Media, reason: str | None) -> None:
    for policy in (NaViT(), NaViT(variant="paper")):
        sized = policy.size(media)
        assert sized.drop[0] == reason
        assert (sized.vit_patches[0] == 0) == (reason is not None)
        assert len(sized.to_table()) == 1


@settings(deadline=None, max_examples=50)
@given(SIZES, st.sampled_from(["native", "uniform_side", "low_side"]), st.booleans())
def test_smaller_never_grows_and_ends(
    sizes: list[tuple[int, int]], resolution: str, by_size: bool
) -> None:
    fields = {"variant": "paper", "resolution": resolution, "token_dropout_prob": 0.9}
    drop = "resolution" if by_size else "constant"
    steps = [NaViT.model_validate(fields | {"token_drop": drop})]
    while (step := steps[-1].smaller()) is not None:
        steps.append(NaViT.model_validate(step.model_dump()))
        assert len(steps) < 40

    def tokens(policy: NaViT) -> Ints:
        return policy.size(photos(sizes)).llm_tokens

    assert all((tokens(more) >= tokens(less)).all() for more, less in pairwise(steps))
    assert (steps[-1].max_side, steps[-1].num_frames) == (64, 1)
    clips = [int(policy.size(video(99, 25.0)).llm_tokens[0]) for policy in steps]
    assert clips == sorted(clips, reverse=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"resolution": "uniform_side"},
        {"token_drop": "beta"},
        {"variant": "paper", "resolution": "low_side", "max_side": 32},
        {"variant": "paper", "resolution": "uniform_side", "max_side": None},
        {"variant": "paper", "beta": (0, 2)},
        {"token_dropout_prob": 1.0},
        {"colour": 1},
    ],
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NaViT.model_validate(wrong)
