"""Pictures that programs stumble over, in samples that are whole all the same."""

from __future__ import annotations

import numpy as np
from PIL import Image

from examples.demo_media import crop, encode, encode_turned, scaled
from examples.demo_pictures import PICTURES
from examples.demo_records import Demo, Pictures, say

DESCRIBE = "Describe the picture."


def add_odd_pictures(demo: Demo, pictures: Pictures) -> None:
    """Turned, grey, transparent, palette, tiny, long and big pictures, and one with a box."""
    for code in range(2, 9):
        data = encode_turned(scaled(pictures["rocket"], 0.6), code)
        _add(demo, f"turned-{code}", data, (DESCRIBE, PICTURES["rocket"].caption))
    for name in ("astronaut", "chelsea", "coffee", "retina", "china", "flower"):
        data = encode(scaled(pictures[name].convert("L"), 0.6), "jpeg")
        _add(demo, f"grey-{name}", data, ("Is this in colour?", "No, it is in shades of grey."))
    for name, kind in (("astronaut", "png"), ("flower", "webp"), ("coffee", "png")):
        data = encode(_faded(pictures[name]), kind)
        _add(demo, f"transparent-{name}", data, (DESCRIBE, PICTURES[name].caption))
    for name in ("colorwheel", "logo"):
        described = DESCRIBE, PICTURES[name].caption
        _add(demo, f"palette-{name}", encode(pictures[name].convert("P"), "png"), described)
        _add(demo, f"tiny-{name}", encode(pictures[name].resize((20, 20)), "png"), described)
    for name, ltrb in (("rocket", (0.0, 0.4, 1.0, 0.5)), ("china", (0.45, 0.0, 0.53, 1.0))):
        data = encode(scaled(crop(pictures[name], ltrb), 1.5), "jpeg")
        _add(demo, f"long-{name}", data, ("Out of what is this cut?", PICTURES[name].caption))
    data = encode(scaled(pictures["hubble_deep_field"], 2), "jpeg")
    _add(demo, "big-hubble", data, PICTURES["hubble_deep_field"][1:])
    _add_boxes(demo, pictures["horse"])


def _add(demo: Demo, name: str, data: bytes, said: tuple[str, str]) -> None:
    """A sample of one picture, a question and an answer."""
    suffix = "jpeg" if data[:2] == b"\xff\xd8" else "webp" if data[:4] == b"RIFF" else "png"
    ref = demo.image(f"images/{name}.{suffix}", data)
    demo.add(f"odd-{name}", say("user", ref, f"\n{said[0]}"), say("assistant", said[1]))


def _add_boxes(demo: Demo, silhouette: Image.Image) -> None:
    black = np.asarray(silhouette) == 0
    rows, columns = np.flatnonzero(black.any(axis=1)), np.flatnonzero(black.any(axis=0))
    edges = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    ref = demo.image("images/boxed-horse.png", encode(silhouette, "png"))
    ref["boxes"] = [{"xyxy": [float(edge) for edge in edges], "label": "horse"}]
    demo.add("boxed-horse", say("user", ref, "\nWhat is in the box?"), say("assistant", "A horse."))


def _faded(picture: Image.Image) -> Image.Image:
    """The picture with edges that fade to nothing."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in reversed(picture.size)), indexing="ij")
    opaque = np.clip(2 - 1.6 * np.hypot(x, y), 0, 1) * 255
    faded = picture.convert("RGBA")
    faded.putalpha(Image.fromarray(opaque.astype(np.uint8)))
    return faded
