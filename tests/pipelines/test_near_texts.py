"""Near duplicates of texts: against all pairs, and in builds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.test_duplicates import dropped
from tests.tiny_source import asked, encoded, picture, write_records
from workers.near_texts import NONE, near_texts
from workers.signals.minhash import PLACES, signature

WORDS = [f"word{n}" for n in range(4000)]


def text(seed: int, length: int = 60) -> list[str]:
    return [WORDS[n] for n in np.random.default_rng(seed).integers(0, len(WORDS), length)]


def changed(words: list[str], places: int, seed: int) -> str:
    told = list(words)
    for place in np.random.default_rng(seed).choice(len(told), places, replace=False):
        told[place] = "other"
    return " ".join(told)


def signatures(texts: list[list[str]]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    found = [signature(one) for one in texts]
    return np.stack([np.frombuffer(one or b"", np.uint32) for one in found])


@pytest.mark.parametrize("likeness", [0.5, 0.7, 0.8, 0.95])
def test_as_all_pairs_say(likeness: float) -> None:
    """In order, each against what stays; bands lose hardly any."""
    rng = np.random.default_rng(5)
    rows = [text(int(n) // 3) for n in rng.permutation(900)]
    for row in rows:
        for place in rng.integers(0, 60, int(rng.integers(0, 4))):
            row[place] = WORDS[int(rng.integers(0, 4000))]
    table = signatures(rows)
    known, asked_for = table[:100], table[100:]
    near, equal = near_texts(asked_for, known, likeness)
    kept = list(known)
    lost = wrong = 0
    for number, one in enumerate(asked_for):
        most = int((np.stack(kept) == one).sum(axis=1).max())
        is_near = most >= likeness * PLACES
        lost += is_near and near[number] == NONE
        wrong += not is_near and near[number] != NONE
        if near[number] == NONE:
            kept.append(one)
        else:
            other = table[near[number]]
            assert equal[number] == int((other == one).sum())
    assert wrong == 0
    assert lost <= 2
    assert 50 < int((near != NONE).sum()) < 800


def test_estimates_are_those_of_word_sequences() -> None:
    one, other = text(1, 400), text(1, 400)
    other[200:300] = text(2, 100)
    runs = [{tuple(t[n : n + 5]) for n in range(396)} for t in (one, other)]
    true = len(runs[0] & runs[1]) / len(runs[0] | runs[1])
    found = signatures([one, other])
    assert float((found[0] == found[1]).mean()) == pytest.approx(true, abs=0.15)
    assert signature([]) is None
    assert signature(["one"]) == signature(["one"])


def document(name: str, told: str) -> dict[str, object]:
    return {"id": name, "turns": [{"role": "text", "text": told}]}


def test_near_texts_are_dropped(tmp_path: Path) -> None:
    """Documents that hardly differ, also of an earlier partition; a caption is no document."""
    page, other = " ".join(text(1, 45)), " ".join(text(2, 45))
    first = [
        document("a", page),
        document("b", changed(text(1, 45), 1, 7)),
        document("c", other),
        document("far", changed(text(1, 45), 20, 8)),
        asked("p", "date=1/p.png", answer=page[:300]),
    ]
    write_records(tmp_path / "source" / "date=1", {"p.png": encoded(picture(1), "png")}, first)
    second = [document("d", changed(text(2, 45), 1, 9)), document("e", " ".join(text(3, 45)))]
    write_records(tmp_path / "source" / "date=2", {}, second)
    found = dropped(tmp_path, "dedup = { text = 0.6 }")
    assert sorted(found) == ["b", "d"]
    assert {reason for reason, _ in found.values()} == {"near_duplicate"}
    assert "% like that of tiny/a" in found["b"][1]
    assert "% like one of an earlier partition" in found["d"][1]
    assert dropped(tmp_path, "") == {}
