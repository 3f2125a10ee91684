"""Samples of one picture or none, and a few that are broken."""

from __future__ import annotations

from examples.demo_media import crop, encode, scaled
from examples.demo_pictures import PICTURES
from examples.demo_records import TAR, Demo, Pictures, Record, say
from examples.demo_text import CONVERSATIONS, DOCUMENTS

SCALES = (1.0, 0.5, 1.5, 0.75, 2.0, 0.35)
FORMATS = ("jpeg", "png", "webp")
PARTS = {
    "upper left quarter": (0.0, 0.0, 0.5, 0.5),
    "lower right quarter": (0.5, 0.5, 1.0, 1.0),
    "left third": (0.0, 0.0, 0.34, 1.0),
    "strip across the middle": (0.0, 0.35, 1.0, 0.65),
}


def add_whole_pictures(demo: Demo, pictures: Pictures) -> None:
    """Each picture twice, in different sizes and formats: with its caption, and with a question."""
    for number, (name, about) in enumerate(PICTURES.items()):
        asked = {"describe": ("Describe the picture.", about.caption), "ask": about[1:]}
        for turn, (what, (question, answer)) in enumerate(asked.items()):
            picture = scaled(pictures[name], SCALES[(number + 2 * turn) % len(SCALES)])
            kind = FORMATS[(number + turn) % len(FORMATS)]
            if kind == "jpeg" and picture.mode == "RGBA":
                kind = "png"
            path = f"images/{name}-{what}.{kind}"
            demo.files[path] = encode(picture, kind)
            user = {"role": "user", "text": f"<image>\n{question}", "images": [path]}
            demo.add(f"{what}-{name}", user, {"role": "assistant", "text": answer})


def add_parts(demo: Demo, pictures: Pictures) -> None:
    """Parts of each picture, in a tar."""
    for name, about in PICTURES.items():
        for number, (part, ltrb) in enumerate(PARTS.items()):
            member = f"{name}/{number}.webp"
            demo.members[member] = encode(crop(pictures[name], ltrb), "webp")
            ref = {"type": "image", "tar": TAR, "member": member}
            answer = f"The {part} of this: {about.caption}"
            demo.add(
                f"part-{name}-{number}",
                say("user", ref, "\nThis is cut out of a picture. Out of which, and where?"),
                say("assistant", answer),
            )


def add_texts(demo: Demo) -> None:
    """Documents and conversations without a picture."""
    for number, text in enumerate(DOCUMENTS):
        demo.add(f"document-{number}", {"role": "text", "text": text})
    for number, (question, answer) in enumerate(CONVERSATIONS):
        demo.add(f"talk-{number}", say("user", question), say("assistant", answer))


def add_broken(demo: Demo, pictures: Pictures) -> None:
    """What real data has too: each becomes a reason in the ledger."""
    half = encode(pictures["retina"], "jpeg")
    cut = demo.image("images/truncated.jpeg", half[: len(half) // 2])
    text = demo.image("images/not-a-picture.jpeg", b"<html>404 Not Found</html>\n")
    missing: Record = {"type": "image", "path": "images/never-written.jpeg"}
    for name, ref in {"truncated": cut, "not-a-picture": text, "missing": missing}.items():
        demo.add(f"broken-{name}", say("user", ref, "What is this?"), say("assistant", "A picture"))
    marked: Record = {"role": "user", "text": "<image>\nWhat is this?"}
    demo.add("broken-no-picture", marked, say("assistant", "A picture"))
