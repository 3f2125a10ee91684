"""The pictures of the demo: what ships inside scikit-image and scikit-learn, and what they show."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image

SCIKIT_LEARN = ("china", "flower")


class About(NamedTuple):
    """What is said of a picture: a caption, and a question with its answer."""

    caption: str
    question: str
    answer: str


PICTURES = {
    "astronaut": About(
        "An astronaut in an orange suit smiles, between a flag and a model of a space shuttle.",
        "What colour is the suit?",
        "It is orange.",
    ),
    "brick": About(
        "A pavement of long bricks in upright rows.", "What is this surface made of?", "Bricks."
    ),
    "camera": About(
        "A man in a dark coat looks through a camera on a tripod, on a lawn.",
        "What does the camera stand on?",
        "On a tripod.",
    ),
    "cell": About(
        "A round cell, bright against a dark ground.", "What shape is the cell?", "It is round."
    ),
    "chelsea": About(
        "The face of a ginger cat with green eyes.", "Which animal is this?", "A cat."
    ),
    "checkerboard": About(
        "A checkerboard of black and white squares.", "Which two colours are here?", "Black, white."
    ),
    "clock": About(
        "A clock, blurred by a motion of the camera.", "Is the picture sharp?", "No, it is blurred."
    ),
    "coffee": About(
        "A cup of espresso with a spoon on a red saucer, on a wooden table.",
        "What lies on the saucer beside the cup?",
        "A spoon.",
    ),
    "coins": About(
        "Twenty-four old coins in four rows of six.", "How many coins are there?", "24 coins."
    ),
    "colorwheel": About(
        "A wheel of all hues, white in its middle.", "What is in the middle?", "White."
    ),
    "grass": About("Grass with a few broad leaves, from above.", "What grows here?", "Grass."),
    "gravel": About("Gravel of small angular stones.", "What covers the ground?", "Gravel."),
    "horse": About(
        "The black silhouette of a horse on white.", "Which way does the horse look?", "Right."
    ),
    "hubble_deep_field": About(
        "A field of distant galaxies on a black sky.", "What are the bright spots?", "Galaxies."
    ),
    "immunohistochemistry": About(
        "Stained tissue under a microscope, brown and blue.",
        "Which colours has the stain?",
        "Brown and blue.",
    ),
    "logo": About(
        "A round logo with a green and an orange part, divided by a winding white line.",
        "Which colours has the logo?",
        "Green and orange.",
    ),
    "microaneurysms": About(
        "Fine vessels and two dark spots on the back of an eye.", "How many spots?", "Two."
    ),
    "moon": About("The surface of the moon with a few craters.", "What is this?", "The moon."),
    "page": About(
        "A printed page whose heading reads: Region-based segmentation.",
        "Read the heading.",
        "Region-based segmentation",
    ),
    "retina": About(
        "The back of an eye with its vessels, round on black.", "Which organ is this?", "An eye."
    ),
    "rocket": About(
        "A rocket on its launch pad at dusk, between four lattice towers.",
        "At what time of the day was this taken?",
        "At dusk.",
    ),
    "text": About("Handwritten formulas on lined paper.", "Is this print?", "No, handwriting."),
    "china": About(
        "A Chinese pagoda of several storeys above a lake.", "What is behind it?", "A lake."
    ),
    "flower": About(
        "An orange dahlia against dark leaves.", "What colour is the flower?", "Orange."
    ),
}


def load_pictures() -> dict[str, Image.Image]:
    """Every picture by name: mode L where it is grey, RGBA where it has transparency, else RGB."""
    return {name: Image.fromarray(_pixels(name)) for name in PICTURES}


def load_stereo_pair() -> tuple[Image.Image, Image.Image]:
    """A motorcycle from the left and from the right."""
    load = cast(Callable[[], tuple[np.ndarray, ...]], skimage.data.stereo_motorcycle)
    left, right, _ = load()
    return Image.fromarray(left), Image.fromarray(right)


def _pixels(name: str) -> np.ndarray:
    if name in SCIKIT_LEARN:
        return np.asarray(load_sample_image(f"{name}.jpg"), np.uint8)
    pixels = np.asarray(getattr(skimage.data, name)())
    return pixels.astype(np.uint8) * 255 if pixels.dtype == np.bool_ else pixels
