"""S3 alone: what is asked of the server, and what becomes of its faults."""

import io
import multiprocessing
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import BuildError, RecipeError, TransientError
from tests.workers.storage.big_object import BIG
from tests.workers.storage.faulty_proxy import FaultyProxy, Kind, Spoiled, upload
from workers.storage.retry import Retry
from workers.storage.s3 import S3Folder

MIB = 1 << 20


def test_small_sorted_ranges_share_requests(big: S3Folder, proxy: FaultyProxy) -> None:
    draw = random.Random(0)
    ranges = [(at + draw.randrange(100_000), 20_000) for at in range(0, len(BIG), 320_000)]
    assert len(ranges) == 200
    assert big.read_ranges("big", ranges) == [BIG[a : a + size] for a, size in ranges]
    assert proxy.requests.keys() == {"GET"}
    assert proxy.requests["GET"] <= proxy.body_bytes["GET"] / (8 * MIB)
    assert proxy.body_bytes["GET"] <= len(BIG)


def test_ranges_far_from_each_other_do_not_move_what_lies_between(
    big: S3Folder, proxy: FaultyProxy
) -> None:
    ranges = [(at, 1000) for at in range(0, len(BIG), 10_000_000)]
    big.read_ranges("big", ranges)
    assert proxy.requests == {"GET": 7}
    assert proxy.body_bytes["GET"] == 7000


def test_sequential_reading_is_read_ahead(big: S3Folder, proxy: FaultyProxy) -> None:
    with big.open("big") as file:
        pieces = [file.read(1000)]
        while piece := file.read(777_777):
            pieces.append(piece)
    assert b"".join(pieces) == BIG
    assert proxy.requests["HEAD"] == 1
    assert proxy.requests["GET"] <= len(BIG) / (8 * MIB)
    assert proxy.body_bytes["GET"] == len(BIG)


def test_reading_on_is_read_ahead_whatever_reads(big: S3Folder, proxy: FaultyProxy) -> None:
    with big.open("big") as file, io.TextIOWrapper(file, "latin-1", newline="\n") as text:
        assert sum(map(len, text)) == len(BIG)
    assert proxy.requests["GET"] <= len(BIG) / (8 * MIB)
    proxy.reset()
    with big.open("big") as file:
        assert file.read() == BIG
    assert proxy.requests["GET"] <= len(BIG) / (8 * MIB)


def test_a_look_at_the_end_moves_little(big: S3Folder, proxy: FaultyProxy) -> None:
    with big.open("big") as file:
        for at in (len(BIG) - 8, 30_000_000, 5):
            file.seek(at)
            assert file.read(8) == BIG[at : at + 8]
    assert proxy.requests["GET"] == 3
    assert proxy.body_bytes["GET"] <= 10 * MIB


def test_a_whole_file_is_one_request_where_it_is_small(s3: S3Folder, proxy: FaultyProxy) -> None:
    s3.write_whole("x", b"x" * 1000)
    assert s3.read_whole("x") == b"x" * 1000
    assert proxy.requests == {"PUT": 1, "GET": 1}


def test_a_listing_of_many_pages_is_complete(
    s3: S3Folder, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    upload(proxy, f"{s3.bucket}/{s3.prefix}/many/%d", *([b""] * 33))
    proxy.schedule.extend([Spoiled("status", 503)] * 2)
    names = sorted(f"many/{number}" for number in range(33))
    assert [name for name, _ in s3.list("many")] == names
    assert proxy.requests == {"GET": 4 + 2}


def test_markers_of_folders_and_strange_keys(s3: S3Folder, proxy: FaultyProxy) -> None:
    above = replace(s3, prefix=s3.prefix.partition("/")[0])
    for key in ("some/prefix/a//b", "some/prefix/100% +&?#=.txt", "some/prefixed", "other"):
        above.write_whole(key, key.encode())
    upload(proxy, f"{s3.bucket}/{s3.prefix}/folder/", b"")
    assert [name for name, _ in s3.list()] == ["100% +&?#=.txt", "a//b"]
    assert s3.read_whole("100% +&?#=.txt") == b"some/prefix/100% +&?#=.txt"
    assert len(above.list()) == 4
    assert s3.stat("folder/") is None
    assert s3.stat("folder") is None
    upload(proxy, f"{s3.bucket}/{s3.prefix}/a/%2E%2E/%2E%2E/x", b"")
    with pytest.raises(BuildError, match=r"'a/../../x' leaves the folder"):
        s3.list()


def test_the_folder_may_be_a_whole_bucket(s3: S3Folder, proxy: FaultyProxy) -> None:
    upload(proxy, "another-bucket")
    bucket = replace(s3, bucket="another-bucket", prefix="")
    bucket.write_whole("a/b", b"b")
    assert [name for name, _ in bucket.list()] == ["a/b"]
    assert [name for name, _ in bucket.list("a")] == ["a/b"]
    assert bucket.read_whole("a/b") == b"b"


def test_a_burst_of_slow_down_is_survived(s3: S3Folder, proxy: FaultyProxy) -> None:
    for status, code in ((503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests")):
        fault = Spoiled("status", status, code)
        proxy.schedule.extend([fault] * 3)
        s3.write_whole("x", b"data")
        proxy.schedule.extend([fault] * 3)
        assert s3.stat("x")
        proxy.schedule.extend([fault] * 3)
        assert s3.read_whole("x") == b"data"
        proxy.schedule.extend([fault] * 3)
        assert len(s3.list()) == 1
        assert not proxy.schedule


@pytest.mark.parametrize("kind", ["truncate", "short", "drop"])
def test_broken_answers_are_survived(big: S3Folder, proxy: FaultyProxy, kind: Kind) -> None:
    proxy.schedule.extend([Spoiled(kind)] * 3)
    assert big.read("big", 1000, 30 * MIB) == BIG[1000 : 1000 + 30 * MIB]
    assert proxy.requests["GET"] == 3 + 3
    if kind in ("truncate", "short"):  # what came is not asked for again
        assert proxy.body_bytes["GET"] == 30 * MIB


def test_a_wrong_checksum_is_a_broken_answer(s3: S3Folder, proxy: FaultyProxy) -> None:
    s3.write_whole("x", b"data" * 1000)
    kinds: list[Kind] = ["corrupt", "short"]
    for kind in kinds:
        proxy.requests.clear()
        proxy.schedule.extend([Spoiled(kind, methods="GET")] * 2)
        assert s3.read_whole("x") == b"data" * 1000
        assert proxy.requests == {"GET": 3}


@pytest.mark.parametrize("kind", ["stall", "stall_in_body"])
def test_stalled_answers_are_survived(s3: S3Folder, proxy: FaultyProxy, kind: Kind) -> None:
    s3.write_whole("x", BIG[:MIB])
    proxy.schedule.extend([Spoiled(kind, seconds=60)] * 2)
    hasty = replace(s3, retry=replace(s3.retry, read_timeout_s=1))
    assert hasty.read_whole("x") == BIG[:MIB]
    assert proxy.requests["GET"] == 3


def test_a_line_that_breaks_again_and_again_is_survived_while_it_goes_forward(
    big: S3Folder, proxy: FaultyProxy
) -> None:
    proxy.schedule.extend([Spoiled("truncate")] * 15)
    assert big.read("big", 0, 6 * MIB) == BIG[: 6 * MIB]
    assert proxy.requests["GET"] == 16
    assert proxy.body_bytes["GET"] == 6 * MIB


def test_a_fault_that_stays_is_told_in_time_and_without_secrets(
    s3: S3Folder, proxy: FaultyProxy
) -> None:
    s3.write_whole("x", b"data")
    proxy.always = Spoiled("status", 500)
    calls: list[Callable[[], object]] = [
        lambda: s3.stat("x"),
        s3.list,
        lambda: s3.read_whole("x"),
        lambda: s3.write_whole("x", b""),
        lambda: s3.delete("x"),
    ]
    for call in calls:
        proxy.requests.clear()
        began = time.monotonic()
        with pytest.raises(TransientError) as caught:
            call()
        assert time.monotonic() - began < 10
        assert proxy.requests.total() == s3.retry.attempts
        message = str(caught.value)
        assert message.startswith(f"s3://{s3.bucket}/")
        assert "500" in message
        assert "secret" not in message
        assert "\n" not in message


def test_a_server_that_never_answers_is_given_up(s3: S3Folder, proxy: FaultyProxy) -> None:
    s3.write_whole("x", b"data" * 1000)
    hasty = replace(s3, retry=replace(s3.retry, attempts=3, read_timeout_s=0.2, total_s=1.5))
    kinds: list[Kind] = ["stall", "stall_in_body"]
    for kind in kinds:
        proxy.always = Spoiled(kind, seconds=60)
        began = time.monotonic()
        with pytest.raises(TransientError, match=r"s3://.*(TimeoutError|timed out)"):
            hasty.read_whole("x")
        assert time.monotonic() - began < 10
    proxy.always = Spoiled("stall", seconds=60)
    patient = replace(s3, retry=replace(s3.retry, read_timeout_s=60, total_s=1))
    began = time.monotonic()
    with pytest.raises(TransientError, match=r"timed out; given up after \d s"):
        patient.read_whole("x")
    assert time.monotonic() - began < 10


def test_nobody_there(s3: S3Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(TransientError, match=r"s3://.*EndpointConnectionError"):
        s3.stat("x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:a-secret@127.0.0.1:9")
    with pytest.raises(TransientError, match="s3://") as caught:
        s3.stat("x")
    assert "a-secret" not in str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "a-secret@127.0.0.1")
    with pytest.raises(RecipeError, match="AWS_ENDPOINT_URL") as wrong:
        s3.stat("x")
    assert "a-secret" not in str(wrong.value)


def test_what_is_forbidden_is_told_at_once(
    s3: S3Folder, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.always = Spoiled("status", 403, "AccessDenied")
    for call in (s3.stat, s3.open, s3.read_whole, s3.delete, s3.list):
        proxy.requests.clear()
        with pytest.raises(PermissionError, match=f"s3://{s3.bucket}/") as caught:
            call("x")
        assert "secret" not in str(caught.value)
        assert proxy.requests.total() == 1
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(PermissionError, match="no credentials: set AWS_ACCESS_KEY_ID"):
        s3.stat("x")


def test_a_bucket_that_is_not_there(proxy: FaultyProxy) -> None:
    nowhere = S3Folder("not-there", "x")
    for call in (nowhere.list, nowhere.read_whole, nowhere.open):
        with pytest.raises(FileNotFoundError, match="s3://not-there/"):
            call("x")
    assert nowhere.stat("x") is None
    assert proxy.requests.total() == 4


def test_a_lost_answer_to_create_is_no_conflict(s3: S3Folder, proxy: FaultyProxy) -> None:
    proxy.schedule.append(Spoiled("lose_answer"))
    s3.create("manifest", b"mine")
    assert proxy.requests["PUT"] == 2
    assert s3.read_whole("manifest") == b"mine"
    with pytest.raises(FileExistsError):
        s3.create("manifest", b"mine")


def test_a_conflict_while_the_other_writes_is_tried_again(s3: S3Folder, proxy: FaultyProxy) -> None:
    proxy.schedule.append(Spoiled("status", 409, "ConditionalRequestConflict"))
    s3.create("manifest", b"mine")
    assert s3.read_whole("manifest") == b"mine"


def test_parts_that_fail_are_sent_again(s3: S3Folder, proxy: FaultyProxy, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BIG)
    refused = Spoiled("status", 503, "SlowDown", methods="PUT")
    lost = [Spoiled("drop", methods="PUT"), Spoiled("lose_answer", methods="PUT")]
    proxy.schedule.extend([refused, *lost, replace(refused, methods="POST")])
    s3.put(tmp_path / "x", "x")
    assert proxy.requests == {"POST": 2 + 1, "PUT": 4 + 3}
    assert s3.read_whole("x") == BIG


def test_an_upload_that_fails_leaves_nothing(
    s3: S3Folder, proxy: FaultyProxy, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(bytes(50_000_000))
    proxy.always = Spoiled("status", 503, "SlowDown", methods="PUT")
    with pytest.raises(TransientError, match="503 SlowDown"):
        s3.put(tmp_path / "x", "x")
    assert (tmp_path / "x").exists()
    assert s3.stat("x") is None
    assert proxy.requests["DELETE"] == 1


def test_an_object_that_changes_while_it_is_read_is_an_error(s3: S3Folder) -> None:
    s3.write_whole("x", BIG[: 20 * MIB])
    with s3.open("x") as file:
        assert file.read(100) == BIG[:100]
        s3.write_whole("x", BIG[MIB : 21 * MIB])
        assert file.read(7 * MIB) == BIG[100 : 100 + 7 * MIB]  # it was read ahead
        with pytest.raises(BuildError, match="x changed while"):
            file.read(2 * MIB)


def _read_in_child(folder: S3Folder, results: "multiprocessing.Queue[bytes]") -> None:
    results.put(folder.read_whole("x"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_make_their_own_connection(s3: S3Folder, method: str) -> None:
    s3.write_whole("x", b"data")
    context: Any = multiprocessing.get_context(method)
    results = context.Queue()
    child = context.Process(target=_read_in_child, args=(s3, results))
    child.start()
    assert results.get(timeout=60) == b"data"
    child.join(60)
    assert child.exitcode is not None  # not which one: other libraries in this process have a say
    assert s3.read_whole("x") == b"data"


def test_many_threads_share_a_connection(s3: S3Folder) -> None:
    s3.write_whole("x", bytes(range(256)) * 1000)
    with ThreadPoolExecutor(16) as pool:
        read = list(pool.map(lambda at: s3.read("x", at, 1), range(60)))
    assert read == [bytes([at]) for at in range(60)]


def test_delays_double_up_to_a_limit() -> None:
    retry = Retry(first_delay_s=1, longest_delay_s=5)
    for failures, most in ((1, 1), (2, 2), (3, 4), (4, 5), (50, 5)):
        delays = {retry.delay_s(failures) for _ in range(100)}
        assert most / 2 <= min(delays) < max(delays) <= most
