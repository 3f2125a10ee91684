"""Builds with features: what transformers makes of each picture alone, whatever the build did."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from patchpack import Pack
from patchpack.collate import vision_tokens
from patchpack.item_geometry import grids_of
from patchpack.views import views
from patchpack.vision_inputs import features, item_features
from pipelines.engine import ActorPool, NoWork, RayEngine
from pipelines.explain import explain
from pipelines.gc import Limits, collect
from pipelines.load_recipe import load_recipe
from pipelines.render import Encoding, RenderTask
from pipelines.store import Receipt
from pipelines.verify import verify
from schemas.errors import BuildError, PatchpackError, RecipeError
from tests.pipelines.conftest import Here, Recorder, build_in, packs_of
from tests.tiny_source import digests, write_recipe, write_source
from tests.tiny_towers import by_transformers, tiny_model, write_tower
from workers.encoders.patching import View
from workers.encoders.tower import Tower
from workers.storage.folder import folder_of


@dataclass(frozen=True)
class Case:
    """A policy, and a tower that fits it."""

    policy: str
    kind: str
    tower: dict[str, Any]
    encoder: str = ""


CASES = {
    "llava_onevision": Case(
        'kind = "llava_onevision"\nvariant = "hf_5.23.0"\nimage_size = 56\n'
        'grid_spec = "(1x1),...,(4x4)"\nmax_num_patches = 2',
        "siglip",
        {"image_size": 56},
    ),
    "llava15": Case('kind = "llava15"', "clip", {"image_size": 336}),
    "internvl": Case('kind = "internvl"', "internvit", {"image_size": [448, 448]}),
    "qwen2_vl": Case('kind = "qwen2_vl"', "qwen2_vl", {}, 'at = "post_merger"'),
    "qwen2_5_vl": Case('kind = "qwen2_5_vl"', "qwen2_5_vl", {}),
    "qwen3_vl": Case('kind = "qwen3_vl"', "qwen3_vl", {}, 'at = "post_merger"'),
    "oryx": Case('kind = "oryx"', "siglip", {"patch_size": 16}, 'resolution = "native"'),
    "naflex": Case('kind = "siglip2_naflex"\nmax_num_patches = 64', "siglip2", {}),
    "navit": Case(
        'kind = "navit"\nvariant = "paper"\ntoken_dropout_prob = 0.5\nkept_indices = "baked"',
        "siglip",
        {"patch_size": 16},
        'resolution = "native"',
    ),
}


def on_cpu(model: Path, more: str = "") -> str:
    return f"model = '{model}'\ndevice = 'cpu'\ndtype = 'float32'\nmax_patches = 8192\n{more}"


def both(folder: Path, case: Case, stored: str = "bfloat16") -> list[tuple[Pack, Pack]]:
    """Packs with features, and the same with lossless pixels."""
    write_source(folder / "source", 10, times=2)
    tower = write_tower(folder / "tower", case.kind, **case.tower)
    more: dict[str, Any] = {"policy": case.policy, "max_tokens": 16384}
    encoder = on_cpu(tower, f"{case.encoder}\nstored = '{stored}'")
    made = build_in(folder, Here(), payload="features", encoder=encoder, **more)
    problems = verify(folder / "out").problems
    assert not problems
    found = list(packs_of(folder / "out", made))
    shutil.move(folder / "out", folder / "features")
    pixels = build_in(folder, Here(), payload="pixels", codec="png", **more)
    plain = list(packs_of(folder / "out", pixels))
    order = [pack.header.sample_id for pack in found]
    by_samples = {tuple(pack.header.sample_id): pack for pack in plain}
    assert sorted(map(tuple, order)) == sorted(by_samples)
    return [(pack, by_samples[tuple(pack.header.sample_id)]) for pack in found if pack.header.items]


def seen(pack: Pack, item: int) -> list[list[View]]:
    """What the tower saw of an item by its pixels: the views of each grid."""
    pictures = views(pack, item)
    grids = grids_of(pack, item)
    frames = sum(t for t, _, _ in grids)
    each = -(-len(pictures) // frames) if pack.header.item_kind[item] == "video" else 1
    kept = pack.arrays.kept_patches[pack.arrays.kept_item == item]
    found, first = [], 0
    for t, rows, columns in grids:
        clips = [pictures[first + each * n :][:each] for n in range(t)]
        clips = [[*clip, *[clip[-1]] * (each - len(clip))] for clip in clips]
        first += each * t
        found.append([View(np.stack(clip), rows, columns) for clip in clips])
    if len(kept):
        [tall] = found
        pixels = np.concatenate([view.pixels for view in tall], axis=1)
        rows = sum(view.rows for view in tall)
        found = [[View(pixels, rows, tall[0].columns, kept.astype(np.int64))]]
    return found


def alone(case: Case, model: Any, view: View) -> torch.Tensor:
    if "native" not in case.encoder:
        at = "post_merger" if "post" in case.encoder else "pre_merger"
        return by_transformers(case.kind, model, view, at)
    return oryx_alone(model, view)


def oryx_alone(model: Any, view: View) -> torch.Tensor:
    """By the modules of transformers' SigLIP, one picture without packing."""
    from patchpack.patches import HALF, normalized

    with torch.inference_mode():
        pixels = torch.from_numpy(normalized(view.pixels[0], HALF))[None]
        hidden = model.embeddings.patch_embedding(pixels).flatten(2).mT
        square = model.embeddings.position_embedding.weight
        side = int(len(square) ** 0.5)
        places = torch.nn.functional.interpolate(
            square.T.reshape(1, -1, side, side), (view.rows, view.columns), mode="bilinear"
        )
        hidden = hidden + places.flatten(2).mT
        if view.kept is not None:
            hidden = hidden[:, torch.from_numpy(view.kept)]
        out = model.encoder(inputs_embeds=hidden)
    return torch.as_tensor(out.last_hidden_state[0])


@pytest.mark.parametrize("name", CASES)
def test_features_of_every_item(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    model = tiny_model(case.kind, **case.tower)
    compared = 0
    for pack, plain in both(tmp_path, case):
        assert pack.header.item_format == ["bfloat16"] * pack.header.items
        for item in range(pack.header.items):
            stored = item_features(pack, item)
            wanted = [
                torch.cat([alone(case, model, view) for view in group])
                for group in seen(plain, item)
            ]
            assert [one.shape for one in stored] == [one.shape for one in wanted]
            for ours, theirs in zip(stored, wanted, strict=True):
                torch.testing.assert_close(ours.float(), theirs, atol=2e-5, rtol=2**-8)
            check_counts(name, pack, item, stored)
            compared += 1
        together = features(pack)
        assert together is not None
        assert len(together) == sum(len(one.data) for one in pack.payloads)
    assert compared > 8


def check_counts(name: str, pack: Pack, item: int, stored: Sequence[torch.Tensor]) -> None:
    """A feature for each token of kind vision, as the policy planned them."""
    start = pack.header.item_start[item]
    kinds = pack.arrays.token_kind[start : start + pack.header.item_length[item]]
    planned = int((kinds == 1).sum())
    if name == "qwen2_5_vl":
        assert sum(map(len, stored)) == 4 * planned
    elif name == "oryx" and pack.header.item_kind[item] == "video":
        assert sum(map(len, stored)) == pack.header.merge[item] ** 2 * planned
    else:
        assert len(vision_tokens(pack, item, stored)) == planned


@pytest.mark.parametrize("name", ["qwen3_vl", "llava_onevision"])
def test_int8_of_every_item(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    model = tiny_model(case.kind, **case.tower)
    for pack, plain in both(tmp_path, case, "int8"):
        assert set(pack.header.item_format) == {"int8"}
        for item in range(pack.header.items):
            stored = torch.cat(item_features(pack, item)).float()
            groups = seen(plain, item)
            wanted = torch.cat([alone(case, model, view) for group in groups for view in group])
            near = wanted.to(torch.bfloat16).float()
            assert torch.cosine_similarity(stored, near).min() >= 0.999


def test_nothing_is_encoded_again(tmp_path: Path) -> None:
    """Another capacity, mixture or text takes the features that are there; another tower does not.

    New samples cost their own pictures only.
    """
    write_source(tmp_path / "source", 10)
    tower = write_tower(tmp_path / "tower", "qwen2_vl")

    def built(encoder: str = "", **more: Any) -> int:
        engine = Recorder(Here())
        build_in(tmp_path, engine, payload="features", encoder=on_cpu(tower, encoder), **more)
        return engine.asked["encode"]

    assert built() > 0
    assert built() == 0
    assert built(max_tokens=1024) == 0
    assert built("num_gpus = 0.5") == 0
    write_source(tmp_path / "source", 12)
    assert built() == 1
    assert built("stored = 'float16'") > 1
    shutil.rmtree(tmp_path / "tower")
    write_tower(tmp_path / "tower", "qwen2_vl", depth=2)
    assert built() > 1


def test_two_builds_have_the_same_bytes(tmp_path: Path) -> None:
    write_source(tmp_path / "source", 10)
    encoder = on_cpu(write_tower(tmp_path / "tower", "qwen2_vl"))
    first = build_in(tmp_path, Here(), payload="features", encoder=encoder).manifest
    shutil.move(tmp_path / "out", tmp_path / "before")
    again = build_in(tmp_path, Here(), payload="features", encoder=encoder).manifest
    assert digests(first) == digests(again)
    assert first == again
    assert first.partitions[0].devices == ["cpu"]
    spec = first.recipe["render"]["encoder"]
    assert (spec["dtype"], spec["attention"], spec["device"]) == ("float32", "varlen", "cpu")
    assert spec["libraries"]["torch"] == torch.__version__
    assert str(tmp_path) not in first.model_dump_json()


def test_what_another_device_answers_has_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards never change under their name, so what was recorded is part of it."""
    write_source(tmp_path / "source", 4)
    encoder = on_cpu(write_tower(tmp_path / "tower", "qwen2_vl"))
    first = build_in(tmp_path, Here(), payload="features", encoder=encoder).manifest
    shutil.rmtree(tmp_path / "out" / ".cache" / "rendered")
    forward = Tower.forward

    def near(tower: Any, patches: torch.Tensor, these: Sequence[View]) -> torch.Tensor:
        return forward(tower, patches, these) * 1.01

    monkeypatch.setattr(Tower, "forward", near)
    other = build_in(tmp_path, Here(), payload="features", encoder=encoder).manifest
    assert not digests(first).keys() & digests(other).keys()


def test_a_batch_without_room_is_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_source(tmp_path / "source", 10)
    encoder = on_cpu(write_tower(tmp_path / "tower", "qwen2_vl"))
    first = build_in(tmp_path, Here(), payload="features", encoder=encoder).manifest
    shutil.move(tmp_path / "out", tmp_path / "before")
    launch, refused = Tower.launch, []

    def narrow(tower: Any, these: Sequence[View]) -> Any:
        if len(these) > 2:
            refused.append(len(these))
            raise torch.OutOfMemoryError("no room")
        return launch(tower, these)

    monkeypatch.setattr(Tower, "launch", narrow)
    again = build_in(tmp_path, Here(), payload="features", encoder=encoder).manifest
    assert refused
    assert digests(first) == digests(again)
    receipts = [
        path.read_text() for path in (tmp_path / "out" / ".cache" / "rendered").glob("*.json")
    ]
    assert any('"halved_batches": 0' not in one and "halved" in one for one in receipts)


def test_one_view_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_source(tmp_path / "source", 4)
    encoder = on_cpu(write_tower(tmp_path / "tower", "qwen2_vl"))

    def never(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Tower, "launch", never)
    with pytest.raises(BuildError, match="has no room for one view of"):
        build_in(tmp_path, Here(), payload="features", encoder=encoder)
    assert not list((tmp_path / "out").rglob("*.bin"))


def refusal(folder: Path, encoder: str, policy: str = 'kind = "qwen2_vl"') -> str:
    more: dict[str, Any] = {"policy": policy, "max_tokens": 4096}
    with pytest.raises(PatchpackError) as refused:
        build_in(folder, Here(), payload="features", encoder=encoder, **more)
    assert not list((folder / "out").rglob("*.bin"))
    return str(refused.value)


def test_bad_models(tmp_path: Path) -> None:
    write_source(tmp_path / "source", 4)
    tower = write_tower(tmp_path / "tower", "qwen2_vl")
    encoder = on_cpu(tower)
    assert "no directory and no hub id" in refusal(tmp_path, on_cpu(tmp_path / "nowhere"))
    weights = (tower / "model.safetensors").read_bytes()
    (tower / "model.safetensors").write_bytes(weights[:-100])
    assert "cut short" in refusal(tmp_path, encoder)
    (tower / "model.safetensors").write_bytes(b"\xff" * 100)
    assert "no safetensors file" in refusal(tmp_path, encoder)
    (tower / "model.safetensors").unlink()
    assert "holds no weights" in refusal(tmp_path, encoder)
    (tower / "config.json").unlink()
    assert "no config.json" in refusal(tmp_path, encoder)


def test_weights_that_are_missing(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    write_source(tmp_path / "source", 4)
    tower = write_tower(tmp_path / "tower", "qwen2_vl")
    weights = load_file(tower / "model.safetensors")
    del weights["blocks.1.attn.qkv.weight"]
    save_file(weights, tower / "model.safetensors")
    told = refusal(tmp_path, on_cpu(tower))
    assert "lacks 1 weights" in told
    assert "blocks.1.attn.qkv.weight" in told


def test_towers_that_do_not_fit(tmp_path: Path) -> None:
    write_source(tmp_path / "source", 4)
    qwen = write_tower(tmp_path / "qwen", "qwen2_vl", patch_size=16)
    told = refusal(tmp_path, on_cpu(qwen))
    assert "has patches of 16 pixels" in told
    assert "qwen2_vl/" in told
    siglip = write_tower(tmp_path / "siglip", "siglip")
    assert "takes pictures of 30 x 30 pixels" in refusal(tmp_path, on_cpu(siglip))
    assert '"native" is for SigLIP' in refusal(tmp_path, on_cpu(qwen, 'resolution = "native"'))
    assert 'has "tower"' in refusal(tmp_path, on_cpu(siglip, 'at = "post_merger"'))
    model = 'kind = "xcomposer_hd"'
    clip = write_tower(tmp_path / "clip", "clip", image_size=336)
    assert "leaves to its model" in refusal(tmp_path, on_cpu(clip), model)


def test_a_view_beyond_the_budget(tmp_path: Path) -> None:
    write_source(tmp_path / "source", 4)
    tower = write_tower(tmp_path / "tower", "qwen2_vl")
    encoder = on_cpu(tower).replace("8192", "16")
    assert "max_patches" in refusal(tmp_path, encoder)


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    write_source(tmp_path / "source", 4)
    tower = write_tower(tmp_path / "tower", "qwen2_vl")
    assert "no CUDA device" in refusal(tmp_path, f"model = '{tower}'")


@pytest.mark.parametrize(
    ("encoder", "told"),
    [
        ("device = 'cpu'", "render.encoder.model"),
        ("model = 'x'\nlayer = 3", "layer counts from the end"),
        ("model = 'x'\nmin_actors = 3", "max_actors is below"),
        ("model = 'x'\nfast = true", "render.encoder.fast: unknown key"),
        ("model = 'x'\ndtype = 'float32'", "varlen"),
    ],
)
def test_bad_settings(encoder: str, told: str, tmp_path: Path) -> None:
    recipe = write_recipe(
        tmp_path / "r.toml", tmp_path / "out", {"a": "x"}, payload="features", encoder=encoder
    )
    with pytest.raises(RecipeError, match=told):
        load_recipe(recipe)


def test_sections_belong_together(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.toml", tmp_path / "out", {"a": "x"}, payload="features")
    with pytest.raises(RecipeError, match="belong together"):
        load_recipe(recipe)
    policy = 'kind = "navit"\ntoken_dropout_prob = 0.5'
    model = {"payload": "features", "encoder": "model = 'x'", "policy": policy}
    recipe = write_recipe(tmp_path / "r.toml", tmp_path / "out", {"a": "x"}, **model)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="kept_indices"):
        load_recipe(recipe)


def test_actors_of_ray(tmp_path: Path, ray_engine: RayEngine) -> None:
    """The same bytes as in this process, from two actors."""
    write_source(tmp_path / "source", 20)
    encoder = on_cpu(write_tower(tmp_path / "tower", "qwen2_vl"), "max_actors = 2\ncpus = 1")
    here = build_in(tmp_path, Here(), payload="features", encoder=encoder).manifest
    shutil.move(tmp_path / "out", tmp_path / "before")
    there = build_in(tmp_path, ray_engine, payload="features", encoder=encoder).manifest
    assert digests(here) == digests(there)


def test_two_blocks_in_an_actor_at_once(
    tmp_path: Path, ray_engine: RayEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where a block is written while another is computed."""
    write_source(tmp_path / "source", 30)
    encoder = on_cpu(write_tower(tmp_path / "tower", "qwen2_vl"), "cpus = 1")
    here = build_in(tmp_path, Here(), payload="features", encoder=encoder).manifest
    shutil.move(tmp_path / "out", tmp_path / "before")
    monkeypatch.setattr("pipelines.render.pool_of", lambda _: ActorPool(1, 1, 0.0, 1, 2))
    there = build_in(tmp_path, ray_engine, payload="features", encoder=encoder).manifest
    assert digests(here) == digests(there)


def test_actors_that_cannot_be(tmp_path: Path, ray_engine: RayEngine) -> None:
    write_source(tmp_path / "source", 4)
    tower = write_tower(tmp_path / "tower", "qwen2_vl")
    with pytest.raises(BuildError, match="a node of the cluster has 0"):
        build_in(tmp_path, ray_engine, payload="features", encoder=f"model = '{tower}'")
    with pytest.raises(BuildError, match=r"cpus: an actor needs 99 CPUs, a node .* has 2"):
        build_in(tmp_path, ray_engine, payload="features", encoder=on_cpu(tower, "cpus = 99"))
    (tower / "config.json").write_text('{"model_type": "qwen2_vl_vision", "depth": "x"}')
    with pytest.raises(PatchpackError, match=r"config\.json"):
        build_in(tmp_path, ray_engine, payload="features", encoder=on_cpu(tower))


def test_an_actor_that_is_killed(
    tmp_path: Path, ray_engine: RayEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its block is encoded by another; no torn file has a name."""
    write_source(tmp_path / "source", 20)
    encoder = on_cpu(write_tower(tmp_path / "tower", "qwen2_vl"), "cpus = 1")
    once = tmp_path / "killed"

    class Killed(Encoding):
        def __call__(self, task: RenderTask) -> Receipt:
            if not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(task)

    monkeypatch.setattr("pipelines.render.Encoding", Killed)
    there = build_in(tmp_path, ray_engine, payload="features", encoder=encoder).manifest
    assert once.exists()
    assert not list((tmp_path / "out").rglob("*.tmp"))
    shutil.move(tmp_path / "out", tmp_path / "before")
    here = build_in(tmp_path, Here(), payload="features", encoder=encoder).manifest
    assert digests(here) == digests(there)


def test_what_a_build_needs_stays(tmp_path: Path) -> None:
    """Garbage collection finds the features of the published version by its manifest alone."""
    write_source(tmp_path / "source", 6)
    encoder = on_cpu(write_tower(tmp_path / "tower", "qwen2_vl"))
    older = on_cpu(tmp_path / "tower", 'stored = "int8"')
    build_in(tmp_path, Here(), payload="features", encoder=older)
    manifest = build_in(tmp_path, Here(), payload="features", encoder=encoder).manifest
    swept = collect(folder_of(tmp_path / "out"), Limits(time.time() + 3600, keep=1, cache=True))
    assert any("rendered" in one.path for one in swept.removals)
    assert swept.notes == []
    again = build_in(tmp_path, NoWork(), payload="features", encoder=encoder)
    assert (again.new, again.manifest) == (False, manifest)


def test_features_are_extracted(tmp_path: Path) -> None:
    write_source(tmp_path / "source", 6)
    encoder = on_cpu(write_tower(tmp_path / "tower", "qwen2_vl"), "stored = 'float16'")
    made = build_in(tmp_path, Here(), payload="features", encoder=encoder)
    pack = next(pack for pack in packs_of(tmp_path / "out", made) if pack.header.items)
    names = explain(tmp_path / "out", pack.header.key, tmp_path / "plain")["extracted"]
    assert "item-00000-00000.npy" in names
    stored = np.load(tmp_path / "plain" / "item-00000-00000.npy")
    assert np.array_equal(stored, pack.payloads[0].data)
