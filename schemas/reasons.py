"""Why a sample is not in a pack: the closed list that the ledger counts."""

from enum import StrEnum


class Reason(StrEnum):
    """One cause for dropping a sample; the ledger stores the value and a message with numbers."""

    # the record
    BAD_RECORD = "bad_record"
    DUPLICATE_ID = "duplicate_id"
    EMPTY_SAMPLE = "empty_sample"
    MARKER_WITHOUT_MEDIA = "marker_without_media"
    MEDIA_WITHOUT_MARKER = "media_without_marker"
    PATH_OUTSIDE_ROOT = "path_outside_root"
    ZERO_WEIGHT = "zero_weight"
    HELD_OUT = "held_out"
    TAKEN_DOWN = "taken_down"
    FILTERED = "filtered"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    CONTAMINATED = "contaminated"
    CAPTION_REJECTED = "caption_rejected"
    # the bytes
    MISSING_MEDIA = "missing_media"
    DAMAGED_ARCHIVE = "damaged_archive"
    EMPTY_FILE = "empty_file"
    TRUNCATED = "truncated"
    NOT_MEDIA = "not_media"
    UNDECODABLE = "undecodable"
    UNSUPPORTED_MODE = "unsupported_mode"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_FRAMES = "too_many_frames"
    TOO_MANY_SECONDS = "too_many_seconds"
    NO_VIDEO_STREAM = "no_video_stream"
    FRAMES_MISSING = "frames_missing"
    BAD_CAMERA = "bad_camera"
    BAD_BOX = "bad_box"
    # the policy
    NO_POLICY = "no_policy"
    NO_VIDEO_RULE = "no_video_rule"
    BAD_SIZE = "bad_size"
    BAD_FRAME_RATE = "bad_frame_rate"
    RATIO_TOO_EXTREME = "ratio_too_extreme"
    TOO_SMALL = "too_small"
    NOT_PATCH_MULTIPLE = "not_patch_multiple"
    EMPTY_TARGET = "empty_target"
    OVER_BUDGET = "over_budget"
    TOO_FEW_FRAMES = "too_few_frames"
    BAD_CLIP = "bad_clip"
    # the pack
    OVER_LONG = "over_long"
