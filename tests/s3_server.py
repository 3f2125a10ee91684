"""An S3 server on loopback: moto, behind a proxy that counts and spoils what the test wants."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.workers.storage.faulty_proxy import FaultyProxy, running
from workers.storage.folder import Folder

SECRET = "a-secret"


@contextmanager
def s3_server() -> Iterator[FaultyProxy]:
    """The proxy, while the server runs."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        with running(FaultyProxy(server.get_host_and_port())) as proxy:
            yield proxy
    finally:
        server.stop()


def settings(proxy: FaultyProxy) -> dict[str, str]:
    """The environment of a program that uses it."""
    return {
        "AWS_ENDPOINT_URL": proxy.url,
        "AWS_ACCESS_KEY_ID": "an-id",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def use(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> FaultyProxy:
    """The proxy without faults and counts, and this process set to it alone."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in settings(proxy).items():
        monkeypatch.setenv(name, value)
    proxy.reset()
    return proxy


def copy_tree(local: Path, folder: Folder) -> None:
    """All files below a local folder, into another."""
    for path in sorted(local.rglob("*")):
        if path.is_file():
            folder.write_whole(path.relative_to(local).as_posix(), path.read_bytes())
