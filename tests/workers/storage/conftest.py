"""An S3 server on loopback (moto), behind a proxy that counts and spoils what the test wants."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3_server import s3_server, use
from tests.workers.storage.big_object import BIG
from tests.workers.storage.faulty_proxy import FaultyProxy, upload
from workers.storage.folder import Folder
from workers.storage.local import LocalFolder
from workers.storage.retry import Retry
from workers.storage.s3 import S3Folder

# the delays of a fast server, the patience for a busy machine
QUICK = Retry(
    attempts=5, first_delay_s=0.01, longest_delay_s=0.05, read_timeout_s=20.0, total_s=60.0
)


@pytest.fixture(scope="session")
def _running_proxy() -> Iterator[FaultyProxy]:
    with s3_server() as proxy:
        yield proxy


@pytest.fixture
def proxy(_running_proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> FaultyProxy:
    return use(_running_proxy, monkeypatch)


@pytest.fixture(scope="session")
def _bucket(_running_proxy: FaultyProxy) -> str:
    upload(_running_proxy, "a-bucket")
    upload(_running_proxy, "a-bucket/shared/big", BIG)
    return "a-bucket"


@pytest.fixture
def s3(proxy: FaultyProxy, _bucket: str) -> S3Folder:
    """An empty folder at S3, with short limits."""
    proxy.reset()
    return S3Folder(_bucket, f"{uuid.uuid4().hex[:12]}/some/prefix", QUICK)


@pytest.fixture
def big(proxy: FaultyProxy, _bucket: str) -> S3Folder:
    """A folder with the object `big`, not to be changed: BIG."""
    proxy.reset()
    return S3Folder(_bucket, "shared", QUICK)


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """An empty folder of each kind."""
    if request.param == "local":
        return LocalFolder(tmp_path / "root")
    s3: S3Folder = request.getfixturevalue("s3")
    return s3
