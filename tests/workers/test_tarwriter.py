import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Literal

import pytest

from patchpack.layout import encode
from schemas.errors import ContractError
from tests.handmade import empty_pack, media_pack, members, text_pack
from workers.durable import write_whole
from workers.tarwriter import ShardSummary, shard_writer

PACKS = [text_pack(0), media_pack(1), empty_pack(2), media_pack(3)]


def write(path: Path) -> ShardSummary:
    with shard_writer(path) as shard:
        for pack in PACKS:
            shard.add_pack(pack.header.key, *encode(pack))
        return shard.finish()


def write_one(path: Path, key: str) -> None:
    with shard_writer(path) as shard:
        shard.add_pack(key, b"{}", [])


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_equal_packs_give_equal_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a.tar").sha256 == write(tmp_path / "b.tar").sha256
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert files(tmp_path) == ["a.tar", "b.tar"]


def test_it_writes_what_tarfile_writes(tmp_path: Path) -> None:
    write(tmp_path / "a.tar")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for pack in PACKS:
            for kind, data in zip(("json", "safetensors"), members(pack), strict=True):
                member = tarfile.TarInfo(f"{pack.header.key}.{kind}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    ours = (tmp_path / "a.tar").read_bytes()
    assert ours == stream.getvalue()[: len(ours)]  # tarfile pads the end to 10,240 bytes
    assert not any(stream.getvalue()[len(ours) :])


@pytest.mark.parametrize("mode", ["r:", "r|"])
def test_tarfile_reads_plain_members_without_times_and_owners(
    tmp_path: Path, mode: Literal["r:", "r|"]
) -> None:
    write(tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar", mode) as tar:
        found = [(m.name, m.mtime, m.mode, m.uid, m.gid, m.uname, m.pax_headers) for m in tar]
    names = [f"{p.header.key}.{kind}" for p in PACKS for kind in ("json", "safetensors")]
    assert found == [(name, 0, 0o644, 0, 0, "", {}) for name in names]


def test_the_summary_says_where_everything_is(tmp_path: Path) -> None:
    summary = write(tmp_path / "a.tar")
    data = (tmp_path / "a.tar").read_bytes()
    assert (summary.name, summary.size) == ("a.tar", len(data))
    assert summary.sha256 == hashlib.sha256(data).hexdigest()
    end = 0
    for pack, record in zip(PACKS, summary.packs, strict=True):
        header = data[record.header_offset :][: record.header_size]
        arrays = data[record.arrays_offset :][: record.arrays_size]
        assert (header, arrays) == members(pack)
        assert (zlib.crc32(header), zlib.crc32(arrays)) == (
            record.header_crc32,
            record.arrays_crc32,
        )
        assert (record.key, record.offset) == (pack.header.key, end)
        end = record.offset + record.size
    assert data[end:] == bytes(1024)


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ContractError):
        write_one(tmp_path / "new" / "a.tar", "no.dot")
    assert files(tmp_path) == ["new"]


def test_an_exception_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"before")
    with pytest.raises(ContractError):
        write_one(tmp_path / "a.tar", "no.dot")
    assert (tmp_path / "a.tar").read_bytes() == b"before"
    assert files(tmp_path) == ["a.tar"]


def test_a_killed_writer_leaves_nothing_under_a_name_that_readers_see(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from workers.tarwriter import shard_writer\n"
        "with shard_writer(Path(sys.argv[1])) as shard:\n"
        "    shard.add_pack('a-1', b'{}', [memoryview(bytes(9000))])\n"
        "    shard.finish()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.tar")],
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert [p for p in files(tmp_path) if not (p.startswith(".") and p.endswith(".tmp"))] == []


def test_a_full_disk_names_the_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _buffers: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.tar"):
        write(tmp_path / "a.tar")
    assert files(tmp_path) == []


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(descriptor: int, buffers: list[memoryview]) -> int:
        return os.write(descriptor, b"".join(buffers)[:777])

    whole = write(tmp_path / "a.tar")
    monkeypatch.setattr(os, "writev", short)
    assert write(tmp_path / "b.tar").sha256 == whole.sha256
    assert (tmp_path / "b.tar").read_bytes() == (tmp_path / "a.tar").read_bytes()


def test_more_buffers_than_one_system_call_takes(tmp_path: Path) -> None:
    buffers = [memoryview(bytes([k % 256])) for k in range(5000)]
    with shard_writer(tmp_path / "a.tar") as shard:
        shard.add_pack("a-1", b"{}", buffers)
        [record] = shard.finish().packs
    data = (tmp_path / "a.tar").read_bytes()
    assert data[record.arrays_offset :][:5000] == b"".join(buffers)


def test_a_key_has_at_most_88_bytes(tmp_path: Path) -> None:
    with shard_writer(tmp_path / "a.tar") as shard:
        shard.add_pack("k" * 88, b"{}", [])
        for key in ("k" * 89, "", "a.b", "../a", "ö", "a b", "a\n"):
            with pytest.raises(ContractError, match="a key has 1 to 88 letters"):
                shard.add_pack(key, b"{}", [])
        shard.finish()
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == ["k" * 88 + ".json", "k" * 88 + ".safetensors"]


def test_a_file_is_readable_by_others_as_far_as_the_umask_allows(tmp_path: Path) -> None:
    write_whole(tmp_path / "ours", b"")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode
