"""Write a small Qwen2-VL with random weights as a checkpoint, to try what wants one without a hub.

    python -m examples.make_model build/small_qwen2_vl

Its vocabulary is that of the tokenizer `bytes`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from examples.train_qwen2vl import small_qwen2_vl


def main(arguments: Sequence[str] | None = None) -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description="Write a small Qwen2-VL with random weights.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    small_qwen2_vl(options.seed).save_pretrained(options.folder)
    print(f"{options.folder}: config.json and model.safetensors")


if __name__ == "__main__":
    main()
