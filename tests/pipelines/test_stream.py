"""What a build publishes, as the reader reads it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

from patchpack import PackedShards
from tests.pipelines.feed import Feed, entries, names, sample_ids


def read(reader: PackedShards) -> list[str]:
    """The samples of an epoch, sorted."""
    return sorted(name for pack in reader for name in pack.header.sample_id)


def test_every_sample_of_a_build_is_read_once_on_any_number_of_ranks(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.write("date=2024-01-01/a.jsonl", names("a", 20))
    feed.write("date=2024-01-02/a.jsonl", names("b", 9))
    manifest = feed.build().manifest
    expected = sorted(name for entry in manifest.partitions for name in sample_ids(feed.out, entry))
    assert len(expected) == 29
    assert read(PackedShards(feed.out)) == expected
    ranks = [PackedShards(feed.out, rank, 2, epoch=3) for rank in range(2)]
    assert sorted(read(ranks[0]) + read(ranks[1])) == expected
    loss = sum(ranks[0].loss_tokens(step) for step in range(ranks[0].steps))
    assert loss == sum(entry.loss_tokens for entry in manifest.partitions)


def test_growth_while_an_epoch_is_open(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.write("date=2024-01-01/a.jsonl", names("a", 20))
    first = feed.build().manifest
    reader = PackedShards(feed.out)
    packs = list(islice(reader, 3))
    state = reader.state_dict()
    feed.write("date=2024-01-02/a.jsonl", names("b", 9))
    second = feed.build().manifest
    assert len(entries(second)) == 2
    resumed = PackedShards(feed.out)
    resumed.load_state_dict(state)
    packs += resumed
    found = Counter(name for pack in packs for name in pack.header.sample_id)
    assert found == Counter(sample_ids(feed.out, first.partitions[0]))
    assert len(read(resumed)) == 29


TRAIN = """
import json, os, sys
from pathlib import Path
from patchpack import PackedShards
reader = PackedShards(sys.argv[1])
state = Path(sys.argv[2])
if state.exists():
    reader.load_state_dict(json.loads(state.read_text()))
for pack in reader:
    saved = state.with_suffix(".tmp")
    saved.write_text(json.dumps(reader.state_dict()))
    os.replace(saved, state)  # the step and its checkpoint, at once
    print(pack.header.key, flush=True)
"""


def test_a_trainer_that_is_killed_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.write("date=2024-01-01/a.jsonl", names("a", 60))
    feed.build()
    keys = [pack.header.key for pack in PackedShards(feed.out)]
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", TRAIN, str(feed.out), str(tmp_path / "state.json")]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(3)]
        time.sleep(0.005)
        process.kill()
    reader = PackedShards(feed.out)
    state = json.loads((tmp_path / "state.json").read_text())
    if state["epoch"] == 0:  # else it was through before it could be killed
        reader.load_state_dict(state)
        done = state["items"]
        assert told == keys[:3]
        assert [pack.header.key for pack in reader] == keys[done:]
