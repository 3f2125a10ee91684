"""The corpus as a records source, for builds of it that share their surveys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.corpus_records import corpus_records
from pipelines.engine import RayEngine
from tests.golden.compare import SHARED

CORPUS = SHARED.parent / "corpus"

NEEDED = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside this checkout")


def write_corpus(folder: Path) -> Path:
    """`records.jsonl` in the folder, which is given back."""
    lines = (json.dumps(record) + "\n" for record in corpus_records(CORPUS))
    (folder / "records.jsonl").write_text("".join(lines))
    return folder


@contextmanager
def own_ray() -> Iterator[RayEngine]:
    """A Ray with all CPUs, ended with the block."""
    ray = RayEngine()
    yield ray
    ray.close()
