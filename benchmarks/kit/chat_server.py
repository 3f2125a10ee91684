"""A chat-completions server that answers at once, in a process of its own.

    python -m benchmarks.kit.chat_server COUNTS

Prints its address; the number of requests goes to the file COUNTS when it ends.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.kit.machine import REPOSITORY

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def _body(number: int) -> bytes:
    text = f"A quiet street with {number} houses beside a river."
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    usage = {"prompt_tokens": 300, "completion_tokens": 12, "total_tokens": 312}
    told = {"id": "1", "object": "chat.completion", "created": 0, "model": "at-once"}
    return json.dumps({**told, "choices": [choice], "usage": usage}).encode()


async def serve(counts: Path) -> None:
    """Until SIGTERM."""
    answered = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                await reader.readexactly(int(length[1]) if length else 0)
                answered += 1
                body = _body(answered)
                start = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                writer.write(f"{start}content-length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=1 << 26)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await ended.wait()
    counts.write_text(str(answered))


@contextmanager
def answering(counts: Path) -> Iterator[str]:
    """The address of one that runs while the block does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.kit.chat_server", str(counts)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
