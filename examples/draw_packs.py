"""Draw the packs of a data set: a bar a pack, a block a sample, coloured by what the tokens are.

    python -m examples.draw_packs build/demo --out packs.png

Bars are in written order; white at the end of a bar is padding.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from patchpack import Header, Pack, decode
from patchpack.index import decode_index
from pipelines.versions import read_manifest
from schemas.manifest import Manifest

TEXT, LEARNED = (150, 158, 170), (224, 122, 60)
COLOURS = {"image": (66, 133, 190), "view": (86, 168, 128), "video": (132, 100, 176)}
WIDTH, BAR, GAP, MARGIN, LEGEND = 1000, 13, 4, 16, 44
BACKGROUND, EDGE, INK = (255, 255, 255), (255, 255, 255), (60, 64, 72)


def packs(root: Path, manifest: Manifest) -> Iterator[Pack]:
    """Every pack of the published version with samples in it, shard by shard."""
    for shard in manifest.shards:
        data = (root / shard.name).read_bytes()
        index = decode_index(
            (root / ".index" / f"{shard.name.removesuffix('.tar')}.npy").read_bytes()
        )
        for row in index[~index["filler"]]:
            members = []
            for name in ("header", "arrays"):
                start = int(row[f"{name}_offset"])
                members.append(data[start : start + int(row[f"{name}_size"])])
            yield decode(*members)


def bar(pack: Pack, capacity: int) -> Image.Image:
    """One pack as a row of pixels: vision by kind, text grey, learned text orange, edges white."""
    colour = np.tile(np.array(TEXT, np.uint8), (capacity, 1))
    colour[: pack.header.length][pack.arrays.loss == 1] = LEARNED
    for item, kind in enumerate(pack.header.item_kind):
        start = pack.header.item_start[item]
        colour[start : start + pack.header.item_length[item]] = COLOURS[kind]
    colour[pack.header.length :] = BACKGROUND
    row = Image.fromarray(colour[None]).resize((WIDTH, BAR), Image.Resampling.BOX)
    draw = ImageDraw.Draw(row)
    for edge in pack.header.cu_seqlens[1:-1]:
        x = edge * WIDTH // capacity
        draw.line((x, 0, x, BAR), EDGE)
    return row


def order(header: Header) -> tuple[int, int]:
    """The written order of a pack: row by row, lane by lane."""
    return header.row, header.lane


def draw(root: Path, limit: int) -> Image.Image:
    """The picture of the first `limit` packs in written order."""
    manifest = read_manifest(root)
    chosen = sorted(packs(root, manifest), key=lambda pack: order(pack.header))[:limit]
    height = LEGEND + len(chosen) * (BAR + GAP) + MARGIN
    picture = Image.new("RGB", (WIDTH + 2 * MARGIN, height), BACKGROUND)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    x = MARGIN
    legend = {**COLOURS, "text": TEXT, "learned text": LEARNED}
    for name, colour in legend.items():
        pen.rectangle((x, 14, x + 14, 28), colour)
        pen.text((x + 20, 12), name, INK, font)
        x += 40 + int(pen.textlength(name, font))
    capacity = f"one bar = one pack of {manifest.capacity:,} tokens"
    pen.text((WIDTH + MARGIN - pen.textlength(capacity, font), 12), capacity, INK, font)
    for number, pack in enumerate(chosen):
        picture.paste(bar(pack, manifest.capacity), (MARGIN, LEGEND + number * (BAR + GAP)))
    return picture


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="the folder of a data set")
    parser.add_argument("--out", type=Path, default=Path("packs.png"))
    parser.add_argument("--limit", type=int, default=24, help="packs to draw")
    options = parser.parse_args()
    draw(options.dataset, options.limit).save(options.out, optimize=True)
    print(f"drew {options.out}")


if __name__ == "__main__":
    main()
