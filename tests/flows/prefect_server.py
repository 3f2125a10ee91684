"""A real Prefect server in a process of its own, with its database in SQLite or PostgreSQL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SECONDS = 180.0


def wait(ready: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Until it is; what a server that starts answers is not the end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if ready():
                return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.3)
    raise TimeoutError


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def prefect_server(folder: Path, database: str = "") -> Iterator[str]:
    """The address of its API, on a free port of the loopback."""
    port = free_port()
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    own = {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    if database:
        own["PREFECT_API_DATABASE_CONNECTION_URL"] = database
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=os.environ | own,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}/api"
        wait(lambda: bool(urllib.request.urlopen(f"{url}/health").status == 200))
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def ask(api: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The answer to a POST with this body; to a GET where there is none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{api}/{path}", data, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))


@contextmanager
def postgres() -> Iterator[str]:
    """The connection URL of an empty database; skips the test where PostgreSQL is not installed.

    The server refuses to run as root: then it runs as `postgres` or `nobody`.
    """
    [*programs] = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("PostgreSQL is not installed")
    # not below pytest's folder, which other users may not enter
    folder = Path(tempfile.mkdtemp(prefix="patchpack-pg-"))
    user = _unprivileged()
    if user:
        shutil.chown(folder, user)

    def run(*command: str) -> None:
        arguments = [str(programs[-1] / command[0]), *command[1:]]
        subprocess.run(
            arguments, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, env={}
        )

    data, port = str(folder / "data"), free_port()
    try:
        run("initdb", "-D", data, "-A", "trust", "-U", "prefect", "-E", "UTF8", "--no-sync")
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
        run("pg_ctl", "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


def _unprivileged() -> str | None:
    """Another user for who is root."""
    if os.getuid():
        return None
    users = [line.partition(":")[0] for line in Path("/etc/passwd").read_text().splitlines()]
    return "postgres" if "postgres" in users else "nobody"
