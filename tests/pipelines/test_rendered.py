"""What the cache holds of payloads: the index by key, as containers come."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.rendered import INDEX, Rendered
from pipelines.store import Receipt, Scratch, Store
from workers.payloads import PAYLOADS
from workers.storage.local import LocalFolder

Rows = list[dict[str, Any]]


def key(number: int) -> str:
    """32 hex digits, of which many are alike."""
    return f"{number % 3:016x}{number:016x}"


def digest(name: int) -> str:
    """Of the spec of a container; its first 32 digits name it."""
    return f"{name:032x}".ljust(64, "0")


def container(store: Store, name: int, numbers: list[int]) -> Receipt:
    """A container with two parts for each payload, and a fault for each that is divisible by 5."""
    rows: Rows = [
        {
            "key": key(number),
            "sha256": f"{number:064x}",
            "part": part if number % 5 else -1,
            "offset": 10 * place + part,
            "size": 1,
            "format": "png",
            "drop": None if number % 5 else "undecodable",
            "message": None if number % 5 else "broken",
        }
        for place, number in enumerate(numbers)
        for part in (0, 1)
    ]
    spec = digest(name)
    store.folder.write_whole(store.path("rendered", spec, ".bin"), b"bytes")
    return store.write("rendered", spec, pa.Table.from_pylist(rows, PAYLOADS))


def asked(rendered: Rendered, numbers: list[int]) -> dict[str, set[tuple[str, int, int]]]:
    """Of each key that is there the container, part and offset of its rows."""
    table = rendered.of(pa.array([*map(key, numbers), ""], pa.string()))
    assert table.schema.equals(INDEX)
    found: dict[str, set[tuple[str, int, int]]] = {}
    for row in table.to_pylist():
        place = (rendered.containers[row["container"]], row["part"], row["offset"])
        assert place not in found.setdefault(row["key"], set())
        found[row["key"]].add(place)
    return found


NUMBERS = st.lists(st.integers(0, 30), max_size=12)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(NUMBERS, max_size=3),
    st.lists(st.lists(NUMBERS, max_size=3), max_size=4),
    st.lists(st.integers(0, 40), max_size=8),
)
def test_every_row_of_a_key_is_found_wherever_it_lies(
    before: list[list[int]], rounds: list[list[list[int]]], wanted: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(LocalFolder(Path(folder)), Scratch(Path(folder, "scratch"), 10**9))
        every = [list(dict.fromkeys(numbers)) for numbers in before]
        for name, numbers in enumerate(every):
            container(store, name, numbers)
        rendered = Rendered(store)
        assert asked(rendered, []) == {}
        for new in rounds:
            distinct = [list(dict.fromkeys(numbers)) for numbers in new]
            rendered.add([container(store, len(every) + n, one) for n, one in enumerate(distinct)])
            every += distinct
            found = asked(rendered, wanted)
            assert found == expected(store, every, wanted)
        # another build finds the same, read at once
        assert asked(Rendered(store), wanted) == expected(store, every, wanted)


def expected(
    store: Store, every: list[list[int]], wanted: list[int]
) -> dict[str, set[tuple[str, int, int]]]:
    found: dict[str, set[tuple[str, int, int]]] = {}
    for name, numbers in enumerate(every):
        path = store.path("rendered", digest(name), ".bin")
        for place, number in enumerate(numbers):
            if number in wanted:
                parts = {(path, part if number % 5 else -1, 10 * place + part) for part in (0, 1)}
                found.setdefault(key(number), set()).update(parts)
    return found


def test_a_container_without_its_index_or_receipt_is_none(tmp_path: Path) -> None:
    store = Store(LocalFolder(tmp_path), Scratch(tmp_path / "scratch", 10**9))
    for name in range(4):
        container(store, name, [name + 1])
    for name, suffix in enumerate((".bin", ".arrow", ".json")):
        store.folder.delete(store.path("rendered", digest(name), suffix))
    assert asked(Rendered(store), [1, 2, 3, 4]).keys() == {key(4)}


def test_an_index_is_read_once(tmp_path: Path) -> None:
    store = Store(LocalFolder(tmp_path), Scratch(tmp_path / "scratch", 10**9))
    container(store, 0, [1])
    rendered = Rendered(store)
    assert asked(rendered, [1]).keys() == {key(1)}
    store.folder.delete(store.path("rendered", digest(0), ".arrow"))
    assert asked(rendered, [1, 2]).keys() == {key(1)}
