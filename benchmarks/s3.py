"""What a build asks of an S3 server: GETs per 8 MB in assemble; and seconds, beside one on disk.

    python -m benchmarks.s3 [--source 'DIR/*.tar'] [--save]

The server is moto on loopback, in a process of its own, behind a proxy that counts: it answers
without delay, so the seconds show what the client costs, and the requests what a real line would.
Two data sets, of pictures as they are and of thumbnails, each built on disk and at S3: everything
there, source, cache and output. Then again with nothing to do, with the copies on local disk and
without; and assembled once more by workers that have no copies, as on another machine.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from benchmarks.kit.builds import MAX_PIXELS, fresh_recipe, warm_ray
from benchmarks.kit.records import records_for
from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import StageTimes
from benchmarks.source import Wanted, tars_for
from pipelines.answers import Make
from pipelines.build import Built, build
from pipelines.engine import ActorPool, Engine, NoWork
from pipelines.load_recipe import load_recipe
from pipelines.shards import ShardTask, receipt_name
from pipelines.steps import Workshop
from schemas.manifest import Manifest
from workers.storage.folder import folder_of

BUCKET = "bench"
THUMBNAIL_PIXELS = 50_176
SHARD_MB = 32
UNIT = 8e6
"""Bytes that should not cost more than one request, by and large."""
R = TypeVar("R")
Spec = TypeVar("Spec")
Result = TypeVar("Result")
Counts = dict[str, float]
Figures = dict[str, object]


class Server:
    """The server in its process."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def counts(self) -> Counter[str]:
        """Requests by kind, and `bytes` of the bodies of GET."""
        self._line.send("counts")
        return Counter(self._line.recv())


def _serve(line: Connection) -> None:
    from tests.s3_server import s3_server, settings
    from tests.workers.storage.faulty_proxy import upload

    with s3_server() as proxy:
        upload(proxy, BUCKET)
        line.send(settings(proxy))
        while line.recv() != "stop":
            with proxy.lock:
                counts = Counter(proxy.requests)
                counts["LIST"] = sum("list-type=2" in one for one in proxy.asked)
                counts["bytes"] = proxy.body_bytes["GET"]
            line.send(counts)


@contextmanager
def running() -> Iterator[Server]:
    """A server with an empty bucket, which this process and its children are set to."""
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        os.environ.update(ours.recv())
        yield Server(ours)
    finally:
        ours.send("stop")
        process.join(10)


@dataclass
class Counted(StageTimes):
    """Stages with their seconds, and the requests that they led to."""

    server: Server | None = None
    requests: dict[str, Counter[str]] = field(default_factory=dict)

    def __call__(self, name: str, stage: Callable[[], R]) -> R:
        """What the stage returns."""
        before = self.server.counts() if self.server else Counter()
        try:
            return super().__call__(name, stage)
        finally:
            if self.server:
                self.requests.setdefault(name, Counter()).update(self.server.counts() - before)


@dataclass(frozen=True)
class Elsewhere:
    """Another engine, whose workers have a scratch folder of their own to assemble in."""

    engine: Engine
    scratch: Path

    def map(self, function: Callable[[Spec], Result], specs: Sequence[Spec]) -> Iterator[Result]:
        """The results as they finish."""
        return self.engine.map(function, [self._moved(spec) for spec in specs])

    def _moved(self, spec: Spec) -> Spec:
        if not isinstance(spec, ShardTask):
            return spec
        store = spec.store
        there = replace(store, scratch=replace(store.scratch, folder=self.scratch))
        return replace(spec, store=there)

    def map_actors(
        self, make: Make[Spec, Result], specs: Sequence[Spec], pool: ActorPool
    ) -> Iterator[Result]:
        """The other engine's."""
        return self.engine.map_actors(make, specs, pool)

    def local(self) -> None:
        """The driver may work."""
        self.engine.local()


@dataclass(frozen=True)
class Place:
    """A recipe, and where its output goes."""

    recipe: Path
    output: str
    scratch: Path

    def build(self, engine: Engine, run: Counted) -> Built:
        """Build it once."""
        return build(Workshop(load_recipe(self.recipe), engine), run)


def place(folder: Path, source: str, output: str, pixels: int) -> Place:
    """A recipe over `records.jsonl` in a source."""
    path = fresh_recipe(folder, records=Path("RECORDS"), root=Path("ROOT"), payload="pixels")
    scratch = folder / "scratch"
    text = path.read_text()
    for old, new in (
        ("RECORDS", f"{source}/records.jsonl"),
        ("ROOT", source),
        (f"max_pixels = {MAX_PIXELS}", f"max_pixels = {pixels}"),
        ("[output]", f"target_shard_mb = {SHARD_MB}\n\n[output]\nscratch = '{scratch}'"),
        (str(folder / "out"), output),
    ):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return Place(path, output, scratch)


def upload_source(tars: Sequence[Path], records: Path, url: str) -> None:
    """The files as they are."""
    source = folder_of(url)
    for path in (*tars, records):
        source.write_whole("records.jsonl" if path == records else path.name, path.read_bytes())


def digests(manifest: Manifest) -> list[tuple[str, str]]:
    """Names and sha256 of the shards."""
    return [(shard.name, shard.sha256) for shard in manifest.shards]


def idle(at: Place, server: Server) -> Counts:
    """Seconds and requests of a build that has nothing to do."""
    before, began = server.counts(), time.perf_counter()
    if at.build(NoWork(), Counted()).new:
        raise SystemExit("a repeated build did work")
    spent = time.perf_counter() - began
    return {"seconds": spent, **_requests(server.counts() - before)}


def per_unit(asked: Counter[str]) -> float:
    """GET requests, listings among them, for each 8 MB that they moved."""
    return asked["GET"] / (asked["bytes"] / UNIT)


def _requests(asked: Counter[str]) -> Counts:
    named = {name: asked[name] for name in ("HEAD", "LIST", "PUT", "POST", "DELETE") if asked[name]}
    return {"GET": asked["GET"] - asked["LIST"], **named, "megabytes": asked["bytes"] / 1e6}


def _spent(run: Counted) -> float:
    return sum(run.seconds.values())


def compare(disk: Place, there: Place, engine: Engine, server: Server) -> Figures:
    """One data set on disk and at S3, then at S3 again and again."""
    local, remote, anew = Counted(), Counted(server=server), Counted(server=server)
    here = disk.build(engine, local)
    built = there.build(engine, remote)
    if digests(built.manifest) != digests(here.manifest):
        raise SystemExit("the shards differ")
    say(f"{_spent(local):.1f} s on disk, {_spent(remote):.1f} s at S3")
    repeated = {"after_the_build": idle(there, server), "again": idle(there, server)}
    shutil.rmtree(there.scratch)
    repeated["without_copies"] = idle(there, server)
    output = folder_of(there.output)
    for shard in built.manifest.shards:
        output.delete(receipt_name(shard.name))
    there.build(Elsewhere(engine, there.scratch.with_name("elsewhere")), anew)
    rendered = output.list(".cache/rendered")
    containers = [stat.size for path, stat in rendered if path.endswith(".bin")]
    return {
        "payload_megabytes": sum(containers) / 1e6,
        "containers": len(containers),
        "shards": len(built.manifest.shards),
        "gets_per_8_megabytes": {
            "assemble": per_unit(remote.requests["assemble 0"]),
            "assemble_without_copies": per_unit(anew.requests["assemble 0"]),
        },
        "seconds": {"disk": local.seconds, "s3": remote.seconds},
        "requests": {stage: _requests(asked) for stage, asked in remote.requests.items()},
        "nothing_to_do": repeated,
    }


def main() -> None:
    """Measure and report."""
    parser = arguments("Requests of a build at S3, and seconds beside one on disk.", rounds=None)
    parser.add_argument("--source", help="tars, 'DIR/*.tar'; by default made here")
    parser.add_argument("--count", type=int, default=3000, help="JPEGs")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    figures: dict[str, Figures] = {}
    with work_folder(options.work) as work, running() as server:
        tars = tars_for(options.source, work, Wanted(count=options.count))
        records = work / "s3" / "records.jsonl"
        count = records_for(tars, records, options.count)
        for tar in tars:
            (records.parent / tar.name).unlink(missing_ok=True)
            (records.parent / tar.name).symlink_to(tar)
        url = f"s3://{BUCKET}/source"
        upload_source(tars, records, url)
        with warm_ray(options.workers) as warm:
            for name, pixels in (("pictures", MAX_PIXELS), ("thumbnails", THUMBNAIL_PIXELS)):
                folder = work / "s3" / name
                disk = place(folder / "disk", str(records.parent), str(folder / "out"), pixels)
                there = place(folder / "s3", url, f"s3://{BUCKET}/{name}", pixels)
                say(f"{count} {name}")
                figures[name] = compare(disk, there, warm.engine, server)
                shutil.rmtree(folder)
    targets = [
        Target(f"assemble of {name}, GETs per 8 MB", _in_assemble(found), 1.2, at_most=True)
        for name, found in figures.items()
    ]
    all_figures = {"jpegs": count, "workers": options.workers, "shard_mb": SHARD_MB, **figures}
    report("s3", all_figures, targets, save=options.save)


def _in_assemble(found: Figures) -> float:
    gets = found["gets_per_8_megabytes"]
    assert isinstance(gets, dict)
    return float(gets["assemble"])


if __name__ == "__main__":
    main()
