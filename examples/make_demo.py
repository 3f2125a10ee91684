"""Make the demo: about 200 records over pictures that ship inside installed packages.

    python -m examples.make_demo [--out data/demo]

- The same bytes on every run: no chance, no clock, no download.
- A file that has its content already is left alone, and no other file in the folder is touched.
- The records are written last, so that they never name what a stopped run did not write.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from examples.demo_odd import add_odd_pictures
from examples.demo_pictures import load_pictures
from examples.demo_records import TAR, Demo, tar_of
from examples.demo_samples import add_broken, add_parts, add_texts, add_whole_pictures
from examples.demo_scenes import add_conversations, add_videos, add_views
from workers.durable import write_whole

RECORDS = "records.jsonl"


def make_demo(out: Path) -> Demo:
    """Write the demo into a folder; what was written."""
    pictures, demo = load_pictures(), Demo()
    add_whole_pictures(demo, pictures)
    add_parts(demo, pictures)
    add_odd_pictures(demo, pictures)
    add_conversations(demo, pictures)
    add_texts(demo)
    add_views(demo, pictures)
    add_videos(demo, pictures)
    add_broken(demo, pictures)
    demo.files[TAR] = tar_of(demo.members)
    demo.files[RECORDS] = "".join(
        json.dumps(record, ensure_ascii=False) + "\n" for record in demo.records
    ).encode()
    for name, data in demo.files.items():
        path = out / name
        if not (path.is_file() and path.read_bytes() == data):
            write_whole(path, data)
    return demo


def main() -> None:
    """Make the demo and say where it lies."""
    parser = argparse.ArgumentParser(description="Make the data set of recipes/demo.toml.")
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="where to write it")
    out: Path = parser.parse_args().out
    demo = make_demo(out)
    size = sum(len(data) for data in demo.files.values())
    print(f"{out / RECORDS}: {len(demo.records)} samples")
    print(
        f"{out}: {len(demo.files) - 2} media files and {TAR} with {len(demo.members)} "
        f"pictures, {size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
