"""Captions of builds: what is asked and kept, what a server's faults come to, and what is asked
again.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import pipelines.finding
from pipelines.backfill import redoing
from pipelines.build import Built, build, call, plan
from pipelines.engine import NoWork
from pipelines.explain import caption_rows, explain
from pipelines.gc import Limits, collect
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from pipelines.summary import of_manifest, of_plan
from pipelines.verify import verify
from schemas.errors import BuildError, RecipeError, TransientError
from tests.caption_server import CaptionServer, Reply, completion, described, served, shown
from tests.pipelines.conftest import Here, Recorder
from tests.tiny_source import Record, asked, encoded, film, ledger_rows, picture, write_records
from workers.storage.folder import folder_of

JSON = {"content-type": "application/json"}
RETRY_FAST = "retries = 2\ntimeout_s = 5\nconcurrency = 3\n"


@pytest.fixture
def server() -> Iterator[CaptionServer]:
    with served() as made:
        yield made


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.finding, "ROWS_PER_BLOCK", 4)


def shows(sample_id: str, *media: Record | str) -> Record:
    """A sample that shows media and says nothing."""
    return {"id": sample_id, "turns": [{"role": "user", "parts": [_medium(m) for m in media]}]}


def _medium(one: Record | str) -> Record:
    return {"type": "image", "path": one} if isinstance(one, str) else one


def source(folder: Path, count: int = 6) -> None:
    """Pictures without a text, one with, two in a sample, a video, and a document."""
    files = {f"{n}.png": encoded(picture(n), "png") for n in range(count)}
    records = [shows(f"p{n}", f"{n}.png") for n in range(count)]
    records += [
        asked("told", "0.png", answer="It is told."),
        shows("two", "1.png", "2.png"),
        shows("film", {"type": "video", "path": "clip.mp4"}),
        {"id": "text", "turns": [{"role": "text", "text": "A document about nothing at all."}]},
    ]
    write_records(folder / "source", {**files, "clip.mp4": film()}, records)


def recipe(folder: Path, caption: str, select: str = "", signals: str = "") -> Path:
    path = folder / "recipe.toml"
    path.write_text(
        "name = 'tiny'\n[[sources]]\nname = 'tiny'\nkind = 'records'\n"
        f"path = '{folder}/source/records.jsonl'\n[select]\nmax_drop_ratio = 1.0\n{select}\n"
        f"{signals}\n[[policy]]\nkind = 'qwen2_vl'\n[pack]\nmax_tokens = 2048\nlanes = 2\n"
        f"{caption}\n[output]\npath = '{folder}/out'\n"
    )
    return path


def passed(server: CaptionServer, more: str = "", task: str = "caption") -> str:
    return (
        f"[[caption]]\ntask = '{task}'\nmodel = 'tiny'\nendpoint = '{server.url}'\n"
        f"blank_share = 0.0\n{RETRY_FAST}{more}\n"
    )


def built(folder: Path, caption: str, select: str = "", engine: Any = None) -> Built:
    workshop = Workshop(load_recipe(recipe(folder, caption, select)), engine or Here())
    return build(workshop, call)


def tables(folder: Path, stage: str) -> list[Any]:
    """The rows of all tables of a stage."""
    rows = []
    for path in sorted((folder / "out" / ".cache" / stage).glob("*.arrow")):
        with pa.memory_map(str(path)) as file:
            rows += pa.ipc.open_file(file).read_all().to_pylist()
    return rows


def captions(folder: Path) -> dict[str, Any]:
    return {row["sample_id"].removeprefix("tiny/"): row for row in tables(folder, "captioned")}


def last_turns(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Of each sample what is said, by the newest table."""
    paths = sorted(
        (folder / "out" / ".cache" / "surveyed").glob("*.arrow"),
        key=lambda path: path.stat().st_mtime_ns,
    )
    found = {}
    for path in paths:
        with pa.memory_map(str(path)) as file:
            for row in pa.ipc.open_file(file).read_all().to_pylist():
                found[row["sample_id"].removeprefix("tiny/")] = [
                    (turn["role"], "".join(part["text"] for part in turn["parts"]))
                    for turn in row["turns"]
                ]
    return found


def reasons(folder: Path, made: Built) -> dict[str, tuple[str, str]]:
    rows = ledger_rows(folder / "out", made.manifest)
    return {
        name.removeprefix("tiny/"): (row["drop"], row["message"])
        for name, row in rows.items()
        if row["drop"]
    }


def test_missing_captions_are_asked_for(tmp_path: Path, server: CaptionServer) -> None:
    """Pictures, several of them, frames of a video; what has a text is left alone."""
    source(tmp_path)
    made = built(tmp_path, passed(server, "frames = 3"))
    assert reasons(tmp_path, made) == {}
    found = captions(tmp_path)
    assert sorted(found) == ["film", "p0", "p1", "p2", "p3", "p4", "p5", "two"]
    assert len(server.bodies) == 8
    assert found["p3"]["caption"].startswith("Seen are view0 127x61 red")  # the policy's area
    assert found["film"]["caption"].count("view") == 3
    assert found["two"]["caption"].count("view") == 2
    one = found["p3"]
    assert (one["model"], one["answered_by"], one["decision"]) == ("tiny", "tiny-served", "caption")
    assert one["prompt_version"].startswith("caption/1@")
    assert (one["prompt_tokens"], one["answer_tokens"], one["original"]) == (7, 5, "")
    said = last_turns(tmp_path)
    assert said["p3"] == [("user", "\nDescribe what is shown."), ("assistant", one["caption"])]
    assert said["told"][-1] == ("assistant", "It is told.")


def test_a_second_build_asks_nothing(tmp_path: Path, server: CaptionServer) -> None:
    source(tmp_path)
    first = built(tmp_path, passed(server))
    count = len(server.bodies)
    engine = Recorder(Here())
    again = built(tmp_path, passed(server), engine=engine)
    assert len(server.bodies) == count
    assert not again.new
    assert again.manifest == first.manifest
    assert not engine.asked


def test_always_replaces_and_keeps_the_original(tmp_path: Path, server: CaptionServer) -> None:
    source(tmp_path)
    built(tmp_path, passed(server, "when = 'always'\nmax_pixels = 2500"))
    told = captions(tmp_path)["told"]
    assert (told["original"], told["decision"]) == ("It is told.", "caption")
    assert told["caption"].startswith("Seen are view0 30x30 red")
    assert last_turns(tmp_path)["told"] == [
        ("user", "What is it?"),
        ("assistant", told["caption"]),
    ]


def test_what_needs_no_caption_is_selected_before(tmp_path: Path, server: CaptionServer) -> None:
    """And what needs one after it, on the new text."""
    source(tmp_path)
    clauses = "where = ['min_side >= 60 or videos > 0', 'answer_chars < 100']"
    made = built(tmp_path, passed(server), clauses)
    found = reasons(tmp_path, made)
    gone = ("p0", "p4", "p5", "told", "film")
    assert {name: drop for name, (drop, _) in found.items()} == dict.fromkeys(gone, "filtered")
    assert "answer_chars" in found["film"][1]
    assert sorted(captions(tmp_path)) == ["film", "p1", "p2", "p3", "two"]
    assert len(server.bodies) == 5


def test_a_text_clause_changes_no_request(tmp_path: Path, server: CaptionServer) -> None:
    source(tmp_path)
    built(tmp_path, passed(server), "where = ['answer_chars < 100']")
    count = len(server.bodies)
    engine = Recorder(Here())
    made = built(tmp_path, passed(server), "where = ['answer_chars < 60']", engine)
    assert len(server.bodies) == count
    assert sorted(reasons(tmp_path, made)) == ["film", "two"]
    assert set(engine.asked) == {"run_assemble"}


def test_a_header_clause_asks_only_about_what_is_new(tmp_path: Path, server: CaptionServer) -> None:
    source(tmp_path)
    built(tmp_path, passed(server), "where = ['min_side >= 60 or videos > 0']")
    count = len(server.bodies)
    built(tmp_path, passed(server), "where = ['min_side >= 10']")
    assert len(server.bodies) == count + 3
    built(tmp_path, passed(server), "where = ['min_side >= 60 or videos > 0']")
    assert len(server.bodies) == count + 3


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (completion("I'm sorry, I cannot assist with that."), "a refusal"),
        (completion("  "), "empty"),
        (completion("A cat on a", "length"), "cut off (length)"),
        (completion("a b c d " * 9), "the same words again"),
        (
            completion("Describe what is shown in two to five sentences, the main"),
            "echo",
        ),
        ((200, JSON, b'{"choices": []}'), "it has no choices"),
        ((200, JSON, b'{"choi'), "no JSON"),
        ((200, JSON, b"[" * 100_000), "no JSON"),
        ((200, {"content-type": "text/html"}, b"<html>"), "the content type is 'text/html'"),
        (
            (
                200,
                {"content-type": "application/json"},
                b'{"choices": [{"message": {"content": 3}}]}',
            ),
            "its content is no text",
        ),
        (
            (200, JSON, b" " * (20 << 20)),
            "longer than 4194304 bytes",
        ),
        (
            (400, JSON, b'{"error": "bad image"}'),
            "refused it (400)",
        ),
        ((413, {}, b"too large"), "refused it (413)"),
    ],
)
def test_what_is_no_caption_is_a_reason(
    tmp_path: Path, server: CaptionServer, reply: Reply, told: str
) -> None:
    """A sample without a text is dropped, one with its own keeps it; the others are captioned."""
    source(tmp_path)

    def misbehaves(number: int, body: dict[str, Any]) -> Reply | None:
        del number
        pictures = shown(body)[0]
        return reply if len(pictures) == 1 and pictures[0].width in (30, 127) else None

    server.misbehaves = misbehaves
    made = built(tmp_path, passed(server, "when = 'always'"))
    found = reasons(tmp_path, made)
    assert sorted(found) == ["p0", "p3"]
    assert found["p0"][0] == "caption_rejected"
    assert told in found["p0"][1]
    rows = captions(tmp_path)
    assert (rows["told"]["decision"], rows["p0"]["decision"]) == ("original", "drop")
    assert last_turns(tmp_path)["told"][-1] == ("assistant", "It is told.")


@pytest.mark.parametrize("status", [429, 500, 503, 408, 0])
def test_what_may_pass_is_tried_again(tmp_path: Path, server: CaptionServer, status: int) -> None:
    """Every request fails once: a busy server, one that is overloaded, one that goes away."""
    source(tmp_path)
    seen: set[str] = set()

    def misbehaves(number: int, body: dict[str, Any]) -> Reply | None:
        del number
        asked_for = str(body["messages"])
        if asked_for in seen:
            return None
        seen.add(asked_for)
        return status, {"retry-after": "0.2"}, b"later"

    server.misbehaves = misbehaves
    made = built(tmp_path, passed(server))
    assert reasons(tmp_path, made) == {}
    assert len(server.bodies) == 16


def test_an_endpoint_that_dies_costs_no_answer(tmp_path: Path, server: CaptionServer) -> None:
    """The block fails with nothing written; the next build asks what has no answer."""
    source(tmp_path)
    server.misbehaves = lambda number, _: (503, {}, b"gone") if number >= 5 else None
    once = passed(server, "retries = 0\nconcurrency = 1").replace(RETRY_FAST, "")
    with pytest.raises(TransientError, match=r"caption endpoint http://127.*503"):
        built(tmp_path, once)
    assert tables(tmp_path, "captioned") == []
    assert len(tables(tmp_path, "answers")) == 5
    tried = len(server.bodies)
    server.misbehaves = lambda *_: None
    made = built(tmp_path, passed(server))
    assert len(server.bodies) == tried + 3
    assert reasons(tmp_path, made) == {}
    assert len(captions(tmp_path)) == 8


def test_an_endpoint_that_is_not_there(tmp_path: Path, server: CaptionServer) -> None:
    source(tmp_path)
    caption = passed(server, "retries = 0").replace(RETRY_FAST, "")
    caption = caption.replace(server.url, "http://127.0.0.1:9/v1")
    with pytest.raises(TransientError, match=r"http://127.0.0.1:9/v1: Connection error"):
        built(tmp_path, caption)


def test_a_slow_drip_is_cut_off(tmp_path: Path, server: CaptionServer) -> None:
    source(tmp_path)
    server.drip_s = 0.05
    slow = "retries = 1\ntimeout_s = 1\nconcurrency = 8"
    with pytest.raises(TransientError, match="an answer broke off 2 times"):
        built(tmp_path, passed(server, slow).replace(RETRY_FAST, ""))
    assert tables(tmp_path, "captioned") == []


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_model_stops_the_build(
    tmp_path: Path, server: CaptionServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """The key goes to the server alone."""
    source(tmp_path)
    monkeypatch.setenv("CAPTION_KEY", "sk-secret-123")
    server.misbehaves = lambda *_: (status, {}, b'{"error": {"message": "bad sk-secret-123"}}')
    with pytest.raises(BuildError, match=str(status)) as raised:
        built(tmp_path, passed(server, "api_key_env = 'CAPTION_KEY'"))
    assert not isinstance(raised.value, TransientError)
    assert "sk-secret" not in str(raised.value)
    assert server.keys[0] == "Bearer sk-secret-123"
    cached = [p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert not any(b"sk-secret" in data for data in cached)


def test_an_endpoint_that_ignores_pictures_is_caught(tmp_path: Path, server: CaptionServer) -> None:
    """By its controls, before anything else is asked; what it said is forgotten."""
    source(tmp_path, 40)
    server.answer = lambda *_: "A lovely view of the sea."
    caption = passed(server).replace("blank_share = 0.0", "blank_share = 0.2")
    with pytest.raises(BuildError, match=r"caption\.0: (\d+) of \1 answers of tiny .* blank pict"):
        built(tmp_path, caption)
    assert 0 < len(server.bodies) <= 30
    assert tables(tmp_path, "answers") == []
    server.answer = described
    made = built(tmp_path, caption)
    assert reasons(tmp_path, made) == {}
    checked = [row for row in tables(tmp_path, "captioned") if row["blank_agrees"] is not None]
    assert checked
    assert not any(row["blank_agrees"] for row in checked)


def test_an_answer_to_a_blank_picture_is_rejected(tmp_path: Path, server: CaptionServer) -> None:
    """Within the limit the build goes on, and drops what is known to be blind."""
    source(tmp_path)
    server.misbehaves = lambda _, body: (
        completion("Nothing much.") if shown(body)[0][0].width == 30 else None
    )
    caption = passed(server, "max_blank_agreement = 0.5").replace("share = 0.0", "share = 1.0")
    made = built(tmp_path, caption)
    [(name, (drop, message))] = reasons(tmp_path, made).items()
    assert (name, drop) == ("p0", "caption_rejected")
    assert message == "the same answer to a blank picture"


def test_a_plan_asks_nothing(tmp_path: Path, server: CaptionServer) -> None:
    """Before captions are there it counts what a build will ask, and takes stand-ins for them, that
    no clause on texts judges; then it plans with them.
    """
    source(tmp_path)
    select = "where = ['min_side >= 60 or videos > 0', 'answer_chars < 60']"
    workshop = Workshop(load_recipe(recipe(tmp_path, passed(server), select)), Here())
    [partition] = planned = plan(workshop, call)
    rows = dict(of_plan(workshop, planned))
    assert rows["requests to caption models"].startswith("5, not asked yet")
    assert (rows["packed"], rows["dropped: filtered"]) == ("6", "4")
    assert "clause: answer_chars < 60" not in rows
    assert server.bodies == []
    made = built(tmp_path, passed(server), select)
    assert len(server.bodies) == 5
    workshop = Workshop(workshop.recipe, Here())
    [partition] = planned = plan(workshop, call)
    rows = dict(of_plan(workshop, planned))
    assert "requests to caption models" not in rows
    assert rows["clause: answer_chars < 60"].startswith("2 fail it")
    assert [partition.sized.digest] == made.manifest.partitions[0].stages["sized"]


def test_a_plan_takes_the_answers_that_are_there(tmp_path: Path, server: CaptionServer) -> None:
    source(tmp_path, 6)
    built(tmp_path, passed(server))
    count = len(server.bodies)
    source(tmp_path, 9)
    second = passed(server, "language = 'de'\nlength_ratio = [0.1, 9.0]", "translate")
    questions = passed(server, task="questions")
    path = recipe(tmp_path, passed(server) + second + questions)
    [partition] = plan(Workshop(load_recipe(path), Here()), call)
    # captions of three pictures, translations of twelve texts or more, questions about all that
    # is shown
    assert sum(block.unanswered for block in partition.blocks) >= 3 + 12 + 12
    assert len(server.bodies) == count


def test_new_records_ask_only_about_themselves(tmp_path: Path, server: CaptionServer) -> None:
    """A picture that was captioned before has its answer, in whatever record it is."""
    source(tmp_path, 6)
    built(tmp_path, passed(server))
    count = len(server.bodies)
    source(tmp_path, 9)
    built(tmp_path, passed(server))
    assert len(server.bodies) == count + 3


def test_translation_keeps_all_but_the_words(tmp_path: Path, server: CaptionServer) -> None:
    german = "Das ist ein schönes Bild von einem Haus am See mit Bäumen."
    server.answer = lambda *_: german
    source(tmp_path, 3)
    only = "language = 'de'\nrejected = 'drop'\nlength_ratio = [0.5, 12.0]"
    made = built(tmp_path, passed(server, only, "translate"))
    assert {drop for drop, _ in reasons(tmp_path, made).values()} == {"empty_sample"}
    said = last_turns(tmp_path)
    assert said["told"] == [("user", german), ("assistant", german)]
    assert said["text"] == [("text", german)]
    assert "into German" in server.bodies[0]["messages"][0]["content"]
    server.answer = lambda *_: "This is an English sentence about a house by the lake."
    other = tmp_path / "other"
    source(other, 3)
    with pytest.raises(BuildError, match="no sample is left"):
        built(other, passed(server, only + "\nsources = ['tiny']", "translate"))
    told = {row["message"] for row in tables(other, "captioned")}
    assert told == {"caption_rejected: its language is en, not de"}
    server.answer = lambda *_: "Ja."
    third = tmp_path / "third"
    source(third, 3)
    made = built(third, passed(server, "language = 'de'", "translate"))
    told = {row["message"] for row in tables(third, "captioned") if row["message"]}
    assert any("times as long as its text" in one for one in told)
    assert last_turns(third)["text"] == [("text", "A document about nothing at all.")]


def test_questions_become_turns(tmp_path: Path, server: CaptionServer) -> None:
    pairs = [{"question": "How many?", "answer": "Two."}, {"question": "Why?", "answer": "So."}]
    server.answer = lambda *_: f"```json\n{json.dumps(pairs)}\n```"
    source(tmp_path, 3)
    made = built(tmp_path, passed(server, task="questions"))
    assert reasons(tmp_path, made) == {}
    said = last_turns(tmp_path)
    turns = [("user", "\nHow many?"), ("assistant", "Two."), ("user", "Why?"), ("assistant", "So.")]
    assert said["p0"] == turns
    assert said["told"][:2] == [("user", "What is it?"), ("assistant", "It is told.")]
    assert said["told"][2:] == [("user", "How many?"), *turns[1:]]
    assert said["text"] == [("text", "A document about nothing at all.")]


def test_needles_of_a_video(tmp_path: Path, server: CaptionServer) -> None:
    """One frame, and the difference between two of them."""
    source(tmp_path, 3)
    made = built(tmp_path, passed(server, task="needle"))
    assert "film" not in reasons(tmp_path, made)
    assert sorted(len(shown(body)[0]) for body in server.bodies) == [1, 2]
    said = last_turns(tmp_path)["film"]
    assert [role for role, _ in said] == ["user", "assistant", "user", "assistant"]
    assert said[0][1].startswith("\nWhat is shown at 0:0")
    assert said[2][1].startswith("What is different between 0:00 and 0:01")


def test_passes_follow_one_another(tmp_path: Path, server: CaptionServer) -> None:
    """A caption, then its translation; both versions are kept."""
    source(tmp_path, 3)
    second = passed(server, "language = 'de'\nlength_ratio = [0.1, 9.0]", "translate")
    built(tmp_path, passed(server) + second)
    rows = [row for row in tables(tmp_path, "captioned") if row["sample_id"] == "tiny/p0"]
    by_task = {(row["task"], row["slot"]): row for row in rows}
    caption = by_task["caption", 0]["caption"]
    assert by_task["translate", 1]["original"] == caption
    count = len(server.bodies)
    built(tmp_path, passed(server) + second)
    assert len(server.bodies) == count


def test_low_signals_are_captioned_again(tmp_path: Path, server: CaptionServer) -> None:
    source(tmp_path)
    built(tmp_path, passed(server, "when = { signal = 'answer_chars', below = 5.0 }"))
    assert "told" not in captions(tmp_path)
    built(tmp_path, passed(server, "when = { signal = 'answer_chars', below = 500.0 }"))
    assert captions(tmp_path)["told"]["decision"] == "caption"


def test_a_prompt_of_ones_own(tmp_path: Path, server: CaptionServer) -> None:
    source(tmp_path, 3)
    prompt = tmp_path / "own.toml"
    prompt.write_text("version = '7'\nuser = 'What colour is it?'\nquestion = 'Which colour?'\n")
    built(tmp_path, passed(server, f"prompt = '{prompt}'"))
    found = captions(tmp_path)["p0"]
    assert found["prompt_version"].startswith("caption/7@")
    assert last_turns(tmp_path)["p0"][0] == ("user", "\nWhich colour?")
    count = len(server.bodies)
    prompt.write_text("version = '8'\nuser = 'What colours?'\nquestion = 'Which colour?'\n")
    built(tmp_path, passed(server, f"prompt = '{prompt}'"))
    assert len(server.bodies) == 2 * count


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("language = 'de'", "belong together"),
        ("keep = 'better'", "belong together"),
        ("min_actors = 2", "max_actors is below"),
        ("sources = ['other']", "no source is named 'other'"),
        ("length_ratio = [2.0, 1.0]", "length_ratio"),
        ("when = { signal = 'nonsense', below = 1.0 }", "no signal is named 'nonsense'"),
        ("task = 'translate'\nlanguage = 'de'\nwhen = 'missing'", "nothing to translate"),
        ("prompt = '/nowhere.toml'", "/nowhere.toml: No such file"),
    ],
)
def test_bad_settings(tmp_path: Path, server: CaptionServer, more: str, told: str) -> None:
    source(tmp_path, 3)
    caption = passed(server, more)
    caption = caption.replace("task = 'caption'\n", "") if "task" in more else caption
    with pytest.raises(RecipeError, match=told):
        built(tmp_path, caption)


def test_explain_shows_old_and_new_text(tmp_path: Path, server: CaptionServer) -> None:
    """Of a published data set, its cache gone; the summary has the totals."""
    source(tmp_path, 3)
    caption = passed(server, "when = 'always'").replace("share = 0.0", "share = 1.0")
    made = built(tmp_path, caption)
    shutil.rmtree(tmp_path / "out" / ".cache")
    story = explain(tmp_path / "out", "tiny/told", None)
    [one] = story["captions"]
    assert (one["original"], one["decision"], one["blank_agrees"]) == (
        "It is told.",
        "caption",
        False,
    )
    rows = dict(caption_rows(one))
    assert rows["  original"] == "It is told."
    assert rows["  caption"].startswith("Seen are")
    assert rows["  kept"] == "the answer"
    [totals] = made.manifest.captions.passes if made.manifest.captions else []
    assert (totals.requests, totals.captions, totals.blank_checked) == (6, 6, 6)
    told = dict(of_manifest(made.manifest))["caption by tiny"]
    assert told == "6 of 6 answers kept, 0 rejected; 0 of 6 the same for a blank picture"
    report = verify(tmp_path / "out")
    assert report.problems == []


def test_partitions_that_stay_keep_their_captions(tmp_path: Path, server: CaptionServer) -> None:
    """A backfill of one partition takes over what was asked about the others."""
    for day in ("1", "2"):
        files = {f"{n}.png": encoded(picture(n + 7 * int(day)), "png") for n in range(3)}
        records = [shows(f"d{day}-{n}", f"date={day}/{n}.png") for n in range(3)]
        write_records(tmp_path / "source" / f"date={day}", files, records)
    path = recipe(tmp_path, passed(server))
    path.write_text(
        path.read_text()
        .replace("/source/records.jsonl'", "/source/*/records.jsonl'")
        .replace("kind = 'records'", "kind = 'records'\npartition = 'date=(?P<date>\\d+)'")
        + "[render]\npayload = 'source'\n"
    )
    first = build(Workshop(load_recipe(path), Here()), call)
    assert len(first.manifest.partitions) == 2
    path.write_text(path.read_text().replace("payload = 'source'", "payload = 'pixels'"))
    second = build(Workshop(load_recipe(path), Here()), call, only=["date=2"])
    assert second.new
    assert second.manifest.captions == first.manifest.captions
    assert len(server.bodies) == 6


def test_gc_keeps_what_a_build_needs(tmp_path: Path, server: CaptionServer) -> None:
    """After it the build has nothing to do, and answers are there whatever is collected."""
    source(tmp_path, 3)
    second = passed(server, "language = 'de'\nlength_ratio = [0.1, 9.0]", "translate")
    built(tmp_path, passed(server) + second)
    count = len(server.bodies)
    limits = Limits(keep=1, cache=True, before_s=time.time() + 3600)
    collect(folder_of(str(tmp_path / "out")), limits)
    recipe(tmp_path, passed(server) + second)
    again = build(Workshop(load_recipe(tmp_path / "recipe.toml"), NoWork()), call)
    assert not again.new
    changed = passed(server, "rejected = 'drop'") + second
    built(tmp_path, changed)
    assert len(server.bodies) == count


def test_a_caption_stage_made_again_asks_nothing(tmp_path: Path, server: CaptionServer) -> None:
    """What was decided is decided again, from the answers that are there."""
    source(tmp_path, 3)
    first = built(tmp_path, passed(server))
    count = len(server.bodies)
    path = recipe(tmp_path, passed(server))
    engine = Recorder(Here())
    workshop = Workshop(load_recipe(path), engine)
    with redoing(workshop, [], ["caption"]) as again:
        made = build(again, call)
    assert engine.asked["run_decide"] > 0
    assert len(server.bodies) == count
    assert made.manifest.partitions == first.manifest.partitions
