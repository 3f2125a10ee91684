"""Compare our geometry with the golden vectors: `python -m tests.golden.compare [DIR]`.

Every file of DIR goes through the code of the `geometry` command, or through the rule that it is
about, and every field of every row must be equal. A file or a field that nobody knows is a miss.
Exit status 1 on a miss.
"""

import gzip
import json
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice
from pathlib import Path

from schemas.errors import RecipeError
from tests.golden import adapters
from tests.golden.adapter import Adapter, Direct, Fields, Row
from workers.geometry import geometry

SHARED = Path(__file__).parents[2].parent / "shared" / "golden"
SHOWN = 10
"""Misses that are printed of each file."""


def _found() -> Mapping[str, Adapter | Direct]:
    """File name to adapter, of every module in `adapters/`."""
    modules = [
        import_module(f"{adapters.__name__}.{module.name}")
        for module in pkgutil.iter_modules(adapters.__path__)
    ]
    return {name: adapter for module in modules for name, adapter in module.ADAPTERS.items()}


ADAPTERS = _found()


@dataclass
class Report:
    """What came of one file."""

    passed: int = 0
    misses: list[str] = field(default_factory=list)


def read_rows(path: Path) -> list[Row]:
    """The rows of a file of JSON lines, gzipped or not."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open() as lines:
        return [json.loads(line) for line in lines]


def compare(rows: Sequence[Row], adapter: Adapter | Direct) -> Report:
    """Answer all rows and compare them field by field."""
    report = Report()
    for number, (row, found) in enumerate(zip(rows, _answers(rows, adapter), strict=True)):
        misses = [f"unknown field {key}" for key in row if key not in adapter.row_fields]
        misses += [found] if isinstance(found, str) else _misses(row, found, adapter)
        name = row.get("id", f"row {number}")
        report.misses += [f"{name}: {miss}" for miss in misses]
        report.passed += not misses
    return report


def _answers(rows: Sequence[Row], adapter: Adapter | Direct) -> Iterator[Fields | str]:
    """For each row our fields, or why there are none."""
    if isinstance(adapter, Direct):
        yield from map(adapter.answered, rows)
        return
    asked = [adapter.lines(row) for row in rows]
    records = iter(_records(adapter, [line for lines in asked for line in lines]))
    for row, lines in zip(rows, asked, strict=True):
        ours = list(islice(records, len(lines)))
        refused = [record["refused"] for record in ours if "refused" in record]
        dropped = [record for record in ours if "grid_thw" not in record]
        yield (refused or dropped or [adapter.answered(row, ours)])[0]


def _records(adapter: Adapter, lines: list[Fields]) -> list[Fields]:
    try:
        return geometry(adapter.policy, lines)
    except RecipeError:
        return [_record(adapter, line) for line in lines]


def _record(adapter: Adapter, line: Fields) -> Fields:
    try:
        return geometry(adapter.policy, [line])[0]
    except RecipeError as error:
        return {"refused": str(error)}


def _misses(row: Row, answered: Fields, adapter: Adapter | Direct) -> list[str]:
    try:
        expected = adapter.expected(row)
    except KeyError as error:
        return [str(error)]
    return [
        f"{key}: reference {value!r}, ours {answered.get(key, 'nothing')!r}"
        for key, value in expected.items()
        if key not in answered or answered[key] != value
    ]


def main(folder: Path) -> int:
    """Print one line a file, then its first misses."""
    paths = sorted([*folder.rglob("*.jsonl.gz"), *folder.rglob("*.jsonl")])
    if not paths:
        print(f"no golden files in {folder}")
        return 1
    missed = 0
    for path in paths:
        name = path.name.removesuffix(".gz").removesuffix(".jsonl")
        rows = read_rows(path)
        unknown = Report(misses=["no adapter knows this file"])
        report = compare(rows, ADAPTERS[name]) if name in ADAPTERS else unknown
        print(f"{path.relative_to(folder)}: {report.passed} of {len(rows)} rows")
        for miss in report.misses[:SHOWN]:
            print(f"  {miss[:1000]}")
        missed += len(report.misses)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED))
