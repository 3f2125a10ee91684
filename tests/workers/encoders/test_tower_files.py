"""Towers found in the files of checkpoints: alone, inside larger ones, on a hub."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from safetensors.torch import load_file, save_file

from schemas.errors import BuildError, RecipeError
from tests.tiny_towers import write_tower, write_whole
from workers.encoders.config import EncoderConfig
from workers.encoders.tower import check_device
from workers.encoders.tower_files import tower_digest

ROOT = Path(__file__).parents[3]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_only_the_tower_counts(tmp_path: Path) -> None:
    """Other weights, another prefix and another place leave the digest; one value changes it."""
    first = tower_digest(str(write_whole(tmp_path / "a", "siglip", "model.vision_tower.")))
    other = write_whole(tmp_path / "b", "siglip", "vision_tower.vision_model.")
    weights = load_file(other / "model.safetensors")
    weights["language_model.lm_head.weight"] += 1
    save_file(weights, other / "model.safetensors")
    assert tower_digest(str(other)) == first
    weights["vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias"][3] += 1
    save_file(weights, other / "model.safetensors")
    assert tower_digest(str(other)) != first


def test_normalisation_counts(tmp_path: Path) -> None:
    tower = write_tower(tmp_path / "a", "siglip")
    first = tower_digest(str(tower))
    (tower / "preprocessor_config.json").write_text('{"image_mean": [0.4, 0.4, 0.4]}')
    assert tower_digest(str(tower)) != first


def test_several_towers_are_refused(tmp_path: Path) -> None:
    both = write_whole(tmp_path / "a", "siglip", "low.")
    weights = load_file(both / "model.safetensors")
    weights |= {name.replace("low.", "high."): one.clone() for name, one in weights.items()}
    save_file(weights, both / "model.safetensors")
    with pytest.raises(RecipeError, match=r"several towers, under \['high.', 'low.'\]"):
        tower_digest(str(both))


def test_a_model_without_a_tower_is_refused(tmp_path: Path) -> None:
    save_file({"lm_head.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RecipeError, match="no vision tower that is known"):
        tower_digest(str(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(RecipeError, match=r"config.json holds no object"):
        tower_digest(str(tmp_path))


def test_an_old_gpu_has_no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    with pytest.raises(BuildError, match=r"Tesla T4 .* has no bfloat16; take float16"):
        check_device(EncoderConfig(model="x"))


@contextmanager
def hub(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A server that speaks as much of the hub's protocol as a download needs; what was fetched."""
    fetched: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(whole=True)

        def do_HEAD(self) -> None:
            self._answer(whole=False)

        def _answer(self, *, whole: bool) -> None:
            path = self.path.partition("?")[0]
            name = path.rpartition("/")[2]
            if "/tree/" in path:
                entry = {"type": "file", "oid": COMMIT}
                told = [
                    {**entry, "path": one.name, "size": one.stat().st_size}
                    for one in sorted(folder.iterdir())
                ]
                data = json.dumps(told).encode()
            elif path.startswith("/api/"):
                names = [{"rfilename": one.name} for one in sorted(folder.iterdir())]
                data = json.dumps({"id": "some/model", "sha": COMMIT, "siblings": names}).encode()
            elif (folder / name).is_file():
                data = (folder / name).read_bytes()
                fetched.extend([name] if whole else [])
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Type", "application/json")
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if whole:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fetched
    finally:
        server.shutdown()
        server.server_close()


def digest_from(hub_url: str, cache: Path) -> str:
    """In a process of its own: the hub's address is read when its library is imported."""
    code = (
        "from workers.encoders.tower_files import tower_digest; print(tower_digest('some/model'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_ENDPOINT": hub_url, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout.strip() or done.stderr


def test_a_hub_id_fetches_the_tower_alone(tmp_path: Path) -> None:
    model = write_whole(tmp_path / "model", "siglip", "model.vision_tower.")
    weights = load_file(model / "model.safetensors")
    parts = {
        "model-00001.safetensors": {n: w for n, w in weights.items() if "vision" in n},
        "model-00002.safetensors": {n: w for n, w in weights.items() if "vision" not in n},
    }
    expected = tower_digest(str(model))
    (model / "model.safetensors").unlink()
    for name, part in parts.items():
        save_file(part, model / name)
    places = {name: file for file, part in parts.items() for name in part}
    index = {"metadata": {}, "weight_map": places}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with hub(model) as (url, fetched):
        assert digest_from(url, tmp_path / "cache") == expected
    assert "model-00001.safetensors" in fetched
    assert "model-00002.safetensors" not in fetched


def test_a_hub_that_does_not_answer(tmp_path: Path) -> None:
    told = digest_from("http://127.0.0.1:9", tmp_path / "cache")
    assert "is no directory, and as a hub id it cannot be had" in told
