"""ledger: every sample once for each copy, or once with its reason; it adds up or it fails."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from schemas.errors import BuildError
from schemas.tables import LEDGER
from tests.workers.plan_rows import medium, shown, sized, surveyed
from workers.ledger import check, drop_counts, ledger
from workers.pack import PackConfig, pack
from workers.packing.limits import Limits
from workers.packing.profile import profiles

Tables = tuple[pa.Table, pa.Table, list[pa.Table]]


@pytest.fixture
def tables() -> Tables:
    """Three packed samples, one of them twice, and two that are dropped; in two blocks."""
    noted = [medium(notes=["cmyk", "animated"]), medium(notes=["cmyk"]), medium()]
    blocks = [
        [shown("a", noted, origin="a.png"), shown("b", origin="r#0+9", drop="truncated")],
        [shown("c", origin="c.png"), shown("d", origin="d"), shown("e", [medium(notes=["vfr"])])],
    ]
    rows: list[dict[str, Any]] = [
        {"sample_id": "s/a", "tokens": 60},
        {"sample_id": "s/b", "drop": "truncated", "message": "b bytes 0+9", "copies": 0},
        {"sample_id": "s/c", "tokens": 30, "copies": 2},
        {"sample_id": "s/d", "drop": "over_long", "message": "900 tokens", "copies": 0},
        {"sample_id": "s/e", "tokens": 50},
    ]
    table = sized(rows)
    packed, _ = pack(table, CONFIG)
    return table, packed, [surveyed(block) for block in blocks]


CONFIG = PackConfig(Limits(100), 2, 0, profiles()["7b"].coefficients)


def named(number: int) -> tuple[str, str]:
    return f"key-{number}", f"shard-{number % 2}"


def test_each_copy_and_each_drop_has_a_row(tables: Tables) -> None:
    table = ledger(*tables, "0", named)
    assert table.schema == LEDGER
    rows = {(row["sample_id"], row["copy"]): row for row in table.to_pylist()}
    assert list(rows) == [
        ("s/a", 0),
        ("s/b", -1),
        ("s/c", 0),
        ("s/c", 1),
        ("s/d", -1),
        ("s/e", 0),
    ]
    where = {(row["sample_id"], row["copy"]): named(row["pack"]) for row in tables[1].to_pylist()}
    assert where == {
        key: (row["pack"], row["shard"]) for key, row in rows.items() if not row["drop"]
    }
    dropped = rows["s/b", -1]
    assert (dropped["drop"], dropped["message"]) == ("truncated", "b bytes 0+9")
    assert (dropped["pack"], dropped["shard"], dropped["tokens"]) == ("", "", 0)
    assert (dropped["origin"], rows["s/c", 1]["origin"]) == ("r#0+9", "c.png")
    assert {row["partition"] for row in rows.values()} == {"0"}
    assert [rows["s/c", copy]["tokens"] for copy in (0, 1)] == [30, 30]
    assert drop_counts(table) == {"over_long": 1, "truncated": 1}


def test_notes_of_all_media_stand_once(tables: Tables) -> None:
    rows = ledger(*tables, "0", named).to_pylist()
    notes = {row["sample_id"]: row["notes"] for row in rows}
    assert (notes["s/a"], notes["s/c"], notes["s/e"]) == (["cmyk", "animated"], [], ["vfr"])


def test_nothing_at_all_adds_up() -> None:
    empty = sized([])
    table = ledger(empty, pack(empty, CONFIG)[0], [], "0", named)
    assert (len(table), table.schema, drop_counts(table)) == (0, LEDGER, {})


def test_a_lost_instance_fails(tables: Tables) -> None:
    table, packed, blocks = tables
    for left in (packed.slice(1), packed.slice(0, 2)):
        with pytest.raises(BuildError, match="does not add up"):
            ledger(table, left, blocks, "0", named)


def test_a_row_too_many_or_too_few_fails(tables: Tables) -> None:
    table, packed, blocks = tables
    whole = ledger(*tables, "0", named)
    check(whole, table, packed)
    for wrong in (whole.slice(1), whole.slice(0, 1), pa.concat_tables([whole, whole.slice(1, 1)])):
        with pytest.raises(BuildError, match="does not add up"):
            check(wrong, table, packed)
    doubled = pa.concat_tables([packed, packed.slice(0, 1)])
    with pytest.raises(BuildError, match="does not add up"):
        ledger(table, doubled, blocks, "0", named)
