from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.errors import BuildError
from schemas.reasons import Reason
from tests.workers.tars import JPEG, PNG, js
from workers.sources.folder import FolderOptions, index, plan, read
from workers.sources.sample import Sample
from workers.storage.folder import folder_of


def laid_out(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return root


def samples(
    root: Path, path: str = "", files_per_block: int = 1000, **options: Any
) -> list[Sample]:
    folder = folder_of(root)
    table = index(folder, path)
    found = []
    for block in plan(table, path, files_per_block):
        rows = list(read(folder, block, FolderOptions.model_validate(options), table))
        assert len(rows) == block.rows
        found += [sample for sample, _ in rows]
        assert [origin for _, origin in rows] == [sample.sample_id for sample, _ in rows]
    return found


def said(sample: Sample) -> list[tuple[str, str]]:
    """Role and text of each turn, media as {path}."""
    return [
        (
            turn.role,
            "".join(
                f"{{{sample.media[part.item].path}}}" if part.item >= 0 else part.text
                for part in turn.parts
            ),
        )
        for turn in sample.turns
    ]


CONVERSATION = [
    {"from": "human", "value": "<image>\nSo?"},
    {"from": "gpt", "value": "So."},
]


def test_pictures_beside_their_text(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        "b.jpg": JPEG,
        "b.txt": "\ufeff A house.\r\n",
        "cats/a.PNG": PNG,
        "cats/a.caption": "A cat.",
        "cats/c.0.webp": b"?",
        "cats/c.0.json": js({"conversations": CONVERSATION}),
        "d.jpg": JPEG,
        "d.json": js({"caption": "A door."}),
        "film.mp4": b"film",
        "film.txt": "It moves.",
        "notes.md": "no medium",
        ".hidden.jpg": JPEG,
        ".cache/e.jpg": JPEG,
        "__MACOSX/._b.jpg": b"?",
    }
    found = samples(laid_out(tmp_path, files))
    assert [said(sample) for sample in found] == [
        [("user", "{b.jpg}"), ("assistant", "A house.")],
        [("user", "{cats/a.PNG}"), ("assistant", "A cat.")],
        [("user", "{cats/c.0.webp}\nSo?"), ("assistant", "So.")],
        [("user", "{d.jpg}"), ("assistant", "A door.")],
        [("user", "{film.mp4}"), ("assistant", "It moves.")],
    ]
    assert [sample.media[0].kind for sample in found] == ["image"] * 4 + ["video"]
    assert {sample.media[0].span for sample in found} == {None}


def test_one_folder_of_the_root_can_be_the_source(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"a.jpg": JPEG, "in/b.jpg": JPEG, "in/b.txt": "B."}
    (only,) = samples(laid_out(tmp_path, files), "in")
    assert only.sample_id == only.media[0].path == "in/b.jpg"


def test_where_text_is_can_be_said(tmp_path: Path) -> None:
    meta = js({"caption": "A.", "blip": "B.", "q": "So?", "talk": CONVERSATION})
    laid_out(tmp_path, {"a.jpg": JPEG, "a.txt": "C.", "a.tags": "D.", "a.json": meta})

    def only(**options: Any) -> list[tuple[str, str]]:
        [sample] = samples(tmp_path, **options)
        return said(sample)

    assert only(prompt="What?") == [("user", "{a.jpg}\nWhat?"), ("assistant", "C.")]
    assert only(caption="json:blip")[1] == ("assistant", "B.")
    assert only(caption="tags", question="json:q") == [
        ("user", "{a.jpg}\nSo?"),
        ("assistant", "D."),
    ]
    assert only(conversations="json:talk") == [("user", "{a.jpg}\nSo?"), ("assistant", "So.")]
    with pytest.raises(ValidationError, match="exclude each other"):
        FolderOptions(caption="txt", conversations="json:talk")


def test_a_picture_without_text_is_dropped_or_kept_without_an_answer(tmp_path: Path) -> None:
    laid_out(tmp_path, {"a.jpg": JPEG, "b.jpg": JPEG, "b.txt": " \n", "c.jpg": JPEG, "c.md": "no"})
    for sample in samples(tmp_path):
        assert sample.drop is Reason.EMPTY_SAMPLE
    assert [sample.message for sample in samples(tmp_path)] == [
        "a.jpg: txt, caption, json: no text",
        "b.jpg: txt: no text",
        "c.jpg: txt, caption, json: no text",
    ]
    kept = samples(tmp_path, without_text="keep", prompt="What?")
    assert said(kept[0]) == [("user", "{a.jpg}\nWhat?")]


def test_text_that_cannot_be_used_drops_its_picture_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sources.folder.MAX_TEXT_BYTES", 300_000)
    files: dict[str, bytes | str] = {
        "bomb.json": "[" * 200_000,
        "cut.json": "{",
        "latin.txt": b"\xe4",
        "long.txt": "x" * 300_001,
        "marker.txt": "<image>",
        "role.json": js([{"from": "me", "value": "?"}]),
        "two.json": js([{"from": "human", "value": "<image><image>"}]),
        "whole.txt": "Good.",
    }
    names = [name.partition(".")[0] for name in files]
    laid_out(tmp_path, {**files, **{f"{name}.jpg": JPEG for name in names}})
    found = {sample.sample_id.partition(".")[0]: sample for sample in samples(tmp_path)}
    assert [found[name].drop for name in names] == [
        Reason.BAD_RECORD,
        Reason.BAD_RECORD,
        Reason.BAD_RECORD,
        Reason.BAD_RECORD,
        Reason.MARKER_WITHOUT_MEDIA,
        Reason.BAD_RECORD,
        Reason.MARKER_WITHOUT_MEDIA,
        None,
    ]
    assert found["bomb"].message == "bomb.jpg: bomb.json: not JSON: nested too deeply"
    assert found["long"].message == "long.jpg: long.txt: 300001 bytes, over the limit of 16777216"


def test_names_that_are_no_paths_drop_their_picture(tmp_path: Path) -> None:
    laid_out(tmp_path, {"a\\b.jpg": JPEG, "a\\b.txt": "A.", "c\n.jpg": JPEG, "d.jpg": JPEG})
    laid_out(tmp_path, {"d.txt": "D."})
    backslash, control, good = samples(tmp_path)
    assert backslash.drop is Reason.PATH_OUTSIDE_ROOT
    assert control.drop is Reason.BAD_RECORD
    assert good.drop is None


def test_links_to_nothing_and_pipes_are_passed_over(tmp_path: Path) -> None:
    laid_out(tmp_path, {"a.jpg": JPEG, "a.txt": "A.", "folder.jpg/b.txt": "no medium"})
    (tmp_path / "lost.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [sample.sample_id for sample in samples(tmp_path)] == ["a.jpg"]


def test_a_text_that_changes_after_it_was_listed_stops_the_build(tmp_path: Path) -> None:
    laid_out(tmp_path, {"a.jpg": JPEG, "a.txt": "A."})
    folder = folder_of(tmp_path)
    table = index(folder)
    [block] = plan(table, "", 10)
    for change in ("AB.", "A", None):
        (tmp_path / "a.txt").unlink()
        if change:
            (tmp_path / "a.txt").write_text(change)
        with pytest.raises(BuildError, match=r"a\.txt changed while"):
            list(read(folder, block, FolderOptions(), table))
        (tmp_path / "a.txt").write_text("A.")


def many(root: Path, count: int) -> Path:
    return laid_out(
        root, {f"{n:04d}.{end}": str(n) for n in range(count) for end in ("jpg", "txt")}
    )


def test_blocks_of_any_size_give_the_same_samples(tmp_path: Path) -> None:
    many(tmp_path, 60)
    whole = samples(tmp_path)
    assert len(whole) == 60
    for size in (1, 2, 7, 59):
        assert samples(tmp_path, files_per_block=size) == whole
    assert plan(index(folder_of(tmp_path), "none"), "none", 10) == []


def test_a_new_file_changes_its_own_block_alone(tmp_path: Path) -> None:
    many(tmp_path, 300)
    folder = folder_of(tmp_path)
    before = {block.sha256 for block in plan(index(folder), "", 16)}
    assert 10 < len(before) < 40
    laid_out(tmp_path, {"0000a.jpg": JPEG, "0000a.txt": "new"})
    blocks = plan(index(folder), "", 16)
    assert len(before - {block.sha256 for block in blocks}) == 1
    assert max(block.rows for block in blocks) <= 64
    assert sum(block.rows for block in blocks) == 301
