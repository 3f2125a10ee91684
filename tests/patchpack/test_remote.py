"""Remote data sets: what breaks on the way is survived, or reported as what it is."""

from __future__ import annotations

import errno
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from patchpack import IO, PackedShards, Retry, TransferError
from patchpack import spans as spans_module
from tests.patchpack.packed import Packed, packed
from tests.s3_server import s3_server, use
from tests.workers.storage.faulty_proxy import FaultyProxy, Spoiled, running, upload

QUICK = Retry(attempts=4, first_delay_s=0.02, longest_delay_s=0.05, timeout_s=1.0, total_s=20.0)
SHARD = ".tar"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return packed(tmp_path_factory.mktemp("data") / "a", [8, 4], lanes=2, payload=60_000)


@pytest.fixture(scope="module")
def whole(made: Packed) -> list[str]:
    return keys_of(PackedShards(made.root))


@pytest.fixture(autouse=True)
def _small_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans_module, "SPAN_BYTES", 600_000)  # two packs


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """A file server that knows byte ranges, as object stores and nginx do."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        assert found
        start, stop = int(found[1]), min(int(found[2] or len(data)) + 1, len(data))
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(data[start:stop])

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def web(made: Packed) -> Iterator[FaultyProxy]:
    def handler(*arguments: Any) -> _Ranges:
        return _Ranges(*arguments, directory=str(made.root))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with running(FaultyProxy(("127.0.0.1", server.server_address[1]))) as proxy:
            yield proxy
        server.shutdown()


def keys_of(reader: Any, count: int | None = None) -> list[str]:
    return [pack.header.key for pack in islice(reader, count)]


def io_at(path: Path, **more: Any) -> IO:
    return IO(cache=path / "cache", retry=QUICK, **more)


def copies(path: Path) -> list[Path]:
    return sorted(path for path in (path / "cache").rglob("*") if path.is_file())


def test_http_reads_each_byte_once_and_then_from_the_cache(
    made: Packed, whole: list[str], web: FaultyProxy, tmp_path: Path
) -> None:
    assert keys_of(PackedShards(web.url, io=io_at(tmp_path))) == whole
    size = sum(shard["size"] for shard in made.partitions[0]["shards"])
    assert size <= web.body_bytes["GET"] < 1.05 * size
    web.reset()
    assert keys_of(PackedShards(web.url, io=io_at(tmp_path))) == whole
    assert [one for one in web.asked if SHARD in one or ".npy" in one] == []
    assert not [path for path in copies(tmp_path) if path.name.endswith(".part")]


@pytest.mark.parametrize("kind", ["truncate", "short", "drop", "stall_in_body", "stall"])
def test_a_broken_transfer_goes_on_where_it_broke(
    whole: list[str], web: FaultyProxy, tmp_path: Path, kind: Any
) -> None:
    web.schedule += [Spoiled(kind, seconds=30, path=SHARD)] * 3
    began = time.monotonic()
    assert keys_of(PackedShards(web.url, io=io_at(tmp_path))) == whole
    assert time.monotonic() - began < 15
    assert not web.schedule


def test_what_came_before_a_break_is_not_asked_for_again(
    made: Packed, web: FaultyProxy, tmp_path: Path
) -> None:
    web.schedule.append(Spoiled("truncate", path=SHARD))
    assert len(keys_of(PackedShards(web.url, io=io_at(tmp_path)))) == 24
    size = sum(shard["size"] for shard in made.partitions[0]["shards"])
    assert web.body_bytes["GET"] < 1.05 * size


def test_a_server_that_only_stalls_is_given_up_in_time(web: FaultyProxy, tmp_path: Path) -> None:
    reader = PackedShards(web.url, io=io_at(tmp_path))
    web.always = Spoiled("stall", seconds=60, path=SHARD)
    began = time.monotonic()
    with pytest.raises(TransferError, match=r"http://.*\.tar: .*given up after \d+ s at byte"):
        keys_of(reader)
    assert time.monotonic() - began < 15


def test_a_burst_of_500_and_503_is_survived_and_a_lasting_one_reported(
    whole: list[str], web: FaultyProxy, tmp_path: Path
) -> None:
    web.schedule += [Spoiled("status", status=500), Spoiled("status", status=503)]
    assert keys_of(PackedShards(web.url, io=io_at(tmp_path))) == whole
    web.always = Spoiled("status", status=503, path=SHARD)
    with pytest.raises(TransferError, match="the server answered 503; given up"):
        keys_of(PackedShards(web.url, io=io_at(tmp_path / "other")))


def test_refusals_are_not_tried_again(web: FaultyProxy, tmp_path: Path) -> None:
    web.always = Spoiled("status", status=403)
    with pytest.raises(PermissionError, match="no permission, the server answered 403"):
        PackedShards(web.url, io=io_at(tmp_path))
    assert web.requests["GET"] == 1
    web.always = None
    with pytest.raises(FileNotFoundError, match="holds no published data set"):
        PackedShards(f"{web.url}/nothing", io=io_at(tmp_path))


def test_a_small_cache_stays_within_its_bound_and_keeps_what_is_not_ours(
    whole: list[str], web: FaultyProxy, tmp_path: Path
) -> None:
    io = io_at(tmp_path, cache_bytes=1_500_000)
    folder = tmp_path / "cache" / "patchpack-1"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("kept")
    (tmp_path / "cache" / ("a" * 64 + "-0-5")).write_text("kept")
    assert keys_of(PackedShards(web.url, io=io)) == whole
    ours = [path for path in copies(tmp_path) if path.read_bytes() != b"kept"]
    assert sum(path.stat().st_size for path in ours) <= 1_500_000
    assert len(copies(tmp_path)) == len(ours) + 2
    assert keys_of(PackedShards(web.url, io=io)) == whole


def test_a_full_disk_is_survived_without_cache_and_logged_once(
    whole: list[str],
    web: FaultyProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write = os.write

    def full(descriptor: int, data: Any) -> int:
        if "cache" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    assert keys_of(PackedShards(web.url, io=io_at(tmp_path))) == whole
    assert copies(tmp_path) == []
    messages = [record.message for record in caplog.records if record.name == "patchpack"]
    assert len(messages) == 1
    assert "the disk is full" in messages[0]


def test_a_cache_that_cannot_be_made_is_named(web: FaultyProxy, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    io = IO(cache=tmp_path / "file" / "cache", retry=QUICK)
    with pytest.raises(OSError, match="the cache cannot be made") as caught:
        keys_of(PackedShards(web.url, io=io))
    assert str(tmp_path / "file") in str(caught.value)


READ = """
import sys
from pathlib import Path
from patchpack import IO, PackedShards, spans
spans.SPAN_BYTES = 600_000
for pack in PackedShards(sys.argv[1], io=IO(cache=Path(sys.argv[2]))):
    print(pack.header.key, flush=True)
"""


def _is_begun(path: Path) -> bool:
    """Of a copy under way, which may just have got its name."""
    try:
        return path.name.endswith(".part") and path.stat().st_size > 0
    except FileNotFoundError:
        return False


def test_after_kill_9_the_next_reader_goes_on_with_what_is_there(
    made: Packed, whole: list[str], web: FaultyProxy, tmp_path: Path
) -> None:
    web.schedule += [Spoiled("stall_in_body", seconds=60, path=SHARD)] * 4
    command = [sys.executable, "-c", READ, web.url, str(tmp_path / "cache")]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
        end = time.monotonic() + 30
        while time.monotonic() < end and not any(map(_is_begun, copies(tmp_path))):
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    started = [path for path in copies(tmp_path) if path.name.endswith(".part")]
    had = sum(path.stat().st_size for path in started)
    assert had > 0
    web.reset()
    assert keys_of(PackedShards(web.url, io=io_at(tmp_path))) == whole
    size = sum(shard["size"] for shard in made.partitions[0]["shards"])
    assert web.body_bytes["GET"] < 1.02 * size - had
    assert not [path for path in copies(tmp_path) if path.name.endswith(".part")]


def test_readers_of_one_cache_fetch_each_span_once(
    made: Packed, whole: list[str], web: FaultyProxy, tmp_path: Path
) -> None:
    found: list[list[str]] = []
    readers = [PackedShards(web.url, io=io_at(tmp_path)) for _ in range(3)]
    threads = [
        threading.Thread(target=lambda one=reader: found.append(keys_of(one))) for reader in readers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [whole] * 3
    size = sum(shard["size"] for shard in made.partitions[0]["shards"])
    assert web.body_bytes["GET"] < 1.1 * size


def test_an_abandoned_iteration_waits_for_no_slow_server(web: FaultyProxy, tmp_path: Path) -> None:
    io = IO(cache=tmp_path / "cache", prefetch=4)  # with patience that the test has not
    reader = iter(PackedShards(web.url, io=io))
    next(reader)
    web.always = Spoiled("stall_in_body", seconds=20, path=SHARD)
    next(reader)
    began = time.monotonic()
    del reader
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_s3_with_faults_reads_the_same(
    made: Packed, whole: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as proxy:
        use(proxy, monkeypatch)
        upload(proxy, "bucket")
        for path in made.root.rglob("*"):
            if path.is_file():
                place = path.relative_to(made.root).as_posix()
                upload(proxy, f"bucket/a/{place}", path.read_bytes())
        proxy.reset()
        slow_down = Spoiled("status", status=503, code="SlowDown")
        proxy.schedule += [
            Spoiled("status"),
            slow_down,
            slow_down,
            *[Spoiled(kind, seconds=30, path=SHARD) for kind in ("truncate", "short", "drop")],
            *[Spoiled("stall_in_body", seconds=30, path=SHARD)] * 2,
        ]
        reader = PackedShards("s3://bucket/a", io=io_at(tmp_path))
        assert keys_of(reader) == whole
        assert not proxy.schedule
        assert keys_of(PackedShards("s3://bucket/a", io=io_at(tmp_path))) == whole
        proxy.always = slow_down
        with pytest.raises(TransferError, match=r"s3://bucket/a/\S+: the server answered 503"):
            PackedShards("s3://bucket/a", io=io_at(tmp_path))
        proxy.always = Spoiled("status", status=403, code="AccessDenied")
        with pytest.raises(PermissionError, match="the server answered 403") as caught:
            PackedShards("s3://bucket/a", io=io_at(tmp_path))
        assert "secret" not in str(caught.value)
        proxy.always = None
        with pytest.raises(FileNotFoundError, match="holds no published data set"):
            PackedShards("s3://bucket/nothing", io=io_at(tmp_path))
