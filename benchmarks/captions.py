"""The caption client beside a bare loop of the same library, and a build of captions run twice.

    python -m benchmarks.captions [--save]

- client: requests a second to an endpoint in another process that answers at once; ours, answers
  recorded in the cache, and a loop of `openai.AsyncOpenAI` with the same concurrency. Texts alone,
  and with a picture that each side draws from its file.
- build: pictures captioned through Ray; a second build makes no request.
"""

from __future__ import annotations

import asyncio
import base64
import io
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openai
from PIL import Image

from benchmarks.kit.chat_server import answering
from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import in_turn, medians, timed
from pipelines.build import build, call
from pipelines.engine import RayEngine
from pipelines.kept_answers import KeptAnswers, journal
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from pipelines.store import Scratch, Store
from workers.captioning.answered import Request
from workers.captioning.config import Caption
from workers.captioning.endpoint import Endpoint
from workers.captioning.prompts import load_prompt
from workers.storage.local import LocalFolder

TEXTS, SHOWN, BUILT = 3000, 600, 300
CONCURRENCY = 32
PROMPT = load_prompt("caption", None)


def write_pictures(folder: Path, count: int) -> list[Path]:
    """JPEGs of 640 x 480 pixels of soft noise."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        small = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
        paths.append(folder / f"{number:04d}.jpg")
        Image.fromarray(small).resize((640, 480)).save(paths[-1], quality=90)
    return paths


def drawn(path: Path) -> list[Image.Image]:
    """As both sides show it."""
    return [Image.open(path).convert("RGB").resize((448, 336), Image.Resampling.BICUBIC)]


def ours(url: str, paths: Sequence[Path | None], folder: Path) -> None:
    """The backend, with its answers kept."""
    config = Caption(model="at-once", endpoint=url, concurrency=CONCURRENCY)
    keys = [f"{number:032x}" for number in range(len(paths))]
    requests = (
        Request(
            f"{number:032x}", PROMPT.system, PROMPT.user, partial(drawn, path) if path else None
        )
        for number, path in enumerate(paths)
    )
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        store = Store(LocalFolder(Path(cache)), Scratch(Path(cache), 1 << 30))
        with journal(store) as kept:
            Endpoint(config, 0, 2).run(requests, kept.tell)
        assert not KeptAnswers(store).missing(keys)


async def bare(url: str, paths: Sequence[Path | None]) -> None:
    """A loop as a user writes it: pictures are drawn where they are sent."""
    left = iter(paths)
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:

        async def work() -> None:
            for path in left:
                said: Any = PROMPT.user
                if path is not None:
                    buffer = io.BytesIO()
                    drawn(path)[0].save(buffer, "JPEG", quality=95, subsampling=0)
                    encoded = base64.b64encode(buffer.getvalue()).decode()
                    data = {"url": f"data:image/jpeg;base64,{encoded}"}
                    said = [
                        {"type": "image_url", "image_url": data},
                        {"type": "text", "text": PROMPT.user},
                    ]
                messages: Any = [
                    {"role": "system", "content": PROMPT.system},
                    {"role": "user", "content": said},
                ]
                told = await client.chat.completions.create(
                    model="at-once", messages=messages, max_tokens=512, temperature=0.0, seed=0
                )
                assert told.choices[0].message.content

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


def _run_bare(url: str, paths: Sequence[Path | None]) -> None:
    asyncio.run(bare(url, paths))


def client(work: Path, rounds: int) -> tuple[dict[str, Any], list[Target]]:
    """Requests a second of both."""
    pictures = write_pictures(work / "pictures", SHOWN)
    cases: dict[str, list[Path | None]] = {"texts": [None] * TEXTS, "pictures": [*pictures]}
    rates: dict[str, dict[str, float]] = {}
    with answering(work / "counts") as url:
        for name, paths in cases.items():
            sides: dict[str, Callable[[], float]] = {
                "ours": partial(timed, partial(ours, url, paths, work)),
                "bare": partial(timed, partial(_run_bare, url, paths)),
            }
            seconds = medians(in_turn(rounds, sides))
            rates[name] = {side: len(paths) / spent for side, spent in seconds.items()}
    ratios = {name: rate["ours"] / rate["bare"] for name, rate in rates.items()}
    hours = 1e6 / rates["pictures"]["ours"] / 3600
    return {"requests_a_second": rates, "hours_a_million_pictures": hours}, [
        Target("caption client / bare loop, texts", ratios["texts"], 0.8),
        Target("caption client / bare loop, pictures", ratios["pictures"], 0.8),
    ]


def twice(work: Path) -> tuple[dict[str, Any], list[Target]]:
    """Requests of a build and of the same build again."""
    write_pictures(work / "source", BUILT)
    counts: list[int] = []
    for number in range(2):
        with answering(work / f"counts-{number}") as url:
            recipe = work / "recipe.toml"
            recipe.write_text(
                "name = 'captions'\n[[sources]]\nname = 'pictures'\nkind = 'folder'\n"
                f"without_text = 'keep'\npath = '{work}/source'\n"
                "[[policy]]\nkind = 'qwen2_vl'\nmax_pixels = 200704\n"
                f"[caption]\nmodel = 'at-once'\nendpoint = '{url}'\nmax_blank_agreement = 1.0\n"
                f"[output]\npath = '{work}/out'\n"
            )
            seconds = timed(partial(_built, recipe))
            say(f"build {number + 1}: {seconds:.1f} s")
        counts.append(int((work / f"counts-{number}").read_text()))
    return {"requests_of_builds": counts}, [
        Target("requests of a second build", counts[1], 0, at_most=True)
    ]


def _built(recipe: Path) -> None:
    engine = RayEngine()
    build(Workshop(load_recipe(recipe), engine), call)
    engine.close()


def main() -> None:
    """Time both."""
    options = arguments("The caption client.").parse_args()
    with work_folder(options.work) as work:
        asked, aims = client(work, options.rounds)
        built, more = twice(work)
    report("captions", {"client": asked, "build": built}, [*aims, *more], save=options.save)


if __name__ == "__main__":
    main()
