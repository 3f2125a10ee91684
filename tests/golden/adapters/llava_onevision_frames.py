"""frames.llava_onevision: sampling, times as the time instruction tells them, several pictures."""

import re
from collections.abc import Sequence

from schemas.reasons import Reason
from tests.golden.adapter import Adapter, Fields, Row, reason
from workers.policies.llava_onevision import LlavaOneVision

REASONS = {("ValueError", "range() arg 3 must not be zero"): Reason.BAD_FRAME_RATE}
ENDS = 8
"""Frames that the file lists of each end of a very long sample."""


def _lines(row: Row) -> list[Fields]:
    if row["category"] == "multi_image":
        pictures = row["n_images"]
        sizes = [{"width": 640 + 99 * i, "height": 480} for i in range(pictures)]
        return [size | {"images": pictures} for size in sizes]
    line = {key: row[key] for key in ("width", "height", "fps")}
    params = row["params"] | {"add_time_instruction": True}
    return [line | {"frames": row["n_frames"], "params": params}]


def _expected(row: Row) -> Fields:
    expected = row["expected"]
    if "error" in expected:
        return {"drop": reason(expected, REASONS)}
    # the file leaves out the times of long samples
    return {key: value for key, value in expected.items() if value is not None} | {"drop": None}


def _answered(row: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    tokens = [one["llm_tokens"] for one in records]
    common = {
        "resized_width": record["view_wh"][0],
        "resized_height": record["view_wh"][1],
        "feature_grid": record["grid_thw"][0][1:],
        "llm_tokens": sum(tokens),
        "drop": record["drop"],
    }
    if row["category"] == "multi_image":
        same = tokens.count(tokens[0]) == len(tokens)
        return common | {"tokens_per_image": tokens[0] if same else tokens}
    told = re.search(r"lasts for (\S+) seconds, and (\d+) frames .* at (.*)\.P", record["texts"][1])
    video_time, frames, times = told.groups() if told else ("", "0", "")
    indices = record["frame_indices"]
    return common | {
        "nframes": int(frames),
        "frame_indices": indices,
        "frame_indices_head": indices[:ENDS],
        "frame_indices_tail": indices[-ENDS:],
        "too_long": True,
        "video_time": video_time,
        "frame_time": times,
    }


ADAPTERS = {
    "frames.llava_onevision": Adapter(
        policy=LlavaOneVision(),
        row_fields=frozenset(
            {"id", "category", "n_frames", "n_images", "fps", "width", "height", "params"}
            | {"expected"}
        ),
        lines=_lines,
        expected=_expected,
        answered=_answered,
    )
}
