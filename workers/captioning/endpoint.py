"""Asking a server that speaks OpenAI's chat completions: vLLM, SGLang, `transformers serve`, or a
hosted one.

So many requests wait at the same time; the client tries again what may pass, with jitter, as late
as the server asks it to. An answer is read under a limit of time and of bytes, and taken apart
here: what is no answer is a fault of its sample.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
from PIL import Image

from schemas.errors import BuildError, TransientError
from schemas.reasons import Reason
from workers.captioning.answered import Answer, NoAnswer, Request, Tell
from workers.captioning.config import Caption
from workers.faults import Fault

MAX_ANSWER_BYTES = 4 << 20
_JPEG_QUALITY = 95
_LONGEST_WAIT_S = 60.0
"""That the client waits where a server asks it to."""
_MAY_PASS = (
    openai.APIConnectionError,
    openai.RateLimitError,
    openai.InternalServerError,
    openai.ConflictError,
)
_OF_THE_BUILD = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
_REQUEST_TIMEOUT = 408


class Endpoint:
    """The backend over a server; `threads` draw pictures."""

    def __init__(self, config: Caption, seed: int, threads: int) -> None:
        self._config = config
        self._seed = seed
        self._key = os.environ.get(config.api_key_env, "")
        self._threads = threads

    def run(self, requests: Iterable[Request], tell: Tell) -> None:
        """As `Backend`."""
        asyncio.run(self._run(iter(requests), tell))

    async def _run(self, requests: Iterator[Request], tell: Tell) -> None:
        failures: list[BuildError] = []
        with ThreadPoolExecutor(self._threads) as pool:
            async with openai.AsyncOpenAI(
                base_url=self._config.endpoint,
                api_key=self._key or "none",
                max_retries=self._config.retries,
                timeout=self._config.timeout_s,
            ) as client:

                async def work() -> None:
                    # one that fails lets the others finish what they have begun
                    for request in requests:
                        try:
                            tell(await self._answer(client, pool, request))
                        except BuildError as error:
                            failures.append(error)
                        if failures:
                            return

                async with asyncio.TaskGroup() as group:
                    for _ in range(self._config.concurrency):
                        group.create_task(work())
        if failures:
            raise failures[0]

    async def _answer(
        self, client: openai.AsyncOpenAI, pool: ThreadPoolExecutor, request: Request
    ) -> Answer | NoAnswer:
        pictures: list[str] = []
        if request.pictures is not None:  # a thread for nothing would cost half of a request
            loop = asyncio.get_running_loop()
            try:
                pictures = await loop.run_in_executor(pool, _data_urls, request.pictures)
            except Fault as fault:
                return NoAnswer(request.key, fault.reason.value, fault.message)
        messages = _messages(request, pictures)
        tries = self._config.retries + 1
        longest = tries * (self._config.timeout_s + _LONGEST_WAIT_S)
        try:
            async with asyncio.timeout(longest):
                return await self._asked(client, request.key, messages, tries)
        except TimeoutError as error:
            raise TransientError(self._told(f"no answer in {longest:.0f} seconds")) from error

    async def _asked(
        self, client: openai.AsyncOpenAI, key: str, messages: list[Any], tries: int
    ) -> Answer | NoAnswer:
        """The client tries again until an answer begins; here is what breaks off behind that."""
        for attempt in range(tries):
            try:
                return await self._once(client, key, messages)
            except _OF_THE_BUILD as error:
                raise BuildError(self._told(_one_line(error))) from error
            except _MAY_PASS as error:
                raise TransientError(self._told(_one_line(error))) from error
            except openai.APIStatusError as error:
                if error.status_code == _REQUEST_TIMEOUT:
                    raise TransientError(self._told(_one_line(error))) from error
                return self._refused(key, error)
            except (TimeoutError, openai.APIError, OSError) as error:
                broke = _one_line(error)
            except Exception as error:
                if not type(error).__module__.startswith("httpx"):
                    raise
                broke = _one_line(error)
            if attempt + 1 < tries:
                await asyncio.sleep(_pause(key, attempt))
        raise TransientError(self._told(f"an answer broke off {tries} times: {broke}"))

    async def _once(
        self, client: openai.AsyncOpenAI, key: str, messages: list[Any]
    ) -> Answer | NoAnswer:
        config = self._config
        began = time.monotonic()
        async with client.chat.completions.with_streaming_response.create(
            model=config.model,
            messages=messages,
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            seed=self._seed,
        ) as response:
            kind = response.headers.get("content-type", "")
            body = bytearray()
            async with asyncio.timeout(config.timeout_s):
                async for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        what = f"the answer is longer than {MAX_ANSWER_BYTES} bytes"
                        return NoAnswer(key, Reason.CAPTION_REJECTED.value, what)
        latency_ms = round((time.monotonic() - began) * 1000)
        return _parsed(key, kind, bytes(body), latency_ms)

    def _refused(self, key: str, error: openai.APIStatusError) -> NoAnswer:
        what = (
            f"the endpoint refused it ({error.status_code}): {self._without_key(_one_line(error))}"
        )
        return NoAnswer(key, Reason.CAPTION_REJECTED.value, what)

    def _told(self, what: str) -> str:
        return f"caption endpoint {self._config.endpoint}: {self._without_key(what)}"

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _messages(request: Request, pictures: Sequence[str]) -> list[Any]:
    """As chat completions take them."""
    content: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": url}} for url in pictures
    ]
    said: Any = request.user
    if content:
        said = [*content, {"type": "text", "text": request.user}]
    system = [{"role": "system", "content": request.system}] if request.system else []
    return [*system, {"role": "user", "content": said}]


def _data_urls(pictures: Callable[[], list[Image.Image]]) -> list[str]:
    """Raises Fault where one does not decode."""
    return [_data_url(picture) for picture in pictures()]


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _parsed(key: str, kind: str, body: bytes, latency_ms: int) -> Answer | NoAnswer:
    """The first choice of a chat completion."""

    def none(what: str) -> NoAnswer:
        return NoAnswer(key, Reason.CAPTION_REJECTED.value, f"no answer: {what}")

    if "json" not in kind.lower():
        return none(f"the content type is {kind[:60]!r}")
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        return none(f"no JSON: {str(error)[:80]}")
    choices = told.get("choices") if isinstance(told, dict) else None
    if not isinstance(choices, list) or not choices:
        return none("it has no choices")
    choice = choices[0] if isinstance(choices[0], dict) else {}
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else None
    if text is not None and not isinstance(text, str):
        return none("its content is no text")
    usage = told.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Answer(
        key=key,
        # what UTF-8 cannot hold cannot be kept
        text=(text or "").encode("utf-8", "replace").decode(),
        finish=str(choice.get("finish_reason") or "stop")[:32],
        answered_by=str(told.get("model") or "")[:200],
        latency_ms=latency_ms,
        prompt_tokens=_count(counts.get("prompt_tokens")),
        answer_tokens=_count(counts.get("completion_tokens")),
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def _pause(key: str, attempt: int) -> float:
    """Seconds, doubling to 8, of which a part depends on the key, so that not all come at once."""
    jitter = int(key[:4], 16) / 0xFFFF
    longest: float = min(8.0, 0.5 * 2**attempt)
    return longest * (0.5 + jitter / 2)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return (text or type(error).__name__)[:300]
