"""Posed views with depth maps, built end to end: cameras of every view, places of every patch."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from examples.demo_records import tar_of
from patchpack import Pack
from patchpack.item_geometry import Placement
from patchpack.view_maps import view_intrinsics, view_maps
from pipelines.build import Built
from pipelines.engine import RayEngine
from pipelines.verify import verify
from schemas.errors import BuildError
from tests.pipelines.conftest import Recorder, build_in, packs_of
from tests.tiny_source import (
    Record,
    asked,
    crc_of,
    encoded,
    ledger_rows,
    picture,
    write_records,
)
from workers.depth import decode_depth, depth_views, patch_xyz
from workers.geometry import geometry
from workers.inspect_pack import problems_in
from workers.policies.internvl import InternVL
from workers.policies.protocol import Policy
from workers.policies.qwen2_vl import Qwen2VL
from workers.sources.sample import Camera

R = TypeVar("R")

POLICIES: dict[str, tuple[Policy, str]] = {
    "qwen2_vl": (Qwen2VL(), 'kind = "qwen2_vl"'),
    "internvl": (InternVL(image_size=56), 'kind = "internvl"\nimage_size = 56'),
}


class Posed(NamedTuple):
    """A view of the scene: picture and depth map in pixels, steps a metre, a way to go."""

    wh: tuple[int, int]
    depth_wh: tuple[int, int]
    steps: float
    metres: tuple[float, float, float]

    @property
    def intrinsics(self) -> list[float]:
        return [1.1 * self.wh[0], 1.2 * self.wh[0], self.wh[0] / 2 + 3, self.wh[1] / 2 - 2]

    @property
    def pose(self) -> list[list[float]]:
        """Turned by a quarter around the y axis, and moved."""
        x, y, z = self.metres
        return [[0, 0, 1, x], [0, 1, 0, y], [-1, 0, 0, z], [0, 0, 0, 1]]

    @property
    def depth(self) -> bytes:
        """A slope from 1 to 3 metres, and a hole."""
        width, height = self.depth_wh
        metres = np.linspace(1, 3, width * height).reshape(height, width)
        metres[: height // 3, : width // 2] = 0
        return depth_png((metres * self.steps).astype(np.uint16))


SCENE = [
    Posed((90, 60), (45, 30), 1000.0, (0, 0, 0)),
    Posed((60, 90), (60, 90), 4000.0, (1.5, -2, 0.25)),
    Posed((180, 60), (360, 121), 1000.0, (-7, 0, 3)),
]


def depth_png(pixels: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def broken(data: bytes) -> bytes:
    """Chunks whole and their checksums right, but no zlib stream in the pixels."""
    begin, end = data.index(b"IDAT") + 4, data.index(b"IEND") - 8
    pixels = bytes([255] * (end - begin))
    return data[:begin] + pixels + crc_of(b"IDAT" + pixels) + data[end + 4 :]


def view(number: int, **depth: Any) -> Record:
    """A view of the scene in a record; without a depth map unless told."""
    posed = SCENE[number]
    given = {"path": f"v{number}.png", "intrinsics": posed.intrinsics, "pose": posed.pose}
    return {**given, **({"depth": depth} if depth else {})}


def scene(*shown: Record, convention: str = "opengl") -> Record:
    return {"type": "views", "convention": convention, "views": list(shown)}


def write_scene(folder: Path, *more: Record, files: Mapping[str, bytes] | None = None) -> None:
    """`scene` with three depth maps, of which one in a tar; `mixed` with one, and a picture."""
    media = {f"v{n}.png": encoded(picture(n, posed.wh), "png") for n, posed in enumerate(SCENE)}
    media |= {f"d{n}.png": SCENE[n].depth for n in (0, 1)}
    media["depth.tar"] = tar_of({"other": b"x", "d2": SCENE[2].depth})
    three = scene(
        view(0, path="d0.png"),
        view(1, path="d1.png", steps_a_metre=4000),
        view(2, tar="depth.tar", member="d2"),
    )
    mixed = scene(view(1), view(0, path="d0.png"), convention="opencv")
    records = [asked("scene", three), asked("mixed", "v2.png", mixed), asked("text"), *more]
    write_records(folder / "source", {**media, **(files or {})}, records)


@pytest.fixture(scope="module", params=["qwen2_vl", "internvl"])
def kind(request: pytest.FixtureRequest) -> str:
    return cast("str", request.param)


@pytest.fixture(scope="module", params=["pixels", "source"])
def payload(request: pytest.FixtureRequest) -> str:
    return cast("str", request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scene(folder)
    return folder


@pytest.fixture(scope="module")
def built(folder: Path, ray_engine: RayEngine, kind: str, payload: str) -> Built:
    return build_in(folder, ray_engine, policy=POLICIES[kind][1], payload=payload)


@pytest.fixture
def packs(folder: Path, built: Built) -> list[Pack]:
    return list(packs_of(folder / "out", built))


def items_of(packs: list[Pack], sample: str) -> list[tuple[Pack, int]]:
    """The items of a sample with their pack."""
    [pack] = [pack for pack in packs if sample in pack.header.sample_id]
    number = pack.header.sample_id.index(sample)
    return [(pack, n) for n, owner in enumerate(pack.header.item_sample) if owner == number]


def placed(policy: Policy, posed: Posed) -> tuple[Placement, list[list[int]]]:
    """Each sample here has three pictures."""
    width, height = posed.wh
    [row] = geometry(policy, [{"width": width, "height": height, "images": 3}])
    return cast("Placement", row), row["grid_thw"]


def cameras(policy: Policy, posed: Posed) -> npt.NDArray[np.float64]:
    row, _ = placed(policy, posed)
    return np.array([view_intrinsics(posed.intrinsics, one) for one in view_maps(posed.wh, row)])


def places(policy: Policy, posed: Posed, convention: Any, data: bytes) -> npt.NDArray[np.float32]:
    """What the pure functions make of a depth map."""
    row, grids = placed(policy, posed)
    depths = depth_views(decode_depth(data, posed.steps), row)
    pose = tuple(float(number) for line in posed.pose for number in line)
    return np.concatenate(
        [
            patch_xyz(depth, Camera(tuple(lens), pose, convention), (rows, columns))
            for depth, lens, (_, rows, columns) in zip(
                depths, cameras(policy, posed), grids, strict=True
            )
        ]
    )


def test_every_patch_has_the_place_that_the_functions_give(packs: list[Pack], kind: str) -> None:
    items = items_of(packs, "tiny/scene")
    assert len(items) == 3
    for (pack, item), posed in zip(items, SCENE, strict=True):
        arrays = pack.arrays
        found = arrays.patch_xyz[arrays.xyz_item == item]
        wanted = places(POLICIES[kind][0], posed, "opengl", posed.depth)
        assert np.array_equal(found, wanted, equal_nan=True)
        assert len(found) == arrays.grid_thw[arrays.grid_item == item].prod(axis=1).sum()
        known = found[np.isfinite(found).all(axis=1)] - posed.metres
        assert 0 < len(known) < len(found)
        # an OpenGL camera looks along -z, which this pose turns to -x
        assert ((known[:, 0] <= -0.999) & (known[:, 0] >= -3.001)).all()


def test_every_view_has_its_camera(packs: list[Pack], kind: str) -> None:
    posed: dict[str, list[Posed | None]] = {
        "tiny/scene": [*SCENE],
        "tiny/mixed": [None, SCENE[1], SCENE[0]],
    }
    for sample, shown in posed.items():
        for (pack, item), one in zip(items_of(packs, sample), shown, strict=True):
            found = pack.arrays.view_intrinsics[pack.arrays.view_item == item]
            wanted = cameras(POLICIES[kind][0], one) if one else np.zeros((0, 4))
            assert np.array_equal(found, wanted)
            grids = np.count_nonzero(pack.arrays.grid_item == item)
            assert len(found) == (grids if one else 0)


def test_only_what_has_a_depth_map_has_places(packs: list[Pack], kind: str) -> None:
    [image, bare, deep] = items_of(packs, "tiny/mixed")
    arrays = image[0].arrays
    assert not np.isin(arrays.xyz_item, [image[1], bare[1]]).any()
    found = arrays.patch_xyz[arrays.xyz_item == deep[1]]
    wanted = places(POLICIES[kind][0], SCENE[0], "opencv", SCENE[0].depth)
    assert np.array_equal(found, wanted, equal_nan=True)


def test_pictures_stay_what_they_are_and_the_whole_verifies(
    folder: Path, packs: list[Pack], payload: str
) -> None:
    for number, (pack, item) in enumerate(items_of(packs, "tiny/scene")):
        [stored] = pack.payloads_of(item)[:1]
        assert stored.kind == "image"
        same = stored.data.tobytes() == (folder / "source" / f"v{number}.png").read_bytes()
        assert same == (payload == "source")
    assert verify(folder / "out").problems == []


def test_verify_sees_a_lost_place_and_a_wrong_camera(packs: list[Pack]) -> None:
    [pack] = [pack for pack in packs if "tiny/scene" in pack.header.sample_id]
    arrays = pack.arrays
    assert list(problems_in(pack)) == []
    short = replace(arrays, patch_xyz=arrays.patch_xyz[1:], xyz_item=arrays.xyz_item[1:])
    [problem] = problems_in(replace(pack, arrays=short))
    assert "its grids have" in problem
    moved = replace(arrays, view_intrinsics=arrays.view_intrinsics + np.array([0, 0, 1, 0]))
    assert len(list(problems_in(replace(pack, arrays=moved)))) == len(np.unique(arrays.view_item))
    empty = replace(arrays, view_wh=np.zeros_like(arrays.view_wh))
    assert any(
        "not those of its geometry" in one for one in problems_in(replace(pack, arrays=empty))
    )


@pytest.mark.parametrize("mode", ["pixels", "source"])
def test_a_depth_map_that_does_not_decode_drops_its_samples(
    tmp_path: Path, engine: Recorder, mode: str
) -> None:
    files = {"bad.png": broken(SCENE[0].depth), "cut.png": SCENE[0].depth[:-20]}
    more = [asked(name, scene(view(0, path=f"{name}.png"))) for name in ("bad", "cut", "lost")]
    flat = {"type": "image", "path": "v0.png", "depth": {"path": "d0.png"}}
    write_scene(tmp_path, *more, asked("flat", flat), files=files)
    for _ in range(2):  # the fault is found, and then it is known
        manifest = build_in(tmp_path, engine, payload=mode).manifest
    rows = ledger_rows(tmp_path / "out", manifest)
    assert {name: row["drop"] for name, row in rows.items() if row["drop"]} == {
        "tiny/bad": "undecodable",
        "tiny/cut": "truncated",
        "tiny/lost": "missing_media",
        "tiny/flat": "bad_camera",
    }
    assert rows["tiny/bad"]["message"].startswith(f"bad.png bytes 0+{len(files['bad.png'])}: png: ")
    assert "views[0].depth: lost.png: No such file" in rows["tiny/lost"]["message"]
    assert verify(tmp_path / "out").problems == []


def test_a_new_depth_map_is_lifted_and_no_picture_drawn(tmp_path: Path, engine: Recorder) -> None:
    write_scene(tmp_path)
    build_in(tmp_path, engine)
    rendered = tmp_path / "out" / ".cache" / "rendered"
    before = set(rendered.glob("*.bin"))
    nearer = SCENE[1]._replace(steps=2000.0).depth  # read with 4000: half as far
    (tmp_path / "source" / "d1.png").write_bytes(nearer)
    after = build_in(tmp_path, engine)
    [container] = set(rendered.glob("*.bin")) - before
    [_, (pack, item), _] = items_of(list(packs_of(tmp_path / "out", after)), "tiny/scene")
    xyz = pack.arrays.patch_xyz[pack.arrays.xyz_item == item]
    assert container.read_bytes() == xyz.tobytes()
    wanted = places(Qwen2VL(), SCENE[1], "opengl", nearer)
    assert np.array_equal(xyz, wanted, equal_nan=True)


def test_a_depth_map_that_changes_during_a_build_stops_it(tmp_path: Path, engine: Recorder) -> None:
    write_scene(tmp_path)
    path = tmp_path / "source" / "d1.png"

    def run(name: str, stage: Callable[[], R]) -> R:
        result = stage()
        if name == "survey":
            path.write_bytes(path.read_bytes()[::-1])
        return result

    with pytest.raises(BuildError, match=r"d1.png changed while the build read it"):
        build_in(tmp_path, engine, run)
