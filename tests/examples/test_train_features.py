"""The example learns from features what it would learn from pictures, without running the tower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2VLForConditionalGeneration

from examples.make_model import main as make_model
from examples.train_features import batch_of, loss_of, main
from examples.train_qwen2vl import batch_of as batch_with_pictures
from tests.pipelines.conftest import Here, build_in, packs_of
from tests.tiny_source import write_source

SETTINGS: dict[str, Any] = {
    "policy": 'kind = "qwen2_vl"\nmax_pixels = 12544',
    "max_tokens": 400,
}


def built(folder: Path, **more: Any) -> list[Any]:
    write_source(folder / "source", 10)
    made = build_in(folder, Here(), **SETTINGS, **more)
    return list(packs_of(folder / "out", made))


def test_the_loss_is_that_of_the_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model_folder = tmp_path / "model"
    make_model([str(model_folder)])
    encoder = f"model = '{model_folder}'\ndevice = 'cpu'\ndtype = 'float32'"
    stored = built(tmp_path / "a", payload="features", encoder=encoder)
    pictures = {
        tuple(pack.header.sample_id): pack
        for pack in built(tmp_path / "b", payload="pixels", codec="png")
    }
    model = Qwen2VLForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32)
    compared = 0
    for pack in stored:
        targets = sum(pack.header.loss_tokens)
        if not targets or not pack.header.items:
            continue
        model.zero_grad()
        ours: Any = loss_of(model, batch_of(pack), targets)
        ours.backward()
        mine = model.model.visual.merger.mlp[0].weight.grad.clone()
        batch = batch_with_pictures(pictures[tuple(pack.header.sample_id)], None)
        del batch["packs"]
        model.zero_grad()
        theirs = model(**batch, num_items_in_batch=targets).loss
        theirs.backward()
        gradient = model.model.visual.merger.mlp[0].weight.grad
        assert abs(float(ours - theirs)) < 1e-3
        assert torch.cosine_similarity(mine.flatten(), gradient.flatten(), dim=0) > 0.999
        compared += 1
    assert compared > 1
    capsys.readouterr()
    options = ["--model", str(model_folder), "--steps", "6", "--workers", "0"]
    main([str(tmp_path / "a" / "out"), *options, "--learning-rate", "3e-3"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[:1] == "{"]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["loss"] < lines[0]["loss"]
