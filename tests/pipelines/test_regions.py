"""Boxes and points from records to packs: each family's words, and the size that is packed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from patchpack import Pack
from pipelines.build import Built
from pipelines.engine import RayEngine
from pipelines.verify import verify
from tests.pipelines.conftest import Recorder, build_in, packs_of
from tests.tiny_source import Record, asked, encoded, ledger_rows, picture, write_records
from workers.bytes_tokenizer import BytesTokenizer

SIZES = {"small": (280, 168), "large": (1120, 672), "tall": (90, 300)}
BOX = (25.5, 30, 75, 120)
POINT = (60, 90)


def located(name: str, **changes: object) -> Record:
    """A sample that asks about a point of a picture, and is answered with a box in it."""
    box = {"type": "box", "item": 0, "xyxy": BOX, "label": "door", **changes}
    point = {"type": "point", "item": 0, "xy": POINT, "label": "it"}
    image = {"type": "image", "path": f"{name}.png"}
    user = [image, {"type": "text", "text": "What is "}, point, {"type": "text", "text": "?"}]
    answer = [{"type": "text", "text": "A part of "}, box, {"type": "text", "text": "."}]
    turns = [{"role": "user", "parts": user}, {"role": "assistant", "parts": answer}]
    return {"id": name, "turns": turns}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regions")
    files = {
        f"{name}.png": encoded(picture(number, wh), "png")
        for number, (name, wh) in enumerate(SIZES.items())
    }
    outside = located("small", xyxy=[0, 0, 281, 10]) | {"id": "outside"}
    lost = located("small", item=1) | {"id": "lost"}
    plain = [asked(f"plain{number}", "small.png") for number in range(6)]
    write_records(folder / "source", files, [*map(located, SIZES), outside, *plain, lost])
    return folder


@pytest.fixture(scope="module")
def pixels(folder: Path, ray_engine: RayEngine) -> Built:
    """Pixels of the resized picture, in packs that are too small for the large one."""
    return build_in(folder, ray_engine, policy='kind = "qwen2_5_vl"', max_tokens=512)


def said(packs: Sequence[Pack], name: str) -> tuple[str, str, tuple[int, ...]]:
    """The text of a sample, what of it is learned, and the size of its picture in the pack."""
    [pack] = [one for one in packs if f"tiny/{name}" in one.header.sample_id]
    number = pack.header.sample_id.index(f"tiny/{name}")
    span = slice(*pack.header.cu_seqlens[number : number + 2])
    arrays, bytes_ = pack.arrays, BytesTokenizer()
    text = arrays.tokens[span][arrays.token_kind[span] == 0].tolist()
    learned = arrays.tokens[span][arrays.loss[span] == 1].tolist()
    item = pack.header.item_sample.index(number)
    assert len(learned) == pack.header.loss_tokens[number]
    return bytes_.decode(text), bytes_.decode(learned), tuple(pack.header.item_resized_wh[item])


def test_pixels_are_those_of_the_picture_in_the_pack(folder: Path, pixels: Built) -> None:
    packs = list(packs_of(folder / "out", pixels))
    for name, source in SIZES.items():
        text, learned, resized = said(packs, name)
        scale = np.divide(resized, source)
        box = np.rint(BOX * np.tile(scale, 2)).astype(int).tolist()
        point = np.rint(POINT * scale).astype(int).tolist()
        assert f'What is {{"point_2d": {point}, "label": "it"}}?' in text
        assert learned == f'A part of {{"bbox_2d": {box}, "label": "door"}}.<|im_end|>'
    assert said(packs, "large")[2] < SIZES["large"]  # it took smaller steps to fit
    assert verify(folder / "out").problems == []


def test_a_place_that_cannot_be_drops_its_sample(folder: Path, pixels: Built) -> None:
    rows = ledger_rows(folder / "out", pixels.manifest)
    assert {name: row["drop"] for name, row in rows.items() if row["drop"]} == {
        "tiny/outside": "bad_box",
        "tiny/lost": "bad_box",
    }
    assert rows["tiny/outside"]["message"] == (
        "box [0.0, 0.0, 281.0, 10.0] of item 0 is not inside 280×168"
    )
    assert "turns[1].parts[1].item: 1 is no number" in rows["tiny/lost"]["message"]


@pytest.mark.parametrize(
    ("policy", "pattern"),
    [
        (
            'kind = "qwen2_vl"',
            r"A part of <\|object_ref_start\|>door<\|object_ref_end\|>"
            r"<\|box_start\|>\((\d+),(\d+)\),\((\d+),(\d+)\)<\|box_end\|>\.<\|im_end\|>",
        ),
        (
            'kind = "internvl"\nimage_size = 56',
            r"A part of <ref>door</ref><box>\[\[(\d+), (\d+), (\d+), (\d+)\]\]</box>\.<\|im_end\|>",
        ),
    ],
)
def test_thousandths_are_those_of_the_source_picture(
    folder: Path, ray_engine: RayEngine, tmp_path: Path, policy: str, pattern: str
) -> None:
    (tmp_path / "source").symlink_to(folder / "source")
    built = build_in(tmp_path, ray_engine, policy=policy)
    packs = list(packs_of(tmp_path / "out", built))
    for name, source in SIZES.items():
        found = re.fullmatch(pattern, said(packs, name)[1])
        assert found
        wanted = np.rint(np.divide(BOX, np.tile(source, 2)) * 1000).astype(int)
        assert [int(number) for number in found.groups()] == wanted.tolist()
    assert verify(tmp_path / "out").problems == []


def test_a_moved_box_renders_no_picture(folder: Path, engine: Recorder, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for path in (folder / "source").iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    policy = 'kind = "qwen2_5_vl"'
    before = build_in(tmp_path, engine, policy=policy)
    engine.asked.clear()
    text = (source / "records.jsonl").read_text()
    (source / "records.jsonl").write_text(text.replace("25.5", "26.5"))
    after = build_in(tmp_path, engine, policy=policy)
    assert after.manifest.shards != before.manifest.shards
    assert "run_render" not in engine.asked
