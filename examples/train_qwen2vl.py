"""Train a small Qwen2-VL with random weights on packed shards, on CPUs; stop and go on.

    python -m flows build recipes/demo.toml
    python -m examples.train_qwen2vl build/demo --steps 4
    torchrun --nproc-per-node 2 -m examples.train_qwen2vl build/demo --steps 4

The second command writes a checkpoint, the third goes on from it on two ranks: the same packs, in
the same order, two a step where there was one. Each line is a step of all ranks:
{"step", "tokens", "loss", "packs"}; a step learns from the sum over its tokens, divided by their
number, which every rank knows from the index. The vocabulary is that of the tokenizer `bytes`.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from patchpack import Pack, PackedShards
from patchpack.collate import collate, for_transformers
from patchpack.patches import CLIP
from patchpack.vision_inputs import flat_inputs

IMAGE_TOKEN, VIDEO_TOKEN, VOCABULARY = 261, 262, 283


def small_qwen2_vl(seed: int) -> Qwen2VLForConditionalGeneration:
    """Some 300,000 weights."""
    torch.manual_seed(seed)
    text = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
        "vocab_size": VOCABULARY,
        "bos_token_id": None,
        "eos_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
    }
    vision = {"depth": 1, "embed_dim": 32, "hidden_size": 64, "num_heads": 2}
    config = Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=IMAGE_TOKEN,
        video_token_id=VIDEO_TOKEN,
    )
    return Qwen2VLForConditionalGeneration(config)


def batch_of(pack: Pack, length: int | None) -> dict[str, Any]:
    """What the model takes, and the names of the packs; runs in the loader's workers."""
    batch = for_transformers(collate(pack, length=length))
    return {
        **batch,
        **flat_inputs(pack, CLIP),
        "packs": [pack.header.key] * (not pack.header.filler),
    }


def steps(reader: PackedShards, options: argparse.Namespace) -> Iterator[tuple[int, int, Any]]:
    """(packs taken in this epoch, tokens with loss over all ranks, batch), epoch after epoch."""
    make = partial(batch_of, length=options.length)
    while True:
        loader = DataLoader(reader, batch_size=None, num_workers=options.workers, collate_fn=make)
        first = reader.first_step
        for taken, batch in enumerate(loader, start=1):
            tokens = reader.loss_tokens(first + taken - 1)
            if tokens:  # else all ranks have fillers, and all pass over them
                yield taken, tokens, batch
        reader.set_epoch(reader.epoch + 1)


def train(options: argparse.Namespace) -> None:
    """Take steps until there were `options.steps` more, then save."""
    rank, world_size = dist.get_rank(), dist.get_world_size()
    model = small_qwen2_vl(options.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
    reader = PackedShards(options.data, rank, world_size, options.seed, bundle=1)  # a pack a step
    step = 0
    if options.checkpoint.exists():
        saved = torch.load(options.checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        reader.load_state_dict(json.loads(saved["reader"]))
        step = saved["step"]
    # a pack of text alone leaves the vision tower without a gradient
    trained = DistributedDataParallel(model, find_unused_parameters=True)
    for taken, tokens, batch in islice(steps(reader, options), options.steps):
        packs = batch.pop("packs")
        # DistributedDataParallel takes the mean over ranks; the loss is a sum over the step
        loss = trained(**batch, num_items_in_batch=tokens / world_size).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        _tell(step, tokens, loss.detach() / world_size, packs)
        state = reader.state_dict(taken)
    if rank == 0:
        temporary = options.checkpoint.with_suffix(".tmp")
        torch.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "reader": json.dumps(state),
                "step": step,
            },
            temporary,
        )
        temporary.replace(options.checkpoint)


def _tell(step: int, tokens: int, loss: torch.Tensor, packs: list[str]) -> None:
    """One line of all ranks."""
    dist.all_reduce(loss)
    of_ranks: list[list[str]] = [[]] * dist.get_world_size()
    dist.all_gather_object(of_ranks, packs)
    if dist.get_rank() == 0:
        line = {"step": step, "tokens": tokens, "loss": round(loss.item(), 6)}
        print(json.dumps({**line, "packs": list(chain(*of_ranks))}), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Join the other ranks, train, leave."""
    parser = argparse.ArgumentParser(description="Train a small Qwen2-VL on packed shards.")
    parser.add_argument("data", help="folder or URL of a data set that was packed for qwen2_vl")
    parser.add_argument("--steps", type=int, default=4, help="steps to take now (4)")
    parser.add_argument("--checkpoint", type=Path, default=Path("build/train_qwen2vl.pt"))
    parser.add_argument("--length", type=int, help="pad packs to so many tokens")
    parser.add_argument("--workers", type=int, default=1, help="processes that decode, a rank (1)")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1")):
        os.environ.setdefault(name, value)
    for name, value in (("MASTER_ADDR", "localhost"), ("MASTER_PORT", "29511")):
        os.environ.setdefault(name, value)
    dist.init_process_group("gloo")
    try:
        train(options)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
