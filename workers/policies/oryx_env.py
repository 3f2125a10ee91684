"""How Oryx's own code and scripts name the settings: by environment variables and data set keys.

A variable that is not given leaves its setting as it is, though the reference would take another
default (1536 for frames), resize nothing or fail.
Source: Oryx-mllm/Oryx oryx/mm_utils.py, train_oryx_7b.sh.
"""

from typing import Any

_PAIRS = {"LOWRES_RESIZE": "lowres", "HIGHRES_BASE": "highres", "VIDEO_RESIZE": "video"}
"""Variables of the form 384x32: base and step."""
_VIDEO = {4: "video", 16: "video_long", "video_long_on_64": "video_long"}
"""Other names of `video`: how many patches become one token; long videos at the step of others."""


def settings(fields: Any) -> Any:
    """Fields in which `env`, the variables by name, is written out; it goes before the others."""
    if not isinstance(fields, dict):
        return fields
    given = dict(fields)
    if isinstance(given.get("env"), dict):
        for name, value in given.pop("env").items():
            base, _, step = str(value).partition("x")
            if name in _PAIRS:
                given |= {f"{_PAIRS[name]}_base": base, f"{_PAIRS[name]}_step": step}
            else:
                given[name.lower()] = True if name == "PAD2STRIDE" else value
    if isinstance(given.get("video"), int | str):
        given["video"] = _VIDEO.get(given["video"], given["video"])
    return given
