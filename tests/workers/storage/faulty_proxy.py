"""An HTTP proxy on loopback that spoils answers on a schedule, and counts what passes."""

from __future__ import annotations

import http.client
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Kind = Literal[
    "status", "stall", "stall_in_body", "truncate", "short", "corrupt", "drop", "lose_answer"
]
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


@dataclass(frozen=True)
class Spoiled:
    """What becomes of one request.

    `short` is a whole answer with half the body, `truncate` half an answer, `corrupt` one with a
    wrong bit; `lose_answer` is done by the server, but nobody hears of it.
    """

    kind: Kind
    status: int = 500
    code: str = "InternalError"
    seconds: float = 0.0
    methods: str = "GET HEAD PUT POST DELETE"
    path: str = ""
    """Part of the URLs that it is for."""

    def concerns(self, method: str, path: str) -> bool:
        """Whether it is for this request."""
        return method in self.methods and self.path in path


class FaultyProxy(ThreadingHTTPServer):
    """Forwards to `upstream` (host, port); `schedule` is used up request by request."""

    daemon_threads = True

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.schedule: deque[Spoiled] = deque()
        self.always: Spoiled | None = None
        self.requests: Counter[str] = Counter()
        self.asked: list[str] = []  # method and URL of each request
        self.body_bytes: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.put_lock = threading.Lock()  # S3 decides conditional puts one by one; moto does not
        self.stopping = threading.Event()

    def reset(self) -> None:
        """Forget faults and counts."""
        with self.lock:
            self.schedule.clear()
            self.always = None
            self.requests.clear()
            self.asked.clear()
            self.body_bytes.clear()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are what it is for."""

    def fault(self, method: str, path: str) -> Spoiled | None:
        """Count a request, and say what becomes of it."""
        with self.lock:
            self.requests[method] += 1
            self.asked.append(f"{method} {path}")
            if self.schedule and self.schedule[0].concerns(method, path):
                return self.schedule.popleft()
            return self.always if self.always and self.always.concerns(method, path) else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.fault(self.command, self.path)
        kind = fault.kind if fault else ""
        if fault and kind == "status":
            self.refuse(fault)
            return
        if fault and kind == "stall":
            self.server.stopping.wait(fault.seconds)
        if kind in ("drop", "stall"):
            self.close_connection = True
            return
        status, headers, data = self.forward(body)
        if kind == "short":
            data = data[: len(data) // 2]
        if kind == "corrupt":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if kind == "lose_answer":
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers:
            stated = str(len(data)) if kind == "short" and name == "Content-Length" else value
            self.send_header(name, stated)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and kind in ("truncate", "stall_in_body"):
            data = data[: len(data) // 2]
            self.close_connection = True
        with self.server.lock:
            self.server.body_bytes[self.command] += len(data)
        self.wfile.write(data)
        if fault and kind == "stall_in_body":
            self.wfile.flush()
            self.server.stopping.wait(fault.seconds)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def refuse(self, fault: Spoiled) -> None:
        xml = f"<Error><Code>{fault.code}</Code><Message>secret-message</Message></Error>".encode()
        if self.command == "HEAD":
            xml = b""
        self.send_response(fault.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(xml)))
        self.end_headers()
        self.wfile.write(xml)

    def forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.server.upstream, timeout=60)
        one_by_one = self.server.put_lock if self.command == "PUT" else threading.Lock()
        try:
            with one_by_one:
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                answer = connection.getresponse()
                data = answer.read()
        finally:
            connection.close()
        headers = [(k, v) for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP]
        length = answer.getheader("Content-Length", str(len(data)))
        return answer.status, [*headers, ("Content-Length", length)], data

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def running(proxy: FaultyProxy) -> Iterator[FaultyProxy]:
    """Serve in a thread; at the end, let go of what is held up."""
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stopping.set()
        proxy.shutdown()
        proxy.server_close()
        thread.join()


def upload(proxy: FaultyProxy, place: str, *contents: bytes) -> None:
    """Put objects at `place` without proxy and client; without contents, a bucket. Where there are
    several, `place` has a `%d` for their number.
    """
    connection = http.client.HTTPConnection(*proxy.upstream, timeout=60)
    for number, content in enumerate(contents or [b""]):
        path = place % number if "%d" in place else place
        connection.request("PUT", f"/{path}", content)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()
