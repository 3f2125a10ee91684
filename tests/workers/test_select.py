"""select: what stays, in how many copies, and why the rest goes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tables import SELECTED
from tests.workers.plan_rows import medium, shown, surveyed
from workers.select import SelectConfig, copies_of, id_hash, is_held_out, select

Rows = list[dict[str, Any]]


def selected(*blocks: Rows, weight: float = 1.0, **config: Any) -> Rows:
    wanted = SelectConfig({"s": weight, "t": 1.0}, seed=0, **config)
    table = select([surveyed(block) for block in blocks], wanted)
    assert table.schema == SELECTED
    rows: Rows = table.to_pylist()
    return rows


def test_all_stay_in_their_places() -> None:
    rows = selected([shown("a"), shown("b")], [], [shown("c")])
    assert [(row["sample_id"], row["block"], row["row"]) for row in rows] == [
        ("s/a", 0, 0),
        ("s/b", 0, 1),
        ("s/c", 2, 0),
    ]
    assert {(row["copies"], row["drop"], row["message"]) for row in rows} == {(1, None, None)}


def test_no_block_gives_no_row() -> None:
    assert selected() == []
    assert selected([]) == []


def test_a_reason_of_the_survey_stands() -> None:
    bad = shown("a", drop="truncated", message="a.png bytes 0+9", items=[], turns=[])
    row = selected([shown("b"), bad])[1]
    assert (row["drop"], row["message"], row["copies"]) == ("truncated", "a.png bytes 0+9", 0)
    twice = selected([shown("a"), bad])[1]
    assert twice["drop"] == "truncated"


def test_the_first_of_one_id_stays_across_blocks() -> None:
    blocks = [[shown("a", origin="a.png")], [shown("a", origin="b.png"), shown("c")]]
    first, second, third = selected(*blocks)
    assert (first["copies"], first["drop"], third["drop"]) == (1, None, None)
    assert (second["copies"], second["drop"]) == (0, "duplicate_id")
    assert second["message"] == "same id as a.png"


def test_an_id_of_an_earlier_partition_goes() -> None:
    rows = selected([shown("a"), shown("b")], earlier_ids=frozenset({id_hash("s/b"), 7}))
    assert [row["drop"] for row in rows] == [None, "duplicate_id"]
    assert rows[1]["message"] == "an earlier partition has this id"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_every_sample_is_on_one_side_of_a_split(share: float) -> None:
    block = [shown(str(number)) for number in range(2000)]
    held = [is_held_out(f"s/{number}", share) for number in range(2000)]
    train = selected(block, held_out=share)
    assert [row["drop"] == "held_out" for row in train] == held
    assert sum(held) / len(held) == pytest.approx(share, abs=0.02)
    if share:
        other = selected(block, held_out=share, part="held_out")
        assert [row["drop"] is None for row in other] == held
        messages = {row["message"] for row in (*train, *other)} - {None}
        assert messages == {
            f"held out: split.held_out = {share}",
            f"no part of what is held out: split.held_out = {share}",
        }


def test_a_greater_share_holds_out_what_a_smaller_one_did_whatever_the_seed() -> None:
    block = [shown(str(number)) for number in range(500)]
    blocks = surveyed(block)
    sides = [
        {
            row["sample_id"]
            for row in select([blocks], SelectConfig({"s": 1.0}, seed, held_out=share)).to_pylist()
            if row["drop"]
        }
        for seed, share in ((0, 0.1), (1, 0.1), (0, 0.3))
    ]
    assert sides[0] == sides[1] < sides[2]


def test_what_is_not_asked_for_has_no_other_reason() -> None:
    names = [str(number) for number in range(100)]
    held = next(name for name in names if is_held_out(f"s/{name}", 0.5))
    bad = shown(held, drop="truncated", message="cut", items=[], turns=[])
    earlier = frozenset({id_hash(f"s/{held}")})
    cases: list[tuple[Rows, dict[str, Any], list[str | None]]] = [
        ([bad], {"earlier_ids": earlier}, ["truncated"]),
        ([shown(held)], {"earlier_ids": earlier}, ["duplicate_id"]),
        ([shown(held), shown(held)], {}, [None, "duplicate_id"]),
        ([shown(held), bad], {}, [None, "truncated"]),
        ([bad], {"weight": 0.0}, ["zero_weight"]),
    ]
    for block, more, wanted in cases:
        assert [row["drop"] for row in selected(block, **more)] == wanted
        other = selected(block, held_out=0.5, part="held_out", **more)
        assert [row["drop"] for row in other] == wanted
        train = [row["drop"] for row in selected(block, held_out=0.5, **more)]
        assert set(train) == {"zero_weight" if "weight" in more else "held_out"}


def test_faults_count_for_the_share_that_a_weight_keeps() -> None:
    block = [
        shown(str(number), drop="truncated", message="cut", items=[], turns=[])
        if number % 2
        else shown(str(number))
        for number in range(400)
    ]
    drops = [row["drop"] for row in selected(block, weight=0.1)]
    kept = [number for number in range(400) if copies_of(f"s/{number}", 0.1, 0)]
    assert {number for number, drop in enumerate(drops) if drop != "zero_weight"} == set(kept)
    assert {number for number, drop in enumerate(drops) if drop == "truncated"} == {
        number for number in kept if number % 2
    }


def test_a_medium_that_failed_drops_its_samples() -> None:
    good, bad, worse = (medium(sha256=c * 64, path=f"{c}.png") for c in "abc")
    faults = {"b" * 64: ("undecodable", "png: broken"), "c" * 64: ("truncated", "cut")}
    rows = [shown("0", [good]), shown("1", [good, bad, worse]), shown("2"), shown("3", [worse])]
    assert [(row["drop"], row["message"]) for row in selected(rows, faults=faults)] == [
        (None, None),
        ("undecodable", "b.png bytes 0+1000: png: broken"),
        (None, None),
        ("truncated", "c.png bytes 0+1000: cut"),
    ]
    assert [row["drop"] for row in selected(rows[:1], rows[1:2], faults=faults)] == [
        None,
        "undecodable",
    ]


def test_a_depth_map_that_failed_drops_its_samples() -> None:
    deep = medium("view", depth_sha256="d" * 64, depth_path="d.tar", depth_member="7")
    deep |= {"depth_offset": 512, "depth_size": 99}
    rows = [shown("0", [medium(), deep]), shown("1", [medium("view")])]
    first, second = selected(rows, faults={"d" * 64: ("undecodable", "png: broken")})
    assert (first["drop"], second["drop"]) == ("undecodable", None)
    assert first["message"] == "d.tar member '7' bytes 512+99: png: broken"


def test_a_weight_counts_for_its_source_alone() -> None:
    rows = selected([shown("a"), shown("b", source="t")], weight=3.0)
    assert [row["copies"] for row in rows] == [3, 1]
    rows = selected([shown("a"), shown("b", source="t")], weight=0.0)
    assert [(row["copies"], row["drop"]) for row in rows] == [(0, "zero_weight"), (1, None)]
    assert rows[0]["message"] == "the weight of its source is 0"


@pytest.mark.parametrize("weight", [0.1, 0.5, 2.25])
def test_weights_are_mean_copies(weight: float) -> None:
    copies = [copies_of(f"s/{number}", weight, 0) for number in range(4000)]
    assert {int(weight), int(weight) + 1} == set(copies)
    assert sum(copies) / len(copies) == pytest.approx(weight, abs=0.03)
    assert copies != [copies_of(f"s/{number}", weight, 1) for number in range(4000)]


@settings(deadline=None)
@given(st.text(max_size=8), st.floats(0, 1000), st.floats(0, 1000), st.integers(0, 2**63 - 1))
def test_more_weight_never_means_fewer_copies(
    name: str, one: float, other: float, seed: int
) -> None:
    low, high = sorted((one, other))
    assert copies_of(name, low, seed) <= copies_of(name, high, seed)
    assert int(low) <= copies_of(name, low, seed) <= int(low) + 1
