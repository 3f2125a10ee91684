"""Ways to pack, through whole builds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patchpack.index import decode_index
from pipelines.engine import NoWork
from pipelines.verify import verify
from schemas.errors import RecipeError
from tests.pipelines.conftest import Here, Recorder
from tests.pipelines.feed import Feed, members, names
from tests.tiny_source import Record
from workers.packing import buckets
from workers.packing.profile import profiles
from workers.sidefiles import index_path


def text(name: str, words: int) -> Record:
    answer = {"role": "assistant", "text": "ab " * words}
    return {"id": name, "turns": [{"role": "user", "text": "Say it."}, answer]}


def texts(feed: Feed, count: int) -> None:
    draws = np.random.Generator(np.random.Philox(0))
    words = np.clip(draws.lognormal(2, 0.8, count), 1, 50).astype(int).tolist()
    feed.write("date=1/r.jsonl", [text(f"t{i}", n) for i, n in enumerate(words)])


def index_rows(feed: Feed, shard: str) -> np.ndarray:
    return decode_index(index_path(feed.out / shard).read_bytes())


def test_the_packs_of_a_bundle_take_equal_time_and_lie_in_one_shard(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.sections = {
        "pack.mode": "isocost",
        "pack.bundle": 2,
        "pack.max_tokens": 256,
        "pack.target_shard_mb": 1,
    }
    texts(feed, 600)
    [part] = feed.build().manifest.partitions
    assert verify(feed.out).problems == []
    assert part.packing.bundle == 2
    assert part.rows % 2 == 0
    rates = profiles()["7b"].coefficients
    steps = []
    for shard in part.shards:
        rows = index_rows(feed, shard.name)
        assert len(rows) % 2 == 0
        assert [int(row) % 2 for row in rows["row"]] == [0, 1] * (len(rows) // 2)
        none = np.zeros(len(rows), np.int64)
        tokens, attention = (rows[f"cost_{n}"].astype(np.int64) for n in ("tokens", "attention"))
        time = rates.time(tokens, attention, none, none)
        steps += time.reshape(-1, 2).sum(axis=1).tolist()
    whole = np.sort(steps)[3:]  # the last bundle is what is left
    assert whole.max() / whole.mean() < 1.05  # of some four short samples each
    assert part.balance.slowest_over_mean["2"] < 1.02
    assert not feed.build(NoWork()).new


def test_an_isocost_recipe_that_cannot_be_balanced_is_refused(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.sections = {"pack.mode": "isocost", "pack.max_tokens": 4096, "pack.model": "1.5b"}
    longest = [text(f"long{i}", 1200) for i in range(3)]
    feed.write("date=1/r.jsonl", [*longest, *(text(f"t{i}", 2) for i in range(400))])
    with pytest.raises(RecipeError, match=r"^pack: isocost packs of 1 x 4096 tokens cannot be"):
        feed.build()


def test_samples_count_as_rounded_and_are_stored_as_they_are(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.sections = {"pack.segment_multiple": 32}
    texts(feed, 60)
    [part] = feed.build().manifest.partitions
    assert verify(feed.out).problems == []
    rows = np.concatenate([index_rows(feed, shard.name) for shard in part.shards])
    assert (rows["cost_tokens"] % 32 == 0).all()
    assert (rows["cost_tokens"] <= 256).all()
    assert rows["tokens"].sum() < rows["cost_tokens"].sum() == part.tokens


def test_slices_of_a_big_partition_are_tasks_and_give_the_same_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "BUCKET", 50)
    feed, other = Feed(tmp_path / "a"), Feed(tmp_path / "b")
    for one in (feed, other):
        texts(one, 200)
    engine = Recorder(Here())
    built = feed.build(engine)
    assert engine.asked["run_pack_slice"] == 4
    [part] = built.manifest.partitions
    assert part.packing.slices == 4
    assert verify(feed.out).problems == []
    assert other.build().manifest.partitions == built.manifest.partitions


def test_packs_of_pictures_alone(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.sections = {"text.template": "none"}
    feed.write("date=1/r.jsonl", [*names("a", 8), text("no-picture", 3)])
    built = feed.build()
    assert verify(feed.out).problems == []
    [part] = built.manifest.partitions
    assert part.loss_tokens == 0
    assert sorted(name for pack in members(feed.out, part).values() for name in pack) == [
        f"s/{name}" for name in names("a", 8)
    ]
    assert built.manifest.ledger.dropped == {"empty_sample": 1}


def test_a_pack_holds_no_more_pictures_than_it_may(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.sections = {"pack.max_images": 2, "pack.max_tokens": 1024}
    feed.write("date=1/r.jsonl", names("a", 9))
    [part] = feed.build().manifest.partitions
    assert verify(feed.out).problems == []
    assert part.balance.lower_bound == part.packs == 5
    assert part.balance.fill["images"] == 0.9
