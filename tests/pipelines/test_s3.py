"""Whole builds with source, cache and output at S3, tasks run here one after another."""

from __future__ import annotations

import pickle
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

import pipelines.finding
import workers.storage.folder
from pipelines.answers import Make, task, unwrap
from pipelines.build import Built, RunStage, build, call
from pipelines.engine import ActorPool, NoWork
from pipelines.explain import explain
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from pipelines.verify import verify
from schemas.errors import BuildError, PublishConflictError, TransientError
from schemas.manifest import POINTER, manifest_name
from tests.caption_server import described, served
from tests.s3_server import SECRET, copy_tree, s3_server, use
from tests.tiny_source import digests, encoded, picture, write_recipe, write_source
from tests.workers.storage.faulty_proxy import FaultyProxy, Spoiled, upload
from workers.storage.folder import Folder, folder_of
from workers.storage.retry import Retry
from workers.storage.s3 import S3Folder

Spec = TypeVar("Spec")
Result = TypeVar("Result")

QUICK = Retry(
    attempts=5, first_delay_s=0.01, longest_delay_s=0.05, read_timeout_s=1.0, total_s=60.0
)
HOPELESS = Spoiled("status", 500, methods="PUT")


@dataclass
class InTurn:
    """Runs tasks here, as Ray does: specs and results pickled, errors as values."""

    asked: Counter[str] = field(default_factory=Counter)

    def map(self, function: Callable[[Spec], Result], specs: Sequence[Spec]) -> Iterator[Result]:
        self.asked.update({function.__name__: len(specs)} if specs else {})
        run = task(function)
        for spec in specs:
            yield unwrap(run({"spec": pickle.dumps(spec)})["result"])

    def map_actors(
        self, make: Make[Spec, Result], specs: Sequence[Spec], pool: ActorPool
    ) -> Iterator[Result]:
        del pool
        return map(make(1), specs) if specs else iter(())

    def local(self) -> None:
        """Nothing to start."""


@dataclass(frozen=True)
class How:
    """What is different in a build; `extra` are lines of `[output]`."""

    payload: str = "pixels"
    max_tokens: int = 512
    extra: str = ""
    run: RunStage = call
    engine: NoWork | None = None


@dataclass
class Lab:
    """A folder on disk and one at S3, each with the same source."""

    disk: Path
    url: str
    proxy: FaultyProxy
    engine: InTurn = field(default_factory=InTurn)

    def build(self, source: str, output: str, how: How) -> Built:
        """Build from the source in one folder into the output in another, in blocks of six rows."""
        path = self.disk / f"{uuid.uuid4().hex}.toml"
        records = {"tiny": f"{source}/records.jsonl"}
        write_recipe(path, output, records, payload=how.payload, max_tokens=how.max_tokens)
        path.write_text(f"{path.read_text()}scratch = '{self.disk}/scratch'\n{how.extra}")
        return build(Workshop(load_recipe(path), how.engine or self.engine), how.run)

    def on_disk(self, how: How | None = None) -> Built:
        """The build with nothing at S3."""
        return self.build(f"{self.disk}/source", f"{self.disk}/out", how or How())

    def at_s3(self, how: How | None = None) -> Built:
        """The build with everything at S3."""
        return self.build(f"{self.url}/source", f"{self.url}/out", how or How())

    @property
    def out(self) -> Folder:
        return folder_of(f"{self.url}/out")

    def drafts(self) -> list[Path]:
        """What is left of files on their way."""
        return list((self.disk / "scratch" / "drafts").glob("*"))


@pytest.fixture(scope="module")
def _running() -> Iterator[FaultyProxy]:
    with s3_server() as proxy:
        upload(proxy, "a-bucket")
        yield proxy


@pytest.fixture
def lab(_running: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    proxy = use(_running, monkeypatch)
    monkeypatch.setattr(pipelines.finding, "ROWS_PER_BLOCK", 6)
    monkeypatch.setattr(workers.storage.folder, "S3Folder", partial(S3Folder, retry=QUICK))
    made = Lab(tmp_path, f"s3://a-bucket/{uuid.uuid4().hex[:12]}", proxy)
    write_source(tmp_path / "source", bad=True)
    copy_tree(tmp_path / "source", folder_of(f"{made.url}/source"))
    proxy.reset()
    return made


@pytest.mark.parametrize("payload", ["pixels", "source"])
def test_a_build_at_s3_gives_the_shards_of_one_on_disk(lab: Lab, payload: str) -> None:
    here, there = lab.on_disk(How(payload)), lab.at_s3(How(payload))
    assert there.new
    assert digests(there.manifest) == digests(here.manifest)
    assert there.manifest == here.manifest
    assert verify(lab.out).problems == []
    assert lab.drafts() == []


def test_a_sample_and_a_pack_are_explained_and_extracted(lab: Lab) -> None:
    lab.on_disk()
    lab.at_s3()
    for name in ("tiny/s0001", "tiny/video", "tiny/missing"):
        here = explain(lab.disk / "out", name, None)
        assert explain(lab.out, name, None) == here
    here = explain(lab.disk / "out", "tiny/s0001", lab.disk / "here")
    there = explain(lab.out, "tiny/s0001", lab.disk / "there")
    assert there == here
    for path in (lab.disk / "here").iterdir():
        assert (lab.disk / "there" / path.name).read_bytes() == path.read_bytes()
    [pack] = here["packs"]
    assert explain(lab.out, pack, None)["pack"] == pack


@pytest.mark.parametrize("scratch", ["kept", "lost"])
def test_a_second_build_does_nothing(lab: Lab, scratch: str) -> None:
    first = lab.at_s3()
    if scratch == "lost":
        shutil.rmtree(lab.disk / "scratch")
    lab.proxy.reset()
    again = lab.at_s3(How(engine=NoWork()))
    assert (again.new, again.manifest) == (False, first.manifest)
    assert lab.proxy.requests.keys() <= {"GET", "HEAD"}


@pytest.mark.parametrize(("source", "output"), [("s3", "disk"), ("disk", "s3")])
@pytest.mark.parametrize("payload", ["pixels", "source"])
def test_source_and_output_may_lie_apart(lab: Lab, source: str, output: str, payload: str) -> None:
    places = {"disk": str(lab.disk), "s3": lab.url}
    here = lab.on_disk(How(payload))
    mixed = lab.build(f"{places[source]}/source", f"{places[output]}/mixed", How(payload))
    assert digests(mixed.manifest) == digests(here.manifest)
    assert verify(folder_of(f"{places[output]}/mixed")).problems == []


def test_a_cache_may_lie_elsewhere(lab: Lab) -> None:
    here = lab.on_disk()
    there = lab.at_s3(How(extra=f"cache = '{lab.disk}/a-cache'\n"))
    assert there.manifest == here.manifest
    assert [name for name, _ in lab.out.list() if name.startswith(".cache")] == []


def test_captions_are_recorded_at_s3(lab: Lab) -> None:
    """Answers of a model that sees nothing are forgotten; the others are not asked for again."""
    with served() as server:
        caption = f"[[caption]]\nwhen = 'always'\nmodel = 'm'\nendpoint = '{server.url}'\n"
        how = How(extra=f"{caption}blank_share = 0.5\n", max_tokens=1024)
        server.answer = lambda *_: "A view."
        with pytest.raises(BuildError, match="the same for a blank picture"):
            lab.at_s3(how)
        assert not [name for name, _ in lab.out.list() if name.startswith(".cache/answers")]
        server.answer = described
        there, here = lab.at_s3(how), lab.on_disk(how)
        assert digests(there.manifest) == digests(here.manifest)
        assert explain(lab.out, "tiny/s0001", None)["captions"]
        assert verify(lab.out).problems == []
        count = len(server.bodies)
        again = lab.at_s3(How(extra=how.extra, max_tokens=1024, engine=NoWork()))
        assert (again.new, len(server.bodies)) == (False, count)


def test_a_changed_picture_costs_its_block_and_the_shards(lab: Lab) -> None:
    first = lab.at_s3()
    changed = encoded(picture(77, (90, 60)), "png")
    (lab.disk / "source/images/s0001.png").write_bytes(changed)
    folder_of(f"{lab.url}/source").write_whole("images/s0001.png", changed)
    lab.engine.asked.clear()
    again = lab.at_s3()
    asked = dict(lab.engine.asked)
    assert asked == {"run_survey": 1, "run_tokenize": 1, "run_render": 1, "run_assemble": 2}
    assert again.manifest.version == 2
    assert digests(again.manifest) != digests(first.manifest)
    assert digests(again.manifest) == digests(lab.on_disk().manifest)


def test_what_is_lost_from_the_cache_is_made_again(lab: Lab) -> None:
    first = lab.at_s3()
    for part in (".cache/surveyed", ".cache/rendered", ".index"):
        lost = next(name for name, _ in lab.out.list(part) if not name.endswith(".json"))
        lab.out.delete(lost)
        assert lab.at_s3().manifest == first.manifest
        assert lab.out.stat(lost), lost
    assert verify(lab.out).problems == []


FAULTS = {
    "error": Spoiled("status", 500),
    "slow down": Spoiled("status", 503, "SlowDown"),
    "truncate": Spoiled("truncate"),
    "short": Spoiled("short", methods="GET"),
    "drop": Spoiled("drop"),
    "lost answer": Spoiled("lose_answer"),
    "stall": Spoiled("stall", seconds=60),
    "stall in body": Spoiled("stall_in_body", seconds=60, methods="GET"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("payload", ["pixels", "source"])
def test_faults_that_pass_change_nothing(lab: Lab, fault: str, payload: str) -> None:
    here = lab.on_disk(How(payload))
    burst = 2 if "stall" in fault else 4
    met: set[str] = set()

    def run(name: str, stage: Callable[[], Result]) -> Result:
        lab.proxy.schedule.extend([FAULTS[fault]] * burst)
        try:
            return stage()
        finally:
            if len(lab.proxy.schedule) < burst:
                met.add(name.partition(" ")[0])
            lab.proxy.schedule.clear()

    there = lab.at_s3(How(payload, run=run))
    wanted = {"find", "survey", "tokenize", "plan", "address", "render", "assemble", "publish"}
    assert met >= wanted
    assert there.manifest == here.manifest
    assert verify(lab.out).problems == []


def one_line(error: BaseException, *parts: str) -> None:
    message = str(error)
    assert "\n" not in message
    assert SECRET not in message
    assert "an-id" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("path", "done"),
    [
        ("/.cache/surveyed/", ()),
        ("/.cache/tokenized/", ("run_survey",)),
        ("/.cache/rendered/", ("run_survey", "run_tokenize")),
        (".tar", ("run_survey", "run_tokenize", "run_render")),
        ("/.patchpack/manifest", ("run_survey", "run_tokenize", "run_render", "run_assemble")),
    ],
)
def test_a_fault_that_stays_ends_the_build_and_the_next_goes_on(
    lab: Lab, path: str, done: tuple[str, ...]
) -> None:
    lab.proxy.always = Spoiled("status", 500, methods="PUT", path=path)
    with pytest.raises(TransientError) as caught:
        lab.at_s3()
    one_line(caught.value, f"{lab.url}/out/", path, "the server answered 500", "given up after")
    assert [name for name, _ in lab.out.list() if path in f"/{name}"] == []
    assert lab.out.stat(manifest_name(1)) is None
    assert lab.out.stat(POINTER) is None
    assert lab.drafts() == []
    lab.proxy.always = None
    lab.engine.asked.clear()
    again = lab.at_s3()
    assert lab.engine.asked.keys().isdisjoint(done)
    assert digests(again.manifest) == digests(lab.on_disk().manifest)
    assert verify(lab.out).problems == []


def test_what_is_forbidden_names_the_file(lab: Lab) -> None:
    lab.proxy.always = Spoiled("status", 403, "AccessDenied", methods="GET", path="/images/s0001")
    with pytest.raises(BuildError) as caught:
        lab.at_s3()
    one_line(caught.value, f"{lab.url}/source/images/s0001.png", "403 AccessDenied")


def test_a_picture_that_changes_during_the_build_stops_it(lab: Lab) -> None:
    source = folder_of(f"{lab.url}/source")

    def run(name: str, stage: Callable[[], Result]) -> Result:
        if name.startswith("assemble"):
            source.write_whole("images/s0001.png", b"other bytes")
        return stage()

    with pytest.raises(BuildError, match=r"images/s0001\.png.*changed while the build read it"):
        lab.at_s3(How("source", run=run))


def test_a_picture_that_goes_during_the_build_stops_it(lab: Lab) -> None:
    source = folder_of(f"{lab.url}/source")

    def run(name: str, stage: Callable[[], Result]) -> Result:
        if name.startswith("assemble"):
            source.delete("images/s0001.png")
        return stage()

    with pytest.raises(BuildError, match=r"s0001\.png.*changed while the build read it, build ag"):
        lab.at_s3(How("source", run=run))


def test_of_two_builds_that_publish_at_once_one_wins(lab: Lab) -> None:
    together = threading.Barrier(2, timeout=60)

    def run(name: str, stage: Callable[[], Result]) -> Result:
        if name == "publish":
            together.wait()
        return stage()

    def attempt(tokens: int) -> Built | PublishConflictError:
        try:
            return lab.at_s3(How(max_tokens=tokens, run=run))
        except PublishConflictError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(attempt, [512, 1024]))
    [won] = [result for result in results if isinstance(result, Built)]
    [lost] = [result for result in results if isinstance(result, PublishConflictError)]
    one_line(lost, "manifest-000001.json was published by another build", "run it again")
    assert verify(lab.out).problems == []
    tokens = 1024 if won.manifest.capacity == 512 else 512
    again = lab.at_s3(How(max_tokens=tokens))
    assert (again.manifest.version, again.manifest.capacity) == (2, tokens)
    assert verify(lab.out).problems == []


def test_scratch_space_that_is_too_small_for_a_partition_costs_requests_alone(lab: Lab) -> None:
    here = lab.on_disk()
    there = lab.at_s3(How(extra="scratch_gb = 1e-4\n"))
    assert there.manifest == here.manifest
    staged = sum(path.stat().st_size for path in (lab.disk / "scratch").glob("*.staged"))
    assert staged <= 100_000


def test_small_containers_share_an_object(lab: Lab) -> None:
    lab.at_s3()
    lab.on_disk()
    containers = [name for name, _ in lab.out.list(".cache/rendered") if name.endswith(".bin")]
    assert len(containers) == 1
    assert len(list((lab.disk / "out/.cache/rendered").glob("*.bin"))) == 4
