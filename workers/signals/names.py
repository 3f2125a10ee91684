"""Every signal that a clause may name: its type, where it comes from, what it says.

`header` signals come from the survey and cost nothing; `picture` ones need a decoded picture,
`video` ones some frames of a video, `text` ones the text of the sample, `classification` and
`similarity` a model that a recipe names. Of several pictures the smallest or largest value counts,
as the name says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Origin = Literal["header", "picture", "video", "text", "classification", "similarity"]


NEED_TEXT: tuple[Origin, ...] = ("text", "similarity")
"""What another text changes."""


class Signal(NamedTuple):
    """A column of the table that clauses see."""

    kind: str  # DuckDB's type
    origin: Origin
    says: str


SIGNALS: Mapping[str, Signal] = {
    "source": Signal("VARCHAR", "header", "the recipe's name of the source"),
    "turns": Signal("BIGINT", "header", "turns of the conversation"),
    "pictures": Signal("BIGINT", "header", "pictures and posed views"),
    "videos": Signal("BIGINT", "header", "videos"),
    "formats": Signal("VARCHAR[]", "header", "formats of its media: jpeg, png, mp4, …"),
    "modes": Signal(
        "VARCHAR[]", "header", "colour modes as Pillow names them, pixel formats of videos"
    ),
    "animated": Signal("BOOLEAN", "header", "one of its pictures is an animation"),
    "min_width": Signal("BIGINT", "header", "smallest width, pixels"),
    "min_height": Signal("BIGINT", "header", "smallest height, pixels"),
    "min_side": Signal("BIGINT", "header", "smallest side"),
    "max_side": Signal("BIGINT", "header", "largest side"),
    "aspect_ratio": Signal("DOUBLE", "header", "largest ratio of the longer to the shorter side"),
    "min_megapixels": Signal("DOUBLE", "header", "of the smallest picture, 10⁶ pixels"),
    "max_megapixels": Signal("DOUBLE", "header", "of the largest picture"),
    "min_bytes_per_pixel": Signal(
        "DOUBLE", "header", "file size over pixels, smallest; of pictures"
    ),
    "max_bytes_per_pixel": Signal("DOUBLE", "header", "the same, largest"),
    "max_duration": Signal("DOUBLE", "header", "of the longest video, seconds"),
    "min_sharpness": Signal(
        "DOUBLE", "picture", "variance of the Laplacian of the picture at about 256 pixels"
    ),
    "min_entropy": Signal("DOUBLE", "picture", "of the histogram of greys, bits: 0 to 8"),
    "min_brightness": Signal("DOUBLE", "picture", "mean grey of the darkest picture, 0 to 255"),
    "max_brightness": Signal("DOUBLE", "picture", "of the brightest one"),
    "min_contrast": Signal("DOUBLE", "picture", "standard deviation of grey, smallest"),
    "min_colourfulness": Signal(
        "DOUBLE", "picture", "Hasler and Süsstrunk's M3, smallest; 0 is grey"
    ),
    "blank": Signal("BOOLEAN", "picture", "one of its pictures has a single colour"),
    "max_static": Signal(
        "DOUBLE", "video", "share of frames, of 32, that look like the one before, largest"
    ),
    "min_motion": Signal(
        "DOUBLE", "video", "mean difference of such frames, levels of grey: 0 to 255, smallest"
    ),
    "max_scene_cuts": Signal(
        "DOUBLE", "video", "such frames with other colours than the one before, largest"
    ),
    "chars": Signal("BIGINT", "text", "characters of all turns"),
    "words": Signal("BIGINT", "text", "runs of letters and digits"),
    "answer_chars": Signal(
        "BIGINT", "text", "characters of what is learned: assistant turns, documents"
    ),
    "language": Signal("VARCHAR", "text", "ISO 639-1 code of the most likely language"),
    "repetition": Signal(
        "DOUBLE", "text", "share of 3-word sequences that came before in the sample"
    ),
    "special_ratio": Signal(
        "DOUBLE", "text", "share of characters that are neither letters, digits nor spaces"
    ),
    "urls": Signal("BIGINT", "text", "web addresses"),
    "html_tags": Signal("BIGINT", "text", "HTML tags"),
    "emails": Signal("BIGINT", "text", "e-mail addresses"),
    "phones": Signal("BIGINT", "text", "telephone numbers in international or dashed form"),
    "cards": Signal("BIGINT", "text", "payment card numbers whose checksum holds"),
    "ip_addresses": Signal("BIGINT", "text", "IPv4 addresses"),
    "stray_markers": Signal(
        "BIGINT", "text", "markers of media left in the text, such as `<image>`"
    ),
}
