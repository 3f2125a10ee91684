"""Samples of several pictures: conversations, posed views, videos."""

from __future__ import annotations

from examples.demo_media import crop, encode, encode_video, film, posed_views, scaled
from examples.demo_pictures import PICTURES, load_stereo_pair
from examples.demo_records import Demo, Pictures, Record, say


def add_conversations(demo: Demo, pictures: Pictures) -> None:
    """Several pictures in a sample, in one turn or in many."""
    left, right = (
        demo.image(f"images/stereo-{side}.jpeg", encode(picture, "jpeg"))
        for side, picture in zip(("left", "right"), load_stereo_pair(), strict=True)
    )
    moved = "The camera has moved to the right: near things stand further left in the second one."
    demo.add(
        "pair-stereo",
        say("user", left, right, "What has changed between the two pictures?"),
        say("assistant", moved),
    )
    small = {
        name: demo.image(f"images/small-{name}.jpeg", encode(scaled(pictures[name], 0.4), "jpeg"))
        for name in ("coffee", "chelsea", "rocket", "moon", "grass", "gravel")
    }
    demo.add(
        "choose-animal",
        say("user", small["coffee"], small["chelsea"], small["rocket"], "Which shows an animal?"),
        say("assistant", "The second one: it shows a cat."),
    )
    demo.add(
        "name-six",
        say("user", *small.values(), "Say in a word what each picture shows."),
        say("assistant", "Coffee, a cat, a rocket, the moon, grass, gravel."),
    )
    demo.add(
        "compare-ground",
        say("system", "You compare surfaces."),
        say("user", "First: ", small["grass"], " second: ", small["gravel"], " Which is softer?"),
        say("assistant", "The first one: grass is softer than gravel."),
    )
    nearer = crop(pictures["coffee"], (0.25, 0.0, 0.75, 0.7))
    demo.add(
        "nearer",
        say("user", small["coffee"], "What is this?"),
        say("assistant", PICTURES["coffee"].caption),
        say("user", demo.image("images/nearer.png", encode(nearer, "png")), "And this?"),
        say("assistant", "The same cup, from nearer."),
    )


def add_views(demo: Demo, pictures: Pictures) -> None:
    """One scene from six places, each with its camera."""
    views = []
    for number, view in enumerate(posed_views(pictures["china"], count=6, size=(480, 360))):
        path = f"views/{number}.jpeg"
        demo.files[path] = encode(view.picture, "jpeg")
        views.append({"path": path, "intrinsics": view.intrinsics, "pose": view.pose})
    part = {"type": "views", "convention": "opencv", "views": views}
    demo.add(
        "views-poster",
        say("user", part, "What do these views show?"),
        say("assistant", "A poster with a pagoda, seen from six places from left to right."),
    )


def add_videos(demo: Demo, pictures: Pictures) -> None:
    """Two short videos in different containers, and a clip of one."""
    demo.files["videos/pagoda.mp4"] = encode_video(
        film(pictures["china"], frames=72, size=(320, 240)), "mp4", "libx264", fps=12
    )
    demo.files["videos/rocket.webm"] = encode_video(
        film(pictures["rocket"], frames=50, size=(240, 320)), "webm", "libvpx", fps=10
    )
    video = {"role": "user", "text": "<video>\nWhat happens?", "videos": ["videos/pagoda.mp4"]}
    happens = "The camera moves from left to right over a pagoda and comes nearer."
    demo.add("video-pagoda", video, {"role": "assistant", "text": happens})
    clip = {"type": "video", "path": "videos/pagoda.mp4", "start": 3.0, "end": 5.5}
    demo.add(
        "video-clip", say("user", clip, "What is this?"), say("assistant", "A pagoda above a lake.")
    )
    rocket: Record = {"type": "video", "path": "videos/rocket.webm"}
    demo.add(
        "video-rocket",
        say("user", rocket, "Does the rocket take off?"),
        say("assistant", "No, only the camera moves."),
    )
