"""size: lengths as they will stand in a pack, fitted to the capacity, and the cost vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tables import SIZED
from tests.workers.plan_rows import Row, medium, shown, surveyed
from workers.bytes_tokenizer import BytesTokenizer
from workers.expand import VisionBlock, expand, run_lengths
from workers.gather import gather
from workers.item_costs import BYTES_PER_KILOPIXEL
from workers.match import Match, Rule
from workers.packing.limits import Limits
from workers.policies.fixed import Fixed
from workers.policies.internvl import InternVL
from workers.policies.lfm2_vl import Lfm2VL
from workers.policies.protocol import Policy
from workers.policies.qwen2_vl import Qwen2VL
from workers.select import SelectConfig, select
from workers.size import SizeConfig, size
from workers.text_config import FAMILIES, Family, TextConfig, TokenizeConfig
from workers.tokenize_text import tokenize
from workers.vision_ids import VisionIds

BYTES = BytesTokenizer()


class Planned:
    """Samples taken to SIZED by the stages themselves."""

    def __init__(
        self,
        rows: Sequence[Row],
        policy: Policy | Sequence[Rule],
        capacity: int | Limits = 10**6,
        family: Family = "qwen2_vl",
        payload: str = "pixels",
        blocks: int = 1,
        segment_multiple: int = 1,
    ) -> None:
        cuts = [list(rows[start::blocks]) for start in range(blocks)]
        self.surveyed = [surveyed(cut) for cut in cuts]
        text = TokenizeConfig(text=TextConfig(family=family))
        self.tokenized = [tokenize(table, BYTES, text) for table in self.surveyed]
        selected = select(self.surveyed, SelectConfig({"s": 1.0}, 0, {}))
        self.ids = VisionIds.of(BYTES, family)
        around = {
            "around_image": self.ids.image.overhead,
            "around_video": self.ids.video.overhead,
        }
        rules = policy if isinstance(policy, Sequence) else [Rule(policy)]
        config = SizeConfig(
            rules,
            Limits(capacity) if isinstance(capacity, int) else capacity,
            segment_multiple,
            payload,
            "jpeg",
            BYTES.encode,
            BYTES.special,
            BYTES.encode_documents,
            **around,
        )
        self.table = size(selected, self.surveyed, self.tokenized, config)
        assert self.table.schema == SIZED
        assert self.table.column("sample_id").equals(selected.column("sample_id"))
        self.rows: list[dict[str, Any]] = self.table.to_pylist()

    def expanded_lengths(self) -> list[int]:
        """The length of each kept sample as assemble writes it out."""
        lengths = []
        for number, (survey, text) in enumerate(zip(self.surveyed, self.tokenized, strict=True)):
            mine = [r for r in self.rows if r["block"] == number and r["drop"] is None]
            take = pa.array([row["row"] for row in mine], pa.int64())
            table = pa.Table.from_pylist(mine, schema=SIZED)
            for sample in gather(survey.take(take), text.take(take), table):
                blocks = [
                    VisionBlock(
                        item.source.kind, item.geometry.parts, item.geometry.runs, item.run_text
                    )
                    for item in sample.items
                ]
                lengths.append(len(expand(sample.text, blocks, self.ids).tokens))
        return lengths


POLICIES = [
    Qwen2VL(max_pixels=200704),
    Qwen2VL(variant="hf_4.45.0", max_frames=8, video_min_pixels=12544),
    InternVL(max_num=4),
    Fixed(),
    Lfm2VL(tile_size=64, min_image_tokens=4, max_image_tokens=9),  # unequal runs
]
SIDES = st.integers(1, 700)
PICTURES = st.builds(
    medium, st.sampled_from(["image", "view"]), st.tuples(SIDES, SIDES), size=st.integers(1, 9999)
)
VIDEOS = st.builds(
    medium,
    st.just("video"),
    st.tuples(SIDES, SIDES),
    frames=st.integers(1, 40),
    fps=st.sampled_from([0.0, 1.0, 6.0, 24.0]),
    clip_start=st.sampled_from([float("nan"), 0.0, 1.5]),
)
SAMPLES = st.lists(
    st.tuples(st.lists(PICTURES | VIDEOS, max_size=3), st.text("aé😀", min_size=1, max_size=30)),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=80)
@given(
    SAMPLES,
    st.sampled_from(POLICIES),
    st.sampled_from(sorted(FAMILIES)),
    st.sampled_from([300, 900, 10**6]),
    st.integers(1, 3),
)
def test_a_length_is_the_length_in_the_pack(
    samples: list[tuple[list[Row], str]], policy: Policy, family: Family, capacity: int, blocks: int
) -> None:
    rows = [shown(str(i), media, text) for i, (media, text) in enumerate(samples)]
    planned = Planned(rows, policy, capacity, family, blocks=blocks)
    kept = [row for row in planned.rows if row["drop"] is None]
    assert [row["tokens"] for row in kept] == planned.expanded_lengths()
    for row in planned.rows:
        assert (row["copies"] == 0) == (row["drop"] is not None) == (row["message"] is not None)
        assert row["tokens"] <= capacity
        assert row["attention"] == row["tokens"] ** 2
        runs = [item["runs"] * len(run_lengths(item["parts"])) for item in row["items"]]
        assert len(row["run_text"]) == sum(runs) + len(runs)
        assert row["patches"] == sum(item["vit_patches"] for item in row["items"])
        grids = [grid for item in row["items"] for grid in item["grid_thw"]]
        assert row["vit_attention"] == sum(t * (h * w) ** 2 for t, h, w in grids)


def test_fit_takes_the_steps_of_the_policy() -> None:
    policy = Qwen2VL(max_pixels=448 * 448)
    alone = Planned([shown("a", [medium(wh=(2000, 2000))])], policy).rows[0]
    assert (alone["fit"], alone["items"][0]["resized_wh"]) == (0, [448, 448])
    capacity = alone["tokens"] - 1
    rows = [shown("a", [medium(wh=(2000, 2000))]), shown("b", [medium(wh=(56, 56))])]
    first, second = Planned(rows, policy, capacity).rows
    smaller = policy.smaller()
    assert smaller is not None
    same = Planned(rows[:1], smaller).rows[0]
    assert (first["fit"], first["tokens"]) == (1, same["tokens"])
    given_way = "max_pixels=150528&video_max_pixels=451584&total_pixels=67737600"
    assert first["items"][0].pop("policy") == f"qwen2_vl/qwen_vl_utils?{given_way}"
    assert same["items"][0].pop("policy") == "qwen2_vl/qwen_vl_utils"
    assert first["items"] == same["items"]
    assert (second["fit"], second["items"][0]["resized_wh"]) == (0, [56, 56])


def test_all_media_of_a_sample_step_together() -> None:
    media = [medium(wh=(2000, 2000)), medium(wh=(2000, 1000)), medium("video", wh=(600, 600))]
    policy = Qwen2VL(max_pixels=448 * 448)
    row = Planned([shown("a", media)], policy, 400).rows[0]
    assert row["fit"] > 2
    assert row["tokens"] <= 400
    step: Policy | None = policy
    for _ in range(row["fit"]):
        assert step is not None
        assert Planned([shown("a", media)], step).rows[0]["tokens"] > 400
        step = step.smaller()
    assert step is not None
    same = Planned([shown("a", media)], step).rows[0]
    for item in (*row["items"], *same["items"]):
        assert item.pop("policy").startswith("qwen2_vl/qwen_vl_utils")
    assert same["items"] == row["items"]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_does_not_fit_at_all_is_dropped(policy: Policy) -> None:
    rows = [shown("a", [medium()], "x" * 500), shown("b", text="x" * 500), shown("c", text="x")]
    planned = Planned(rows, policy, 300).rows
    assert [row["drop"] for row in planned] == ["over_long", "over_long", None]
    assert planned[1]["message"].endswith("smaller steps, a pack has 300")
    assert planned[0]["items"] == planned[0]["run_text"] == []
    assert {planned[0][name] for name in ("copies", "fit", "tokens", "patches", "bytes")} == {0}


def test_a_refused_medium_drops_its_sample_by_number() -> None:
    rows = [shown("a", [medium(), medium(wh=(1, 500))]), shown("b", [medium()])]
    first, second = Planned(rows, Qwen2VL()).rows
    assert (first["drop"], first["copies"], first["items"]) == ("ratio_too_extreme", 0, [])
    assert first["message"].startswith("item 1: ")
    assert (second["drop"], len(second["items"])) == (None, 1)


def test_earlier_reasons_stand() -> None:
    rows = [
        shown("a", [medium(wh=(1, 500))], drop="truncated", message="cut", items=[], turns=[]),
        {**shown("b"), "turns": shown("b")["turns"][:1]},
    ]
    first, second = Planned(rows, Qwen2VL(), 16).rows
    assert (first["drop"], first["message"]) == ("truncated", "cut")
    assert (second["drop"], second["message"]) == ("empty_sample", "no text to learn from")


def test_modelled_bytes_are_of_the_file_or_of_the_rendered_picture() -> None:
    rows = [shown("a", [medium(wh=(280, 280), size=12345)])]
    pixels, source = (Planned(rows, Qwen2VL(), payload=p).rows[0] for p in ("pixels", "source"))
    rendered = 280 * 280 * BYTES_PER_KILOPIXEL["jpeg"] // 1000
    assert pixels["bytes"] == rendered + 6 * pixels["tokens"]
    assert source["bytes"] == 12345 + 6 * source["tokens"]


DOCUMENTS_HIGH = [
    Rule(Qwen2VL(max_pixels=4 * 784), Match(kind=("video",))),
    Rule(Qwen2VL(max_pixels=1003520), Match(source=("s",), signal="aspect_ratio", above=1.9)),
    Rule(Qwen2VL(max_pixels=200704), Match(signal="megapixels", below=2.0)),
]


def test_the_first_policy_that_matches_sizes_a_medium() -> None:
    media = [medium(wh=(1000, 1000)), medium(wh=(1000, 2000)), medium("video", wh=(90, 90))]
    row = Planned([shown("a", media)], DOCUMENTS_HIGH).rows[0]
    assert row["drop"] is None
    assert [item["resized_wh"] for item in row["items"][:2]] == [[448, 448], [700, 1400]]
    assert row["items"][2]["frame_indices"]


def test_a_medium_that_no_policy_matches_drops_its_sample() -> None:
    row = Planned([shown("a", [medium(), medium(wh=(2000, 2000))])], DOCUMENTS_HIGH).rows[0]
    assert row["drop"] == "no_policy"
    assert row["message"] == "item 1: image of source s matches no [[policy]]"


def test_each_policy_takes_its_own_steps_to_fit() -> None:
    rules = [Rule(Fixed(num_frames=2), Match(kind=("video",))), Rule(Qwen2VL(max_pixels=784 * 64))]
    media = [medium(wh=(900, 900)), medium("video", frames=30)]
    whole, fitted = (Planned([shown("a", media)], rules, size).rows[0] for size in (10**6, 640))
    assert whole["fit"] == 0
    assert fitted["fit"] > 1
    assert fitted["tokens"] <= 640
    names = [item["policy"].partition("?") for item in fitted["items"]]
    assert names[1] == ("fixed/square", "?", "num_frames=1")
    assert names[0][:2] == ("qwen2_vl/qwen_vl_utils", "?")


def test_a_sample_takes_a_multiple_of_tokens_and_is_stored_as_it_is() -> None:
    rows = [shown("a", [medium()]), shown("b", text="a much longer question?")]
    plain = Planned(rows, Qwen2VL()).rows
    for row, rounded in zip(plain, Planned(rows, Qwen2VL(), segment_multiple=64).rows, strict=True):
        assert rounded["length"] == row["length"] == row["tokens"]
        assert rounded["tokens"] % 64 == 0
        assert 0 <= rounded["tokens"] - row["length"] < 64
        assert rounded["attention"] == rounded["tokens"] ** 2
        assert rounded["loss_tokens"] == row["loss_tokens"]
    most = max(row["length"] for row in plain)
    dropped = [
        row["drop"] for row in Planned(rows, Qwen2VL(), most, segment_multiple=most + 1).rows
    ]
    assert dropped == ["over_long", "over_long"]


@pytest.mark.parametrize("name", ["patches", "attention", "bytes", "images"])
def test_every_bound_of_a_pack_is_one_of_a_sample(name: str) -> None:
    rows = [shown("small", [medium()]), shown("large", [medium(wh=(600, 500)), medium()])]
    small, large = (row[name] for row in Planned(rows, Qwen2VL()).rows)
    assert small < large
    # the policy has smaller steps: one that they cannot reach is the number of pictures
    found = Planned(rows, Qwen2VL(), Limits(10**6, **{name: small})).rows
    assert found[0]["drop"] is None
    if found[1]["drop"] is None:
        assert found[1]["fit"] > 0
        assert found[1][name] <= small
    else:
        assert f" {name} after " in found[1]["message"]
        assert found[1]["message"].endswith(f"a pack has {small}")


def test_media_are_counted_by_kind() -> None:
    row = shown("a", [medium(), medium("video"), medium("view")])
    [counted] = Planned([row], Qwen2VL()).rows
    assert (counted["images"], counted["videos"]) == (2, 1)
