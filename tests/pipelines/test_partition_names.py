"""Which partition a file is of, and the order of partitions."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.partitions import Published, SourceFile, merged_name, partitions_of
from schemas.errors import RecipeError

DATE = r"date=(?P<date>[^/]+)"
Named = dict[str, list[str]]


def files(source: str, *paths: str) -> list[SourceFile]:
    return [SourceFile(source, path) for path in paths]


def named(
    found: list[SourceFile], pattern: str | None = None, published: Published | None = None
) -> Named:
    patterns = {file.source: pattern for file in found}
    result = partitions_of(found, patterns, published or Published())
    return {name: [file.path for file in members] for name, members in result.items()}


def as_published(partitions: dict[str, list[SourceFile]]) -> Published:
    return Published({file: name for name, members in partitions.items() for file in members})


def test_the_first_files_are_generation_0() -> None:
    assert named(files("s", "a", "b")) == {"0": ["a", "b"]}


def test_new_files_are_the_next_generation() -> None:
    published = Published({SourceFile("s", "a"): "0", SourceFile("s", "c"): "1"})
    found = named(files("s", "a", "b", "c", "d"), published=published)
    assert found == {"0": ["a"], "1": ["c"], "2": ["b", "d"]}
    assert list(found) == ["0", "1", "2"]


def test_a_generation_without_files_is_gone_and_the_others_keep_their_names() -> None:
    published = Published({SourceFile("s", "a"): "0", SourceFile("s", "b"): "1"})
    assert named(files("s", "b"), published=published) == {"1": ["b"]}
    assert named(files("s", "b", "c"), published=published) == {"1": ["b"], "2": ["c"]}


def test_a_group_in_the_path_names_the_partition() -> None:
    paths = ["date=2026-01-02/a", "date=2026-01-10/a", "date=2026-01-02/b"]
    found = named(files("s", *paths), DATE)
    assert found == {"date=2026-01-02": [paths[0], paths[2]], "date=2026-01-10": [paths[1]]}


def test_several_groups_name_it_together_and_one_that_took_no_part_is_empty() -> None:
    pattern = r"(?P<lang>[a-z]+)/(?P<year>\d+)(-(?P<part>\d))?\.tar"
    assert list(named(files("s", "de/2025-3.tar", "de/2025.tar"), pattern)) == [
        "lang=de,year=2025,part=",
        "lang=de,year=2025,part=3",
    ]


def test_numbers_in_names_are_ordered_as_numbers() -> None:
    days = ["d10", "d9", "d009", "d100", "d9b", "d", "e1"]
    found = list(named(files("s", *days), r"(?P<day>.+)"))
    assert found == [f"day={day}" for day in ("d", "d009", "d9", "d9b", "d10", "d100", "e1")]
    assert found == list(named(files("s", *reversed(days)), r"(?P<day>.+)"))


def test_a_late_date_comes_behind_what_is_published() -> None:
    known = {SourceFile("s", "date=3"): "date=3", SourceFile("s", "date=2"): "date=2"}
    found = named(files("s", "date=1", "date=2", "date=3", "date=4"), DATE, Published(known))
    assert list(found) == ["date=3", "date=2", "date=1", "date=4"]


def test_sources_share_a_date_and_keep_generations_apart_from_dates() -> None:
    found = [*files("a", "date=1/x", "date=2/x"), *files("b", "date=2/y"), *files("c", "z")]
    patterns = {"a": DATE, "b": DATE, "c": None}
    assert partitions_of(found, patterns, Published()) == {
        "0": files("c", "z"),
        "date=1": files("a", "date=1/x"),
        "date=2": [*files("a", "date=2/x"), *files("b", "date=2/y")],
    }


def test_a_source_that_gains_a_pattern_moves_and_one_that_loses_it_too() -> None:
    paths = ["date=1/x", "date=2/x"]
    found = files("s", *paths)
    generation = as_published(partitions_of(found, {"s": None}, Published()))
    dated = partitions_of(found, {"s": DATE}, generation)
    assert list(dated) == ["date=1", "date=2"]
    back = partitions_of(found, {"s": None}, as_published(dated))
    assert back == {"0": found}


def test_a_file_that_the_pattern_does_not_match_is_named() -> None:
    with pytest.raises(RecipeError) as error:
        named(files("s", "date=1/x", "README.jsonl"), DATE)
    assert str(error.value) == (
        "sources.s.partition: README.jsonl does not match the pattern 'date=(?P<date>[^/]+)'"
    )


PATHS = st.lists(
    st.text(st.sampled_from("ab0129/-٣é\n"), min_size=1, max_size=6), unique=True, max_size=12
)
PATTERNS = st.sampled_from([None, r"(?P<k>[a-z]?)", r"(?P<d>\d*)(?P<rest>(?s:.*))"])


@given(PATHS, PATHS, st.tuples(PATTERNS, PATTERNS), st.randoms())
def test_growth_keeps_every_file_once_and_the_order_of_what_is_published(
    first: list[str], more: list[str], pattern: tuple[str | None, str | None], random: Random
) -> None:
    patterns = dict(zip("st", pattern, strict=True))
    old = [*files("s", *first), *files("t", *first)]
    published = partitions_of(old, patterns, Published())
    known = as_published(published)
    both = list(dict.fromkeys([*old, *files("s", *more)]))
    grown = partitions_of(both, patterns, known)
    assert sorted(file for members in grown.values() for file in members) == sorted(both)
    assert list(grown)[: len(published)] == list(published)
    for name, members in grown.items():
        if name.isdecimal() and name in published:
            assert members == published[name]  # a generation never gains a file
    # the order of files in a listing decides about nothing but the order inside a partition
    random.shuffle(both)
    again = partitions_of(both, patterns, known)
    assert list(again) == list(grown)
    assert {name: sorted(members) for name, members in again.items()} == {
        name: sorted(members) for name, members in grown.items()
    }


@given(PATHS.filter(bool), st.data())
def test_files_that_go_take_nothing_else_with_them(paths: list[str], data: st.DataObject) -> None:
    found = files("s", *paths)
    known = {file: str(data.draw(st.integers(0, 3), label=file.path)) for file in found}
    known = dict(sorted(known.items(), key=lambda item: int(item[1])))
    left = [file for file in found if data.draw(st.booleans(), label=f"keep {file.path}")]
    rest = partitions_of(left, {"s": None}, Published(known))
    assert as_published(rest).files == {file: known[file] for file in left}
    assert list(rest) == sorted(rest, key=int)


def test_merged_generations_stay_together_and_the_next_is_behind_them() -> None:
    known = {SourceFile("s", name): "0..2" for name in "abc"} | {SourceFile("s", "d"): "3"}
    homes = dict.fromkeys(("0", "1", "2"), "0..2")
    found = named(files("s", *"abcde"), published=Published(known, homes))
    assert found == {"0..2": ["a", "b", "c"], "3": ["d"], "4": ["e"]}
    found = named(files("s", *"abce"), published=Published({**known}, homes))
    assert list(found) == ["0..2", "4"]
    last = Published({SourceFile("s", "a"): "0..2"}, homes)
    assert list(named(files("s", "a", "z"), published=last)) == ["0..2", "3"]


def test_new_files_of_a_merged_date_belong_to_the_merged_partition() -> None:
    into = "date=1..date=2"
    known = Published(
        {SourceFile("s", "date=1/a"): into, SourceFile("s", "date=2/a"): into},
        {"date=1": into, "date=2": into},
    )
    found = named(files("s", "date=1/a", "date=2/a", "date=2/b", "date=3/a"), DATE, known)
    assert found == {into: ["date=1/a", "date=2/a", "date=2/b"], "date=3": ["date=3/a"]}


def test_names_of_merged_partitions_do_not_grow() -> None:
    assert merged_name(["0", "1", "2"]) == "0..2"
    assert merged_name(["0..2", "3", "4..5"]) == "0..5"
