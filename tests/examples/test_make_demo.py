"""`examples.make_demo`: small, the same on every run, and of every kind."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.demo_media import View, posed_views
from examples.make_demo import RECORDS, make_demo
from examples.make_demo import main as make_demo_main
from schemas.reasons import Reason
from workers.sources.records import RecordsOptions, plan, read
from workers.sources.sample import Sample
from workers.storage.folder import folder_of
from workers.survey import SurveySpec, survey

BROKEN = {
    "broken-truncated": Reason.TRUNCATED,
    "broken-missing": Reason.MISSING_MEDIA,
    "broken-not-a-picture": Reason.NOT_MEDIA,
    "broken-no-picture": Reason.MARKER_WITHOUT_MEDIA,
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    make_demo(folder)
    return folder


def samples(folder: Path) -> Iterator[tuple[Sample, str]]:
    root = folder_of(folder)
    for block in plan(root, RECORDS, 1000):
        yield from read(root, block, RecordsOptions())


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_samples_are_of_every_kind(demo: Path) -> None:
    found = [sample for sample, _ in samples(demo)]
    assert 150 <= len(found) <= 250
    assert len({sample.sample_id for sample in found}) == len(found)
    media = [medium for sample in found for medium in sample.media]
    kinds = Counter(medium.kind for medium in media)
    assert kinds["image"] > 150
    assert (kinds["view"], kinds["video"]) == (6, 3)
    pictures = [Counter(medium.kind for medium in sample.media)["image"] for sample in found]
    assert sum(count > 1 for count in pictures) >= 2
    assert sum(not sample.media and sample.drop is None for sample in found) >= 8
    assert sum(bool(medium.member) for medium in media) > 50
    assert sum(bool(medium.boxes) for medium in media) == 1
    roles = {turn.role for sample in found for turn in sample.turns}
    assert roles == {"system", "user", "assistant", "text"}


def test_survey_drops_exactly_what_is_broken(demo: Path) -> None:
    table, inputs = survey(SurveySpec("demo", folder_of(demo), {}), samples(demo))
    rows = zip(*(table.column(name).to_pylist() for name in ("sample_id", "drop")), strict=True)
    dropped = {name: drop for name, drop in rows if drop is not None}
    assert dropped == {f"demo/{name}": reason for name, reason in BROKEN.items()}
    items = [item for items in table.column("items").to_pylist() for item in items]
    assert {item["format"] for item in items} >= {"jpeg", "png", "webp"}
    assert {item["orientation"] for item in items} == set(range(1, 9))
    assert {item["mode"] for item in items} >= {"L", "P", "RGB", "RGBA"}
    turned = [item for item in items if item["path"].startswith("images/turned-")]
    assert {(item["width"], item["height"]) for item in turned} == {(384, 256)}
    assert len(inputs) > 80


def test_a_second_run_changes_nothing(
    demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(demo)
    times = {name: (demo / name).stat().st_mtime_ns for name in before}
    (demo / "notes.txt").write_text("mine")
    monkeypatch.setattr("sys.argv", ["make_demo", "--out", str(demo)])
    make_demo_main()
    assert contents(demo) == before | {"notes.txt": b"mine"}
    assert {name: (demo / name).stat().st_mtime_ns for name in before} == times
    (demo / "notes.txt").unlink()
    printed = capsys.readouterr().out
    assert str(demo / RECORDS) in printed
    assert f"{len(list(samples(demo)))} samples" in printed


def test_views_see_the_poster_where_their_cameras_say(demo: Path) -> None:
    assert (demo / "views" / "5.jpeg").exists()
    poster = np.zeros((400, 800, 3), np.uint8)
    poster[90:111, 590:611] = 255  # around the point 0.5, 0.25, 0 of the world
    views = posed_views(Image.fromarray(poster), count=3, size=(480, 360))
    for view in views:
        y, x = np.nonzero(np.asarray(view.picture).min(axis=2) > 200)
        found = np.array([x.mean(), y.mean()])
        assert np.hypot(*(found - seen_at(view, (0.5, 0.25, 0.0)))) < 1


def seen_at(view: View, point: tuple[float, float, float]) -> np.ndarray:
    """Where a camera with the axes of OpenCV sees a point of the world."""
    x, y, z, _ = np.linalg.inv(np.array(view.pose)) @ (*point, 1.0)
    fx, fy, cx, cy = view.intrinsics
    assert z > 0
    return np.array([fx * x / z + cx, fy * y / z + cy])
