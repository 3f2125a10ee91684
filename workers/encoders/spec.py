"""What shapes features beside the media and their geometry, by content: the part of their key, and
of the manifest, that is about the encoder.
"""

from __future__ import annotations

from schemas.libraries import version
from workers.encoders.config import OPERATION, EncoderConfig
from workers.encoders.tower_files import tower_digest

VERSION = 1
"""Raised when features change for the same tower, media and geometry: with a change of
`patchpack/drawing.py`, `workers/pixels.py` or `workers/video.py` too.
"""


def encoder_spec(config: EncoderConfig) -> dict[str, object]:
    """The encoder's digest and settings, without where its files lie or how the work is spread.

    Raises RecipeError as `tower_digest`.
    """
    return {
        "version": VERSION,
        "tower": tower_digest(config.model),
        **config.model_dump(mode="json", exclude=set(OPERATION)),
        "libraries": {name: version(name) for name in ("torch", "transformers")},
    }
