"""A small chat-completions server: it tells the size and mean colour of each picture that it is
shown, and misbehaves on demand.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

Reply = tuple[int, dict[str, str], bytes]
Misbehaves = Callable[[int, dict[str, Any]], Reply | None]
"""Given the number of the request and its body the reply, or None for an honest answer."""


class CaptionServer:
    """What it has been asked, and how it answers."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.misbehaves: Misbehaves = lambda *_: None
        self.answer: Callable[[list[Image.Image], str], str] = described
        self.drip_s = 0.0
        """Between the bytes of an answer."""
        self.url = ""
        self._lock = threading.Lock()

    def take(self, body: dict[str, Any], key: str) -> int:
        """Note a request; its number."""
        with self._lock:
            self.bodies.append(body)
            self.keys.append(key)
            return len(self.bodies) - 1


def described(pictures: list[Image.Image], text: str) -> str:
    """An answer that depends on the pictures, or on the text where there are none."""
    if not pictures:
        return f"Übersetzung: {text}"
    told = []
    for number, one in enumerate(pictures):
        red, green, blue = np.asarray(one).reshape(-1, 3).mean(axis=0).round().astype(int)
        told.append(f"view{number} {one.width}x{one.height} red{red} green{green} blue{blue}")
    return "Seen are " + ", ".join(told) + "."


def completion(text: str, finish: str = "stop") -> Reply:
    """A chat completion."""
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "tiny-served",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text},
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }
    return 200, {"content-type": "application/json"}, json.dumps(body).encode()


def shown(body: dict[str, Any]) -> tuple[list[Image.Image], str]:
    """The pictures and the text of a request."""
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return [], content
    pictures: list[Image.Image] = [
        Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2])))
        for part in content
        if part["type"] == "image_url"
    ]
    return pictures, str(content[-1]["text"])


@contextmanager
def served(port: int = 0) -> Iterator[CaptionServer]:
    """A server on loopback, for as long as the block runs."""
    state = CaptionServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            number = state.take(body, self.headers.get("authorization", ""))
            reply = state.misbehaves(number, body) or completion(state.answer(*shown(body)))
            status, headers, data = reply
            if not status:  # goes away without an answer
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if not state.drip_s:
                self.wfile.write(data)
                return
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(state.drip_s)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 64
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that went away is none."""

    with Server(("127.0.0.1", port), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
