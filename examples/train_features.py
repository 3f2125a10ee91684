"""Train the merger and the language model of a Qwen2-VL on stored features: its frozen tower never
runs again.

    python -m examples.make_model build/small_qwen2_vl
    python -m flows build recipes/demo_features.toml
    python -m examples.train_features build/demo_features --model build/small_qwen2_vl --steps 4

Each line is a step: {"step", "tokens", "loss", "packs"}. Ranks, resuming and checkpoints are as in
`train_qwen2vl.py`; here is only what differs: rows of features in place of pixels, merged and put
where the placeholders are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Qwen2VLForConditionalGeneration

from patchpack import Pack, PackedShards
from patchpack.collate import collate, for_transformers
from patchpack.vision_inputs import features


def batch_of(pack: Pack) -> dict[str, Any]:
    """What `loss_of` takes, and the names of the packs; runs in the loader's workers."""
    batch = for_transformers(collate(pack))
    return {
        "batch": {name: batch[name] for name in ("labels", "position_ids", "use_cache")},
        "input_ids": batch["input_ids"],
        "features": features(pack),
        "packs": [pack.header.key] * (not pack.header.filler),
    }


def loss_of(
    model: Qwen2VLForConditionalGeneration, taken: dict[str, Any], targets: int
) -> torch.Tensor:
    """Of one pack with `pre_merger` features, divided by the targets of the step."""
    ids, rows = taken["input_ids"], taken["features"]
    embeddings = model.get_input_embeddings()(ids)
    if rows is not None:
        merged = model.model.visual.merger(rows.to(embeddings.dtype))
        config = model.config
        places = (ids == config.image_token_id) | (ids == config.video_token_id)
        embeddings = embeddings.masked_scatter(places[..., None], merged)
    out = model(inputs_embeds=embeddings, num_items_in_batch=targets, **taken["batch"])
    return torch.as_tensor(out.loss)


def steps(reader: PackedShards, workers: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """(tokens with loss, batch) of each step that has some, epoch after epoch."""
    make = partial(batch_of)
    while True:
        loader = DataLoader(reader, batch_size=None, num_workers=workers, collate_fn=make)
        first = reader.first_step
        for number, taken in enumerate(loader):
            if tokens := reader.loss_tokens(first + number):
                yield tokens, taken
        reader.set_epoch(reader.epoch + 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train for some steps."""
    parser = argparse.ArgumentParser(description="Train on stored vision features.")
    parser.add_argument("data", help="folder or URL of a data set with pre_merger features")
    parser.add_argument("--model", required=True, help="the checkpoint whose tower made them")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1, help="processes that read (1)")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    model = Qwen2VLForConditionalGeneration.from_pretrained(options.model, dtype=torch.float32)
    model.model.visual.blocks.requires_grad_(requires_grad=False)
    model.model.visual.patch_embed.requires_grad_(requires_grad=False)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.learning_rate)
    reader = PackedShards(options.data, 0, 1, options.seed, bundle=1)  # a pack a step
    taking = islice(steps(reader, options.workers), options.steps)
    for number, (tokens, taken) in enumerate(taking, start=1):
        loss: Any = loss_of(model, taken, tokens)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        line = {"step": number, "tokens": tokens, "loss": round(loss.item(), 6)}
        print(json.dumps({**line, "packs": taken["packs"]}), flush=True)


if __name__ == "__main__":
    main()
