"""Compare our geometry with the golden vectors: `python -m tests.golden.compare [DIR]`.

Every file of DIR that has an adapter goes through the code of the `geometry` command, and every
field of every row must be equal. Exit status 1 on a miss.
"""

import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from schemas.errors import RecipeError
from tests.golden.adapter import Adapter, Fields, Row
from tests.golden.adapters import internvl, qwen2_vl
from workers.geometry import geometry

ADAPTERS = qwen2_vl.ADAPTERS | internvl.ADAPTERS
SHARED = Path(__file__).parents[2].parent / "shared" / "golden"
SHOWN = 10
"""Misses that are printed of each file."""


@dataclass
class Report:
    """What came of one file."""

    passed: int = 0
    pending: int = 0
    misses: list[str] = field(default_factory=list)


def read_rows(path: Path) -> list[Row]:
    """The rows of a gzipped file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def compare(rows: Sequence[Row], adapter: Adapter) -> Report:
    """Size all rows in one go and compare them field by field."""
    asked = [adapter.lines(row) for row in rows]
    records = iter(_records(adapter, [line for lines in asked for line in lines]))
    report = Report()
    for number, (row, lines) in enumerate(zip(rows, asked, strict=True)):
        if not lines:
            report.pending += 1
            continue
        misses = list(_misses(row, list(islice(records, len(lines))), adapter))
        name = row.get("id", f"row {number}")
        report.misses += [f"{name}: {miss}" for miss in misses]
        report.passed += not misses
    return report


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


def _misses(row: Row, records: list[Fields], adapter: Adapter) -> Iterator[str]:
    yield from (f"unknown field {key}" for key in row if key not in adapter.row_fields)
    refused = [record["refused"] for record in records if "refused" in record]
    if refused:
        yield refused[0]
        return
    try:
        expected = adapter.expected(row)
    except KeyError as error:
        yield str(error)
        return
    refusals = [record for record in records if "grid_thw" not in record]
    answered = refusals[0] if refusals else adapter.answered(row, records)
    for key, value in expected.items():
        if key not in answered:
            yield f"{key}: {value!r}, but no answer has it"
        elif answered[key] != value:
            yield f"{key}: reference {value!r}, ours {answered[key]!r}"


def main(folder: Path) -> int:
    """Print one line a file, then its first misses."""
    names = sorted(str(path.relative_to(folder))[:-9] for path in folder.rglob("*.jsonl.gz"))
    if not names:
        print(f"no golden files in {folder}")
        return 1
    missed = 0
    for name in (name for name in names if name in ADAPTERS):
        rows = read_rows(folder / f"{name}.jsonl.gz")
        report = compare(rows, ADAPTERS[name])
        later = f", {report.pending} pending" if report.pending else ""
        print(f"{name}: {report.passed} of {len(rows)} rows{later}")
        for miss in report.misses[:SHOWN]:
            print(f"  {miss}")
        missed += len(report.misses)
    pending = [name for name in names if name not in ADAPTERS]
    if pending:
        print(f"pending (no adapter): {', '.join(pending)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED))
